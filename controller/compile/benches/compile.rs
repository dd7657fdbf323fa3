//! How long a whole compile takes: 10,000 HTTPRoutes on ten Gateways over 1,000 Services with 5,000 endpoints.
//!
//! Every route has a host of its own, a prefix and a prefix that wants a header, and two backends; ports are allotted.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use headrace_compile::{Kind, Object, Options, Ports, World, compile};
use serde_yaml::Value;

const GATEWAYS: usize = 10;
const ROUTES: usize = 10_000;
const SERVICES: usize = 1_000;
const ENDPOINTS: usize = 5;

fn insert(world: &mut World, text: &str) {
    let document: Value = serde_yaml::from_str(text).unwrap();
    let word = |name: &str| document[name].as_str().unwrap().to_owned();
    let kind = Kind::of(&word("apiVersion"), &word("kind")).unwrap();
    world.insert(Object::deserialize(kind, document).unwrap());
}

fn world() -> World {
    let mut world = World::default();
    insert(
        &mut world,
        "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: headrace}, \
         spec: {controllerName: headrace.dev/gateway-controller}}",
    );
    for number in 0..GATEWAYS {
        insert(
            &mut world,
            &format!(
                "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: g{number}, namespace: infra}}, \
                 spec: {{gatewayClassName: headrace, listeners: [{{name: http, protocol: HTTP, port: 80, \
                 allowedRoutes: {{namespaces: {{from: All}}}}}}]}}}}"
            ),
        );
    }
    for number in 0..SERVICES {
        insert(
            &mut world,
            &format!(
                "{{apiVersion: v1, kind: Service, metadata: {{name: s{number}, namespace: shop}}, spec: {{ports: [{{port: 80}}]}}}}"
            ),
        );
        let addresses = (0..ENDPOINTS).map(|at| format!("{{addresses: [10.{}.{}.{at}]}}", number / 250, number % 250));
        let addresses: Vec<String> = addresses.collect();
        insert(
            &mut world,
            &format!(
                "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s{number}-1, namespace: shop, \
                 labels: {{kubernetes.io/service-name: s{number}}}}}, addressType: IPv4, ports: [{{port: 8080}}], \
                 endpoints: [{}]}}",
                addresses.join(", ")
            ),
        );
    }
    for number in 0..ROUTES {
        let (one, other, gateway) = (number % SERVICES, (number + 1) % SERVICES, number % GATEWAYS);
        insert(
            &mut world,
            &format!(
                "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: r{number}, namespace: shop}}, \
                 spec: {{parentRefs: [{{name: g{gateway}, namespace: infra}}], hostnames: [h{number}.example.com], rules: [\
                 {{matches: [{{path: {{type: PathPrefix, value: /}}}}], backendRefs: [{{name: s{one}, port: 80}}, \
                 {{name: s{other}, port: 80, weight: 3}}]}}, \
                 {{matches: [{{path: {{type: PathPrefix, value: /v2}}, headers: [{{name: x-version, value: '2'}}]}}], \
                 backendRefs: [{{name: s{other}, port: 80}}]}}]}}}}"
            ),
        );
    }
    world
}

fn whole(c: &mut Criterion) {
    let world = world();
    let ports = Ports::Allotted { range: 20_000..=29_999, before: BTreeMap::new() };
    let options = Options { ports, ..Options::default() };
    let compiled = compile(&world, &options);
    assert_eq!((compiled.table.routes.len(), compiled.table.backends.len()), (ROUTES, SERVICES));
    let mut group = c.benchmark_group("compile");
    group.sample_size(10);
    group.bench_function("10000_routes", |b| b.iter_with_large_drop(|| compile(black_box(&world), &options)));
    group.finish();
}

criterion_group!(benches, whole);
criterion_main!(benches);
