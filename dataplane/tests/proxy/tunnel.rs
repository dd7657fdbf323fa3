//! WebSocket tunnels that work: what the backend is asked, what the client is told, and the octets between.

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::backend::{EchoServer, Raw, switch};
use crate::client::{KEY, Tunnels, Version, Wire};
use crate::patience::{eventually, within};
use crate::stage::table::{backend, forward, h2c};
use crate::stage::{HOST, PUBLIC_HTTPS, Stage};

const VERSION_13: (&str, &str) = ("sec-websocket-version", "13");

async fn stage_with_echo() -> (Stage, EchoServer) {
    let echo = EchoServer::start("one").await;
    let stage = Stage::serving(vec![forward("/", "echo")], vec![backend("echo", &[echo.address])]).await;
    (stage, echo)
}

async fn stage_before(raw: &Raw) -> Stage {
    Stage::serving(vec![forward("/", "raw")], vec![backend("raw", &[raw.address])]).await
}

#[tokio::test]
async fn messages_are_echoed_with_subprotocol_and_close_code() {
    let (stage, mut echo) = stage_with_echo().await;
    for version in Version::ALL {
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let fields = [
            VERSION_13,
            ("sec-websocket-protocol", "chat.v2, chat.v1"),
            ("origin", "https://app.example.com"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "203.0.113.9"),
        ];
        let (head, pipe) = tunnels.handshake("/chat/room?id=7", &fields).await.opened();
        assert_eq!(head.headers()["sec-websocket-protocol"], "chat.v1", "{version:?}");
        for name in ["connection", "upgrade", "sec-websocket-accept", "transfer-encoding", "content-length"] {
            assert!(version == Version::Http1 || !head.headers().contains_key(name), "{version:?}: {head:?}");
        }
        let alt_svc = format!("h3=\":{PUBLIC_HTTPS}\"; ma=3600");
        assert_eq!(head.headers()["alt-svc"], alt_svc, "{version:?}");

        let asked = echo.handshake().await;
        assert_eq!((asked.method().as_str(), &*asked.uri().to_string()), ("GET", "/chat/room?id=7"), "{version:?}");
        assert_ne!(asked.headers()["sec-websocket-key"], KEY, "{version:?}: the two handshakes are two connections");
        for (name, value) in [
            ("host", HOST),
            ("origin", "https://app.example.com"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("sec-websocket-protocol", "chat.v2, chat.v1"),
        ] {
            assert_eq!(asked.headers()[name], value, "{version:?} {name}");
        }

        let mut socket = pipe.websocket().await;
        for message in [
            Message::text("hello"),
            Message::text(""),
            Message::binary(vec![0, 255, 128]),
            Message::binary(vec![7; 70_000]),
            Message::text("ü".repeat(100_000)),
        ] {
            let exchange = async {
                socket.send(message.clone()).await.unwrap();
                socket.next().await.unwrap().unwrap()
            };
            assert_eq!(within("an echo", exchange).await, message, "{version:?}");
        }
        let frame = CloseFrame { code: CloseCode::Library(4321), reason: "bye".into() };
        socket.close(Some(frame.clone())).await.unwrap();
        assert_eq!(echo.closed().await, Some(frame.clone()), "{version:?}");
        let answer = within("the close", socket.next()).await.unwrap().unwrap();
        assert_eq!(answer, Message::Close(Some(frame)), "{version:?}");
        assert!(within("the end", socket.next()).await.is_none(), "{version:?}");
        socket.get_mut().finish().await;
        let label = version.label();
        let total = format!(r#"headrace_dataplane_tunnels_total{{version="{label}"}}"#);
        assert_eq!(stage.metric(&total).await, 1.0);
        let open = format!(r#"headrace_dataplane_tunnels_open{{version="{label}"}}"#);
        eventually("the tunnel is counted down", async || (stage.metric(&open).await == 0.0).then_some(())).await;
        let line = eventually("a line in the access log", async || stage.log_lines().pop()).await;
        assert_eq!(line.get("cause"), None, "{version:?}: it ended well: {line}");
    }
}

#[tokio::test]
async fn an_h2c_backend_is_asked_by_upgrade_all_the_same() {
    let mut echo = EchoServer::start("one").await;
    let stage = Stage::serving(vec![forward("/", "echo")], vec![h2c("echo", &[echo.address])]).await;
    for version in Version::ALL {
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let pipe = tunnels.open("/").await;
        let mut socket = pipe.websocket().await;
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(within("an echo", socket.next()).await.unwrap().unwrap(), Message::text("hello"), "{version:?}");
        assert_eq!(echo.handshake().await.headers()["host"], HOST);
    }
}

#[tokio::test]
async fn many_tunnels_share_a_connection() {
    let (stage, _echo) = stage_with_echo().await;
    for version in [Version::Http2, Version::Http3] {
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let mut sockets = Vec::new();
        for at in 0..100 {
            let socket = tunnels.open(&format!("/{at}")).await.websocket().await;
            sockets.push((at, socket));
        }
        for round in 0..3 {
            for (at, socket) in &mut sockets {
                socket.send(Message::text(format!("{at} {round}"))).await.unwrap();
            }
            for (at, socket) in sockets.iter_mut().rev() {
                let message = within("an echo", socket.next()).await.unwrap().unwrap();
                assert_eq!(message, Message::text(format!("{at} {round}")), "{version:?}");
            }
        }
        let open = format!(r#"headrace_dataplane_tunnels_open{{version="{}"}}"#, version.label());
        assert_eq!(stage.metric(&open).await, 100.0);
    }
}

#[tokio::test]
async fn extensions_pass_untouched() {
    let offer = "permessage-deflate; client_max_window_bits, x-other; a=\"b\"";
    let answer = "permessage-deflate; server_no_context_takeover";
    // A compressed frame (RFC 7692 section 7.2.3.1), with RSV1.
    let payload = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    let (heads, mut asked) = mpsc::unbounded_channel();
    let raw = Raw::start(move |mut stream, _| {
        let heads = heads.clone();
        async move {
            let more = format!("Sec-WebSocket-Extensions: {answer}\r\n");
            heads.send(switch(&mut stream, &more, b"").await).unwrap();
            let mut got = [0; 9];
            stream.read_exact(&mut got).await.unwrap();
            stream.write_all(&got).await.unwrap();
            let _until_the_end = stream.read_u8().await;
        }
    });
    let raw = raw.await;
    let stage = stage_before(&raw).await;
    for version in Version::ALL {
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let fields = [VERSION_13, ("sec-websocket-extensions", offer)];
        let (head, mut pipe) = tunnels.handshake("/", &fields).await.opened();
        assert_eq!(head.headers()["sec-websocket-extensions"], answer, "{version:?}");
        let asked = asked.recv().await.unwrap().to_ascii_lowercase();
        assert!(asked.contains(&format!("\r\nsec-websocket-extensions: {offer}\r\n")), "{version:?}: {asked}");
        pipe.send(payload).await;
        pipe.expect(payload).await;
    }
}

#[tokio::test]
async fn octets_right_behind_the_backends_101_reach_the_client() {
    let raw = Raw::start(|mut stream, _| async move {
        switch(&mut stream, "", &[b'e'; 5000]).await;
        stream.write_all(b"later").await.unwrap();
        let _until_the_end = stream.read_u8().await;
    });
    let raw = raw.await;
    let stage = stage_before(&raw).await;
    for version in Version::ALL {
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let mut pipe = tunnels.open("/").await;
        pipe.expect(&[b'e'; 5000]).await;
        pipe.expect(b"later").await;
    }
}

#[tokio::test]
async fn octets_before_the_101_wait_for_it() {
    let (reports, mut report) = mpsc::unbounded_channel();
    let raw = Raw::start(move |mut stream, _| {
        let reports = reports.clone();
        async move {
            let head = crate::backend::read_head(&mut stream).await.unwrap();
            // Nothing may come before the answer, however long it takes.
            let mut buffer = [0; 64];
            let early = tokio::time::timeout(std::time::Duration::from_millis(200), stream.read(&mut buffer)).await;
            reports.send(early.is_err()).unwrap();
            let accept = crate::backend::accept_for(&head);
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut got = [0; 5];
            stream.read_exact(&mut got).await.unwrap();
            stream.write_all(&got).await.unwrap();
            let _until_the_end = stream.read_u8().await;
        }
    });
    let raw = raw.await;
    let stage = stage_before(&raw).await;
    for clear in [false, true] {
        let mut wire = if clear { Wire::clear(&stage).await } else { Wire::tls(&stage).await };
        wire.send(format!(
            "GET / HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\nearly"
        ))
        .await;
        assert!(report.recv().await.unwrap(), "octets came before the backend had accepted");
        assert!(wire.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!(wire.exactly(5).await, b"early");
    }

    // On HTTP/2 the client may write before the response, too.
    let tls = crate::client::tls(&stage, HOST, "h2").await.unwrap();
    let (opener, mut connection) = h2::client::handshake(tls).await.unwrap();
    let mut settled = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    settled.ping(h2::Ping::opaque()).await.unwrap();
    let mut opener = opener.ready().await.unwrap();
    let mut asked = http::Request::builder().method("CONNECT").uri(format!("https://{HOST}/"));
    asked = asked.header("sec-websocket-version", "13").extension(h2::ext::Protocol::from_static("websocket"));
    let (response, mut send) = opener.send_request(asked.body(()).unwrap(), false).unwrap();
    send.send_data("early".into(), false).unwrap();
    assert!(report.recv().await.unwrap(), "octets came before the backend had accepted");
    let mut recv = within("the answer", response).await.unwrap().into_body();
    assert_eq!(within("the echo", recv.data()).await.unwrap().unwrap(), "early");
}

#[tokio::test]
async fn megabytes_pass_both_ways_at_once() {
    const TOTAL: usize = 4_000_000;
    let raw = Raw::start(|mut stream, _| async move {
        switch(&mut stream, "", b"").await;
        let (mut read, mut write) = stream.split();
        let _until_the_end = tokio::io::copy(&mut read, &mut write).await;
    });
    let raw = raw.await;
    let stage = stage_before(&raw).await;
    let content: Vec<u8> = (0..TOTAL).map(|at| (at * 31 + at / 251) as u8).collect();
    for version in Version::ALL {
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let pipe = tunnels.open("/").await;
        let (mut read, mut write) = tokio::io::split(pipe);
        let sending = async {
            write.write_all(&content).await.unwrap();
            write.flush().await.unwrap();
        };
        let mut got = vec![0; TOTAL];
        let receiving = async { read.read_exact(&mut got).await.unwrap() };
        within("megabytes", async { tokio::join!(sending, receiving) }).await;
        assert!(got == content, "{version:?}: octets were lost or moved");
    }
}
