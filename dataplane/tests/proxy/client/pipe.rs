//! WebSocket handshakes on every HTTP version, and the byte pipe that comes of them.
//!
//! HTTP/1.1 is octets over TLS, HTTP/2 is h2 with extended CONNECT. HTTP/3 is the project's own client: h3 resets an
//! extended CONNECT for `websocket`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use headrace_http3::{Code, Protocol, StreamError, Tunnel};
use http::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::task::AbortOnDropHandle;

use super::quic;
use super::{Version, tls};
use crate::patience::within;
use crate::stage::{HOST, Stage};

/// The key of every HTTP/1.1 handshake here, RFC 6455's own.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What must answer it.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A connection on which tunnels are opened: any number on HTTP/2 and HTTP/3, one on HTTP/1.1.
pub(crate) struct Tunnels {
    opener: Opener,
    _driver: Option<AbortOnDropHandle<()>>,
}

enum Opener {
    Http1(Option<Box<TlsStream<TcpStream>>>),
    Http2(h2::client::SendRequest<Bytes>),
    /// The QUIC client is held, because dropping it closes the connection.
    Http3(headrace_http3::client::SendRequest, #[expect(dead_code, reason = "held")] quic::Client),
}

/// What came of a handshake.
pub(crate) enum Outcome {
    Opened(Response<()>, Pipe),
    Refused(Response<Vec<u8>>),
}

impl Outcome {
    #[track_caller]
    pub(crate) fn opened(self) -> (Response<()>, Pipe) {
        match self {
            Self::Opened(head, pipe) => (head, pipe),
            Self::Refused(answer) => panic!("refused: {answer:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn refused(self) -> Response<Vec<u8>> {
        match self {
            Self::Refused(answer) => answer,
            Self::Opened(head, _) => panic!("opened: {head:?}"),
        }
    }
}

impl Tunnels {
    pub(crate) async fn connect(stage: &Stage, version: Version) -> Self {
        within("a connection", async {
            match version {
                Version::Http1 => {
                    let stream = tls(stage, HOST, "http/1.1").await.unwrap();
                    Self { opener: Opener::Http1(Some(Box::new(stream))), _driver: None }
                }
                Version::Http2 => {
                    let stream = tls(stage, HOST, "h2").await.unwrap();
                    // Streams with the protocol's own small window, on a connection with room for some that are not read.
                    let mut builder = h2::client::Builder::new();
                    builder.initial_connection_window_size(1 << 20);
                    let (opener, mut connection) = builder.handshake(stream).await.unwrap();
                    let mut settled = connection.ping_pong().unwrap();
                    let driver = tokio::spawn(async move { drop(connection.await) });
                    // The server's SETTINGS come before its answer to a PING (RFC 9113 section 3.4).
                    settled.ping(h2::Ping::opaque()).await.unwrap();
                    let opener = opener.ready().await.unwrap();
                    assert!(opener.is_extended_connect_protocol_enabled(), "RFC 8441 section 3");
                    Self { opener: Opener::Http2(opener), _driver: Some(AbortOnDropHandle::new(driver)) }
                }
                Version::Http3 => {
                    let quic = quic::Client::connect(stage, HOST).await;
                    let config = headrace_http3::Config::default();
                    let (mut connection, opener) = headrace_http3::client::connect(quic.connection.clone(), &config);
                    let driver = tokio::spawn(async move { drop(connection.drive().await) });
                    Self { opener: Opener::Http3(opener, quic), _driver: Some(AbortOnDropHandle::new(driver)) }
                }
            }
        })
        .await
    }

    /// A tunnel that must open.
    #[track_caller]
    pub(crate) fn open(&mut self, path: &str) -> impl Future<Output = Pipe> + use<'_> {
        let handshake = self.handshake(path, &[("sec-websocket-version", "13")]);
        async move { handshake.await.opened().1 }
    }

    /// A handshake with these fields besides those that make it one.
    pub(crate) fn handshake(&mut self, path: &str, fields: &[(&str, &str)]) -> impl Future<Output = Outcome> + use<'_> {
        let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let path = path.to_owned();
        within("a handshake", async move {
            match &mut self.opener {
                Opener::Http1(stream) => {
                    upgrade(*stream.take().expect("one tunnel per connection"), &path, &fields).await
                }
                Opener::Http2(opener) => connect_http2(opener, &path, &fields).await,
                Opener::Http3(opener, _) => connect_http3(opener, &path, &fields).await,
            }
        })
    }

    /// Whether a plain request on the same connection is answered: its other streams live.
    pub(crate) async fn still_serves(&mut self, path: &str) -> bool {
        let request = Request::builder().uri(format!("https://{HOST}{path}")).body(()).unwrap();
        within("a plain request", async {
            match &mut self.opener {
                Opener::Http1(_) => true,
                Opener::Http2(opener) => {
                    let (response, _) = opener.send_request(request, true).unwrap();
                    response.await.is_ok()
                }
                Opener::Http3(opener, _) => {
                    let (mut send, mut recv) = opener.send_request(request).await.unwrap();
                    send.finish().unwrap();
                    recv.response().await.is_ok()
                }
            }
        })
        .await
    }
}

async fn upgrade(mut stream: TlsStream<TcpStream>, path: &str, fields: &[(String, String)]) -> Outcome {
    let mut head = format!(
        "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\n"
    );
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut octets = Vec::new();
    while !octets.ends_with(b"\r\n\r\n") {
        octets.push(stream.read_u8().await.unwrap());
    }
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut fields);
    assert!(parsed.parse(&octets).unwrap().is_complete());
    let mut response = Response::builder().status(parsed.code.unwrap());
    for field in parsed.headers.iter() {
        response = response.header(field.name, field.value);
    }
    let response = response.body(()).unwrap();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        assert_eq!(response.headers()["sec-websocket-accept"], ACCEPT);
        assert_eq!(response.headers()["upgrade"], "websocket");
        return Outcome::Opened(response, Pipe::Http1(Box::new(stream)));
    }
    let mut body = Vec::new();
    // The connection ends behind a refusal, perhaps without close_notify.
    let _end = stream.read_to_end(&mut body).await;
    Outcome::Refused(response.map(|()| body))
}

fn extended(path: &str, fields: &[(String, String)]) -> Request<()> {
    let mut builder = Request::builder().method(Method::CONNECT).uri(format!("https://{HOST}{path}"));
    for (name, value) in fields {
        builder = builder.header(name, value);
    }
    builder.body(()).unwrap()
}

async fn connect_http2(
    opener: &mut h2::client::SendRequest<Bytes>,
    path: &str,
    fields: &[(String, String)],
) -> Outcome {
    let mut request = extended(path, fields);
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    *opener = opener.clone().ready().await.unwrap();
    let (response, send) = opener.send_request(request, false).unwrap();
    let (head, mut recv) = response.await.unwrap().into_parts();
    if head.status.is_success() {
        return Outcome::Opened(Response::from_parts(head, ()), Pipe::Http2 { send, recv, ahead: Bytes::new() });
    }
    let mut body = Vec::new();
    while let Some(data) = recv.data().await {
        body.extend_from_slice(&data.unwrap());
    }
    Outcome::Refused(Response::from_parts(head, body))
}

async fn connect_http3(
    opener: &mut headrace_http3::client::SendRequest,
    path: &str,
    fields: &[(String, String)],
) -> Outcome {
    let mut request = extended(path, fields);
    request.extensions_mut().insert(Protocol::WEBSOCKET);
    let (send, mut recv) = opener.send_request(request).await.unwrap();
    let head = recv.response().await.unwrap();
    if head.status().is_success() {
        return Outcome::Opened(head, Pipe::Http3(Box::new(Tunnel::new(send, recv))));
    }
    let mut body = Vec::new();
    while let Some(data) = recv.data().await.unwrap() {
        body.extend_from_slice(&data);
    }
    Outcome::Refused(head.map(|()| body))
}

/// The client's end of a tunnel, as octets.
pub(crate) enum Pipe {
    Http1(Box<TlsStream<TcpStream>>),
    Http2 { send: h2::SendStream<Bytes>, recv: h2::RecvStream, ahead: Bytes },
    Http3(Box<Tunnel>),
}

/// How a direction ended at its reader.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN, END_STREAM.
    Finished,
    /// RST_STREAM or RESET_STREAM with this code.
    Reset(u64),
    /// A TCP RST.
    TcpReset,
}

impl Pipe {
    /// WebSocket on it, as a client.
    pub(crate) async fn websocket(self) -> WebSocketStream<Self> {
        WebSocketStream::from_raw_socket(self, Role::Client, None).await
    }

    pub(crate) async fn send(&mut self, octets: &[u8]) {
        within("octets to be taken", async {
            self.write_all(octets).await.unwrap();
            self.flush().await.unwrap();
        })
        .await;
    }

    pub(crate) async fn expect(&mut self, octets: &[u8]) {
        let mut got = vec![0; octets.len()];
        within("octets", self.read_exact(&mut got)).await.unwrap();
        assert_eq!(got, octets);
    }

    /// Says FIN and leaves the other direction open.
    pub(crate) async fn finish(&mut self) {
        self.shutdown().await.unwrap();
    }

    /// Reads to the end; says what came and how it ended.
    pub(crate) async fn end(&mut self) -> (Vec<u8>, End) {
        let mut rest = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match within("the end of a tunnel", self.read(&mut buffer)).await {
                Ok(0) => return (rest, End::Finished),
                Ok(count) => rest.extend_from_slice(&buffer[..count]),
                Err(error) => return (rest, end_of(&error)),
            }
        }
    }

    /// Cuts the tunnel: a TCP RST, RST_STREAM with CANCEL, RESET_STREAM and STOP_SENDING with H3_REQUEST_CANCELLED.
    pub(crate) fn reset(self) {
        match self {
            Self::Http1(stream) => {
                let zero = Some(std::time::Duration::ZERO);
                socket2::SockRef::from(stream.get_ref().0).set_linger(zero).unwrap();
            }
            Self::Http2 { mut send, .. } => send.send_reset(h2::Reason::CANCEL),
            Self::Http3(tunnel) => {
                let (mut send, mut recv) = tunnel.into_parts();
                send.reset(Code::H3_REQUEST_CANCELLED);
                recv.stop_sending(Code::H3_REQUEST_CANCELLED);
            }
        }
    }
}

/// What an error of a read says.
pub(crate) fn end_of(error: &io::Error) -> End {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<h2::Error>()) {
        return End::Reset(u32::from(error.reason().unwrap()).into());
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<StreamError>()) {
        Some(StreamError::Reset(code) | StreamError::Stopped(code)) => End::Reset(code.value()),
        Some(other) => panic!("{other}"),
        // TLS without close_notify.
        None if error.kind() == io::ErrorKind::UnexpectedEof => End::Finished,
        None if error.kind() == io::ErrorKind::ConnectionReset => End::TcpReset,
        None => panic!("{error}"),
    }
}

fn reserve(send: &mut h2::SendStream<Bytes>, wanted: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    send.reserve_capacity(wanted);
    loop {
        let granted = send.capacity();
        if granted > 0 {
            return Poll::Ready(Ok(granted.min(wanted)));
        }
        match ready!(send.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Http1(stream) => Pin::new(&mut **stream).poll_read(cx, buffer),
            Self::Http2 { recv, ahead, .. } => {
                while ahead.is_empty() {
                    match ready!(recv.poll_data(cx)) {
                        Some(Ok(data)) => *ahead = data,
                        Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                        None => return Poll::Ready(Ok(())),
                    }
                }
                let count = ahead.len().min(buffer.remaining());
                buffer.put_slice(&ahead.split_to(count));
                // Refused only for a stream that is gone.
                let _stream_gone = recv.flow_control().release_capacity(count);
                Poll::Ready(Ok(()))
            }
            Self::Http3(tunnel) => Pin::new(&mut **tunnel).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Http1(stream) => Pin::new(&mut **stream).poll_write(cx, octets),
            Self::Http2 { send, .. } => {
                let granted = ready!(reserve(send, octets.len(), cx))?;
                let sent = send.send_data(Bytes::copy_from_slice(&octets[..granted]), false);
                Poll::Ready(sent.map(|()| granted).map_err(io::Error::other))
            }
            Self::Http3(tunnel) => Pin::new(&mut **tunnel).poll_write(cx, octets),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Http1(stream) => Pin::new(&mut **stream).poll_flush(cx),
            Self::Http2 { .. } => Poll::Ready(Ok(())),
            Self::Http3(tunnel) => Pin::new(&mut **tunnel).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Http1(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Self::Http2 { send, .. } => Poll::Ready(send.send_data(Bytes::new(), true).map_err(io::Error::other)),
            Self::Http3(tunnel) => Pin::new(&mut **tunnel).poll_shutdown(cx),
        }
    }
}
