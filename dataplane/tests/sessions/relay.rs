//! What goes through a session, and what a backend is told of it.

use headrace_http3::webtransport::{Draft, Session};
use http::StatusCode;

use crate::backend::{Backend, echo};
use crate::client::{Client, HOST, pattern, read_all};
use crate::patience::within;
use crate::stage::{Stage, http3, session, session_with};
use crate::table::changes;

/// A data plane with one rule for all sessions, and their backend.
pub(crate) async fn stage() -> (Stage, Backend) {
    let backend = Backend::start();
    let stage =
        Stage::serving(vec![session("/", "wt")], vec![http3("wt", &[backend.address], &backend.authority)]).await;
    (stage, backend)
}

/// Both ends of a session through the data plane.
pub(crate) async fn pair(client: &mut Client, backend: &mut Backend, path: &str) -> (Session, Session) {
    let (client, backend) = tokio::join!(client.session(path), backend.session());
    (client, backend)
}

#[tokio::test]
async fn a_hundred_bidirectional_streams_at_once() {
    let (stage, mut backend) = stage().await;
    let (session, behind) = pair(&mut Client::connect(&stage).await, &mut backend, "/echo").await;
    assert_eq!(session.draft(), Draft::Draft15);
    echo(behind);
    // All are open before any of them ends.
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(within("a stream", session.open_bi()).await.unwrap());
    }
    let tasks: Vec<_> = streams
        .into_iter()
        .enumerate()
        .map(|(n, (mut send, mut recv))| {
            tokio::spawn(async move {
                let content = pattern(n * 700);
                let sending = async {
                    send.write_all(&content).await.unwrap();
                    send.finish().unwrap();
                };
                let ((), got) = tokio::join!(sending, read_all(&mut recv));
                assert!(got.unwrap() == content);
            })
        })
        .collect();
    for task in tasks {
        within("an echo", task).await.unwrap();
    }
    let streams = r#"session_streams_total{initiator="client",kind="bidirectional"}"#;
    assert_eq!(stage.metric(streams).await, 100.0);
    assert_eq!(stage.metric(r#"sessions_active{mode="session"}"#).await, 1.0);
    assert_eq!(stage.metric(r#"sessions_opened_total{draft="draft15",mode="session"}"#).await, 1.0);
    session.close(0, "");
    stage.until(r#"sessions_active{mode="session"}"#, 0.0).await;
    let line = stage.log_line("/echo").await;
    assert_eq!((&line["protocol"], &line["status"]), (&"webtransport".into(), &200.into()), "{line}");
    let total: u64 = (0..100).map(|n| n * 700).sum();
    assert_eq!((&line["bytes_received"], &line["bytes_sent"]), (&total.into(), &total.into()));
}

#[tokio::test]
async fn unidirectional_streams_both_ways() {
    let (stage, mut backend) = stage().await;
    let (session, behind) = pair(&mut Client::connect(&stage).await, &mut backend, "/").await;
    echo(behind);
    for n in [0, 1, 1000, 100_000] {
        let mut send = within("a stream", session.open_uni()).await.unwrap();
        let content = pattern(n);
        let sending = async {
            send.write_all(&content).await.unwrap();
            send.finish().unwrap();
        };
        let echoed = async { read_all(&mut within("a stream", session.accept_uni()).await.unwrap()).await };
        let ((), got) = tokio::join!(sending, echoed);
        assert!(got.unwrap() == content, "{n}");
    }
    for initiator in ["client", "backend"] {
        let series = format!(r#"session_streams_total{{initiator="{initiator}",kind="unidirectional"}}"#);
        assert_eq!(stage.metric(&series).await, 4.0, "{initiator}");
    }
}

#[tokio::test]
async fn streams_that_the_backend_opens() {
    let (stage, mut backend) = stage().await;
    let (session, behind) = pair(&mut Client::connect(&stage).await, &mut backend, "/").await;
    for n in 0..20 {
        let (mut send, mut recv) = within("a stream", behind.open_bi()).await.unwrap();
        send.write_all(&pattern(n)).await.unwrap();
        send.finish().unwrap();
        let (mut back, mut there) = within("a stream", session.accept_bi()).await.unwrap();
        assert!(read_all(&mut there).await.unwrap() == pattern(n));
        back.write_all(b"answer").await.unwrap();
        back.finish().unwrap();
        assert_eq!(read_all(&mut recv).await.unwrap(), b"answer");
    }
}

#[tokio::test]
async fn datagrams_both_ways() {
    let (stage, mut backend) = stage().await;
    let (session, behind) = pair(&mut Client::connect(&stage).await, &mut backend, "/").await;
    for (from, to) in [(&session, &behind), (&behind, &session)] {
        for octets in [&b""[..], b"x", &[7; 1000]] {
            from.send_datagram(octets).unwrap();
            assert_eq!(within("a datagram", to.recv_datagram()).await.unwrap(), octets);
        }
    }
    for direction in ["downstream_received", "downstream_sent"] {
        assert_eq!(stage.metric(&format!(r#"session_datagrams_total{{direction="{direction}"}}"#)).await, 3.0);
    }
}

#[tokio::test]
async fn subprotocols_are_the_backends_to_choose() {
    let (stage, mut backend) = stage().await;
    let mut client = Client::connect(&stage).await;
    for (offered, chosen) in [(&["moq-00", "moq-01"][..], Some("moq-01")), (&["chat"], Some("chat")), (&[], None)] {
        let (session, response) = client.ask("/", &[], offered).await.unwrap();
        assert_eq!(session.subprotocol(), chosen);
        assert_eq!(response.headers().contains_key("wt-protocol"), chosen.is_some());
        assert_eq!(backend.session().await.subprotocol(), chosen);
    }
}

#[tokio::test]
async fn the_head_is_rewritten_as_a_tunnels_is() {
    let mut backend = Backend::start();
    let rewriting = session_with("/app", "wt", |session| {
        session.rewrite_host = Some("inside.b.test".to_owned());
        session.rewrite_path = Some(headrace_table::wire::PathRewrite::Prefix("/in".to_owned()));
    });
    let rewriting = headrace_table::wire::Rule {
        request_headers: changes(&[("x-set", "1")], &[], &["x-secret"]),
        response_headers: changes(&[("x-answer", "2")], &[], &["x-from"]),
        ..rewriting
    };
    let backends = vec![http3("wt", &[backend.address], &backend.authority)];
    let stage = Stage::serving(vec![rewriting, session("/", "wt")], backends).await;
    let mut client = Client::connect(&stage).await;

    let headers = [("x-secret", "s"), ("origin", "https://page.example.com"), ("x-forwarded-for", "203.0.113.9")];
    let (_session, response) = client.ask("/app/room?id=7", &headers, &[]).await.unwrap();
    let (request, _behind) = backend.asked().await;
    assert_eq!(request.uri(), "https://inside.b.test/in/room?id=7");
    let field = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap());
    assert_eq!((field("x-set"), field("x-secret")), (Some("1"), None));
    assert_eq!(field("origin"), Some("https://page.example.com"));
    assert_eq!((field("x-forwarded-for"), field("x-forwarded-proto")), (Some("127.0.0.1"), Some("https")));
    assert_eq!(field("x-forwarded-host"), Some(HOST));
    assert!(field("forwarded").unwrap().contains(HOST));
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-answer"], "2");
    assert!(!response.headers().contains_key("x-from"));

    let (_session, response) = client.ask("/plain", &[], &[]).await.unwrap();
    assert_eq!(backend.asked().await.0.uri(), &*format!("https://{HOST}/plain"));
    assert_eq!(response.headers()["x-from"], "backend");
}

/// Sessions of several clients share a connection to the backend, which has flow control for each.
#[tokio::test]
async fn connections_to_backends_are_shared() {
    let (stage, mut backend) = stage().await;
    let mut held = Vec::new();
    for at in 0..20 {
        let mut client = Client::connect(&stage).await;
        let (session, behind) = pair(&mut client, &mut backend, "/").await;
        let (mut send, _recv) = session.open_bi().await.unwrap();
        send.write_all(&[at]).await.unwrap();
        let (_send, mut recv) = within("a stream", behind.accept_bi()).await.unwrap();
        let mut got = [0];
        assert_eq!(recv.read_data(&mut got).await.unwrap(), 1);
        assert_eq!(got, [at], "every session is its own");
        held.push((client, session, behind));
    }
    assert_eq!(backend.connections(), 2, "16 on the first, 4 on the second");
    drop(held);
    stage.until(r#"sessions_active{mode="session"}"#, 0.0).await;
    let (_session, _behind) = pair(&mut Client::connect(&stage).await, &mut backend, "/").await;
    assert_eq!(backend.connections(), 2);
}

/// An endpoint that is not who it has to be is passed over.
#[tokio::test]
async fn another_endpoint_is_asked() {
    let (mut backend, stranger) = (Backend::start(), Backend::start());
    let endpoints = [backend.address, stranger.address];
    let backends = vec![http3("wt", &endpoints, &backend.authority)];
    let stage = Stage::serving(vec![session("/", "wt")], backends).await;
    for _ in 0..8 {
        let _both = pair(&mut Client::connect(&stage).await, &mut backend, "/").await;
    }
    assert_eq!(stranger.connections(), 0);
    assert!(stage.metric(r#"upstream_connects_total{result="certificate"}"#).await >= 1.0);
    assert!(stage.metric("retries_total").await >= 1.0);
}
