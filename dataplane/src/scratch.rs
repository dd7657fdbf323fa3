//! One buffer for each thread, which everything that passes octets on reads into.
//!
//! Owns its size. What is idle therefore holds no buffer: an octet lies here from its read to the write that follows within
//! the same poll, and only what that did not take is kept, by who reads.

use std::cell::RefCell;

/// What one read can bring, and so what a stalled direction can hold: one TLS record's worth (RFC 8446 section 5.1), so
/// that a record is never split over two reads.
pub(crate) const SCRATCH: usize = 16 * 1024;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Lends the thread's buffer. Not to be called from within `use_it`.
pub(crate) fn with<R>(use_it: impl FnOnce(&mut [u8]) -> R) -> R {
    SHARED.with_borrow_mut(|scratch| use_it(scratch))
}
