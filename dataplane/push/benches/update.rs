//! What a change of one route among 10,000 costs the pod that takes it: its sections put together, decoded, admitted, and
//! encoded for the file of the last good table.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use headrace_push::{Held, Sections, Version};
use headrace_table::Table;
use headrace_table::wire;

/// As in the end-to-end test of scale.
const ROUTES: usize = 10_000;
const BACKENDS: usize = 1_000;
const ENDPOINTS_OF_EACH: usize = 5;

fn backend(index: usize) -> wire::Backend {
    let endpoints = (0..ENDPOINTS_OF_EACH).map(|endpoint| {
        let number = index * ENDPOINTS_OF_EACH + endpoint;
        format!("198.51.{}.{}:8080", number / 250 % 250 + 1, number % 250 + 1)
    });
    wire::Backend {
        id: format!("scale/s-{index:04}:80"),
        protocol: wire::BackendProtocol::Http1,
        endpoints: endpoints.collect(),
        tls: None,
    }
}

fn route(index: usize, value: &str) -> wire::Route {
    let listener = |name: &str| wire::Attachment {
        listener: format!("scale/edge/{name}"),
        hostnames: vec![format!("host-{}.scale.test", index / 10)],
    };
    let path = wire::PathMatch::Prefix(format!("/part-{index}"));
    let set = vec![("x-value".to_owned(), value.to_owned())];
    let backend = wire::WeightedBackend {
        backend: Some(format!("scale/s-{:04}:80", index % BACKENDS)),
        weight: 1,
        request_headers: wire::HeaderChanges::default(),
        response_headers: wire::HeaderChanges::default(),
    };
    wire::Route {
        id: format!("HTTPRoute/scale/r-{index:05}"),
        created: 1_750_000_000,
        attachments: vec![listener("http"), listener("https")],
        rules: vec![wire::Rule {
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
            response_headers: wire::HeaderChanges { set, ..wire::HeaderChanges::default() },
            action: wire::Action::Forward(wire::Forward { backends: vec![backend], ..wire::Forward::default() }),
        }],
    }
}

fn table() -> wire::Table {
    let listener = |name: &str, port| wire::Listener {
        id: format!("scale/edge/{name}"),
        port,
        public_port: port,
        protocol: wire::Protocol::Http,
        http3: false,
        hostname: None,
        certificates: Vec::new(),
        quic: wire::QuicOptions::default(),
    };
    wire::Table {
        listeners: vec![listener("http", 20_000), listener("https", 20_001)],
        routes: (0..ROUTES).map(|index| route(index, "first")).collect(),
        backends: (0..BACKENDS).map(backend).collect(),
        ..wire::Table::default()
    }
}

fn update(criterion: &mut Criterion) {
    let before = table();
    let sections = Arc::new(Sections::of(&before, None));
    let mut group = criterion.benchmark_group("update");
    group.sample_size(20);
    group.bench_function("digest", |b| b.iter(|| black_box(Sections::of(&before, Some((&before, &sections))))));
    group.bench_function("decode", |b| b.iter(|| black_box(sections.table().unwrap())));
    group.bench_function("admit", |b| {
        b.iter_batched(
            || sections.table().unwrap(),
            |wire| black_box(Table::with_seed(wire, 1).unwrap()),
            BatchSize::PerIteration,
        );
    });
    let version = Version { epoch: 1, generation: 1, digest: sections.digest() };
    let held = Held { version, sections: Arc::clone(&sections) };
    group.bench_function("encode", |b| b.iter(|| black_box(held.encode())));
    group.finish();
}

criterion_group!(benches, update);
criterion_main!(benches);
