//! Clients that break the protocol: each gets the code that the RFC names, and nobody else notices.

use headrace_http3::{Code, frame::FrameType as T, stream_type::StreamType, varint};
use tokio::time::timeout;

use crate::{
    endpoints::{PATIENCE, endpoints},
    raw::{
        End::{self, Fin, Open},
        Raw, control, declared, frame, request, request_with, reset_code, section, stop_code, websocket,
    },
};

const WINDOW: u32 = 256 << 10;

/// What is written on one request stream, and the code that the connection is closed with.
#[tokio::test]
async fn request_streams_that_end_the_connection() {
    let get = request("GET", "/echo");
    let cases: Vec<(&str, Vec<u8>, End, Code)> = vec![
        ("DATA first", frame(T::DATA, b"x"), Open, Code::H3_FRAME_UNEXPECTED),
        ("empty DATA first", frame(T::DATA, b""), Open, Code::H3_FRAME_UNEXPECTED),
        ("SETTINGS", frame(T::SETTINGS, &[]), Open, Code::H3_FRAME_UNEXPECTED),
        ("GOAWAY", frame(T::GOAWAY, &[0]), Open, Code::H3_FRAME_UNEXPECTED),
        ("MAX_PUSH_ID", frame(T::MAX_PUSH_ID, &[0]), Open, Code::H3_FRAME_UNEXPECTED),
        ("CANCEL_PUSH", frame(T::CANCEL_PUSH, &[0]), Open, Code::H3_FRAME_UNEXPECTED),
        ("PUSH_PROMISE", frame(T::PUSH_PROMISE, &[0, 0, 0]), Open, Code::H3_FRAME_UNEXPECTED),
        ("PRIORITY_UPDATE", frame(T::PRIORITY_UPDATE_REQUEST, &[0]), Open, Code::H3_FRAME_UNEXPECTED),
        ("an HTTP/2 frame", frame(T(0x06), &[0; 8]), Open, Code::H3_FRAME_UNEXPECTED),
        ("a huge HTTP/2 frame", declared(T(0x02), varint::MAX), Open, Code::H3_FRAME_UNEXPECTED),
        ("SETTINGS after the head", [&get[..], &frame(T::SETTINGS, &[])].concat(), Open, Code::H3_FRAME_UNEXPECTED),
        ("an HTTP/2 frame after the head", [&get[..], &[0x08, 0]].concat(), Open, Code::H3_FRAME_UNEXPECTED),
        (
            "PUSH_PROMISE in the content",
            [&get[..], &frame(T::DATA, b"x"), &frame(T::PUSH_PROMISE, &[0, 0, 0])].concat(),
            Open,
            Code::H3_FRAME_UNEXPECTED,
        ),
        (
            "DATA after trailers",
            [&get[..], &frame(T::HEADERS, &section(&[("x", "y")])), &frame(T::DATA, b"x")].concat(),
            Open,
            Code::H3_FRAME_UNEXPECTED,
        ),
        (
            "trailers twice",
            [&get[..], &frame(T::HEADERS, &section(&[("x", "y")])), &frame(T::HEADERS, &section(&[]))].concat(),
            Open,
            Code::H3_FRAME_UNEXPECTED,
        ),
        (
            "trailers on a tunnel",
            [&websocket()[..], &frame(T::HEADERS, &section(&[("x", "y")]))].concat(),
            Open,
            Code::H3_FRAME_UNEXPECTED,
        ),
        ("a frame header cut off", vec![0x01], Fin, Code::H3_FRAME_ERROR),
        ("a long frame header cut off", vec![0x01, 0xc0, 0, 0], Fin, Code::H3_FRAME_ERROR),
        ("HEADERS cut off", get[..get.len() - 1].to_vec(), Fin, Code::H3_FRAME_ERROR),
        ("an unknown frame cut off", declared(T(0x21), 100), Fin, Code::H3_FRAME_ERROR),
        ("DATA cut off", [&get[..], &declared(T::DATA, 5), b"four"].concat(), Fin, Code::H3_FRAME_ERROR),
        ("DATA's header cut off", [&get[..], &[0x00]].concat(), Fin, Code::H3_FRAME_ERROR),
        ("trailers cut off", [&get[..], &declared(T::HEADERS, 50), &[0, 0]].concat(), Fin, Code::H3_FRAME_ERROR),
        ("an empty field section", frame(T::HEADERS, &[]), Open, Code::QPACK_DECOMPRESSION_FAILED),
        ("a dynamic reference", frame(T::HEADERS, &[0, 0, 0x80]), Open, Code::QPACK_DECOMPRESSION_FAILED),
        ("a required insert count", frame(T::HEADERS, &[2, 0, 0xd1]), Open, Code::QPACK_DECOMPRESSION_FAILED),
        ("a static index past the end", frame(T::HEADERS, &[0, 0, 0xff, 40]), Open, Code::QPACK_DECOMPRESSION_FAILED),
        ("no Huffman code", frame(T::HEADERS, &[0, 0, 0x51, 0x81, 0x00]), Open, Code::QPACK_DECOMPRESSION_FAILED),
        (
            "an endless integer",
            frame(T::HEADERS, &[&[0, 0, 0x5f][..], &[0x80; 40]].concat()),
            Open,
            Code::QPACK_DECOMPRESSION_FAILED,
        ),
        (
            "trailers with a dynamic reference",
            [&get[..], &frame(T::HEADERS, &[0, 0, 0x10])].concat(),
            Open,
            Code::QPACK_DECOMPRESSION_FAILED,
        ),
    ];
    let endpoints = endpoints(WINDOW);
    let neighbour = Raw::new(&endpoints).await;
    for (name, octets, end, code) in cases {
        let raw = Raw::new(&endpoints).await;
        let _streams = raw.bi(&octets, end).await;
        assert_eq!(raw.closed().await, code, "{name}");
    }
    neighbour.still_serves().await;
}

/// What is written on unidirectional streams, and the code that the connection is closed with.
#[tokio::test]
async fn unidirectional_streams_that_end_the_connection() {
    let stream = |stream_type: StreamType, octets: &[u8]| [&[stream_type.value() as u8][..], octets].concat();
    let settings = |pairs: &[u8]| stream(StreamType::Control, &frame(T::SETTINGS, pairs));
    let after_settings = |more: &[u8]| [&control()[..], more].concat();
    let cases: Vec<(&str, Vec<Vec<u8>>, Code)> = vec![
        ("two control streams", vec![control(), control()], Code::H3_STREAM_CREATION_ERROR),
        (
            "two encoder streams",
            vec![stream(StreamType::QpackEncoder, &[]), stream(StreamType::QpackEncoder, &[])],
            Code::H3_STREAM_CREATION_ERROR,
        ),
        (
            "two decoder streams",
            vec![stream(StreamType::QpackDecoder, &[]), stream(StreamType::QpackDecoder, &[])],
            Code::H3_STREAM_CREATION_ERROR,
        ),
        ("a push", vec![stream(StreamType::Push, &[0])], Code::H3_STREAM_CREATION_ERROR),
        ("GOAWAY first", vec![stream(StreamType::Control, &frame(T::GOAWAY, &[0]))], Code::H3_MISSING_SETTINGS),
        ("grease first", vec![stream(StreamType::Control, &frame(T(0x21), &[0]))], Code::H3_MISSING_SETTINGS),
        ("SETTINGS twice", vec![after_settings(&frame(T::SETTINGS, &[]))], Code::H3_FRAME_UNEXPECTED),
        ("a setting twice", vec![settings(&[6, 1, 6, 1])], Code::H3_SETTINGS_ERROR),
        ("an HTTP/2 setting", vec![settings(&[4, 1])], Code::H3_SETTINGS_ERROR),
        ("extended CONNECT 2", vec![settings(&[8, 2])], Code::H3_SETTINGS_ERROR),
        ("SETTINGS cut off", vec![settings(&[6])], Code::H3_FRAME_ERROR),
        (
            "huge SETTINGS",
            vec![stream(StreamType::Control, &declared(T::SETTINGS, varint::MAX))],
            Code::H3_EXCESSIVE_LOAD,
        ),
        ("DATA on the control stream", vec![after_settings(&frame(T::DATA, b"x"))], Code::H3_FRAME_UNEXPECTED),
        ("HEADERS on the control stream", vec![after_settings(&request("GET", "/"))], Code::H3_FRAME_UNEXPECTED),
        ("an HTTP/2 frame", vec![after_settings(&frame(T(0x09), &[]))], Code::H3_FRAME_UNEXPECTED),
        (
            "GOAWAY grows",
            vec![after_settings(&[frame(T::GOAWAY, &[1]), frame(T::GOAWAY, &[2])].concat())],
            Code::H3_ID_ERROR,
        ),
        (
            "MAX_PUSH_ID shrinks",
            vec![after_settings(&[frame(T::MAX_PUSH_ID, &[2]), frame(T::MAX_PUSH_ID, &[1])].concat())],
            Code::H3_ID_ERROR,
        ),
        ("CANCEL_PUSH", vec![after_settings(&frame(T::CANCEL_PUSH, &[0]))], Code::H3_ID_ERROR),
        ("GOAWAY too long", vec![after_settings(&frame(T::GOAWAY, &[0, 0]))], Code::H3_FRAME_ERROR),
        (
            "PRIORITY_UPDATE of no request",
            vec![after_settings(&frame(T::PRIORITY_UPDATE_REQUEST, &[2]))],
            Code::H3_ID_ERROR,
        ),
        (
            "a table capacity",
            vec![stream(StreamType::QpackEncoder, &[0x3f, 0xe1, 0x1f])],
            Code::QPACK_ENCODER_STREAM_ERROR,
        ),
        (
            "a literal bomb",
            // Insert with literal name: 2^61 octets of name follow.
            vec![stream(StreamType::QpackEncoder, &[0x5f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f])],
            Code::QPACK_ENCODER_STREAM_ERROR,
        ),
        ("an acknowledgement", vec![stream(StreamType::QpackDecoder, &[0x80])], Code::QPACK_DECODER_STREAM_ERROR),
        ("an increment", vec![stream(StreamType::QpackDecoder, &[0x01])], Code::QPACK_DECODER_STREAM_ERROR),
        ("streams without a type", vec![vec![0x40]; 17], Code::H3_EXCESSIVE_LOAD),
    ];
    let endpoints = endpoints(WINDOW);
    let neighbour = Raw::new(&endpoints).await;
    for (name, streams, code) in cases {
        let raw = Raw::new(&endpoints).await;
        let mut open = Vec::new();
        for octets in &streams {
            let mut stream = raw.quic.open_uni().await.unwrap();
            // The server may have closed the connection by an earlier stream.
            let _ = stream.write_all(octets).await;
            open.push(stream);
        }
        assert_eq!(raw.closed().await, code, "{name}");
    }
    neighbour.still_serves().await;
}

#[tokio::test]
async fn critical_streams_must_stay() {
    let endpoints = endpoints(WINDOW);
    for octets in
        [control(), vec![StreamType::QpackEncoder.value() as u8], vec![StreamType::QpackDecoder.value() as u8]]
    {
        let raw = Raw::new(&endpoints).await;
        raw.uni(&octets).await.finish().unwrap();
        assert_eq!(raw.closed().await, Code::H3_CLOSED_CRITICAL_STREAM);

        let raw = Raw::new(&endpoints).await;
        let mut stream = raw.uni(&octets).await;
        // Only a stream whose type is known is critical: a reset may overtake the type.
        raw.still_serves().await;
        stream.reset(0u32.into()).unwrap();
        assert_eq!(raw.closed().await, Code::H3_CLOSED_CRITICAL_STREAM);
    }
}

/// What is written on one request stream, and the code that the stream is reset with.
#[tokio::test]
async fn malformed_messages_end_their_stream_only() {
    let endpoints = endpoints(WINDOW);
    let raw = Raw::new(&endpoints).await;
    let _control = raw.uni(&control()).await;
    let (mut tunnel, mut echo) = raw.bi(&websocket(), Open).await;

    let length = |claimed: &str, content: &[u8]| {
        [&request_with("POST", "/echo", &[("content-length", claimed)])[..], &frame(T::DATA, content)].concat()
    };
    let cases: Vec<(&str, Vec<u8>, End, Code)> = vec![
        (
            "no path",
            frame(T::HEADERS, &section(&[(":method", "GET"), (":scheme", "https"), (":authority", "a")])),
            Open,
            Code::H3_MESSAGE_ERROR,
        ),
        ("uppercase", request_with("GET", "/echo", &[("X-Upper", "y")]), Open, Code::H3_MESSAGE_ERROR),
        ("connection", request_with("GET", "/echo", &[("connection", "close")]), Open, Code::H3_MESSAGE_ERROR),
        (
            "transfer-encoding",
            request_with("POST", "/echo", &[("transfer-encoding", "chunked")]),
            Open,
            Code::H3_MESSAGE_ERROR,
        ),
        ("a line break", request_with("GET", "/echo", &[("x", "y\r\nz: 1")]), Open, Code::H3_MESSAGE_ERROR),
        ("CONNECT with a path", request("CONNECT", "/"), Open, Code::H3_MESSAGE_ERROR),
        (
            ":protocol without CONNECT",
            frame(
                T::HEADERS,
                &section(&[
                    (":method", "GET"),
                    (":protocol", "websocket"),
                    (":scheme", "https"),
                    (":authority", "a"),
                    (":path", "/"),
                ]),
            ),
            Open,
            Code::H3_MESSAGE_ERROR,
        ),
        ("too little content", length("5", b"four"), Fin, Code::H3_MESSAGE_ERROR),
        ("too much content", length("3", b"four"), Open, Code::H3_MESSAGE_ERROR),
        ("no content", request_with("POST", "/echo", &[("content-length", "1")]), Fin, Code::H3_MESSAGE_ERROR),
        (
            "pseudo-header in trailers",
            [&request("POST", "/echo")[..], &frame(T::HEADERS, &section(&[(":path", "/")]))].concat(),
            Open,
            Code::H3_MESSAGE_ERROR,
        ),
        (
            "large trailers",
            [&request("POST", "/echo")[..], &declared(T::HEADERS, 1 << 40)].concat(),
            Open,
            Code::H3_EXCESSIVE_LOAD,
        ),
        ("nothing", vec![], Fin, Code::H3_REQUEST_INCOMPLETE),
        ("grease without end", frame(T(0x21), b"").repeat(1000), Open, Code::H3_EXCESSIVE_LOAD),
        ("only grease", frame(T(0x21), b"grease"), Fin, Code::H3_REQUEST_INCOMPLETE),
    ];
    for (name, octets, end, code) in cases {
        let (send, mut recv) = raw.bi(&octets, end).await;
        assert_eq!(reset_code(&mut recv).await, code, "{name}");
        if end == Open {
            assert_eq!(stop_code(&send).await, Some(code), "{name}");
        }
    }

    tunnel.write_all(&frame(T::DATA, b"unharmed")).await.unwrap();
    tunnel.finish().unwrap();
    let echoed = timeout(PATIENCE, echo.read_to_end(1000)).await.unwrap().unwrap();
    assert!(echoed.ends_with(b"unharmed"));
    raw.still_serves().await;
}

/// Fields beyond the limit are answered with 431, however the client gets there.
#[tokio::test]
async fn header_floods() {
    let many: Vec<(String, String)> = (0..600).map(|n| (format!("x{n}"), String::new())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // One octet on the wire for 41 as counted: `accept: */*` by index.
    let expansion = [&section(&[])[..], &[0xdd; 1000]].concat();
    // 0x00 in Huffman is short for nothing, but `0` is: 8 octets for every 5.
    let huffman = section(&[(":method", "GET"), ("x", &"0".repeat(40_000))]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("many lines", request_with("GET", "/echo", &many)),
        ("expansion", frame(T::HEADERS, &expansion)),
        ("Huffman", frame(T::HEADERS, &huffman)),
        ("cookies", request_with("GET", "/echo", &vec![("cookie", "crumb"); 1000])),
        ("declared", declared(T::HEADERS, varint::MAX)),
        ("declared, and some of it", [&declared(T::HEADERS, 1 << 20)[..], &[0; 5000]].concat()),
    ];
    let endpoints = endpoints(WINDOW);
    let raw = Raw::new(&endpoints).await;
    for (name, octets) in cases {
        let (_send, mut recv) = raw.bi(&octets, Open).await;
        let response = timeout(PATIENCE, recv.read_to_end(1000)).await.unwrap().unwrap();
        let expected = frame(T::HEADERS, &section(&[(":status", "431")]));
        assert_eq!(response, expected, "{name}");
    }
    raw.still_serves().await;
}

#[tokio::test]
async fn what_is_unknown_is_skipped() {
    let endpoints = endpoints(WINDOW);
    let raw = Raw::new(&endpoints).await;

    // Reserved frames everywhere, and on the control stream too.
    let grease = frame(T(0x21), &[7; 700]);
    let octets = [
        &grease[..],
        &request("POST", "/echo"),
        &grease,
        &frame(T::DATA, b"a"),
        &grease,
        &frame(T::DATA, b"b"),
        &frame(T::HEADERS, &section(&[("x-end", "yes")])),
        &grease,
    ];
    let _control = raw.uni(&[&control()[..], &grease, &frame(T::MAX_PUSH_ID, &[4])].concat()).await;
    let (_send, mut recv) = raw.bi(&octets.concat(), Fin).await;
    let response = timeout(PATIENCE, recv.read_to_end(1000)).await.unwrap().unwrap();
    let trailers = frame(T::HEADERS, &section(&[("x-end", "yes")]));
    assert!(response.ends_with(&trailers), "{response:02x?}");

    // A stream of a reserved type is stopped; one that ends or is reset before its type is passed over.
    let mut unknown = Vec::new();
    varint::append(0x21 + 0x1f * 1000, &mut unknown);
    let stream = raw.uni(&[&unknown[..], &[7; 100]].concat()).await;
    assert_eq!(stop_code(&stream).await, Some(Code::H3_STREAM_CREATION_ERROR));
    raw.uni(&[]).await.finish().unwrap();
    raw.uni(&[0x40]).await.finish().unwrap();
    raw.uni(&[0x40]).await.reset(0u32.into()).unwrap();
    // All that a decoder and an encoder without tables may say.
    let _encoder = raw.uni(&[StreamType::QpackEncoder.value() as u8, 0x20]).await;
    let _decoder = raw.uni(&[StreamType::QpackDecoder.value() as u8, 0x44]).await;
    raw.still_serves().await;
}

/// 8 MiB of an unknown frame go through a window of 256 KiB: they are dropped as they come, and nobody waits for them.
#[tokio::test]
async fn a_huge_unknown_frame_is_dropped_as_it_comes() {
    let endpoints = endpoints(WINDOW);
    let raw = Raw::new(&endpoints).await;
    let mut open = Vec::new();
    for head in [vec![], request("POST", "/echo")] {
        let (mut send, recv) = raw.bi(&[&head[..], &declared(T(0x21), varint::MAX)].concat(), Open).await;
        let block = vec![7; 1 << 20];
        for _ in 0..8 {
            timeout(PATIENCE, send.write_all(&block)).await.unwrap().unwrap();
        }
        raw.still_serves().await;
        // Dropping it would end the stream within the frame.
        open.push((send, recv));
    }
}

#[tokio::test]
async fn a_slow_head_delays_nobody() {
    let endpoints = endpoints(WINDOW);
    let raw = Raw::new(&endpoints).await;
    let head = request("GET", "/bytes/3");
    let (mut slow, mut slow_response) = raw.bi(&head[..1], Open).await;
    let (_none, _) = raw.bi(&[], Open).await;
    for octet in &head[1..] {
        raw.still_serves().await;
        slow.write_all(&[*octet]).await.unwrap();
    }
    slow.finish().unwrap();
    let response = timeout(PATIENCE, slow_response.read_to_end(1000)).await.unwrap().unwrap();
    assert!(response.ends_with(b"xxx"));
}

/// Frames cut into packets of one octet say the same.
#[tokio::test]
async fn octet_by_octet() {
    let endpoints = endpoints(WINDOW);
    let raw = Raw::new(&endpoints).await;
    let octets = [&websocket()[..], &frame(T::DATA, b"ab"), &frame(T(0x21), b"grease"), &frame(T::DATA, b"c")].concat();
    let (mut send, mut recv) = raw.bi(&[], Open).await;
    for octet in &octets {
        send.write_all(&[*octet]).await.unwrap();
        tokio::task::yield_now().await;
    }
    send.finish().unwrap();
    let mut response = timeout(PATIENCE, recv.read_to_end(1000)).await.unwrap().unwrap();
    let head = frame(T::HEADERS, &section(&[(":status", "200")]));
    let mut content = response.split_off(head.len());
    assert_eq!(response, head);
    let compacted = headrace_http3::frame::body::BodyFrames::default().compact(&mut content);
    assert_eq!(&content[..compacted.content], b"abc");
}

/// Rapid reset, from either side: the client's own resets, and resets that it provokes with malformed requests.
#[tokio::test]
async fn requests_for_nothing_end_the_connection() {
    let endpoints = endpoints(WINDOW);
    let neighbour = Raw::new(&endpoints).await;
    let raw = Raw::new(&endpoints).await;
    let half = &request("GET", "/echo")[..9];
    while raw.quic.close_reason().is_none() {
        let Ok((mut send, mut recv)) = raw.quic.open_bi().await else { break };
        let _ = send.write_all(half).await;
        let _ = send.reset(0x10cu32.into());
        let _ = recv.stop(0x10cu32.into());
        tokio::task::yield_now().await;
    }
    assert_eq!(raw.closed().await, Code::H3_EXCESSIVE_LOAD);

    let raw = Raw::new(&endpoints).await;
    let malformed = request("GET", "no path");
    while raw.quic.close_reason().is_none() {
        let Ok((mut send, mut recv)) = raw.quic.open_bi().await else { break };
        let _ = send.write_all(&malformed).await;
        let _ = recv.read_to_end(100).await;
    }
    assert_eq!(raw.closed().await, Code::H3_EXCESSIVE_LOAD);

    // Malformed requests among good ones are only that.
    for _ in 0..2 * headrace_http3::config::MAX_UNANSWERED {
        let (_send, mut recv) = neighbour.bi(&malformed, Open).await;
        assert_eq!(reset_code(&mut recv).await, Code::H3_MESSAGE_ERROR);
        neighbour.still_serves().await;
    }
}

/// Resets at every point of a request's life harm no other stream.
#[tokio::test]
async fn resets_at_every_point() {
    let endpoints = endpoints(WINDOW);
    let raw = Raw::new(&endpoints).await;
    let octets = [&websocket()[..], &frame(T::DATA, b"content"), &frame(T::DATA, b"more")].concat();
    for cut in 0..octets.len() {
        let (mut send, mut recv) = raw.bi(&octets[..cut], Open).await;
        if cut % 2 == 0 {
            tokio::task::yield_now().await;
        }
        send.reset(0x10cu32.into()).unwrap();
        recv.stop(0x10cu32.into()).unwrap();
    }
    raw.still_serves().await;
}
