//! Asks the table itself whether it would take a rule.
//!
//! The table refuses what it cannot serve as a whole, so a rule must be known to be good before it is put in. The table's own
//! door is the judge: what it does not like about header octets, patterns or origins need not be said here again.

use headrace_table::wire::{self, Action, Attachment, Backend, BackendProtocol, Listener, Protocol, Route, Rule};
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

/// A table of nothing but these rules.
fn refusal(rules: Vec<Rule>) -> Option<Refused> {
    let forwards = rules.iter().filter_map(|rule| match &rule.action {
        Action::Forward(forward) => Some(forward),
        Action::Redirect(_) | Action::Respond(_) => None,
    });
    let mut backends: Vec<String> =
        forwards.flat_map(|forward| &forward.backends).filter_map(|backend| backend.backend.clone()).collect();
    backends.sort();
    backends.dedup();
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
        backends: backends
            .into_iter()
            .map(|id| Backend { id, protocol: BackendProtocol::Http1, endpoints: Vec::new(), tls: None })
            .collect(),
        ..wire::Table::default()
    };
    Table::try_from(table).err()
}

/// Where in an object the rule's part stands that a reason is about, where only one place can be meant.
fn field_of(rule: &Rule, reason: &Reason) -> String {
    let forward = match &rule.action {
        Action::Forward(forward) => Some(forward),
        Action::Redirect(_) | Action::Respond(_) => None,
    };
    let backends = forward.map_or(&[][..], |forward| &forward.backends);
    let backends_change =
        backends.iter().any(|one| !one.request_headers.is_empty() || !one.response_headers.is_empty());
    match reason {
        Reason::Origin { origin, .. } => {
            let origins = forward.map_or(&[][..], |forward| &forward.websocket.origins);
            origins.iter().position(|one| one == origin).map_or_else(String::new, |at| format!("origins[{at}]"))
        }
        Reason::TooMany { list: List::Origins, .. } => "origins".to_owned(),
        Reason::TooMany { list: List::Matches, .. } => "matches".to_owned(),
        Reason::TooMany { list: List::WeightedBackends, .. } => "backendRefs".to_owned(),
        Reason::RewritePath(_) | Reason::RedirectStatus(_) | Reason::Hostname { .. } => "filters".to_owned(),
        Reason::HeaderName(_) | Reason::HeaderValue(_) if !backends_change => "filters".to_owned(),
        _ => String::new(),
    }
}
