//! WebTransport over HTTP/3 (draft-ietf-webtrans-http3): sessions of streams and datagrams beside the requests of a
//! connection, for both roles.
//!
//! # How it is put together
//!
//! ```text
//!        application's tasks                          the connection's task
//!   server, client    how a session begins       server::Connection::accept, client::Connection::drive
//!   Session           streams, datagrams, end        router    headers of streams, datagrams ----+
//!   SendStream, RecvStream                           driver    a session's CONNECT stream        |
//!        |                                             |                                         |
//!        +------------- session::Inner ----------------+-----------------------------------------+
//!                        |        hub: the table of sessions, what waits for one
//!   state   one session: streams and datagrams that wait, flow control, its end    }
//!   table   which sessions there are, and what came before its session             } pure: no quinn,
//!   flow, capsule, datagrams, header, draft, codes, subprotocol                    } no tokio
//! ```
//!
//! # What holds
//!
//! - A connection offers WebTransport when its [`Config`](crate::Config) has a [`Config`] of it, and is as it was without
//!   one otherwise.
//! - Of a stream only its header is read before the application reads it, and QUIC lets no more streams be opened because
//!   one waits here: that credit comes back when a stream is closed.
//! - What waits is bounded by [`Config`], and the peer that goes beyond gets the draft's code for it.
//! - A session's end ends its streams whoever holds them, with WT_SESSION_GONE, and wakes everybody who waits.
//! - Flow control capsules are consumed here and said anew: nobody relays them.
//! - No tasks are spawned. The task that has the connection drives its sessions, too, by
//!   [`accept`](crate::server::Connection::accept) or [`drive`](crate::client::Connection::drive).
//!
//! # A server
//!
//! ```no_run
//! # use headrace_http3::{server, webtransport::{self, SessionRequest}, StreamError};
//! # use http::Response;
//! # async fn serve(incoming: server::Incoming) -> Result<(), Box<dyn std::error::Error>> {
//! let (request, send, recv) = incoming.resolve().await?;
//! if webtransport::is_request(&request) {
//!     let asked = SessionRequest::receive(&request, send, recv).await?;
//!     let session = asked.accept(Response::new(()), None).await?;
//!     let (mut send, mut recv) = session.accept_bi().await?;
//!     let mut octets = [0; 4096];
//!     let size = recv.read_data(&mut octets).await?;
//!     send.write_all(&octets[..size]).await?;
//!     send.finish()?;
//!     session.closed().await;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Where the drafts and this differ
//!
//! No Rust QUIC has RESET_STREAM_AT, which drafts since 15 ask for: a stream that is reset may be unknown to the peer,
//! and [`flow`] says what is done about it. How many octets came and were not read is QUIC's secret, so that WT_MAX_DATA
//! is held against what is read.

pub mod capsule;
mod client;
pub mod codes;
mod config;
pub mod datagrams;
pub mod draft;
mod driver;
mod ended;
pub mod flow;
pub mod header;
mod hub;
mod router;
mod server;
mod session;
pub mod state;
mod stream;
pub mod subprotocol;
pub mod table;

pub use client::{ConnectError, connect};
pub use config::Config;
pub use draft::Draft;
pub use ended::Ended;
pub(crate) use hub::Hub;
pub use hub::Refused;
pub(crate) use router::{Request, Router};
pub use server::{AcceptError, RequestError, SessionRequest, is_request};
pub use session::{BiOpening, DatagramError, Session, UniOpening};
pub use stream::{RESET_INTERVAL, RecvStream, SendStream};
