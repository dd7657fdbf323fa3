//! Owns request streams: a message head, content and trailers each way (RFC 9114 section 4.1).
//!
//! A half keeps no octets of content: what the peer has not sent or taken waits in QUIC's windows, so that backpressure
//! goes from end to end.

mod recv;
mod send;

pub(crate) use recv::Asked;
pub use recv::RecvStream;
pub(crate) use send::Section;
pub use send::SendStream;

use crate::{error::StreamError, shared::Shared};

pub(crate) fn read_error(shared: &Shared, error: quinn::ReadError) -> StreamError {
    match error {
        quinn::ReadError::Reset(code) => StreamError::Reset(crate::error::from_varint(code)),
        quinn::ReadError::ConnectionLost(error) => StreamError::Connection(shared.ended(error)),
        quinn::ReadError::ClosedStream | quinn::ReadError::IllegalOrderedRead => StreamError::Closed,
        quinn::ReadError::ZeroRttRejected => StreamError::Reset(crate::Code::H3_REQUEST_REJECTED),
    }
}

pub(crate) fn write_error(shared: &Shared, error: quinn::WriteError) -> StreamError {
    match error {
        quinn::WriteError::Stopped(code) => StreamError::Stopped(crate::error::from_varint(code)),
        quinn::WriteError::ConnectionLost(error) => StreamError::Connection(shared.ended(error)),
        quinn::WriteError::ClosedStream => StreamError::Closed,
        quinn::WriteError::ZeroRttRejected => StreamError::Stopped(crate::Code::H3_REQUEST_REJECTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand idle tunnels are the usual case: what a half adds to QUIC's own handle is held to this.
    #[test]
    fn idle_halves_are_small() {
        let (send, recv) = (size_of::<SendStream>(), size_of::<RecvStream>());
        assert!(send <= size_of::<quinn::SendStream>() + 24, "{send}");
        assert!(recv <= size_of::<quinn::RecvStream>() + 72, "{recv}");
    }
}
