//! One connection that carries plain requests, WebSockets and three sessions, of which one is killed.

use headrace_http3::webtransport::{Ended, Session};
use headrace_http3::{Code, Protocol, Tunnel};
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::backend::{Backend, echo};
use crate::client::{Client, pattern, read_all, request};
use crate::patience::within;
use crate::raw::{Raw, read_head, switch};
use crate::relay::pair;
use crate::stage::{Stage, http3, session};
use crate::table::{backend, forward};

/// Answers GET with `hello`, and WebSockets with what they send.
async fn origin() -> Raw {
    Raw::start(|mut stream, _| async move {
        let mut first = [0; 4];
        stream.peek(&mut first).await.unwrap();
        let mut head = [0; 9];
        stream.peek(&mut head).await.unwrap();
        if head.starts_with(b"GET /ws") {
            switch(&mut stream, "", b"").await;
            let (mut from, mut to) = stream.split();
            let _ended = tokio::io::copy(&mut from, &mut to).await;
            return;
        }
        while read_head(&mut stream).await.is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
        }
    })
    .await
}

async fn get(client: &mut Client) {
    let (mut send, mut recv) = client.requests.send_request(request("/plain", &[])).await.unwrap();
    send.finish().unwrap();
    assert_eq!(within("an answer", recv.response()).await.unwrap().status(), 200);
    let mut octets = [0; 9];
    assert_eq!(within("content", recv.read_data(&mut octets)).await.unwrap(), 5);
}

async fn websocket(client: &mut Client) -> Tunnel {
    let mut asked = request("/ws", &[("sec-websocket-version", "13")]);
    *asked.method_mut() = Method::CONNECT;
    asked.extensions_mut().insert(Protocol::WEBSOCKET);
    let (send, mut recv) = client.requests.send_request(asked).await.unwrap();
    assert_eq!(within("an answer", recv.response()).await.unwrap().status(), 200);
    Tunnel::new(send, recv)
}

async fn echoes(tunnel: &mut Tunnel, octets: &[u8]) {
    tunnel.write_all(octets).await.unwrap();
    let mut got = vec![0; octets.len()];
    within("an echo", tunnel.read_exact(&mut got)).await.unwrap();
    assert_eq!(got, octets);
}

async fn stream_echoes(session: &Session, content: &[u8]) {
    let (mut send, mut recv) = within("a stream", session.open_bi()).await.unwrap();
    let sending = async {
        send.write_all(content).await.unwrap();
        send.finish().unwrap();
    };
    let ((), got) = tokio::join!(sending, read_all(&mut recv));
    assert!(got.unwrap() == content);
}

#[tokio::test]
async fn one_session_is_killed_and_the_rest_do_not_notice() {
    let (origin, mut behind) = (origin().await, Backend::start());
    let rules = vec![forward("/", "http"), session("/session", "wt")];
    let backends = vec![backend("http", &[origin.address]), http3("wt", &[behind.address], &behind.authority)];
    let stage = Stage::serving(rules, backends).await;
    for kill in ["reset by the client", "reset by the backend", "closed by the backend"] {
        let mut client = Client::connect(&stage).await;
        let (mut one, mut two) = (websocket(&mut client).await, websocket(&mut client).await);
        let mut sessions = Vec::new();
        for _ in 0..3 {
            let (session, behind) = pair(&mut client, &mut behind, "/session").await;
            echo(behind.clone());
            sessions.push((session, behind));
        }
        // A stream of each is open over the end of one of them.
        let mut open = Vec::new();
        for (session, _) in &sessions {
            let (mut send, mut recv) = session.open_bi().await.unwrap();
            send.write_all(b"before").await.unwrap();
            let mut got = [0; 9];
            assert_eq!(within("an echo", recv.read_data(&mut got)).await.unwrap(), 6, "{kill}");
            open.push((send, recv));
        }
        let (killed, killed_behind) = sessions.remove(1);
        drop(open.remove(1));
        match kill {
            "reset by the client" => killed.reset(Code::H3_REQUEST_CANCELLED),
            "reset by the backend" => killed_behind.reset(Code::H3_INTERNAL_ERROR),
            _ => killed_behind.close(9, "enough"),
        }
        within("its end", killed.closed()).await;
        let ended = within("its end", killed_behind.closed()).await;
        assert!(!matches!(ended, Ended::Connection(_)), "{kill}: {ended:?}");
        for (send, recv) in &mut open {
            send.write_all(b"after").await.unwrap();
            let mut got = [0; 9];
            assert_eq!(within("an echo", recv.read_data(&mut got)).await.unwrap(), 5, "{kill}");
        }
        for (session, _) in &sessions {
            stream_echoes(session, &pattern(300_000)).await;
            session.send_datagram(b"datagram").unwrap();
            assert_eq!(within("a datagram", session.recv_datagram()).await.unwrap(), "datagram", "{kill}");
        }
        for tunnel in [&mut one, &mut two] {
            echoes(tunnel, &pattern(50_000)).await;
        }
        get(&mut client).await;
        assert!(client.quic.close_reason().is_none(), "{kill}");
    }
    assert_eq!(behind.connections(), 1, "one connection to the backend carried them all");
}
