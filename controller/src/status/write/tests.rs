//! Paths and answers, against a client whose other end is a function.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::{Arc, Mutex};

use headrace_compile::Key;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::json;

use super::*;

/// Sends one write; gives the path, the content type, the body, and what became of it.
async fn sent(kind: Kind, status: u16, answer: Value) -> (String, String, Value, Answer) {
    let seen = Arc::new(Mutex::new(None));
    let service = {
        let seen = Arc::clone(&seen);
        tower::service_fn(move |request: Request<Body>| {
            let (seen, answer) = (Arc::clone(&seen), answer.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let r#type = head.headers["content-type"].to_str().unwrap().to_owned();
                *seen.lock().unwrap() = Some((head.uri.to_string(), r#type, serde_json::from_slice(&body).unwrap()));
                let answer = Response::builder().status(status).body(Body::from(answer.to_string().into_bytes()));
                Ok::<_, kube::Error>(answer.unwrap())
            }
        })
    };
    let writer = Writer::new(kube::Client::new(service, "default"), "headrace.dev/x".to_owned());
    let operations = vec![json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "7"})];
    let write = Write { uid: "u".to_owned(), change: Change { operations, transitions: Vec::new() } };
    let namespace = if kind.is_namespaced() { "shop" } else { "" };
    let answer = writer.send(&ObjectRef::new(kind, &Key::new(namespace, "a")), &write).await;
    let (path, r#type, body) = seen.lock().unwrap().take().unwrap();
    (path, r#type, body, answer)
}

fn failure(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Why", "message": "why", "code": code})
}

#[tokio::test]
async fn every_kind_has_its_path() {
    for (kind, path) in [
        (Kind::GatewayClass, "/apis/gateway.networking.k8s.io/v1/gatewayclasses/a/status"),
        (Kind::Gateway, "/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways/a/status"),
        (Kind::ListenerSet, "/apis/gateway.networking.k8s.io/v1/namespaces/shop/listenersets/a/status"),
        (Kind::HttpRoute, "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/a/status"),
        (Kind::WebSocketRoute, "/apis/headrace.dev/v1alpha1/namespaces/shop/websocketroutes/a/status"),
        (Kind::WebTransportRoute, "/apis/headrace.dev/v1alpha1/namespaces/shop/webtransportroutes/a/status"),
        (Kind::EdgePolicy, "/apis/headrace.dev/v1alpha1/namespaces/shop/edgepolicies/a/status"),
        (Kind::BackendTlsPolicy, "/apis/gateway.networking.k8s.io/v1/namespaces/shop/backendtlspolicies/a/status"),
        (Kind::Ingress, "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/a/status"),
    ] {
        let object = json!({"metadata": {"name": "a", "resourceVersion": "8"}, "status": {}});
        let (uri, r#type, body, answer) = sent(kind, 200, object).await;
        assert_eq!(uri.split('?').next(), Some(path));
        assert_eq!(r#type, "application/json-patch+json");
        assert_eq!(body, json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}]));
        assert_eq!(answer.outcome(), WriteOutcome::Written);
    }
}

#[tokio::test]
async fn every_answer_means_something() {
    for (code, expected) in [
        (404, WriteOutcome::Gone),
        (409, WriteOutcome::Conflict),
        (403, WriteOutcome::Refused),
        (422, WriteOutcome::Refused),
        (429, WriteOutcome::Failed),
        (503, WriteOutcome::Failed),
    ] {
        let (.., answer) = sent(Kind::Gateway, code, failure(code)).await;
        assert_eq!(answer.outcome(), expected, "{code}");
    }
}
