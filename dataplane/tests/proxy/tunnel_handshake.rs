//! WebSocket handshakes that do not open a tunnel, and what each client is told.

use std::sync::Arc;

use headrace_http3::Protocol;
use headrace_table::wire::{Action, Redirect};
use http::{Method, Request};
use tokio::io::AsyncWriteExt as _;

use crate::backend::{EchoServer, Nobody, Raw, accept_for, read_head};
use crate::client::{KEY, Tunnels, Version, Wire, quic, tls};
use crate::patience::within;
use crate::stage::table::{backend, forward, forward_with, rule};
use crate::stage::{HOST, Stage};

const VERSION_13: (&str, &str) = ("sec-websocket-version", "13");

/// A backend that answers every handshake with this; `{accept}` stands for the right value.
async fn answering(answer: &str) -> Raw {
    let answer: Arc<str> = answer.into();
    Raw::start(move |mut stream, _| {
        let answer = Arc::clone(&answer);
        async move {
            let Some(head) = read_head(&mut stream).await else { return };
            let answer = answer.replace("{accept}", &accept_for(&head));
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await
}

async fn stage_before(raw: &Raw) -> Stage {
    Stage::serving(vec![forward("/", "raw")], vec![backend("raw", &[raw.address])]).await
}

#[tokio::test]
async fn an_answer_that_is_no_proper_acceptance() {
    let cases = [
        ("a wrong Accept", "101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n"),
        ("no Accept", "101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"),
        ("no Upgrade", "101 x\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"),
        ("another Upgrade", "101 x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"),
        ("no Connection", "101 x\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n"),
        (
            "a subprotocol that was not offered",
            "101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
             Sec-WebSocket-Protocol: chat.v9\r\n",
        ),
        (
            "two subprotocols",
            "101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
             Sec-WebSocket-Protocol: chat.v1\r\nSec-WebSocket-Protocol: chat.v2\r\n",
        ),
    ];
    for (what, answer) in cases {
        let raw = answering(&format!("HTTP/1.1 {answer}\r\nleaked")).await;
        let stage = stage_before(&raw).await;
        for version in Version::ALL {
            let mut tunnels = Tunnels::connect(&stage, version).await;
            let fields = [VERSION_13, ("sec-websocket-protocol", "chat.v1, chat.v2")];
            let answer = tunnels.handshake("/", &fields).await.refused();
            assert_eq!(answer.status(), 502, "{version:?}: {what}");
            let body = String::from_utf8_lossy(answer.body()).into_owned();
            assert!(!body.contains("leaked"), "{version:?}: {what}: {body}");
        }
    }
}

#[tokio::test]
async fn a_backend_that_breaks_off_or_does_not_speak_http() {
    for answer in ["", "HTTP/1.1 101 Switching", "SSH-2.0-OpenSSH_9.9\r\n"] {
        let raw = answering(answer).await;
        let stage = stage_before(&raw).await;
        for version in Version::ALL {
            let answered = Tunnels::connect(&stage, version).await.handshake("/", &[VERSION_13]).await.refused();
            assert_eq!(answered.status(), 502, "{version:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_2xx_is_no_acceptance() {
    let raw = answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
    let stage = stage_before(&raw).await;
    for version in Version::ALL {
        let answer = Tunnels::connect(&stage, version).await.handshake("/", &[VERSION_13]).await.refused();
        // An extended CONNECT's client would take a 200 for an open tunnel (CVE-2024-23326).
        let expected = if version == Version::Http1 { 200 } else { 502 };
        assert_eq!(answer.status(), expected, "{version:?}");
    }
}

#[tokio::test]
async fn a_backends_refusal_passes_as_it_is() {
    let cases = [
        (401, "WWW-Authenticate: Bearer\r\n"),
        (403, ""),
        (404, ""),
        (302, "Location: https://login.example/\r\n"),
        (500, ""),
    ];
    for (status, fields) in cases {
        let answer = format!("HTTP/1.1 {status} No\r\n{fields}Keep-Alive: x\r\nContent-Length: 7\r\n\r\nbecause");
        let raw = answering(&answer).await;
        let stage = stage_before(&raw).await;
        for version in Version::ALL {
            let answer = Tunnels::connect(&stage, version).await.handshake("/", &[VERSION_13]).await.refused();
            assert_eq!((answer.status().as_u16(), &**answer.body()), (status, &b"because"[..]), "{version:?}");
            assert!(!answer.headers().contains_key("keep-alive"), "{version:?}");
            if let Some((name, value)) = fields.trim().split_once(": ") {
                assert_eq!(answer.headers()[name.to_ascii_lowercase()], value, "{version:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_we_refuse_ourselves() {
    let (echo, nobody) = (EchoServer::start("one").await, Nobody::new());
    let hang = Raw::start(|mut stream, _| async move { while read_head(&mut stream).await.is_some() {} });
    let hang = hang.await;
    let redirect = Redirect { scheme: Some("https".to_owned()), status: 302, ..Redirect::default() };
    let rules = vec![
        forward_with("/origin", "echo", |forward| {
            forward.websocket.origins = vec!["https://app.example.com".to_owned(), "https://*.app.example".to_owned()];
        }),
        forward("/echo", "echo"),
        forward("/empty", "empty"),
        forward("/nobody", "nobody"),
        forward_with("/unresolved", "echo", |forward| forward.backends[0].backend = None),
        forward_with("/hang", "hang", |forward| forward.websocket.handshake_timeout_ms = 200),
        rule("/redirect", Action::Redirect(redirect)),
        rule("/respond", Action::Respond(410)),
    ];
    let backends = vec![
        backend("echo", &[echo.address]),
        backend("empty", &[]),
        backend("hang", &[hang.address]),
        backend("nobody", &[nobody.address()]),
    ];
    let stage = Stage::serving(rules, backends).await;
    let origin = |origin| vec![VERSION_13, ("origin", origin)];
    // Path, fields, status, and the reason that is counted.
    let cases = [
        ("/origin", origin("https://evil.example"), 403, "origin"),
        ("/origin", origin("http://app.example.com"), 403, "origin"),
        ("/origin", origin("null"), 403, "origin"),
        ("/origin", vec![VERSION_13], 403, "origin"),
        ("/echo", vec![], 426, "bad_handshake"),
        ("/echo", vec![("sec-websocket-version", "8")], 426, "bad_handshake"),
        ("/nowhere", vec![VERSION_13], 404, "no_route"),
        ("/empty", vec![VERSION_13], 503, "no_backend"),
        ("/nobody", vec![VERSION_13], 502, "backend_unreachable"),
        ("/unresolved", vec![VERSION_13], 500, "no_backend"),
        ("/hang", vec![VERSION_13], 504, "handshake_timeout"),
        ("/redirect", vec![VERSION_13], 302, ""),
        ("/respond", vec![VERSION_13], 410, ""),
    ];
    for version in Version::ALL {
        for (path, fields, status, reason) in &cases {
            let series = format!(r#"headrace_dataplane_tunnel_refused_total{{reason="{reason}"}}"#);
            let before = if reason.is_empty() { 0.0 } else { stage.metric(&series).await };
            let answer = Tunnels::connect(&stage, version).await.handshake(path, fields).await.refused();
            assert_eq!(answer.status().as_u16(), *status, "{version:?} {path} {fields:?}");
            if *status == 426 {
                assert_eq!(answer.headers()["sec-websocket-version"], "13", "RFC 6455 section 4.4");
            }
            if !reason.is_empty() {
                assert_eq!(stage.metric(&series).await, before + 1.0, "{version:?} {path}");
            }
        }
        for good in ["https://app.example.com", "https://x.app.example"] {
            Tunnels::connect(&stage, version).await.handshake("/origin", &origin(good)).await.opened();
        }
    }
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    let (echo, nobody) = (EchoServer::start("one").await, Nobody::new());
    let endpoints = [echo.address, nobody.address()];
    let stage = Stage::serving(vec![forward("/", "echo")], vec![backend("echo", &endpoints)]).await;
    for version in Version::ALL {
        for _ in 0..10 {
            Tunnels::connect(&stage, version).await.handshake("/", &[VERSION_13]).await.opened();
        }
    }
}

#[tokio::test]
async fn malformed_http_1_handshakes() {
    let echo = EchoServer::start("one").await;
    let stage = Stage::serving(vec![forward("/", "echo")], vec![backend("echo", &[echo.address])]).await;
    let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
    let version = "Sec-WebSocket-Version: 13\r\n";
    let cases = [
        ("GET", version.to_owned(), 400),
        ("GET", format!("{version}Sec-WebSocket-Key: c2hvcnQ=\r\n"), 400),
        ("GET", format!("{version}{key}{key}"), 400),
        ("POST", format!("{version}{key}"), 400),
        ("GET", format!("{version}{key}Content-Length: 5\r\n"), 400),
        ("GET", format!("{version}{key}Transfer-Encoding: chunked\r\n"), 400),
        ("GET", key.clone(), 426),
    ];
    for (method, fields, status) in cases {
        let mut wire = Wire::tls(&stage).await;
        wire.send(format!(
            "{method} / HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n"
        ))
        .await;
        let answer = wire.response().await;
        assert_eq!(answer.status, status, "{method} {fields:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{}", answer.head);
    }
}

#[tokio::test]
async fn what_follows_a_refused_upgrade_is_never_a_request() {
    let raw = answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let stage = stage_before(&raw).await;
    let mut wire = Wire::tls(&stage).await;
    wire.send(format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\n\r\nGET /hidden HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    ))
    .await;
    let answer = wire.response().await;
    assert_eq!((answer.status, &*answer.body), (403, &b"no"[..]));
    // A close with unread octets may come as a reset.
    let rest = wire.rest().await.unwrap_or_default();
    assert_eq!(rest, b"", "{}", String::from_utf8_lossy(&rest));
    assert_eq!(raw.connections(), 1);
}

/// A CONNECT of which a test says everything; the status that comes back.
async fn connect(stage: &Stage, version: Version, uri: &str, protocol: Option<&'static str>) -> u16 {
    let mut request = Request::builder().method(Method::CONNECT).uri(uri).body(()).unwrap();
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    within("an answer to CONNECT", async {
        match version {
            Version::Http1 => unreachable!("HTTP/1.1 has no :protocol"),
            Version::Http2 => {
                let stream = tls(stage, HOST, "h2").await.unwrap();
                let (opener, mut connection) = h2::client::handshake(stream).await.unwrap();
                let mut settled = connection.ping_pong().unwrap();
                tokio::spawn(connection);
                settled.ping(h2::Ping::opaque()).await.unwrap();
                if let Some(protocol) = protocol {
                    request.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
                }
                let mut opener = opener.ready().await.unwrap();
                let (response, _send) = opener.send_request(request, false).unwrap();
                response.await.unwrap().status().as_u16()
            }
            Version::Http3 => {
                let quic = quic::Client::connect(stage, HOST).await;
                let config = headrace_http3::Config::default();
                let (mut driver, mut opener) = headrace_http3::client::connect(quic.connection.clone(), &config);
                tokio::spawn(async move { drop(driver.drive().await) });
                if let Some(protocol) = protocol {
                    request.extensions_mut().insert(Protocol::try_from(protocol).unwrap());
                }
                let (_send, mut recv) = opener.send_request(request).await.unwrap();
                recv.response().await.unwrap().status().as_u16()
            }
        }
    })
    .await
}

#[tokio::test]
async fn other_kinds_of_connect() {
    let echo = EchoServer::start("one").await;
    let stage = Stage::serving(vec![forward("/", "echo")], vec![backend("echo", &[echo.address])]).await;
    let path = format!("https://{HOST}/");
    let authority = format!("{HOST}:443");
    for version in [Version::Http2, Version::Http3] {
        assert_eq!(connect(&stage, version, &path, Some("websocket")).await, 200, "{version:?}");
        // RFC 9220 section 3.
        for unknown in ["connect-udp", "connect-ip", "WebSocket"] {
            assert_eq!(connect(&stage, version, &path, Some(unknown)).await, 501, "{version:?} {unknown}");
        }
        if version == Version::Http2 {
            // Sessions are for HTTP/3 alone.
            assert_eq!(connect(&stage, version, &path, Some("webtransport")).await, 501);
        }
        // This is no forward proxy.
        assert_eq!(connect(&stage, version, &authority, None).await, 405, "{version:?}");
    }
    let mut wire = Wire::tls(&stage).await;
    wire.send(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
    assert_eq!(wire.response().await.status, 405);
}
