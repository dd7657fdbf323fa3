//! How sessions end, and what everybody who waits is told.

use headrace_http3::{
    Code, StreamError, client,
    webtransport::{self, Ended, Session},
};
use tokio::time::timeout;

use crate::{
    endpoints::PATIENCE,
    site::{Site, session},
};

fn site() -> Site {
    Site::new(webtransport::Config::default())
}

async fn closed(session: &Session) -> Ended {
    timeout(PATIENCE, session.closed()).await.unwrap()
}

#[tokio::test]
async fn a_close_has_its_code_and_reason() {
    let mut site = site();
    for (swap, code, reason) in
        [(false, 7, "done".to_owned()), (true, u32::MAX, "grüß Gott".to_owned()), (false, 0, "x".repeat(1024))]
    {
        let (client, server) = site.pair().await;
        let (closing, told) = if swap { (&server, &client) } else { (&client, &server) };
        closing.close(code, &reason);
        let ended = closed(told).await;
        assert!(matches!(&ended, Ended::ByPeer { code: c, reason: r } if *c == code && *r == reason), "{ended:?}");
        let ended = closed(closing).await;
        assert!(matches!(&ended, Ended::ByUs { code: c, reason: r } if *c == code && *r == reason), "{ended:?}");
        assert!(ended.is_close());
        // The first one counts.
        told.close(1, "too late");
        assert!(matches!(closed(told).await, Ended::ByPeer { .. }));
    }
    let (client, server) = site.pair().await;
    client.close(1, &"ü".repeat(1000));
    let Ended::ByPeer { reason, .. } = closed(&server).await else { panic!() };
    assert_eq!(reason, "ü".repeat(512));
}

#[tokio::test]
async fn everything_of_a_session_ends_with_it() {
    let mut site = site();
    let (client, server) = site.pair().await;
    let (mut send, mut recv) = client.open_bi().await.unwrap();
    send.write_all(b"x").await.unwrap();
    let (mut back, mut there) = timeout(PATIENCE, server.accept_bi()).await.unwrap().unwrap();
    assert_eq!(there.read_data(&mut [0; 9]).await.unwrap(), 1);
    // One that nobody took.
    let mut waiting = client.open_uni().await.unwrap();

    let stopped = back.stopped();
    let waits = {
        let (a, b, c, d) = (server.clone(), server.clone(), server.clone(), client.clone());
        tokio::spawn(async move {
            let mut nothing = [0; 9];
            let reads = tokio::join!(there.read_data(&mut nothing), a.accept_bi(), b.recv_datagram(), d.accept_uni());
            assert!(matches!(reads.0, Err(StreamError::SessionGone | StreamError::Reset(Code::WT_SESSION_GONE))));
            assert!(reads.1.is_err() && reads.2.is_err() && reads.3.is_err());
            drop(c);
        })
    };
    tokio::task::yield_now().await;
    client.close(3, "");
    timeout(PATIENCE, waits).await.unwrap().unwrap();
    // Whether the reset or the close is heard first, it is the session's end.
    match timeout(PATIENCE, stopped).await.unwrap() {
        Ok(Some(Code::WT_SESSION_GONE)) | Err(StreamError::SessionGone) => {}
        other => panic!("{other:?}"),
    }
    assert!(matches!(send.write_data(b"x").await, Err(StreamError::SessionGone)));
    assert!(matches!(recv.read_data(&mut [0; 9]).await, Err(StreamError::SessionGone)));
    assert!(matches!(waiting.write_data(b"x").await, Err(StreamError::SessionGone)));
    let late = timeout(PATIENCE, back.write_data(b"x")).await.unwrap();
    assert!(matches!(late, Err(StreamError::SessionGone | StreamError::Stopped(Code::WT_SESSION_GONE))), "{late:?}");
    assert!(client.open_bi().await.is_err() && client.send_datagram(b"x").is_err());
    assert!(server.open_uni().await.is_err());
}

#[tokio::test]
async fn a_session_that_is_dropped_is_closed() {
    let mut site = site();
    let (client, server) = site.pair().await;
    let clone = client.clone();
    drop(client);
    let (mut send, _recv) = clone.open_bi().await.unwrap();
    send.write_all(b"still here").await.unwrap();
    timeout(PATIENCE, server.accept_bi()).await.unwrap().unwrap();
    drop(clone);
    let ended = closed(&server).await;
    assert!(matches!(&ended, Ended::ByPeer { code: 0, reason } if reason.is_empty()), "{ended:?}");
    assert!(matches!(send.write_data(b"x").await, Err(StreamError::SessionGone)));
}

#[tokio::test]
async fn a_reset_is_no_close() {
    let mut site = site();
    let (client, server) = site.pair().await;
    client.reset(Code::H3_REQUEST_CANCELLED);
    let ended = closed(&server).await;
    assert!(matches!(ended, Ended::Reset(Code::H3_REQUEST_CANCELLED)), "{ended:?}");
    assert!(matches!(closed(&client).await, Ended::Aborted { code: Code::H3_REQUEST_CANCELLED, .. }));
}

#[tokio::test]
async fn drains() {
    let mut site = site();
    for swap in [false, true] {
        let (client, server) = site.pair().await;
        let (draining, told) = if swap { (&server, &client) } else { (&client, &server) };
        let drained = told.drained();
        draining.drain();
        timeout(PATIENCE, drained).await.unwrap();
        timeout(PATIENCE, told.drained()).await.unwrap();
        // It goes on.
        let _open = told.open_bi().await.unwrap();
        timeout(PATIENCE, draining.accept_bi()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_connection_takes_its_sessions_along() {
    let mut site = site();
    let (client, server) = site.pair().await;
    let (mut send, _recv) = client.open_bi().await.unwrap();
    client.quic().close(0x100_u32.into(), b"");
    for session in [&client, &server] {
        let ended = closed(session).await;
        assert!(matches!(ended, Ended::Connection(_)), "{ended:?}");
    }
    assert!(send.write_data(b"x").await.is_err());
    assert!(timeout(PATIENCE, client.accept_bi()).await.unwrap().is_err());
}

/// A client whose task is gone while QUIC goes on.
#[tokio::test]
async fn nobody_drives_the_connection() {
    let mut site = site();
    let (quic, _) = site.connect().await;
    let (mut connection, mut requests) = client::connect(quic.clone(), &site.config);
    let driving = tokio::spawn(async move { connection.drive().await });
    let client = session(&mut requests, "/mine").await;
    let server = site.mine().await;
    driving.abort();
    assert!(matches!(closed(&client).await, Ended::Connection(_)));
    assert!(!matches!(closed(&server).await, Ended::ByUs { .. }));
}

/// Sessions go on while the server goes away, and the client is told to end them.
#[tokio::test]
async fn going_away() {
    let site = site();
    let (quic, server) = site.endpoints.connect().await;
    let mut accepting = headrace_http3::server::Connection::new(server, &site.config);
    let (mut connection, mut requests) = client::connect(quic, &site.config);
    tokio::spawn(async move { connection.drive().await });
    let serving = tokio::spawn(async move {
        let incoming = accepting.accept().await.unwrap().unwrap();
        let asking = tokio::spawn(async move {
            let (request, send, recv) = incoming.resolve().await.unwrap();
            let asked = webtransport::SessionRequest::receive(&request, send, recv).await.unwrap();
            let session = asked.accept(http::Response::new(()), None).await.unwrap();
            let (mut send, mut recv) = session.accept_bi().await.unwrap();
            crate::site::copy(&mut recv, &mut send).await.unwrap();
            session.closed().await
        });
        // The session must have begun: its stream is taken from here.
        tokio::time::timeout(std::time::Duration::from_millis(200), accepting.accept()).await.unwrap_err();
        accepting.shutdown();
        assert!(accepting.accept().await.unwrap().is_none());
        asking.await.unwrap()
    });
    let client = session(&mut requests, "/any").await;
    timeout(PATIENCE, client.drained()).await.unwrap();
    let (mut send, mut recv) = client.open_bi().await.unwrap();
    send.write_all(b"after GOAWAY").await.unwrap();
    send.finish().unwrap();
    assert_eq!(crate::site::read_all(&mut recv).await.unwrap(), b"after GOAWAY");
    client.close(5, "");
    let ended = timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert!(matches!(ended, Ended::ByPeer { code: 5, .. }), "{ended:?}");
}

/// Firefox closes a session and, a packet later, the connection. A server that was busy finds both at once.
#[tokio::test]
async fn a_close_counts_though_the_connection_ended_right_behind_it() {
    let mut site = site();
    let (address, quic_config, config) =
        (site.endpoints.address, site.endpoints.client_config.clone(), site.config.clone());
    let (go, went) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    let client = async move {
        let endpoint = quinn::Endpoint::client((std::net::Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let quic = endpoint.connect_with(quic_config, address, "localhost").unwrap().await.unwrap();
        let (mut connection, mut requests) = client::connect(quic.clone(), &config);
        tokio::spawn(async move { connection.drive().await });
        let session = session(&mut requests, "/mine").await;
        tokio::task::spawn_blocking(move || go.1.recv()).await.unwrap().unwrap();
        let before = quic.stats().frame_tx.stream;
        session.close(7, "done");
        while quic.stats().frame_tx.stream == before {
            tokio::task::yield_now().await;
        }
        quic.close(0x100_u32.into(), b"");
        endpoint.wait_idle().await;
        went.0.send(()).unwrap();
    };
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(client);
    });
    let _serving = site.accept().await;
    let server = site.mine().await;
    go.0.send(()).unwrap();
    // Nothing of this thread's runs meanwhile.
    went.1.recv_timeout(PATIENCE).unwrap();
    let ended = closed(&server).await;
    assert!(matches!(&ended, Ended::ByPeer { code: 7, reason } if reason == "done"), "{ended:?}");
}
