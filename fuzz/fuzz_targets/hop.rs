//! Fuzzes `hop` of `src/hop.rs`.
#![no_main]

#[path = "../src/hop.rs"]
#[allow(dead_code, reason = "each of the two targets calls one of its functions")]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::hop(data));
