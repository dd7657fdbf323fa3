//! Owns what the application decides about WebTransport on a connection: its bounds, and with which code each is kept.

/// What one side allows the other. Every bound is the peer's to keep within, and is held against it.
///
/// QUIC's own limits are the application's too: datagrams on, enough streams for those of the sessions besides the
/// requests, and windows, which bound what waits unread. Where a session has no flow control of its own (drafts before
/// 13, and peers that announce none), QUIC's limit on open streams should not be above these, because then a peer waits
/// instead of being refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Sessions at once on one connection. More are reset with H3_REQUEST_REJECTED.
    pub max_sessions: u32,
    /// Bidirectional streams that the peer may have open at once in a session. With flow control it learns this limit,
    /// and breaking it ends the session with WT_FLOW_CONTROL_ERROR; without, streams beyond it are refused with
    /// WT_BUFFERED_STREAM_REJECTED.
    pub max_streams_bidi: u32,
    /// The same for unidirectional streams.
    pub max_streams_uni: u32,
    /// Octets that the peer may send on a session's streams ahead of what was read. Breaking it ends the session with
    /// WT_FLOW_CONTROL_ERROR, as far as it can be seen: QUIC does not tell what came and was not read, and its own
    /// windows are what bounds memory.
    pub max_data: u64,
    /// What QUIC lets a stream have under way, its receive window. A stream that ends before it was read to its end
    /// took at most this much of [`Config::max_data`] with it, and that is given back.
    pub stream_window: u64,
    /// Datagrams of a session that wait to be taken. The oldest one makes room, and is counted.
    pub max_datagrams: usize,
    /// Octets of a session's datagrams that wait, likewise.
    pub max_datagram_octets: usize,
    /// Streams on a connection that wait for their session. The oldest one makes room: it is refused with
    /// WT_BUFFERED_STREAM_REJECTED.
    pub max_early_streams: usize,
    /// Datagrams on a connection that wait for their session. The oldest one makes room.
    pub max_early_datagrams: usize,
    /// Octets of datagrams that wait for their session, likewise.
    pub max_early_octets: usize,
}

impl Default for Config {
    /// For a server that does not know its clients: enough for a page with a video and a game on it.
    fn default() -> Self {
        Self {
            max_sessions: 16,
            max_streams_bidi: 100,
            max_streams_uni: 100,
            max_data: 1 << 20,
            stream_window: 256 << 10,
            max_datagrams: 64,
            max_datagram_octets: 64 << 10,
            max_early_streams: 16,
            max_early_datagrams: 16,
            max_early_octets: 16 << 10,
        }
    }
}
