//! Labels: closed enums, so that nothing from outside can make a new time series.

/// A label. Its values are those of an enum.
pub trait Label: Copy + 'static {
    /// Its name.
    const NAME: &'static str;
    /// Every value.
    const ALL: &'static [Self];

    /// The value as Prometheus has it.
    fn label(self) -> &'static str;
}

/// One label or several.
pub trait Labels: Sized {
    /// Each label with every value.
    fn names_and_values() -> Vec<(&'static str, Vec<&'static str>)>;

    /// Every combination.
    fn all() -> Vec<Self>;

    /// The values, in the order of the names.
    fn values(&self) -> Vec<&'static str>;
}

fn values_of<L: Label>() -> Vec<&'static str> {
    L::ALL.iter().map(|label| label.label()).collect()
}

impl<L: Label> Labels for L {
    fn names_and_values() -> Vec<(&'static str, Vec<&'static str>)> {
        vec![(L::NAME, values_of::<L>())]
    }

    fn all() -> Vec<Self> {
        L::ALL.to_vec()
    }

    fn values(&self) -> Vec<&'static str> {
        vec![self.label()]
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn names_and_values() -> Vec<(&'static str, Vec<&'static str>)> {
        vec![(A::NAME, values_of::<A>()), (B::NAME, values_of::<B>())]
    }

    fn all() -> Vec<Self> {
        A::ALL.iter().flat_map(|a| B::ALL.iter().map(|b| (*a, *b))).collect()
    }

    fn values(&self) -> Vec<&'static str> {
        vec![self.0.label(), self.1.label()]
    }
}

impl Label for headrace_compile::Kind {
    const NAME: &'static str = "kind";
    const ALL: &'static [Self] = headrace_compile::Kind::ALL;

    fn label(self) -> &'static str {
        headrace_compile::Kind::label(self)
    }
}
