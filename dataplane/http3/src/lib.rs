//! HTTP/3 (RFC 9114), QPACK (RFC 9204), extended CONNECT (RFC 9220), HTTP datagrams and capsules (RFC 9297), and
//! WebTransport (draft-ietf-webtrans-http3) on quinn.
//!
//! # How it is put together
//!
//! ```text
//! server, client      a connection's requests, and how it ends
//!   stream, tunnel    the halves of a request stream; both as a byte pipe
//!   webtransport      sessions, their streams and datagrams
//!   connection        control and QPACK streams, polled by the connection's owner
//!     shared          limits, the peer's settings, why the connection failed
//! fields              message rules, between QPACK and the `http` types         } pure: no quinn, no tokio
//!   qpack             field sections with the static table and Huffman strings  }
//! control             what a peer says on its control and QPACK streams         }
//! frame, settings, capsule, datagram, priority, stream_type, varint, code       }
//! ```
//!
//! # What holds everywhere
//!
//! - Nothing is allocated by a length that the peer declared. Every bound has a name in [`config`] or beside its codec.
//! - Nothing is read from a stream before the application asks for it, and content is never kept here: what the peer
//!   sends too early waits in QUIC's windows. Where WebTransport is offered, the first integers of a stream are read to
//!   tell whose it is.
//! - What breaks a message ends its stream; what breaks the protocol ends the connection, with the code that the RFC
//!   names.
//! - No tasks are spawned. A connection is polled by the task that owns it.
//! - QPACK's dynamic table has no capacity in either direction, so that no stream waits for another one and an idle
//!   connection keeps no table.

pub mod capsule;
pub mod client;
pub mod code;
pub mod config;
mod connection;
pub mod control;
pub mod datagram;
pub mod error;
pub mod fields;
pub mod frame;
pub mod priority;
pub mod qpack;
pub mod server;
pub mod settings;
mod shared;
pub mod stream;
pub mod stream_type;
pub mod tunnel;
pub mod varint;
pub mod webtransport;

pub use code::Code;
pub use config::Config;
pub use error::{Error, StreamError};
pub use fields::Protocol;
pub use settings::Settings;
pub use stream::{RecvStream, SendStream};
pub use tunnel::Tunnel;
