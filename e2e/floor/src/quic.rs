//! Bare QUIC: one ALPN token, streams of octets, and settings that both endpoints share.

pub(crate) mod client;
pub(crate) mod server;

use std::sync::Arc;
use std::time::Duration;

use quinn::{TransportConfig, VarInt};

/// What is spoken: octets on streams, of which nobody but this crate knows the meaning.
const ALPN: &[u8] = b"headrace-floor";

/// How many streams a client may open at first. quinn keeps state for every stream that it allows, open or not: a
/// connection of one tunnel must not pay for a hundred.
const INITIAL_STREAMS: u32 = 2;

/// How many it may open once it has used those: as many tunnels as the widest benchmark puts on a connection.
const MAX_STREAMS: u32 = 128;

/// Long enough for the longest pause of a benchmark, with keep-alives in between.
const IDLE_TIMEOUT_MS: u32 = 120_000;

/// How often the client shows that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Everything else is quinn's default: the floor is what quinn costs as it comes.
fn transport(keep_alive: Option<Duration>) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(INITIAL_STREAMS.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT_MS).into()))
        .keep_alive_interval(keep_alive);
    Arc::new(transport)
}

/// The only cryptography that this crate is built with.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
