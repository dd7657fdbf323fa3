//! The data plane as a subscriber sees it: a candidate goes in, and what is wrong with it comes out, entry by entry.
//!
//! Knows nothing of streams and versions.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use headrace_push::{DecodeFault, Fault, Sections, Undecodable};
use headrace_table::wire::KEYS_ID;
use headrace_table::{Place, Refused, SectionId, SectionKind, Table};
use tokio::time::{Instant, sleep_until};

use crate::metrics::Transport;
use crate::start::{BindFailure, CertificateFailure, DataPlane};
use crate::upstream::BackendFailure;

/// How often a port is tried that something else is listening on.
const BIND_INTERVAL: Duration = Duration::from_secs(2);

/// A data plane, with what of its table cannot be served.
pub(super) struct Serving {
    plane: Arc<DataPlane>,
    /// Of the hash maps of all tables of this process: no owner of a route knows it.
    seed: u64,
    listeners: Vec<Listener>,
    /// Certificates and backends that cannot be used.
    unusable: Vec<Fault>,
    unbound: Vec<Fault>,
    bind_again_at: Instant,
}

/// What is asked of a port, and by whom.
struct Listener {
    id: Arc<str>,
    port: u16,
    http3: bool,
}

impl Serving {
    /// A data plane that serves nothing yet.
    pub(super) fn new(plane: Arc<DataPlane>) -> Self {
        Self {
            plane,
            seed: RandomState::new().hash_one(std::process::id()),
            listeners: Vec::new(),
            unusable: Vec::new(),
            unbound: Vec::new(),
            bind_again_at: Instant::now(),
        }
    }

    /// Serves a table from now on, or goes on with what it serves.
    ///
    /// # Errors
    /// What is wrong with the table.
    pub(super) async fn serve(&mut self, sections: &Sections) -> Result<(), Fault> {
        let wire = sections.table().map_err(fault_of_undecodable)?;
        let table = Table::with_seed(wire, self.seed).map_err(fault_of_refused)?;
        self.listeners = table
            .ports()
            .flat_map(|port| port.listeners())
            .map(|listener| Listener { id: Arc::clone(&listener.id), port: listener.port, http3: listener.http3 })
            .collect();
        let published = self.plane.publish(table).await;
        let certificates = published.certificates.into_iter().map(fault_of_certificate);
        self.unusable = certificates.chain(published.backends.into_iter().map(fault_of_backend)).collect();
        self.take_unbound(published.unbound);
        Ok(())
    }

    /// What of the table cannot be served.
    pub(super) fn faults(&self) -> Vec<Fault> {
        self.unusable.iter().chain(&self.unbound).cloned().collect()
    }

    /// Ready when it is time to [`Serving::bind_again`], which is never if everything is bound.
    pub(super) fn bind_due(&self) -> impl Future<Output = ()> + use<> {
        let due = (!self.unbound.is_empty()).then_some(self.bind_again_at);
        async move {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Tries once more to bind what could not be bound, and tells whether [`Serving::faults`] are others now.
    pub(super) async fn bind_again(&mut self) -> bool {
        let unbound = self.plane.bind_again().await;
        let before = std::mem::take(&mut self.unbound);
        self.take_unbound(unbound);
        self.unbound != before
    }

    fn take_unbound(&mut self, failures: Vec<BindFailure>) {
        self.unbound = faults_of_unbound(&self.listeners, &failures);
        self.bind_again_at = Instant::now() + BIND_INTERVAL;
    }
}

/// The entry that keeps a table from being decoded. What the JSON said is not repeated for a certificate or keys: it may
/// be the key.
fn fault_of_undecodable(Undecodable { section, fault }: Undecodable) -> Fault {
    let reason = match (section.kind, fault) {
        (SectionKind::Certificate | SectionKind::Keys, DecodeFault::Json(_)) => {
            "not understood by this version of the data plane".to_owned()
        }
        (_, fault) => fault.to_string(),
    };
    Fault { section: Some(section), reason }
}

/// The entry that keeps a table from being served.
fn fault_of_refused(refused: Refused) -> Fault {
    let (section, within) = match refused.place {
        Place::Table => (None, None),
        Place::Listener(id) => (Some(SectionId::new(SectionKind::Listener, id)), None),
        Place::Route(id) => (Some(SectionId::new(SectionKind::Route, id)), None),
        Place::Rule(id, rule) => (Some(SectionId::new(SectionKind::Route, id)), Some(format!("rules[{rule}]"))),
        Place::Match(id, rule, at) => {
            (Some(SectionId::new(SectionKind::Route, id)), Some(format!("rules[{rule}].matches[{at}]")))
        }
        Place::Backend(id) => (Some(SectionId::new(SectionKind::Backend, id)), None),
        Place::Certificate(id) => (Some(SectionId::new(SectionKind::Certificate, id)), None),
        Place::Keys => (Some(SectionId::new(SectionKind::Keys, KEYS_ID)), None),
        Place::Peer(id) => (Some(SectionId::new(SectionKind::Peer, id)), None),
    };
    let reason = match within {
        Some(within) => format!("{within}: {}", refused.reason),
        None => refused.reason.to_string(),
    };
    Fault { section, reason }
}

fn fault_of_certificate(failure: CertificateFailure) -> Fault {
    Fault::of(SectionKind::Certificate, failure.id, failure.reason)
}

fn fault_of_backend(failure: BackendFailure) -> Fault {
    Fault::of(SectionKind::Backend, failure.id, failure.reason)
}

/// A fault for each listener of a port that is not bound on every address, with all addresses in one reason.
fn faults_of_unbound(listeners: &[Listener], failures: &[BindFailure]) -> Vec<Fault> {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for failure in failures {
        let transport = match failure.transport {
            Transport::Tcp => "TCP",
            Transport::Quic => "UDP",
        };
        let reason = format!("{} ({transport}): {}", failure.address, failure.error);
        let hit = listeners.iter().filter(|listener| {
            listener.port == failure.address.port() && (listener.http3 || failure.transport == Transport::Tcp)
        });
        hit.for_each(|listener| reasons.entry(&listener.id).or_default().push(reason.clone()));
    }
    let fault = |(id, mut reasons): (&str, Vec<String>)| {
        reasons.sort();
        Fault::of(SectionKind::Listener, id, format!("cannot listen on {}", reasons.join(", ")))
    };
    reasons.into_iter().map(fault).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn listener(id: &str, port: u16, http3: bool) -> Listener {
        Listener { id: id.into(), port, http3 }
    }

    fn failure(address: &str, transport: Transport) -> BindFailure {
        BindFailure { address: address.parse().unwrap(), transport, error: io::ErrorKind::AddrInUse.into() }
    }

    #[test]
    fn every_listener_of_a_port_that_is_not_bound_is_told() {
        let listeners = [
            listener("a/clear", 8080, false),
            listener("a/quic", 8443, true),
            listener("a/tcp-only", 8443, false),
            listener("b/other", 9000, true),
        ];
        let failures = [
            failure("[::1]:8443", Transport::Quic),
            failure("127.0.0.1:8443", Transport::Quic),
            failure("127.0.0.1:8080", Transport::Tcp),
            // Of a listener that is gone by now.
            failure("127.0.0.1:1", Transport::Tcp),
        ];
        let told: Vec<_> = faults_of_unbound(&listeners, &failures).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "listener a/clear: cannot listen on 127.0.0.1:8080 (TCP): address in use",
                "listener a/quic: cannot listen on 127.0.0.1:8443 (UDP): address in use, [::1]:8443 (UDP): address in use",
            ]
        );
    }

    #[test]
    fn no_key_is_quoted() {
        let json = || serde_json::from_str::<u16>("\"SECRET\"").unwrap_err();
        for (kind, quotes) in [(SectionKind::Route, true), (SectionKind::Certificate, false)] {
            let section = SectionId::new(kind, "test/id");
            let fault = fault_of_undecodable(Undecodable { section: section.clone(), fault: json().into() });
            assert_eq!(fault.section, Some(section));
            assert_eq!(fault.reason.contains("SECRET"), quotes, "{fault}");
        }
    }

    #[test]
    fn a_refusal_names_the_object_and_the_place_in_it() {
        let reason = headrace_table::Reason::PortZero;
        let route = || "HTTPRoute/a/b".to_owned();
        for (place, expect) in [
            (Place::Table, "port 0 cannot be served"),
            (Place::Listener("a/b/c".to_owned()), "listener a/b/c: port 0 cannot be served"),
            (Place::Route(route()), "route HTTPRoute/a/b: port 0 cannot be served"),
            (Place::Rule(route(), 2), "route HTTPRoute/a/b: rules[2]: port 0 cannot be served"),
            (Place::Match(route(), 2, 1), "route HTTPRoute/a/b: rules[2].matches[1]: port 0 cannot be served"),
            (Place::Backend("a/b:1".to_owned()), "backend a/b:1: port 0 cannot be served"),
            (Place::Certificate("a/b".to_owned()), "certificate a/b: port 0 cannot be served"),
        ] {
            assert_eq!(fault_of_refused(Refused { place, reason: reason.clone() }).to_string(), expect);
        }
    }
}
