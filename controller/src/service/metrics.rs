//! What is counted of Services and EndpointSlices.
//!
//! Owns the series and their closed labels. It must not know what is applied.

use prometheus::IntGauge;

use super::operations::{Action, TargetKind};
use crate::metrics::{Counters, Label, Metrics};

/// The series of the Services of Gateways.
#[derive(Clone, Debug)]
pub struct ServiceMetrics {
    operations: Counters<(Verb, Outcome)>,
    queue: IntGauge,
    faults: IntGauge,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// A Service is applied.
    ApplyService,
    /// An EndpointSlice is applied.
    ApplyEndpointSlice,
    /// A Service is deleted.
    DeleteService,
    /// An EndpointSlice is deleted.
    DeleteEndpointSlice,
}

impl Verb {
    pub(crate) const fn of(kind: TargetKind, action: &Action) -> Self {
        match (action, kind) {
            (Action::ApplyService(_), _) => Verb::ApplyService,
            (Action::ApplySlice(_), _) => Verb::ApplyEndpointSlice,
            (Action::Delete { .. }, TargetKind::Service) => Verb::DeleteService,
            (Action::Delete { .. }, TargetKind::EndpointSlice) => Verb::DeleteEndpointSlice,
        }
    }
}

impl Label for Verb {
    const NAME: &'static str = "operation";
    const ALL: &'static [Self] =
        &[Verb::ApplyService, Verb::ApplyEndpointSlice, Verb::DeleteService, Verb::DeleteEndpointSlice];

    fn label(self) -> &'static str {
        match self {
            Verb::ApplyService => "apply_service",
            Verb::ApplyEndpointSlice => "apply_endpointslice",
            Verb::DeleteService => "delete_service",
            Verb::DeleteEndpointSlice => "delete_endpointslice",
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done.
    Done,
    /// The object changed meanwhile; it is tried again.
    Conflict,
    /// The API server refused it; it is tried again later, and the Gateway says why.
    Refused,
    /// There was no answer, or one that says to come again.
    Failed,
}

impl Label for Outcome {
    const NAME: &'static str = "outcome";
    const ALL: &'static [Self] = &[Outcome::Done, Outcome::Conflict, Outcome::Refused, Outcome::Failed];

    fn label(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Conflict => "conflict",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        }
    }
}

impl ServiceMetrics {
    /// All zero.
    pub fn new(metrics: &Metrics) -> Self {
        ServiceMetrics {
            operations: metrics
                .counters("service_operations_total", "Operations on the Services and EndpointSlices of Gateways."),
            queue: metrics.gauge(
                "service_queue_objects",
                "Services and EndpointSlices that wait to be applied or deleted, or are at the moment.",
            ),
            faults: metrics.gauge("service_faults", "Gateways whose Service cannot be had."),
        }
    }

    pub(crate) fn operation(&self, verb: Verb, outcome: Outcome) {
        self.operations.of((verb, outcome)).inc();
    }

    pub(crate) fn queue(&self, objects: usize) {
        self.queue.set(i64::try_from(objects).unwrap_or(i64::MAX));
    }

    pub(crate) fn faults(&self, gateways: usize) {
        self.faults.set(i64::try_from(gateways).unwrap_or(i64::MAX));
    }
}
