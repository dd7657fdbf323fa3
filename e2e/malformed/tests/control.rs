//! What a client may say on its unidirectional streams (RFC 9114 section 6.2, RFC 9204 section 4.2): whatever else ends
//! the connection with the code that is named for it.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use h3i::actions::h3::{Action, WaitType};
use headrace_e2e::Site;
use headrace_malformed::neighbour::Neighbour;
use headrace_malformed::octets::*;
use headrace_malformed::{CONTROL, Outcome, SECOND, THIRD, bytes, get, outcome, settings as good_settings};

const STREAM_CREATION: Outcome = Outcome::Closed(0x103);
const CLOSED_CRITICAL: Outcome = Outcome::Closed(0x104);
const UNEXPECTED: Outcome = Outcome::Closed(0x105);
const FRAME_ERROR: Outcome = Outcome::Closed(0x106);
const EXCESSIVE: Outcome = Outcome::Closed(0x107);
const ID_ERROR: Outcome = Outcome::Closed(0x108);
const SETTINGS_ERROR: Outcome = Outcome::Closed(0x109);
const MISSING_SETTINGS: Outcome = Outcome::Closed(0x10a);
const ENCODER_STREAM: Outcome = Outcome::Closed(0x201);
const DECODER_STREAM: Outcome = Outcome::Closed(0x202);
const SERVED: Outcome = Outcome::Status(200);

/// The control stream with these frames behind its type.
fn control(frames: &[&[u8]]) -> Vec<Action> {
    vec![bytes(CONTROL, typed(0, frames), false)]
}

/// The same behind an empty SETTINGS.
fn settled(frames: &[&[u8]]) -> Vec<Action> {
    control(&[&[&settings(&[])[..]], frames].concat())
}

fn id(kind: u64, id: u64) -> Vec<u8> {
    frame(kind, &integer(id))
}

#[test]
fn what_unidirectional_streams_may_carry() {
    let site = Site::start().unwrap();
    let port = site.https;
    let neighbour = Neighbour::beside(port);
    let uni = |stream, octets: Vec<u8>| vec![good_settings(), bytes(stream, octets, false)];
    let cases: Vec<(&str, Vec<Action>, Outcome)> = vec![
        ("no control stream", vec![], SERVED),
        ("GOAWAY in place of SETTINGS", control(&[&id(GOAWAY, 0)]), MISSING_SETTINGS),
        ("an unknown frame in place of SETTINGS", control(&[&frame(UNKNOWN, b"x")]), MISSING_SETTINGS),
        ("DATA in place of SETTINGS", control(&[&frame(DATA, b"x")]), MISSING_SETTINGS),
        ("SETTINGS twice", settled(&[&settings(&[])]), UNEXPECTED),
        ("a setting twice", control(&[&settings(&[(6, 100), (6, 100)])]), SETTINGS_ERROR),
        ("a setting of HTTP/2, 0x2", control(&[&settings(&[(2, 0)])]), SETTINGS_ERROR),
        ("a setting of HTTP/2, 0x3", control(&[&settings(&[(3, 100)])]), SETTINGS_ERROR),
        ("a setting of HTTP/2, 0x4", control(&[&settings(&[(4, 100)])]), SETTINGS_ERROR),
        ("a setting of HTTP/2, 0x5", control(&[&settings(&[(5, 100)])]), SETTINGS_ERROR),
        ("a setting that means nothing", control(&[&settings(&[(0x21, HUGE)])]), SERVED),
        ("ENABLE_CONNECT_PROTOCOL of 2", control(&[&settings(&[(8, 2)])]), SETTINGS_ERROR),
        ("H3_DATAGRAM of 2", control(&[&settings(&[(0x33, 2)])]), SETTINGS_ERROR),
        ("half a setting", control(&[&frame(SETTINGS, &[6])]), FRAME_ERROR),
        ("SETTINGS of 2^62-1 octets", control(&[&declared(SETTINGS, HUGE, &[])]), EXCESSIVE),
        ("an unknown frame of 2^62-1 octets", settled(&[&declared(UNKNOWN, HUGE, &[0; 500])]), SERVED),
        ("DATA", settled(&[&frame(DATA, b"x")]), UNEXPECTED),
        ("HEADERS", settled(&[&frame(HEADERS, b"x")]), UNEXPECTED),
        ("PUSH_PROMISE", settled(&[&frame(PUSH_PROMISE, &[0, 0, 0])]), UNEXPECTED),
        ("PRIORITY of HTTP/2", settled(&[&frame(2, b"")]), UNEXPECTED),
        ("PING of HTTP/2", settled(&[&frame(6, b"")]), UNEXPECTED),
        ("WINDOW_UPDATE of HTTP/2", settled(&[&frame(8, b"")]), UNEXPECTED),
        ("CONTINUATION of HTTP/2", settled(&[&frame(9, b"")]), UNEXPECTED),
        ("CANCEL_PUSH of no push", settled(&[&id(CANCEL_PUSH, 0)]), ID_ERROR),
        ("GOAWAY with an ID that grows", settled(&[&id(GOAWAY, 1), &id(GOAWAY, 5)]), ID_ERROR),
        ("GOAWAY with an ID that shrinks", settled(&[&id(GOAWAY, 5), &id(GOAWAY, 1)]), SERVED),
        ("MAX_PUSH_ID that grows", settled(&[&id(MAX_PUSH_ID, 1), &id(MAX_PUSH_ID, 5)]), SERVED),
        ("MAX_PUSH_ID that shrinks", settled(&[&id(MAX_PUSH_ID, 5), &id(MAX_PUSH_ID, 1)]), ID_ERROR),
        ("MAX_PUSH_ID of nine octets", settled(&[&frame(MAX_PUSH_ID, &[0; 9])]), FRAME_ERROR),
        ("MAX_PUSH_ID with something behind", settled(&[&frame(MAX_PUSH_ID, &[0; 2])]), FRAME_ERROR),
        ("GOAWAY of nothing", settled(&[&frame(GOAWAY, b"")]), FRAME_ERROR),
        ("the control stream ends", vec![bytes(CONTROL, typed(0, &[&settings(&[])]), true)], CLOSED_CRITICAL),
        (
            "the control stream is reset",
            vec![good_settings(), pause(), Action::ResetStream { stream_id: CONTROL, error_code: 0x100 }],
            CLOSED_CRITICAL,
        ),
        ("a second control stream", uni(SECOND, typed(0, &[&settings(&[])])), STREAM_CREATION),
        ("a push stream", uni(SECOND, typed(1, &[&[0]])), STREAM_CREATION),
        ("a stream of no known kind", uni(SECOND, typed(UNKNOWN, &[&[0; 100]])), SERVED),
        ("a stream that ends before its type", vec![good_settings(), bytes(SECOND, [0x40], true)], SERVED),
        (
            "two encoder streams",
            [uni(SECOND, typed(2, &[])), vec![bytes(THIRD, typed(2, &[]), false)]].concat(),
            STREAM_CREATION,
        ),
        (
            "two decoder streams",
            [uni(SECOND, typed(3, &[])), vec![bytes(THIRD, typed(3, &[]), false)]].concat(),
            STREAM_CREATION,
        ),
        ("a dynamic table beyond what was allowed", uni(SECOND, typed(2, &[&[0x3f, 0xe1, 0x1f]])), ENCODER_STREAM),
        ("an insertion into a table of no size", uni(SECOND, typed(2, &[b"\x41x\x01y"])), ENCODER_STREAM),
        ("an acknowledgement of no section", uni(SECOND, typed(3, &[&[0x80]])), DECODER_STREAM),
        ("an insert count that grows by 0", uni(SECOND, typed(3, &[&[0]])), DECODER_STREAM),
    ];
    let mut wrong = Vec::new();
    for (what, mut actions, expected) in cases {
        // What ends the connection must be read before the request, whose answer would be there as well.
        if matches!(expected, Outcome::Closed(_)) {
            actions.push(WaitType::WaitDuration(GRACE).into());
        } else {
            actions.push(get(port, 0));
        }
        let outcome = if matches!(expected, Outcome::Closed(_)) {
            headrace_malformed::judge(&headrace_malformed::run(port, actions))
        } else {
            outcome(port, actions)
        };
        if outcome != expected {
            wrong.push(format!("{what}: {outcome:?} rather than {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", site.tails());
    neighbour.is_well(port);
}

/// Longer than it takes to close a connection on the loopback; the connection's own end comes first.
const GRACE: std::time::Duration = std::time::Duration::from_secs(2);

/// Lets what was sent arrive.
fn pause() -> Action {
    WaitType::WaitDuration(std::time::Duration::from_millis(100)).into()
}
