//! Short ways to write the parts of a table.

use std::net::SocketAddr;

use headrace_table::wire::{
    Action, Attachment, Backend, BackendProtocol, Forward, HeaderChanges, Listener, Match, Opens, PathMatch, Protocol,
    QuicOptions, Route, Rule, WeightedBackend,
};

use super::{PUBLIC_HTTP, PUBLIC_HTTPS};

/// An HTTPS listener for every host, with HTTP/3.
pub(crate) fn https(id: &str, port: u16, certificate: &str) -> Listener {
    Listener {
        id: id.to_owned(),
        port,
        public_port: PUBLIC_HTTPS,
        protocol: Protocol::Https,
        http3: true,
        quic: QuicOptions::default(),
        hostname: None,
        certificates: vec![certificate.to_owned()],
    }
}

/// A clear-text listener for every host.
pub(crate) fn http(id: &str, port: u16) -> Listener {
    Listener {
        id: id.to_owned(),
        port,
        public_port: PUBLIC_HTTP,
        protocol: Protocol::Http,
        http3: false,
        quic: QuicOptions::default(),
        hostname: None,
        certificates: Vec::new(),
    }
}

/// A route on every host of these listeners.
pub(crate) fn route(id: &str, listeners: &[&str], rules: Vec<Rule>) -> Route {
    let attachment = |listener: &&str| Attachment { listener: (*listener).to_owned(), hostnames: Vec::new() };
    Route { id: id.to_owned(), created: 0, attachments: listeners.iter().map(attachment).collect(), rules }
}

/// A rule for a path and everything below it.
pub(crate) fn rule(prefix: &str, action: Action) -> Rule {
    let path = PathMatch::Prefix(prefix.to_owned());
    Rule {
        name: Some(format!("rule {prefix}")),
        matches: vec![Match {
            path,
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
            opens: Opens::Any,
            subprotocols: Vec::new(),
        }],
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        action,
    }
}

/// A rule that sends everything under a path to one backend.
pub(crate) fn forward(prefix: &str, backend: &str) -> Rule {
    rule(prefix, Action::Forward(to(backend)))
}

/// A rule of that kind with changes.
pub(crate) fn forward_with(prefix: &str, backend: &str, change: impl FnOnce(&mut Forward)) -> Rule {
    let mut forward = to(backend);
    change(&mut forward);
    rule(prefix, Action::Forward(forward))
}

fn to(backend: &str) -> Forward {
    Forward { backends: vec![weighted(Some(backend), 1)], ..Forward::default() }
}

/// One of several backends.
pub(crate) fn weighted(backend: Option<&str>, weight: u32) -> WeightedBackend {
    WeightedBackend {
        backend: backend.map(str::to_owned),
        weight,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
    }
}

/// A backend that speaks HTTP/1.1.
pub(crate) fn backend(id: &str, endpoints: &[SocketAddr]) -> Backend {
    let mut endpoints: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    endpoints.sort();
    Backend { id: id.to_owned(), protocol: BackendProtocol::Http1, endpoints, tls: None }
}

/// A backend that speaks HTTP/2 in clear text.
pub(crate) fn h2c(id: &str, endpoints: &[SocketAddr]) -> Backend {
    Backend { protocol: BackendProtocol::H2c, ..backend(id, endpoints) }
}

/// Header changes.
pub(crate) fn changes(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> HeaderChanges {
    let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    HeaderChanges { set: own(set), add: own(add), remove: remove.iter().map(|name| (*name).to_owned()).collect() }
}
