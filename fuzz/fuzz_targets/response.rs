//! Fuzzes `headrace_fuzz::response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headrace_fuzz::response(data));
