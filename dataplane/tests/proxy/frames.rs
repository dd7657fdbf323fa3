//! HTTP/3 octet by octet on bare quinn: what is legal and unusual is served, what is broken ends the stream or the
//! connection with the code that RFC 9114 and RFC 9204 name, and never anything else.

use quinn::{ConnectionError, ReadError, ReadToEndError};

use crate::backend::Origin;
use crate::client::{Connection, Version, get, quic};
use crate::patience::within;
use crate::stage::table::{backend, forward};
use crate::stage::{HOST, Stage};

/// A frame (RFC 9114 section 7.1) of fewer than 16384 octets.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = 0x4000 | u16::try_from(payload.len()).unwrap();
    [&[kind], &length.to_be_bytes()[..], payload].concat()
}

/// GET / for [`HOST`], with the static table and one literal (RFC 9204 section 4.5).
fn section() -> Vec<u8> {
    let mut section = vec![0, 0, 0xd1, 0xd7, 0xc1, 0x50, HOST.len() as u8];
    section.extend_from_slice(HOST.as_bytes());
    section
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// HEADERS came, and the end of the stream.
    Answered,
    Reset(u64),
    Closed(u64),
}

/// Sends octets on a request stream, in pieces, and FIN.
async fn ask(client: &quic::Client, pieces: &[&[u8]]) -> Outcome {
    let (mut send, mut recv) = client.connection.open_bi().await.unwrap();
    for piece in pieces {
        if send.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    // Refused where the server has stopped the stream or closed the connection, which is told below.
    let _refused = send.finish();
    let closed = |error: ConnectionError| match error {
        ConnectionError::ApplicationClosed(close) => Outcome::Closed(close.error_code.into_inner()),
        other => panic!("{other}"),
    };
    match within("an end of the stream", recv.read_to_end(1 << 20)).await {
        Ok(answer) => {
            assert_eq!(answer.first(), Some(&1), "HEADERS come first: {answer:?}");
            Outcome::Answered
        }
        Err(ReadToEndError::Read(ReadError::Reset(code))) => Outcome::Reset(code.into_inner()),
        Err(ReadToEndError::Read(ReadError::ConnectionLost(error))) => closed(error),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_request_streams_may_carry() {
    let origin = Origin::http1("one").await;
    let stage = Stage::serving(vec![forward("/", "app")], vec![backend("app", &[origin.address])]).await;
    let good = frame(1, &section());
    let octets: Vec<&[u8]> = good.chunks(1).collect();
    let unknown = frame(0x21, b"whatever");
    let no_path = frame(1, &[0, 0, 0xd1, 0xd7]);
    // `X: y`, with the name in upper case.
    let upper_case = frame(1, &[section(), vec![0x21, b'X', 1, b'y']].concat());
    let dynamic = frame(1, &[2, 0, 0x80]);
    let cases: Vec<(&str, Vec<&[u8]>, Outcome)> = vec![
        ("in one piece", vec![&good], Outcome::Answered),
        ("octet by octet", octets, Outcome::Answered),
        ("after a frame of no known type", vec![&unknown, &good, &unknown], Outcome::Answered),
        ("no path", vec![&no_path], Outcome::Reset(0x10e)),
        ("a name in upper case", vec![&upper_case], Outcome::Reset(0x10e)),
        ("nothing", vec![], Outcome::Reset(0x10d)),
        ("DATA first", vec![b"\x00\x01x", &good], Outcome::Closed(0x105)),
        ("SETTINGS", vec![b"\x04\x00"], Outcome::Closed(0x105)),
        ("a frame of HTTP/2", vec![b"\x02\x00"], Outcome::Closed(0x105)),
        ("half a frame", vec![&good[..10]], Outcome::Closed(0x106)),
        ("a reference to a dynamic table that has no room", vec![&dynamic], Outcome::Closed(0x200)),
    ];
    for (what, pieces, expected) in cases {
        let client = quic::Client::connect(&stage, HOST).await;
        // An empty SETTINGS on the control stream (section 6.2.1).
        let mut control = client.connection.open_uni().await.unwrap();
        control.write_all(b"\x00\x04\x00").await.unwrap();
        assert_eq!(ask(&client, &pieces).await, expected, "{what}");
        if matches!(expected, Outcome::Reset(_)) {
            assert_eq!(ask(&client, &[&good]).await, Outcome::Answered, "after {what}: the connection goes on");
        }
    }
    // A length beyond every bound is answered (431) before any of it is there.
    let client = quic::Client::connect(&stage, HOST).await;
    let huge = ask(&client, &[b"\x01\xbf\xff\xff\xff", b"some"]).await;
    assert_eq!(huge, Outcome::Answered);
    let answer = Connection::open(&stage, Version::Http3).await.fetch(get("/")).await.unwrap();
    assert_eq!(answer.status, 200, "everybody else is served");
}
