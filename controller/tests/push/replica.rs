//! A replica of the controller as far as the push goes, with an API server made of two objects and a list of tokens.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use headrace_compile::{Compiled, World};
use headrace_controller::generation::Generation;
use headrace_controller::leader::Leadership;
use headrace_controller::metrics::Metrics;
use headrace_controller::publish::acknowledgements::{Acknowledgements, Refusals};
use headrace_controller::publish::identity::AUDIENCE;
use headrace_controller::publish::identity::review::{ReviewTokens, ReviewUnavailable};
use headrace_controller::publish::{Boundary, Bounds, Publish, Settings, Store, StoreError};
use headrace_controller::quic::Shares;
use headrace_table::wire;
use k8s_openapi::api::authentication::v1::TokenReviewStatus;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Resource;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) const SERVER_NAME: &str = "headrace-controller-push.headrace-system.svc";

/// No test waits longer for what it expects.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Enough for every test that is not about patience.
pub(crate) const UNHURRIED: Bounds = Bounds {
    overdue_after: Duration::from_secs(60),
    stalled_after: Duration::from_secs(60),
    reviewed_every: Duration::from_secs(60),
};

/// One object, which several replicas share.
pub(crate) struct Kept<K>(Arc<Mutex<(Option<K>, u64)>>);

impl<K> Clone for Kept<K> {
    fn clone(&self) -> Self {
        Kept(Arc::clone(&self.0))
    }
}

impl<K> Default for Kept<K> {
    fn default() -> Self {
        Kept(Arc::new(Mutex::new((None, 0))))
    }
}

impl<K: Resource + Clone> Kept<K> {
    fn write(&self, object: &K, fits: impl FnOnce(Option<&K>) -> bool) -> Result<K, StoreError> {
        let (held, version) = &mut *self.0.lock().unwrap();
        if !fits(held.as_ref()) {
            return Err(StoreError::Conflict);
        }
        *version += 1;
        let mut object = object.clone();
        object.meta_mut().resource_version = Some(version.to_string());
        *held = Some(object.clone());
        Ok(object)
    }
}

impl<K: Resource + Clone + Send + Sync> Store<K> for Kept<K> {
    async fn read(&self) -> Result<Option<K>, StoreError> {
        Ok(self.0.lock().unwrap().0.clone())
    }

    async fn create(&self, object: &K) -> Result<K, StoreError> {
        self.write(object, |held| held.is_none())
    }

    async fn replace(&self, object: &K) -> Result<K, StoreError> {
        let version = object.meta().resource_version.clone();
        self.write(object, |held| held.is_some_and(|held| held.meta().resource_version == version))
    }
}

/// What the API server knows: the CA's objects, and which tokens are good.
#[derive(Clone, Default)]
pub(crate) struct ApiServer {
    secret: Kept<Secret>,
    config_map: Kept<ConfigMap>,
    tokens: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl ApiServer {
    /// A token of a pod.
    pub(crate) fn token(&self, service_account: &str, pod: Option<&str>) -> String {
        let token = unknown_token(AUDIENCE, &format!("{service_account} {}", pod.unwrap_or_default()));
        let extra = pod.map(|pod| {
            json!({
                "authentication.kubernetes.io/pod-name": [pod],
                "authentication.kubernetes.io/pod-uid": [format!("uid-of-{pod}")],
            })
        });
        let user = json!({"username": format!("system:serviceaccount:{service_account}"), "extra": extra});
        let answer = json!({"authenticated": true, "audiences": [AUDIENCE], "user": user});
        self.tokens.lock().unwrap().insert(token.clone(), answer);
        token
    }

    /// A token of a pod of the default set.
    pub(crate) fn pod(&self, name: &str) -> String {
        self.token("headrace-system:headrace-dataplane", Some(name))
    }

    /// Its pod is deleted.
    pub(crate) fn delete(&self, token: &str) {
        self.tokens.lock().unwrap().remove(token);
    }

    /// What pods trust.
    pub(crate) fn bundle(&self) -> Option<String> {
        self.config_map.0.lock().unwrap().0.as_ref()?.data.as_ref()?.get("ca.crt").cloned()
    }
}

/// A JWT that no API server has issued.
pub(crate) fn unknown_token(audience: &str, subject: &str) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.signature", part(json!({"alg": "none"})), part(json!({"aud": [audience], "sub": subject})))
}

impl ReviewTokens for ApiServer {
    fn review<'a>(
        &'a self,
        token: &'a str,
        _audience: &'a str,
    ) -> BoxFuture<'a, Result<TokenReviewStatus, ReviewUnavailable>> {
        let known = self.tokens.lock().unwrap().get(token).cloned();
        let answer = known.unwrap_or_else(|| json!({"authenticated": false, "error": "token is not valid"}));
        Box::pin(async move { Ok(serde_json::from_value(answer).unwrap()) })
    }
}

/// A running replica.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    pub(crate) api_server: ApiServer,
    pub(crate) publish: Publish,
    pub(crate) metrics: Metrics,
    pub(crate) stop: CancellationToken,
    generations: watch::Sender<Option<Arc<Generation>>>,
    leadership: watch::Sender<Leadership>,
    /// What tables have beside what was compiled: nothing, unless a test says otherwise.
    pub(crate) shares: watch::Sender<Shares>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Replica {
    pub(crate) async fn start(api_server: &ApiServer, bounds: Bounds) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let account = |set: &str, account: &str| (set.to_owned(), account.to_owned());
        let settings = Settings {
            namespace: "headrace-system".to_owned(),
            push_service: "headrace-controller-push".to_owned(),
            pod_sets: BTreeMap::from([
                account("default", "headrace-dataplane"),
                account("edge", "headrace-dataplane-edge"),
            ]),
            bounds,
        };
        let (metrics, stop) = (Metrics::new(), CancellationToken::new());
        let publish = Publish::new(settings, &metrics);
        let (generations, leadership) = (watch::Sender::default(), watch::Sender::default());
        let shares = watch::Sender::new(Shares::None);
        let boundary = Boundary {
            listener,
            reviewer: Arc::new(api_server.clone()),
            secret: api_server.secret.clone(),
            config_map: api_server.config_map.clone(),
        };
        let run = publish.clone().run(
            boundary,
            generations.subscribe(),
            shares.subscribe(),
            leadership.subscribe(),
            stop.clone(),
        );
        tokio::spawn(run);
        let replica = Replica {
            address,
            api_server: api_server.clone(),
            publish,
            metrics,
            stop,
            generations,
            leadership,
            shares,
        };
        replica.until("there is a CA", || replica.api_server.bundle().is_some()).await;
        replica
    }

    /// One that leads with epoch 5.
    pub(crate) async fn leader(bounds: Bounds) -> Self {
        let replica = Self::start(&ApiServer::default(), bounds).await;
        replica.lead(5).await;
        replica
    }

    /// It leads, and pods that dial find that out.
    pub(crate) async fn lead(&self, epoch: u64) {
        self.leadership.send_replace(Leadership::Leader { epoch });
        self.acknowledged("it leads", |told| !told.pod_sets.is_empty()).await;
    }

    pub(crate) fn follow(&self) {
        self.leadership.send_replace(Leadership::Follower);
    }

    /// A generation of a table with these backends.
    pub(crate) fn compiled(&self, number: u64, backends: &[&str]) {
        self.compiled_table(number, backends.iter().map(|id| backend(id, 1)).collect());
    }

    pub(crate) fn compiled_table(&self, number: u64, backends: Vec<wire::Backend>) {
        let table = wire::Table { backends, ..wire::Table::default() };
        let compiled = Compiled { table, ..Compiled::default() };
        self.generations.send_replace(Some(Arc::new(Generation {
            number,
            compiled,
            world: Arc::new(World::default()),
        })));
    }

    pub(crate) async fn acknowledged(&self, what: &str, holds: impl Fn(&Acknowledgements) -> bool) {
        let mut told = self.publish.acknowledgements();
        let waited = tokio::time::timeout(PATIENCE, told.wait_for(|told| holds(told))).await;
        assert!(waited.is_ok(), "{what}: {:?}", self.publish.acknowledgements().borrow());
    }

    pub(crate) async fn refused(&self, what: &str, holds: impl Fn(&Refusals) -> bool) {
        let mut told = self.publish.refusals();
        let waited = tokio::time::timeout(PATIENCE, told.wait_for(|told| holds(told))).await;
        assert!(waited.is_ok(), "{what}: {:?}", self.publish.refusals().borrow());
    }

    pub(crate) async fn counted(&self, series: &str, count: u64) {
        let line = format!("headrace_controller_push_{series} {count}\n");
        self.until(&line, || self.metrics.encode().contains(&line)).await;
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "{what}\n{}", self.metrics.encode());
    }
}

/// A backend of so many endpoints, each of some sixteen octets.
pub(crate) fn backend(id: &str, endpoints: u16) -> wire::Backend {
    let endpoints: Vec<_> = (0..endpoints).map(|port| format!("10.0.0.1:{port}")).collect();
    serde_json::from_value(json!({"id": id, "protocol": "Http1", "endpoints": endpoints})).unwrap()
}
