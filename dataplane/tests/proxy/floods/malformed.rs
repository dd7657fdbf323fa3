//! HTTP/2 that is wrong: the stream or the connection ends with the code that RFC 9113 names, and no backend hears of it.

use super::attacker::*;
use super::neighbour::Neighbour;
use crate::backend::Origin;

/// How the server takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// RST_STREAM with this code, and the connection goes on.
    Reset(u32),
    /// GOAWAY with this code, and the end of the connection.
    Closed(u32),
    /// A response with this status.
    Status(u16),
}

async fn outcome(attacker: &mut Attacker, stream: u32) -> Outcome {
    attacker
        .wait_for("an outcome", |event| match *event {
            Event::Headers { stream: id, status } if id == stream => Some(Outcome::Status(status)),
            Event::Reset { stream: id, code } if id == stream => Some(Outcome::Reset(code)),
            Event::GoAway { code } => Some(Outcome::Closed(code)),
            _ => None,
        })
        .await
}

fn without(name: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let head = [(":method", "GET"), (":scheme", "https"), (":authority", "a.example.com"), (":path", "/")];
    let kept: Vec<_> = head.into_iter().filter(|(field, _)| *field != name).chain(more.iter().copied()).collect();
    section(&kept)
}

fn get(more: &[(&str, &str)]) -> Vec<u8> {
    request("GET", "/", more)
}

/// RFC 9113 section 8.1.1: a malformed request is an error of type PROTOCOL_ERROR, and ends its stream at least.
#[tokio::test]
async fn a_malformed_request_reaches_no_backend() {
    const MALFORMED: Outcome = Outcome::Reset(PROTOCOL_ERROR);
    // What is no field at all, h2 takes for a broken section, of which it does not know what else it holds.
    const BROKEN: Outcome = Outcome::Closed(PROTOCOL_ERROR);
    let mut origin = Origin::http1("one").await;
    let (stage, neighbour) = Neighbour::beside(origin.address).await;
    let cases: Vec<(&str, Vec<u8>, Outcome)> = vec![
        ("a name in upper case", get(&[("X-Upper", "y")]), BROKEN),
        ("connection", get(&[("connection", "x-forwarded-for")]), MALFORMED),
        ("keep-alive", get(&[("keep-alive", "timeout=5")]), MALFORMED),
        ("proxy-connection", get(&[("proxy-connection", "close")]), MALFORMED),
        ("transfer-encoding", get(&[("transfer-encoding", "chunked")]), MALFORMED),
        ("upgrade", get(&[("upgrade", "websocket")]), MALFORMED),
        ("te other than trailers", get(&[("te", "gzip")]), MALFORMED),
        ("a pseudo-header behind a field", without(":path", &[("x", "y"), (":path", "/")]), MALFORMED),
        ("two paths", get(&[(":path", "/other")]), MALFORMED),
        ("a response's pseudo-header", get(&[(":status", "200")]), MALFORMED),
        ("an unknown pseudo-header", get(&[(":colour", "red")]), BROKEN),
        ("no method", without(":method", &[]), MALFORMED),
        ("no scheme", without(":scheme", &[]), MALFORMED),
        ("no path", without(":path", &[]), MALFORMED),
        ("an empty path", without(":path", &[(":path", "")]), MALFORMED),
        ("a line feed in a value", get(&[("x", "a\nb: c")]), BROKEN),
        ("a carriage return in a value", get(&[("x", "a\rb")]), BROKEN),
        ("NUL in a value", get(&[("x", "a\0b")]), BROKEN),
        ("a space in a name", get(&[("x y", "z")]), BROKEN),
        ("an empty name", get(&[("", "z")]), BROKEN),
        ("a space in the path", without(":path", &[(":path", "/ HTTP/1.1\r\nx: y")]), MALFORMED),
        ("a content-length without content", get(&[("content-length", "5")]), MALFORMED),
        ("content-lengths that differ", get(&[("content-length", "0"), ("content-length", "1")]), MALFORMED),
        (
            ":protocol on GET (RFC 8441 section 4)",
            without(":path", &[(":path", "/"), (":protocol", "websocket")]),
            MALFORMED,
        ),
        ("an unknown :protocol", request("CONNECT", "/", &[(":protocol", "carrier-pigeon")]), Outcome::Status(501)),
        (
            "too many fields (RFC 6585 section 5)",
            [get(&[]), remembered("x", &[b'v'; 2000]), vec![NEWEST; 40]].concat(),
            Outcome::Status(431),
        ),
    ];
    let mut wrong = Vec::new();
    for (what, section, expected) in &cases {
        let mut attacker = Attacker::connect(&stage, &frame(SETTINGS, 0, 0, &[])).await;
        assert!(attacker.send(&headers(1, END_STREAM, section)).await);
        let outcome = outcome(&mut attacker, 1).await;
        if outcome != *expected {
            wrong.push(format!("{what}: {outcome:?} rather than {expected:?}"));
            continue;
        }
        let lives = attacker.sees_pong(1).await;
        assert_eq!(lives, !matches!(outcome, Outcome::Closed(_)), "{what}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    neighbour.is_well("malformed requests").await;
    assert!(origin.saw_nothing_more(), "no malformed request reached the backend");
}

/// What breaks the framing or the state of the connection ends it.
#[tokio::test]
async fn what_breaks_the_connection_ends_it() {
    const FRAME_SIZE_ERROR: u32 = 6;
    const COMPRESSION_ERROR: u32 = 9;
    const MOST_CREDIT: u32 = (1 << 31) - 1;
    const PRIORITY: u8 = 2;
    const PUSH_PROMISE: u8 = 5;
    let origin = Origin::http1("one").await;
    let (stage, neighbour) = Neighbour::beside(origin.address).await;
    let good = headers(1, END_STREAM, &get(&[]));
    let hang = headers(1, END_STREAM, &request("GET", "/hang", &[]));
    let protocol = &[Outcome::Closed(PROTOCOL_ERROR)][..];
    let flow = &[Outcome::Closed(FLOW_CONTROL_ERROR)][..];
    // Where the RFC names another code, h2 says PROTOCOL_ERROR for whatever it cannot parse; the end is the same.
    let size = &[Outcome::Closed(FRAME_SIZE_ERROR), Outcome::Closed(PROTOCOL_ERROR)][..];
    let flow_or_protocol = &[Outcome::Closed(FLOW_CONTROL_ERROR), Outcome::Closed(PROTOCOL_ERROR)][..];
    let cases: Vec<(&str, Vec<u8>, &[Outcome])> = vec![
        ("SETTINGS_MAX_FRAME_SIZE of 0 (section 6.5.2)", setting(MAX_FRAME_SIZE, 0), protocol),
        ("SETTINGS_MAX_FRAME_SIZE of 2^24", setting(MAX_FRAME_SIZE, 1 << 24), protocol),
        ("SETTINGS_INITIAL_WINDOW_SIZE of 2^31", setting(INITIAL_WINDOW_SIZE, 1 << 31), flow_or_protocol),
        ("SETTINGS_ENABLE_PUSH of 2", setting(2, 2), protocol),
        ("SETTINGS of five octets (section 6.5)", frame(SETTINGS, 0, 0, &[0; 5]), size),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), protocol),
        ("PING of seven octets (section 6.7)", frame(PING, 0, 0, &[0; 7]), size),
        ("PING on a stream", frame(PING, 0, 1, &[0; 8]), protocol),
        ("WINDOW_UPDATE beyond 2^31-1 (section 6.9.1)", window_update(0, MOST_CREDIT), flow),
        ("WINDOW_UPDATE of 0 for the connection (section 6.9)", window_update(0, 0), protocol),
        ("a frame of more than 16,384 octets (section 4.2)", frame(DATA, 0, 1, &[0; 16_385]), size),
        ("an even stream (section 5.1.1)", headers(2, END_STREAM, &get(&[])), protocol),
        (
            "a stream below the last",
            [headers(5, END_STREAM, &get(&[])), headers(3, END_STREAM, &get(&[]))].concat(),
            protocol,
        ),
        ("DATA on an idle stream (section 5.1)", frame(DATA, 0, 1, b"x"), protocol),
        ("RST_STREAM on an idle stream", reset(1), protocol),
        ("WINDOW_UPDATE on an idle stream", window_update(1, 1), protocol),
        ("HEADERS on stream 0", headers(0, END_STREAM, &get(&[])), protocol),
        ("CONTINUATION out of nowhere (section 6.10)", frame(CONTINUATION, END_HEADERS, 1, &get(&[])), protocol),
        ("another frame within a section", [frame(HEADERS, END_STREAM, 1, &get(&[])), ping(1)].concat(), protocol),
        ("PUSH_PROMISE from a client (section 8.4)", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), protocol),
        (
            "an index beyond the table (RFC 7541 section 2.3.3)",
            headers(1, END_STREAM, &[0xff, 0xff, 0x03]),
            &[Outcome::Closed(COMPRESSION_ERROR), Outcome::Closed(PROTOCOL_ERROR)],
        ),
        (
            "HEADERS behind END_STREAM (section 5.1)",
            [&hang[..], &headers(1, END_STREAM, &section(&[("x", "y")]))].concat(),
            &[Outcome::Closed(STREAM_CLOSED), Outcome::Reset(STREAM_CLOSED), Outcome::Closed(PROTOCOL_ERROR)],
        ),
        (
            "DATA behind END_STREAM",
            [&hang[..], &frame(DATA, 0, 1, b"x")].concat(),
            &[Outcome::Closed(STREAM_CLOSED), Outcome::Reset(STREAM_CLOSED), Outcome::Closed(PROTOCOL_ERROR)],
        ),
        (
            "a stream that depends on itself (RFC 7540 section 5.3.1)",
            [&hang[..], &frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0])].concat(),
            &[Outcome::Reset(PROTOCOL_ERROR), Outcome::Closed(PROTOCOL_ERROR)],
        ),
        (
            "WINDOW_UPDATE beyond 2^31-1 for a stream",
            [&hang[..], &window_update(1, MOST_CREDIT)].concat(),
            &[Outcome::Reset(FLOW_CONTROL_ERROR)],
        ),
    ];
    let mut wrong = Vec::new();
    for (what, octets, expected) in &cases {
        let mut attacker = Attacker::connect(&stage, &frame(SETTINGS, 0, 0, &[])).await;
        attacker.send(octets).await;
        let outcome = attacker
            .wait_for(what, |event| match *event {
                Event::Reset { code, .. } => Some(Outcome::Reset(code)),
                Event::GoAway { code } => Some(Outcome::Closed(code)),
                _ => None,
            })
            .await;
        if !expected.contains(&outcome) {
            wrong.push(format!("{what}: {outcome:?} rather than one of {expected:?}"));
        } else if matches!(outcome, Outcome::Closed(_)) {
            attacker.goodbye().await;
        } else {
            assert!(attacker.sees_pong(1).await, "{what}: the connection goes on");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A stream that was answered in full is closed: what comes on it later is an error, or ignored for a while.
    let mut attacker = Attacker::connect(&stage, &frame(SETTINGS, 0, 0, &[])).await;
    assert!(attacker.send(&good).await);
    attacker.wait_for("the answer's end", |event| matches!(event, Event::Data { end: true, .. }).then_some(())).await;
    assert!(attacker.send(&good).await);
    let late = attacker
        .wait_for("an outcome", |event| match *event {
            Event::GoAway { code } | Event::Reset { code, .. } => Some(code),
            _ => None,
        })
        .await;
    assert!([STREAM_CLOSED, PROTOCOL_ERROR].contains(&late), "HEADERS on a closed stream: {late}");
    neighbour.is_well("broken connections").await;
}
