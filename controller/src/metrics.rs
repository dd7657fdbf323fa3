//! What is counted, and the text that Prometheus scrapes.
//!
//! Every module declares its own families in one [`Metrics`], with labels from closed enums, and keeps what it was given.
//! Knows nothing of what is counted, nor of the server that answers a scrape. `docs/controller-metrics.md` is made from the
//! declarations.
//!
//! ```
//! use headrace_controller::metrics::{Counters, Label, Metrics};
//!
//! #[derive(Clone, Copy)]
//! enum Outcome { Written, Failed }
//!
//! impl Label for Outcome {
//!     const NAME: &'static str = "outcome";
//!     const ALL: &'static [Self] = &[Outcome::Written, Outcome::Failed];
//!     fn label(self) -> &'static str {
//!         match self { Outcome::Written => "written", Outcome::Failed => "failed" }
//!     }
//! }
//!
//! struct StatusMetrics { writes: Counters<Outcome> }
//!
//! impl StatusMetrics {
//!     fn new(metrics: &Metrics) -> Self {
//!         StatusMetrics { writes: metrics.counters("status_writes_total", "Statuses written.") }
//!     }
//! }
//!
//! let metrics = Metrics::new();
//! StatusMetrics::new(&metrics).writes.of(Outcome::Written).inc();
//! assert!(metrics.encode().contains("headrace_controller_status_writes_total{outcome=\"written\"} 1"));
//! ```

pub mod api;
mod label;

use std::collections::BTreeMap;
use std::marker::PhantomData;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, proto,
};

pub use label::{Label, Labels};

/// What every name begins with.
const PREFIX: &str = "headrace_controller_";

/// All metrics of the process. Clones are the same.
#[derive(Clone, Default)]
pub struct Metrics {
    registry: Registry,
}

/// What the reference documentation says of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels, each with the values of all series that there are.
    pub labels: BTreeMap<String, Vec<String>>,
    /// Its help text.
    pub help: String,
}

/// Counters of one family, by labels.
pub struct Counters<L> {
    family: IntCounterVec,
    labels: PhantomData<fn(L)>,
}

/// Gauges of one family, by labels.
pub struct Gauges<L> {
    family: IntGaugeVec,
    labels: PhantomData<fn(L)>,
}

/// Gauges of one family, by a label whose values were told at start.
#[derive(Clone, Debug)]
pub struct GaugesBy {
    gauges: BTreeMap<String, IntGauge>,
}

impl Metrics {
    /// None yet but the version of the program.
    pub fn new() -> Self {
        let metrics = Self::default();
        let name = "build_info";
        let help = "Always 1, with the version of the program.";
        let build_info =
            IntGauge::with_opts(opts(name, help).const_label("version", env!("CARGO_PKG_VERSION"))).expect(LITERALS);
        build_info.set(1);
        metrics.add(Box::new(build_info));
        metrics
    }

    /// A counter, whose name ends in `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str) -> IntCounter {
        let counter = IntCounter::with_opts(opts(name, help)).expect(LITERALS);
        self.add(Box::new(counter.clone()));
        counter
    }

    /// A gauge.
    pub fn gauge(&self, name: &'static str, help: &'static str) -> IntGauge {
        let gauge = IntGauge::with_opts(opts(name, help)).expect(LITERALS);
        self.add(Box::new(gauge.clone()));
        gauge
    }

    /// A histogram, whose name ends in its unit.
    pub fn histogram(&self, name: &'static str, help: &'static str, bounds: &[f64]) -> Histogram {
        let opts = HistogramOpts::from(opts(name, help)).buckets(bounds.to_vec());
        let histogram = Histogram::with_opts(opts).expect(LITERALS);
        self.add(Box::new(histogram.clone()));
        histogram
    }

    /// Counters by labels: every series is there from the start.
    pub fn counters<L: Labels>(&self, name: &'static str, help: &'static str) -> Counters<L> {
        let names: Vec<&str> = L::names_and_values().iter().map(|(name, _)| *name).collect();
        let family = IntCounterVec::new(opts(name, help), &names).expect(LITERALS);
        for labels in L::all() {
            family.with_label_values(&labels.values());
        }
        self.add(Box::new(family.clone()));
        Counters { family, labels: PhantomData }
    }

    /// Gauges by labels: every series is there from the start.
    pub fn gauges<L: Labels>(&self, name: &'static str, help: &'static str) -> Gauges<L> {
        let names: Vec<&str> = L::names_and_values().iter().map(|(name, _)| *name).collect();
        let family = IntGaugeVec::new(opts(name, help), &names).expect(LITERALS);
        for labels in L::all() {
            family.with_label_values(&labels.values());
        }
        self.add(Box::new(family.clone()));
        Gauges { family, labels: PhantomData }
    }

    /// Gauges by a label whose values are known when the process starts: the pod sets, say.
    pub fn gauges_by<'v>(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = &'v str>,
    ) -> GaugesBy {
        let family = IntGaugeVec::new(opts(name, help), &[label]).expect(LITERALS);
        let gauges = values.into_iter().map(|value| (value.to_owned(), family.with_label_values(&[value]))).collect();
        self.add(Box::new(family));
        GaugesBy { gauges }
    }

    /// All series in the Prometheus text format, version 0.0.4.
    pub fn encode(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("writing to memory does not fail")
    }

    /// For families that are declared without these methods.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Every family that has a series, sorted by name.
    pub fn describe(&self) -> Vec<Description> {
        self.registry.gather().iter().map(Description::of).collect()
    }

    fn add(&self, collector: Box<dyn Collector>) {
        self.registry.register(collector).expect("each name is declared once");
    }
}

impl Description {
    fn of(family: &proto::MetricFamily) -> Self {
        let kind = match family.get_field_type() {
            proto::MetricType::COUNTER => "counter",
            proto::MetricType::HISTOGRAM => "histogram",
            _ => "gauge",
        };
        let mut labels: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in family.get_metric().iter().flat_map(proto::Metric::get_label) {
            let values = labels.entry(pair.name().to_owned()).or_default();
            if !values.iter().any(|value| value == pair.value()) {
                values.push(pair.value().to_owned());
            }
        }
        Self { name: family.name().to_owned(), kind, labels, help: family.help().to_owned() }
    }
}

/// Why declarations are good.
const LITERALS: &str = "names, help and labels are literals that a test has checked";

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("{PREFIX}{name}"), help)
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl<L: Labels> Counters<L> {
    /// The counter of these labels.
    pub fn of(&self, labels: L) -> IntCounter {
        self.family.with_label_values(&labels.values())
    }
}

impl<L: Labels> Gauges<L> {
    /// The gauge of these labels.
    pub fn of(&self, labels: L) -> IntGauge {
        self.family.with_label_values(&labels.values())
    }
}

impl GaugesBy {
    /// The gauge of a value. One that was not told at start has none.
    pub fn of(&self, value: &str) -> Option<&IntGauge> {
        self.gauges.get(value)
    }
}

impl<L> Clone for Counters<L> {
    fn clone(&self) -> Self {
        Counters { family: self.family.clone(), labels: PhantomData }
    }
}

impl<L> Clone for Gauges<L> {
    fn clone(&self) -> Self {
        Gauges { family: self.family.clone(), labels: PhantomData }
    }
}

impl<L> std::fmt::Debug for Counters<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counters").finish_non_exhaustive()
    }
}

impl<L> std::fmt::Debug for Gauges<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
