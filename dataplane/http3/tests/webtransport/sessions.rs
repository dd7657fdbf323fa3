//! What goes through a session: this crate's client against this crate's server.

use std::{future::poll_fn, task::Poll};

use headrace_http3::{
    Code, Config, StreamError,
    webtransport::{self, ConnectError, DatagramError, Draft, codes},
};
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    endpoints::{PATIENCE, pattern},
    site::{Site, config, read_all, request, session},
};

fn site() -> Site {
    Site::new(webtransport::Config { max_streams_bidi: 150, max_streams_uni: 150, ..Default::default() })
}

#[tokio::test]
async fn a_hundred_bidirectional_streams() {
    let site = site();
    let session = session(&mut site.client().await, "/echo").await;
    assert_eq!(session.draft(), Draft::Draft15);
    assert!(session.is_flow_controlled());
    // All are open before any of them ends.
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(timeout(PATIENCE, session.open_bi()).await.unwrap().unwrap());
    }
    let tasks: Vec<_> = streams
        .into_iter()
        .enumerate()
        .map(|(n, (mut send, mut recv))| {
            tokio::spawn(async move {
                let content = pattern(n * 700);
                let (sent, got) = tokio::join!(
                    async {
                        send.write_all(&content).await?;
                        send.finish()
                    },
                    read_all(&mut recv),
                );
                sent.unwrap();
                assert!(got.unwrap() == content);
            })
        })
        .collect();
    for task in tasks {
        timeout(PATIENCE, task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn unidirectional_streams_both_ways() {
    let site = site();
    let session = session(&mut site.client().await, "/echo").await;
    for n in 0..20 {
        let mut send = session.open_uni().await.unwrap();
        let content = pattern(n * 1000);
        send.write_all(&content).await.unwrap();
        send.finish().unwrap();
        let mut recv = timeout(PATIENCE, session.accept_uni()).await.unwrap().unwrap();
        assert!(read_all(&mut recv).await.unwrap() == content);
    }
}

#[tokio::test]
async fn the_server_opens_streams() {
    let mut site = site();
    let (client, server) = site.pair().await;
    for n in 0..10 {
        let (mut send, mut recv) = server.open_bi().await.unwrap();
        send.write_all(&pattern(n * 999)).await.unwrap();
        send.finish().unwrap();
        let (mut back, mut there) = timeout(PATIENCE, client.accept_bi()).await.unwrap().unwrap();
        assert_eq!(there.id(), recv.id());
        let got = read_all(&mut there).await.unwrap();
        back.write_all(&got).await.unwrap();
        back.finish().unwrap();
        assert!(read_all(&mut recv).await.unwrap() == pattern(n * 999));
    }
    // The peer sees a stream on which nothing was written.
    let (_send, _recv) = server.open_bi().await.unwrap();
    timeout(PATIENCE, client.accept_bi()).await.unwrap().unwrap();
}

#[tokio::test]
async fn as_io() {
    let site = site();
    let session = session(&mut site.client().await, "/echo").await;
    let (mut send, mut recv) = session.open_bi().await.unwrap();
    AsyncWriteExt::write_all(&mut send, b"hello").await.unwrap();
    send.shutdown().await.unwrap();
    let mut got = String::new();
    timeout(PATIENCE, recv.read_to_string(&mut got)).await.unwrap().unwrap();
    assert_eq!(got, "hello");
}

#[tokio::test]
async fn datagrams() {
    let mut site = site();
    let (client, server) = site.pair().await;
    let most = client.max_datagram_size().unwrap();
    assert!(matches!(client.send_datagram(&vec![0; most + 1]), Err(DatagramError::TooLarge)));
    for (from, to) in [(&client, &server), (&server, &client)] {
        for datagram in [vec![], b"one".to_vec(), pattern(1000)] {
            // They may be lost, though not all of them.
            let got = timeout(PATIENCE, async {
                loop {
                    from.send_datagram(&datagram).unwrap();
                    tokio::select! {
                        got = to.recv_datagram() => return got.unwrap(),
                        () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
                    }
                }
            });
            assert_eq!(got.await.unwrap(), datagram);
        }
    }
}

#[tokio::test]
async fn resets_and_stops_have_their_codes() {
    let mut site = site();
    let (client, server) = site.pair().await;
    for code in [0, 29, 30, 255, u32::MAX] {
        let (mut send, mut recv) = client.open_bi().await.unwrap();
        send.write_all(b"x").await.unwrap();
        let (mut back, mut there) = timeout(PATIENCE, server.accept_bi()).await.unwrap().unwrap();
        assert_eq!(there.read_data(&mut [0; 9]).await.unwrap(), 1);

        send.reset_application(code);
        let Err(StreamError::Reset(got)) = timeout(PATIENCE, there.read_data(&mut [0; 9])).await.unwrap() else {
            panic!()
        };
        assert_eq!(codes::to_application(got), Some(code));

        let stopped = back.stopped();
        recv.stop_application(code);
        let got = timeout(PATIENCE, stopped).await.unwrap().unwrap().unwrap();
        assert_eq!(codes::to_application(got), Some(code));
        let Err(StreamError::Stopped(again)) = back.write_data(b"x").await else { panic!() };
        assert_eq!(again, got);
    }
    // Raw codes are nobody's to change.
    let mut send = client.open_uni().await.unwrap();
    send.write_all(b"unread").await.unwrap();
    let mut there = timeout(PATIENCE, server.accept_uni()).await.unwrap().unwrap();
    send.reset(Code::H3_VERSION_FALLBACK);
    // It is heard without reading.
    let reset = timeout(PATIENCE, there.received_reset()).await.unwrap().unwrap();
    assert_eq!(reset, Some(Code::H3_VERSION_FALLBACK));
    assert_eq!(codes::to_application(reset.unwrap()), None);
}

/// Dropped halves tell the peer.
#[tokio::test]
async fn what_is_dropped_is_reset_and_stopped() {
    let mut site = site();
    let (client, server) = site.pair().await;
    let (send, recv) = client.open_bi().await.unwrap();
    let (mut back, mut there) = timeout(PATIENCE, server.accept_bi()).await.unwrap().unwrap();
    drop((send, recv));
    let read = timeout(PATIENCE, there.read_data(&mut [0; 9])).await.unwrap();
    assert!(matches!(read, Err(StreamError::Reset(Code::H3_REQUEST_CANCELLED))), "{read:?}");
    let stopped = timeout(PATIENCE, back.stopped()).await.unwrap().unwrap();
    assert_eq!(stopped, Some(Code::H3_REQUEST_CANCELLED));
    assert!(back.finish().is_ok() || back.write_data(b"x").await.is_err());
}

#[tokio::test]
async fn subprotocols() {
    let mut site = site();
    let mut requests = site.client().await;
    let (client, response) =
        webtransport::connect(&mut requests, request("/mine"), &["moq-01", "moq \"00\""]).await.unwrap();
    assert_eq!(client.subprotocol(), Some("moq \"00\""));
    assert_eq!(site.mine().await.subprotocol(), Some("moq \"00\""));
    assert_eq!(response.headers()["wt-protocol"], r#""moq \"00\"""#);
    let client = session(&mut requests, "/mine").await;
    assert_eq!((client.subprotocol(), site.mine().await.subprotocol()), (None, None));
    let refused = webtransport::connect(&mut requests, request("/mine"), &["grüß"]).await;
    assert!(matches!(refused, Err(ConnectError::Offer(_))));
}

#[tokio::test]
async fn refusals() {
    let site = site();
    let mut requests = site.client().await;
    let refused = webtransport::connect::<_, &str>(&mut requests, request("/nowhere"), &[]).await;
    let Err(ConnectError::Refused(response)) = refused else { panic!("{refused:?}") };
    assert_eq!(
        (response.status(), &response.headers()["x-from"]),
        (StatusCode::NOT_FOUND, &"headrace".parse().unwrap())
    );
    // The place is free again, however often that happens.
    for _ in 0..40 {
        assert!(webtransport::connect::<_, &str>(&mut requests, request("/nowhere"), &[]).await.is_err());
    }
    session(&mut requests, "/echo").await;
}

/// Sides of which only one has WebTransport.
#[tokio::test]
async fn without_webtransport() {
    let site = site();
    let mut requests = site.client_with(&Config::default()).await;
    let refused = webtransport::connect::<_, &str>(&mut requests, request("/echo"), &[]).await;
    assert!(matches!(refused, Err(ConnectError::NotConfigured)), "{refused:?}");

    let mut site = Site::new(webtransport::Config::default());
    site.config.webtransport = None;
    let mut requests = site.client_with(&config(webtransport::Config::default())).await;
    let refused = webtransport::connect::<_, &str>(&mut requests, request("/echo"), &[]).await;
    assert!(matches!(refused, Err(ConnectError::Unmet(_))), "{refused:?}");
}

/// Plain requests, and sessions of which one is killed, on one connection.
#[tokio::test]
async fn one_connection_for_everything() {
    let mut site = site();
    let mut requests = site.client().await;
    let mut pairs = Vec::new();
    for _ in 0..3 {
        pairs.push((session(&mut requests, "/mine").await, site.mine().await));
    }
    let (killed, others) = pairs.split_first().unwrap();
    let mut open = Vec::new();
    for (client, server) in &pairs {
        let (mut send, recv) = client.open_bi().await.unwrap();
        send.write_all(b"before").await.unwrap();
        let (back, mut there) = timeout(PATIENCE, server.accept_bi()).await.unwrap().unwrap();
        assert_eq!(there.read_data(&mut [0; 6]).await.unwrap(), 6);
        open.push((send, recv, back, there));
    }
    killed.1.reset(Code::H3_INTERNAL_ERROR);
    let ended = timeout(PATIENCE, killed.0.closed()).await.unwrap();
    assert!(matches!(ended, webtransport::Ended::Reset(Code::H3_INTERNAL_ERROR)), "{ended:?}");

    for ((client, server), (mut send, mut recv, mut back, mut there)) in others.iter().zip(open.split_off(1)) {
        send.write_all(b"after").await.unwrap();
        send.finish().unwrap();
        assert_eq!(read_all(&mut there).await.unwrap(), b"after");
        back.write_all(b"answer").await.unwrap();
        back.finish().unwrap();
        assert_eq!(read_all(&mut recv).await.unwrap(), b"answer");
        assert!(client.ended().is_none() && server.ended().is_none());
    }
    let plain = http::Request::get("https://localhost/bytes/3").body(()).unwrap();
    let (_send, mut recv) = requests.send_request(plain).await.unwrap();
    assert_eq!(recv.response().await.unwrap().status(), StatusCode::OK);
    assert_eq!(recv.data().await.unwrap().unwrap(), &b"xxx"[..]);
}

/// A stream that nobody reads holds up its sender, and nobody else.
#[tokio::test]
async fn a_slow_reader() {
    let mut site = Site::new(webtransport::Config { max_data: 8 << 20, ..Default::default() });
    let (client, server) = site.pair().await;
    let (mut slow, _recv) = client.open_bi().await.unwrap();
    let (_back, mut unread) = timeout(PATIENCE, server.accept_bi()).await.unwrap().unwrap();
    let block = pattern(64 << 10);
    let mut sent = 0;
    loop {
        let turn = poll_fn(|cx| match slow.poll_write_data(cx, &block) {
            Poll::Ready(taken) => Poll::Ready(Some(taken.unwrap())),
            Poll::Pending => Poll::Ready(None),
        });
        match turn.await {
            Some(taken) => sent += taken,
            None => break,
        }
    }
    // What QUIC lets a stream have under way, and not what the session would allow.
    assert!(sent <= 256 << 10, "{sent}");
    for _ in 0..20 {
        let (mut send, mut recv) = client.open_bi().await.unwrap();
        send.write_all(&block).await.unwrap();
        send.finish().unwrap();
        let (mut back, mut there) = timeout(PATIENCE, server.accept_bi()).await.unwrap().unwrap();
        assert!(read_all(&mut there).await.unwrap() == block);
        back.finish().unwrap();
        assert_eq!(read_all(&mut recv).await.unwrap(), b"");
    }
    // It goes on where it was.
    slow.finish().unwrap();
    assert_eq!(read_all(&mut unread).await.unwrap().len(), sent);
}
