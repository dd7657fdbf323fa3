//! WebTransport sessions: the request of a client on HTTP/3, what a rule makes of it, and the relay after that.
//!
//! ```text
//!   opening   the decision, as for tunnels: rule, Origin, backend, answer
//!   relay     a session with a backend: streams one to one, datagrams, close and drain end to end
//!   streams   no session behind: a stream is a TCP connection, the datagrams are a UDP flow (tcp, udp)
//!   pipe      one direction of a stream, between two ends
//!   running   what holds of one session: its limits (gate), its clock, what is counted
//!   allowance what QUIC lets a connection with so many sessions have under way
//! ```
//!
//! Owns what an intermediary does with sessions (draft-ietf-webtrans-http3). What a session is, its flow control included, is
//! [`headrace_http3::webtransport`]'s: both sides have their own, and nothing of one side's is told to the other.

mod allowance;
mod clock;
mod datagrams;
mod ends;
mod gate;
mod opening;
mod pipe;
mod relay;
mod running;
mod streams;
mod tcp;
mod udp;

use std::sync::Arc;

use headrace_http3::server::Connection;
use headrace_http3::webtransport::{Refused, Session};
use headrace_http3::{Config, webtransport};
use headrace_table::{WebTransport, WebTransportOptions};

pub(crate) use self::allowance::{Allowance, Base, Grant};
pub(crate) use self::opening::{Unopened, open};
use self::running::Running;
use self::streams::Backends;
use crate::downstream::StreamGuard;
use crate::listener::quic::STREAM_WINDOW;
use crate::metrics::{DatagramDrop, StreamRefusal, WorkerMetrics};
use crate::upstream::OpenedSession;
use crate::worker::Worker;

/// Streams of each kind that a peer is told it may have open in one session, before the session's rule is known. Where that
/// allows fewer, those beyond are refused; where it allows more, the peer is told. All sessions of a client's connection together may open so many before QUIC allows
/// more: Chromium does not wait for that, it fails.
pub(crate) const STREAMS: u32 = 100;

/// What a rule can allow at most: quinn allots some 160 octets for every stream that it allows, open or not.
const MAX_STREAMS: u32 = 1_000;

/// The streams of each kind that a session may have open, by its rule.
fn streams_of(rules: &WebTransport) -> u32 {
    rules.limits.streams.min(MAX_STREAMS)
}

/// Octets that a peer may send on a session's streams ahead of what the other side takes: four streams' windows, so that
/// three that nobody reads do not hold up a fourth.
pub(crate) const MAX_DATA: u64 = 4 * STREAM_WINDOW as u64;

/// Datagrams that wait for the other side, and their octets: some fifty packets, as everywhere on their way. The oldest
/// makes room.
const MAX_DATAGRAMS: usize = 64;
const MAX_DATAGRAM_OCTETS: usize = 64 * 1024;

/// Sessions that this side is willing to have with one backend on one connection. Which it has is the pool's to decide.
const MAX_UPSTREAM_SESSIONS: u32 = 64;

/// How a client's connection is served, by what its port offers.
pub(crate) fn http3_config(options: WebTransportOptions) -> Config {
    let offered = options.enabled && options.sessions > 0;
    Config { webtransport: offered.then(|| bounds(options.sessions, options.early_octets)), ..Config::default() }
}

/// What backends may do.
pub(crate) fn upstream_config() -> webtransport::Config {
    bounds(MAX_UPSTREAM_SESSIONS, WebTransportOptions::default().early_octets)
}

fn bounds(sessions: u32, early_octets: u32) -> webtransport::Config {
    webtransport::Config {
        max_sessions: sessions,
        max_streams_bidi: STREAMS,
        max_streams_uni: STREAMS,
        max_data: MAX_DATA,
        stream_window: STREAM_WINDOW.into(),
        max_datagrams: MAX_DATAGRAMS,
        max_datagram_octets: MAX_DATAGRAM_OCTETS,
        max_early_datagrams: MAX_DATAGRAMS,
        max_early_octets: usize::try_from(early_octets).unwrap_or(usize::MAX),
        ..webtransport::Config::default()
    }
}

/// Counts what a connection refused for want of room since this was last asked.
pub(crate) fn count_refused(metrics: &WorkerMetrics, connection: &Connection, counted: &mut Refused) {
    let now = connection.refused();
    metrics.session_streams_refused_total(StreamRefusal::Early).add(now.early_streams - counted.early_streams);
    metrics.session_streams_refused_total(StreamRefusal::TooMany).add(now.excess_streams - counted.excess_streams);
    metrics.session_datagrams_dropped_total(DatagramDrop::Early).add(now.early_datagrams - counted.early_datagrams);
    *counted = now;
}

/// A session that the client was told is open.
pub(crate) struct Opened {
    client: Session,
    towards: Towards,
    running: Arc<Running>,
}

/// What is behind it.
enum Towards {
    Session(Box<OpenedSession>),
    Streams(Backends),
}

impl Opened {
    /// Starts the relay on a task of its own: what the opening needed is let go of.
    pub(crate) fn start(self, worker: &Arc<Worker>, open: StreamGuard) {
        let Self { client, towards, running } = self;
        let worker = Arc::clone(worker);
        crate::downstream::spawn(async move {
            match towards {
                Towards::Session(backend) => relay::run(&worker, &running, &client, *backend).await,
                Towards::Streams(backends) => streams::run(&worker, &running, &client, backends).await,
            }
            drop((client, open));
        });
    }
}
