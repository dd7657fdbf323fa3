//! The drain: clients are told to go, what is open finishes, what does not is cut at the deadline. And what is written
//! of each exchange by its end.

use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::backend::{EchoServer, Origin};
use crate::client::{Connection, End, Tunnels, Version, Wire, get, quic, request, tls};
use crate::patience::{eventually, within};
use crate::stage::table::{backend, forward};
use crate::stage::{HOST, Options, Stage, ask_admin, metric_of};

async fn stage_with_echo(drain_timeout: Duration) -> (Stage, EchoServer, Origin) {
    let (echo, origin) = (EchoServer::start("one").await, Origin::http1("one").await);
    let stage = Stage::start(Options { workers: 2, drain_timeout, ..Options::default() });
    let backends = vec![backend("app", &[origin.address]), backend("echo", &[echo.address])];
    stage.serve(vec![forward("/", "app"), forward("/ws", "echo")], backends).await;
    (stage, echo, origin)
}

#[tokio::test]
async fn idle_connections_end_at_once() {
    let (stage, _echo, _origin) = stage_with_echo(Duration::from_secs(12)).await;
    let mut idle = Vec::new();
    for version in Version::ALL {
        for used in [false, true] {
            let mut client = Connection::open(&stage, version).await;
            if used {
                assert_eq!(client.fetch(get("/")).await.unwrap().status, 200);
            }
            idle.push((version, used, client));
        }
    }
    // h2's and h3's handshakes are over before the server has seen all of them.
    let open = async || {
        let scrape = stage.admin("/metrics").await.1;
        metric_of(&scrape, r#"headrace_dataplane_connections_open{transport="tcp"}"#)
            + metric_of(&scrape, r#"headrace_dataplane_connections_open{transport="quic"}"#)
    };
    eventually("six connections", async || (open().await == 6.0).then_some(())).await;
    let (report, _) = stage.drain().await;
    assert_eq!((report.finished, report.cut), (6, 0), "none was waited for in vain");
    for (version, used, client) in &idle {
        let what = format!("the connection over {version:?} is over, used: {used}");
        eventually(&what, async || client.is_over().then_some(())).await;
    }
}

/// Reads HTTP/2 frames up to a GOAWAY; its last stream and code.
async fn goaway(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> (u32, u32) {
    within("GOAWAY", async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).await.unwrap();
            if head[3] == 7 {
                let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
                return (word(0), word(4));
            }
        }
    })
    .await
}

#[tokio::test]
async fn clients_are_told_to_go() {
    let (stage, _echo, mut origin) = stage_with_echo(Duration::from_secs(12)).await;
    // HTTP/2, frame by frame.
    let mut http2 = tls(&stage, HOST, "h2").await.unwrap();
    http2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await.unwrap();
    http2.flush().await.unwrap();
    let mut settings = [0; 9];
    within("SETTINGS", http2.read_exact(&mut settings)).await.unwrap();
    let rest = usize::from(settings[2]);
    let mut skipped = vec![0; rest];
    http2.read_exact(&mut skipped).await.unwrap();
    // HTTP/3, with a tunnel that keeps the connection open.
    let quic = quic::Client::connect(&stage, HOST).await;
    let config = headrace_http3::Config::default();
    let (mut driver, mut opener) = headrace_http3::client::connect(quic.connection.clone(), &config);
    tokio::spawn(async move { drop(driver.drive().await) });
    let mut asked = request(Method::CONNECT, "/ws", &[("sec-websocket-version", "13")], b"").map(|_| ());
    asked.extensions_mut().insert(headrace_http3::Protocol::WEBSOCKET);
    let (mut send, mut recv) = within("a tunnel", opener.send_request(asked)).await.unwrap();
    assert_eq!(within("a tunnel", recv.response()).await.unwrap().status(), 200);
    // HTTP/1.1, with a request that is still coming.
    let mut http1 = Wire::tls(&stage).await;
    http1.send(format!("POST /watch HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\nha")).await;
    origin.seen().await;
    let (admin, https) = (stage.admin, stage.https_address());

    let drain = tokio::spawn(stage.drain());
    let (last, code) = goaway(&mut http2).await;
    assert_eq!((code, last), (0, 0x7fff_ffff), "RFC 9113 section 6.8: a first GOAWAY that refuses nothing yet");
    eventually("GOAWAY on HTTP/3", async || (!opener.is_open()).then_some(())).await;
    assert!(quic.connection.close_reason().is_none(), "the tunnel goes on");
    let (status, why) = ask_admin(admin, "/readyz").await;
    assert_eq!((status, &*why), (503, "draining\n"));
    assert_eq!(ask_admin(admin, "/healthz").await.0, 200);
    assert_eq!(metric_of(&ask_admin(admin, "/metrics").await.1, "headrace_dataplane_draining"), 1.0);
    eventually("no new connection", async || TcpStream::connect(https).await.is_err().then_some(())).await;
    assert!(quic::Client::is_refused(https, HOST).await);

    // What is open finishes.
    http1.send("lf").await;
    let answer = http1.response().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{}", answer.head);
    send.finish().unwrap();
    let mut buffer = [0; 8];
    assert_eq!(within("the tunnel's end", recv.read_data(&mut buffer)).await.unwrap(), 0);
    drop((http2, send, recv, opener));
    let (report, lines) = within("the drain", drain).await.unwrap();
    assert_eq!((report.finished, report.cut), (3, 0));
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[tokio::test]
async fn open_requests_finish() {
    let (stage, _echo, mut origin) = stage_with_echo(Duration::from_secs(12)).await;
    let mut open = Vec::new();
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        let asked = request(Method::POST, "/echo", &[], b"").map(|_| ());
        let mut exchange = client.begin(asked, true).await.unwrap();
        exchange.outgoing.data("first".into()).await.unwrap();
        assert_eq!(exchange.incoming.head().await.unwrap().status(), 200);
        origin.seen().await;
        open.push((version, client, exchange));
    }
    let admin = stage.admin;
    let drain = tokio::spawn(stage.drain());
    eventually("the drain has begun", async || (ask_admin(admin, "/readyz").await.0 == 503).then_some(())).await;
    for (version, client, mut exchange) in open {
        exchange.outgoing.data(" second".into()).await.unwrap();
        exchange.outgoing.finish().await.unwrap();
        let mut body = Vec::new();
        while let Some(data) = exchange.incoming.data().await.unwrap() {
            body.extend_from_slice(&data);
        }
        assert_eq!(body, b"first second", "{version:?}");
        drop(exchange);
        eventually("the connection is over", async || client.is_over().then_some(())).await;
    }
    let (report, _) = within("the drain", drain).await.unwrap();
    assert_eq!((report.finished, report.cut), (3, 0));
}

#[tokio::test]
async fn open_tunnels_are_cut_at_the_deadline() {
    let (stage, _echo, _origin) = stage_with_echo(Duration::from_millis(500)).await;
    let mut open = Vec::new();
    for version in Version::ALL {
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let pipe = tunnels.open("/ws").await;
        open.push((version, tunnels, pipe));
    }
    let idle = Connection::open(&stage, Version::Http2).await;
    let (report, lines) = stage.drain().await;
    assert_eq!((report.finished, report.cut), (1, 3));
    drop(idle);
    for (version, _tunnels, mut pipe) in open {
        let end = ended(&mut pipe).await;
        assert_ne!(end, Some(End::Finished), "{version:?}: a cut is no end");
    }
    let tunnels = lines.iter().filter(|line| line["tunnel"] == true);
    assert_eq!(tunnels.count(), 3, "each is written down: {lines:?}");
}

/// How a pipe ends, where `None` means that its connection broke.
async fn ended(pipe: &mut crate::client::Pipe) -> Option<End> {
    let mut rest = Vec::new();
    match within("the cut", pipe.read_to_end(&mut rest)).await {
        Ok(_) => Some(End::Finished),
        Err(_) => None,
    }
}

#[tokio::test]
async fn every_exchange_has_its_line() {
    let (stage, _echo, origin) = stage_with_echo(Duration::from_secs(5)).await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        let asked = request(Method::POST, "/bytes/10?secret=1", &[("user-agent", "test/1 \"ü\"")], b"content");
        assert_eq!(client.fetch(asked).await.unwrap().status, 200);
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let mut pipe = tunnels.open("/ws/x").await;
        // A close frame, masked with zeros (RFC 6455 section 5.5.1), which the echo answers.
        pipe.send(b"\x88\x82\0\0\0\0\x03\xe8").await;
        pipe.expect(b"\x88\x02\x03\xe8").await;
        assert_eq!(pipe.end().await, (Vec::new(), End::Finished));
        pipe.finish().await;
        eventually("two lines", async || {
            let lines = stage.log_lines();
            let of_version = lines.iter().filter(|line| line["version"] == version.label());
            (of_version.count() == 2).then_some(())
        })
        .await;
    }
    let address = origin.address.to_string();
    let (_, lines) = stage.drain().await;
    for version in Version::ALL {
        let mut of_version = lines.iter().filter(|line| line["version"] == version.label());
        let plain = of_version.next().unwrap();
        for (name, value) in [
            ("method", "POST"),
            ("host", HOST),
            ("path", "/bytes/10"),
            ("route", "HTTPRoute/test/route"),
            ("rule", "rule /"),
            ("backend", &*address),
            ("user_agent", "test/1 \"ü\""),
        ] {
            assert_eq!(plain[name], value, "{plain}");
        }
        for (name, value) in [("status", 200), ("bytes_received", 7), ("bytes_sent", 10)] {
            assert_eq!(plain[name], value, "{plain}");
        }
        assert_eq!(plain["tunnel"], false, "{plain}");
        assert!(plain["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{plain}");
        assert!(plain["duration_ms"].as_f64().unwrap() > 0.0, "{plain}");
        let ts = plain["ts"].as_str().unwrap();
        assert!(ts.len() == "2026-01-01T00:00:00.000Z".len() && ts.ends_with('Z'), "{plain}");
        assert!(!plain.to_string().contains("secret"), "a query may hold secrets: {plain}");

        let tunnel = of_version.next().unwrap();
        let status = if version == Version::Http1 { 101 } else { 200 };
        for (name, value) in [("status", status), ("bytes_received", 8), ("bytes_sent", 4)] {
            assert_eq!(tunnel[name], value, "{tunnel}");
        }
        assert_eq!((&tunnel["tunnel"], &tunnel["protocol"]), (&true.into(), &"websocket".into()), "{tunnel}");
        assert_eq!((&tunnel["path"], tunnel.get("cause")), (&"/ws/x".into(), None), "{tunnel}");
    }
    assert_eq!(lines.len(), 6);
}
