//! Where connections come in: TCP with and without TLS, and QUIC.
//!
//! Owns accepting, handshakes and the choice of the HTTP version. Hands every connection to [`crate::downstream`].

pub(crate) mod half_open;
mod handshake;
mod io;
pub(crate) mod quic;
pub(crate) mod tcp;
pub(crate) mod token;
mod udp;

pub(crate) use self::io::Io;
