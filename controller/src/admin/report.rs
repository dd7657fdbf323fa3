//! What `/readyz` and `/status` say.
//!
//! Owns the words and the fields. Pure: everything is told to it.

use std::fmt;
use std::sync::Arc;

use headrace_compile::Kind;
use serde::Serialize;

use crate::generation::Generation;
use crate::leader::Leadership;
use crate::publish::summary::Summary;
use crate::quic;
use crate::service::{self, GatewaySummary};
use crate::watch::{KindState, Store, missing_summary};

/// Whether this replica could lead: it has read the cluster and compiled it once. It stays ready when the API server goes
/// away, since what it has is still good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// What is awaited.
    pub awaited: Vec<String>,
    /// In one line, the kinds that are not there. They are not awaited.
    pub missing: Option<String>,
}

impl Readiness {
    /// From how far the watches are.
    pub(crate) fn of(kinds: &[(Kind, KindState, usize)], is_compiled: bool) -> Self {
        let unlisted = kinds.iter().filter(|(_, state, _)| matches!(state, KindState::Unknown | KindState::Listing));
        let mut awaited: Vec<String> = unlisted.map(|(kind, ..)| format!("the list of {}", kind.label())).collect();
        if !is_compiled {
            awaited.push("the first compile".to_owned());
        }
        let missing = kinds.iter().filter_map(|(kind, state, _)| match state {
            KindState::Missing(reason) => Some((*kind, reason.as_str())),
            _ => None,
        });
        Readiness {
            // A kind that is installed later is listed while everything else is served.
            awaited: if is_compiled { Vec::new() } else { awaited },
            missing: missing_summary(missing),
        }
    }

    /// Whether nothing is awaited.
    pub fn is_ready(&self) -> bool {
        self.awaited.is_empty()
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_ready() {
            true => writeln!(f, "ready")?,
            false => writeln!(f, "starting: awaiting {}", self.awaited.join(", "))?,
        }
        self.missing.iter().try_for_each(|missing| writeln!(f, "{missing}"))
    }
}

/// Everything that `/status` says.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// Of the controller.
    pub version: &'static str,
    /// The pod that answers.
    pub pod: String,
    /// Whether it is ready.
    pub ready: bool,
    /// What it waits for until then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub awaited: Vec<String>,
    /// Whether it leads. What pods say is known to the leader alone.
    pub leader: bool,
    /// Its epoch, if it leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The version of the Gateway API's CRDs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_api_version: Option<String>,
    /// How far the watch of each kind is.
    pub kinds: Vec<KindReport>,
    /// Objects that could not be read, a hundred at the most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableReport>,
    /// What was compiled last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<GenerationReport>,
    /// Every Gateway of ours.
    pub gateways: Vec<GatewaySummary>,
    /// The pods, by pod set. Empty where the replica does not lead.
    pub push: Summary,
    /// What the pods share for QUIC, by pod set. Empty where the replica does not lead.
    pub quic: Arc<quic::summary::Summary>,
}

/// One kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KindReport {
    /// Which.
    pub kind: &'static str,
    /// `unknown`, `missing`, `listing`, `listed`; `referenced` for kinds of which only single objects are read.
    pub state: &'static str,
    /// Why it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many objects there are.
    pub objects: usize,
}

/// An object that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnreadableReport {
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace; empty if it has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What was compiled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerationReport {
    /// How many compiles there were.
    pub number: u64,
    /// Objects that went in.
    pub objects: usize,
    /// Listeners in the table.
    pub listeners: usize,
    /// Routes in the table.
    pub routes: usize,
    /// Backends in the table.
    pub backends: usize,
    /// Certificates in the table.
    pub certificates: usize,
    /// What is not accepted, not resolved or in conflict.
    pub problems: usize,
}

impl StatusReport {
    /// From everybody who knows something.
    pub(crate) fn of(
        pod: &str,
        readiness: &Readiness,
        leadership: Leadership,
        store: &Store,
        generation: Option<&Generation>,
        push: Summary,
        quic: Arc<quic::summary::Summary>,
    ) -> Self {
        StatusReport {
            version: env!("CARGO_PKG_VERSION"),
            pod: pod.to_owned(),
            ready: readiness.is_ready(),
            awaited: readiness.awaited.clone(),
            leader: leadership.is_leader(),
            epoch: leadership.epoch(),
            gateway_api_version: store.snapshot().gateway_api_version,
            kinds: kinds(store),
            unreadable: unreadable(store),
            generation: generation.map(GenerationReport::of),
            gateways: generation.map(service::summary).unwrap_or_default(),
            push,
            quic,
        }
    }
}

fn kinds(store: &Store) -> Vec<KindReport> {
    let whole = store.kinds().into_iter().map(|(kind, state, objects)| {
        let (state, reason) = match state {
            KindState::Unknown => ("unknown", None),
            KindState::Missing(reason) => ("missing", Some(reason)),
            KindState::Listing => ("listing", None),
            KindState::Listed => ("listed", None),
        };
        KindReport { kind: kind.label(), state, reason, objects }
    });
    let named = store.referenced().into_iter().map(|(kind, objects)| KindReport {
        kind: kind.label(),
        state: "referenced",
        reason: None,
        objects,
    });
    whole.chain(named).collect()
}

fn unreadable(store: &Store) -> Vec<UnreadableReport> {
    let objects = store.unreadable().into_iter().map(|object| UnreadableReport {
        kind: object.kind.label(),
        namespace: object.key.namespace,
        name: object.key.name,
        reason: object.reason,
    });
    objects.collect()
}

impl GenerationReport {
    fn of(generation: &Generation) -> Self {
        let table = &generation.compiled.table;
        GenerationReport {
            number: generation.number,
            objects: generation.world.len(),
            listeners: table.listeners.len(),
            routes: table.routes.len(),
            backends: table.backends.len(),
            certificates: table.certificates.len(),
            problems: generation.compiled.problems().count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_what_is_awaited_and_what_is_missing() {
        let missing =
            KindState::Missing("headrace.dev/v1alpha1 is not served: install the CRDs of Headrace".to_owned());
        let kinds = [
            (Kind::Gateway, KindState::Listed, 1),
            (Kind::HttpRoute, KindState::Listing, 0),
            (Kind::WebSocketRoute, missing, 0),
        ];
        let starting = Readiness::of(&kinds, false);
        assert!(!starting.is_ready());
        assert_eq!(
            starting.to_string(),
            "starting: awaiting the list of HTTPRoute, the first compile\nkinds that are not there: WebSocketRoute \
             (headrace.dev/v1alpha1 is not served: install the CRDs of Headrace)\n"
        );
        let later = Readiness::of(&kinds, true);
        assert!(later.is_ready(), "a kind that comes late is no reason to be taken for dead");
        assert!(later.to_string().starts_with("ready\nkinds that are not there: WebSocketRoute"));
    }
}
