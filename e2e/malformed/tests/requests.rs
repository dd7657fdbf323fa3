//! What a client may say on a request stream (RFC 9114 sections 4 and 7): a malformed request resets its stream, a broken
//! sequence of frames ends the connection, and what is merely not served gets a status.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use h3i::actions::h3::{Action, send_headers_frame, send_headers_frame_literal};
use headrace_e2e::Site;
use headrace_malformed::neighbour::Neighbour;
use headrace_malformed::octets::*;
use headrace_malformed::{Outcome, REQUEST, bytes, fields, headers, outcome, settings as good_settings};

const UNEXPECTED: Outcome = Outcome::Closed(0x105);
const FRAME_ERROR: Outcome = Outcome::Closed(0x106);
const INCOMPLETE: Outcome = Outcome::Reset(0x10d);
const MALFORMED: Outcome = Outcome::Reset(0x10e);
/// Content that is not what its head says, which shows when the request is already on its way. An answer may come before
/// the stream is given up (RFC 9114 section 4.1.2), and must not blame the backend.
const BAD_REQUEST: Outcome = Outcome::Status(400);
const DECOMPRESSION_FAILED: Outcome = Outcome::Closed(0x200);

fn play(site: &Site, cases: Vec<(&str, Vec<Action>, Outcome)>) {
    let mut wrong = Vec::new();
    for (what, actions, expected) in cases {
        let outcome = outcome(site.https, [vec![good_settings()], actions].concat());
        if outcome != expected {
            wrong.push(format!("{what}: {outcome:?} rather than {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", site.tails());
}

#[test]
fn frames_out_of_order_or_out_of_measure() {
    let site = Site::start().unwrap();
    let port = site.https;
    let neighbour = Neighbour::beside(port);
    let raw = |octets: Vec<u8>| vec![bytes(REQUEST, octets, true)];
    // A request with content, and what follows it.
    let post = |more: &[(&str, &str)], then: Vec<u8>| {
        let head = send_headers_frame(REQUEST, false, fields(port, "POST", "/upload", more));
        vec![head, bytes(REQUEST, then, true)]
    };
    let trailers = || {
        let Action::SendHeadersFrame { frame: h3i::quiche::h3::frame::Frame::Headers { header_block }, .. } =
            send_headers_frame(REQUEST, false, headers(&[("x-checksum", "1")]))
        else {
            unreachable!("h3i makes HEADERS of headers")
        };
        frame(HEADERS, &header_block)
    };
    let data = || frame(DATA, b"some");
    let cases = vec![
        ("nothing", raw(vec![]), INCOMPLETE),
        ("DATA first", raw(data()), UNEXPECTED),
        ("SETTINGS", raw(settings(&[])), UNEXPECTED),
        ("GOAWAY", raw(frame(GOAWAY, &[0])), UNEXPECTED),
        ("MAX_PUSH_ID", raw(frame(MAX_PUSH_ID, &[0])), UNEXPECTED),
        ("CANCEL_PUSH", raw(frame(CANCEL_PUSH, &[0])), UNEXPECTED),
        ("PUSH_PROMISE", raw(frame(PUSH_PROMISE, &[0, 0, 0])), UNEXPECTED),
        ("PRIORITY of HTTP/2", raw(frame(2, b"")), UNEXPECTED),
        ("half of a type", raw(vec![0x40]), FRAME_ERROR),
        ("a type without a length", raw(vec![1]), FRAME_ERROR),
        ("half of HEADERS", raw(declared(HEADERS, 100, &[0, 0])), FRAME_ERROR),
        ("HEADERS of 2^62-1 octets", raw(declared(HEADERS, HUGE, &[0; 1000])), Outcome::Status(431)),
        ("HEADERS of no octets", raw(frame(HEADERS, b"")), DECOMPRESSION_FAILED),
        ("a reference to the dynamic table", raw(frame(HEADERS, &[2, 0, 0x80])), DECOMPRESSION_FAILED),
        ("a reference beyond the static table", raw(frame(HEADERS, &[0, 0, 0xff, 0x24])), DECOMPRESSION_FAILED),
        ("an unknown frame of 2^62-1 octets", raw(declared(UNKNOWN, HUGE, &[0; 1000])), FRAME_ERROR),
        ("an unknown frame and nothing", raw(frame(UNKNOWN, &[0; 1000])), INCOMPLETE),
        ("DATA of 2^62-1 octets", post(&[], declared(DATA, HUGE, &[0; 1000])), FRAME_ERROR),
        ("DATA behind trailers", post(&[], [data(), trailers(), data()].concat()), UNEXPECTED),
        ("trailers twice", post(&[], [data(), trailers(), trailers()].concat()), UNEXPECTED),
        ("SETTINGS behind DATA", post(&[], [data(), settings(&[])].concat()), UNEXPECTED),
        ("less than content-length", post(&[("content-length", "5")], data()), BAD_REQUEST),
        ("more than content-length", post(&[("content-length", "3")], data()), BAD_REQUEST),
        ("content as it should be", post(&[("content-length", "4")], data()), Outcome::Status(200)),
        (
            "unknown frames between",
            post(&[], [frame(UNKNOWN, b"?"), data(), frame(UNKNOWN, b"")].concat()),
            Outcome::Status(200),
        ),
    ];
    play(&site, cases);
    neighbour.is_well(port);
}

#[test]
fn pseudo_headers_and_fields() {
    let site = Site::start().unwrap();
    let port = site.https;
    let neighbour = Neighbour::beside(port);
    let authority = format!("localhost:{port}");
    let head = [(":method", "GET"), (":scheme", "https"), (":authority", authority.as_str()), (":path", "/bytes/10")];
    // Names go out as they are written.
    let send = |fields: &[(&str, &str)]| vec![send_headers_frame_literal(REQUEST, true, headers(fields))];
    let with = |more: &[(&'static str, &'static str)]| send(&[&head, more].concat());
    let without = |name: &str, more: &[(&'static str, &'static str)]| {
        let kept: Vec<_> = head.into_iter().filter(|(field, _)| *field != name).chain(more.iter().copied()).collect();
        send(&kept)
    };
    let connect = |without: &str, more: &[(&'static str, &'static str)]| {
        let head =
            [(":method", "CONNECT"), (":scheme", "https"), (":authority", authority.as_str()), (":path", "/echo")];
        let kept: Vec<_> =
            head.into_iter().filter(|(field, _)| !without.contains(field)).chain(more.iter().copied()).collect();
        vec![send_headers_frame(REQUEST, false, headers(&kept))]
    };
    let websocket = (":protocol", "websocket");
    let cases = vec![
        ("a good request", with(&[]), Outcome::Status(200)),
        ("a name in upper case", with(&[("X-Upper", "y")]), MALFORMED),
        ("no method", without(":method", &[]), MALFORMED),
        ("no scheme", without(":scheme", &[]), MALFORMED),
        ("no path", without(":path", &[]), MALFORMED),
        ("no authority", without(":authority", &[]), MALFORMED),
        ("an empty path", without(":path", &[(":path", "")]), MALFORMED),
        ("an empty authority", without(":authority", &[(":authority", "")]), MALFORMED),
        ("a Host that is another", with(&[("host", "other.example")]), MALFORMED),
        ("two paths", with(&[(":path", "/other")]), MALFORMED),
        ("a pseudo-header behind a field", without(":path", &[("x", "y"), (":path", "/bytes/10")]), MALFORMED),
        ("a response's pseudo-header", with(&[(":status", "200")]), MALFORMED),
        ("an unknown pseudo-header", with(&[(":colour", "red")]), MALFORMED),
        ("connection", with(&[("connection", "x-forwarded-for")]), MALFORMED),
        ("keep-alive", with(&[("keep-alive", "timeout=5")]), MALFORMED),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")]), MALFORMED),
        ("upgrade", with(&[("upgrade", "websocket")]), MALFORMED),
        ("te other than trailers", with(&[("te", "gzip")]), MALFORMED),
        ("te: trailers", with(&[("te", "trailers")]), Outcome::Status(200)),
        ("a line feed in a value", with(&[("x", "a\r\nb: c")]), MALFORMED),
        ("NUL in a value", with(&[("x", "a\0b")]), MALFORMED),
        ("a space in a name", with(&[("x y", "z")]), MALFORMED),
        ("a space in the method", without(":method", &[(":method", "GET / HTTP/1.1")]), MALFORMED),
        ("content-lengths that differ", with(&[("content-length", "0"), ("content-length", "1")]), MALFORMED),
        ("a content-length without content", with(&[("content-length", "5")]), BAD_REQUEST),
        (":protocol on GET (RFC 8441 section 4)", without("", &[(":protocol", "websocket")]), MALFORMED),
        ("extended CONNECT without a path", connect(":path", &[websocket]), MALFORMED),
        ("extended CONNECT without a scheme", connect(":scheme", &[websocket]), MALFORMED),
        ("extended CONNECT with a content-length", connect("", &[websocket, ("content-length", "0")]), MALFORMED),
        ("an unknown :protocol", connect("", &[(":protocol", "carrier-pigeon")]), Outcome::Status(501)),
        ("an empty :protocol", connect("", &[(":protocol", "")]), MALFORMED),
        ("CONNECT with a path (RFC 9114 section 4.4)", connect("", &[]), MALFORMED),
        ("CONNECT", connect(":path :scheme", &[]), Outcome::Status(405)),
    ];
    play(&site, cases);
    neighbour.is_well(port);
}
