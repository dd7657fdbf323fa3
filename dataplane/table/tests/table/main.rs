//! The table from outside: what is refused, which rule wins, and that both agree with a second opinion.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod build;
mod keys;
mod lookup;
mod oracle;
mod precedence;
mod properties;
mod refused;
