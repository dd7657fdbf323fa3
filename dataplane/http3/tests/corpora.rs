//! Replays the fuzzers' corpora through the fuzzers' own functions, as they are and mutated from a fixed seed, so that
//! every run of the tests exercises the parsers without a nightly compiler.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, panic, path::Path};

#[path = "../../../fuzz/src/lib.rs"]
#[allow(dead_code, unreachable_pub, reason = "the file is a crate of its own, whose targets use every function")]
mod entries;

/// Mutations of each seed.
const MUTATIONS: u64 = 3000;

/// Where the sequence of mutations begins; a failure prints the input itself.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// The xorshift generator: all that is needed is that every run draws the same.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    /// One to four changes to a seed, of the kinds that fuzzers make.
    fn mutate(&mut self, seed: &[u8], other: &[u8]) -> Vec<u8> {
        let mut data = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(data.len() + 1);
            match self.below(7) {
                0 if at < data.len() => data[at] ^= 1 << self.below(8),
                1 if at < data.len() => data[at] = self.below(256) as u8,
                2 => data.insert(at, self.below(256) as u8),
                3 if at < data.len() => {
                    data.remove(at);
                }
                4 => data.truncate(at),
                5 => {
                    let (from, to) = (self.below(other.len() + 1), self.below(other.len() + 1));
                    data.splice(at..at, other[from.min(to)..from.max(to)].iter().copied());
                }
                // An integer at its limit.
                _ => data.splice(at..at, [0xff; 8]).for_each(drop),
            }
        }
        data
    }
}

#[test]
fn corpora_and_mutations() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut draws = Draws(SEED);
    for (name, entry) in entries::ENTRIES {
        let mut paths: Vec<_> = fs::read_dir(corpus.join(name)).unwrap().map(|file| file.unwrap().path()).collect();
        // The order of a directory is nobody's promise.
        paths.sort();
        assert!(!paths.is_empty(), "{name} has no corpus");
        let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        let run = |data: &[u8]| {
            assert!(panic::catch_unwind(|| entry(data)).is_ok(), "{name} fails on {data:02x?}");
        };
        for seed in &seeds {
            run(seed);
            for _ in 0..MUTATIONS {
                let other = &seeds[draws.below(seeds.len())];
                run(&draws.mutate(seed, other));
            }
        }
    }
}
