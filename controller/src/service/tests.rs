//! Services and their EndpointSlices against an API server that is a map.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};

use super::*;
use crate::status::tests::{Bench, identity, rests_after_hours};

const SERVICE: &str = "/api/v1/namespaces/shop/services/edge-headrace";
const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/edge-headrace-ipv4-0";
const PODS: &str = "/apis/discovery.k8s.io/v1/namespaces/headrace-system/endpointslices/headrace-dataplane-abc";

fn start(bench: &Bench) -> watch::Receiver<Arc<Faults>> {
    let faults = watch::Sender::new(Arc::default());
    let told = faults.subscribe();
    tokio::spawn(keeper(bench, faults));
    told
}

fn keeper(bench: &Bench, faults: watch::Sender<Arc<Faults>>) -> impl Future<Output = ()> + Send + use<> {
    let inputs = Inputs {
        identity: identity(),
        store: Arc::clone(&bench.store),
        generations: bench.generations.subscribe(),
        leadership: bench.leadership.subscribe(),
    };
    let metrics = ServiceMetrics::new(&crate::metrics::Metrics::new());
    run(bench.server.client(), inputs, faults, metrics)
}

#[tokio::test(start_paused = true)]
async fn whoever_has_nothing_to_do_sleeps() {
    for leadership in [Leadership::Follower, Leadership::Leader { epoch: 1 }] {
        let mut bench = Bench::new(0);
        bench.compile();
        bench.leadership.send_replace(leadership);
        assert!(rests_after_hours(keeper(&bench, watch::Sender::new(Arc::default()))).await, "{leadership:?}");
    }
}

fn pods(addresses: &[&str]) -> Value {
    let endpoints: Vec<Value> =
        addresses.iter().map(|it| json!({"addresses": [it], "conditions": {"ready": true}})).collect();
    json!({
        "metadata": {
            "name": "headrace-dataplane-abc", "namespace": "headrace-system", "uid": "e",
            "labels": {"kubernetes.io/service-name": "headrace-dataplane"},
        },
        "addressType": "IPv4", "endpoints": endpoints, "ports": [],
    })
}

fn addresses(slice: &Value) -> Vec<&str> {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    endpoints.map(|endpoint| endpoint["addresses"][0].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_gateways_service_is_applied_and_follows_the_pods() {
    let mut bench = Bench::new(0);
    bench.server.put(PODS, pods(&["10.0.0.1"]));
    start(&bench);
    bench.compile();
    let service =
        bench.server.until(SERVICE, |it| it["metadata"]["labels"]["headrace.dev/controller"].is_string()).await;
    assert_eq!(
        service["spec"]["ports"],
        json!([{"name": "tcp-80", "port": 80, "protocol": "TCP", "targetPort": 20000}])
    );
    bench.server.until(SLICE, |slice| addresses(slice) == ["10.0.0.1"]).await;
    bench.server.put(PODS, pods(&["10.0.0.1", "10.0.0.2"]));
    bench.compile();
    bench.server.until(SLICE, |slice| addresses(slice) == ["10.0.0.1", "10.0.0.2"]).await;

    // What is as it should be is not applied again.
    bench.compile();
    bench.server.settled().await;
    let before = bench.server.writes().len();
    bench.compile();
    bench.server.settled().await;
    assert_eq!(bench.server.writes().len(), before);
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told_until_it_is_taken() {
    let mut bench = Bench::new(0);
    bench.server.refuse(SERVICE, 422, 1);
    let mut faults = start(&bench);
    bench.compile();
    let key = Key::new("shop", "edge");
    let told = faults.wait_for(|faults| faults.contains_key(&key)).await.unwrap()[&key].clone();
    assert_eq!(told, "Service shop/edge-headrace was refused: the answer is 422");
    faults.wait_for(|faults| faults.is_empty()).await.unwrap();
}

#[tokio::test]
async fn a_follower_applies_nothing() {
    let mut bench = Bench::new(0);
    bench.leadership.send_replace(Leadership::Follower);
    start(&bench);
    bench.compile();
    bench.server.settled().await;
    assert_eq!(bench.server.writes(), [""; 0]);
    bench.leadership.send_replace(Leadership::Leader { epoch: 1 });
    bench.server.until(SERVICE, |it| it["metadata"]["labels"]["headrace.dev/controller"].is_string()).await;
}

#[tokio::test]
async fn a_gateway_of_another_class_loses_its_service() {
    let mut bench = Bench::new(0);
    bench.server.put(PODS, pods(&["10.0.0.1"]));
    start(&bench);
    bench.compile();
    bench.server.until(SLICE, |slice| addresses(slice) == ["10.0.0.1"]).await;
    bench.server.put(
        "/apis/gateway.networking.k8s.io/v1/gatewayclasses/other",
        json!({
            "metadata": {"name": "other", "uid": "o"}, "spec": {"controllerName": "vendor.example/x"},
        }),
    );
    let gateway = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways/edge";
    bench.server.edit(gateway, |gateway| gateway["spec"]["gatewayClassName"] = json!("other"));
    bench.compile();
    bench.server.until(SERVICE, Value::is_null).await;
    bench.server.until(SLICE, Value::is_null).await;
}
