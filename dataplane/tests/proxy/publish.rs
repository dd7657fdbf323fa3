//! A new table under open connections: routes, listeners and certificates change, tunnels stay.

use std::net::Ipv4Addr;

use futures::{SinkExt as _, StreamExt as _};
use headrace_dataplane::{Retry, Transport};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::backend::{EchoServer, Origin};
use crate::client::{Connection, Pipe, Tunnels, Version, get, quic, tls};
use crate::patience::{eventually, within};
use crate::stage::certificates::Credential;
use crate::stage::table::{backend, forward, http, https, route};
use crate::stage::{HOST, HTTP, HTTPS, Options, Stage, free_port};

/// Asks the echo behind a tunnel for its name.
async fn name(socket: &mut WebSocketStream<Pipe>) -> String {
    within("a name", async {
        socket.send(Message::text("name")).await.unwrap();
        socket.next().await.unwrap().unwrap().into_text().unwrap().to_string()
    })
    .await
}

#[tokio::test]
async fn a_route_moves_while_its_tunnels_stay() {
    let (red, blue) = (EchoServer::start("red").await, EchoServer::start("blue").await);
    let (one, two) = (Origin::http1("one").await, Origin::http1("two").await);
    let stage = Stage::start(Options { workers: 2, ..Options::default() });
    let rules = || vec![forward("/ws", "echo"), forward("/app", "app")];
    stage.serve(rules(), vec![backend("app", &[one.address]), backend("echo", &[red.address])]).await;
    let mut before = Vec::new();
    for version in Version::ALL {
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let socket = tunnels.open("/ws").await.websocket().await;
        before.push((version, tunnels, socket, Connection::open(&stage, version).await));
    }
    for (version, _, socket, client) in &mut before {
        assert_eq!(name(socket).await, "red", "{version:?}");
        assert_eq!(client.fetch(get("/app")).await.unwrap().header("x-origin"), Some("one"), "{version:?}");
    }
    stage.serve(rules(), vec![backend("app", &[two.address]), backend("echo", &[blue.address])]).await;
    for (version, tunnels, socket, client) in &mut before {
        assert_eq!(name(socket).await, "red", "{version:?}: an open tunnel stays where it is");
        // On the same connection what is new goes to the new place.
        assert_eq!(client.fetch(get("/app")).await.unwrap().header("x-origin"), Some("two"), "{version:?}");
        if *version != Version::Http1 {
            assert_eq!(name(&mut tunnels.open("/ws").await.websocket().await).await, "blue", "{version:?}");
        }
    }
    // Nor does a table without the route end it.
    stage.serve(Vec::new(), Vec::new()).await;
    for (version, _, socket, client) in &mut before {
        assert_eq!(name(socket).await, "red", "{version:?}");
        assert_eq!(client.fetch(get("/app")).await.unwrap().status, 404, "{version:?}");
    }
    assert_eq!(stage.metric("headrace_dataplane_table_version").await, 3.0);
    assert_eq!(stage.plane().generation(), 3);
}

#[tokio::test]
async fn listeners_come_and_go() {
    let echo = EchoServer::start("one").await;
    let stage = Stage::start(Options { workers: 2, ..Options::default() });
    let backends = || vec![backend("echo", &[echo.address])];
    let with = || stage.table(vec![forward("/", "echo")], backends());
    let without = || {
        let mut table = with();
        table.listeners.retain(|listener| listener.id == HTTP);
        table.routes[0].attachments.retain(|attachment| attachment.listener == HTTP);
        table
    };
    stage.publish(without()).await;
    assert!(TcpStream::connect(stage.https_address()).await.is_err());
    for round in 0..3 {
        stage.publish(with()).await;
        let mut open = Vec::new();
        for version in Version::ALL {
            let mut tunnels = Tunnels::connect(&stage, version).await;
            let socket = tunnels.open("/").await.websocket().await;
            open.push((version, tunnels, socket));
        }
        stage.publish(without()).await;
        // New connections are refused, open ones go on.
        // The socket closes as soon as the worker's task that accepts has seen its end.
        eventually("connections are refused", async || {
            TcpStream::connect(stage.https_address()).await.is_err().then_some(())
        })
        .await;
        assert!(quic::Client::is_refused(stage.https_address(), HOST).await, "round {round}");
        for (version, _, socket) in &mut open {
            assert_eq!(name(socket).await, "one", "{version:?}, round {round}");
        }
        if round == 1 {
            // The listener returns while tunnels of its former life are open.
            stage.publish(with()).await;
            for version in Version::ALL {
                let mut tunnels = Tunnels::connect(&stage, version).await;
                assert_eq!(name(&mut tunnels.open("/").await.websocket().await).await, "one", "{version:?}");
            }
            for (version, _, socket) in &mut open {
                assert_eq!(name(socket).await, "one", "{version:?}");
            }
        }
    }
}

#[tokio::test]
async fn certificates_change_for_new_handshakes_only() {
    let echo = EchoServer::start("one").await;
    let stage = Stage::start(Options { workers: 2, ..Options::default() });
    let certificate = |credential: &Credential| {
        let mut table = stage.table(vec![forward("/", "echo")], vec![backend("echo", &[echo.address])]);
        table.certificates = vec![credential.wire()];
        table.listeners.iter_mut().filter(|listener| listener.id == HTTPS).for_each(|listener| {
            listener.certificates = vec![credential.id.clone()];
        });
        table
    };
    let shown = async || {
        let tcp = tls(&stage, HOST, "h2").await.unwrap();
        let tcp = tcp.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        let quic = quic::Client::connect(&stage, HOST).await.certificate();
        assert_eq!(tcp, quic, "TCP and QUIC show the same");
        tcp
    };
    let first = Credential::new("test/cert", &[HOST]);
    let second = Credential::new("test/cert", &[HOST]);
    stage.publish(certificate(&first)).await;
    assert_eq!(shown().await, first.der.as_ref());
    let mut open = Vec::new();
    for version in Version::ALL {
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let socket = tunnels.open("/").await.websocket().await;
        open.push((version, tunnels, socket));
    }
    stage.publish(certificate(&second)).await;
    assert_eq!(shown().await, second.der.as_ref());
    for (version, tunnels, socket) in &mut open {
        assert_eq!(name(socket).await, "one", "{version:?}");
        if *version != Version::Http1 {
            assert_eq!(name(&mut tunnels.open("/").await.websocket().await).await, "one", "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_broken_certificate_is_told_and_the_rest_serves() {
    let origin = Origin::http1("one").await;
    let stage = Stage::start(Options::default());
    let mut table = stage.table(vec![forward("/", "app")], vec![backend("app", &[origin.address])]);
    let other = Credential::new("test/other", &["other.example.com"]);
    let mut broken = other.wire();
    broken.key = Credential::new("x", &["x"]).wire().key;
    table.certificates.push(broken);
    let mut listener = https("test/other/https", stage.https, "test/other");
    listener.hostname = Some("other.example.com".to_owned());
    table.listeners.push(listener);
    let published = stage.publish(table).await;
    let [failure] = &published.certificates[..] else { panic!("{published:?}") };
    assert_eq!(failure.id, "test/other");
    assert!(tls(&stage, "other.example.com", "h2").await.is_err());
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        assert_eq!(client.fetch(get("/")).await.unwrap().status, 200, "{version:?}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_and_the_rest_serves() {
    let origin = Origin::http1("one").await;
    let stage = Stage::start(Options { workers: 2, ..Options::default() });
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
    let port = taken.local_addr().unwrap().port();
    let table = || {
        let mut table = stage.table(vec![forward("/", "app")], vec![backend("app", &[origin.address])]);
        table.listeners.push(http("test/taken/http", port));
        let rules = vec![forward("/", "app")];
        table.routes.push(route("HTTPRoute/test/taken", &["test/taken/http"], rules));
        table
    };
    let published = stage.publish(table()).await;
    let [failure] = &published.unbound[..] else { panic!("told once, not once per worker: {published:?}") };
    assert_eq!((failure.address, failure.transport), (taken.local_addr().unwrap(), Transport::Tcp));
    assert_eq!(failure.error.kind(), std::io::ErrorKind::AddrInUse);
    let listeners = |state: &str| format!(r#"headrace_dataplane_listeners{{state="{state}",transport="tcp"}}"#);
    assert_eq!(stage.metric(&listeners("failed")).await, 1.0);
    assert_eq!(stage.metric(&listeners("serving")).await, 2.0);
    assert_eq!(stage.admin("/readyz").await.0, 200);
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        assert_eq!(client.fetch(get("/")).await.unwrap().status, 200, "{version:?}");
    }
    drop(taken);
    assert!(stage.publish(table()).await.unbound.is_empty());
    assert_eq!(stage.metric(&listeners("failed")).await, 0.0);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok());
}

#[tokio::test]
async fn sockets_of_another_data_plane_are_not_shared() {
    let first = Stage::serving(Vec::new(), Vec::new()).await;
    let second = Stage::start(Options { workers: 2, ..Options::default() });
    let mut table = second.table(Vec::new(), Vec::new());
    for listener in &mut table.listeners {
        listener.port = if listener.id == HTTPS { first.https } else { first.http };
    }
    let published = second.publish(table).await;
    let mut unbound: Vec<_> =
        published.unbound.iter().map(|failure| (failure.transport == Transport::Quic, failure.address)).collect();
    unbound.sort();
    let mut both = [first.http_address(), first.https_address()];
    both.sort();
    assert_eq!(unbound, [(false, both[0]), (false, both[1]), (true, first.https_address())]);
    for failure in &published.unbound {
        assert_eq!(failure.error.kind(), std::io::ErrorKind::AddrInUse);
    }
}

#[tokio::test]
async fn every_worker_serves() {
    let origin = Origin::http1("one").await;
    let stage = Stage::start(Options { workers: 2, ..Options::default() });
    stage.serve(vec![forward("/", "app")], vec![backend("app", &[origin.address])]).await;
    // The kernel spreads connections by a hash of their addresses: forty on one side would be one in 2^39.
    for version in Version::ALL {
        for _ in 0..40 {
            let mut client = Connection::open(&stage, version).await;
            assert_eq!(client.fetch(get("/")).await.unwrap().status, 200, "{version:?}");
        }
    }
    // Each keeps a connection of its own.
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn retry_proves_addresses() {
    let origin = Origin::http1("one").await;
    for (retry, datagrams) in [(Retry::Always, 1), (Retry::Never, 0)] {
        let stage = Stage::start(Options { retry, ..Options::default() });
        stage.serve(vec![forward("/", "app")], vec![backend("app", &[origin.address])]).await;
        let mut client = Connection::open(&stage, Version::Http3).await;
        assert_eq!(client.fetch(get("/")).await.unwrap().status, 200, "{retry:?}");
        assert_eq!(first_answer_is_retry(&stage).await, datagrams == 1, "{retry:?}");
    }
}

/// Whether the first datagram that a new client gets is a Retry (RFC 9000 section 17.2.5).
async fn first_answer_is_retry(stage: &Stage) -> bool {
    // Between a quinn client and the data plane, datagrams pass through here.
    let middle = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (front, server) = (middle.local_addr().unwrap(), stage.https_address());
    let watch = async {
        let mut buffer = vec![0; 65_536];
        let mut client = None;
        loop {
            let (count, from) = middle.recv_from(&mut buffer).await.unwrap();
            if from == server {
                // A long header of type 3, in QUIC version 1.
                return buffer[0] & 0xb0 == 0xb0 && buffer[1..5] == [0, 0, 0, 1];
            }
            client = client.or(Some(from));
            middle.send_to(&buffer[..count], server).await.unwrap();
        }
    };
    tokio::select! {
        is_retry = within("a datagram from the server", watch) => is_retry,
        _ = quic::Client::connect_to(front, HOST) => unreachable!("nothing is passed back"),
    }
}

#[tokio::test]
async fn nothing_is_served_before_the_first_table() {
    let stage = Stage::start(Options::default());
    assert_eq!(stage.admin("/healthz").await.0, 200);
    let (status, why) = stage.admin("/readyz").await;
    assert_eq!((status, &*why), (503, "starting: no routing table yet\n"));
    assert!(TcpStream::connect(stage.https_address()).await.is_err());
    stage.plane().rejected("listener x has no y");
    let (status, why) = stage.admin("/readyz").await;
    assert_eq!((status, &*why), (503, "starting: listener x has no y\n"));
    assert_eq!(stage.metric("headrace_dataplane_table_rejected_total").await, 1.0);
    stage.serve(Vec::new(), Vec::new()).await;
    eventually("ready", async || (stage.admin("/readyz").await.0 == 200).then_some(())).await;
    stage.plane().rejected("another");
    assert_eq!(stage.admin("/readyz").await.0, 200, "the last good table serves");
}
