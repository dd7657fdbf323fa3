//! Early data (RFC 8470): what is served before a handshake is complete, what waits, and what is refused. The path holds the
//! server's packets back, so that no handshake can complete before a test lets it.

use std::net::{Ipv4Addr, SocketAddr};

use headrace_http3::frame::FrameType;
use headrace_http3::qpack::Encoder;
use headrace_http3::varint;
use headrace_table::wire::{QuicOptions, Rule, Table};
use http::Method;
use tokio::net::UdpSocket;

use crate::backend::{EchoServer, Origin};
use crate::client::quic::Returning;
use crate::client::{Connection, Tunnels, Version, get, request};
use crate::path::Path;
use crate::patience::{eventually, within};
use crate::stage::table::{backend, changes, forward, forward_with};
use crate::stage::{HOST, HTTPS, Options, Stage};

/// A data plane that serves these rules with early data, or without.
async fn serve(stage: &Stage, rules: Vec<Rule>, origin: &Origin, zero_rtt: bool) {
    stage.publish(table(stage, rules, origin, zero_rtt)).await;
}

fn table(stage: &Stage, rules: Vec<Rule>, origin: &Origin, zero_rtt: bool) -> Table {
    let mut table = stage.table(rules, vec![backend("app", &[origin.address])]);
    for listener in table.listeners.iter_mut().filter(|listener| listener.id == HTTPS) {
        listener.quic = QuicOptions { zero_rtt, ..QuicOptions::default() };
    }
    table
}

fn early(outcome: &str) -> String {
    format!("headrace_dataplane_early_data_requests_total{{outcome=\"{outcome}\"}}")
}

/// A client on a path to the stage, on which nothing comes back to it from now on, with a session that allows early data.
async fn returning(stage: &Stage, origin: &mut Origin) -> (Path, Returning) {
    let path = Path::to(stage.https_address()).await;
    let client = Returning::new();
    client.visit(path.address).await;
    assert_eq!(origin.seen().await.target, "/visit");
    path.hold();
    path.sent();
    (path, client)
}

#[tokio::test]
async fn a_safe_request_is_served_before_the_handshake_is_complete() {
    let mut origin = Origin::http1("app").await;
    let stage = Stage::start(Options::default());
    serve(&stage, vec![forward("/", "app")], &origin, true).await;
    let (path, client) = returning(&stage, &mut origin).await;
    let (quic, accepted) = client.connect_early(path.address).unwrap();
    let mut connection = Connection::on(quic).await;
    let mut exchanges = Vec::new();
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        let early = request(method.clone(), "/early", &[], b"").map(|_| ());
        exchanges.push(connection.begin(early, false).await.unwrap());
        let seen = origin.seen().await;
        assert_eq!((&seen.method, seen.values("early-data")), (&method, vec!["1"]));
    }
    assert_eq!(stage.metric(&early("served")).await, 3.0);
    path.release();
    for mut exchange in exchanges {
        assert_eq!(exchange.incoming.whole().await.unwrap().status, 200);
    }
    assert!(within("the handshake", accepted).await, "early data was taken");
    assert_eq!(connection.fetch(get("/late")).await.unwrap().status, 200);
    assert_eq!(origin.seen().await.values("early-data"), Vec::<&str>::new(), "it is early no longer");
    assert_eq!(stage.metric(&early("served")).await, 3.0);
}

/// HEADERS of an extended CONNECT, which the clients here send only when they have seen the server's settings.
fn connect(path: &str) -> Vec<u8> {
    let mut section = Vec::new();
    let mut encoder = Encoder::new(&mut section);
    for (name, value) in [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", path),
        ("sec-websocket-version", "13"),
    ] {
        encoder.line(name.as_bytes(), value.as_bytes(), false);
    }
    let mut frame = Vec::new();
    varint::append(FrameType::HEADERS.0, &mut frame);
    varint::append(section.len() as u64, &mut frame);
    frame.extend_from_slice(&section);
    frame
}

#[tokio::test]
async fn everything_else_waits_for_the_handshake() {
    let mut origin = Origin::http1("app").await;
    let echo = EchoServer::start("echo").await;
    let stage = Stage::start(Options::default());
    let mut table = table(&stage, vec![forward("/ws", "echo"), forward("/", "app")], &origin, true);
    table.backends.push(backend("echo", &[echo.address]));
    stage.publish(table).await;
    let (path, client) = returning(&stage, &mut origin).await;
    let (quic, accepted) = client.connect_early(path.address).unwrap();
    let (mut tunnel, _answer) = quic.connection.open_bi().await.unwrap();
    tunnel.write_all(&connect("/ws")).await.unwrap();
    let mut connection = Connection::on(quic).await;
    let mut waiting = Vec::new();
    for (method, body) in [(Method::POST, ""), (Method::GET, "with content"), (Method::DELETE, "")] {
        let (head, ()) = request(method, "/waits", &[], b"").map(|_| ()).into_parts();
        let mut exchange = connection.begin(http::Request::from_parts(head, ()), !body.is_empty()).await.unwrap();
        if !body.is_empty() {
            exchange.outgoing.data(body.as_bytes().into()).await.unwrap();
            exchange.outgoing.finish().await.unwrap();
        }
        waiting.push(exchange);
    }
    eventually("all to wait", async || (stage.metric(&early("waited")).await == 4.0).then_some(())).await;
    // What is sent later and is safe goes past them.
    let mut safe = connection.begin(get("/safe").map(|_| ()), false).await.unwrap();
    assert_eq!(origin.seen().await.target, "/safe");
    assert!(origin.saw_nothing_more());
    let tunnels = "headrace_dataplane_tunnels_total{version=\"http3\"}";
    assert_eq!(stage.metric(tunnels).await, 0.0);

    path.release();
    assert_eq!(safe.incoming.whole().await.unwrap().status, 200);
    for mut exchange in waiting {
        assert_eq!(exchange.incoming.whole().await.unwrap().status, 200);
        assert_eq!(origin.seen().await.values("early-data"), Vec::<&str>::new());
    }
    assert!(within("the handshake", accepted).await);
    eventually("the tunnel", async || (stage.metric(tunnels).await == 1.0).then_some(())).await;
}

#[tokio::test]
async fn a_backend_that_does_not_want_it_early_gets_it_again() {
    let mut origin = Origin::http1("app").await;
    let stage = Stage::start(Options::default());
    serve(&stage, vec![forward("/", "app")], &origin, true).await;
    let (path, client) = returning(&stage, &mut origin).await;
    let (quic, _accepted) = client.connect_early(path.address).unwrap();
    let mut connection = Connection::on(quic).await;
    let mut again = connection.begin(get("/status/425").map(|_| ()), false).await.unwrap();
    assert_eq!(origin.seen().await.values("early-data"), ["1"]);
    // A client that has said so itself knows what 425 means.
    let marked = request(Method::GET, "/status/425?marked", &[("early-data", "1")], b"").map(|_| ());
    let mut marked = connection.begin(marked, false).await.unwrap();
    assert_eq!(origin.seen().await.values("early-data"), ["1"]);
    assert!(origin.saw_nothing_more());

    path.release();
    let seen = origin.seen().await;
    assert_eq!((&*seen.target, seen.values("early-data")), ("/status/425", vec![]));
    assert_eq!(again.incoming.whole().await.unwrap().status, 425, "a backend that never wants it is believed");
    assert_eq!(marked.incoming.whole().await.unwrap().status, 425);
    assert!(origin.saw_nothing_more());
    assert_eq!(stage.metric(&early("repeated")).await, 1.0);
}

#[tokio::test]
async fn what_was_early_on_an_earlier_hop_is_safe_or_refused_on_every_version() {
    let mut origin = Origin::http1("app").await;
    let stage = Stage::start(Options::default());
    let stripping = forward_with("/", "app", |forward| {
        forward.backends[0].request_headers = changes(&[], &[], &["early-data"]);
    });
    serve(&stage, vec![stripping], &origin, false).await;
    for (at, version) in Version::ALL.into_iter().enumerate() {
        let mut connection = Connection::open(&stage, version).await;
        for value in ["1", "0"] {
            let unsafe_one = request(Method::POST, "/", &[("early-data", value)], b"body");
            assert_eq!(connection.fetch(unsafe_one).await.unwrap().status, 425, "{version:?}");
            let mut fields = vec![("early-data", value)];
            if version == Version::Http1 {
                fields.push(("connection", "early-data"));
            }
            let safe_one = request(Method::GET, "/", &fields, b"");
            assert_eq!(connection.fetch(safe_one).await.unwrap().status, 200, "{version:?}");
            let seen = origin.seen().await;
            assert_eq!((seen.method.clone(), seen.values("early-data")), (Method::GET, vec!["1"]), "{version:?}");
        }
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let fields = [("sec-websocket-version", "13"), ("early-data", "1")];
        assert_eq!(tunnels.handshake("/", &fields).await.refused().status(), 425, "{version:?}");
        assert!(origin.saw_nothing_more());
        assert_eq!(stage.metric(&early("too_early")).await, (at + 1) as f64 * 3.0);
    }
}

#[tokio::test]
async fn the_setting_changes_with_the_table_and_open_connections_do_not_notice() {
    let mut origin = Origin::http1("app").await;
    let stage = Stage::start(Options { workers: 2, ..Options::default() });
    let rules = || vec![forward("/", "app")];
    serve(&stage, rules(), &origin, false).await;
    let client = Returning::new();
    let address = stage.https_address();
    let mut first = Connection::on(client.connect(address).await).await;
    assert_eq!(first.fetch(get("/visit")).await.unwrap().status, 200);
    assert!(client.connect_early(address).is_none(), "a session without early data");

    serve(&stage, rules(), &origin, true).await;
    client.visit(address).await;
    let (quic, accepted) = client.connect_early(address).unwrap();
    let mut second = Connection::on(quic).await;
    assert_eq!(second.fetch(get("/visit")).await.unwrap().status, 200);
    assert!(within("the handshake", accepted).await);

    serve(&stage, rules(), &origin, false).await;
    let (quic, accepted) = client.connect_early(address).unwrap();
    assert!(!within("the handshake", accepted).await, "early data is taken no longer");
    let mut third = Connection::on(quic).await;
    for connection in [&mut first, &mut second, &mut third] {
        assert_eq!(connection.fetch(get("/visit")).await.unwrap().status, 200);
    }
    assert!(origin.saw_nothing_more_but("/visit"));
}

#[tokio::test]
async fn a_recording_is_not_served_again() {
    let mut origin = Origin::http1("app").await;
    let stage = Stage::start(Options::default());
    serve(&stage, vec![forward("/", "app")], &origin, true).await;
    let (path, client) = returning(&stage, &mut origin).await;
    let (quic, accepted) = client.connect_early(path.address).unwrap();
    let closing = quic.connection.clone();
    let mut connection = Connection::on(quic).await;
    let mut exchange = connection.begin(get("/once").map(|_| ()), false).await.unwrap();
    assert_eq!(origin.seen().await.target, "/once");
    let recording = path.sent();
    path.release();
    assert!(within("the handshake", accepted).await);
    assert_eq!(exchange.incoming.whole().await.unwrap().status, 200);
    closing.close(0x100_u32.into(), b"");
    let open = "headrace_dataplane_connections_open{transport=\"quic\"}";
    eventually("the end of it", async || (stage.metric(open).await == 0.0).then_some(())).await;

    let unknown = "headrace_dataplane_resumptions_total{result=\"unknown\",transport=\"quic\"}";
    let before = stage.metric(unknown).await;
    eventually("the recording to be looked at", async || {
        // As long as the connection is not forgotten, its packets are that connection's.
        let attacker = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        for datagram in &recording {
            attacker.send_to(datagram, stage.https_address()).await.unwrap();
        }
        (stage.metric(unknown).await > before).then_some(())
    })
    .await;
    assert_eq!(stage.admin("/healthz").await.0, 200);
    assert!(origin.saw_nothing_more(), "a recording was served");
}
