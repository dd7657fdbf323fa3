//! What is counted of status writes and events.
//!
//! Owns the series and their closed labels. It must not know what is written.

use std::time::Duration;

use headrace_compile::Kind;
use prometheus::{Histogram, IntCounter, IntGauge};

use crate::metrics::{Counters, Label, Metrics};

/// Seconds from a compile to the write of what came of it: a write that is not in a queue takes milliseconds, and 10,000 of
/// them about two minutes.
const BOUNDS: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

/// The series of the status writer.
#[derive(Clone, Debug)]
pub struct StatusMetrics {
    writes: Counters<(Written, WriteOutcome)>,
    conflicts: IntCounter,
    queue: IntGauge,
    seconds: Histogram,
    events: Counters<EventOutcome>,
}

/// A kind whose status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written(Kind);

impl Label for Written {
    const NAME: &'static str = "kind";
    const ALL: &'static [Self] = &[
        Written(Kind::GatewayClass),
        Written(Kind::Gateway),
        Written(Kind::ListenerSet),
        Written(Kind::HttpRoute),
        Written(Kind::WebSocketRoute),
        Written(Kind::WebTransportRoute),
        Written(Kind::BackendTlsPolicy),
        Written(Kind::EdgePolicy),
        Written(Kind::Ingress),
    ];

    fn label(self) -> &'static str {
        self.0.label()
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    /// It was written.
    Written,
    /// The object changed meanwhile; it is tried again.
    Conflict,
    /// The object is no more.
    Gone,
    /// The API server refused it; it is tried again later.
    Refused,
    /// There was no answer, or one that says to come again.
    Failed,
}

impl Label for WriteOutcome {
    const NAME: &'static str = "outcome";
    const ALL: &'static [Self] = &[
        WriteOutcome::Written,
        WriteOutcome::Conflict,
        WriteOutcome::Gone,
        WriteOutcome::Refused,
        WriteOutcome::Failed,
    ];

    fn label(self) -> &'static str {
        match self {
            WriteOutcome::Written => "written",
            WriteOutcome::Conflict => "conflict",
            WriteOutcome::Gone => "gone",
            WriteOutcome::Refused => "refused",
            WriteOutcome::Failed => "failed",
        }
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventOutcome {
    /// It was written.
    Written,
    /// It was not.
    Failed,
    /// There were too many.
    Dropped,
}

impl Label for EventOutcome {
    const NAME: &'static str = "outcome";
    const ALL: &'static [Self] = &[EventOutcome::Written, EventOutcome::Failed, EventOutcome::Dropped];

    fn label(self) -> &'static str {
        match self {
            EventOutcome::Written => "written",
            EventOutcome::Failed => "failed",
            EventOutcome::Dropped => "dropped",
        }
    }
}

impl StatusMetrics {
    /// All zero.
    pub fn new(metrics: &Metrics) -> Self {
        StatusMetrics {
            writes: metrics.counters("status_writes_total", "Writes of an object's status."),
            conflicts: metrics
                .counter("status_conflicts_total", "Status writes before which somebody else had changed the object."),
            queue: metrics
                .gauge("status_queue_objects", "Objects whose status waits to be written or is being written."),
            seconds: metrics.histogram(
                "status_write_lag_seconds",
                "Seconds from the time when a status was to change until it was written.",
                &BOUNDS,
            ),
            events: metrics.counters("events_total", "Events for people."),
        }
    }

    pub(crate) fn write(&self, kind: Kind, outcome: WriteOutcome) {
        self.writes.of((Written(kind), outcome)).inc();
        if outcome == WriteOutcome::Conflict {
            self.conflicts.inc();
        }
    }

    pub(crate) fn lag(&self, lag: Duration) {
        self.seconds.observe(lag.as_secs_f64());
    }

    pub(crate) fn queue(&self, objects: usize) {
        self.queue.set(i64::try_from(objects).unwrap_or(i64::MAX));
    }

    pub(crate) fn event(&self, outcome: EventOutcome) {
        self.events.of(outcome).inc();
    }
}
