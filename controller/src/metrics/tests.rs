//! That names follow Prometheus' rules, that every module's families go into one registry, and that the reference is up to
//! date.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;

use super::*;

#[derive(Clone, Copy)]
enum Colour {
    Red,
    Green,
}

impl Label for Colour {
    const NAME: &'static str = "colour";
    const ALL: &'static [Self] = &[Colour::Red, Colour::Green];

    fn label(self) -> &'static str {
        match self {
            Colour::Red => "red",
            Colour::Green => "green",
        }
    }
}

#[derive(Clone, Copy)]
struct Size;

impl Label for Size {
    const NAME: &'static str = "size";
    const ALL: &'static [Self] = &[Size];

    fn label(self) -> &'static str {
        "large"
    }
}

#[test]
fn every_series_is_there_from_the_start() {
    let metrics = Metrics::new();
    let counters = metrics.counters::<(Colour, Size)>("things_total", "Things of two colours.");
    counters.of((Colour::Green, Size)).inc();
    metrics.gauges_by("pods", "Pods of a set.", "pod_set", ["default"]).of("default").unwrap().set(3);
    let described = metrics.describe();
    let names: Vec<_> = described.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(
        names,
        ["headrace_controller_build_info", "headrace_controller_pods", "headrace_controller_things_total"]
    );
    let text = metrics.encode();
    assert!(text.contains("headrace_controller_things_total{colour=\"red\",size=\"large\"} 0"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("headrace_controller_things_total{")).count(), 2);
    assert!(text.contains("headrace_controller_pods{pod_set=\"default\"} 3"), "{text}");
}

fn all() -> Vec<Description> {
    let metrics = Metrics::new();
    crate::run::declare(&metrics);
    metrics.describe()
}

/// What `promtool check metrics` and the naming rules of Prometheus ask for.
#[test]
fn names_and_help_follow_the_rules() {
    let is_snake = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    for metric in all() {
        let name = &metric.name;
        assert!(name.starts_with(PREFIX) && is_snake(name), "{name}");
        assert_eq!(metric.kind == "counter", name.ends_with("_total"), "{name}");
        let is_in_units = ["_seconds", "_bytes"].iter().any(|unit| name.ends_with(unit));
        assert!(metric.kind != "histogram" || is_in_units, "{name}: in base units");
        assert!(!["_sum", "_count", "_bucket"].iter().any(|end| name.ends_with(end)), "{name}");
        assert!(metric.help.ends_with('.') && metric.help.len() > 10, "{name}: {}", metric.help);
        for (label, values) in &metric.labels {
            assert!(is_snake(label) && label != "le", "{name}: {label}");
            assert!(!values.is_empty(), "{name}: {label}");
        }
    }
}

/// Labels whose values depend on the program or on how it is installed.
const OPEN: [&str; 2] = ["version", "pod_set"];

/// `docs/controller-metrics.md` is made from the declarations: UPDATE_GOLDEN=1 rewrites it.
#[test]
fn the_reference_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/controller-metrics.md");
    let expect = reference();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &expect).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == expect, "docs/controller-metrics.md is out of date: run the tests once with UPDATE_GOLDEN=1");
}

fn reference() -> String {
    let mut text = String::from(
        "# Metrics of the controller\n\n\
         `/metrics` on the admin address, in the Prometheus text format. Every label has a closed set of values, so that\n\
         nothing in the cluster can make more series. This page is made from the declarations in `controller/src` by a test\n\
         (`UPDATE_GOLDEN=1`).\n",
    );
    for metric in all() {
        write!(text, "\n## `{}`\n\n{}\n\n- type: {}\n", metric.name, metric.help, metric.kind).unwrap();
        for (label, values) in metric.labels {
            let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
            let values = if OPEN.contains(&label.as_str()) { "any".to_owned() } else { values.join(", ") };
            writeln!(text, "- label `{label}`: {values}").unwrap();
        }
    }
    text
}
