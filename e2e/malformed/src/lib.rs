//! h3i against a running Headrace: what a connection is made to send, and what came of it.
//!
//! h3i sends HTTP/3 frame by frame as it is told, on quiche: neither shares a line with Headrace. Must not know any of
//! Headrace's crates but the harness that starts it.
#![allow(clippy::unwrap_used, reason = "all of this is a test's, which stops at what it did not expect")]

pub mod neighbour;
pub mod octets;

use h3i::actions::h3::{Action, StreamEvent, StreamEventType, WaitType, send_headers_frame};
use h3i::client::connection_summary::ConnectionSummary;
use h3i::client::sync_client;
use h3i::config::Config;
use h3i::frame::H3iFrame;
use h3i::quiche;
use h3i::quiche::h3::Header;

/// The first request stream.
pub const REQUEST: u64 = 0;
/// The client's first three unidirectional streams, the first of which is its control stream here.
pub const CONTROL: u64 = 2;
/// The second.
pub const SECOND: u64 = 6;
/// The third.
pub const THIRD: u64 = 10;

/// A connection on which nothing happens for so long is given up by quiche: Headrace said nothing.
const SILENCE_MS: u64 = 4000;

/// What came of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request was answered with this status.
    Status(u16),
    /// The request stream was reset with this code, without an answer.
    Reset(u64),
    /// The connection was closed by the server with this code of the application.
    Closed(u64),
    /// It was closed with this code of the transport.
    Transport(u64),
    /// Nothing came.
    Silence,
}

/// Runs actions on a connection of their own.
///
/// # Panics
/// Where no connection comes about.
pub fn run(port: u16, actions: Vec<Action>) -> ConnectionSummary {
    let config = Config::new()
        .with_host_port(format!("localhost:{port}"))
        .with_connect_to(format!("127.0.0.1:{port}"))
        .verify_peer(false)
        .with_idle_timeout(SILENCE_MS)
        .build()
        .unwrap();
    sync_client::connect(config, actions, None).expect("a connection")
}

/// Runs actions, waits until the first request stream is over or the connection is, and tells which.
///
/// # Panics
/// Where no connection comes about.
pub fn outcome(port: u16, mut actions: Vec<Action>) -> Outcome {
    actions.push(wait(REQUEST, StreamEventType::Finished));
    actions.push(close());
    judge(&run(port, actions))
}

/// What a summary says of the first request stream.
pub fn judge(summary: &ConnectionSummary) -> Outcome {
    if let Some(error) = summary.conn_close_details.peer_error() {
        return if error.is_app { Outcome::Closed(error.error_code) } else { Outcome::Transport(error.error_code) };
    }
    match (status(summary, REQUEST), reset(summary, REQUEST)) {
        (Some(status), _) => Outcome::Status(status),
        (None, Some(code)) => Outcome::Reset(code),
        (None, None) => Outcome::Silence,
    }
}

/// The status on a stream.
///
/// # Panics
/// Where it is no number.
pub fn status(summary: &ConnectionSummary, stream: u64) -> Option<u16> {
    let headers = summary.stream_map.headers_on_stream(stream);
    let status = headers.first()?.status_code()?;
    Some(std::str::from_utf8(status).unwrap().parse().unwrap())
}

/// The code with which a stream was reset.
pub fn reset(summary: &ConnectionSummary, stream: u64) -> Option<u64> {
    summary.stream_map.stream(stream).iter().find_map(|frame| match frame {
        H3iFrame::ResetStream(reset) => Some(reset.error_code),
        _ => None,
    })
}

/// The content of a stream's DATA frames.
pub fn content(summary: &ConnectionSummary, stream: u64) -> Vec<u8> {
    let frames = summary.stream_map.stream(stream);
    let payloads = frames.iter().filter_map(|frame| match frame {
        H3iFrame::QuicheH3(quiche::h3::frame::Frame::Data { payload }) => Some(payload.as_slice()),
        _ => None,
    });
    payloads.collect::<Vec<_>>().concat()
}

/// Octets as they are.
pub fn bytes(stream: u64, octets: impl Into<Vec<u8>>, fin: bool) -> Action {
    Action::StreamBytes { stream_id: stream, fin_stream: fin, bytes: octets.into() }
}

/// Waits for something on a stream.
pub fn wait(stream: u64, event: StreamEventType) -> Action {
    WaitType::StreamEvent(StreamEvent { stream_id: stream, event_type: event }).into()
}

/// Closes as a good client does.
pub fn close() -> Action {
    Action::ConnectionClose { error: quiche::ConnectionError { is_app: true, error_code: 0x100, reason: Vec::new() } }
}

/// A control stream with an empty SETTINGS.
pub fn settings() -> Action {
    bytes(CONTROL, octets::typed(0, &[&octets::frame(octets::SETTINGS, b"")]), false)
}

/// A field section for the site, with more fields behind.
pub fn fields(port: u16, method: &str, path: &str, more: &[(&str, &str)]) -> Vec<Header> {
    let authority = format!("localhost:{port}");
    let head = [(":method", method), (":scheme", "https"), (":authority", &authority), (":path", path)];
    headers(&[&head, more].concat())
}

/// Fields in this order.
pub fn headers(fields: &[(&str, &str)]) -> Vec<Header> {
    fields.iter().map(|(name, value)| Header::new(name.as_bytes(), value.as_bytes())).collect()
}

/// A request without content that must be answered with 200.
pub fn get(port: u16, stream: u64) -> Action {
    send_headers_frame(stream, true, fields(port, "GET", "/bytes/10", &[]))
}

/// A handshake (RFC 9220) to the demo's echo.
pub fn handshake(port: u16, stream: u64) -> Action {
    let more = [(":protocol", "websocket"), ("sec-websocket-version", "13")];
    send_headers_frame(stream, false, fields(port, "CONNECT", "/echo", &more))
}
