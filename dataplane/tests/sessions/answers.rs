//! What a client is answered that gets no session.

use std::net::SocketAddr;

use headrace_http3::webtransport::{self, ConnectError};
use headrace_http3::{Code, Protocol, StreamError};
use headrace_table::wire::{Action, Opens, QuicOptions, Redirect, Retry, WebTransportOptions};
use http::{Method, StatusCode};

use crate::backend::Backend;
use crate::client::{Client, request};
use crate::patience::within;
use crate::port::free_port;
use crate::stage::{Stage, http3, opens, session, session_with};
use crate::table::{backend, forward, rule, weighted};

async fn refusals(stage: &Stage, reason: &str) -> f64 {
    stage.metric(&format!(r#"session_refused_total{{reason="{reason}"}}"#)).await
}

/// A path, headers, the status, and the reason that is counted.
type Case = (&'static str, &'static [(&'static str, &'static str)], u16, &'static str);

#[tokio::test]
async fn refusals_have_their_status_and_reason() {
    let behind = Backend::start();
    let other = crate::authority::Authority::new("other");
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let plain_http3 = plain_http3(&other);
    let nowhere = headrace_table::wire::Destination::Session { backends: vec![weighted(None, 1)] };
    let rules = vec![
        forward("/plain", "http"),
        session_with("/origin", "wt", |session| session.origins = vec!["https://*.example.com".to_owned()]),
        session("/refused", "wt"),
        session_with("/slow", "wt", |session| session.open_timeout_ms = 200),
        session("/empty", "empty"),
        session("/stranger", "stranger"),
        session("/deaf", "deaf"),
        session_with("/unresolved", "wt", |session| session.destination = nowhere),
        session_with("/silent", "silent", |session| session.open_timeout_ms = 300),
        opens(
            rule(
                "/redirect",
                Action::Redirect(Redirect {
                    host: Some("b.example.com".to_owned()),
                    status: 302,
                    ..Redirect::default()
                }),
            ),
            Opens::WebTransport,
        ),
        opens(rule("/gone", Action::Respond(410)), Opens::WebTransport),
    ];
    let backends = vec![
        backend("http", &[nobody]),
        http3("wt", &[behind.address], &behind.authority),
        http3("empty", &[], &behind.authority),
        http3("stranger", &[behind.address], &other),
        http3("deaf", &[plain_http3], &other),
        http3("silent", &[nobody], &other),
    ];
    let stage = Stage::serving(rules, backends).await;
    let mut client = Client::connect(&stage).await;
    let cases: [Case; 14] = [
        ("/nothing", &[], 404, "no_route"),
        ("/plain", &[], 405, "not_here"),
        ("/origin", &[("origin", "https://evil.example")], 403, "origin"),
        ("/origin", &[], 403, "origin"),
        ("/origin", &[("origin", "https://a.example.com"), ("early-data", "1")], 425, "too_early"),
        ("/refused", &[], 418, "backend_status"),
        ("/slow", &[], 504, "timeout"),
        ("/empty", &[], 503, "no_backend"),
        ("/stranger", &[], 502, "backend_certificate"),
        ("/deaf", &[], 502, "backend_protocol"),
        ("/unresolved", &[], 500, "no_backend"),
        ("/silent", &[], 504, "timeout"),
        ("/redirect", &[], 302, ""),
        ("/gone", &[], 410, ""),
    ];
    for (path, headers, status, reason) in cases {
        let before = if reason.is_empty() { 0.0 } else { refusals(&stage, reason).await };
        let response = client.refused(path, headers).await;
        assert_eq!(response.status(), status, "{path}");
        if !reason.is_empty() {
            assert_eq!(refusals(&stage, reason).await, before + 1.0, "{path}");
        }
        match path {
            "/refused" => assert_eq!(response.headers()["x-from"], "backend"),
            "/redirect" => assert!(response.headers()["location"].to_str().unwrap().contains("b.example.com")),
            _ => {}
        }
    }
    assert_eq!(stage.log_line("/plain").await["cause"], "no_sessions");
    assert!(client.ask("/origin", &[("origin", "https://a.example.com")], &[]).await.is_ok());
}

/// A server of HTTP/3 without WebTransport.
fn plain_http3(authority: &crate::authority::Authority) -> SocketAddr {
    let endpoint = crate::backend::endpoint(authority, 1 << 16);
    let address = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let mut connection = headrace_http3::server::Connection::new(
                    incoming.await.unwrap(),
                    &headrace_http3::Config::default(),
                );
                while let Ok(Some(_)) = connection.accept().await {}
            });
        }
    });
    address
}

#[tokio::test]
async fn a_port_may_offer_none() {
    let behind = Backend::start();
    let webtransport = WebTransportOptions { enabled: false, ..WebTransportOptions::default() };
    let quic = QuicOptions { webtransport, retry: Retry::Never, ..QuicOptions::default() };
    let backends = vec![http3("wt", &[behind.address], &behind.authority)];
    let stage = Stage::with_options(vec![session("/", "wt")], backends, quic).await;
    let mut client = Client::connect(&stage).await;
    let refused = client.ask("/", &[], &[]).await;
    assert!(matches!(refused, Err(ConnectError::Unmet(_))), "{refused:?}");
    assert_eq!(client.quic.max_datagram_size(), None);
    // Who asks all the same is told, as of any other protocol.
    let mut asked = request("/", &[]);
    *asked.method_mut() = Method::CONNECT;
    asked.extensions_mut().insert(Protocol::try_from("webtransport").unwrap());
    let (_send, mut recv) = client.requests.send_request(asked).await.unwrap();
    assert_eq!(within("an answer", recv.response()).await.unwrap().status(), StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn a_connection_has_so_many_sessions_and_no_more() {
    let mut behind = Backend::start();
    let webtransport = WebTransportOptions { sessions: 2, ..WebTransportOptions::default() };
    let quic = QuicOptions { webtransport, ..QuicOptions::default() };
    let backends = vec![http3("wt", &[behind.address], &behind.authority)];
    let stage = Stage::with_options(vec![session("/", "wt")], backends, quic).await;
    let mut client = Client::with(&stage, webtransport::Config { max_sessions: 9, ..Default::default() }).await;
    let (first, _second) = (client.session("/").await, client.session("/").await);
    let (first_behind, _second_behind) = (behind.session().await, behind.session().await);
    let third = client.ask("/", &[], &[]).await;
    let rejected = |error: &StreamError| matches!(error, StreamError::Reset(Code::H3_REQUEST_REJECTED));
    assert!(matches!(&third, Err(ConnectError::Stream(error)) if rejected(error)), "{third:?}");
    assert_eq!(refusals(&stage, "too_many").await, 1.0);
    first.close(0, "");
    within("the end", first_behind.closed()).await;
    stage.until(r#"sessions_active{mode="session"}"#, 1.0).await;
    client.session("/").await;
}
