//! Controllers and pods under delay, loss, partition, restart and leader change, in virtual time and by a seed.
//!
//! ```text
//!   truth ─► Controller x 1..5, of which one holds the lease ── Link (delay, breaks) ── Pod x 1..30, each with its file
//!               └──────────────── Checks: what must hold, at every step and after the network healed ─────────┘
//! ```
//!
//! `HEADRACE_SIMULATION_SEED=17` runs one seed again; `HEADRACE_SIMULATION_SEEDS=5000` runs as many from zero on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checks;
mod cluster;
mod controller;
mod network;
mod pod;
mod random;
mod world;

use std::env;

use checks::Coverage;
use world::World;

/// Seeds of a run where nobody asks for more.
const DEFAULT_SEEDS: u64 = 30;

/// Tells the seed of a run that failed.
struct Running(u64);

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation failed; again with HEADRACE_SIMULATION_SEED={}", self.0);
        }
    }
}

fn run(seed: u64) -> Coverage {
    let _told = Running(seed);
    World::new(seed).run()
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|value| value.parse().expect("a seed, or how many, is a number"))
}

#[test]
fn every_live_pod_ends_with_the_last_table_and_none_ever_serves_another() {
    if let Some(seed) = number("HEADRACE_SIMULATION_SEED") {
        eprintln!("seed {seed}: {:?}", run(seed));
        return;
    }
    let seeds = number("HEADRACE_SIMULATION_SEEDS").unwrap_or(DEFAULT_SEEDS);
    let coverage = (0..seeds).map(run).fold(Coverage::default(), Coverage::and);
    eprintln!("{seeds} seeds: {coverage:?}");
    if seeds >= DEFAULT_SEEDS {
        coverage.assert_everything_happened();
    }
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    assert_eq!(run(3), run(3));
}
