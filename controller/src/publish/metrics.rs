//! What the push counts. Labels are closed enums and the names of pod sets, which the command line bounds.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::identity::Stranger;
use crate::metrics::{Counters, GaugesBy, Label, Metrics};

/// Seconds from a table to a pod's answer. A second is the aim, and two minutes end a stream.
const LAG_BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 120.0];

/// Why a stream is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Turned {
    /// The token is no good.
    Stranger(Stranger),
    /// This replica does not lead.
    NotLeader,
}

impl Label for Turned {
    const NAME: &'static str = "reason";
    const ALL: &'static [Self] = &[
        Turned::Stranger(Stranger::NoToken),
        Turned::Stranger(Stranger::OtherAudience),
        Turned::Stranger(Stranger::Invalid),
        Turned::Stranger(Stranger::OtherServiceAccount),
        Turned::Stranger(Stranger::NotBoundToPod),
        Turned::Stranger(Stranger::ReviewUnavailable),
        Turned::NotLeader,
    ];

    fn label(self) -> &'static str {
        match self {
            Turned::Stranger(stranger) => stranger.label(),
            Turned::NotLeader => "not_leader",
        }
    }
}

/// What the API server said of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reviewed {
    /// A pod of ours.
    Pod,
    /// Nobody of ours, or nothing was said.
    Stranger(Stranger),
}

impl Label for Reviewed {
    const NAME: &'static str = "outcome";
    const ALL: &'static [Self] = &[
        Reviewed::Pod,
        Reviewed::Stranger(Stranger::OtherAudience),
        Reviewed::Stranger(Stranger::Invalid),
        Reviewed::Stranger(Stranger::OtherServiceAccount),
        Reviewed::Stranger(Stranger::NotBoundToPod),
        Reviewed::Stranger(Stranger::ReviewUnavailable),
    ];

    fn label(self) -> &'static str {
        match self {
            Reviewed::Pod => "pod",
            Reviewed::Stranger(stranger) => stranger.label(),
        }
    }
}

/// How a connection began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dialled {
    /// TLS stands.
    Secured,
    /// The first octets were no TLS.
    PlainText,
    /// TLS failed: another version, another protocol, or the peer does not trust the certificate.
    Failed,
    /// TLS took too long.
    TimedOut,
}

impl Label for Dialled {
    const NAME: &'static str = "result";
    const ALL: &'static [Self] = &[Dialled::Secured, Dialled::PlainText, Dialled::Failed, Dialled::TimedOut];

    fn label(self) -> &'static str {
        match self {
            Dialled::Secured => "secured",
            Dialled::PlainText => "plain_text",
            Dialled::Failed => "failed",
            Dialled::TimedOut => "timed_out",
        }
    }
}

/// Why a stream that was open has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ended {
    /// The pod ended it, or the connection went.
    Gone,
    /// The same pod has opened another.
    Followed,
    /// The pod did not answer in time.
    Stalled,
    /// The pod said what no pod says.
    Violation,
    /// The token is no good any more.
    Revoked,
    /// Another replica leads.
    NotLeader,
    /// This process ends.
    Shutdown,
}

impl Label for Ended {
    const NAME: &'static str = "reason";
    const ALL: &'static [Self] = &[
        Ended::Gone,
        Ended::Followed,
        Ended::Stalled,
        Ended::Violation,
        Ended::Revoked,
        Ended::NotLeader,
        Ended::Shutdown,
    ];

    fn label(self) -> &'static str {
        match self {
            Ended::Gone => "gone",
            Ended::Followed => "followed",
            Ended::Stalled => "stalled",
            Ended::Violation => "violation",
            Ended::Revoked => "revoked",
            Ended::NotLeader => "not_leader",
            Ended::Shutdown => "shutdown",
        }
    }
}

/// The counters of the push.
#[derive(Debug)]
pub(crate) struct PushMetrics {
    connections: Counters<Dialled>,
    refused: Counters<Turned>,
    ended: Counters<Ended>,
    token_reviews: Counters<Reviewed>,
    subscribers: GaugesBy,
    overdue: GaugesBy,
    table_octets: GaugesBy,
    table_version: GaugesBy,
    lag: Histogram,
    acks: IntCounter,
    rejections: IntCounter,
    unpublishable: IntCounter,
    octets: IntCounter,
    sections: IntCounter,
    ca_expiry: IntGauge,
}

impl PushMetrics {
    /// All zero.
    pub(crate) fn new<'v>(metrics: &Metrics, pod_sets: impl IntoIterator<Item = &'v str> + Clone) -> Self {
        let by_pod_set = |name, help| metrics.gauges_by(name, help, "pod_set", pod_sets.clone());
        Self {
            connections: metrics
                .counters("push_connections_total", "Connections to the push server, by how they began."),
            refused: metrics.counters("push_streams_refused_total", "Subscriptions that were turned away."),
            ended: metrics.counters("push_streams_ended_total", "Subscriptions that were open and are not any more."),
            token_reviews: metrics.counters("push_token_reviews_total", "Tokens that the API server was asked about."),
            subscribers: by_pod_set("push_subscribers", "Pods that are subscribed."),
            overdue: by_pod_set(
                "push_overdue_pods",
                "Pods whose answer to a table is out for longer than a pod needs.",
            ),
            table_octets: by_pod_set("push_table_bytes", "Bytes of the table that is published, without framing."),
            table_version: by_pod_set(
                "push_table_version",
                "Number of the table that is published, counted within the leader's epoch.",
            ),
            lag: metrics.histogram(
                "push_lag_seconds",
                "Time from a table to a pod's word that it serves it.",
                &LAG_BUCKETS,
            ),
            acks: metrics.counter("push_acks_total", "Tables that a pod accepted."),
            rejections: metrics.counter("push_rejections_total", "Tables that a pod refused."),
            unpublishable: metrics.counter("push_unpublishable_total", "Tables that were too large to be sent."),
            octets: metrics.counter("push_sent_bytes_total", "Bytes of messages sent to pods, without framing."),
            sections: metrics.counter("push_sent_sections_total", "Sections of tables sent to pods."),
            ca_expiry: metrics.gauge(
                "push_ca_expiry_timestamp_seconds",
                "When the CA that signs for the push server ends, in seconds since the Unix epoch.",
            ),
        }
    }

    pub(crate) fn connection(&self, dialled: Dialled) {
        self.connections.of(dialled).inc();
    }

    pub(crate) fn refused(&self, turned: Turned) {
        self.refused.of(turned).inc();
    }

    pub(crate) fn ended(&self, ended: Ended) {
        self.ended.of(ended).inc();
    }

    pub(crate) fn token_review(&self, reviewed: Reviewed) {
        self.token_reviews.of(reviewed).inc();
    }

    pub(crate) fn subscribers(&self, pod_set: &str, pods: usize, overdue: usize) {
        for (gauges, count) in [(&self.subscribers, pods), (&self.overdue, overdue)] {
            if let Some(gauge) = gauges.of(pod_set) {
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }

    pub(crate) fn published(&self, pod_set: &str, version: u64, octets: usize) {
        let values = [(&self.table_version, version), (&self.table_octets, octets as u64)];
        for (gauges, value) in values {
            if let Some(gauge) = gauges.of(pod_set) {
                gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
    }

    pub(crate) fn acked(&self, lag: Duration) {
        self.acks.inc();
        self.lag.observe(lag.as_secs_f64());
    }

    pub(crate) fn rejected(&self) {
        self.rejections.inc();
    }

    pub(crate) fn unpublishable(&self) {
        self.unpublishable.inc();
    }

    pub(crate) fn sent(&self, octets: u64, sections: u64) {
        self.octets.inc_by(octets);
        self.sections.inc_by(sections);
    }

    pub(crate) fn ca_expires(&self, at: Timestamp) {
        self.ca_expiry.set(at.as_second());
    }
}
