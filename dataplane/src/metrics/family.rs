//! Families: from one declaration to the block of cells, the method that finds a cell, and the collector.
//!
//! Knows nothing of what is counted. A family has one cell for every combination of its labels' values, so a lookup is
//! arithmetic and every series is shown from the start.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use super::cell::Cell;

/// What is said of a family.
#[derive(Debug)]
pub(crate) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: proto::MetricType,
    pub(super) labels: &'static [LabelValues],
    pub(super) help: &'static str,
}

/// A label with all its values.
#[derive(Debug)]
pub(crate) struct LabelValues {
    pub(super) name: &'static str,
    pub(super) values: &'static [&'static str],
}

/// How many cells a family with labels of so many values has.
pub(super) const fn combinations(values: &[usize]) -> usize {
    let mut product = 1;
    let mut at = 0;
    while at < values.len() {
        product *= values[at];
        at += 1;
    }
    product
}

/// A block with a cell for every series of its families.
pub(super) trait Block: Send + Sync + Sized + 'static {
    /// The families, in the order of [`Block::sum`].
    const FAMILIES: &'static [Family];

    /// All zero.
    fn new() -> Self;

    /// Every family, each series summed over `blocks`.
    fn sum(blocks: &[Arc<Self>]) -> Vec<proto::MetricFamily>;
}

/// Declares a block: families with their cells, labels and help. A method of the family's name takes its labels and
/// gives the cell.
macro_rules! families {
    ($(#[$meta:meta])* $vis:vis struct $block:ident {
        $($name:ident: $cell:ident ($($label:ident: $values:ident),*) $help:literal;)*
    }) => {
        $(#[$meta])*
        // Two cache lines, since processors fetch them in pairs: blocks of two workers never share one.
        #[repr(align(128))]
        #[derive(Debug)]
        $vis struct $block {
            $($name: [$cell; combinations(&[$($values::LABELS.len()),*])],)*
        }

        impl $block {
            $(
                #[doc = $help]
                $vis fn $name(&self, $($label: $values),*) -> &$cell {
                    let cell = 0;
                    $(let cell = cell * $values::LABELS.len() + $label as usize;)*
                    &self.$name[cell]
                }
            )*
        }

        impl Block for $block {
            const FAMILIES: &'static [Family] = &[$(Family {
                name: concat!("headrace_dataplane_", stringify!($name)),
                kind: <$cell as Cell>::TYPE,
                labels: &[$(LabelValues { name: stringify!($label), values: $values::LABELS }),*],
                help: $help,
            }),*];

            fn new() -> Self {
                Self { $($name: std::array::from_fn(|_| $cell::default()),)* }
            }

            fn sum(blocks: &[Arc<Self>]) -> Vec<proto::MetricFamily> {
                let [$($name),*] = Self::FAMILIES else { unreachable!("declared together") };
                vec![$($name.sum(|cell| blocks.iter().map(move |block| &block.$name[cell]))),*]
            }
        }
    };
}
pub(super) use families;

impl Family {
    /// The family with each of its series, whose cells `cells` gives by the series' place.
    pub(super) fn sum<'a, C: Cell + 'a, I: Iterator<Item = &'a C>>(
        &self,
        cells: impl Fn(usize) -> I,
    ) -> proto::MetricFamily {
        let count = combinations_of(self.labels);
        let series = (0..count).map(|at| {
            let mut metric = proto::Metric::from_label(self.label_pairs(at));
            C::collect(cells(at), &mut metric);
            metric
        });
        let mut family = proto::MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(series.collect());
        family
    }

    /// The labels of the series at a place: the last label varies fastest.
    fn label_pairs(&self, at: usize) -> Vec<proto::LabelPair> {
        let mut rest = at;
        let mut pairs: Vec<_> = self
            .labels
            .iter()
            .rev()
            .map(|label| {
                let value = label.values[rest % label.values.len()];
                rest /= label.values.len();
                let mut pair = proto::LabelPair::default();
                pair.set_name(label.name.to_owned());
                pair.set_value(value.to_owned());
                pair
            })
            .collect();
        // The text format is the same whatever the order; Prometheus sorts by name.
        pairs.sort();
        pairs
    }

    fn desc(&self) -> Desc {
        let labels = self.labels.iter().map(|label| label.name.to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new())
            .expect("names and help are literals that a test has checked")
    }
}

fn combinations_of(labels: &[LabelValues]) -> usize {
    labels.iter().map(|label| label.values.len()).product()
}

/// All blocks of one kind, collected as one. Clones share the blocks.
pub(super) struct Blocks<B> {
    descs: Arc<[Desc]>,
    // Locked when a worker starts and when somebody scrapes, never to count.
    blocks: Arc<Mutex<Vec<Arc<B>>>>,
}

impl<B> Clone for Blocks<B> {
    fn clone(&self) -> Self {
        Self { descs: Arc::clone(&self.descs), blocks: Arc::clone(&self.blocks) }
    }
}

impl<B: Block> Blocks<B> {
    pub(super) fn new() -> Self {
        Self { descs: B::FAMILIES.iter().map(Family::desc).collect(), blocks: Arc::default() }
    }

    /// One more block, which stays in the sum for good: counters never go down.
    pub(super) fn add(&self) -> Arc<B> {
        let block = Arc::new(B::new());
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&block));
        block
    }

    /// The sum of one cell over all blocks.
    pub(super) fn total(&self, cell: impl Fn(&B) -> u64) -> u64 {
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.iter().fold(0, |sum, block| sum.wrapping_add(cell(block)))
    }
}

impl<B: Block> Collector for Blocks<B> {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        B::sum(&self.blocks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
