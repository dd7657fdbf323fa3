//! What is counted: the one list of metrics, the cells that workers count in, and the text that Prometheus scrapes.
//!
//! Workers share nothing to count: each has a [`WorkerMetrics`] block of its own, and a scrape sums the blocks. What
//! exists once per process is in [`ProcessMetrics`]. Knows nothing of the server that answers a scrape.

mod cell;
mod family;
mod label;

use std::sync::Arc;

use prometheus::{IntGauge, Opts, Registry, TextEncoder, proto};

use cell::{Cell, Counter, Gauge, Histogram};
use family::{Block, Blocks, Family, LabelValues, combinations, families};
pub use label::Transport;
pub(crate) use label::{
    Class, ConnectResult, DialResult, Direction, HandshakeResult, ListenerState, Refusal, ResetCause, StoredTableEvent,
    UpdateResult, Version,
};

families! {
    /// What one worker counts. Tasks of the worker hold clones of the `Arc`.
    pub(crate) struct WorkerMetrics {
        connections_open: Gauge(transport: Transport) "Client connections that are open.";
        connections_total: Counter(transport: Transport) "Client connections accepted.";
        handshakes_total: Counter(transport: Transport, result: HandshakeResult)
            "TLS handshakes, over TCP or within QUIC, by how they ended.";
        requests_total: Counter(version: Version, class: Class)
            "Plain requests answered, by HTTP version and class of status.";
        request_duration_seconds: Histogram(version: Version)
            "Time from a plain request's header section to the end of its response.";
        tunnels_open: Gauge(version: Version) "WebSocket tunnels that are open.";
        tunnels_total: Counter(version: Version) "WebSocket tunnels opened.";
        tunnel_refused_total: Counter(reason: Refusal) "WebSocket handshakes that did not open a tunnel.";
        bytes_total: Counter(version: Version, direction: Direction)
            "Bytes of bodies and tunnels exchanged with clients, without framing of HTTP, TLS or QUIC.";
        resets_total: Counter(cause: ResetCause) "Requests and tunnels that were cut short.";
        upstream_connects_total: Counter(result: ConnectResult) "Attempts to connect to an endpoint.";
        upstream_pool_idle: Gauge() "Idle connections to endpoints that are kept for reuse.";
        retries_total: Counter() "Requests sent to an endpoint once more.";
    }
}

families! {
    /// What exists once per process.
    pub(crate) struct ProcessMetrics {
        table_version: Gauge() "Generation of the routing table that is served; 0 before the first.";
        table_rejected_total: Counter() "Routing tables that were refused.";
        listeners: Gauge(transport: Transport, state: ListenerState) "Listening ports of the routing table.";
        draining: Gauge() "1 while the process finishes what is open and takes nothing new.";
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

/// The name of the one metric whose label is no enum.
const BUILD_INFO: &str = "headrace_dataplane_build_info";
const BUILD_INFO_HELP: &str = "Always 1, with the version of the program.";

/// All metrics of a process.
pub struct Metrics {
    registry: Registry,
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
        for collector in [
            Box::new(workers.clone()) as Box<dyn prometheus::core::Collector>,
            Box::new(processes),
            Box::new(build_info),
        ] {
            registry.register(collector).expect("names are distinct literals");
        }
        Self { registry, workers, process }
    }

    /// A block for one more worker, or for anybody else who counts what workers count.
    pub(crate) fn worker(&self) -> Arc<WorkerMetrics> {
        self.workers.add()
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
    let families = WorkerMetrics::FAMILIES.iter().chain(ProcessMetrics::FAMILIES).map(Description::of);
    let mut all: Vec<_> = families.chain([build_info]).collect();
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
