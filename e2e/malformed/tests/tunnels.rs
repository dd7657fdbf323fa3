//! A tunnel that its client breaks at any point of its life: that tunnel is over on both sides, with the code for it, and
//! neither its connection's other streams nor anybody else's tunnels are.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::time::Duration;

use h3i::actions::h3::{Action, StreamEventType, WaitType};
use headrace_e2e::Site;
use headrace_malformed::neighbour::Neighbour;
use headrace_malformed::octets::*;
use headrace_malformed::{
    Outcome, REQUEST, bytes, close, content, get, handshake, outcome, reset, run, settings as good_settings, status,
    wait,
};

/// H3_REQUEST_CANCELLED.
const CANCELLED: u64 = 0x10c;

/// H3_REQUEST_INCOMPLETE.
const INCOMPLETE: u64 = 0x10d;

/// The stream of the request that comes after.
const NEXT: u64 = 4;

/// What is done on one tunnel, and what must be seen of it.
struct Case {
    what: &'static str,
    actions: Vec<Action>,
    /// Statuses of the handshake, any of which will do: a reset may overtake the answer.
    statuses: &'static [Option<u16>],
    /// The codes of RESET_STREAM, likewise.
    resets: &'static [Option<u64>],
}

#[test]
fn a_tunnel_may_be_reset_at_any_point() {
    let mut site = Site::start().unwrap();
    let port = site.https;
    let neighbour = Neighbour::beside(port);
    let pause = || Action::from(WaitType::WaitDuration(Duration::from_millis(100)));
    let cancel = || Action::ResetStream { stream_id: REQUEST, error_code: CANCELLED };
    let stop = || Action::StopSending { stream_id: REQUEST, error_code: CANCELLED };
    let opened = || vec![handshake(port, REQUEST), wait(REQUEST, StreamEventType::Headers)];
    let says = |octets: Vec<u8>| bytes(REQUEST, frame(DATA, &octets), false);
    let echo = || vec![says(message(b"one")), wait(REQUEST, StreamEventType::Data)];
    let over = || wait(REQUEST, StreamEventType::Finished);
    let cases = vec![
        Case {
            what: "right behind the handshake",
            actions: vec![handshake(port, REQUEST), cancel(), pause()],
            statuses: &[None, Some(200)],
            // QUIC drops what a reset overtakes, the handshake itself perhaps (RFC 9114 section 4.1).
            resets: &[None, Some(CANCELLED), Some(INCOMPLETE)],
        },
        Case {
            what: "once it is open",
            actions: [opened(), vec![cancel(), over()]].concat(),
            statuses: &[Some(200)],
            resets: &[Some(CANCELLED)],
        },
        Case {
            what: "within a WebSocket frame",
            actions: [opened(), vec![says(message(b"one")[..3].to_vec()), pause(), cancel(), over()]].concat(),
            statuses: &[Some(200)],
            resets: &[Some(CANCELLED)],
        },
        Case {
            what: "within a DATA frame",
            actions: [opened(), vec![bytes(REQUEST, declared(DATA, HUGE, b"x"), false), pause(), cancel(), over()]]
                .concat(),
            statuses: &[Some(200)],
            resets: &[Some(CANCELLED)],
        },
        Case {
            what: "between messages",
            actions: [opened(), echo(), vec![cancel(), over()]].concat(),
            statuses: &[Some(200)],
            resets: &[Some(CANCELLED)],
        },
        Case {
            what: "by RESET_STREAM and STOP_SENDING",
            actions: [opened(), echo(), vec![cancel(), stop(), pause()]].concat(),
            statuses: &[Some(200)],
            resets: &[None, Some(CANCELLED)],
        },
        Case {
            what: "by STOP_SENDING alone",
            actions: [opened(), echo(), vec![stop(), pause()]].concat(),
            statuses: &[Some(200)],
            resets: &[None, Some(CANCELLED)],
        },
        Case {
            what: "by its good end",
            actions: [opened(), echo(), vec![bytes(REQUEST, vec![], true), over()]].concat(),
            statuses: &[Some(200)],
            resets: &[None],
        },
    ];
    let mut wrong = Vec::new();
    for case in cases {
        let after = [get(port, NEXT), wait(NEXT, StreamEventType::Finished), close()];
        let summary = run(port, [vec![good_settings()], case.actions, after.to_vec()].concat());
        let seen = (status(&summary, REQUEST), reset(&summary, REQUEST));
        if !case.statuses.contains(&seen.0) || !case.resets.contains(&seen.1) {
            wrong.push(format!("{}: {seen:?}", case.what));
        }
        if (status(&summary, NEXT), content(&summary, NEXT).len()) != (Some(200), 10) {
            wrong.push(format!("{}: the connection does not serve: {:?}", case.what, summary.conn_close_details));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", site.tails());
    neighbour.is_well(port);
    site.headrace.wait_for_metric("headrace_dataplane_tunnels_open", &["http3"], |open| open == 0.0).unwrap();
}

/// RFC 9114 section 4.4: a tunnel carries DATA, and any other frame that is known ends the connection.
#[test]
fn a_tunnel_carries_data_alone() {
    let mut site = Site::start().unwrap();
    let port = site.https;
    let neighbour = Neighbour::beside(port);
    let broken = [
        ("HEADERS", frame(HEADERS, &[0, 0, 0xd1])),
        ("SETTINGS", settings(&[])),
        ("PUSH_PROMISE", frame(PUSH_PROMISE, &[0, 0, 0])),
        ("GOAWAY", frame(GOAWAY, &[0])),
        ("PING of HTTP/2", frame(6, &[0; 8])),
    ];
    let mut wrong = Vec::new();
    for (what, octets) in broken {
        let opened = vec![good_settings(), handshake(port, REQUEST), wait(REQUEST, StreamEventType::Headers)];
        let outcome = outcome(port, [opened, vec![bytes(REQUEST, octets, false)]].concat());
        if outcome != Outcome::Closed(0x105) {
            wrong.push(format!("{what}: {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", site.tails());
    // What is not known is skipped.
    let octets = [frame(UNKNOWN, b"whatever"), frame(DATA, &message(b"one")), frame(UNKNOWN, b"")].concat();
    let summary = run(
        port,
        vec![
            good_settings(),
            handshake(port, REQUEST),
            wait(REQUEST, StreamEventType::Headers),
            bytes(REQUEST, octets, false),
            wait(REQUEST, StreamEventType::Data),
            close(),
        ],
    );
    assert_eq!(content(&summary, REQUEST), echoed(b"one"));
    neighbour.is_well(port);
    site.headrace.wait_for_metric("headrace_dataplane_tunnels_open", &["http3"], |open| open == 0.0).unwrap();
}
