//! Owns how a session ends.

use thiserror::Error;

use super::codes;
use crate::{code::Code, error::Error};

/// Why a session is over.
#[derive(Clone, Debug, Error)]
pub enum Ended {
    /// The peer closed it, with WT_CLOSE_SESSION or by ending the CONNECT stream, which says code 0 and no reason.
    #[error("the peer closed the session with {code}: {reason}")]
    ByPeer {
        /// The peer's application's code.
        code: u32,
        /// Its reason.
        reason: String,
    },
    /// This side closed it.
    #[error("closed with {code}: {reason}")]
    ByUs {
        /// The application's code.
        code: u32,
        /// Its reason.
        reason: String,
    },
    /// The peer reset the CONNECT stream.
    #[error("the peer reset the session with {0}")]
    Reset(Code),
    /// This side reset the CONNECT stream: the peer broke the protocol, or the application gave up.
    #[error("reset with {code}: {reason}")]
    Aborted {
        /// What was sent.
        code: Code,
        /// What the peer did, if it was its fault.
        reason: &'static str,
    },
    /// The connection ended.
    #[error(transparent)]
    Connection(#[from] Error),
}

impl Ended {
    /// The code with which to reset what depends on the session, such as the session that it is relayed to.
    pub fn code(&self) -> Code {
        match self {
            Self::ByPeer { code, .. } | Self::ByUs { code, .. } => codes::from_application(*code),
            Self::Reset(code) | Self::Aborted { code, .. } => *code,
            Self::Connection(error) => error.code().unwrap_or(Code::H3_REQUEST_CANCELLED),
        }
    }

    /// Whether one of the applications closed the session, with a code and a reason.
    pub const fn is_close(&self) -> bool {
        matches!(self, Self::ByPeer { .. } | Self::ByUs { .. })
    }
}
