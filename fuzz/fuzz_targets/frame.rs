//! Fuzzes `headrace_fuzz::frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headrace_fuzz::frame(data));
