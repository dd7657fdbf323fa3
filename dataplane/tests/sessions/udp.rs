//! Sessions without one behind them: their datagrams are a UDP flow.

use std::net::{Ipv4Addr, SocketAddr};

use headrace_table::wire::BackendProtocol;
use tokio::net::UdpSocket;

use crate::client::Client;
use crate::patience::within;
use crate::stage::{Stage, octets, streams};

async fn server() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn stage(endpoints: &[SocketAddr]) -> Stage {
    let backends = vec![octets("dns/udp", BackendProtocol::Datagram, endpoints)];
    Stage::serving(vec![streams("/", None, Some("dns/udp"), |_| {})], backends).await
}

#[tokio::test]
async fn every_session_has_a_flow_of_its_own() {
    let (server, address) = server().await;
    let stage = stage(&[address]).await;
    let mut client = Client::connect(&stage).await;
    let sessions = [client.session("/").await, client.session("/").await];
    let mut flows = Vec::new();
    for (at, session) in sessions.iter().enumerate() {
        let mut flow = None;
        for n in 0..5 {
            let question = format!("{at} asks {n}");
            session.send_datagram(question.as_bytes()).unwrap();
            let mut octets = [0; 99];
            let (size, from) = within("a question", server.recv_from(&mut octets)).await.unwrap();
            assert_eq!(&octets[..size], question.as_bytes());
            assert_eq!(*flow.get_or_insert(from), from, "a flow stays one");
            server.send_to(b"answer", from).await.unwrap();
            assert_eq!(within("an answer", session.recv_datagram()).await.unwrap(), "answer");
        }
        flows.push(flow.unwrap());
    }
    assert_ne!(flows[0], flows[1]);
    assert_eq!(stage.metric(r#"session_datagrams_total{direction="downstream_sent"}"#).await, 10.0);
    // What no path of the client's takes is dropped.
    server.send_to(&[7; 5000], flows[0]).await.unwrap();
    stage.until(r#"session_datagrams_dropped_total{reason="too_large"}"#, 1.0).await;
    // Somebody else's datagrams are not the session's.
    let (stranger, _) = self::server().await;
    stranger.send_to(b"hello", flows[0]).await.unwrap();
    server.send_to(b"mine", flows[0]).await.unwrap();
    assert_eq!(within("a datagram", sessions[0].recv_datagram()).await.unwrap(), "mine");
    // The flow is closed with its session: nobody is there any more.
    sessions[0].close(0, "");
    stage.until(r#"sessions_active{mode="streams"}"#, 1.0).await;
    let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    crate::patience::eventually("a closed port", async || {
        probe.connect(flows[0]).await.unwrap();
        let _refused = probe.send(b"x").await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        probe.send(b"x").await.is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_a_backend_datagrams_are_dropped_and_streams_refused() {
    let stage = stage(&[]).await;
    let mut client = Client::connect(&stage).await;
    let session = client.session("/").await;
    for _ in 0..3 {
        session.send_datagram(b"x").unwrap();
    }
    stage.until(r#"session_datagrams_dropped_total{reason="no_backend"}"#, 3.0).await;
    let (mut send, mut recv) = within("a stream", session.open_bi()).await.unwrap();
    let _refused = send.write_all(b"x").await;
    within("a reset", recv.read_data(&mut [0; 9])).await.unwrap_err();
    assert_eq!(stage.metric(r#"session_streams_refused_total{reason="no_backend"}"#).await, 1.0);
    assert!(session.ended().is_none());
}
