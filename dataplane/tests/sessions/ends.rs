//! How streams and sessions end, and what the other side is told.

use headrace_http3::webtransport::{Ended, Session, codes};
use headrace_http3::{Code, StreamError};
use tokio::time::Duration;

use crate::client::Client;
use crate::patience::within;
use crate::relay::{pair, stage};
use crate::stage::{Stage, http3, session_with};

async fn closed(session: &Session) -> Ended {
    within("a session's end", session.closed()).await
}

/// A stream that has carried an octet, from both ends.
async fn stream(
    from: &Session,
    to: &Session,
) -> [(headrace_http3::webtransport::SendStream, headrace_http3::webtransport::RecvStream); 2] {
    let (mut send, recv) = within("a stream", from.open_bi()).await.unwrap();
    send.write_all(b"x").await.unwrap();
    let (back, mut there) = within("a stream", to.accept_bi()).await.unwrap();
    assert_eq!(there.read_data(&mut [0; 9]).await.unwrap(), 1);
    [(send, recv), (back, there)]
}

/// Application codes, and codes of anybody else's.
const CODES: [u64; 4] = [0x52e4_a40f_a8db, 0x52e4_a40f_a8fa, 0x52e5_ac98_3162, 0x0107];

#[tokio::test]
async fn codes_of_resets_pass_unchanged() {
    let (stage, mut backend) = stage().await;
    let (client, behind) = pair(&mut Client::connect(&stage).await, &mut backend, "/").await;
    for (from, to) in [(&client, &behind), (&behind, &client)] {
        for code in CODES.map(|code| Code::new(code).unwrap()) {
            let [(mut send, mut recv), (mut back, mut there)] = stream(from, to).await;
            send.reset(code);
            let read = within("a reset", there.read_data(&mut [0; 9])).await;
            assert!(matches!(read, Err(StreamError::Reset(got)) if got == code), "{read:?}");
            // The other direction goes on.
            back.write_all(b"still").await.unwrap();
            let mut got = [0; 9];
            assert_eq!(within("octets", recv.read_data(&mut got)).await.unwrap(), 5);
            let stopped = back.stopped();
            recv.stop_sending(code);
            assert_eq!(within("STOP_SENDING", stopped).await.unwrap(), Some(code));

            let mut send = within("a stream", from.open_uni()).await.unwrap();
            send.write_all(b"x").await.unwrap();
            let mut there = within("a stream", to.accept_uni()).await.unwrap();
            let stopped = send.stopped();
            there.stop_sending(code);
            assert_eq!(within("STOP_SENDING", stopped).await.unwrap(), Some(code));
        }
    }
}

/// A stream whose reader is slow is reset all the same, and one that stalled and went on ends well.
#[tokio::test]
async fn a_reset_overtakes_what_is_stalled() {
    let (stage, mut backend) = stage().await;
    let (client, behind) = pair(&mut Client::connect(&stage).await, &mut backend, "/").await;
    for (from, to) in [(&client, &behind), (&behind, &client)] {
        let mut stalled = within("a stream", from.open_uni()).await.unwrap();
        let octets = vec![7; 1 << 20];
        let full = tokio::time::timeout(Duration::from_millis(500), stalled.write_all(&octets)).await;
        assert!(full.is_err(), "it stalls");
        let mut recv = within("a stream", to.accept_uni()).await.unwrap();
        stalled.reset_application(5);
        // It is not read meanwhile.
        let reset = within("a reset", recv.received_reset()).await.unwrap();
        assert_eq!(reset.and_then(codes::to_application), Some(5));

        let mut slow = within("a stream", from.open_uni()).await.unwrap();
        let content = vec![7; 300 << 10];
        let sending = async {
            slow.write_all(&content).await.unwrap();
            slow.finish().unwrap();
        };
        let reading = async {
            let mut recv = within("a stream", to.accept_uni()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            crate::client::read_all(&mut recv).await.unwrap()
        };
        let ((), got) = tokio::join!(sending, reading);
        assert!(got == content);
    }
}

#[tokio::test]
async fn code_and_reason_of_a_close_pass() {
    let (stage, mut backend) = stage().await;
    let mut connection = Client::connect(&stage).await;
    for (swap, code, reason) in
        [(false, 7, "done".to_owned()), (true, u32::MAX, "grüß Gott".to_owned()), (false, 0, "x".repeat(1024))]
    {
        let (client, behind) = pair(&mut connection, &mut backend, "/").await;
        let [(mut send, _recv), (_back, mut there)] = stream(&client, &behind).await;
        let (closing, told) = if swap { (&behind, &client) } else { (&client, &behind) };
        closing.close(code, &reason);
        let ended = closed(told).await;
        assert!(matches!(&ended, Ended::ByPeer { code: c, reason: r } if *c == code && *r == reason), "{ended:?}");
        // Its streams go with it.
        assert!(within("the stream's end", there.read_data(&mut [0; 9])).await.is_err());
        // Whether its reset or the close is heard first, it is the session's end.
        match within("the stream's end", send.stopped()).await {
            Ok(Some(Code::WT_SESSION_GONE)) | Err(StreamError::SessionGone) => {}
            other => panic!("{other:?}"),
        }
        assert!(send.write_data(b"x").await.is_err());
    }
    stage.until(r#"session_ended_total{cause="client_closed"}"#, 2.0).await;
    stage.until(r#"session_ended_total{cause="backend_closed"}"#, 1.0).await;
}

#[tokio::test]
async fn a_reset_session_is_reset_on_the_other_side() {
    let (stage, mut backend) = stage().await;
    let mut connection = Client::connect(&stage).await;
    for (swap, code) in [(false, Code::H3_REQUEST_CANCELLED), (true, Code::H3_INTERNAL_ERROR)] {
        let (client, behind) = pair(&mut connection, &mut backend, "/").await;
        let (cut, told) = if swap { (&behind, &client) } else { (&client, &behind) };
        cut.reset(code);
        let ended = closed(told).await;
        assert!(matches!(ended, Ended::Reset(got) if got == code), "{ended:?}");
    }
    stage.until(r#"session_ended_total{cause="client_reset"}"#, 1.0).await;
    stage.until(r#"session_ended_total{cause="backend_reset"}"#, 1.0).await;
}

#[tokio::test]
async fn a_client_that_goes_takes_its_sessions_along() {
    let (stage, mut backend) = stage().await;
    let mut connection = Client::connect(&stage).await;
    let (_client, behind) = pair(&mut connection, &mut backend, "/").await;
    connection.quic.close(0x100_u32.into(), b"");
    assert!(matches!(closed(&behind).await, Ended::Reset(_)));
    stage.until(r#"session_ended_total{cause="client_gone"}"#, 1.0).await;
    stage.until(r#"sessions_active{mode="session"}"#, 0.0).await;
}

#[tokio::test]
async fn a_backend_that_dies_takes_its_sessions_along_and_nothing_else() {
    let (stage, mut backend) = stage().await;
    let mut connection = Client::connect(&stage).await;
    let (client, behind) = pair(&mut connection, &mut backend, "/").await;
    let [(_send, mut recv), _there] = stream(&client, &behind).await;
    backend.die();
    let ended = closed(&client).await;
    assert!(matches!(ended, Ended::Reset(Code::H3_INTERNAL_ERROR)), "{ended:?}");
    assert!(matches!(recv.read_data(&mut [0; 9]).await, Err(StreamError::SessionGone | StreamError::Reset(_))));
    stage.until(r#"session_ended_total{cause="backend_gone"}"#, 1.0).await;
    assert!(connection.quic.close_reason().is_none());
}

#[tokio::test]
async fn drains_pass_both_ways_and_everything_goes_on() {
    let (stage, mut backend) = stage().await;
    for swap in [false, true] {
        let (client, behind) = pair(&mut Client::connect(&stage).await, &mut backend, "/").await;
        let (draining, told) = if swap { (&behind, &client) } else { (&client, &behind) };
        draining.drain();
        within("the drain", told.drained()).await;
        let _still = stream(told, draining).await;
    }
}

/// A pod that is to go tells both sides, and waits for them.
#[tokio::test]
async fn a_data_plane_that_drains_tells_both_sides() {
    let (stage, mut backend) = stage().await;
    let (client, behind) = pair(&mut Client::connect(&stage).await, &mut backend, "/").await;
    let draining = tokio::spawn(stage.drain());
    within("the drain at the client", client.drained()).await;
    within("the drain at the backend", behind.drained()).await;
    let _still = stream(&client, &behind).await;
    assert!(!draining.is_finished());
    client.close(3, "as you wish");
    let ended = closed(&behind).await;
    assert!(matches!(ended, Ended::ByPeer { code: 3, .. }), "{ended:?}");
    let report = within("the drain's end", draining).await.unwrap();
    assert_eq!(report.cut, 0, "{report:?}");
}

#[tokio::test]
async fn silence_and_age_end_a_session() {
    let mut backend = crate::backend::Backend::start();
    let rules = vec![
        session_with("/idle", "wt", |session| session.idle_timeout_ms = 300),
        session_with("/old", "wt", |session| session.lifetime_ms = 600),
    ];
    let stage = Stage::serving(rules, vec![http3("wt", &[backend.address], &backend.authority)]).await;
    let mut connection = Client::connect(&stage).await;
    for (path, cause) in [("/idle", "idle_timeout"), ("/old", "lifetime")] {
        let (client, behind) = pair(&mut connection, &mut backend, path).await;
        let busy = async {
            // Something in one direction is not silence.
            for _ in 0..if path == "/idle" { 8 } else { usize::MAX } {
                client.send_datagram(b"x").ok();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let end = async { (closed(&client).await, closed(&behind).await) };
        let ((), ended) = tokio::select! {
            both = async { tokio::join!(busy, closed(&client)) } => (both.0, (both.1, closed(&behind).await)),
            ended = end => ((), ended),
        };
        for ended in [ended.0, ended.1] {
            assert!(matches!(ended, Ended::Reset(Code::H3_REQUEST_CANCELLED)), "{path}: {ended:?}");
        }
        stage.until(&format!(r#"session_ended_total{{cause="{cause}"}}"#), 1.0).await;
        assert_eq!(stage.log_line(path).await["cause"], cause);
    }
    assert_eq!(codes::to_application(Code::H3_REQUEST_CANCELLED), None, "no application says so");
}
