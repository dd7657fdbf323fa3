//! Where connections come in: TCP with and without TLS, and QUIC.
//!
//! Owns accepting, handshakes and the choice of the HTTP version. Hands every connection to [`crate::downstream`].

mod io;
pub(crate) mod quic;
pub(crate) mod tcp;
mod udp;

pub(crate) use self::io::Io;
