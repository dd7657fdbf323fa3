//! web-transport-quinn, which announces drafts 02 and 07 and takes only the older token.

use bytes::Bytes;
use headrace_http3::{
    StreamError, client,
    webtransport::{self, Draft, Ended, codes},
};
use tokio::time::timeout;
use web_transport_quinn::{Request, Session, SessionError, WebTransportError, proto::ConnectRequest};

use crate::{
    endpoints::{PATIENCE, endpoints, pattern},
    site::{Site, read_all, request},
};

const WINDOW: u32 = 256 << 10;

/// Its client at a path of our server.
async fn client_of(site: &Site, path: &str) -> Session {
    let (quic, _) = site.connect().await;
    quic.set_max_concurrent_bi_streams(300_u32.into());
    quic.set_max_concurrent_uni_streams(300_u32.into());
    let url: url::Url = format!("https://localhost{path}").parse().unwrap();
    let request = ConnectRequest::new(url);
    timeout(PATIENCE, Session::connect(quic, request)).await.unwrap().unwrap()
}

fn site() -> Site {
    Site::new(webtransport::Config { max_streams_bidi: 150, max_streams_uni: 150, ..Default::default() })
}

#[tokio::test]
async fn its_client_on_our_echo() {
    let session = client_of(&site(), "/echo").await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(timeout(PATIENCE, session.open_bi()).await.unwrap().unwrap());
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
        timeout(PATIENCE, task).await.unwrap().unwrap();
    }
    for n in 0..10 {
        let mut send = session.open_uni().await.unwrap();
        send.write_all(&pattern(n * 100)).await.unwrap();
        send.finish().unwrap();
        let mut recv = timeout(PATIENCE, session.accept_uni()).await.unwrap().unwrap();
        assert!(recv.read_to_end(10_000).await.unwrap() == pattern(n * 100));
    }
    let got = timeout(PATIENCE, async {
        loop {
            session.send_datagram(Bytes::from_static(b"datagram")).unwrap();
            tokio::select! {
                got = session.read_datagram() => return got.unwrap(),
                () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
            }
        }
    });
    assert_eq!(got.await.unwrap(), "datagram");
}

#[tokio::test]
async fn its_client_and_codes() {
    let mut site = site();
    let client = client_of(&site, "/mine").await;
    let server = site.mine().await;
    assert_eq!((server.draft(), server.is_flow_controlled()), (Draft::Draft07, false));

    let (mut send, mut recv) = client.open_bi().await.unwrap();
    send.write_all(b"x").await.unwrap();
    let (back, mut there) = timeout(PATIENCE, server.accept_bi()).await.unwrap().unwrap();
    assert_eq!(there.read_data(&mut [0; 9]).await.unwrap(), 1);
    send.reset(77).unwrap();
    let read = timeout(PATIENCE, there.read_data(&mut [0; 9])).await.unwrap();
    assert!(matches!(read, Err(StreamError::Reset(code)) if codes::to_application(code) == Some(77)), "{read:?}");
    let stopped = back.stopped();
    recv.stop(78).unwrap();
    let code = timeout(PATIENCE, stopped).await.unwrap().unwrap().unwrap();
    assert_eq!(codes::to_application(code), Some(78));

    // Streams of the server's, and their codes.
    let (mut send, mut recv) = server.open_bi().await.unwrap();
    send.write_all(b"from the server").await.unwrap();
    let (back, mut there) = timeout(PATIENCE, client.accept_bi()).await.unwrap().unwrap();
    let mut got = [0; 15];
    there.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"from the server");
    send.reset_application(79);
    assert_eq!(timeout(PATIENCE, there.received_reset()).await.unwrap().unwrap(), Some(79));
    recv.stop_application(80);
    assert_eq!(timeout(PATIENCE, back.stopped()).await.unwrap().unwrap(), Some(80));

    client.close(7, b"done");
    let ended = timeout(PATIENCE, server.closed()).await.unwrap();
    assert!(matches!(&ended, Ended::ByPeer { code: 7, reason } if reason == "done"), "{ended:?}");
}

#[tokio::test]
async fn our_server_closes() {
    let mut site = site();
    let client = client_of(&site, "/mine").await;
    let server = site.mine().await;
    server.close(9, "enough");
    let error = timeout(PATIENCE, client.closed()).await.unwrap();
    assert!(
        matches!(&error, SessionError::WebTransportError(WebTransportError::Closed(9, reason)) if reason == "enough"),
        "{error:?}"
    );
}

/// Its server, which sends every bidirectional stream back and opens one itself, and then says why the session ended.
async fn serve(quic: quinn::Connection) -> SessionError {
    let session = Request::accept(quic).await.unwrap().ok().await.unwrap();
    let mut hello = session.open_uni().await.unwrap();
    hello.write_all(b"hello").await.unwrap();
    hello.finish().unwrap();
    let datagrams = session.clone();
    tokio::spawn(async move {
        while let Ok(datagram) = datagrams.read_datagram().await {
            let _ = datagrams.send_datagram(datagram);
        }
    });
    while let Ok((mut send, mut recv)) = session.accept_bi().await {
        tokio::spawn(async move {
            if let Ok(content) = recv.read_to_end(1 << 20).await {
                send.write_all(&content).await.unwrap();
                send.finish().unwrap();
            }
        });
    }
    session.closed().await
}

#[tokio::test]
async fn our_client_on_its_server() {
    let endpoints = endpoints(WINDOW);
    let (quic, server) = endpoints.connect().await;
    server.set_max_concurrent_bi_streams(300_u32.into());
    let serving = tokio::spawn(serve(server));
    let (mut connection, mut requests) = client::connect(quic, &site().config);
    tokio::spawn(async move { connection.drive().await });
    let connecting = webtransport::connect::<_, &str>(&mut requests, request("/any"), &[]);
    let session = timeout(PATIENCE, connecting).await.unwrap().unwrap().0;
    assert_eq!(session.draft(), Draft::Draft07);
    let mut hello = timeout(PATIENCE, session.accept_uni()).await.unwrap().unwrap();
    assert_eq!(read_all(&mut hello).await.unwrap(), b"hello");
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let session = session.clone();
            tokio::spawn(async move {
                let (mut send, mut recv) = session.open_bi().await.unwrap();
                let content = pattern(n * 300);
                send.write_all(&content).await.unwrap();
                send.finish().unwrap();
                assert!(read_all(&mut recv).await.unwrap() == content);
            })
        })
        .collect();
    for task in tasks {
        timeout(PATIENCE, task).await.unwrap().unwrap();
    }
    let got = timeout(PATIENCE, async {
        loop {
            session.send_datagram(b"datagram").unwrap();
            tokio::select! {
                got = session.recv_datagram() => return got.unwrap(),
                () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
            }
        }
    });
    assert_eq!(got.await.unwrap(), "datagram");
    session.close(5, "bye");
    let error = timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert!(
        matches!(&error, SessionError::WebTransportError(WebTransportError::Closed(5, reason)) if reason == "bye"),
        "{error:?}"
    );
}
