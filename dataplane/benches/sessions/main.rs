//! Stub.
fn main() { let _ = headrace_dataplane::Config::default(); }
