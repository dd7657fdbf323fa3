//! Small limits, between honest peers.

use std::time::Duration;

use headrace_http3::{
    Config,
    webtransport::{self, ConnectError},
};
use tokio::time::timeout;

use crate::{
    endpoints::{PATIENCE, pattern},
    site::{Site, config, read_all, request, session},
};

/// Far more goes through than the limits hold at once.
#[tokio::test]
async fn flow_control_goes_round() {
    let limits = webtransport::Config { max_data: 3000, max_streams_bidi: 2, max_streams_uni: 1, ..Default::default() };
    let site = Site::new(limits);
    let session = session(&mut site.client().await, "/echo").await;
    let tasks: Vec<_> = (0..30)
        .map(|n| {
            let session = session.clone();
            tokio::spawn(async move {
                let content = pattern(n * 1000);
                let (mut send, mut recv) = session.open_bi().await.unwrap();
                let (sent, got) = tokio::join!(
                    async {
                        send.write_all(&content).await?;
                        send.finish()
                    },
                    read_all(&mut recv),
                );
                sent.unwrap();
                assert!(got.unwrap() == content);
                let mut send = session.open_uni().await.unwrap();
                send.write_all(b"x").await.unwrap();
                send.finish().unwrap();
                let mut recv = session.accept_uni().await.unwrap();
                assert_eq!(read_all(&mut recv).await.unwrap(), b"x");
            })
        })
        .collect();
    for task in tasks {
        timeout(PATIENCE, task).await.unwrap().unwrap();
    }
    assert!(session.ended().is_none());
}

#[tokio::test]
async fn streams_beyond_the_limit_wait() {
    let mut site = Site::new(webtransport::Config { max_streams_uni: 3, ..Default::default() });
    let (client, server) = site.pair().await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(client.open_uni().await.unwrap());
    }
    timeout(Duration::from_millis(100), client.open_uni()).await.unwrap_err();
    open.pop();
    // Taken and dropped here, it is closed.
    for _ in 0..3 {
        drop(timeout(PATIENCE, server.accept_uni()).await.unwrap().unwrap());
    }
    timeout(PATIENCE, client.open_uni()).await.unwrap().unwrap();
}

/// What is reset was never read, and still counted.
#[tokio::test]
async fn resets_do_not_use_the_limit_up() {
    let mut site = Site::new(webtransport::Config { max_data: 4000, max_streams_uni: 2, ..Default::default() });
    let (client, server) = site.pair().await;
    for _ in 0..50 {
        let mut send = timeout(PATIENCE, client.open_uni()).await.unwrap().unwrap();
        timeout(PATIENCE, send.write_all(&pattern(3000))).await.unwrap().unwrap();
        let recv = timeout(PATIENCE, server.accept_uni()).await.unwrap().unwrap();
        send.reset_application(1);
        drop((send, recv));
    }
    assert!(server.ended().is_none());
}

/// A reserved stream that is not opened is given back.
#[tokio::test]
async fn reservations() {
    let mut site = Site::new(webtransport::Config { max_streams_bidi: 1, ..Default::default() });
    let (client, server) = site.pair().await;
    let reserved = client.reserve_bi().await.unwrap();
    timeout(Duration::from_millis(50), client.reserve_bi()).await.unwrap_err();
    drop(reserved);
    let reserved = timeout(PATIENCE, client.reserve_bi()).await.unwrap().unwrap();
    let (mut send, _recv) = reserved.open().await.unwrap();
    send.write_all(b"x").await.unwrap();
    send.finish().unwrap();
    let (_back, mut there) = timeout(PATIENCE, server.accept_bi()).await.unwrap().unwrap();
    assert_eq!(read_all(&mut there).await.unwrap(), b"x");
}

#[tokio::test]
async fn datagrams_that_nobody_takes_are_dropped() {
    let mut site = Site::new(webtransport::Config { max_datagrams: 4, ..Default::default() });
    let (client, server) = site.pair().await;
    timeout(PATIENCE, async {
        while server.dropped_datagrams() < 100 {
            client.send_datagram(b"x").unwrap();
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    client.send_datagram(b"last").unwrap();
    let mut taken = 0;
    while let Ok(got) = timeout(Duration::from_millis(200), server.recv_datagram()).await {
        taken += 1;
        if got.unwrap() == "last" {
            break;
        }
    }
    assert!((1..200).contains(&taken), "{taken}");
}

#[tokio::test]
async fn as_many_sessions_as_are_allowed() {
    let mut site = Site::new(webtransport::Config { max_sessions: 2, ..Default::default() });
    let mut requests = site.client().await;
    let first = session(&mut requests, "/mine").await;
    let _server = (site.mine().await, session(&mut requests, "/mine").await, site.mine().await);
    let refused = webtransport::connect::<_, &str>(&mut requests, request("/mine"), &[]).await;
    assert!(matches!(refused, Err(ConnectError::TooMany)), "{refused:?}");
    first.close(0, "");
    let ended = timeout(PATIENCE, _server.0.closed()).await.unwrap();
    assert!(ended.is_close());
    session(&mut requests, "/mine").await;
}

/// Without limits of both sides, a connection has one session.
#[tokio::test]
async fn without_flow_control_there_is_one_session() {
    let mut site = Site::new(webtransport::Config::default());
    let none = webtransport::Config { max_data: 0, max_streams_bidi: 0, max_streams_uni: 0, ..Default::default() };
    let mut requests = site.client_with(&config(none)).await;
    let client = session(&mut requests, "/mine").await;
    assert!(!client.is_flow_controlled());
    let server = site.mine().await;
    let mut send = client.open_uni().await.unwrap();
    send.write_all(&pattern(10_000)).await.unwrap();
    send.finish().unwrap();
    let mut recv = timeout(PATIENCE, server.accept_uni()).await.unwrap().unwrap();
    assert_eq!(read_all(&mut recv).await.unwrap().len(), 10_000);
    let refused = webtransport::connect::<_, &str>(&mut requests, request("/mine"), &[]).await;
    assert!(matches!(refused, Err(ConnectError::TooMany)), "{refused:?}");
    assert!(Config::default().webtransport.is_none());
}

/// A session may be allowed more than the connection announced, and its peer learns that.
#[tokio::test]
async fn more_streams_than_were_announced() {
    let mut site = Site::new(webtransport::Config { max_streams_bidi: 2, max_streams_uni: 2, ..Default::default() });
    let (client, server) = site.pair().await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(timeout(PATIENCE, client.open_uni()).await.unwrap().unwrap());
    }
    assert!(timeout(std::time::Duration::from_millis(100), client.open_uni()).await.is_err());
    server.allow_streams(5);
    for _ in 0..3 {
        held.push(timeout(PATIENCE, client.open_uni()).await.unwrap().unwrap());
    }
    assert!(timeout(std::time::Duration::from_millis(100), client.open_uni()).await.is_err());
    let mut taken = Vec::new();
    for _ in 0..5 {
        taken.push(timeout(PATIENCE, server.accept_uni()).await.unwrap().unwrap());
    }
    assert!(server.ended().is_none());
}
