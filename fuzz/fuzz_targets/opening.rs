//! Fuzzes `headrace_fuzz::opening`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headrace_fuzz::opening(data));
