//! What comes of the policies of all listeners of a port together.
//!
//! QUIC sees a port before it sees a listener: whether early data is taken and whether a Retry is sent is decided before
//! the client has named a host, and so are the settings that offer WebTransport. So 0-RTT and WebTransport are on for a port
//! only if every listener of it has them, and of all else that they ask the strictest holds, which is what
//! [`headrace_table::Port`] makes of it. Owns how that is told to whoever wrote a
//! policy; it must not know which policy a listener has.

use std::collections::BTreeMap;

use headrace_crds::condition::PolicyReason;
use headrace_crds::edgepolicy::{EdgePolicySpec, RetryPolicy, ZeroRtt};
use headrace_table::wire::{self, Retry, WebTransportOptions};

use super::{Judged, asked};
use crate::diagnosis::Fault;
use crate::gateway::Listener;

/// The listeners of every port of the pods, those of Ingresses too.
pub(super) struct Ports<'t> {
    by_number: BTreeMap<u16, Vec<&'t wire::Listener>>,
}

impl<'t> Ports<'t> {
    pub(super) fn of(listeners: &'t [wire::Listener]) -> Self {
        let mut by_number: BTreeMap<u16, Vec<&wire::Listener>> = BTreeMap::new();
        for listener in listeners {
            by_number.entry(listener.port).or_default().push(listener);
        }
        for listeners in by_number.values_mut() {
            listeners.sort_by(|a, b| a.id.cmp(&b.id));
        }
        Ports { by_number }
    }

    fn others<'a>(&'a self, listener: &'a Listener) -> impl Iterator<Item = &'t wire::Listener> + 'a {
        let port = listener.bound.and_then(|port| self.by_number.get(&port));
        let id = listener.id();
        port.into_iter().flatten().copied().filter(move |other| other.id != id)
    }
}

/// What of a policy is held to on the listeners that have it.
pub(super) fn judge(spec: &EdgePolicySpec, held: &[&Listener], ports: &Ports<'_>) -> Judged {
    let mut lost = Lost::default();
    judge_quic(spec, &mut lost, held, ports);
    judge_webtransport(spec, &mut lost, held, ports);
    let message = match held.is_empty() {
        true => {
            "No listener that is served has this policy: those there are have policies of their own, or are not valid."
        }
        false => "The policy is held to.",
    };
    let mut judged = Judged { held: message.to_owned(), ..Judged::default() };
    if lost.settings > 0 && lost.everywhere == lost.settings {
        judged.refused = lost.faults;
    } else {
        judged.partly = lost.faults;
    }
    judged
}

fn judge_quic(spec: &EdgePolicySpec, lost: &mut Lost, held: &[&Listener], ports: &Ports<'_>) {
    let quic = spec.quic.clone().unwrap_or_default();
    match quic.zero_rtt {
        Some(ZeroRtt::SafeMethods) => lost.look(held, |listener| {
            let other = ports.others(listener).find(|other| !other.quic.zero_rtt)?;
            let message = format!(
                "0-RTT is off on port {}: listener {} of the port does not ask for it, and QUIC cannot tell them apart \
                 before the handshake",
                listener.spec_port, other.id
            );
            Some(Fault::new("spec.quic.zeroRTT", PolicyReason::Conflicted, message))
        }),
        // It is always had.
        Some(ZeroRtt::Disabled) => lost.settings += 1,
        None => {}
    }
    if let Some(retry) = quic.retry {
        let own = asked(spec).retry;
        lost.look(held, |listener| {
            let other = ports.others(listener).find(|other| other.quic.retry > own)?;
            let message = format!(
                "Retry on port {} is {}, not {}: listener {} of the port asks for it, and QUIC cannot tell them apart \
                 before the handshake",
                listener.spec_port,
                word(other.quic.retry),
                retry.label(),
                other.id
            );
            Some(Fault::new("spec.quic.retry", PolicyReason::Conflicted, message))
        });
    }
}

fn judge_webtransport(spec: &EdgePolicySpec, lost: &mut Lost, held: &[&Listener], ports: &Ports<'_>) {
    let webtransport = spec.web_transport.clone().unwrap_or_default();
    let own = asked(spec).webtransport;
    match webtransport.enabled {
        Some(true) => lost.look(held, |listener| {
            let other = ports.others(listener).find(|other| !other.quic.webtransport.enabled)?;
            let message = format!(
                "WebTransport is off on port {}: listener {} of the port switches it off, and QUIC cannot tell them apart \
                 before the handshake",
                listener.spec_port, other.id
            );
            Some(Fault::new("spec.webTransport.enabled", PolicyReason::Conflicted, message))
        }),
        // It is always had.
        Some(false) => lost.settings += 1,
        None => {}
    }
    let mut stricter = |field: &str, own: u32, of: fn(&WebTransportOptions) -> u32| {
        lost.look(held, |listener| {
            let other = ports.others(listener).min_by_key(|other| of(&other.quic.webtransport))?;
            let theirs = of(&other.quic.webtransport);
            let message = format!(
                "{field} on port {} is {theirs}, not {own}: listener {} of the port has that, and QUIC cannot tell them \
                 apart before the handshake",
                listener.spec_port, other.id
            );
            let fault = Fault::new(format!("spec.webTransport.{field}"), PolicyReason::Conflicted, message);
            (theirs < own).then_some(fault)
        });
    };
    if webtransport.sessions.is_some() {
        stricter("sessions", own.sessions, |options| options.sessions);
    }
    if webtransport.early_buffer.is_some() {
        stricter("earlyBuffer", own.early_octets, |options| options.early_octets);
    }
}

/// What of a policy is not held to.
#[derive(Default)]
struct Lost {
    /// One for each port and setting.
    faults: Vec<Fault>,
    /// The settings that were asked for.
    settings: usize,
    /// Those of them that are held to nowhere.
    everywhere: usize,
}

impl Lost {
    fn look(&mut self, held: &[&Listener], objection: impl Fn(&Listener) -> Option<Fault>) {
        let mut ports = BTreeMap::new();
        let mut kept = held.is_empty();
        for listener in held {
            match objection(listener) {
                Some(fault) => {
                    ports.entry(listener.spec_port).or_insert(fault);
                }
                None => kept = true,
            }
        }
        self.settings += 1;
        self.everywhere += usize::from(!kept);
        self.faults.extend(ports.into_values());
    }
}

fn word(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => RetryPolicy::Never.label(),
        Retry::UnderLoad => RetryPolicy::UnderLoad.label(),
        Retry::Always => RetryPolicy::Always.label(),
    }
}
