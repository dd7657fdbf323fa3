//! A watch against an API server that is a function: what it asks, what it makes of the answers.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::convert::Infallible;
use std::sync::Mutex;

use bytes::Bytes;
use futures::stream::Pending;
use gateway_api::httproutes::HttpRoute;
use headrace_compile::Kind;
use http::{Request, Response};
use http_body_util::{Either, Full, StreamBody};
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::metrics::Metrics;
use crate::watch::discovery::resource;

/// A whole body, or one that never ends.
type Answer = Either<Full<Bytes>, StreamBody<Pending<Result<Frame<Bytes>, Infallible>>>>;

/// Answers, one for each request, and the requests that were made.
#[derive(Clone)]
struct Server {
    answers: Arc<Mutex<Vec<(u16, String)>>>,
    asked: mpsc::UnboundedSender<String>,
}

impl Server {
    fn answer(&self, request: &Request<Body>) -> Response<Answer> {
        let mut answers = self.answers.lock().unwrap();
        if answers.is_empty() {
            // The watch has done all that the test wants to see; this one stays open.
            return Response::new(Either::Right(StreamBody::new(futures::stream::pending())));
        }
        self.asked.send(request.uri().query().unwrap_or("").to_owned()).unwrap();
        let (status, body) = answers.remove(0);
        Response::builder().status(status).body(Either::Left(Full::from(body))).unwrap()
    }
}

#[derive(Debug, PartialEq)]
enum Seen {
    Listed(Vec<String>),
    Applied(String),
    Deleted(String),
}

struct Record(mpsc::UnboundedSender<Seen>);

impl Sink<HttpRoute> for Record {
    fn listed(&mut self, entries: Vec<Entry<HttpRoute>>) {
        self.0.send(Seen::Listed(entries.iter().map(|entry| entry.key().name).collect())).unwrap();
    }

    fn applied(&mut self, entry: Entry<HttpRoute>) {
        self.0.send(Seen::Applied(entry.key().name)).unwrap();
    }

    fn deleted(&mut self, key: &Key) {
        self.0.send(Seen::Deleted(key.name.clone())).unwrap();
    }
}

/// What was seen and what was asked, once so many were seen and all answers were given.
async fn follow(answers: Vec<(u16, String)>, expect: &[Seen]) -> Vec<String> {
    let (asked, mut queries) = mpsc::unbounded_channel();
    let count = answers.len();
    let server = Server { answers: Arc::new(Mutex::new(answers)), asked };
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = server.answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let (seen, mut events) = mpsc::unbounded_channel();
    let follower = Follower::<HttpRoute> {
        api: Api::all_with(Client::new(service, "default"), &resource(Kind::HttpRoute, None)),
        selector: None,
        streaming: Streaming::default(),
        metrics: WatchMetrics::new(&Metrics::new()),
        asked: Asked::default(),
        backoff: Backoff::new(Duration::from_millis(1)),
    };
    let watch = tokio::spawn(follower.follow(Record(seen)));
    for expect in expect {
        assert_eq!(&events.recv().await.unwrap(), expect);
    }
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(queries.recv().await.unwrap());
    }
    assert!(events.try_recv().is_err(), "no more than that");
    watch.abort();
    all
}

fn route(name: &str, version: u32) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "a", "resourceVersion": version.to_string()},
        "spec": {},
    })
}

fn event(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

fn bookmark(version: u32, annotations: &Value) -> String {
    let metadata = json!({"resourceVersion": version.to_string(), "annotations": annotations});
    event("BOOKMARK", &json!({"apiVersion": "v1", "kind": "HTTPRoute", "metadata": metadata}))
}

fn end_of_list(version: u32) -> String {
    bookmark(version, &json!({INITIAL_EVENTS_END: "true"}))
}

fn status(code: u16, message: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "message": message, "reason": "X"})
}

fn names(names: &[&str]) -> Seen {
    Seen::Listed(names.iter().map(|name| (*name).to_owned()).collect())
}

#[tokio::test]
async fn a_streamed_list_comes_at_once_and_changes_after_it() {
    let first = event("ADDED", &route("one", 1))
        + &event("ADDED", &route("two", 2))
        + &end_of_list(7)
        + &event("MODIFIED", &route("one", 8))
        + &event("DELETED", &route("two", 9));
    let second = event("ADDED", &route("three", 10)) + &bookmark(12, &json!({}));
    let expect = [
        names(&["one", "two"]),
        Seen::Applied("one".into()),
        Seen::Deleted("two".into()),
        Seen::Applied("three".into()),
    ];
    let asked = follow(vec![(200, first), (200, second), (200, String::new())], &expect).await;
    assert!(
        asked[0].contains("sendInitialEvents=true") && asked[0].contains("resourceVersion=&")
            || asked[0].ends_with("resourceVersion="),
        "{}",
        asked[0]
    );
    assert!(asked[1].contains("resourceVersion=9") && !asked[1].contains("sendInitialEvents=true"), "{}", asked[1]);
    assert!(asked[2].contains("resourceVersion=12"), "a bookmark counts: {}", asked[2]);
}

#[tokio::test]
async fn an_expired_version_is_listed_again() {
    let first = event("ADDED", &route("one", 1)) + &end_of_list(7) + &event("ERROR", &status(410, "too old"));
    let second = event("ADDED", &route("two", 2)) + &end_of_list(20);
    let asked = follow(vec![(200, first), (200, second)], &[names(&["one"]), names(&["two"])]).await;
    assert!(asked[1].contains("sendInitialEvents=true"), "{}", asked[1]);
}

#[tokio::test]
async fn half_a_streamed_list_is_none() {
    let half = event("ADDED", &route("one", 1));
    let whole = event("ADDED", &route("two", 2)) + &end_of_list(7);
    follow(vec![(200, half), (200, whole)], &[names(&["two"])]).await;
}

#[tokio::test]
async fn a_server_without_streaming_is_asked_for_pages() {
    let message = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
    let page = |names: &[&str], metadata: Value| {
        let items: Vec<Value> = names.iter().map(|name| route(name, 1)).collect();
        let list = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRouteList", "metadata": metadata, "items": items});
        (200, list.to_string())
    };
    let answers = vec![
        (422, status(422, message).to_string()),
        page(&["one", "two"], json!({"resourceVersion": "5", "continue": "next"})),
        page(&["three"], json!({"resourceVersion": "5"})),
        (200, event("DELETED", &route("two", 6))),
    ];
    let asked = follow(answers, &[names(&["one", "two", "three"]), Seen::Deleted("two".into())]).await;
    assert!(asked[1].contains("limit=500") && asked[2].contains("continue=next"), "{asked:?}");
    assert!(asked[3].contains("watch=true") && asked[3].contains("resourceVersion=5"), "{asked:?}");
}

#[tokio::test]
async fn a_server_that_fails_is_asked_again_and_at_last_for_a_list() {
    let list = |name: &str| (200, event("ADDED", &route(name, 1)) + &end_of_list(7));
    let mut answers = vec![list("one")];
    answers.extend((0..7).map(|_| (500, status(500, "etcd is not there").to_string())));
    answers.push(list("two"));
    let asked = follow(answers, &[names(&["one"]), names(&["two"])]).await;
    assert!(asked[1].contains("resourceVersion=7") && asked[6].contains("resourceVersion=7"), "{asked:?}");
    assert!(asked[8].contains("sendInitialEvents=true"), "{asked:?}");
}

#[tokio::test]
async fn a_kind_that_is_not_known_any_more_is_asked_after() {
    let first = event("ADDED", &route("one", 1)) + &end_of_list(7);
    let again = event("ADDED", &route("one", 9));
    // What the API server says where no definition is: plain text.
    let answers = vec![(200, first), (404, "404 page not found\n".to_owned()), (503, String::new()), (200, again)];
    let asked = follow(answers, &[names(&["one"]), Seen::Applied("one".into())]).await;
    assert!(asked[3].contains("resourceVersion=7"), "{asked:?}");
}
