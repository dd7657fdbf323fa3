//! Fuzzes `headrace_fuzz::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headrace_fuzz::request(data));
