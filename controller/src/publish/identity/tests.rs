//! What tokens are worth.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::review::ReviewUnavailable;
use super::*;
use crate::metrics::Metrics;

/// An API server that says one thing, and counts how often it was asked.
struct Says {
    answer: Option<Value>,
    asked: AtomicUsize,
}

impl ReviewTokens for Says {
    fn review<'a>(
        &'a self,
        _token: &'a str,
        audience: &'a str,
    ) -> BoxFuture<'a, Result<TokenReviewStatus, ReviewUnavailable>> {
        assert_eq!(audience, AUDIENCE);
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer.clone().ok_or(ReviewUnavailable::NoStatus);
        Box::pin(async move { answer.map(|answer| serde_json::from_value(answer).unwrap()) })
    }
}

fn authenticator(answer: Option<Value>) -> (Arc<Says>, Authenticator) {
    let says = Arc::new(Says { answer, asked: AtomicUsize::new(0) });
    let pod_sets = BTreeMap::from([
        ("default".to_owned(), "headrace-dataplane".to_owned()),
        ("edge".to_owned(), "headrace-dataplane-edge".to_owned()),
    ]);
    let metrics = Arc::new(PushMetrics::new(&Metrics::new(), ["default", "edge"]));
    let reviewer = Arc::clone(&says) as Arc<dyn ReviewTokens>;
    (says, Authenticator::new(reviewer, "headrace-system".to_owned(), &pod_sets, metrics))
}

/// A token as far as its claims go, which is as far as anybody looks without a TokenReview.
fn token(claims: &Value) -> Vec<u8> {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("Bearer {}.{}.signature", part(&json!({"alg": "none"})), part(claims)).into_bytes()
}

fn good_token() -> Vec<u8> {
    token(&json!({"aud": [AUDIENCE]}))
}

fn yes(account: &str) -> Value {
    json!({
        "authenticated": true,
        "audiences": [AUDIENCE],
        "user": {
            "username": format!("system:serviceaccount:{account}"),
            "extra": {
                "authentication.kubernetes.io/pod-name": ["pod-a"],
                "authentication.kubernetes.io/pod-uid": ["uid-a"],
            },
        },
    })
}

#[tokio::test]
async fn the_api_servers_word_decides() {
    let without = |pointer: &str| {
        let mut answer = yes("headrace-system:headrace-dataplane");
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        answer.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(&key.replace('~', "/"));
        answer
    };
    let cases = [
        ("a pod of the default set", yes("headrace-system:headrace-dataplane"), Ok("default")),
        ("a pod of another set", yes("headrace-system:headrace-dataplane-edge"), Ok("edge")),
        ("not authenticated", json!({"authenticated": false}), Err(Stranger::Invalid)),
        ("says nothing of it", json!({}), Err(Stranger::Invalid)),
        ("no audience", without("/audiences"), Err(Stranger::OtherAudience)),
        ("an account of no set", yes("headrace-system:default"), Err(Stranger::OtherServiceAccount)),
        ("of another namespace", yes("default:headrace-dataplane"), Err(Stranger::OtherServiceAccount)),
        ("no user", without("/user"), Err(Stranger::OtherServiceAccount)),
        ("no pod", without("/user/extra"), Err(Stranger::NotBoundToPod)),
        ("no uid", without("/user/extra/authentication.kubernetes.io~pod-uid"), Err(Stranger::NotBoundToPod)),
    ];
    for (why, answer, expected) in cases {
        let (_, authenticator) = authenticator(Some(answer));
        let identity = authenticator.authenticate(Some(&good_token())).await;
        let expected = expected.map(|pod_set| PodIdentity {
            namespace: "headrace-system".to_owned(),
            pod_set: pod_set.to_owned(),
            name: "pod-a".to_owned(),
            uid: "uid-a".to_owned(),
        });
        assert_eq!(identity, expected, "{why}");
    }
}

#[tokio::test]
async fn what_is_no_token_for_us_costs_no_review() {
    let long = token(&json!({"aud": [AUDIENCE], "padding": "x".repeat(MAX_TOKEN_OCTETS)}));
    let cases: [(&str, Option<&[u8]>, Stranger); 8] = [
        ("nothing", None, Stranger::NoToken),
        ("another scheme", Some(b"Basic dXNlcg=="), Stranger::NoToken),
        ("an empty token", Some(b"Bearer  "), Stranger::NoToken),
        ("octets that are no text", Some(b"Bearer \xff"), Stranger::NoToken),
        ("not a JWT", Some(b"Bearer opaque"), Stranger::Invalid),
        ("too long", Some(&long), Stranger::Invalid),
        (
            "the API server's own audience",
            Some(&token(&json!({"aud": ["https://kubernetes.default.svc"]}))),
            Stranger::OtherAudience,
        ),
        ("no audience", Some(&token(&json!({}))), Stranger::OtherAudience),
    ];
    let (says, authenticator) = authenticator(Some(yes("headrace-system:headrace-dataplane")));
    for (why, authorization, expected) in cases {
        assert_eq!(authenticator.authenticate(authorization).await, Err(expected), "{why}");
    }
    assert_eq!(says.asked.load(Ordering::Relaxed), 0);
    let one = token(&json!({"aud": AUDIENCE}));
    assert!(authenticator.authenticate(Some(&one)).await.is_ok(), "an audience may be one string");
}

#[tokio::test]
async fn one_review_does_for_a_pod_that_dials_all_replicas() {
    let (says, authenticator) = authenticator(Some(yes("headrace-system:headrace-dataplane")));
    for _ in 0..5 {
        assert!(authenticator.authenticate(Some(&good_token())).await.is_ok());
    }
    assert_eq!(says.asked.load(Ordering::Relaxed), 1);
    assert!(authenticator.authenticate_again(Some(&good_token())).await.is_ok());
    assert_eq!(says.asked.load(Ordering::Relaxed), 2, "an open stream's token is asked for anew");
}

#[tokio::test]
async fn that_nobody_answers_is_not_remembered() {
    let (says, authenticator) = authenticator(None);
    for asked in 1..4 {
        let refused = authenticator.authenticate(Some(&good_token())).await;
        assert_eq!(refused, Err(Stranger::ReviewUnavailable));
        assert_eq!(says.asked.load(Ordering::Relaxed), asked);
    }
}
