//! Replays the fuzzer's corpus through the fuzzer's own function: as it is, cut at every octet, and with every bit turned.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, panic, path::Path};

#[path = "../../../fuzz/src/cid.rs"]
#[allow(unreachable_pub, reason = "the file belongs to a crate of its own")]
mod entry;

fn run(name: &Path, data: &[u8]) {
    assert!(panic::catch_unwind(|| entry::cid(data)).is_ok(), "{} fails on {data:02x?}", name.display());
}

#[test]
fn the_corpus_cut_and_turned() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/cid");
    let mut paths: Vec<_> = fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "there is no corpus");
    for path in paths {
        let seed = fs::read(&path).unwrap();
        for length in 0..=seed.len() {
            run(&path, &seed[..length]);
        }
        for bit in 0..seed.len() * 8 {
            let mut turned = seed.clone();
            turned[bit / 8] ^= 1 << (bit % 8);
            run(&path, &turned);
        }
    }
}
