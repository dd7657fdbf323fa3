//! Replays the fuzzer's corpora through the fuzzer's own functions: as they are, cut at every octet, and with every bit
//! turned.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, panic, path::Path};

#[path = "../../../fuzz/src/hop.rs"]
#[allow(unreachable_pub, reason = "the file belongs to a crate of its own")]
mod entry;

/// A function and the name of its corpus.
type Entry = (&'static str, fn(&[u8]));

const ENTRIES: &[Entry] = &[("hop", entry::hop), ("hop-sealed", entry::hop_sealed)];

fn run(entry: fn(&[u8]), name: &Path, data: &[u8]) {
    assert!(panic::catch_unwind(|| entry(data)).is_ok(), "{} fails on {data:02x?}", name.display());
}

#[test]
fn the_corpora_cut_and_turned() {
    for (name, entry) in ENTRIES {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
        let mut paths: Vec<_> = fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "there is no corpus of {name}");
        for path in paths {
            let seed = fs::read(&path).unwrap();
            for length in 0..=seed.len() {
                run(*entry, &path, &seed[..length]);
            }
            for bit in 0..seed.len() * 8 {
                let mut turned = seed.clone();
                turned[bit / 8] ^= 1 << (bit % 8);
                run(*entry, &path, &turned);
            }
        }
    }
}
