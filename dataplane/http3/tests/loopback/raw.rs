//! Owns a peer that writes whatever octets it likes on bare QUIC streams.

use headrace_http3::{Code, frame::FrameType, qpack::Encoder, stream_type::StreamType, varint};
use tokio::{task::JoinHandle, time::timeout};

use crate::endpoints::{Endpoints, PATIENCE, Served};

/// A frame.
pub(crate) fn frame(frame_type: FrameType, payload: &[u8]) -> Vec<u8> {
    let mut out = declared(frame_type, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

/// A frame's header alone.
pub(crate) fn declared(frame_type: FrameType, length: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint::append(frame_type.0, &mut out);
    varint::append(length, &mut out);
    out
}

/// A field section.
pub(crate) fn section(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out);
    for (name, value) in lines {
        encoder.line(name.as_bytes(), value.as_bytes(), false);
    }
    out
}

/// The lines of a request that is right.
pub(crate) fn request_lines<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
}

/// HEADERS of a request that is right.
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    frame(FrameType::HEADERS, &section(&request_lines(method, path)))
}

/// HEADERS of a request that is right, and more fields.
pub(crate) fn request_with(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    frame(FrameType::HEADERS, &section(&[&request_lines(method, path), more].concat()))
}

/// HEADERS of an extended CONNECT.
pub(crate) fn websocket() -> Vec<u8> {
    let mut lines = request_lines("CONNECT", "/chat");
    lines.insert(1, (":protocol", "websocket"));
    frame(FrameType::HEADERS, &section(&lines))
}

/// A control stream's beginning, with an empty SETTINGS.
pub(crate) fn control() -> Vec<u8> {
    [vec![StreamType::Control.value() as u8], frame(FrameType::SETTINGS, &[])].concat()
}

/// A bare client of a server that answers by path.
pub(crate) struct Raw {
    pub(crate) quic: quinn::Connection,
    pub(crate) served: JoinHandle<Served>,
}

impl Raw {
    pub(crate) async fn new(endpoints: &Endpoints) -> Self {
        let (quic, served) = endpoints.served().await;
        Self { quic, served }
    }

    /// Opens a unidirectional stream.
    pub(crate) async fn uni(&self, octets: &[u8]) -> quinn::SendStream {
        let mut stream = self.quic.open_uni().await.unwrap();
        stream.write_all(octets).await.unwrap();
        stream
    }

    /// Opens a request stream.
    pub(crate) async fn bi(&self, octets: &[u8], end: End) -> (quinn::SendStream, quinn::RecvStream) {
        let (mut send, recv) = self.quic.open_bi().await.unwrap();
        // The server may have closed the connection by the first of these octets.
        let _ = send.write_all(octets).await;
        if end == End::Fin {
            let _ = send.finish();
        }
        (send, recv)
    }

    /// The code that the connection was closed with. The server's task ends with the same one.
    pub(crate) async fn closed(self) -> Code {
        let error = timeout(PATIENCE, self.quic.closed()).await.unwrap();
        let quinn::ConnectionError::ApplicationClosed(close) = error else { panic!("{error}") };
        let code = Code::new(close.error_code.into_inner()).unwrap();
        let served = timeout(PATIENCE, self.served).await.unwrap().unwrap();
        assert_eq!(served.unwrap_err().code(), Some(code));
        code
    }

    /// A request that is right is answered: nothing of the connection was harmed.
    pub(crate) async fn still_serves(&self) {
        let (_send, mut recv) = self.bi(&request("GET", "/bytes/3"), End::Fin).await;
        let response = timeout(PATIENCE, recv.read_to_end(1000)).await.unwrap().unwrap();
        assert!(response.ends_with(&[0, 3, b'x', b'x', b'x']), "{response:02x?}");
    }
}

/// Whether a stream is ended after what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Open,
}

/// The code that a stream was reset with.
pub(crate) async fn reset_code(recv: &mut quinn::RecvStream) -> Code {
    let error = timeout(PATIENCE, recv.read_to_end(1 << 20)).await.unwrap().unwrap_err();
    let quinn::ReadToEndError::Read(quinn::ReadError::Reset(code)) = error else { panic!("{error}") };
    Code::new(code.into_inner()).unwrap()
}

/// The code that a stream was stopped with; `None` when it was taken to its end.
pub(crate) async fn stop_code(send: &quinn::SendStream) -> Option<Code> {
    let stopped = timeout(PATIENCE, send.stopped()).await.unwrap().unwrap();
    stopped.map(|code| Code::new(code.into_inner()).unwrap())
}
