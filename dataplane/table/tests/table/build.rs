//! Wire forms, shortly written.

use headrace_table::wire::*;

pub(crate) fn listener(id: &str, port: u16, hostname: Option<&str>) -> Listener {
    Listener {
        id: id.to_owned(),
        port,
        public_port: port,
        protocol: Protocol::Http,
        http3: false,
        quic: QuicOptions::default(),
        hostname: hostname.map(str::to_owned),
        certificates: Vec::new(),
    }
}

/// A route on listener `l`.
pub(crate) fn route(id: &str, hostnames: &[&str], rules: Vec<Rule>) -> Route {
    Route { id: id.to_owned(), created: 0, attachments: vec![attachment("l", hostnames)], rules }
}

pub(crate) fn attachment(listener: &str, hostnames: &[&str]) -> Attachment {
    Attachment { listener: listener.to_owned(), hostnames: hostnames.iter().map(|host| (*host).to_owned()).collect() }
}

/// A rule that is known by its name.
pub(crate) fn rule(name: &str, matches: Vec<Match>) -> Rule {
    Rule {
        name: Some(name.to_owned()),
        matches,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        action: Action::Respond(200),
    }
}

pub(crate) fn path(path: PathMatch) -> Match {
    Match { path, method: None, headers: Vec::new(), query: Vec::new(), opens: Opens::Any, subprotocols: Vec::new() }
}

pub(crate) fn exact(text: &str) -> Match {
    path(PathMatch::Exact(text.to_owned()))
}

pub(crate) fn prefix(text: &str) -> Match {
    path(PathMatch::Prefix(text.to_owned()))
}

pub(crate) fn regex(text: &str) -> Match {
    path(PathMatch::Regex(text.to_owned()))
}

pub(crate) fn value(name: &str, value: &str) -> ValueMatch {
    ValueMatch { name: name.to_owned(), value: ValuePattern::Exact(value.to_owned()) }
}

/// A table with listener `l` on port 80 for every host.
pub(crate) fn table(routes: Vec<Route>) -> Table {
    Table { listeners: vec![listener("l", 80, None)], routes, ..Table::default() }
}
