//! What was measured, as a table: the median of every target's rounds.

use std::fmt::Write as _;

use crate::measure::Sample;
use crate::target::Target;

pub(crate) fn markdown(samples: &[Sample]) -> String {
    let targets: Vec<Target> =
        Target::ALL.into_iter().filter(|target| samples.iter().any(|sample| sample.target == *target)).collect();
    let mut names: Vec<&str> = Vec::new();
    for sample in samples.iter().filter(|sample| sample.value.is_some()) {
        if !names.contains(&sample.name) {
            names.push(sample.name);
        }
    }
    let mut text = String::from("| one worker |");
    for target in &targets {
        let _infallible = write!(text, " {} |", target.title());
    }
    let _infallible = write!(text, "\n|---|{}", "---:|".repeat(targets.len()));
    for name in names {
        let _infallible = write!(text, "\n| {name} |");
        for target in &targets {
            let values = samples.iter().filter(|sample| sample.target == *target && sample.name == name);
            let cell = median(values.filter_map(|sample| sample.value)).map_or_else(String::new, figure);
            let _infallible = write!(text, " {cell} |");
        }
    }
    for sample in samples {
        if let Some(failed) = &sample.failed {
            let _infallible = write!(text, "\n\n{}, {}: {failed}", sample.title, sample.name);
        }
    }
    text
}

fn figure(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
