//! The whole writer against an API server that is a map: what is written, when, and what is not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub(crate) mod server;

use std::collections::BTreeMap;

use headrace_compile::{Options, Ports, compile};
use headrace_push::{Digest, Version};
use serde_json::{Value, json};

use super::*;
use crate::publish::acknowledgements::{Pod, Served};
use server::Server;

const CLASS: &str = "/apis/gateway.networking.k8s.io/v1/gatewayclasses/headrace";
const GATEWAY: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways/edge";
const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes";

/// A writer at work, and everything that it hangs on.
pub(crate) struct Bench {
    pub(crate) server: Server,
    pub(crate) store: Arc<Store>,
    pub(crate) generations: watch::Sender<Option<Arc<Generation>>>,
    pub(crate) acknowledgements: watch::Sender<Arc<Acknowledgements>>,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) service_faults: watch::Sender<Arc<Faults>>,
    number: u64,
}

pub(crate) fn identity() -> Identity {
    Identity {
        controller_name: Options::default().controller_name,
        pod_name: "headrace-controller-0".to_owned(),
        namespace: "headrace-system".to_owned(),
        pod_sets: BTreeMap::from([("default".to_owned(), "headrace-dataplane".to_owned())]),
    }
}

impl Bench {
    /// A class, a Gateway with an address, and so many routes.
    pub(crate) fn new(routes: usize) -> Self {
        let store = Arc::new(Store::default());
        let server = Server::new(Arc::clone(&store));
        server.put(
            CLASS,
            json!({
                "metadata": {"name": "headrace", "uid": "c", "generation": 1},
                "spec": {"controllerName": "headrace.dev/gateway-controller"},
            }),
        );
        let listener = json!({"name": "web", "port": 80, "protocol": "HTTP"});
        server.put(
            GATEWAY,
            json!({
                "metadata": {"name": "edge", "namespace": "shop", "uid": "g", "generation": 1},
                "spec": {"gatewayClassName": "headrace", "listeners": [listener]},
            }),
        );
        let owner = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": "edge", "uid": "g",
            "controller": true,
        });
        server.put(
            "/api/v1/namespaces/shop/services/edge-headrace",
            json!({
                "metadata": {"name": "edge-headrace", "namespace": "shop", "uid": "s", "ownerReferences": [owner]},
                "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "targetPort": 20000}]},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
            }),
        );
        for index in 0..routes {
            server.put(&format!("{ROUTES}/r{index:04}"), json!({
                "metadata": {"name": format!("r{index:04}"), "namespace": "shop", "uid": format!("r{index}"), "generation": 1},
                "spec": {"parentRefs": [{"name": "edge"}], "rules": [{}]},
            }));
        }
        Bench {
            server,
            store,
            generations: watch::Sender::new(None),
            acknowledgements: watch::Sender::new(Arc::default()),
            leadership: watch::Sender::new(Leadership::Leader { epoch: 1 }),
            service_faults: watch::Sender::new(Arc::default()),
            number: 0,
        }
    }

    /// Starts the writer; it ends with the test.
    fn start(&self) {
        tokio::spawn(self.writer());
    }

    fn writer(&self) -> impl Future<Output = ()> + Send + use<> {
        let inputs = Inputs {
            identity: identity(),
            store: Arc::clone(&self.store),
            generations: self.generations.subscribe(),
            acknowledgements: self.acknowledgements.subscribe(),
            leadership: self.leadership.subscribe(),
            service_faults: self.service_faults.subscribe(),
        };
        let metrics = StatusMetrics::new(&crate::metrics::Metrics::new());
        run(self.server.client(), inputs, metrics)
    }

    /// Compiles what the store has now.
    pub(crate) fn compile(&mut self) {
        self.number += 1;
        let world = self.store.snapshot().world;
        let options = Options {
            ports: Ports::Allotted { range: 20_000..=29_999, before: BTreeMap::new() },
            ..Options::default()
        };
        let compiled = compile(&world, &options);
        self.generations.send_replace(Some(Arc::new(Generation { number: self.number, compiled, world })));
    }

    /// The pods say that they serve these generations.
    fn answer(&self, generations: &[u64]) {
        let pods = generations.iter().enumerate().map(|(index, generation)| {
            let version = Version { epoch: 1, generation: *generation, digest: Digest::of(b"a table") };
            let pod = Pod {
                name: format!("pod-{index}"),
                since: Timestamp::UNIX_EPOCH,
                served: Some(Served { generation: *generation, version, lag: Duration::ZERO }),
                waiting_since: None,
                overdue: false,
                faults: Vec::new(),
                rejection: None,
            };
            (format!("uid-{index}"), pod)
        });
        let pod_sets = BTreeMap::from([("default".to_owned(), pods.collect())]);
        self.acknowledgements.send_replace(Arc::new(Acknowledgements { pod_sets }));
    }

    async fn programmed(&self, expected: &str) -> String {
        let is_expected =
            |gateway: &Value| condition(gateway, "Programmed").is_some_and(|it| it["status"] == *expected);
        let gateway = self.server.until(GATEWAY, is_expected).await;
        let programmed = condition(&gateway, "Programmed").unwrap();
        format!("{} {}", programmed["reason"].as_str().unwrap(), programmed["message"].as_str().unwrap())
    }
}

/// Lets hours go by, in which nothing happens, and tells whether a task then comes to rest: who is ready again each time
/// that it is looked at takes a processor for itself. The runtime's time must be paused.
pub(crate) async fn rests_after_hours(task: impl Future<Output = ()>) -> bool {
    const LOOKS: usize = 16;
    let mut task = std::pin::pin!(task);
    for _ in 0..LOOKS {
        let _still_runs = futures::poll!(&mut task);
        tokio::task::yield_now().await;
    }
    tokio::time::advance(Duration::from_secs(3 * 3600)).await;
    (0..LOOKS).any(|_| {
        let woken = Arc::new(Flag::default());
        let waker = Arc::clone(&woken).into();
        let _still_runs = task.as_mut().poll(&mut std::task::Context::from_waker(&waker));
        !woken.0.load(std::sync::atomic::Ordering::Relaxed)
    })
}

/// Whether anybody was woken.
#[derive(Default)]
struct Flag(std::sync::atomic::AtomicBool);

impl std::task::Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

fn condition<'a>(object: &'a Value, r#type: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|it| it["type"] == r#type)
}

#[tokio::test]
async fn programmed_is_true_after_every_pod_has_answered() {
    let mut bench = Bench::new(1);
    bench.start();
    bench.answer(&[0, 0]);
    bench.compile();
    let pending = bench.programmed("False").await;
    assert_eq!(pending, "Pending 0 of 2 data-plane pods serve it; waiting for pod-0.");
    bench.answer(&[1, 0]);
    bench
        .server
        .until(GATEWAY, |gateway| {
            condition(gateway, "Programmed").is_some_and(|it| it["message"].as_str().unwrap().starts_with("1 of 2"))
        })
        .await;
    bench.answer(&[1, 1]);
    bench.programmed("True").await;
    let gateway = bench.server.object(GATEWAY);
    assert_eq!(gateway["status"]["addresses"], json!([{"type": "IPAddress", "value": "192.0.2.1"}]));
    assert_eq!(gateway["status"]["listeners"][0]["attachedRoutes"], 1);
    let route = bench.server.until(&format!("{ROUTES}/r0000"), |route| route["status"].is_object()).await;
    assert_eq!(route["status"]["parents"][0]["controllerName"], "headrace.dev/gateway-controller");
    let told = |reason: &str| bench.server.events().into_iter().any(|event| event["reason"] == reason);
    bench.server.idle_until(|| told("AddressAssigned") && told("Programmed")).await;
}

#[tokio::test]
async fn what_says_already_what_it_should_is_not_written() {
    let mut bench = Bench::new(3);
    bench.start();
    bench.answer(&[1]);
    bench.compile();
    bench.programmed("True").await;
    bench.server.until(&format!("{ROUTES}/r0002"), |route| route["status"].is_object()).await;
    bench.server.settled().await;
    let before = bench.server.writes().len();
    bench.compile();
    bench.answer(&[2]);
    // A new leader compares everything anew, and finds nothing to do either.
    bench.leadership.send_replace(Leadership::Follower);
    bench.server.settled().await;
    bench.leadership.send_replace(Leadership::Leader { epoch: 2 });
    bench.server.settled().await;
    assert_eq!(bench.server.writes()[before..], [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn whoever_has_nothing_to_do_sleeps() {
    for leadership in [Leadership::Follower, Leadership::Leader { epoch: 1 }] {
        let mut bench = Bench::new(1);
        bench.compile();
        bench.leadership.send_replace(leadership);
        assert!(rests_after_hours(bench.writer()).await, "{leadership:?}");
    }
}

#[tokio::test]
async fn a_follower_writes_nothing() {
    let mut bench = Bench::new(1);
    bench.leadership.send_replace(Leadership::Follower);
    bench.start();
    bench.answer(&[1]);
    bench.compile();
    bench.server.settled().await;
    assert_eq!(bench.server.writes(), [""; 0]);
    bench.leadership.send_replace(Leadership::Leader { epoch: 1 });
    bench.programmed("True").await;
}

#[tokio::test]
async fn a_conflict_is_seen_and_tried_again_from_the_newer_object() {
    let mut bench = Bench::new(1);
    let path = format!("{ROUTES}/r0000");
    let theirs = json!({"parentRef": {"name": "edge"}, "controllerName": "vendor.example/x", "conditions": []});
    // Somebody writes the object, and the watch has not brought it yet.
    bench.server.edit_unseen(&path, |route| route["status"] = json!({"parents": [theirs.clone()]}));
    bench.start();
    bench.answer(&[1]);
    bench.compile();
    bench.server.idle_until(|| bench.server.conflicts() > 0).await;
    bench.server.show(&path);
    let route = bench.server.until(&path, |route| route["status"]["parents"].as_array().map(Vec::len) == Some(2)).await;
    assert_eq!(route["status"]["parents"][0], theirs);
}

#[tokio::test]
async fn a_route_that_leaves_loses_our_entry_and_no_other() {
    let mut bench = Bench::new(1);
    let path = format!("{ROUTES}/r0000");
    let theirs = json!({"parentRef": {"name": "other"}, "controllerName": "vendor.example/x", "conditions": []});
    bench.server.edit(&path, |route| route["status"] = json!({"parents": [theirs.clone()]}));
    bench.start();
    bench.answer(&[1]);
    bench.compile();
    bench.server.until(&path, |route| route["status"]["parents"].as_array().map(Vec::len) == Some(2)).await;
    bench.server.edit(&path, |route| route["spec"]["parentRefs"] = json!([{"name": "other"}]));
    bench.compile();
    bench.server.until(&path, |route| route["status"]["parents"] == json!([theirs])).await;
}

#[tokio::test]
async fn many_routes_come_after_the_gateway_and_a_few_at_a_time() {
    let mut bench = Bench::new(150);
    bench.start();
    bench.answer(&[1]);
    bench.compile();
    bench.server.until(&format!("{ROUTES}/r0149"), |route| route["status"].is_object()).await;
    let writes = bench.server.writes();
    let first: Vec<&str> = writes.iter().map(String::as_str).take(MAX_IN_FLIGHT).collect();
    assert!(first.contains(&CLASS) && first.contains(&GATEWAY), "{first:?}");
    assert!(bench.server.most_at_once() <= MAX_IN_FLIGHT);
}

#[tokio::test]
async fn a_refused_write_is_no_end() {
    let mut bench = Bench::new(1);
    bench.server.refuse(GATEWAY, 503, 2);
    bench.start();
    bench.answer(&[1]);
    bench.compile();
    bench.programmed("True").await;
}
