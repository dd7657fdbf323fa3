//! What holds of one session as long as anything of it goes on: its limits, its clock, and what is counted of it.

use std::sync::Arc;

use headrace_http3::webtransport::{Draft, Session};
use headrace_table::WebTransport;

use super::Grant;
use super::clock::Clock;
use super::gate::{Gate, StreamTicket};
use crate::exchange::Exchange;
use crate::metrics::{
    DatagramDrop, Direction, SessionDraft, SessionEnd, SessionMode, SessionSide, StreamKind, StreamRefusal,
    WorkerMetrics,
};

/// One session. Its relay and its streams share it.
pub(super) struct Running {
    pub(super) clock: Clock,
    exchange: Arc<Exchange>,
    metrics: Arc<WorkerMetrics>,
    mode: SessionMode,
    /// Of the client and of the backend.
    gates: [Gate; 2],
}

impl Running {
    /// Counts a session as open until this is dropped. The grants are those of the client and of a backend that opens
    /// streams.
    pub(super) fn begin(
        client: &Session,
        mode: SessionMode,
        rules: &WebTransport,
        exchange: Arc<Exchange>,
        metrics: &Arc<WorkerMetrics>,
        grants: [Option<Arc<Grant>>; 2],
    ) -> Arc<Self> {
        let draft = match client.draft() {
            Draft::Draft02 => SessionDraft::Draft02,
            Draft::Draft07 => SessionDraft::Draft07,
            Draft::Draft13 => SessionDraft::Draft13,
            Draft::Draft14 => SessionDraft::Draft14,
            Draft::Draft15 => SessionDraft::Draft15,
        };
        metrics.sessions_opened_total(mode, draft).inc();
        metrics.sessions_active(mode).inc();
        exchange.opened();
        Arc::new(Self {
            clock: Clock::start(rules.idle_timeout_ms, rules.lifetime_ms),
            exchange,
            metrics: Arc::clone(metrics),
            mode,
            gates: grants.map(|grant| Gate::new(rules.limits, grant)),
        })
    }

    /// Whether this side may open a stream now.
    pub(super) fn admit(&self, side: SessionSide, kind: StreamKind) -> Result<StreamTicket, StreamRefusal> {
        self.gates[side as usize].admit(kind, self.clock.now()).inspect_err(|why| self.refused(*why))
    }

    /// A stream was refused.
    pub(super) fn refused(&self, why: StreamRefusal) {
        self.metrics.session_streams_refused_total(why).inc();
    }

    /// A stream goes through.
    pub(super) fn opened(&self, side: SessionSide, kind: StreamKind) {
        self.metrics.session_streams_total(kind, side).inc();
        self.clock.touch();
    }

    /// Whether this side's datagram may pass.
    pub(super) fn pass(&self, side: SessionSide, octets: usize) -> bool {
        let passes = self.gates[side as usize].pass(octets, self.clock.now());
        passes.inspect_err(|why| self.dropped(*why, 1)).is_ok()
    }

    /// A datagram was passed on.
    pub(super) fn passed(&self, side: SessionSide, octets: usize) {
        let direction = match side {
            SessionSide::Client => Direction::DownstreamReceived,
            SessionSide::Backend => Direction::DownstreamSent,
        };
        self.metrics.session_datagrams_total(direction).inc();
        self.moved(side, octets);
    }

    /// Datagrams were dropped.
    pub(super) fn dropped(&self, why: DatagramDrop, count: u64) {
        self.metrics.session_datagrams_dropped_total(why).add(count);
    }

    /// Octets of this side's were passed on.
    pub(super) fn moved(&self, side: SessionSide, octets: usize) {
        if octets > 0 {
            self.clock.touch();
            match side {
                SessionSide::Client => self.exchange.received(octets),
                SessionSide::Backend => self.exchange.sent(octets),
            }
        }
    }

    /// The session is over.
    pub(super) fn ended(&self, how: SessionEnd) {
        self.metrics.session_ended_total(how).inc();
        if !matches!(how, SessionEnd::ClientClosed | SessionEnd::BackendClosed) {
            self.exchange.broke(how.label());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.sessions_active(self.mode).dec();
    }
}
