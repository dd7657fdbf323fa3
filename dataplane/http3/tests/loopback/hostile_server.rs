//! Servers that break the protocol towards our client.

use headrace_http3::{
    Code, Config, Error, RecvStream, SendStream, StreamError, client, fields::Malformed, frame::FrameType as T,
    stream_type::StreamType, varint,
};
use http::{Method, Request};
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    endpoints::{Endpoints, PATIENCE, endpoints},
    raw::{control, declared, frame, section},
};

const WINDOW: u32 = 256 << 10;

/// Our client on a bare server.
struct Served {
    requests: client::SendRequest,
    driving: JoinHandle<Result<(), Error>>,
    quic: quinn::Connection,
}

impl Served {
    async fn new(endpoints: &Endpoints) -> Self {
        let (client_quic, quic) = endpoints.connect().await;
        let (mut connection, requests) = client::connect(client_quic, &Config::default());
        let driving = tokio::spawn(async move { connection.drive().await });
        Self { requests, driving, quic }
    }

    /// Sends a request and has it answered with these octets. `end` is whether the stream ends after them.
    async fn answer(
        &mut self,
        method: Method,
        octets: &[u8],
        end: bool,
    ) -> (SendStream, RecvStream, quinn::SendStream) {
        let request = Request::builder().method(method).uri("https://localhost/").body(()).unwrap();
        let (send, recv) = self.requests.send_request(request).await.unwrap();
        let (mut answer, _) = timeout(PATIENCE, self.quic.accept_bi()).await.unwrap().unwrap();
        answer.write_all(octets).await.unwrap();
        if end {
            answer.finish().unwrap();
        }
        (send, recv, answer)
    }
}

/// Takes a response to its end.
async fn take(recv: &mut RecvStream) -> Result<(u16, Vec<u8>), StreamError> {
    let response = recv.response().await?;
    let mut content = Vec::new();
    while let Some(piece) = recv.data().await? {
        content.extend_from_slice(&piece);
    }
    Ok((response.status().as_u16(), content))
}

#[tokio::test]
async fn responses_that_end_the_connection() {
    let ok = frame(T::HEADERS, &section(&[(":status", "200")]));
    let cases: Vec<(&str, Vec<u8>, bool, Code)> = vec![
        ("DATA first", frame(T::DATA, b"x"), false, Code::H3_FRAME_UNEXPECTED),
        ("SETTINGS", frame(T::SETTINGS, &[]), false, Code::H3_FRAME_UNEXPECTED),
        ("PUSH_PROMISE", frame(T::PUSH_PROMISE, &[0, 0, 0]), false, Code::H3_ID_ERROR),
        ("PUSH_PROMISE later", [&ok[..], &frame(T::PUSH_PROMISE, &[0, 0, 0])].concat(), false, Code::H3_ID_ERROR),
        ("cut off", [&ok[..], &declared(T::DATA, 9), b"x"].concat(), true, Code::H3_FRAME_ERROR),
        ("no QPACK", frame(T::HEADERS, &[0, 0, 0x80]), false, Code::QPACK_DECOMPRESSION_FAILED),
    ];
    let endpoints = endpoints(WINDOW);
    for (name, octets, end, code) in cases {
        let mut served = Served::new(&endpoints).await;
        let (_send, mut recv, _answer) = served.answer(Method::GET, &octets, end).await;
        let error = timeout(PATIENCE, take(&mut recv)).await.unwrap().unwrap_err();
        assert_eq!((error.is_connection(), error.code()), (true, code), "{name}");
        let error = timeout(PATIENCE, served.driving).await.unwrap().unwrap().unwrap_err();
        assert_eq!(error.code(), Some(code), "{name}");
    }
}

#[tokio::test]
async fn streams_that_end_the_connection() {
    let push = vec![StreamType::Push.value() as u8, 0];
    let after_settings = |more: &[u8]| [&control()[..], more].concat();
    let cases: Vec<(&str, Vec<Vec<u8>>, Code)> = vec![
        ("two control streams", vec![control(), control()], Code::H3_STREAM_CREATION_ERROR),
        ("a push", vec![push], Code::H3_ID_ERROR),
        ("MAX_PUSH_ID", vec![after_settings(&frame(T::MAX_PUSH_ID, &[0]))], Code::H3_FRAME_UNEXPECTED),
        ("GOAWAY of no request", vec![after_settings(&frame(T::GOAWAY, &[1]))], Code::H3_ID_ERROR),
        ("CANCEL_PUSH", vec![after_settings(&frame(T::CANCEL_PUSH, &[0]))], Code::H3_ID_ERROR),
        ("PRIORITY_UPDATE", vec![after_settings(&frame(T::PRIORITY_UPDATE_REQUEST, &[0]))], Code::H3_FRAME_UNEXPECTED),
    ];
    let endpoints = endpoints(WINDOW);
    for (name, streams, code) in cases {
        let served = Served::new(&endpoints).await;
        let mut open = Vec::new();
        for octets in &streams {
            let mut stream = served.quic.open_uni().await.unwrap();
            let _ = stream.write_all(octets).await;
            open.push(stream);
        }
        let error = timeout(PATIENCE, served.driving).await.unwrap().unwrap().unwrap_err();
        assert_eq!(error.code(), Some(code), "{name}");
    }
    let served = Served::new(&endpoints).await;
    let (mut send, _recv) = served.quic.open_bi().await.unwrap();
    send.write_all(&[0]).await.unwrap();
    let error = timeout(PATIENCE, served.driving).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.code(), Some(Code::H3_STREAM_CREATION_ERROR));
}

#[tokio::test]
async fn responses_that_end_their_stream_only() {
    use Malformed as M;
    let head = |lines: &[(&str, &str)]| frame(T::HEADERS, &section(lines));
    let cases: Vec<(&str, Method, Vec<u8>, Option<M>)> = vec![
        ("no status", Method::GET, head(&[("x", "y")]), Some(M::PseudoMissing)),
        ("101", Method::GET, head(&[(":status", "101")]), Some(M::Status)),
        (
            "a request's pseudo-header",
            Method::GET,
            head(&[(":status", "200"), (":path", "/")]),
            Some(M::PseudoUnexpected),
        ),
        (
            "too little",
            Method::GET,
            head(&[(":status", "200"), ("content-length", "5")]),
            Some(M::ContentLengthMismatch),
        ),
        (
            "content to HEAD",
            Method::HEAD,
            [head(&[(":status", "200"), ("content-length", "1")]), frame(T::DATA, b"x")].concat(),
            Some(M::ContentLengthMismatch),
        ),
        (
            "content with 204",
            Method::GET,
            [head(&[(":status", "204")]), frame(T::DATA, b"x")].concat(),
            Some(M::ContentLengthMismatch),
        ),
        ("no head", Method::GET, vec![], None),
        ("only an interim head", Method::GET, head(&[(":status", "103")]), None),
    ];
    let endpoints = endpoints(WINDOW);
    let mut served = Served::new(&endpoints).await;
    for (name, method, octets, malformed) in cases {
        let (_send, mut recv, _answer) = served.answer(method, &octets, true).await;
        let error = timeout(PATIENCE, take(&mut recv)).await.unwrap().unwrap_err();
        match malformed {
            Some(malformed) => {
                assert!(matches!(error, StreamError::Malformed(got) if got == malformed), "{name}: {error}")
            }
            None => assert!(matches!(error, StreamError::Incomplete), "{name}: {error}"),
        }
    }
    let floods = [
        head(&[(":status", "103")]).repeat(70),
        declared(T::HEADERS, varint::MAX),
        head(&[&[(":status", "200")][..], &[("x", "y"); 600]].concat()),
    ];
    for octets in floods {
        let (_send, mut recv, answer) = served.answer(Method::GET, &octets, false).await;
        let error = timeout(PATIENCE, take(&mut recv)).await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::H3_EXCESSIVE_LOAD, "{error}");
        let stopped = timeout(PATIENCE, answer.stopped()).await.unwrap().unwrap();
        assert_eq!(stopped.map(u64::from), Some(Code::H3_EXCESSIVE_LOAD.value()));
    }
    // What has a length and no content is right for HEAD and 304.
    for (method, status) in [(Method::HEAD, "200"), (Method::GET, "304")] {
        let octets = head(&[(":status", status), ("content-length", "500")]);
        let (_send, mut recv, _answer) = served.answer(method, &octets, true).await;
        let (_, content) = timeout(PATIENCE, take(&mut recv)).await.unwrap().unwrap();
        assert!(content.is_empty());
    }
}

/// The end of a connection reaches whoever waits for its settings.
#[tokio::test]
async fn settings_that_never_come() {
    let endpoints = endpoints(WINDOW);
    let served = Served::new(&endpoints).await;
    let waiting = tokio::spawn(async move { served.requests.peer_settings().await.cloned() });
    tokio::task::yield_now().await;
    served.quic.close(0x0102u32.into(), b"");
    let error = timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.code(), Some(Code::H3_INTERNAL_ERROR));
}
