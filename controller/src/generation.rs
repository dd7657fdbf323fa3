//! A generation: one compile's outcome with the World that it was compiled from.
//!
//! What every part behind the engine works from. Owns no behaviour; who compiles and who publishes is not its business.

use std::sync::Arc;

use headrace_compile::{Compiled, World};

/// What one compile made.
#[derive(Debug)]
pub struct Generation {
    /// Counts the compiles of this process, from 1. Greater is newer; the numbers of two processes do not compare.
    pub number: u64,
    /// The table, the statuses and what else came of it.
    pub compiled: Compiled,
    /// What it was compiled from. Immutable: what the cluster holds meanwhile may be newer.
    pub world: Arc<World>,
}
