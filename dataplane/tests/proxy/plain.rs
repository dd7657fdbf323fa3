//! Plain requests: methods, content and trailers both ways, on every HTTP version.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use crate::backend::Origin;
use crate::client::{Connection, Version, get, request};
use crate::stage::table::{backend, forward, h2c};
use crate::stage::{HOST, Stage};

/// Octets that show when some are lost or moved.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn head(method: Method, path: &str) -> Request<()> {
    request(method, path, &[], b"").map(|_| ())
}

async fn stage_with_origin() -> (Stage, Origin) {
    let origin = Origin::http1("one").await;
    let stage = Stage::serving(vec![forward("/", "app")], vec![backend("app", &[origin.address])]).await;
    (stage, origin)
}

#[tokio::test]
async fn a_request_reaches_the_backend_and_its_answer_the_client() {
    let (stage, mut origin) = stage_with_origin().await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        for (method, body) in [(Method::GET, ""), (Method::POST, "content"), (Method::PUT, "x"), (Method::DELETE, "")] {
            let asked = request(method.clone(), "/some/path?q=1&r", &[("x-mine", "yes")], body.as_bytes());
            let answer = client.fetch(asked).await.unwrap();
            assert_eq!((answer.status, answer.text()), (StatusCode::OK, "ok"), "{version:?} {method}");
            assert_eq!(answer.header("x-origin"), Some("one"));
            assert_eq!(answer.header("content-length"), Some("2"), "{version:?}: a length stays a length");
            let seen = origin.seen().await;
            assert_eq!((&seen.method, &*seen.target), (&method, "/some/path?q=1&r"), "{version:?}");
            assert_eq!(seen.body, body.as_bytes(), "{version:?} {method}");
            assert_eq!(seen.values("host"), [HOST], "{version:?}");
            assert_eq!(seen.values("x-mine"), ["yes"], "{version:?}");
        }
    }
}

#[tokio::test]
async fn head_and_statuses_without_content() {
    let (stage, mut origin) = stage_with_origin().await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        let answer = client.fetch(request(Method::HEAD, "/bytes/1000", &[], b"")).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0), "{version:?}");
        assert_eq!(answer.header("content-length"), Some("1000"), "{version:?}: RFC 9110 section 9.3.2");
        assert_eq!(origin.seen().await.method, Method::HEAD);
        for status in [204, 304] {
            let answer = client.fetch(get(&format!("/status/{status}"))).await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.body.len()), (status, 0), "{version:?}");
            origin.seen().await;
            if status == 204 {
                assert_eq!(answer.header("content-length"), None, "RFC 9110 section 8.6");
            }
        }
        // The connection is in step: nothing was left on it.
        assert_eq!(client.fetch(get("/bytes/3")).await.unwrap().text(), "xxx", "{version:?}");
        origin.seen().await;
    }
}

#[tokio::test]
async fn megabytes_pass_both_ways() {
    let (h1, h2) = (Origin::http1("http1").await, Origin::h2c("h2c").await);
    let rules = vec![forward("/echo/http1", "http1"), forward("/echo/h2c", "h2c")];
    let backends = vec![backend("http1", &[h1.address]), h2c("h2c", &[h2.address])];
    let stage = Stage::serving(rules, backends).await;
    let content = pattern(5_000_000);
    for version in Version::ALL {
        for path in ["/echo/http1", "/echo/h2c"] {
            let mut client = Connection::open(&stage, version).await;
            let mut exchange = client.begin(head(Method::POST, path), true).await.unwrap();
            let sending = async {
                for piece in content.chunks(100_000) {
                    exchange.outgoing.data(Bytes::copy_from_slice(piece)).await.unwrap();
                }
                exchange.outgoing.finish().await.unwrap();
            };
            let ((), answer) = tokio::join!(sending, exchange.incoming.whole());
            let answer = answer.unwrap();
            assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, content.len()), "{version:?} {path}");
            assert!(answer.body == content, "{version:?} {path}: octets were lost or moved");
        }
    }
}

#[tokio::test]
async fn an_answer_begins_while_the_request_is_still_coming() {
    let (h1, h2) = (Origin::http1("http1").await, Origin::h2c("h2c").await);
    let rules = vec![forward("/echo/http1", "http1"), forward("/echo/h2c", "h2c")];
    let backends = vec![backend("http1", &[h1.address]), h2c("h2c", &[h2.address])];
    let stage = Stage::serving(rules, backends).await;
    for version in Version::ALL {
        for path in ["/echo/http1", "/echo/h2c"] {
            let mut client = Connection::open(&stage, version).await;
            let mut exchange = client.begin(head(Method::POST, path), true).await.unwrap();
            let mut answered = false;
            for word in ["first", "second", "third"] {
                // Each word is sent only after the one before has come back.
                exchange.outgoing.data(Bytes::from(word)).await.unwrap();
                if !answered {
                    assert_eq!(exchange.incoming.head().await.unwrap().status(), StatusCode::OK, "{version:?} {path}");
                    answered = true;
                }
                assert_eq!(exchange.incoming.data().await.unwrap().unwrap(), word, "{version:?} {path}");
            }
            exchange.outgoing.finish().await.unwrap();
            assert_eq!(exchange.incoming.data().await.unwrap(), None, "{version:?} {path}");
        }
    }
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let (mut h1, mut h2) = (Origin::http1("http1").await, Origin::h2c("h2c").await);
    let rules = vec![forward("/http1", "http1"), forward("/h2c", "h2c"), forward("/trailers", "http1")];
    let backends = vec![backend("http1", &[h1.address]), h2c("h2c", &[h2.address])];
    let stage = Stage::serving(rules, backends).await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        for (path, origin) in [("/http1", &mut h1), ("/h2c", &mut h2)] {
            // hyper writes on HTTP/1.1 only those trailers that Trailer announces.
            let fields = [("te", "trailers"), ("trailer", "x-end")];
            let asked = request(Method::POST, path, &fields, b"").map(|_| ());
            let mut exchange = client.begin(asked, true).await.unwrap();
            exchange.outgoing.data(Bytes::from_static(b"content")).await.unwrap();
            let end = HeaderMap::from_iter([("x-end".parse().unwrap(), HeaderValue::from_static("yes"))]);
            exchange.outgoing.trailers(end).await.unwrap();
            assert_eq!(exchange.incoming.whole().await.unwrap().status, StatusCode::OK);
            let seen = origin.seen().await;
            assert_eq!(seen.body, b"content", "{version:?} {path}");
            assert_eq!(seen.trailers.get("x-end").unwrap(), "yes", "{version:?} {path}");
            assert_eq!(seen.values("te"), ["trailers"], "{version:?} {path}");
        }
        let answer = client.fetch(request(Method::GET, "/trailers", &[("te", "trailers")], b"")).await.unwrap();
        assert_eq!(answer.text(), "content");
        assert_eq!(answer.trailers.get("x-end").unwrap(), "yes", "{version:?}");
        h1.seen().await;
    }
}

#[tokio::test]
async fn a_client_that_gives_up_breaks_off_towards_the_backend() {
    let (stage, mut origin) = stage_with_origin().await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        let mut exchange = client.begin(head(Method::POST, "/watch"), true).await.unwrap();
        exchange.outgoing.data(Bytes::from_static(b"half of it")).await.unwrap();
        origin.seen().await;
        exchange.outgoing.reset();
        drop(exchange.incoming);
        // Never a whole request with half of the content.
        assert_eq!(origin.seen().await.body, b"broken off", "{version:?}");
    }
    let counted = r#"headrace_dataplane_connections_open{transport="tcp"}"#;
    crate::patience::eventually("closed connections are counted down", async || {
        (stage.metric(counted).await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let (stage, _origin) = stage_with_origin().await;
    for version in [Version::Http2, Version::Http3] {
        let mut client = Connection::open(&stage, version).await;
        let mut exchanges = Vec::new();
        for size in 0..60 {
            exchanges.push((size, client.begin(head(Method::GET, &format!("/bytes/{size}")), false).await.unwrap()));
        }
        for (size, mut exchange) in exchanges.into_iter().rev() {
            assert_eq!(exchange.incoming.whole().await.unwrap().body.len(), size, "{version:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_of_our_own_to_head_has_no_content() {
    let stage = Stage::serving(vec![forward("/empty", "empty")], vec![backend("empty", &[])]).await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        for (path, status) in [("/nowhere", 404), ("/empty", 503)] {
            let answer = client.fetch(request(Method::HEAD, path, &[], b"")).await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.text()), (status, ""), "{version:?} {path}");
            let answer = client.fetch(get(path)).await.unwrap();
            assert_eq!(answer.status.as_u16(), status, "{version:?} {path}");
            assert!(!answer.text().is_empty(), "{version:?} {path}: it says why");
        }
    }
}

#[tokio::test]
async fn a_length_that_lies_is_never_a_whole_request() {
    let (stage, mut origin) = stage_with_origin().await;
    for version in [Version::Http2, Version::Http3] {
        for (length, content) in [("5", ""), ("5", "abc"), ("2", "abc"), ("x", "abc"), ("-1", "")] {
            let mut client = Connection::open(&stage, version).await;
            let asked = request(Method::POST, "/lie", &[("content-length", length)], content.as_bytes());
            let outcome = client.fetch(asked).await;
            let refused =
                outcome.as_ref().map_or(true, |answer| answer.status.is_client_error() || answer.status == 502);
            assert!(refused, "{version:?} {length} {content:?}: {outcome:?}");
            // The backend never takes a part for the whole, nor the next request for the rest of this one.
            let mut client = Connection::open(&stage, version).await;
            assert_eq!(client.fetch(get("/after")).await.unwrap().text(), "ok", "{version:?} {length} {content:?}");
            loop {
                let seen = origin.seen().await;
                if seen.target == "/after" {
                    break;
                }
                assert_eq!((&*seen.target, &*seen.body), ("/lie", &b"broken off"[..]), "{version:?} {length}");
            }
        }
    }
}
