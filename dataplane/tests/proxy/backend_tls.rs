//! TLS towards backends: what is spoken over it, on every client's version, and what happens where it is not spoken.

mod certificates;
mod change;
mod tunnel;

use std::net::SocketAddr;
use std::sync::Arc;

use futures::{SinkExt as _, StreamExt as _};
use headrace_table::wire::{Backend, BackendTls, Trust};
use http::{Method, Version as HttpVersion};
use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::backend::authority::Authority;
use crate::backend::{EchoServer, Origin, Raw, TlsFront, read_head};
use crate::client::{Connection, Tunnels, Version, get, request};
use crate::patience::{eventually, within};
use crate::stage::table::{backend, forward, h2c};
use crate::stage::{HOST, Stage};

/// The server name that policies ask for, which is not the host that clients ask for.
const NAME: &str = "api.b.test";

/// The backend, over TLS, whose certificate must be for [`NAME`] and issued under these roots.
fn secured(backend: Backend, roots: &str) -> Backend {
    let trust = Trust::Roots(roots.to_owned());
    let tls = BackendTls { server_name: NAME.to_owned(), trust, subject_alt_names: Vec::new() };
    Backend { tls: Some(tls), ..backend }
}

/// A server in front of `to`, with a certificate for [`NAME`].
async fn front(authority: &Authority, alpn: &[&str], to: SocketAddr) -> TlsFront {
    TlsFront::start(authority.issue(&[NAME]).server(&[&TLS13, &TLS12], alpn), to).await
}

fn connects(result: &str) -> String {
    format!(r#"headrace_dataplane_upstream_connects_total{{result="{result}"}}"#)
}

async fn status(stage: &Stage, path: &str) -> u16 {
    Connection::open(stage, Version::Http2).await.fetch(get(path)).await.unwrap().status.as_u16()
}

/// The cause that the access log gives for a path's last line.
async fn cause(stage: &Stage, path: &str) -> String {
    let line = async || stage.log_lines().into_iter().rfind(|line| line["path"] == path);
    eventually("a line in the access log", line).await["cause"].as_str().unwrap_or("").to_owned()
}

#[tokio::test]
async fn requests_go_over_tls_in_http_1_and_in_http_2() {
    let authority = Authority::new("ca");
    let (mut h1, mut h2) = (Origin::http1("one").await, Origin::h2c("two").await);
    let mut front1 = front(&authority, &["h2", "http/1.1"], h1.address).await;
    let mut front2 = front(&authority, &["h2", "http/1.1"], h2.address).await;
    let backends = vec![
        secured(backend("one", &[front1.address]), &authority.pem),
        secured(h2c("two", &[front2.address]), &authority.pem),
    ];
    let stage = Stage::serving(vec![forward("/one", "one"), forward("/two", "two")], backends).await;
    let content = vec![7; 200_000];
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        for path in ["/one", "/two"] {
            for _ in 0..3 {
                let answer = client.fetch(request(Method::POST, path, &[], &content)).await.unwrap();
                assert_eq!(answer.status, 200, "{version:?} {path}: {}", answer.text());
            }
        }
        for _ in 0..3 {
            let seen = h1.seen().await;
            assert_eq!((seen.version, &*seen.target), (HttpVersion::HTTP_11, "/one"), "{version:?}");
            assert_eq!(seen.values("host"), [HOST], "the server name is for TLS alone");
            assert!(seen.body == content, "{version:?}");
            let seen = h2.seen().await;
            assert_eq!(seen.version, HttpVersion::HTTP_2, "{version:?}");
            assert_eq!(seen.target, format!("https://{HOST}/two"), "RFC 9113 section 8.3.1");
            assert!(seen.body == content, "{version:?}");
        }
    }
    for (front, alpn) in [(&mut front1, "http/1.1"), (&mut front2, "h2")] {
        let handshake = front.handshake().await;
        assert_eq!(handshake.server_name.as_deref(), Some(NAME));
        assert_eq!(handshake.alpn.as_deref(), Some(alpn), "only what is spoken is offered");
        assert_eq!(handshake.version, Some(ProtocolVersion::TLSv1_3));
        assert_eq!(front.more_handshakes(), 0, "connections are kept");
    }
    assert_eq!(stage.metric(&connects("ok")).await, 2.0);
}

#[tokio::test]
async fn large_answers_come_whole_over_tls() {
    let authority = Authority::new("ca");
    let origin = Origin::http1("one").await;
    let front = front(&authority, &[], origin.address).await;
    let backends = vec![secured(backend("app", &[front.address]), &authority.pem)];
    let stage = Stage::serving(vec![forward("/", "app")], backends).await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        let answer = client.fetch(get("/bytes/3000000")).await.unwrap();
        assert_eq!(answer.body.len(), 3_000_000, "{version:?}: also without ALPN");
        let answer = client.fetch(request(Method::GET, "/trailers", &[("te", "trailers")], b"")).await.unwrap();
        assert_eq!((answer.text(), answer.trailers.len()), ("content", 1), "{version:?}");
    }
}

#[tokio::test]
async fn websockets_go_over_tls() {
    let authority = Authority::new("ca");
    let mut echo = EchoServer::start("one").await;
    let mut front = front(&authority, &["h2", "http/1.1"], echo.address).await;
    let backends = vec![
        secured(backend("echo", &[front.address]), &authority.pem),
        secured(h2c("h2", &[front.address]), &authority.pem),
    ];
    let stage = Stage::serving(vec![forward("/echo", "echo"), forward("/h2", "h2")], backends).await;
    for version in Version::ALL {
        for path in ["/echo", "/h2"] {
            let mut tunnels = Tunnels::connect(&stage, version).await;
            let mut socket = tunnels.open(path).await.websocket().await;
            assert_eq!(front.handshake().await.alpn.as_deref(), Some("http/1.1"), "{version:?} {path}");
            assert_eq!(echo.handshake().await.headers()["host"], HOST);
            for message in [Message::text("hello"), Message::text(""), Message::binary(vec![7; 300_000])] {
                let exchange = async {
                    socket.send(message.clone()).await.unwrap();
                    socket.next().await.unwrap().unwrap()
                };
                assert_eq!(within("an echo", exchange).await, message, "{version:?} {path}");
            }
            let frame = CloseFrame { code: CloseCode::Library(4321), reason: "bye".into() };
            socket.close(Some(frame.clone())).await.unwrap();
            assert_eq!(echo.closed().await, Some(frame.clone()), "{version:?}");
            let answer = within("the close", socket.next()).await.unwrap().unwrap();
            assert_eq!(answer, Message::Close(Some(frame)), "{version:?}");
            assert!(within("the end", socket.next()).await.is_none(), "{version:?}");
            socket.get_mut().finish().await;
            let open = format!(r#"headrace_dataplane_tunnels_open{{version="{}"}}"#, version.label());
            eventually("the tunnel is counted down", async || (stage.metric(&open).await == 0.0).then_some(())).await;
        }
    }
    let lines = eventually("the access log", async || Some(stage.log_lines()).filter(|lines| lines.len() == 6)).await;
    assert!(lines.iter().all(|line| line.get("cause").is_none()), "they ended well: {lines:?}");
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken() {
    let authority = Authority::new("ca");
    let origin = Origin::http1("one").await;
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let server = authority.issue(&[NAME]).server(&[version], &["http/1.1"]);
        let mut front = TlsFront::start(server, origin.address).await;
        let backends = vec![secured(backend("app", &[front.address]), &authority.pem)];
        let stage = Stage::serving(vec![forward("/", "app")], backends).await;
        assert_eq!(status(&stage, "/").await, 200, "{expected:?}");
        assert_eq!(front.handshake().await.version, Some(expected));
    }
}

#[tokio::test]
async fn http_2_is_spoken_only_where_it_is_agreed_on() {
    let authority = Authority::new("ca");
    let mut origin = Origin::h2c("one").await;
    for alpn in [&["http/1.1"][..], &[]] {
        let front = front(&authority, alpn, origin.address).await;
        let backends = vec![secured(h2c("app", &[front.address]), &authority.pem)];
        let stage = Stage::serving(vec![forward("/", "app")], backends).await;
        assert_eq!(status(&stage, "/").await, 502, "{alpn:?}");
        assert_eq!(cause(&stage, "/").await, "backend_tls", "{alpn:?}");
        assert_eq!(stage.metric(&connects("tls")).await, 1.0, "{alpn:?}");
    }
    assert!(origin.saw_nothing_more());
}

#[tokio::test]
async fn a_backend_that_speaks_no_tls_is_not_spoken_to() {
    let roots = Authority::new("ca").pem;
    let mut clear = Origin::http1("clear").await;
    // One that hangs up, and one that never says anything.
    let closes = Raw::start(|_, _| async {}).await;
    let silent = Raw::start(|stream, _| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let names = ["clear", "closes", "silent"];
    let backends = [clear.address, closes.address, silent.address];
    let backends = names.iter().zip(backends).map(|(name, at)| secured(backend(name, &[at]), &roots)).collect();
    let rules = names.iter().map(|name| forward(&format!("/{name}"), name)).collect();
    let stage = Stage::serving(rules, backends).await;
    for version in Version::ALL {
        for path in ["/clear", "/closes"] {
            let mut client = Connection::open(&stage, version).await;
            let answer = client.fetch(get(path)).await.unwrap();
            assert_eq!(answer.status, 502, "{version:?} {path}");
            let mut tunnels = Tunnels::connect(&stage, version).await;
            let refused = tunnels.handshake(path, &[("sec-websocket-version", "13")]).await.refused();
            assert_eq!(refused.status(), 502, "{version:?} {path}");
            assert_eq!(cause(&stage, path).await, "backend_tls", "{version:?} {path}");
        }
    }
    assert_eq!(stage.metric(&connects("tls")).await, 12.0);
    let refused = r#"headrace_dataplane_tunnel_refused_total{reason="backend_tls"}"#;
    assert_eq!(stage.metric(refused).await, 6.0);
    assert_eq!(status(&stage, "/silent").await, 502);
    assert_eq!(cause(&stage, "/silent").await, "backend_tls");
    assert_eq!(stage.metric(&connects("timeout")).await, 1.0);
    assert!(clear.saw_nothing_more(), "nothing goes out in clear text");
}

#[tokio::test]
async fn a_backend_that_speaks_tls_unasked_is_told_as_what_it_is() {
    let authority = Authority::new("ca");
    let mut origin = Origin::http1("one").await;
    let mut front = front(&authority, &["http/1.1"], origin.address).await;
    let backends = vec![backend("app", &[front.address]), h2c("h2", &[front.address])];
    let stage = Stage::serving(vec![forward("/app", "app"), forward("/h2", "h2")], backends).await;
    for version in Version::ALL {
        for path in ["/app", "/h2"] {
            let mut client = Connection::open(&stage, version).await;
            assert_eq!(client.fetch(get(path)).await.unwrap().status, 502, "{version:?} {path}");
            assert_eq!(cause(&stage, path).await, "backend_protocol", "{version:?} {path}");
        }
    }
    assert_eq!(front.more_handshakes(), 0);
    assert!(origin.saw_nothing_more());
}

/// Many servers close TCP and say no close_notify.
#[tokio::test]
async fn a_kept_connection_that_closes_without_a_word_is_not_the_clients_loss() {
    let authority = Authority::new("ca");
    let acceptor = TlsAcceptor::from(Arc::new(authority.issue(&[NAME]).server(&[&TLS13, &TLS12], &[])));
    let raw = Raw::start(move |stream, number| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            // The first connection answers once, and closes as the next request arrives.
            for request in 0.. {
                if read_head(&mut stream).await.is_none() || (number == 1 && request == 1) {
                    return;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    })
    .await;
    let backends = vec![secured(backend("app", &[raw.address]), &authority.pem)];
    let stage = Stage::serving(vec![forward("/", "app")], backends).await;
    for _ in 0..3 {
        assert_eq!(status(&stage, "/").await, 200);
    }
    assert_eq!(raw.connections(), 2);
}
