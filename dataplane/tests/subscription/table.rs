//! Tables with one route, and what can be wrong with them.

use std::net::SocketAddr;

use headrace_table::wire::{
    Action, Attachment, Backend, BackendProtocol, BackendTls, Certificate, Forward, HeaderChanges, Listener, Match,
    Opens, PathMatch, Protocol, QuicOptions, Route, Rule, Table, Trust, WeightedBackend,
};

pub(crate) const LISTENER: &str = "test/edge/http";
pub(crate) const ROUTE: &str = "HTTPRoute/test/route";
pub(crate) const BACKEND: &str = "test/backend:80";

/// Everything that comes to a port goes to this backend.
pub(crate) fn forwarding(port: u16, backend: SocketAddr) -> Table {
    let all = Match {
        path: PathMatch::Prefix("/".to_owned()),
        method: None,
        headers: Vec::new(),
        query: Vec::new(),
        opens: Opens::Any,
        subprotocols: Vec::new(),
    };
    let to = WeightedBackend {
        backend: Some(BACKEND.to_owned()),
        weight: 1,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
    };
    let rule = Rule {
        name: None,
        matches: vec![all],
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        action: Action::Forward(Forward { backends: vec![to], ..Forward::default() }),
    };
    let attachment = Attachment { listener: LISTENER.to_owned(), hostnames: Vec::new() };
    Table {
        listeners: vec![listener(LISTENER, port)],
        routes: vec![Route { id: ROUTE.to_owned(), created: 0, attachments: vec![attachment], rules: vec![rule] }],
        backends: vec![Backend {
            id: BACKEND.to_owned(),
            protocol: BackendProtocol::Http1,
            endpoints: vec![backend.to_string()],
            tls: None,
        }],
        ..Table::default()
    }
}

/// A clear-text listener for every host.
pub(crate) fn listener(id: &str, port: u16) -> Listener {
    Listener {
        id: id.to_owned(),
        port,
        public_port: 80,
        protocol: Protocol::Http,
        http3: false,
        quic: QuicOptions::default(),
        hostname: None,
        certificates: Vec::new(),
    }
}

/// The same with a listener of HTTPS on another port, which shows this certificate.
pub(crate) fn with_https(mut table: Table, port: u16, chain: &str, key: &str) -> Table {
    const ID: &str = "test/certificate";
    table.listeners.push(Listener {
        protocol: Protocol::Https,
        http3: true,
        certificates: vec![ID.to_owned()],
        ..listener("test/edge/https", port)
    });
    table.certificates.push(Certificate { id: ID.to_owned(), chain: chain.to_owned(), key: key.to_owned() });
    table
}

/// A backend whose certificate must be of one of these roots.
pub(crate) fn over_tls(id: &str, endpoint: SocketAddr, roots: &str) -> Backend {
    let tls = BackendTls {
        server_name: "backend.example.com".to_owned(),
        trust: Trust::Roots(roots.to_owned()),
        subject_alt_names: Vec::new(),
    };
    Backend {
        id: id.to_owned(),
        protocol: BackendProtocol::Http1,
        endpoints: vec![endpoint.to_string()],
        tls: Some(tls),
    }
}
