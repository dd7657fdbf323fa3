//! Fuzzes `headrace_fuzz::capsule`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headrace_fuzz::capsule(data));
