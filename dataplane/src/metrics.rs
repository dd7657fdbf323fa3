//! What is counted: the one list of metrics, the cells that workers count in, and the text that Prometheus scrapes.
//!
//! Workers share nothing to count: each has a [`WorkerMetrics`] block of its own, and a scrape sums the blocks. What
//! exists once per process is in [`ProcessMetrics`]. Knows nothing of the server that answers a scrape.

mod cell;
mod family;
mod label;
mod peers;

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, proto};

use cell::{Cell, Counter, Gauge, Histogram};
use family::{Block, Blocks, Family, LabelValues, combinations, families};
pub use label::Transport;
pub(crate) use label::{
    Change, Class, ConnectResult, DatagramDrop, DialResult, Direction, DrainResult, EarlyOutcome, Handover,
    HandshakeResult, HopDrop, HopKind, HopSent, ListenerState, Owner, Refusal, ResetCause, Resumption, RetryReason,
    SessionDraft, SessionEnd, SessionMode, SessionRefusal, SessionSide, StoredTableEvent, StreamKind, StreamRefusal,
    UndecodableReason, UnroutableReason, UpdateResult, Version,
};
pub(crate) use peers::{HopPeers, PeerSent};

families! {
    /// What one worker counts. Tasks of the worker hold clones of the `Arc`.
    pub(crate) struct WorkerMetrics {
        connections_open: Gauge(transport: Transport) "Client connections that are open.";
        connections_total: Counter(transport: Transport) "Client connections accepted.";
        handshakes_total: Counter(transport: Transport, result: HandshakeResult)
            "TLS handshakes, over TCP or within QUIC, by how they ended.";
        resumptions_total: Counter(transport: Transport, result: Resumption)
            "TLS sessions that clients came back with; with one that is not known a whole handshake is made.";
        retry_sent_total: Counter(reason: RetryReason)
            "QUIC Retry packets sent, by why clients had to show that their address is theirs.";
        early_data_requests_total: Counter(outcome: EarlyOutcome)
            "Requests in early data, here or by an earlier hop's word, by what became of them.";
        requests_total: Counter(version: Version, class: Class)
            "Plain requests answered, by HTTP version and class of status.";
        request_duration_seconds: Histogram(version: Version)
            "Time from a plain request's header section to the end of its response.";
        tunnels_open: Gauge(version: Version) "WebSocket tunnels that are open.";
        tunnels_total: Counter(version: Version) "WebSocket tunnels opened.";
        tunnel_refused_total: Counter(reason: Refusal) "WebSocket handshakes that did not open a tunnel.";
        sessions_active: Gauge(mode: SessionMode) "WebTransport sessions that are open.";
        sessions_opened_total: Counter(mode: SessionMode, draft: SessionDraft) "WebTransport sessions opened.";
        session_refused_total: Counter(reason: SessionRefusal)
            "Requests for WebTransport sessions that did not open one.";
        session_ended_total: Counter(cause: SessionEnd) "WebTransport sessions that ended, by how.";
        session_streams_total: Counter(kind: StreamKind, initiator: SessionSide)
            "Streams of WebTransport sessions that were opened on the other side, or became a TCP connection.";
        session_streams_refused_total: Counter(reason: StreamRefusal) "Streams of WebTransport sessions that were refused.";
        session_datagrams_total: Counter(direction: Direction) "Datagrams of WebTransport sessions that were passed on.";
        session_datagrams_dropped_total: Counter(reason: DatagramDrop)
            "Datagrams of WebTransport sessions that were dropped.";
        bytes_total: Counter(version: Version, direction: Direction)
            "Bytes of bodies, tunnels and sessions exchanged with clients, without framing of HTTP, TLS or QUIC.";
        resets_total: Counter(cause: ResetCause) "Requests and tunnels that were cut short.";
        upstream_connects_total: Counter(result: ConnectResult) "Attempts to connect to an endpoint.";
        upstream_pool_idle: Gauge() "Idle connections to endpoints that are kept for reuse.";
        retries_total: Counter() "Requests sent to an endpoint once more.";
        quic_handed_over_total: Counter(result: Handover)
            "UDP datagrams that arrived at another worker than the one whose connection they are for.";
        quic_undecodable_total: Counter(reason: UndecodableReason)
            "UDP datagrams of established connections whose connection ID names nobody.";
        quic_given_away_total: Counter()
            "UDP datagrams of new connections that went to another pod because this one is to go.";
        quic_resets_total: Counter(owner: Owner)
            "UDP datagrams of connections that are over; one in 20 ms is answered with a stateless reset.";
        quic_address_changes_total: Counter(change: Change)
            "Changes of clients' addresses that were seen on their QUIC connections, at most one in 10 s on each.";
        hop_received_total: Counter(kind: HopKind) "Packets that other pods sent here.";
        hop_dropped_total: Counter(reason: HopDrop)
            "Packets that came where other pods send theirs and were not taken, or went nowhere.";
        hop_handed_over_total: Counter(result: Handover)
            "Packets of other pods that arrived at another worker than the one that they are for.";
        quic_unroutable_issued_total: Counter(reason: UnroutableReason)
            "Connection IDs issued that do not say which pod they are of.";
    }
}

families! {
    /// What exists once per process.
    pub(crate) struct ProcessMetrics {
        table_version: Gauge() "Generation of the routing table that is served; 0 before the first.";
        table_rejected_total: Counter() "Routing tables that were refused.";
        listeners: Gauge(transport: Transport, state: ListenerState) "Listening ports of the routing table.";
        draining: Gauge() "1 while the process finishes what is open and takes nothing new.";
        drained_connections_total: Counter(result: DrainResult)
            "Client connections that were there when the drain began, by what became of them.";
        access_log_dropped_total: Counter() "Access log lines lost because they could not be written fast enough.";
        subscription_connected: Gauge() "1 while a controller that publishes is subscribed to.";
        subscription_dials_total: Counter(result: DialResult) "Attempts to subscribe to a controller, by what came of them.";
        subscription_received_bytes_total: Counter()
            "Bytes of messages received from controllers, without framing of gRPC, HTTP or TLS.";
        updates_total: Counter(result: UpdateResult) "Updates of the routing table that a controller sent.";
        update_duration_seconds: Histogram()
            "Time from the end of an update's arrival until every worker serves it.";
        update_timestamp_seconds: Gauge()
            "When the version that is served was taken over, in seconds since the Unix epoch; 0 without one.";
        table_epoch: Gauge()
            "Epoch of the routing table that is served, which tells the leader that published it; 0 without one.";
        table_generation: Gauge()
            "Generation of the routing table that is served within its epoch; 0 if no controller published it.";
        stored_table_total: Counter(event: StoredTableEvent) "What became of the last good table on disk.";
    }
}

/// The names of two metrics whose label is no enum: its values are a program's version, and its workers. A third is
/// [`HopPeers`].
const BUILD_INFO: &str = "headrace_dataplane_build_info";
const BUILD_INFO_HELP: &str = "Always 1, with the version of the program.";

const DATAGRAMS: &str = "headrace_dataplane_quic_datagrams_total";
const DATAGRAMS_HELP: &str = "UDP datagrams that arrived on QUIC ports, by the worker whose socket has received them.";

/// All metrics of a process.
pub struct Metrics {
    registry: Registry,
    datagrams: IntCounterVec,
    hop_peers: HopPeers,
    workers: Blocks<WorkerMetrics>,
    process: Arc<ProcessMetrics>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All zero, in a registry of their own.
    pub fn new() -> Self {
        let registry = Registry::new();
        let workers = Blocks::new();
        let processes = Blocks::new();
        let process = processes.add();
        let build_info = IntGauge::with_opts(
            Opts::new(BUILD_INFO, BUILD_INFO_HELP).const_label("version", env!("CARGO_PKG_VERSION")),
        )
        .expect("name, help and label are literals");
        build_info.set(1);
        let datagrams = IntCounterVec::new(Opts::new(DATAGRAMS, DATAGRAMS_HELP), &["worker"])
            .expect("name, help and label are literals");
        let hop_peers = HopPeers::new();
        for collector in [
            Box::new(workers.clone()) as Box<dyn prometheus::core::Collector>,
            Box::new(processes),
            Box::new(build_info),
            Box::new(datagrams.clone()),
            Box::new(hop_peers.clone()),
        ] {
            registry.register(collector).expect("names are distinct literals");
        }
        Self { registry, datagrams, hop_peers, workers, process }
    }

    /// A block for one more worker, or for anybody else who counts what workers count.
    pub(crate) fn worker(&self) -> Arc<WorkerMetrics> {
        self.workers.add()
    }

    /// The datagrams of a worker, by its index.
    pub(crate) fn datagrams(&self, worker: usize) -> IntCounter {
        self.datagrams.with_label_values(&[worker.to_string()])
    }

    /// What goes to each other pod.
    pub(crate) fn hop_peers(&self) -> &HopPeers {
        &self.hop_peers
    }

    /// Client connections of QUIC that are open.
    pub(crate) fn quic_connections_open(&self) -> u64 {
        self.workers.total(|worker| worker.connections_open(Transport::Quic).get())
    }

    /// What exists once.
    pub(crate) fn process(&self) -> &Arc<ProcessMetrics> {
        &self.process
    }

    /// All series in the Prometheus text format, version 0.0.4.
    pub fn encode(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("writing to memory does not fail")
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// What the reference documentation says of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels, each with all values; none where values are open.
    pub labels: Vec<(&'static str, &'static [&'static str])>,
    /// Its help text.
    pub help: &'static str,
}

/// Every metric, sorted by name.
pub fn describe() -> Vec<Description> {
    let build_info =
        Description { name: BUILD_INFO, kind: "gauge", labels: vec![("version", &[])], help: BUILD_INFO_HELP };
    let datagrams =
        Description { name: DATAGRAMS, kind: "counter", labels: vec![("worker", &[])], help: DATAGRAMS_HELP };
    let hop_sent =
        Description { name: peers::NAME, kind: "counter", labels: peers::LABELS.to_vec(), help: peers::HELP };
    let families = WorkerMetrics::FAMILIES.iter().chain(ProcessMetrics::FAMILIES).map(Description::of);
    let mut all: Vec<_> = families.chain([build_info, datagrams, hop_sent]).collect();
    all.sort_by_key(|metric| metric.name);
    all
}

impl Description {
    fn of(family: &Family) -> Self {
        let kind = match family.kind {
            proto::MetricType::COUNTER => "counter",
            proto::MetricType::HISTOGRAM => "histogram",
            _ => "gauge",
        };
        let labels = family.labels.iter().map(|label| (label.name, label.values)).collect();
        Self { name: family.name, kind, labels, help: family.help }
    }
}

#[cfg(test)]
mod tests;
