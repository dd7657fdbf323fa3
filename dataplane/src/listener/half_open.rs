//! Handshakes of one worker that are not complete.
//!
//! Owns their count, by which it is told whether clients have to show that their address is theirs. It must not know what a
//! handshake is.

use std::sync::Arc;

/// Handshakes of a worker that may be half open before clients are asked for their address (RFC 9000 section 8.1.2): at some
/// 50 KB each, 25 MB. Honest clients are done in a round trip or two, so that this is thousands of them in a second.
pub(super) const MANY: usize = 512;

/// How many there are. Each clone but the first is one.
#[derive(Debug, Default)]
pub(crate) struct HalfOpen(Arc<()>);

/// One that is under way, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    _counted: Arc<()>,
}

impl HalfOpen {
    pub(super) fn enter(&self) -> UnderWay {
        UnderWay { _counted: Arc::clone(&self.0) }
    }

    pub(super) fn are_many(&self) -> bool {
        Arc::strong_count(&self.0) > MANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_is_a_number() {
        let half_open = HalfOpen::default();
        let mut under_way: Vec<_> = (1..MANY).map(|_| half_open.enter()).collect();
        assert!(!half_open.are_many());
        under_way.push(half_open.enter());
        assert!(half_open.are_many());
        under_way.pop();
        assert!(!half_open.are_many());
    }
}
