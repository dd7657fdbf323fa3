//! How long a lookup takes in tables of 10, 1,000 and 10,000 routes.
//!
//! Every table has the same shape: a hundred hosts (or one for each route, where there are fewer routes), and on each
//! route a plain prefix, a longer prefix that wants a header, and an exact path.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use headrace_table::wire::*;
use headrace_table::{Opening, Request};
use http::{HeaderMap, HeaderValue, Method};

/// Hosts of a large table.
const HOSTS: usize = 100;

fn rule(path: PathMatch, headers: Vec<ValueMatch>) -> Rule {
    let one = Match { path, method: None, headers, query: Vec::new(), opens: Opens::Any, subprotocols: Vec::new() };
    Rule {
        name: None,
        matches: vec![one],
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        action: Action::Respond(204),
    }
}

fn route(number: usize) -> Route {
    let version = ValueMatch { name: "x-version".to_owned(), value: ValuePattern::Exact("2".to_owned()) };
    Route {
        id: format!("HTTPRoute/bench/r{number}"),
        created: 0,
        attachments: vec![Attachment {
            listener: "l".to_owned(),
            hostnames: vec![format!("h{}.example.com", number % HOSTS)],
        }],
        rules: vec![
            rule(PathMatch::Prefix(format!("/svc/{number}")), Vec::new()),
            rule(PathMatch::Prefix(format!("/svc/{number}/api/v2")), vec![version]),
            rule(PathMatch::Exact(format!("/svc/{number}/health")), Vec::new()),
        ],
    }
}

fn table(routes: usize) -> Table {
    let listener = Listener {
        id: "l".to_owned(),
        port: 80,
        public_port: 80,
        protocol: Protocol::Http,
        http3: false,
        quic: QuicOptions::default(),
        hostname: None,
        certificates: Vec::new(),
    };
    Table { listeners: vec![listener], routes: (0..routes).map(route).collect(), ..Table::default() }
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("accept", "*/*"),
        ("accept-encoding", "gzip, br"),
        ("origin", "https://h7.example.com"),
        ("user-agent", "bench"),
        ("x-version", "2"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}

fn lookup(criterion: &mut Criterion) {
    let headers = headers();
    let mut group = criterion.benchmark_group("lookup");
    for routes in [10, 1_000, 10_000] {
        let table = headrace_table::Table::try_from(table(routes)).unwrap();
        let number = routes - 3;
        let host = format!("h{}.example.com", number % HOSTS);
        for (name, path, found) in [
            ("exact", format!("/svc/{number}/health"), true),
            ("prefix", format!("/svc/{number}/a/b/c"), true),
            ("prefix and header", format!("/svc/{number}/api/v2/rooms/1"), true),
            ("nothing", "/other".to_owned(), false),
            ("four thousand slashes", "/".repeat(4_000), false),
        ] {
            let request = Request {
                method: &Method::GET,
                host: &host,
                path: &path,
                query: Some("a=1&b=2"),
                headers: &headers,
                opening: Opening::Request,
            };
            let port = table.port(80).unwrap();
            group.bench_function(BenchmarkId::new(name, routes), |bencher| {
                bencher.iter(|| {
                    let request = black_box(&request);
                    let listener = port.listener_for(Some(request.host)).unwrap();
                    assert_eq!(listener.lookup(request).is_some(), found);
                });
            });
        }
    }
    group.finish();
}

/// From the wire form: what a data plane does when a new table arrives.
fn admit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("admit");
    group.sample_size(10);
    for routes in [10, 1_000, 10_000] {
        let wire = table(routes);
        group.bench_function(BenchmarkId::from_parameter(routes), |bencher| {
            bencher.iter(|| headrace_table::Table::try_from(black_box(wire.clone())).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, lookup, admit);
criterion_main!(benches);
