//! Sessions without one behind them: their streams are TCP connections.

use std::net::SocketAddr;

use headrace_http3::StreamError;
use headrace_http3::webtransport::{RecvStream, SendStream, Session, codes};
use headrace_table::wire::BackendProtocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Client, pattern, read_all};
use crate::patience::within;
use crate::port::free_port;
use crate::stage::{Stage, octets, streams};

/// A session whose streams go to a listener.
async fn stage() -> (Stage, TcpListener, Client, Session) {
    let (listener, address) = crate::listen().await;
    let (stage, client, session) = leading_to(&[address]).await;
    (stage, listener, client, session)
}

async fn leading_to(endpoints: &[SocketAddr]) -> (Stage, Client, Session) {
    let backends = vec![octets("tcp", BackendProtocol::Stream, endpoints)];
    let stage = Stage::serving(vec![streams("/", Some("tcp"), None, |_| {})], backends).await;
    let mut client = Client::connect(&stage).await;
    let session = client.session("/").await;
    (stage, client, session)
}

/// A stream that has carried an octet, and its TCP connection.
async fn stream(session: &Session, listener: &TcpListener) -> (SendStream, RecvStream, TcpStream) {
    let (mut send, recv) = within("a stream", session.open_bi()).await.unwrap();
    send.write_all(b"x").await.unwrap();
    let (mut tcp, _) = within("a connection", listener.accept()).await.unwrap();
    assert_eq!(within("an octet", tcp.read_u8()).await.unwrap(), b'x');
    (send, recv, tcp)
}

fn code(error: &StreamError) -> Option<u32> {
    match error {
        StreamError::Reset(code) | StreamError::Stopped(code) => codes::to_application(*code),
        _ => None,
    }
}

#[tokio::test]
async fn a_hundred_streams_are_a_hundred_connections() {
    let (stage, listener, _client, session) = stage().await;
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = tcp.split();
                tokio::io::copy(&mut from, &mut to).await.unwrap();
            });
        }
    });
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let session = session.clone();
            tokio::spawn(async move {
                let (mut send, mut recv) = session.open_bi().await.unwrap();
                let content = pattern(n * 1000);
                let sending = async {
                    send.write_all(&content).await.unwrap();
                    send.finish().unwrap();
                };
                let ((), got) = tokio::join!(sending, read_all(&mut recv));
                assert!(got.unwrap() == content, "{n}");
            })
        })
        .collect();
    for task in tasks {
        within("an echo", task).await.unwrap();
    }
    assert_eq!(stage.metric(r#"sessions_active{mode="streams"}"#).await, 1.0);
    assert_eq!(stage.metric(r#"session_streams_total{initiator="client",kind="bidirectional"}"#).await, 100.0);
    assert_eq!(stage.metric(r#"upstream_connects_total{result="ok"}"#).await, 100.0);
}

#[tokio::test]
async fn half_close_both_ways() {
    let (_stage, listener, _client, session) = stage().await;
    let (mut send, mut recv, mut tcp) = stream(&session, &listener).await;
    send.finish().unwrap();
    assert_eq!(within("FIN", tcp.read(&mut [0; 9])).await.unwrap(), 0);
    tcp.write_all(b"answer").await.unwrap();
    let mut got = [0; 9];
    assert_eq!(within("octets", recv.read_data(&mut got)).await.unwrap(), 6);
    drop(tcp);
    assert_eq!(within("FIN", recv.read_data(&mut got)).await.unwrap(), 0);

    let (mut send, mut recv, mut tcp) = stream(&session, &listener).await;
    tcp.shutdown().await.unwrap();
    assert_eq!(within("FIN", recv.read_data(&mut got)).await.unwrap(), 0);
    send.write_all(b"more").await.unwrap();
    send.finish().unwrap();
    let mut rest = Vec::new();
    within("the rest", tcp.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"more");
}

fn is_reset(read: &std::io::Result<usize>) -> bool {
    matches!(read, Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn resets_both_ways() {
    let (_stage, listener, _client, session) = stage().await;
    // RESET_STREAM, and STOP_SENDING: both are RST, and end the stream's other direction.
    let (mut send, mut recv, mut tcp) = stream(&session, &listener).await;
    send.reset_application(7);
    let read = within("RST", tcp.read(&mut [0; 9])).await;
    assert!(is_reset(&read), "{read:?}");
    let error = within("the end", recv.read_data(&mut [0; 9])).await.unwrap_err();
    assert_eq!(code(&error), Some(1));
    let (send, mut recv, mut tcp) = stream(&session, &listener).await;
    recv.stop_application(7);
    let read = within("RST", tcp.read(&mut [0; 9])).await;
    assert!(is_reset(&read), "{read:?}");
    assert_eq!(within("the end", send.stopped()).await.unwrap().and_then(codes::to_application), Some(1));
    // RST.
    let (send, mut recv, tcp) = stream(&session, &listener).await;
    tcp.set_zero_linger().unwrap();
    drop(tcp);
    let error = within("the end", recv.read_data(&mut [0; 9])).await.unwrap_err();
    assert_eq!(code(&error), Some(1));
    assert_eq!(within("the end", send.stopped()).await.unwrap().and_then(codes::to_application), Some(1));
    // The session's end cuts what is open.
    let (_send, _recv, mut tcp) = stream(&session, &listener).await;
    session.close(0, "");
    let read = within("RST", tcp.read(&mut [0; 9])).await;
    assert!(is_reset(&read), "{read:?}");
}

#[tokio::test]
async fn a_unidirectional_stream_is_half_a_connection() {
    let (_stage, listener, _client, session) = stage().await;
    let mut send = within("a stream", session.open_uni()).await.unwrap();
    send.write_all(b"one way").await.unwrap();
    let (mut tcp, _) = within("a connection", listener.accept()).await.unwrap();
    // What the server says goes nowhere, and is in nobody's way.
    within("octets", tcp.write_all(&vec![0; 4 << 20])).await.unwrap();
    send.finish().unwrap();
    let mut got = Vec::new();
    within("the end", tcp.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, b"one way");

    let mut send = within("a stream", session.open_uni()).await.unwrap();
    send.write_all(b"x").await.unwrap();
    let (mut tcp, _) = within("a connection", listener.accept()).await.unwrap();
    assert_eq!(tcp.read_u8().await.unwrap(), b'x');
    send.reset_application(3);
    let read = within("RST", tcp.read(&mut [0; 9])).await;
    assert!(is_reset(&read), "{read:?}");
}

#[tokio::test]
async fn a_stream_without_a_backend_is_reset() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    for (endpoints, expected, reason) in [(&[nobody][..], 502, "backend_unreachable"), (&[], 503, "no_backend")] {
        let (stage, _client, session) = leading_to(endpoints).await;
        let (mut send, mut recv) = within("a stream", session.open_bi()).await.unwrap();
        let _refused = send.write_all(b"x").await;
        let error = within("a reset", recv.read_data(&mut [0; 9])).await.unwrap_err();
        assert_eq!(code(&error), Some(expected));
        let mut uni = within("a stream", session.open_uni()).await.unwrap();
        let _refused = uni.write_all(b"x").await;
        assert_eq!(within("a stop", uni.stopped()).await.unwrap().and_then(codes::to_application), Some(expected));
        let series = format!(r#"session_streams_refused_total{{reason="{reason}"}}"#);
        assert_eq!(stage.metric(&series).await, 2.0);
        assert!(session.ended().is_none());
    }
}

/// A server that does not read slows the stream's sender, and nothing is kept for it but what the kernel keeps.
#[tokio::test]
async fn a_server_that_does_not_read() {
    let (_stage, listener, _client, session) = stage().await;
    let (mut send, _recv, mut tcp) = stream(&session, &listener).await;
    let octets = vec![7; 64 << 10];
    let mut sent = 1;
    while let Ok(taken) = tokio::time::timeout(std::time::Duration::from_millis(500), send.write_data(&octets)).await {
        sent += taken.unwrap();
        assert!(sent < 32 << 20, "it never stops");
    }
    let (mut other, mut other_recv, mut other_tcp) = stream(&session, &listener).await;
    other.write_all(b"beside").await.unwrap();
    let mut got = [0; 6];
    within("octets", other_tcp.read_exact(&mut got)).await.unwrap();
    other_tcp.write_all(&got).await.unwrap();
    assert_eq!(within("octets", other_recv.read_data(&mut got)).await.unwrap(), 6);
    send.finish().unwrap();
    let mut rest = Vec::new();
    within("everything", tcp.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest.len() + 1, sent);
}
