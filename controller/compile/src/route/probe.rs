//! Asks the table itself whether it would take a rule.
//!
//! The table refuses what it cannot serve as a whole, so a rule must be known to be good before it is put in. The table's own
//! door is the judge: what it does not like about header octets, patterns or origins need not be said here again.

use std::collections::BTreeMap;

use headrace_table::wire::{
    self, Action, Attachment, Backend, BackendProtocol, BackendTls, Destination, Listener, Protocol, Route, Rule,
    Trust, WeightedBackend,
};
use headrace_table::{List, Place, Reason, Refused, Table};

const LISTENER: &str = "probe/probe/probe";

/// Where in the rule the table finds fault, and what with.
pub(crate) struct Objection {
    /// Relative to the rule; empty where the table does not say.
    pub(crate) field: String,
    pub(crate) message: String,
}

/// What it has against a rule.
pub(crate) fn object_to(rule: &Rule) -> Option<Objection> {
    let refused = refusal(vec![rule.clone()])?;
    let field = match &refused.place {
        Place::Match(_, _, at) => format!("matches[{at}]"),
        _ => field_of(rule, &refused.reason),
    };
    Some(Objection { field, message: refused.reason.to_string() })
}

/// Whether it would take them all, which is asked first because most rules are good.
pub(crate) fn takes_all(rules: Vec<Rule>) -> bool {
    rules.is_empty() || refusal(rules).is_none()
}

/// A table of nothing but these rules, and backends that speak what each of them sends.
fn refusal(rules: Vec<Rule>) -> Option<Refused> {
    let lists = rules.iter().flat_map(|rule| backends_of(&rule.action));
    let named = lists.flat_map(|(protocol, backends)| {
        backends.iter().filter_map(move |backend| Some((backend.backend.clone()?, protocol)))
    });
    // What a rule resolves to speaks what that rule sends, so that an id has one protocol.
    let backends: BTreeMap<String, BackendProtocol> = named.collect();
    let table = wire::Table {
        listeners: vec![Listener {
            id: LISTENER.to_owned(),
            port: 1,
            public_port: 1,
            protocol: Protocol::Http,
            http3: false,
            quic: wire::QuicOptions::default(),
            hostname: None,
            certificates: Vec::new(),
        }],
        routes: vec![Route {
            id: "Probe/probe/probe".to_owned(),
            created: 0,
            attachments: vec![Attachment { listener: LISTENER.to_owned(), hostnames: Vec::new() }],
            rules,
        }],
        backends: backends.into_iter().map(|(id, protocol)| backend(id, protocol)).collect(),
        ..wire::Table::default()
    };
    Table::try_from(table).err()
}

fn backend(id: String, protocol: BackendProtocol) -> Backend {
    let tls = (protocol == BackendProtocol::Http3).then(|| BackendTls {
        server_name: "probe".to_owned(),
        trust: Trust::System,
        subject_alt_names: Vec::new(),
    });
    Backend { id, protocol, endpoints: Vec::new(), tls }
}

/// The lists of backends of an action, with what is sent to each.
pub(crate) fn backends_of(action: &Action) -> Vec<(BackendProtocol, &[WeightedBackend])> {
    match action {
        Action::Forward(forward) => vec![(BackendProtocol::Http1, &forward.backends)],
        Action::WebTransport(session) => match &session.destination {
            Destination::Session { backends } => vec![(BackendProtocol::Http3, backends)],
            Destination::Streams { tcp, udp } => vec![(BackendProtocol::Stream, tcp), (BackendProtocol::Datagram, udp)],
        },
        Action::Redirect(_) | Action::Respond(_) => Vec::new(),
    }
}

fn origins_of(action: &Action) -> &[String] {
    match action {
        Action::Forward(forward) => &forward.websocket.origins,
        Action::WebTransport(session) => &session.origins,
        Action::Redirect(_) | Action::Respond(_) => &[],
    }
}

/// Where in an object the rule's part stands that a reason is about, where only one place can be meant.
fn field_of(rule: &Rule, reason: &Reason) -> String {
    let mut backends = backends_of(&rule.action).into_iter().flat_map(|(_, backends)| backends);
    let backends_change = backends.any(|one| !one.request_headers.is_empty() || !one.response_headers.is_empty());
    match reason {
        Reason::Origin { origin, .. } => {
            let at = origins_of(&rule.action).iter().position(|one| one == origin);
            at.map_or_else(String::new, |at| format!("origins[{at}]"))
        }
        Reason::TooMany { list: List::Origins, .. } => "origins".to_owned(),
        Reason::TooMany { list: List::Matches, .. } => "matches".to_owned(),
        Reason::TooMany { list: List::WeightedBackends, .. } => "backendRefs".to_owned(),
        Reason::RewritePath(_) | Reason::RedirectStatus(_) | Reason::Hostname { .. } => "filters".to_owned(),
        Reason::HeaderName(_) | Reason::HeaderValue(_) if !backends_change => "filters".to_owned(),
        _ => String::new(),
    }
}
