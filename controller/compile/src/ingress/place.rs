//! Where Ingress rules are served: which listeners they imply, and which listeners of Gateways they share.
//!
//! Owns that map, from host patterns to listeners of both ports. An Ingress names hosts, not listeners, so on a port that a
//! Gateway has too they merge by host: the Gateway's listener stays, with its certificate, and the rules join it.

use std::collections::BTreeMap;

use headrace_crds::condition::IngressReason;
use headrace_table::wire::{self, Attachment, Protocol};
use headrace_table::{HostPattern, SectionKind};

use super::read::Parsed;
use crate::Options;
use crate::budget::Budget;
use crate::diagnosis::Fault;
use crate::gateway::Gateways;
use crate::hostname;

/// The listeners of one port by host, each with its id and whether it is ours alone.
type ByHost = BTreeMap<HostPattern, Listening>;

struct Listening {
    id: String,
    ours: bool,
}

/// The listeners that Ingress rules can be attached to.
pub(super) struct Places {
    clear: ByHost,
    tls: ByHost,
    /// The listeners that are there for Ingresses alone.
    pub(super) listeners: Vec<wire::Listener>,
}

impl Places {
    /// Ingresses come with the oldest first: of two certificates for a host theirs is served.
    pub(super) fn of(ingresses: &mut [Parsed], gateways: &Gateways, options: &Options, budget: &mut Budget) -> Self {
        let mut places = Places { clear: ByHost::new(), tls: ByHost::new(), listeners: Vec::new() };
        if !ingresses.is_empty() {
            places.open_clear(ingresses, gateways, options, budget);
            places.open_tls(ingresses, gateways, options, budget);
        }
        places
    }

    fn open_clear(&mut self, ingresses: &mut [Parsed], gateways: &Gateways, options: &Options, budget: &mut Budget) {
        let port = options.ingress_ports.0;
        match of_gateways(gateways, port, Protocol::Http) {
            Ok(listening) => self.clear = listening,
            Err(owner) => {
                let message =
                    format!("listener {owner} has port {port} for TLS: the rules are not served in clear text");
                for ingress in ingresses.iter_mut() {
                    ingress.refused.push(Fault::new("spec", IngressReason::ProtocolConflict, &*message));
                }
                return;
            }
        }
        if port != 0 && !self.clear.contains_key(&HostPattern::Any) && budget.take_listener() {
            let id = "Ingress/http".to_owned();
            if let Some(message) = options.refusal(SectionKind::Listener, &id) {
                for ingress in ingresses.iter_mut() {
                    ingress.refused.push(Fault::new("spec", IngressReason::UnsupportedValue, &*message));
                }
                return;
            }
            let ports = (port, options.ingress_public_ports().0);
            self.listeners.push(listener(&id, ports, Protocol::Http, &HostPattern::Any, None, options));
            self.clear.insert(HostPattern::Any, Listening { id, ours: true });
        }
    }

    fn open_tls(&mut self, ingresses: &mut [Parsed], gateways: &Gateways, options: &Options, budget: &mut Budget) {
        let (clear, port) = options.ingress_ports;
        let theirs = match of_gateways(gateways, port, Protocol::Https) {
            Ok(listening) if port != clear => Ok(listening),
            Ok(_) => Err("Ingress/http".to_owned()),
            Err(owner) => Err(owner),
        };
        let mut certificates: BTreeMap<HostPattern, String> = BTreeMap::new();
        for ingress in ingresses.iter_mut() {
            for tls in std::mem::take(&mut ingress.tls) {
                let theirs = match &theirs {
                    Ok(theirs) => theirs,
                    Err(owner) => {
                        let message = format!("listener {owner} has port {port} in clear text: remove tls");
                        ingress.refused.push(Fault::new(&*tls.field, IngressReason::ProtocolConflict, message));
                        continue;
                    }
                };
                for host in &tls.hosts {
                    let fault =
                        self.open_tls_host(host, &tls.certificate, theirs, &mut certificates, port, options, budget);
                    ingress.refused.extend(fault.map(|fault| fault.under(&tls.field)));
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what one host needs, once")]
    fn open_tls_host(
        &mut self,
        host: &HostPattern,
        certificate: &str,
        theirs: &ByHost,
        certificates: &mut BTreeMap<HostPattern, String>,
        port: u16,
        options: &Options,
        budget: &mut Budget,
    ) -> Option<Fault> {
        let words = hostname::in_words(host);
        if let Some(gateway) = theirs.get(host) {
            self.tls.insert(host.clone(), Listening { id: gateway.id.clone(), ours: false });
            let message = format!("listener {} terminates TLS for {words}: its certificate is served", gateway.id);
            return Some(Fault::new("hosts", IngressReason::HostnameConflict, message));
        }
        match certificates.get(host) {
            Some(first) if first == certificate => return None,
            Some(first) => {
                let message = format!("an older Ingress has certificate {first} for {words}: that one is served");
                return Some(Fault::new("hosts", IngressReason::HostnameConflict, message));
            }
            None => {}
        }
        if port == 0 || !budget.take_listener() {
            return Some(Fault::new(
                "hosts",
                IngressReason::UnsupportedValue,
                format!("no listener is left for {words}"),
            ));
        }
        let id = format!("Ingress/https/{host}");
        if let Some(message) = options.refusal(SectionKind::Listener, &id) {
            return Some(Fault::new("hosts", IngressReason::UnsupportedValue, message));
        }
        let ports = (port, options.ingress_public_ports().1);
        self.listeners.push(listener(&id, ports, Protocol::Https, host, Some(certificate), options));
        self.tls.insert(host.clone(), Listening { id, ours: true });
        certificates.insert(host.clone(), certificate.to_owned());
        None
    }

    /// Where rules of `host` are to be attached. `hosts` are all that any Ingress has rules for.
    pub(super) fn attachments(&self, host: &HostPattern, hosts: &BTreeMap<HostPattern, ()>) -> Vec<Attachment> {
        let mut attachments: Vec<Attachment> =
            [&self.clear, &self.tls].into_iter().flat_map(|listening| reach(listening, host, hosts)).collect();
        attachments.sort_by(|a, b| a.listener.cmp(&b.listener));
        attachments
    }

    /// Every listener that is there for Ingresses, and those that serve every host: where nothing else matches.
    pub(super) fn fallbacks(&self) -> Vec<Attachment> {
        let all = self.clear.iter().chain(&self.tls);
        let open = all.filter(|(host, listening)| listening.ours || **host == HostPattern::Any);
        let mut attachments: Vec<Attachment> = open.map(|(_, listening)| every_host(listening)).collect();
        attachments.sort_by(|a, b| a.listener.cmp(&b.listener));
        attachments.dedup();
        attachments
    }
}

/// The most specific listener that covers `host`, and those of our own within `host` for which no Ingress has rules of a
/// more specific host.
fn reach(listening: &ByHost, host: &HostPattern, hosts: &BTreeMap<HostPattern, ()>) -> Vec<Attachment> {
    let mut reached = Vec::new();
    if let Some((covering, listener)) = most_specific(listening, host) {
        let hostnames = if covering == *host { None } else { hostname::to_wire(host) };
        reached.push(Attachment { listener: listener.id.clone(), hostnames: hostnames.into_iter().collect() });
    }
    if matches!(host, HostPattern::Exact(_)) {
        return reached;
    }
    for (within, listener) in listening.iter().filter(|(within, listener)| listener.ours && *within != host) {
        let best = || most_specific(hosts, within).map(|(best, ())| best);
        if host.covers(within) && best().as_ref() == Some(host) {
            reached.push(every_host(listener));
        }
    }
    reached
}

fn every_host(listener: &Listening) -> Attachment {
    Attachment { listener: listener.id.clone(), hostnames: Vec::new() }
}

fn most_specific<'m, T>(by_host: &'m BTreeMap<HostPattern, T>, host: &HostPattern) -> Option<(HostPattern, &'m T)> {
    hostname::covering(host).find_map(|pattern| by_host.get(&pattern).map(|value| (pattern, value)))
}

/// The listeners that Gateways have on the port of the pods, or one that speaks another protocol there.
fn of_gateways(gateways: &Gateways, port: u16, protocol: Protocol) -> Result<ByHost, String> {
    let mut listening = ByHost::new();
    for listener in gateways.served().filter(|listener| listener.bound == Some(port)) {
        if listener.protocol != Some(protocol) {
            return Err(listener.id());
        }
        listening.insert(listener.host.clone(), Listening { id: listener.id(), ours: false });
    }
    Ok(listening)
}

/// Ports are the one that the pods bind and the one that clients know.
fn listener(
    id: &str,
    (port, public_port): (u16, u16),
    protocol: Protocol,
    host: &HostPattern,
    certificate: Option<&str>,
    options: &Options,
) -> wire::Listener {
    wire::Listener {
        id: id.to_owned(),
        port,
        public_port,
        protocol,
        http3: options.http3 && protocol == Protocol::Https,
        quic: wire::QuicOptions::default(),
        hostname: hostname::to_wire(host),
        certificates: certificate.map(str::to_owned).into_iter().collect(),
    }
}
