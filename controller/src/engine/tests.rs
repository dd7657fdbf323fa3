//! The engine over a store that a test fills.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use headrace_compile::{Key, Kind, Reference};
use headrace_table::{SectionId, SectionKind};
use serde_json::{Value, json};

use super::*;
use crate::publish::acknowledgements::Refusal;

struct Rig {
    store: Arc<Store>,
    leadership: watch::Sender<Leadership>,
    refuse: watch::Sender<Arc<Refusals>>,
    wanted: watch::Receiver<Arc<References>>,
    generations: watch::Receiver<Option<Arc<Generation>>>,
}

impl Rig {
    /// An engine that runs, over a store in which no kind is listed.
    fn start() -> Rig {
        let store = Arc::new(Store::default());
        let (refuse, refusals) = watch::channel(Arc::default());
        let (want, wanted) = watch::channel(Arc::default());
        let (leadership, led) = watch::channel(Leadership::Leader { epoch: 1 });
        let metrics = EngineMetrics::new(&Metrics::new());
        let engine = Engine::new(Arc::clone(&store), Options::default(), led, refusals, want, metrics);
        let generations = engine.subscribe();
        tokio::spawn(engine.run());
        Rig { store, leadership, refuse, wanted, generations }
    }

    /// The same, with nothing in the cluster but a class.
    async fn listed() -> Rig {
        let mut rig = Rig::start();
        for (kind, ..) in rig.store.kinds() {
            rig.store.list_as_empty(kind);
        }
        rig.store.put_for_test(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": "headrace", "resourceVersion": "1"},
            "spec": {"controllerName": "headrace.dev/gateway-controller"},
        }));
        rig.next().await;
        rig
    }

    async fn next(&mut self) -> Arc<Generation> {
        self.generations.changed().await.unwrap();
        self.generations.borrow_and_update().clone().unwrap()
    }

    /// Long enough for what would be due to be seen, most of the time: what it is for can pass though it should not, and
    /// never fail though it should pass.
    async fn settle(&self) {
        tokio::time::sleep(debounce::LONGEST).await;
    }
}

fn gateway(version: u32, generation: u32, annotation: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {
            "name": "edge", "namespace": "infra", "uid": "1", "resourceVersion": version.to_string(),
            "generation": generation, "annotations": {"a": annotation},
        },
        "spec": {"gatewayClassName": "headrace", "listeners": [
            {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "tls"}]}},
            {"name": "http", "port": 80, "protocol": "HTTP"},
        ]},
    })
}

fn tls() -> Reference {
    Reference { kind: Kind::Secret, key: Key::new("infra", "tls") }
}

#[tokio::test]
async fn nothing_comes_out_before_every_kind_was_listed() {
    let mut rig = Rig::start();
    let kinds: Vec<Kind> = rig.store.kinds().into_iter().map(|(kind, ..)| kind).collect();
    let (last, first) = kinds.split_last().unwrap();
    for kind in first {
        rig.store.list_as_empty(*kind);
    }
    rig.settle().await;
    assert!(!rig.generations.has_changed().unwrap());
    rig.store.list_as_empty(*last);
    assert_eq!(rig.next().await.number, 1);
}

#[tokio::test]
async fn a_compile_waits_for_what_is_referred_to_but_not_for_ever() {
    let mut rig = Rig::listed().await;
    rig.store.put_for_test(gateway(1, 1, ""));
    rig.wanted.changed().await.unwrap();
    assert_eq!(*rig.wanted.borrow_and_update().clone(), References::from([tls()]));
    assert!(!rig.generations.has_changed().unwrap(), "it is not known yet whether there is one");
    rig.store.resolve::<k8s_openapi::api::core::v1::Secret>(&tls(), None);
    let generation = rig.next().await;
    assert_eq!(generation.world.gateways.len(), 1);

    let mut late = Rig::listed().await;
    late.store.put_for_test(gateway(1, 1, ""));
    assert_eq!(late.next().await.world.gateways.len(), 1, "nobody ever looked");
}

#[tokio::test]
async fn who_takes_over_compiles_what_waits() {
    let mut rig = Rig::listed().await;
    rig.store.resolve::<k8s_openapi::api::core::v1::Secret>(&tls(), None);
    rig.leadership.send_replace(Leadership::Follower);
    rig.store.put_for_test(gateway(1, 1, ""));
    rig.settle().await;
    assert!(!rig.generations.has_changed().unwrap());
    rig.leadership.send_replace(Leadership::Leader { epoch: 2 });
    assert_eq!(rig.next().await.world.gateways.len(), 1);
}

#[tokio::test]
async fn what_does_not_matter_is_not_compiled() {
    let mut rig = Rig::listed().await;
    rig.store.resolve::<k8s_openapi::api::core::v1::Secret>(&tls(), None);
    rig.store.put_for_test(gateway(1, 1, ""));
    rig.next().await;
    rig.store.put_for_test(gateway(2, 1, ""));
    rig.settle().await;
    assert!(!rig.generations.has_changed().unwrap());
    rig.store.put_for_test(gateway(3, 1, "edited"));
    assert_eq!(rig.next().await.number, 3);
}

#[tokio::test]
async fn a_refusal_stands_until_its_object_changes() {
    let mut rig = Rig::listed().await;
    rig.store.resolve::<k8s_openapi::api::core::v1::Secret>(&tls(), None);
    rig.store.put_for_test(gateway(1, 1, ""));
    let first = rig.next().await;
    let listeners = |generation: &Generation| generation.compiled.table.listeners.len();
    assert_eq!(listeners(&first), 1);
    let section = SectionId::new(SectionKind::Listener, first.compiled.table.listeners[0].id.clone());
    let refusal = Refusal { generation: first.number, message: "no".to_owned(), pod: Some("dataplane-0".to_owned()) };
    rig.refuse.send_replace(Arc::new(Refusals { sections: [(section, refusal)].into() }));
    let second = rig.next().await;
    assert_eq!(listeners(&second), 0);

    rig.store.put_for_test(gateway(2, 1, ""));
    rig.settle().await;
    assert!(!rig.generations.has_changed().unwrap(), "our own status write lifts nothing");
    rig.store.put_for_test(gateway(3, 2, ""));
    assert_eq!(listeners(&*rig.next().await), 1, "a changed object is tried again");
}
