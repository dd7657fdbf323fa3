//! Peers that break the protocol: each gets the code that the draft names, and nobody else notices.

use headrace_http3::{
    Code, Config,
    capsule::{self, CapsuleType},
    client, datagram,
    frame::FrameType as T,
    settings::id,
    stream_type::StreamType,
    varint,
    webtransport::{self, ConnectError, Ended, Session},
};
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    endpoints::{PATIENCE, Served},
    raw::{declared, frame, request, request_lines, reset_code, section, stop_code},
    site::{Site, request as session_request, session},
};

const CLOSE: CapsuleType = CapsuleType(0x2843);
const MAX_DATA: CapsuleType = CapsuleType(0x190b_4d3d);
const MAX_STREAMS_UNI: CapsuleType = CapsuleType(0x190b_4d40);

/// What a client of draft 15 with flow control shows.
const SETTINGS: &[(u64, u64)] = &[
    (id::H3_DATAGRAM, 1),
    (id::WT_ENABLED, 1),
    (id::WT_INITIAL_MAX_DATA, 1000),
    (id::WT_INITIAL_MAX_STREAMS_UNI, 10),
    (id::WT_INITIAL_MAX_STREAMS_BIDI, 10),
];

fn integers(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        varint::append(*value, &mut out);
    }
    out
}

fn control(settings: &[(u64, u64)]) -> Vec<u8> {
    let payload: Vec<u64> = settings.iter().flat_map(|(id, value)| [*id, *value]).collect();
    [integers(&[StreamType::Control.value()]), frame(T::SETTINGS, &integers(&payload))].concat()
}

fn connect(path: &str, token: &str) -> Vec<u8> {
    let mut lines = request_lines("CONNECT", path);
    lines.insert(1, (":protocol", token));
    frame(T::HEADERS, &section(&lines))
}

fn capsule(capsule_type: CapsuleType, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    capsule::append(capsule_type, value, &mut out);
    out
}

fn in_data(octets: &[u8]) -> Vec<u8> {
    frame(T::DATA, octets)
}

/// A bare client.
struct Raw {
    quic: quinn::Connection,
    served: JoinHandle<Served>,
    _control: quinn::SendStream,
}

impl Raw {
    async fn new(site: &Site, settings: &[(u64, u64)]) -> Self {
        let (quic, served) = site.connect().await;
        let mut control_stream = quic.open_uni().await.unwrap();
        control_stream.write_all(&control(settings)).await.unwrap();
        Self { quic, served, _control: control_stream }
    }

    async fn bi(&self, octets: &[u8]) -> (quinn::SendStream, quinn::RecvStream) {
        let (mut send, recv) = self.quic.open_bi().await.unwrap();
        // The server may have closed the connection by the first of these octets.
        let _ = send.write_all(octets).await;
        (send, recv)
    }

    async fn uni(&self, octets: &[u8]) -> quinn::SendStream {
        let mut send = self.quic.open_uni().await.unwrap();
        let _ = send.write_all(octets).await;
        send
    }

    /// A session that was accepted, and its ID.
    async fn session(&self, path: &str) -> (u64, quinn::SendStream, quinn::RecvStream) {
        let (send, mut recv) = self.bi(&connect(path, "webtransport-h3")).await;
        let accepted = frame(T::HEADERS, &section(&[(":status", "200")]));
        let mut head = vec![0; accepted.len()];
        timeout(PATIENCE, recv.read_exact(&mut head)).await.unwrap().unwrap();
        assert_eq!(head, accepted);
        (quinn::VarInt::from(send.id()).into_inner(), send, recv)
    }

    async fn still_serves(&self) {
        let (mut send, mut recv) = self.bi(&request("GET", "/bytes/3")).await;
        send.finish().unwrap();
        let response = timeout(PATIENCE, recv.read_to_end(1000)).await.unwrap().unwrap();
        assert!(response.ends_with(&[0, 3, b'x', b'x', b'x']), "{response:02x?}");
    }

    async fn closed(self) -> Code {
        let error = timeout(PATIENCE, self.quic.closed()).await.unwrap();
        let quinn::ConnectionError::ApplicationClosed(close) = error else { panic!("{error}") };
        let code = Code::new(close.error_code.into_inner()).unwrap();
        let served = timeout(PATIENCE, self.served).await.unwrap().unwrap();
        assert_eq!(served.unwrap_err().code(), Some(code));
        code
    }
}

async fn ended(session: &Session) -> Ended {
    timeout(PATIENCE, session.closed()).await.unwrap()
}

/// What is said on the CONNECT stream, whether it ends there, and the code that it is reset with.
#[tokio::test]
async fn capsules_that_end_the_session() {
    let message = Code::H3_MESSAGE_ERROR;
    let flow = Code::WT_FLOW_CONTROL_ERROR;
    let close = |reason: &[u8]| capsule(CLOSE, &[&[0, 0, 0, 1], reason].concat());
    let cases: Vec<(&str, Vec<u8>, bool, Code)> = vec![
        ("a reason of 1025 octets", close(&[b'x'; 1025]), false, message),
        ("a close of 2^62 octets", [integers(&[CLOSE.0]), vec![0xff; 8]].concat(), false, message),
        ("a reason that is not UTF-8", close(&[0xff]), false, message),
        ("a close without a code", capsule(CLOSE, &[0, 0]), false, message),
        ("octets after the close", [close(b"bye"), vec![7]].concat(), false, message),
        ("a capsule cut off", close(b"bye")[..7].to_vec(), true, Code::H3_DATAGRAM_ERROR),
        ("a limit that falls", capsule(MAX_DATA, &integers(&[999])), false, flow),
        ("a limit that stays", capsule(MAX_STREAMS_UNI, &integers(&[10])), false, flow),
        ("a limit beyond QUIC", capsule(MAX_STREAMS_UNI, &integers(&[(1 << 60) + 1])), false, flow),
        ("WT_MAX_STREAM_DATA", capsule(CapsuleType(0x190b_4d3e), &[0, 0]), false, flow),
        ("WT_STREAM_DATA_BLOCKED", capsule(CapsuleType(0x190b_4d42), &[0, 0]), false, flow),
    ];
    let mut site = Site::new(webtransport::Config::default());
    let raw = Raw::new(&site, SETTINGS).await;
    let (_, neighbour, _recv) = raw.session("/mine").await;
    let neighbours = site.mine().await;
    for (name, octets, fin, code) in cases {
        let (_, mut send, mut recv) = raw.session("/mine").await;
        let session = site.mine().await;
        send.write_all(&in_data(&octets)).await.unwrap();
        if fin {
            send.finish().unwrap();
        }
        assert_eq!(reset_code(&mut recv).await, code, "{name}");
        if !fin {
            assert_eq!(stop_code(&send).await, Some(code), "{name}");
        }
        match ended(&session).await {
            Ended::Aborted { code: why, .. } => assert_eq!(why, code, "{name}"),
            // The close itself was right.
            Ended::ByPeer { code: 1, reason } => assert_eq!((reason.as_str(), name), ("bye", "octets after the close")),
            other => panic!("{name}: {other:?}"),
        }
        raw.still_serves().await;
    }
    assert!(neighbours.ended().is_none());
    drop(neighbour);
}

#[tokio::test]
async fn an_end_without_a_close() {
    let mut site = Site::new(webtransport::Config::default());
    let raw = Raw::new(&site, SETTINGS).await;
    let (_, mut send, mut recv) = raw.session("/mine").await;
    let session = site.mine().await;
    send.finish().unwrap();
    let end = ended(&session).await;
    assert!(matches!(&end, Ended::ByPeer { code: 0, reason } if reason.is_empty()), "{end:?}");
    // It is ended in response.
    timeout(PATIENCE, recv.read_to_end(100)).await.unwrap().unwrap();
}

/// Octets that come well after the close.
#[tokio::test]
async fn a_close_and_then_more() {
    let mut site = Site::new(webtransport::Config::default());
    let raw = Raw::new(&site, SETTINGS).await;
    let (_, mut send, mut recv) = raw.session("/mine").await;
    let session = site.mine().await;
    send.write_all(&in_data(&capsule(CLOSE, &[0; 4]))).await.unwrap();
    assert!(ended(&session).await.is_close());
    let _ = send.write_all(&in_data(b"more")).await;
    // Refused as that, or the stream was done with already.
    let code = timeout(PATIENCE, send.stopped()).await.unwrap().unwrap().unwrap().into_inner();
    assert!([Code::H3_MESSAGE_ERROR.value(), Code::WT_SESSION_GONE.value()].contains(&code), "{code:#x}");
    let _ = timeout(PATIENCE, recv.read_to_end(100)).await.unwrap();
    raw.still_serves().await;
}

/// Capsules that nobody knows are neither kept nor an error, however long they say they are.
#[tokio::test]
async fn endless_unknown_capsules() {
    let mut site = Site::new(webtransport::Config::default());
    let raw = Raw::new(&site, SETTINGS).await;
    let (id, mut send, _recv) = raw.session("/mine").await;
    let session = site.mine().await;
    let small = in_data(&capsule(CapsuleType(0x17), &[7; 300]).repeat(50));
    for _ in 0..100 {
        timeout(PATIENCE, send.write_all(&small)).await.unwrap().unwrap();
    }
    let datagram = in_data(&capsule(CapsuleType::DATAGRAM, &[7; 100_000]));
    timeout(PATIENCE, send.write_all(&datagram)).await.unwrap().unwrap();
    let huge = [integers(&[0x17]), vec![0xff; 8]].concat();
    send.write_all(&in_data(&huge)).await.unwrap();
    for _ in 0..50 {
        timeout(PATIENCE, send.write_all(&in_data(&[7; 60_000]))).await.unwrap().unwrap();
    }
    assert!(session.ended().is_none());
    let _stream = raw.uni(&[&integers(&[0x54, id])[..], b"x"].concat()).await;
    let mut stream = timeout(PATIENCE, session.accept_uni()).await.unwrap().unwrap();
    assert_eq!(stream.read_data(&mut [0; 9]).await.unwrap(), 1);
}

/// What is written on one stream, and the code that the connection is closed with.
#[tokio::test]
async fn streams_that_end_the_connection() {
    let signal = |signal: u64, id: u64| integers(&[signal, id]);
    let get = request("POST", "/echo");
    let cases: Vec<(&str, bool, Vec<u8>, bool, Code)> = vec![
        ("a server's stream", true, signal(0x41, 1), false, Code::H3_ID_ERROR),
        ("a unidirectional stream", true, signal(0x41, 2), false, Code::H3_ID_ERROR),
        ("a server's stream, uni", false, signal(0x54, 5), false, Code::H3_ID_ERROR),
        ("the largest number", false, signal(0x54, varint::MAX), false, Code::H3_ID_ERROR),
        ("an ID cut off", true, vec![0x40, 0x41], true, Code::H3_FRAME_ERROR),
        ("half an ID", true, vec![0x40, 0x41, 0xc0], true, Code::H3_FRAME_ERROR),
        ("after the head", true, [&get[..], &signal(0x41, 0)].concat(), false, Code::H3_FRAME_ERROR),
        ("after an unknown frame", true, [frame(T(0x21), b"x"), signal(0x41, 0)].concat(), false, Code::H3_FRAME_ERROR),
        ("after content", true, [&get[..], &in_data(b"x"), &signal(0x41, 0)].concat(), false, Code::H3_FRAME_ERROR),
        (
            "after trailers",
            true,
            [&get[..], &frame(T::HEADERS, &section(&[("x", "y")])), &signal(0x41, 0)].concat(),
            false,
            Code::H3_FRAME_ERROR,
        ),
    ];
    let site = Site::new(webtransport::Config::default());
    let neighbour = Raw::new(&site, SETTINGS).await;
    for (name, bidi, octets, fin, code) in cases {
        let raw = Raw::new(&site, SETTINGS).await;
        // Streams are dropped last: their end must not come before what is looked for.
        let mut streams;
        let send = if bidi {
            streams = (Some(raw.bi(&octets).await), None);
            &mut streams.0.as_mut().unwrap().0
        } else {
            streams = (None, Some(raw.uni(&octets).await));
            streams.1.as_mut().unwrap()
        };
        if fin {
            let _ = send.finish();
        }
        assert_eq!(raw.closed().await, code, "{name}");
    }
    // On the control stream, too.
    let raw = Raw::new(&site, &[]).await;
    let Raw { quic, served, _control: mut stream } = raw;
    stream.write_all(&signal(0x41, 0)).await.unwrap();
    let raw = Raw { quic, served, _control: stream };
    assert_eq!(raw.closed().await, Code::H3_FRAME_ERROR);
    // Datagrams.
    let raw = Raw::new(&site, SETTINGS).await;
    raw.quic.send_datagram(vec![0xff; 8].into()).unwrap();
    assert_eq!(raw.closed().await, Code::H3_DATAGRAM_ERROR);
    neighbour.still_serves().await;
}

/// Without WebTransport, what begins its streams is an unknown frame, and an unknown stream type.
#[tokio::test]
async fn not_offered_is_not_known() {
    let mut site = Site::new(webtransport::Config::default());
    site.config = Config::default();
    let raw = Raw::new(&site, SETTINGS).await;
    let (mut send, mut recv) = raw.bi(&[frame(T(0x41), b"a frame"), request("GET", "/bytes/3")].concat()).await;
    send.finish().unwrap();
    let response = timeout(PATIENCE, recv.read_to_end(1000)).await.unwrap().unwrap();
    assert!(response.ends_with(b"xxx"));
    let uni = raw.uni(&integers(&[0x54, 0])).await;
    assert_eq!(stop_code(&uni).await, Some(Code::H3_STREAM_CREATION_ERROR));
    // Datagrams have no meaning either.
    raw.quic.send_datagram(vec![0xff; 8].into()).unwrap();
    raw.still_serves().await;
}

/// Streams and datagrams for sessions that never come: only the newest few wait, and a session gets those that were its.
#[tokio::test]
async fn sessions_that_never_come() {
    let limits = webtransport::Config { max_early_streams: 5, max_early_datagrams: 5, ..Default::default() };
    let mut site = Site::new(limits);
    let raw = Raw::new(&site, SETTINGS).await;
    let mut streams = Vec::new();
    for n in 0..200 {
        streams.push(raw.uni(&integers(&[0x54, 4 * (1000 + n)])).await);
        let mut octets = Vec::new();
        datagram::append_prefix(4 * (1000 + n), &mut octets);
        raw.quic.send_datagram(octets.into()).unwrap();
    }
    for stream in &streams[..195] {
        assert_eq!(stop_code(stream).await, Some(Code::WT_BUFFERED_STREAM_REJECTED));
    }
    // The session's streams overtake its request.
    let (mut send, mut recv) = raw.quic.open_bi().await.unwrap();
    let id = quinn::VarInt::from(send.id()).into_inner();
    let (mut bidi, mut back) = raw.bi(&[&integers(&[0x41, id])[..], b"early"].concat()).await;
    let mut uni = raw.uni(&[&integers(&[0x54, id])[..], b"early"].concat()).await;
    bidi.finish().unwrap();
    uni.finish().unwrap();
    raw.still_serves().await;
    send.write_all(&connect("/mine", "webtransport-h3")).await.unwrap();
    let session = site.mine().await;
    let (mut answer, mut there) = timeout(PATIENCE, session.accept_bi()).await.unwrap().unwrap();
    assert_eq!(crate::site::read_all(&mut there).await.unwrap(), b"early");
    answer.write_all(b"answer").await.unwrap();
    answer.finish().unwrap();
    assert_eq!(timeout(PATIENCE, back.read_to_end(100)).await.unwrap().unwrap(), b"answer");
    let mut there = timeout(PATIENCE, session.accept_uni()).await.unwrap().unwrap();
    assert_eq!(crate::site::read_all(&mut there).await.unwrap(), b"early");
    // What comes for it after its end is told so.
    session.close(0, "");
    let _ = timeout(PATIENCE, recv.read_to_end(1000)).await.unwrap();
    let late = raw.uni(&integers(&[0x54, id])).await;
    assert_eq!(stop_code(&late).await, Some(Code::WT_SESSION_GONE));
    raw.still_serves().await;
}

/// Settings and tokens that go together, and those that do not.
#[tokio::test]
async fn settings_that_contradict() {
    type Case = (&'static str, &'static [(u64, u64)], &'static str, Option<Code>);
    const DATAGRAMS: (u64, u64) = (id::H3_DATAGRAM, 1);
    let message = Some(Code::H3_MESSAGE_ERROR);
    let cases: &[Case] = &[
        ("nothing", &[], "webtransport", message),
        ("no datagrams", &[(id::WT_ENABLED, 1)], "webtransport-h3", message),
        ("no draft", &[DATAGRAMS], "webtransport", message),
        ("draft 02", &[DATAGRAMS, (id::ENABLE_WEBTRANSPORT, 1)], "webtransport", None),
        ("draft 07", &[DATAGRAMS, (id::WEBTRANSPORT_MAX_SESSIONS, 1)], "webtransport", None),
        ("draft 13", &[DATAGRAMS, (id::WT_MAX_SESSIONS, 1)], "webtransport", None),
        ("draft 14", &[DATAGRAMS, (id::WT_MAX_SESSIONS, 1)], "webtransport-h3", None),
        ("draft 15", &[DATAGRAMS, (id::WT_ENABLED, 1)], "webtransport-h3", None),
    ];
    let mut site = Site::new(webtransport::Config::default());
    for (name, settings, token, code) in cases {
        let raw = Raw::new(&site, settings).await;
        let (_send, mut recv) = raw.bi(&connect("/mine", token)).await;
        match code {
            Some(code) => assert_eq!(reset_code(&mut recv).await, *code, "{name}"),
            None => assert!(!site.mine().await.is_flow_controlled()),
        }
        raw.still_serves().await;
    }
}

/// A request is not acted on before the settings have come.
#[tokio::test]
async fn no_session_before_settings() {
    let mut site = Site::new(webtransport::Config::default());
    let (quic, _served) = site.connect().await;
    let (mut send, mut recv) = quic.open_bi().await.unwrap();
    send.write_all(&connect("/mine", "webtransport")).await.unwrap();
    let mut octets = [0; 100];
    let early = tokio::time::timeout(std::time::Duration::from_millis(100), recv.read(&mut octets)).await;
    assert!(early.is_err(), "{early:?}");
    let mut settings = quic.open_uni().await.unwrap();
    settings.write_all(&control(&[(id::H3_DATAGRAM, 1), (id::ENABLE_WEBTRANSPORT, 1)])).await.unwrap();
    let size = timeout(PATIENCE, recv.read(&mut octets)).await.unwrap().unwrap().unwrap();
    let head = frame(T::HEADERS, &section(&[(":status", "200"), ("sec-webtransport-http3-draft", "draft02")]));
    assert_eq!(octets[..size], head);
    assert_eq!(site.mine().await.draft(), webtransport::Draft::Draft02);
}

#[tokio::test]
async fn a_flood_of_sessions() {
    let mut site = Site::new(webtransport::Config { max_sessions: 3, ..Default::default() });
    let raw = Raw::new(&site, SETTINGS).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push((raw.session("/mine").await, site.mine().await));
    }
    for _ in 0..20 {
        let (_send, mut recv) = raw.bi(&connect("/mine", "webtransport-h3")).await;
        assert_eq!(reset_code(&mut recv).await, Code::H3_REQUEST_REJECTED);
    }
    // Of a draft that demands flow control, without it.
    let alone = Raw::new(&site, &[(id::H3_DATAGRAM, 1), (id::WT_ENABLED, 1)]).await;
    let _first = (alone.session("/mine").await, site.mine().await);
    let (_send, mut recv) = alone.bi(&connect("/mine", "webtransport-h3")).await;
    assert_eq!(reset_code(&mut recv).await, Code::H3_REQUEST_REJECTED);
    assert!(open.iter().all(|(_, session)| session.ended().is_none()));
}

#[tokio::test]
async fn a_flood_of_streams() {
    let limits = webtransport::Config { max_streams_uni: 5, max_streams_bidi: 5, ..Default::default() };
    let mut site = Site::new(limits);
    // With flow control, it breaks a limit that the client knows.
    let raw = Raw::new(&site, SETTINGS).await;
    let (id, send, mut recv) = raw.session("/mine").await;
    let session = site.mine().await;
    let mut streams = Vec::new();
    for _ in 0..6 {
        streams.push(raw.uni(&integers(&[0x54, id])).await);
    }
    assert_eq!(reset_code(&mut recv).await, Code::WT_FLOW_CONTROL_ERROR);
    assert!(matches!(ended(&session).await, Ended::Aborted { code: Code::WT_FLOW_CONTROL_ERROR, .. }));
    for stream in &streams {
        assert_eq!(stop_code(stream).await, Some(Code::WT_SESSION_GONE));
    }
    drop(send);

    // Without, streams beyond it are refused, and the session goes on.
    let raw = Raw::new(&site, &[(id::H3_DATAGRAM, 1), (id::ENABLE_WEBTRANSPORT, 1)]).await;
    let (mut send, mut recv) = raw.bi(&connect("/mine", "webtransport")).await;
    let session = site.mine().await;
    let id = quinn::VarInt::from(send.id()).into_inner();
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(raw.bi(&integers(&[0x41, id])).await);
    }
    for (send, recv) in &mut streams[5..] {
        assert_eq!(stop_code(send).await, Some(Code::WT_BUFFERED_STREAM_REJECTED));
        assert_eq!(reset_code(recv).await, Code::WT_BUFFERED_STREAM_REJECTED);
    }
    for _ in 0..5 {
        timeout(PATIENCE, session.accept_bi()).await.unwrap().unwrap();
    }
    assert!(session.ended().is_none());
    send.finish().unwrap();
    let _ = timeout(PATIENCE, recv.read_to_end(1000)).await.unwrap();
}

/// More octets than the session's limit, which the reader sees.
#[tokio::test]
async fn more_data_than_allowed() {
    let mut site = Site::new(webtransport::Config { max_data: 100, ..Default::default() });
    let raw = Raw::new(&site, SETTINGS).await;
    let (id, _send, mut recv) = raw.session("/mine").await;
    let session = site.mine().await;
    let mut stream = raw.uni(&[&integers(&[0x54, id])[..], &[7; 101]].concat()).await;
    let mut there = timeout(PATIENCE, session.accept_uni()).await.unwrap().unwrap();
    // All of it is there when it is read.
    stream.finish().unwrap();
    raw.still_serves().await;
    let read = timeout(PATIENCE, crate::site::read_all(&mut there)).await.unwrap();
    assert!(read.is_err(), "{read:?}");
    assert_eq!(reset_code(&mut recv).await, Code::WT_FLOW_CONTROL_ERROR);
    assert!(matches!(ended(&session).await, Ended::Aborted { code: Code::WT_FLOW_CONTROL_ERROR, .. }));
}

#[tokio::test]
async fn a_flood_of_datagrams() {
    let mut site = Site::new(webtransport::Config { max_datagrams: 3, max_datagram_octets: 250, ..Default::default() });
    let raw = Raw::new(&site, SETTINGS).await;
    let (id, _send, _recv) = raw.session("/mine").await;
    let session = site.mine().await;
    for n in 0_u8..250 {
        let mut octets = Vec::new();
        datagram::append_prefix(id, &mut octets);
        octets.extend([n; 100]);
        raw.quic.send_datagram(octets.into()).unwrap();
        tokio::task::yield_now().await;
    }
    raw.still_serves().await;
    timeout(PATIENCE, async {
        while session.dropped_datagrams() < 200 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let mut waiting = 0;
    while let Ok(datagram) = timeout(std::time::Duration::from_millis(50), session.recv_datagram()).await {
        assert_eq!(datagram.unwrap().len(), 100);
        waiting += 1;
    }
    assert!(waiting <= 2, "{waiting}");
}

/// More streams without a header than are looked at hold up only each other.
#[tokio::test]
async fn streams_without_a_header() {
    let mut site = Site::new(webtransport::Config { max_streams_uni: 200, ..Default::default() });
    let raw = Raw::new(&site, SETTINGS).await;
    let (id, _send, _recv) = raw.session("/mine").await;
    let session = site.mine().await;
    let mut open = Vec::new();
    for _ in 0..200 {
        open.push(raw.uni(&[0x40]).await);
    }
    raw.quic.send_datagram(vec![0].into()).unwrap();
    // Once they say what they are, all are served.
    for stream in &mut open {
        stream.write_all(&[&[0x54][..], &integers(&[id])].concat()).await.unwrap();
        stream.finish().unwrap();
    }
    for _ in 0..200 {
        timeout(PATIENCE, session.accept_uni()).await.unwrap().unwrap();
    }
    raw.still_serves().await;
}

/// A server that breaks the protocol: what its SETTINGS say, and what the client makes of it.
async fn of_server(settings: &[(u64, u64)]) -> (quinn::Connection, Result<(), ConnectError>) {
    let site = Site::new(webtransport::Config::default());
    let (quic, server) = site.endpoints.connect().await;
    let mut stream = server.open_uni().await.unwrap();
    let all = [settings, &[(id::ENABLE_CONNECT_PROTOCOL, 1), (id::H3_DATAGRAM, 1)]].concat();
    stream.write_all(&control(&all)).await.unwrap();
    let (mut connection, mut requests) = client::connect(quic, &site.config);
    tokio::spawn(async move { connection.drive().await });
    let connecting = webtransport::connect::<_, &str>(&mut requests, session_request("/"), &["one"; 0]);
    let answering = async {
        let Ok((mut send, mut recv)) = server.accept_bi().await else { return std::future::pending().await };
        let _ = recv.read(&mut [0; 1000]).await;
        let head = section(&[(":status", "200"), ("wt-protocol", "\"two\"")]);
        send.write_all(&frame(T::HEADERS, &head)).await.unwrap();
        // A stream of no session's, which servers never open.
        let (mut stray, _recv) = server.open_bi().await.unwrap();
        stray.write_all(&declared(T::HEADERS, 5)).await.unwrap();
        std::future::pending().await
    };
    let connected = tokio::select! {
        connected = connecting => connected,
        never = answering => never,
    };
    match connected {
        Ok((session, _)) => {
            ended(&session).await;
            (server, Ok(()))
        }
        Err(error) => (server, Err(error)),
    }
}

#[tokio::test]
async fn hostile_servers() {
    let (server, refused) = of_server(&[(id::WT_ENABLED, 2)]).await;
    assert!(matches!(refused, Err(ConnectError::Unmet(_))), "{refused:?}");
    let quinn::ConnectionError::ApplicationClosed(close) = timeout(PATIENCE, server.closed()).await.unwrap() else {
        panic!()
    };
    assert_eq!(close.error_code.into_inner(), Code::H3_SETTINGS_ERROR.value());
    let (_, refused) = of_server(&[]).await;
    assert!(matches!(refused, Err(ConnectError::Unmet(_))), "{refused:?}");
}

/// A server that chooses a subprotocol that nobody offered.
#[tokio::test]
async fn a_subprotocol_from_nowhere() {
    let site = Site::new(webtransport::Config::default());
    let (quic, server) = site.endpoints.connect().await;
    let mut stream = server.open_uni().await.unwrap();
    let settings = [(id::ENABLE_CONNECT_PROTOCOL, 1), (id::H3_DATAGRAM, 1), (id::WT_ENABLED, 1)];
    stream.write_all(&control(&settings)).await.unwrap();
    let (mut connection, mut requests) = client::connect(quic, &site.config);
    tokio::spawn(async move { connection.drive().await });
    let connecting = webtransport::connect(&mut requests, session_request("/"), &["one"]);
    let answering = async {
        let (mut send, mut recv) = server.accept_bi().await.unwrap();
        recv.read(&mut [0; 1000]).await.unwrap();
        let head = section(&[(":status", "200"), ("wt-protocol", "\"two\"")]);
        send.write_all(&frame(T::HEADERS, &head)).await.unwrap();
        let code = reset_code(&mut recv).await;
        (send, code)
    };
    let (connected, (_send, code)) = tokio::join!(connecting, answering);
    assert!(matches!(connected, Err(ConnectError::Subprotocol)), "{connected:?}");
    assert_eq!(code, Code::WT_ALPN_ERROR);
}

#[tokio::test]
async fn a_neighbour_notices_nothing() {
    let site = Site::new(webtransport::Config::default());
    let mut requests = site.client().await;
    let good = session(&mut requests, "/echo").await;
    let raw = Raw::new(&site, SETTINGS).await;
    for _ in 0..30 {
        let (id, mut send, mut recv) = raw.session("/echo").await;
        let _streams = (raw.uni(&integers(&[0x54, id])).await, raw.bi(&integers(&[0x41, id])).await);
        send.write_all(&in_data(&capsule(CLOSE, &[0; 2000]))).await.unwrap();
        assert_eq!(reset_code(&mut recv).await, Code::H3_MESSAGE_ERROR);
    }
    let (mut send, mut recv) = good.open_bi().await.unwrap();
    send.write_all(b"unharmed").await.unwrap();
    send.finish().unwrap();
    assert_eq!(crate::site::read_all(&mut recv).await.unwrap(), b"unharmed");
}
