//! An API server that is a map: enough of one for status writes, server-side apply, deletion and events.
//!
//! It keeps versions and answers Conflict as the real one does, and hands every write to the store, as a watch would.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use gateway_api::gatewayclasses::GatewayClass;
use gateway_api::gateways::Gateway;
use gateway_api::httproutes::HttpRoute;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::watch::Store;

/// How long a test waits for something that is to come. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing must come for a test to believe that nothing will.
const QUIET: Duration = Duration::from_millis(700);

/// Where events go, which have a pace of their own.
const EVENTS: &str = "/apis/events.k8s.io/";

#[derive(Clone)]
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    store: Arc<Store>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    writes: Vec<String>,
    events: Vec<Value>,
    conflicts: usize,
    refusals: BTreeMap<String, (u16, usize)>,
    at_once: usize,
    most_at_once: usize,
}

impl Server {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Server { state: Arc::default(), store }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn client(&self) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let is_write = !head.uri.path().contains(EVENTS);
                if is_write {
                    let mut state = server.lock();
                    state.at_once += 1;
                    state.most_at_once = state.most_at_once.max(state.at_once);
                }
                tokio::task::yield_now().await;
                let (status, answer) = server.answer(&head.method, head.uri.path(), &body);
                server.lock().at_once -= usize::from(is_write);
                let response = Response::builder().status(status).body(Body::from(answer.to_string().into_bytes()));
                Ok::<_, kube::Error>(response.unwrap())
            }
        });
        kube::Client::new(service, "default")
    }

    fn answer(&self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        if path.contains(EVENTS) {
            self.lock().events.push(body.clone());
            return (201, body.clone());
        }
        let path = path.trim_end_matches("/status");
        let (status, answer) = self.write(method, path, body);
        if status == 200 {
            self.show_any(path);
        }
        (status, answer)
    }

    fn write(&self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        let mut state = self.lock();
        if let Some((status, times)) = state.refusals.get_mut(path).filter(|(_, times)| *times > 0) {
            *times -= 1;
            return failure(*status);
        }
        let mut object = state.objects.get(path).cloned();
        match (method, body, &mut object) {
            (&Method::PATCH, Value::Array(_), Some(object)) => {
                let version = object["metadata"]["resourceVersion"].clone();
                let patch: json_patch::Patch = serde_json::from_value(body.clone()).unwrap();
                json_patch::patch(object, &patch).unwrap();
                if object["metadata"]["resourceVersion"] != version {
                    state.conflicts += 1;
                    return failure(409);
                }
            }
            (&Method::PATCH, Value::Object(_), _) => {
                let mut applied = body.clone();
                applied["metadata"]["uid"] = json!(format!("uid-of-{path}"));
                object = Some(applied);
            }
            (&Method::DELETE, _, Some(there)) => {
                if body["preconditions"]["uid"] != there["metadata"]["uid"] {
                    return failure(409);
                }
                state.objects.remove(path);
                state.writes.push(format!("DELETE {path}"));
                return (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}));
            }
            _ => return failure(404),
        }
        let object = object.unwrap();
        state.writes.push(path.to_owned());
        (200, state.keep(path, object))
    }

    /// Puts an object there, and into the store.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.lock().keep(path, object);
        self.show_any(path);
    }

    /// Changes an object as somebody else would.
    pub(crate) fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        self.edit_unseen(path, edit);
        self.show_any(path);
    }

    /// The same, and no watch brings it.
    pub(crate) fn edit_unseen(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        let mut state = self.lock();
        let mut object = state.objects[path].clone();
        edit(&mut object);
        state.keep(path, object);
    }

    /// A watch brings the object.
    pub(crate) fn show(&self, path: &str) {
        self.show_any(path);
    }

    fn show_any(&self, path: &str) {
        let object = self.lock().objects.get(path).cloned();
        let Some(object) = object else { return };
        macro_rules! apply {
            ($kind:ty) => {
                self.store.apply::<$kind>(serde_json::from_value(object).unwrap())
            };
        }
        match path.rsplit('/').nth(1).unwrap() {
            "gatewayclasses" => apply!(GatewayClass),
            "gateways" => apply!(Gateway),
            "httproutes" => apply!(HttpRoute),
            "services" => apply!(Service),
            "endpointslices" => apply!(EndpointSlice),
            other => panic!("{other}"),
        }
    }

    /// Answers the next writes of an object with that status.
    pub(crate) fn refuse(&self, path: &str, status: u16, times: usize) {
        self.lock().refusals.insert(path.to_owned(), (status, times));
    }

    pub(crate) fn object(&self, path: &str) -> Value {
        self.lock().objects.get(path).cloned().unwrap_or_default()
    }

    /// The paths that were written, in order.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.lock().writes.clone()
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        self.lock().events.clone()
    }

    pub(crate) fn conflicts(&self) -> usize {
        self.lock().conflicts
    }

    pub(crate) fn most_at_once(&self) -> usize {
        self.lock().most_at_once
    }

    /// The object, as soon as it is so.
    pub(crate) async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        self.idle_until(|| is_so(&self.object(path))).await;
        self.object(path)
    }

    pub(crate) async fn idle_until(&self, is_so: impl Fn() -> bool) {
        let wait = async {
            while !is_so() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(PATIENCE, wait).await.is_err() {
            let state = self.lock();
            panic!("it never came: {:#?}\n{:#?}", state.objects, state.writes);
        }
    }

    /// Until nothing has been written for a while.
    pub(crate) async fn settled(&self) {
        loop {
            let before = self.writes().len();
            sleep(QUIET).await;
            if self.writes().len() == before {
                return;
            }
        }
    }
}

impl State {
    /// Keeps an object under a new version.
    fn keep(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.to_owned(), object.clone());
        object
    }
}

fn failure(code: u16) -> (u16, Value) {
    let message = format!("the answer is {code}");
    (code, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}))
}
