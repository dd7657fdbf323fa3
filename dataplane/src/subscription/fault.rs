//! Why no controller publishes to us, in words for whoever reads `/readyz`, and in a label for whoever counts.

use std::io;
use std::path::PathBuf;

use rustls::pki_types::pem;
use tonic::{Code, Status};

use crate::metrics::DialResult;

/// What every dial needs, and is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unprepared {
    #[error("the CA's certificates cannot be read from {}: {error}", path.display())]
    CaUnreadable { path: PathBuf, error: io::Error },
    #[error("the CA's certificates in {} are not PEM: {error}", path.display())]
    CaNotPem { path: PathBuf, error: pem::Error },
    #[error("a certificate of the CA in {} is broken: {error}", path.display())]
    CaBroken { path: PathBuf, error: rustls::Error },
    #[error("{} holds no certificate of a CA", path.display())]
    CaEmpty { path: PathBuf },
    #[error("the token cannot be read from {}: {error}", path.display())]
    TokenUnreadable { path: PathBuf, error: io::Error },
    #[error("{} holds no token", path.display())]
    TokenEmpty { path: PathBuf },
    #[error("what {} holds is no token", path.display())]
    TokenBroken { path: PathBuf },
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
    #[error("{name} cannot be resolved: {error}")]
    Name { name: String, error: io::Error },
    #[error("{name} has no address: is a controller running and ready?")]
    NoAddress { name: String },
}

/// Why the controller at one address does not publish to us.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialFault {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("HTTP/2: {0}")]
    Http2(hyper::Error),
    #[error("no answer in time to {0}")]
    Timeout(Step),
    #[error("{}", told(.0))]
    Refused(Box<Status>),
}

/// What was being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Handshake,
    Subscribe,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "the connection",
            Self::Handshake => "the TLS handshake",
            Self::Subscribe => "the subscription",
        })
    }
}

impl Unprepared {
    pub(super) fn result(&self) -> DialResult {
        match self {
            Self::CaUnreadable { .. } | Self::CaNotPem { .. } | Self::CaBroken { .. } | Self::CaEmpty { .. } => {
                DialResult::Ca
            }
            Self::TokenUnreadable { .. } | Self::TokenEmpty { .. } | Self::TokenBroken { .. } => DialResult::Token,
            Self::Tls(_) => DialResult::Tls,
            Self::Name { .. } | Self::NoAddress { .. } => DialResult::Name,
        }
    }
}

impl DialFault {
    pub(super) fn result(&self) -> DialResult {
        match self {
            Self::Connect(_) => DialResult::Connect,
            Self::Tls(_) => DialResult::Tls,
            Self::Timeout(_) => DialResult::Timeout,
            Self::Http2(_) => DialResult::Failed,
            Self::Refused(status) => match status.code() {
                // What a connection's end becomes on this side has a source; what the controller said has none.
                Code::Unavailable if std::error::Error::source(&**status).is_none() => DialResult::Follower,
                Code::Unauthenticated | Code::PermissionDenied => DialResult::Unauthenticated,
                _ => DialResult::Failed,
            },
        }
    }
}

/// A status in words: the code where the controller said nothing of its own.
pub(super) fn told(status: &Status) -> String {
    let code = status.code();
    match status.message() {
        "" => code.description().to_owned(),
        message => format!("{code:?}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controllers_say_is_told_and_counted() {
        let broken = || std::io::Error::from(io::ErrorKind::ConnectionReset);
        let cases = [
            (Status::unavailable("not the leader"), DialResult::Follower, "Unavailable: not the leader"),
            (Status::unauthenticated("no token"), DialResult::Unauthenticated, "Unauthenticated: no token"),
            (Status::permission_denied(""), DialResult::Unauthenticated, Code::PermissionDenied.description()),
            (Status::internal("oops"), DialResult::Failed, "Internal: oops"),
        ];
        for (status, result, text) in cases {
            let fault = DialFault::Refused(Box::new(status));
            assert_eq!((fault.result(), fault.to_string().as_str()), (result, text));
        }
        let mut lost = Status::unavailable("connection lost");
        lost.set_source(std::sync::Arc::new(broken()));
        assert_eq!(DialFault::Refused(Box::new(lost)).result(), DialResult::Failed, "nobody said that");
        assert_eq!(DialFault::Connect(broken()).result(), DialResult::Connect);
    }
}
