//! Fuzzes `cid` of `src/cid.rs`.
#![no_main]

#[path = "../src/cid.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::cid(data));
