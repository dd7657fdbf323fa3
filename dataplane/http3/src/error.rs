//! Owns what can go wrong on a connection and on a stream, and whose fault it is.

use thiserror::Error;

use crate::{
    code::Code,
    fields::{Malformed, Unsendable},
};

/// Why a connection ended.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke the protocol, or this side gave up: the connection was closed with this code.
    #[error("closed with {code}: {reason}")]
    Local {
        /// What was sent.
        code: Code,
        /// What the peer did.
        reason: &'static str,
    },
    /// The peer closed the connection with a code of HTTP/3.
    #[error("the peer closed the connection with {0}")]
    Peer(Code),
    /// QUIC ended the connection.
    #[error(transparent)]
    Quic(quinn::ConnectionError),
}

impl Error {
    /// The code that one side sent to the other, if HTTP/3 closed the connection.
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Local { code, .. } | Self::Peer(code) => Some(*code),
            Self::Quic(_) => None,
        }
    }

    /// Whether nothing went wrong: one of the sides no longer needed the connection.
    pub fn is_graceful(&self) -> bool {
        match self {
            Self::Local { code, .. } | Self::Peer(code) => *code == Code::H3_NO_ERROR,
            Self::Quic(error) => matches!(error, quinn::ConnectionError::LocallyClosed),
        }
    }

    /// Whether the peer was silent for too long.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Quic(quinn::ConnectionError::TimedOut))
    }

    /// Whether the peer broke the protocol.
    pub fn is_peers_fault(&self) -> bool {
        match self {
            Self::Local { code, .. } => *code != Code::H3_NO_ERROR && *code != Code::H3_INTERNAL_ERROR,
            Self::Peer(_) => false,
            Self::Quic(error) => matches!(error, quinn::ConnectionError::TransportError(_)),
        }
    }
}

impl From<quinn::ConnectionError> for Error {
    fn from(error: quinn::ConnectionError) -> Self {
        match error {
            quinn::ConnectionError::ApplicationClosed(close) => Self::Peer(from_varint(close.error_code)),
            other => Self::Quic(other),
        }
    }
}

/// Why an operation on a stream failed. Other streams of the connection are as they were, unless it is
/// [`StreamError::Connection`].
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer reset its side of the stream: no more will be received.
    #[error("the peer reset the stream with {0}")]
    Reset(Code),
    /// The peer stopped this side of the stream: no more will be taken.
    #[error("the peer stopped the stream with {0}")]
    Stopped(Code),
    /// The peer's message is malformed. The stream was stopped with H3_MESSAGE_ERROR; whoever has its other half resets
    /// that with [`StreamError::code`] too.
    #[error("malformed message: {0}")]
    Malformed(#[from] Malformed),
    /// The peer's stream ended before a whole request or response.
    #[error("the stream ended before its message")]
    Incomplete,
    /// The peer's field section is larger than SETTINGS announced. A request was answered with 431.
    #[error("the field section is too large")]
    FieldsTooLarge,
    /// The peer sends frame after frame without ever coming to its message. The stream was stopped with
    /// H3_EXCESSIVE_LOAD.
    #[error("too many frames before the message")]
    ExcessiveLoad,
    /// The message was not sent.
    #[error("cannot be sent: {0}")]
    Unsendable(#[from] Unsendable),
    /// The peer is going away and takes no new request: it is safe to send it on another connection.
    #[error("the peer is going away")]
    GoingAway,
    /// The stream's WebTransport session is over: the stream was reset and stopped with WT_SESSION_GONE.
    #[error("the stream's session is over")]
    SessionGone,
    /// The half of the stream was finished, reset or stopped by this side, or is not at the point where this operation
    /// belongs.
    #[error("the stream is not in a state for this")]
    Closed,
    /// The connection ended.
    #[error(transparent)]
    Connection(#[from] Error),
}

impl StreamError {
    /// The code with which to reset or stop the other halves that depend on this one.
    pub fn code(&self) -> Code {
        match self {
            Self::Reset(code) | Self::Stopped(code) => *code,
            Self::Malformed(_) => Code::H3_MESSAGE_ERROR,
            Self::Incomplete => Code::H3_REQUEST_INCOMPLETE,
            Self::FieldsTooLarge | Self::ExcessiveLoad => Code::H3_EXCESSIVE_LOAD,
            Self::Unsendable(_) | Self::Closed => Code::H3_INTERNAL_ERROR,
            Self::GoingAway => Code::H3_REQUEST_REJECTED,
            Self::SessionGone => Code::WT_SESSION_GONE,
            Self::Connection(error) => error.code().unwrap_or(Code::H3_REQUEST_CANCELLED),
        }
    }

    /// Whether the peer ended the stream on purpose, by reset or stop.
    pub const fn is_by_peer(&self) -> bool {
        matches!(self, Self::Reset(_) | Self::Stopped(_))
    }

    /// Whether the request was not processed, so that it may be sent again whatever its method (RFC 9114 section 4.1.1).
    pub fn is_unprocessed(&self) -> bool {
        match self {
            Self::GoingAway => true,
            Self::Reset(code) | Self::Stopped(code) => *code == Code::H3_REQUEST_REJECTED,
            _ => false,
        }
    }

    /// Whether the whole connection ended.
    pub const fn is_connection(&self) -> bool {
        matches!(self, Self::Connection(_))
    }
}

impl From<StreamError> for std::io::Error {
    fn from(error: StreamError) -> Self {
        use std::io::ErrorKind;
        let kind = match &error {
            StreamError::Reset(_) => ErrorKind::ConnectionReset,
            StreamError::Stopped(_) => ErrorKind::BrokenPipe,
            StreamError::Malformed(_) => ErrorKind::InvalidData,
            StreamError::Incomplete => ErrorKind::UnexpectedEof,
            StreamError::Connection(error) if error.is_timeout() => ErrorKind::TimedOut,
            StreamError::Connection(_) | StreamError::Closed => ErrorKind::NotConnected,
            StreamError::SessionGone => ErrorKind::ConnectionAborted,
            StreamError::FieldsTooLarge
            | StreamError::ExcessiveLoad
            | StreamError::Unsendable(_)
            | StreamError::GoingAway => ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// Every QUIC integer is a code.
pub(crate) fn from_varint(value: quinn::VarInt) -> Code {
    Code::new(value.into_inner()).expect("a QUIC integer is a code")
}

/// Every code is a QUIC integer.
pub(crate) fn to_varint(code: Code) -> quinn::VarInt {
    quinn::VarInt::from_u64(code.value()).expect("a code is a QUIC integer")
}
