//! Floods through tunnels on HTTP/2: credit is kept in both directions, and what has none waits where it was made.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncReadExt as _;

use super::attacker::*;
use super::neighbour::Neighbour;
use crate::backend::{Raw, switch};
use crate::patience::eventually;
use crate::tunnel_pressure::{UNDER_WAY, settled, write_flood};

/// Credit that the data plane gives to one stream and to a connection.
const STREAM_WINDOW: usize = 256 * 1024;
const CONNECTION_WINDOW: usize = 1024 * 1024;

/// A whole frame's content.
const BLOCK: usize = 16_000;

/// A client opens tunnels, gives no credit at all, and the backend has much to say.
#[tokio::test]
async fn without_credit_nothing_comes_and_the_backend_waits() {
    const TUNNELS: u32 = 4;
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let flood = Raw::start(move |mut stream, _| {
        let count = Arc::clone(&count);
        async move {
            switch(&mut stream, "", b"").await;
            write_flood(&mut stream, &count).await;
        }
    })
    .await;
    let (stage, neighbour) = Neighbour::beside(flood.address).await;
    let mut attacker = Attacker::connect(&stage, &setting(INITIAL_WINDOW_SIZE, 0)).await;
    for n in 0..TUNNELS {
        assert!(attacker.send(&headers(2 * n + 1, 0, &websocket("/"))).await);
    }
    for _ in 0..TUNNELS {
        let status = attacker.event().await;
        assert!(matches!(status, Event::Headers { status: 200, .. }), "{status:?}");
    }
    let stopped_at = settled(&written).await;
    assert!(stopped_at < UNDER_WAY, "{stopped_at} octets were taken without any credit");
    assert!(attacker.sees_pong(1).await);
    neighbour.is_well("a flood without credit").await;

    // Octet by octet: what comes is what was granted, never more.
    const GRANTS: usize = 1000;
    assert!(attacker.send(&window_update(1, 1).repeat(GRANTS)).await);
    let mut came = 0;
    while came < GRANTS {
        match attacker.event().await {
            Event::Data { stream: 1, octets, end: false } => came += octets,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(came, GRANTS);
    assert!(written.load(Ordering::Relaxed) < UNDER_WAY);
    neighbour.is_well("credit by single octets").await;
    // The tunnels go with their connection.
    drop(attacker);
    eventually("the tunnels are over", async || {
        let open = stage.metric(r#"headrace_dataplane_tunnels_open{version="http2"}"#).await;
        (open == 1.0).then_some(())
    })
    .await;
}

/// A backend that accepts and never reads, and says when the proxy gives it up.
async fn deaf() -> Raw {
    Raw::start(|mut stream, _| async move {
        switch(&mut stream, "", b"").await;
        std::future::pending::<()>().await;
        drop(stream.read_u8().await);
    })
    .await
}

/// RFC 9113 section 6.9: who sends beyond the credit of a stream is reset, of a connection is disconnected.
#[tokio::test]
async fn data_beyond_the_window_is_an_error() {
    let deaf = deaf().await;
    let (stage, neighbour) = Neighbour::beside(deaf.address).await;
    // All at once, so that no credit can be given back meanwhile; the kernel takes a few times the stream's window.
    let flood: Vec<u8> = frame(DATA, 0, 1, &[b'd'; BLOCK]).repeat(40 * STREAM_WINDOW / BLOCK);
    let mut attacker = Attacker::connect(&stage, &frame(SETTINGS, 0, 0, &[])).await;
    assert!(attacker.send(&headers(1, 0, &websocket("/"))).await);
    attacker.send(&flood).await;
    let code = attacker
        .wait_for("an error", |event| match *event {
            Event::Reset { code, stream: 1 } | Event::GoAway { code } => Some(code),
            _ => None,
        })
        .await;
    assert_eq!(code, FLOW_CONTROL_ERROR);
    neighbour.is_well("DATA beyond a stream's window").await;

    // Each stream within its own window, all together beyond the connection's: a backend that reads nothing of streams that
    // are not accepted yet cannot give credit back.
    let streams = CONNECTION_WINDOW / STREAM_WINDOW * 8;
    let mut attacker = Attacker::connect(&stage, &frame(SETTINGS, 0, 0, &[])).await;
    let mut octets = Vec::new();
    for n in 0..streams as u32 {
        octets.extend(headers(2 * n + 1, 0, &websocket("/")));
        octets.extend(frame(DATA, 0, 2 * n + 1, &[b'd'; BLOCK]).repeat(STREAM_WINDOW / BLOCK));
    }
    attacker.send(&octets).await;
    let code = attacker.goodbye().await;
    assert!(matches!(code, None | Some(FLOW_CONTROL_ERROR)), "{code:?}");
    neighbour.is_well("DATA beyond the connection's window").await;
}

/// Single octets, each in a frame of its own, cost more to keep than they count in flow control.
#[tokio::test]
async fn single_octets_that_nobody_takes_are_stopped() {
    let deaf = deaf().await;
    let (stage, neighbour) = Neighbour::beside(deaf.address).await;
    let mut attacker = Attacker::connect(&stage, &frame(SETTINGS, 0, 0, &[])).await;
    const STREAMS: u32 = 16;
    for n in 0..STREAMS {
        assert!(attacker.send(&headers(2 * n + 1, 0, &websocket("/"))).await);
    }
    // No more than each stream's window, which is all that flow control asks for.
    for n in 0..STREAMS {
        if !attacker.send(&frame(DATA, 0, 2 * n + 1, b"x").repeat(STREAM_WINDOW - 1)).await {
            break;
        }
    }
    if !attacker.sees_pong(1).await {
        eventually("the tunnels are over", async || {
            let open = stage.metric(r#"headrace_dataplane_tunnels_open{version="http2"}"#).await;
            (open == 1.0).then_some(())
        })
        .await;
    }
    neighbour.is_well("single octets").await;
}
