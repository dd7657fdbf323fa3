//! Compiles every case under `tests/golden` and compares with what it should give.
//!
//! `UPDATE_GOLDEN=1 cargo test -p headrace-compile --test golden` rewrites `table.yaml` and `status.yaml`, and
//! `services.yaml` where Services are planned; read the diff.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "golden/case.rs"]
mod case;

use std::collections::BTreeMap;

use case::{Case, cases};
use headrace_compile::{Compiled, World, compile};
use headrace_table::Table;

/// How many orders each input is put in.
const SHUFFLES: u64 = 4;

#[test]
fn golden() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut failures = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 40, "only {} cases were found", cases.len());
    for case in &cases {
        let compiled = compile(&case.world(), &case.options);
        let tables = case.options.pod_sets.iter().map(|set| compiled.table_for(set).into_owned());
        for table in [compiled.table.clone()].into_iter().chain(tables) {
            if let Err(refused) = Table::try_from(table) {
                failures.push(format!("{}: the table is refused: {refused}", case.directory.display()));
            }
        }
        let files = files(&compiled);
        for seed in 0..SHUFFLES {
            let shuffled = compile(&shuffled(case, seed), &case.options);
            assert_eq!(self::files(&shuffled), files, "{}: order matters (seed {seed})", case.directory.display());
        }
        for (name, contents) in files {
            let path = case.directory.join(name);
            if update && contents.is_empty() {
                let _ = std::fs::remove_file(&path);
            } else if update {
                std::fs::write(&path, contents).unwrap();
            } else if std::fs::read_to_string(&path).unwrap_or_default() != contents {
                failures.push(format!("{} should hold:\n{contents}", path.display()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn files(compiled: &Compiled) -> [(&'static str, String); 3] {
    [
        ("table.yaml", serde_yaml::to_string(&compiled.table).unwrap()),
        ("status.yaml", serde_yaml::to_string(&compiled.statuses).unwrap()),
        ("services.yaml", services(compiled)),
    ]
}

/// What is planned besides the table, or nothing where ports are as listed.
fn services(compiled: &Compiled) -> String {
    let Compiled { table: _, statuses: _, services, held, allotments, pod_sets } = compiled;
    let mut text = String::new();
    if !services.is_empty() {
        text.push_str(&serde_yaml::to_string(&BTreeMap::from([("services", services)])).unwrap());
    }
    let allotments: BTreeMap<String, u16> =
        allotments.iter().map(|(owner, port)| (format!("{}:{}", owner.gateway, owner.port), *port)).collect();
    if !allotments.is_empty() {
        text.push_str(&serde_yaml::to_string(&BTreeMap::from([("allotments", allotments)])).unwrap());
    }
    if !held.is_empty() {
        let held: Vec<String> = held.iter().map(ToString::to_string).collect();
        text.push_str(&serde_yaml::to_string(&BTreeMap::from([("held", held)])).unwrap());
    }
    if !pod_sets.is_empty() {
        text.push_str(&serde_yaml::to_string(&BTreeMap::from([("podSets", pod_sets)])).unwrap());
    }
    text
}

/// The same objects, put in in another order.
fn shuffled(case: &Case, seed: u64) -> World {
    let mut objects = case.objects.clone();
    // Fisher and Yates, with a linear congruential generator (Knuth's MMIX).
    let mut state = seed;
    for at in (1..objects.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        objects.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
    }
    let mut world = World::default();
    for object in objects {
        world.insert(object);
    }
    world
}
