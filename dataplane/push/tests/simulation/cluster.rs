//! What there is to publish: a table that changes entry by entry.

use headrace_table::{SectionId, SectionKind, wire};

use crate::random::Random;

/// The path of a route that strict pods do not take.
const POISON: &str = "/poison";

/// Entries of one kind at most.
const MAX_ENTRIES: usize = 12;

/// A section that does not fit one part.
const LARGE_OCTETS: u64 = 700_000;

/// The truth that every controller comes to see sooner or later.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) table: wire::Table,
    has_large_entries: bool,
    changes: i64,
}

impl Cluster {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut cluster = Cluster { table: wire::Table::default(), has_large_entries: random.happens(150), changes: 0 };
        for _ in 0..random.within(0..20) {
            cluster.change(random);
        }
        cluster
    }

    /// One entry is made, changed or removed.
    pub(crate) fn change(&mut self, random: &mut Random) {
        self.changes += 1;
        let changes = self.changes;
        let entry = random.index(MAX_ENTRIES);
        let is_removed = random.happens(250);
        match random.index(3) {
            0 => {
                let route = route(format!("HTTPRoute/ns/{entry:02}"), changes, random.happens(60));
                replace(&mut self.table.routes, route, |route| &route.id, is_removed);
            }
            1 => {
                let endpoints = (0..random.within(0..4)).map(|n| format!("10.0.{changes}.{n}:80")).collect();
                let id = format!("ns/{entry:02}:80");
                let backend = wire::Backend { id, protocol: wire::BackendProtocol::Http1, endpoints, tls: None };
                replace(&mut self.table.backends, backend, |backend| &backend.id, is_removed);
            }
            _ => {
                let is_large = self.has_large_entries && random.happens(200);
                let length = if is_large { random.within(1..LARGE_OCTETS) } else { 10 };
                let chain = "c".repeat(length as usize);
                let certificate = wire::Certificate { id: format!("ns/{entry:02}"), chain, key: changes.to_string() };
                replace(&mut self.table.certificates, certificate, |certificate| &certificate.id, is_removed);
            }
        }
    }
}

/// The sections that a strict pod does not take.
pub(crate) fn poisoned(table: &wire::Table) -> Vec<SectionId> {
    let is_poisoned = |route: &&wire::Route| {
        route.rules.iter().flat_map(|rule| &rule.matches).any(|rule| rule.path == wire::PathMatch::Exact(POISON.into()))
    };
    table.routes.iter().filter(is_poisoned).map(|route| SectionId::new(SectionKind::Route, route.id.clone())).collect()
}

fn route(id: String, created: i64, is_poisoned: bool) -> wire::Route {
    let path = if is_poisoned { wire::PathMatch::Exact(POISON.into()) } else { wire::PathMatch::Prefix("/".into()) };
    let rule = wire::Rule {
        name: None,
        matches: vec![wire::Match {
            path,
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
            opens: wire::Opens::Any,
            subprotocols: Vec::new(),
        }],
        request_headers: wire::HeaderChanges::default(),
        response_headers: wire::HeaderChanges::default(),
        action: wire::Action::Respond(404),
    };
    wire::Route { id, created, attachments: Vec::new(), rules: vec![rule] }
}

fn replace<E>(entries: &mut Vec<E>, entry: E, id: impl Fn(&E) -> &String, is_removed: bool) {
    entries.retain(|before| id(before) != id(&entry));
    if !is_removed {
        entries.push(entry);
    }
    entries.sort_by(|a, b| id(a).cmp(id(b)));
}
