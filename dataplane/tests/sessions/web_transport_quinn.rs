//! web-transport-quinn at either end: drafts 02 and 07, one session for a connection.

use std::net::SocketAddr;

use bytes::Bytes;
use headrace_http3::webtransport::{Draft, Ended};
use tokio::sync::mpsc;
use web_transport_quinn::{Request, Session, SessionError, WebTransportError, proto::ConnectRequest};

use crate::authority::Authority;
use crate::backend::{Backend, echo, endpoint};
use crate::client::{Client, HOST, pattern, quic, read_all};
use crate::patience::within;
use crate::relay::stage;
use crate::stage::{Stage, http3, session};

/// Its client at a data plane.
async fn client_of(stage: &Stage) -> Session {
    let url: url::Url = format!("https://{HOST}/").parse().unwrap();
    within("a session", Session::connect(quic(stage).await, ConnectRequest::new(url))).await.unwrap()
}

/// Its server, which hands every session to the test.
struct Server {
    address: SocketAddr,
    authority: Authority,
    sessions: mpsc::UnboundedReceiver<Session>,
}

impl Server {
    fn start() -> Self {
        let authority = Authority::new("wtq");
        let endpoint = endpoint(&authority, 256 << 10);
        let address = endpoint.local_addr().unwrap();
        let (found, sessions) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let found = found.clone();
                tokio::spawn(async move {
                    let session = Request::accept(incoming.await.unwrap()).await.unwrap().ok().await.unwrap();
                    let _nobody_waits = found.send(session);
                });
            }
        });
        Self { address, authority, sessions }
    }

    async fn session(&mut self) -> Session {
        within("a session", self.sessions.recv()).await.unwrap()
    }

    async fn stage(&self) -> Stage {
        Stage::serving(vec![session("/", "wt")], vec![http3("wt", &[self.address], &self.authority)]).await
    }
}

/// Sends everything back.
fn echo_theirs(session: &Session) {
    let (bidi, uni, datagrams) = (session.clone(), session.clone(), session.clone());
    tokio::spawn(async move {
        while let Ok((mut send, mut recv)) = bidi.accept_bi().await {
            tokio::spawn(async move {
                if let Ok(content) = recv.read_to_end(1 << 20).await {
                    send.write_all(&content).await.unwrap();
                    send.finish().unwrap();
                }
            });
        }
    });
    tokio::spawn(async move {
        while let Ok(mut recv) = uni.accept_uni().await {
            let content = recv.read_to_end(1 << 20).await.unwrap();
            let mut send = uni.open_uni().await.unwrap();
            send.write_all(&content).await.unwrap();
            send.finish().unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok(datagram) = datagrams.read_datagram().await {
            let _lost = datagrams.send_datagram(datagram);
        }
    });
}

/// What both ends are put through, whoever is behind.
async fn exercise(session: Session) {
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(within("a stream", session.open_bi()).await.unwrap());
    }
    let tasks: Vec<_> = streams
        .into_iter()
        .enumerate()
        .map(|(n, (mut send, mut recv))| {
            tokio::spawn(async move {
                let content = pattern(n * 500);
                let sending = async {
                    send.write_all(&content).await.unwrap();
                    send.finish().unwrap();
                };
                let ((), got) = tokio::join!(sending, recv.read_to_end(1 << 20));
                assert!(got.unwrap() == content);
            })
        })
        .collect();
    for task in tasks {
        within("an echo", task).await.unwrap();
    }
    for n in 0..10 {
        let mut send = session.open_uni().await.unwrap();
        send.write_all(&pattern(n * 100)).await.unwrap();
        send.finish().unwrap();
        let mut recv = within("a stream", session.accept_uni()).await.unwrap();
        assert!(recv.read_to_end(10_000).await.unwrap() == pattern(n * 100));
    }
    session.send_datagram(Bytes::from_static(b"datagram")).unwrap();
    assert_eq!(within("a datagram", session.read_datagram()).await.unwrap(), "datagram");
}

#[tokio::test]
async fn its_client_and_our_backend() {
    let (stage, mut backend) = stage().await;
    let client = client_of(&stage).await;
    echo(backend.session().await);
    exercise(client).await;
    assert_eq!(stage.metric(r#"sessions_opened_total{draft="draft07",mode="session"}"#).await, 1.0);
}

#[tokio::test]
async fn its_client_and_its_backend() {
    let mut server = Server::start();
    let stage = server.stage().await;
    for _ in 0..2 {
        let client = client_of(&stage).await;
        echo_theirs(&server.session().await);
        exercise(client).await;
    }
}

#[tokio::test]
async fn our_client_and_its_backend() {
    let mut server = Server::start();
    let stage = server.stage().await;
    let mut client = Client::connect(&stage).await;
    // Each has a connection of its own there, whose only one it is.
    for _ in 0..3 {
        let session = client.session("/").await;
        assert_eq!(session.draft(), Draft::Draft15);
        echo_theirs(&server.session().await);
        let (mut send, mut recv) = session.open_bi().await.unwrap();
        send.write_all(&pattern(100_000)).await.unwrap();
        send.finish().unwrap();
        assert!(read_all(&mut recv).await.unwrap() == pattern(100_000));
    }
}

async fn codes_pass(one: &Session, other: &Session) {
    let (mut send, mut recv) = one.open_bi().await.unwrap();
    send.write_all(b"x").await.unwrap();
    let (back, mut there) = within("a stream", other.accept_bi()).await.unwrap();
    there.read_exact(&mut [0]).await.unwrap();
    send.reset(77).unwrap();
    assert_eq!(within("a reset", there.received_reset()).await.unwrap(), Some(77));
    recv.stop(78).unwrap();
    assert_eq!(within("a stop", back.stopped()).await.unwrap(), Some(78));
    let mut send = one.open_uni().await.unwrap();
    send.write_all(b"x").await.unwrap();
    let mut there = within("a stream", other.accept_uni()).await.unwrap();
    there.read_exact(&mut [0]).await.unwrap();
    send.reset(0xffff_ffff).unwrap();
    assert_eq!(within("a reset", there.received_reset()).await.unwrap(), Some(0xffff_ffff));
}

#[tokio::test]
async fn its_codes_and_closes_from_end_to_end() {
    let mut server = Server::start();
    let stage = server.stage().await;
    for swap in [false, true] {
        let client = client_of(&stage).await;
        let behind = server.session().await;
        codes_pass(&client, &behind).await;
        codes_pass(&behind, &client).await;
        let (closing, told) = if swap { (&behind, &client) } else { (&client, &behind) };
        closing.close(7, b"done");
        let error = within("the end", told.closed()).await;
        assert!(
            matches!(&error, SessionError::WebTransportError(WebTransportError::Closed(7, reason)) if reason == "done"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn its_close_at_our_backend() {
    let (stage, mut backend): (Stage, Backend) = stage().await;
    let client = client_of(&stage).await;
    let behind = backend.session().await;
    let (mut send, _recv) = behind.open_bi().await.unwrap();
    send.write_all(b"x").await.unwrap();
    let (_back, mut there) = within("a stream", client.accept_bi()).await.unwrap();
    send.reset_application(79);
    assert_eq!(within("a reset", there.received_reset()).await.unwrap(), Some(79));
    client.close(9, "grüß Gott".as_bytes());
    let ended = within("the end", behind.closed()).await;
    assert!(matches!(&ended, Ended::ByPeer { code: 9, reason } if reason == "grüß Gott"), "{ended:?}");
}
