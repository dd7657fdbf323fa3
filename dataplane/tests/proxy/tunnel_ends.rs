//! How tunnels end: FIN and reset each way, with the right code at the other end, and what else ends them.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::backend::{Raw, switch};
use crate::client::{End, Pipe, Tunnels, Version};
use crate::patience::{eventually, within};
use crate::stage::Stage;
use crate::stage::table::{backend, forward, forward_with};

/// What a backend sees at the end of a tunnel.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// FIN, after these octets.
    Finished(Vec<u8>),
    /// ECONNRESET.
    Reset,
}

/// A backend that hands every accepted tunnel to the test.
async fn handing_over() -> (Raw, mpsc::UnboundedReceiver<TcpStream>) {
    let (hand, handed) = mpsc::unbounded_channel();
    let raw = Raw::start(move |mut stream, _| {
        let hand = hand.clone();
        async move {
            // A plain request, by which neighbours are asked whether they live, is no handshake.
            let mut first = [0; 9];
            stream.peek(&mut first).await.unwrap();
            if &first == b"GET /ping" {
                crate::backend::read_head(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                return;
            }
            switch(&mut stream, "", b"").await;
            let _test_is_over = hand.send(stream);
        }
    });
    (raw.await, handed)
}

async fn stage_before(raw: &Raw) -> Stage {
    Stage::serving(vec![forward("/", "raw")], vec![backend("raw", &[raw.address])]).await
}

/// Reads to the end.
async fn end_of(stream: &mut TcpStream) -> Seen {
    let mut rest = Vec::new();
    match within("an end at the backend", stream.read_to_end(&mut rest)).await {
        Ok(_) => Seen::Finished(rest),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Seen::Reset,
        Err(error) => panic!("{error}"),
    }
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
}

/// What a client is told of a cut.
fn cut(version: Version) -> End {
    match version {
        Version::Http1 => End::TcpReset,
        Version::Http2 => End::Reset(0x8),
        Version::Http3 => End::Reset(0x10c),
    }
}

/// A tunnel with a neighbour, from both ends. On HTTP/1.1 the neighbour has a connection of its own.
struct Pair {
    tunnels: Vec<Tunnels>,
    client: Pipe,
    backend: TcpStream,
    neighbour: (Pipe, TcpStream),
}

impl Pair {
    async fn open(stage: &Stage, version: Version, handed: &mut mpsc::UnboundedReceiver<TcpStream>) -> Self {
        let mut tunnels = vec![Tunnels::connect(stage, version).await];
        let client = tunnels[0].open("/one").await;
        let backend = within("a tunnel at the backend", handed.recv()).await.unwrap();
        if version == Version::Http1 {
            tunnels.push(Tunnels::connect(stage, version).await);
        }
        let other = tunnels.last_mut().unwrap().open("/two").await;
        let neighbour = (other, within("a tunnel at the backend", handed.recv()).await.unwrap());
        Self { tunnels, client, backend, neighbour }
    }
}

async fn neighbour_lives(tunnels: &mut [Tunnels], (client, backend): &mut (Pipe, TcpStream)) {
    client.send(b"ping").await;
    let mut got = [0; 4];
    within("a ping", backend.read_exact(&mut got)).await.unwrap();
    backend.write_all(b"pong").await.unwrap();
    client.expect(b"pong").await;
    assert!(tunnels[0].still_serves("/ping").await);
}

#[tokio::test]
async fn a_fin_leaves_the_other_direction_open() {
    let (raw, mut handed) = handing_over().await;
    let stage = stage_before(&raw).await;
    for version in Version::ALL {
        // The client first.
        let mut pair = Pair::open(&stage, version, &mut handed).await;
        pair.client.send(b"last words").await;
        pair.client.finish().await;
        assert_eq!(end_of(&mut pair.backend).await, Seen::Finished(b"last words".to_vec()), "{version:?}");
        pair.backend.write_all(b"still here").await.unwrap();
        pair.client.expect(b"still here").await;
        drop(pair.backend);
        assert_eq!(pair.client.end().await, (Vec::new(), End::Finished), "{version:?}");
        neighbour_lives(&mut pair.tunnels, &mut pair.neighbour).await;

        // The backend first.
        let mut pair = Pair::open(&stage, version, &mut handed).await;
        pair.backend.write_all(b"last words").await.unwrap();
        pair.backend.shutdown().await.unwrap();
        assert_eq!(pair.client.end().await, (b"last words".to_vec(), End::Finished), "{version:?}");
        pair.client.send(b"still here").await;
        pair.client.finish().await;
        assert_eq!(end_of(&mut pair.backend).await, Seen::Finished(b"still here".to_vec()), "{version:?}");
        neighbour_lives(&mut pair.tunnels, &mut pair.neighbour).await;

        let ended = |line: &serde_json::Value| line["path"] == "/one" && line["version"] == version.label();
        let lines = eventually("both tunnels are over", async || {
            let lines: Vec<_> = stage.log_lines().into_iter().filter(ended).collect();
            (lines.len() == 2).then_some(lines)
        });
        assert!(lines.await.iter().all(|line| line.get("cause").is_none()), "{version:?}: they ended well");
    }
}

/// The next tunnel of this version and path to be over ended for this reason.
async fn ended_for(stage: &Stage, version: Version, path: &str, cause: &str, times: usize) {
    let is_it = |line: &serde_json::Value| line["path"] == path && line["version"] == version.label();
    let lines = eventually("a line in the access log", async || {
        let lines: Vec<_> = stage.log_lines().into_iter().filter(is_it).collect();
        (lines.len() == times).then_some(lines)
    });
    for line in lines.await {
        assert_eq!((&line["cause"], &line["tunnel"]), (&cause.into(), &true.into()), "{version:?}: {line}");
    }
}

#[tokio::test]
async fn a_backends_reset_is_the_clients_and_nobody_elses() {
    let (raw, mut handed) = handing_over().await;
    let stage = stage_before(&raw).await;
    for version in Version::ALL {
        for half_closed in [false, true] {
            let mut pair = Pair::open(&stage, version, &mut handed).await;
            if half_closed {
                pair.client.finish().await;
                assert_eq!(end_of(&mut pair.backend).await, Seen::Finished(Vec::new()));
            }
            reset(pair.backend);
            assert_eq!(pair.client.end().await.1, cut(version), "{version:?}, half-closed: {half_closed}");
            neighbour_lives(&mut pair.tunnels, &mut pair.neighbour).await;
        }
    }
    for version in Version::ALL {
        ended_for(&stage, version, "/one", "backend_reset", 2).await;
    }
    assert_eq!(stage.metric(r#"headrace_dataplane_resets_total{cause="backend_reset"}"#).await, 6.0);
}

#[tokio::test]
async fn a_clients_reset_is_the_backends_and_nobody_elses() {
    let (raw, mut handed) = handing_over().await;
    let stage = stage_before(&raw).await;
    for version in Version::ALL {
        for half_closed in [false, true] {
            let mut pair = Pair::open(&stage, version, &mut handed).await;
            if half_closed {
                pair.backend.shutdown().await.unwrap();
                assert_eq!(pair.client.end().await.1, End::Finished);
            }
            pair.client.reset();
            assert_eq!(end_of(&mut pair.backend).await, Seen::Reset, "{version:?}, half-closed: {half_closed}");
            neighbour_lives(&mut pair.tunnels, &mut pair.neighbour).await;
        }
    }
    for version in Version::ALL {
        ended_for(&stage, version, "/one", "client_reset", 2).await;
    }
}

#[tokio::test]
async fn half_a_reset_on_http_3_is_a_whole_one() {
    let (raw, mut handed) = handing_over().await;
    let stage = stage_before(&raw).await;
    for only_stop in [false, true] {
        let mut pair = Pair::open(&stage, Version::Http3, &mut handed).await;
        let Pipe::Http3(tunnel) = pair.client else { unreachable!() };
        let (mut send, mut recv) = tunnel.into_parts();
        let code = headrace_http3::Code::H3_REQUEST_CANCELLED;
        if only_stop {
            recv.stop_sending(code);
            // Noticed where the stream is written to.
            eventually("the backend's writes fail", async || {
                pair.backend.write_all(b"for nobody").await.is_err().then_some(())
            })
            .await;
            continue;
        } else {
            send.reset(code);
        }
        assert_eq!(end_of(&mut pair.backend).await, Seen::Reset, "only STOP_SENDING: {only_stop}");
        neighbour_lives(&mut pair.tunnels, &mut pair.neighbour).await;
    }
}

#[tokio::test]
async fn a_connection_that_ends_takes_its_tunnels_along() {
    let (raw, mut handed) = handing_over().await;
    let stage = stage_before(&raw).await;
    for version in [Version::Http2, Version::Http3] {
        let mut pair = Pair::open(&stage, version, &mut handed).await;
        drop(pair.tunnels);
        drop((pair.client, pair.neighbour.0));
        assert_eq!(end_of(&mut pair.backend).await, Seen::Reset, "{version:?}");
        assert_eq!(end_of(&mut pair.neighbour.1).await, Seen::Reset, "{version:?}");
    }
    let open = |version| format!(r#"headrace_dataplane_tunnels_open{{version="{version}"}}"#);
    for version in Version::ALL {
        assert_eq!(stage.metric(&open(version.label())).await, 0.0, "{version:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_the_handshake() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let raw = Raw::start(move |mut stream, _| {
        let arrived = arrived.clone();
        async move {
            crate::backend::read_head(&mut stream).await.unwrap();
            // Never answers; reports how the connection ends.
            arrived.send(None).unwrap();
            let ended = end_of(&mut stream).await;
            arrived.send(Some(ended)).unwrap();
        }
    });
    let raw = raw.await;
    let stage = stage_before(&raw).await;
    for version in Version::ALL {
        let mut tunnels = Tunnels::connect(&stage, version).await;
        tokio::select! {
            _ = tunnels.handshake("/", &[("sec-websocket-version", "13")]) => panic!("nobody answers"),
            arrival = arrivals.recv() => assert_eq!(arrival, Some(None)),
        }
        drop(tunnels);
        let ended = within("the backend is let go", arrivals.recv()).await;
        assert!(matches!(ended, Some(Some(_))), "{version:?}: {ended:?}");
    }
}

#[tokio::test]
async fn silence_and_age_end_tunnels_where_the_route_says_so() {
    let (raw, mut handed) = handing_over().await;
    let rules = vec![
        forward_with("/idle", "raw", |forward| forward.websocket.idle_timeout_ms = 400),
        forward_with("/old", "raw", |forward| forward.websocket.lifetime_ms = 600),
        forward("/ever", "raw"),
    ];
    let stage = Stage::serving(rules, vec![backend("raw", &[raw.address])]).await;
    for version in Version::ALL {
        for (path, cause) in [("/idle", "idle_timeout"), ("/old", "lifetime")] {
            let mut tunnels = Tunnels::connect(&stage, version).await;
            let mut client = tunnels.open(path).await;
            let mut at_backend = handed.recv().await.unwrap();
            // Octets in one direction keep a tunnel from being idle, and none from growing old.
            for _ in 0..3 {
                client.send(b"x").await;
                within("an octet", at_backend.read_u8()).await.unwrap();
            }
            assert_eq!(client.end().await, (Vec::new(), cut(version)), "{version:?} {path}");
            assert_eq!(end_of(&mut at_backend).await, Seen::Reset, "{version:?} {path}");
            ended_for(&stage, version, path, cause, 1).await;
        }
    }
    for cause in ["idle_timeout", "lifetime"] {
        let series = format!(r#"headrace_dataplane_resets_total{{cause="{cause}"}}"#);
        assert_eq!(stage.metric(&series).await, 3.0);
    }
}
