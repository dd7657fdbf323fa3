//! Towards backends: which one, what happens when it fails, and which connections are kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use headrace_table::wire::{Action, Forward};
use http::{Method, Request, StatusCode, Version as HttpVersion};
use tokio::io::AsyncWriteExt as _;

use crate::backend::{Nobody, Origin, Raw, read_head};
use crate::client::{Connection, Cut, Version, Wire, get, request};
use crate::patience::eventually;
use crate::stage::table::{backend, forward, forward_with, h2c, rule, weighted};
use crate::stage::{HOST, Stage};

async fn stage_before(endpoints: &[std::net::SocketAddr]) -> Stage {
    Stage::serving(vec![forward("/", "app")], vec![backend("app", endpoints)]).await
}

async fn status(stage: &Stage, version: Version, path: &str) -> u16 {
    Connection::open(stage, version).await.fetch(get(path)).await.unwrap().status.as_u16()
}

#[tokio::test]
async fn weights_are_shares() {
    let (red, blue) = (Origin::http1("red").await, Origin::http1("blue").await);
    let split = |prefix: &str, weights: &[(Option<&str>, u32)]| {
        let backends = weights.iter().map(|(backend, weight)| weighted(*backend, *weight)).collect();
        rule(prefix, Action::Forward(Forward { backends, ..Forward::default() }))
    };
    let rules = vec![
        split("/split", &[(Some("red"), 3), (Some("green"), 0), (Some("blue"), 1)]),
        split("/half", &[(Some("red"), 1), (None, 1)]),
        split("/zero", &[(Some("red"), 0)]),
        split("/none", &[]),
    ];
    let backends = vec![backend("blue", &[blue.address]), backend("green", &[]), backend("red", &[red.address])];
    let stage = Stage::serving(rules, backends).await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        let mut count = async |path: &str| {
            let mut counts = HashMap::<String, usize>::new();
            for _ in 0..200 {
                let answer = client.fetch(get(path)).await.unwrap();
                let by = answer.header("x-origin").map_or(answer.status.as_str().to_owned(), str::to_owned);
                *counts.entry(by).or_default() += 1;
            }
            counts
        };
        let counts = count("/split").await;
        // Far beyond six standard deviations.
        assert!((105..195).contains(&counts["red"]), "{version:?}: {counts:?}");
        assert_eq!(counts["red"] + counts["blue"], 200, "{version:?}: weight 0 gets nothing: {counts:?}");
        let counts = count("/half").await;
        assert!((50..150).contains(&counts["500"]), "{version:?}: {counts:?}");
        assert_eq!(counts["red"] + counts["500"], 200, "{version:?}: {counts:?}");
        for path in ["/zero", "/none"] {
            assert_eq!(client.fetch(get(path)).await.unwrap().status, 500, "{version:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_backend_that_is_not_there() {
    let nobody = Nobody::new();
    let rules = vec![forward("/empty", "empty"), forward("/refused", "refused"), forward("/h2c", "h2c")];
    let backends =
        vec![backend("empty", &[]), h2c("h2c", &[nobody.address()]), backend("refused", &[nobody.address()])];
    let stage = Stage::serving(rules, backends).await;
    for version in Version::ALL {
        assert_eq!(status(&stage, version, "/empty").await, 503, "{version:?}");
        assert_eq!(status(&stage, version, "/refused").await, 502, "{version:?}");
        assert_eq!(status(&stage, version, "/h2c").await, 502, "{version:?}");
    }
    let refused = r#"headrace_dataplane_upstream_connects_total{result="refused"}"#;
    assert!(stage.metric(refused).await >= 6.0);
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    let (nobody, mut origin) = (Nobody::new(), Origin::http1("one").await);
    let stage = stage_before(&[nobody.address(), origin.address]).await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        for _ in 0..10 {
            // Whatever the method: nothing of it was sent before.
            let answer = client.fetch(request(Method::POST, "/", &[], b"content")).await.unwrap();
            assert_eq!(answer.status, StatusCode::OK, "{version:?}");
            assert_eq!(origin.seen().await.body, b"content", "{version:?}");
        }
    }
    assert!(stage.metric("headrace_dataplane_retries_total").await >= 1.0);
}

#[tokio::test]
async fn kept_connections_are_used_again() {
    let (mut h1, mut h2) = (Origin::http1("http1").await, Origin::h2c("h2c").await);
    let rules = vec![forward("/http1", "http1"), forward("/h2c", "h2c"), forward("/bytes", "http1")];
    let backends = vec![backend("http1", &[h1.address]), h2c("h2c", &[h2.address])];
    let stage = Stage::serving(rules, backends).await;
    for version in Version::ALL {
        for _ in 0..10 {
            // Also across connections of clients.
            let mut client = Connection::open(&stage, version).await;
            for path in ["/http1", "/h2c", "/bytes/100000"] {
                let answer = client.fetch(request(Method::POST, path, &[], b"content")).await.unwrap();
                assert_eq!(answer.status, 200, "{version:?} {path}");
            }
            assert_eq!(h1.seen().await.version, HttpVersion::HTTP_11);
            assert_eq!(h2.seen().await.version, HttpVersion::HTTP_2);
            h1.seen().await;
        }
    }
    assert_eq!((h1.connections(), h2.connections()), (1, 1));
}

#[tokio::test]
async fn requests_at_once_get_connections_of_their_own_on_http_1_and_share_one_on_h2c() {
    let (mut h1, mut h2) = (Origin::http1("http1").await, Origin::h2c("h2c").await);
    let rules = vec![forward("/echo/http1", "http1"), forward("/echo/h2c", "h2c")];
    let backends = vec![backend("http1", &[h1.address]), h2c("h2c", &[h2.address])];
    let stage = Stage::serving(rules, backends).await;
    let mut client = Connection::open(&stage, Version::Http2).await;
    // The first one dials.
    client.fetch(request(Method::POST, "/echo/h2c", &[], b"x")).await.unwrap();
    h2.seen().await;
    let mut open = Vec::new();
    for path in ["/echo/http1", "/echo/h2c"] {
        for _ in 0..5 {
            let asked = request(Method::POST, path, &[], b"").map(|_| ());
            let mut exchange = client.begin(asked, true).await.unwrap();
            exchange.outgoing.data("x".into()).await.unwrap();
            assert_eq!(exchange.incoming.head().await.unwrap().status(), 200);
            open.push(exchange);
        }
    }
    for _ in 0..5 {
        h1.seen().await;
        let seen = h2.seen().await;
        assert_eq!(seen.target, format!("http://{HOST}/echo/h2c"), "RFC 9113 section 8.3.1");
        assert!(!seen.headers.contains_key("host"), "{:?}", seen.headers);
    }
    assert_eq!((h1.connections(), h2.connections()), (5, 1));
}

/// Answers one request on a kept connection and then closes it as the next one arrives, once.
async fn closes_once() -> (Raw, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let raw = Raw::start(move |mut stream, number| {
        let counter = Arc::clone(&counter);
        async move {
            for turn in 1.. {
                let Some(_head) = read_head(&mut stream).await else { return };
                counter.fetch_add(1, Ordering::Relaxed);
                if (number, turn) == (1, 2) {
                    return;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        }
    });
    (raw.await, requests)
}

#[tokio::test]
async fn a_kept_connection_that_closes_is_retried_only_where_that_is_safe() {
    for version in Version::ALL {
        for (method, status, requests_then) in [(Method::GET, 200, 3), (Method::POST, 502, 2)] {
            let (raw, requests) = closes_once().await;
            let stage = stage_before(&[raw.address]).await;
            let mut client = Connection::open(&stage, version).await;
            assert_eq!(client.fetch(get("/")).await.unwrap().status, 200, "{version:?}");
            let answer = client.fetch(request(method.clone(), "/", &[], b"")).await.unwrap();
            assert_eq!(answer.status.as_u16(), status, "{version:?} {method}");
            assert_eq!(requests.load(Ordering::Relaxed), requests_then, "{version:?} {method}");
            assert_eq!(raw.connections(), requests_then - 1, "{version:?} {method}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_the_backend_closed_while_idle_is_not_used() {
    let raw = Raw::start(|mut stream, _| async move {
        if read_head(&mut stream).await.is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
    });
    let raw = raw.await;
    let stage = stage_before(&[raw.address]).await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        for _ in 0..5 {
            // Even a POST goes through: the close was seen before anything was sent, or nothing was sent.
            let answer = client.fetch(request(Method::GET, "/", &[], b"")).await.unwrap();
            assert_eq!(answer.status, 200, "{version:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_a_whole_one() {
    let cut = |head: &'static str| {
        Raw::start(move |mut stream, _| async move {
            if read_head(&mut stream).await.is_some() {
                stream.write_all(head.as_bytes()).await.unwrap();
            }
        })
    };
    let length = cut("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
    let chunked = cut("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    let in_head = cut("HTTP/1.1 200 OK\r\nContent-Le").await;
    let nothing = cut("").await;
    let garbage = cut("SSH-2.0-OpenSSH_9.9\r\n").await;
    let rules = ["chunked", "garbage", "head", "length", "nothing"].map(|name| forward(&format!("/{name}"), name));
    let backends = vec![
        backend("chunked", &[chunked.address]),
        backend("garbage", &[garbage.address]),
        backend("head", &[in_head.address]),
        backend("length", &[length.address]),
        backend("nothing", &[nothing.address]),
    ];
    let stage = Stage::serving(rules.to_vec(), backends).await;
    for version in Version::ALL {
        for path in ["/length", "/chunked"] {
            let cut = Connection::open(&stage, version).await.fetch(get(path)).await.unwrap_err();
            match (version, &cut) {
                (Version::Http1, Cut::Broken(_)) => {}
                (Version::Http2, Cut::Reset(code)) => assert_eq!(*code, 2, "INTERNAL_ERROR, RFC 9113 section 7"),
                (Version::Http3, Cut::Reset(code)) => assert_eq!(*code, 0x102, "H3_INTERNAL_ERROR"),
                _ => panic!("{version:?} {path}: {cut:?}"),
            }
        }
        for path in ["/head", "/nothing", "/garbage"] {
            assert_eq!(status(&stage, version, path).await, 502, "{version:?} {path}");
        }
    }
    assert!(stage.metric(r#"headrace_dataplane_resets_total{cause="backend_reset"}"#).await >= 6.0);
}

#[tokio::test]
async fn time_limits() {
    let origin = Origin::http1("one").await;
    let limited = |prefix: &str| forward_with(prefix, "app", |forward| forward.request_timeout_ms = 200);
    let per_attempt = forward_with("/hang", "app", |forward| forward.backend_timeout_ms = 200);
    let rules = vec![limited("/stall"), per_attempt, limited("/bytes")];
    let stage = Stage::serving(rules, vec![backend("app", &[origin.address])]).await;
    for version in Version::ALL {
        assert_eq!(status(&stage, version, "/hang").await, 504, "{version:?}");
        // Too late for a status: it is cut.
        let cut = Connection::open(&stage, version).await.fetch(get("/stall")).await;
        assert!(cut.is_err(), "{version:?}: {cut:?}");
        assert_eq!(status(&stage, version, "/bytes/10").await, 200, "{version:?}");
    }
    assert_eq!(stage.metric(r#"headrace_dataplane_resets_total{cause="request_timeout"}"#).await, 3.0);
}

#[tokio::test]
async fn an_early_final_answer_passes_while_the_request_still_comes() {
    let raw = Raw::start(|mut stream, _| async move {
        if read_head(&mut stream).await.is_some() {
            let answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n";
            stream.write_all(answer).await.unwrap();
            // What still comes is read and dropped, so that no RST overtakes the answer.
            let mut sink = tokio::io::sink();
            let _until_the_proxy_is_done = tokio::io::copy(&mut stream, &mut sink).await;
        }
    });
    let raw = raw.await;
    let stage = stage_before(&[raw.address]).await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        let asked: Request<()> = request(Method::POST, "/", &[], b"").map(|_| ());
        let mut exchange = client.begin(asked, true).await.unwrap();
        exchange.outgoing.data("some".into()).await.unwrap();
        let head = exchange.incoming.head().await.unwrap();
        assert_eq!(head.status(), StatusCode::PAYLOAD_TOO_LARGE, "{version:?}");
        assert_eq!(exchange.incoming.data().await.unwrap().unwrap(), "no\n", "{version:?}");
    }
}

#[tokio::test]
async fn interim_answers_of_a_backend_do_not_end_the_exchange() {
    let raw = Raw::start(|mut stream, _| async move {
        while read_head(&mut stream).await.is_some() {
            let answer =
                b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
        }
    });
    let raw = raw.await;
    let stage = stage_before(&[raw.address]).await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        for _ in 0..3 {
            let answer = client.fetch(get("/")).await.unwrap();
            assert_eq!((answer.status, answer.text()), (StatusCode::OK, "ok"), "{version:?}");
        }
    }
    assert_eq!(raw.connections(), 1);
}

#[tokio::test]
async fn smuggled_octets_never_become_a_request() {
    let mut origin = Origin::http1("one").await;
    let stage = stage_before(&[origin.address]).await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a.example.com\r\n\r\n";
    let cases = [
        // RFC 9112 section 6.1: both lengths.
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}", 5 + hidden.len()),
        format!("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc{hidden}"),
        format!("Transfer-Encoding: xchunked\r\n\r\n{hidden}"),
        format!("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Content-Length: +3\r\n\r\nabc{hidden}"),
        format!("Content-Length: 3\r\n X: folded\r\n\r\nabc{hidden}"),
        format!("Transfer-Encoding: chunked\r\n\r\n-1\r\n{hidden}"),
    ];
    for case in cases {
        let mut wire = Wire::tls(&stage).await;
        wire.send(format!("POST /shown HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{case}")).await;
        let _refusal_or_answer = wire.rest().await;
        assert!(origin.saw_nothing_more_but("/shown"), "{case:?} reached the backend");
    }
    // And what a backend sends behind its answer is no answer to the next request.
    let raw = Raw::start(|mut stream, _| async move {
        while let Some(head) = read_head(&mut stream).await {
            let path = head.split(' ').nth(1).unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
            let behind = if path == "/first" { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong" } else { "" };
            stream.write_all(format!("{answer}{behind}").as_bytes()).await.unwrap();
        }
    });
    let raw = raw.await;
    stage.serve(vec![forward("/", "raw")], vec![backend("raw", &[raw.address])]).await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        for path in ["/first", "/second"] {
            eventually("the right answer", async || {
                let answer = client.fetch(get(path)).await.unwrap();
                assert_ne!(answer.body, b"wrong", "{version:?}");
                (answer.body == path.as_bytes()).then_some(())
            })
            .await;
        }
    }
}
