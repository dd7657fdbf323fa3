//! The exchange from outside: what travels, what is refused, what is kept, and that no octets of a peer do harm.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod bounds;
mod delta;
mod file;
mod order;
mod pair;
mod properties;
mod reports;
mod resume;
mod rules;
