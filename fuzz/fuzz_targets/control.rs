//! Fuzzes `headrace_fuzz::control`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headrace_fuzz::control(data));
