//! Fuzzes `headrace_fuzz::session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headrace_fuzz::session(data));
