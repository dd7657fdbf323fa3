//! Clients for every HTTP version behind one form: plain requests here, tunnels in [`pipe`], octets in [`wire`].
//!
//! HTTP/1.1 is hyper, HTTP/2 is h2, HTTP/3 is h3 on h3-quinn: none of them is the data plane's own.

mod http1;
mod pipe;
pub(crate) mod quic;
mod wire;

pub(crate) use self::pipe::{End, KEY, Pipe, Tunnels};
pub(crate) use self::wire::Wire;

use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use crate::patience::within;
use crate::stage::certificates::client_tls;
use crate::stage::{HOST, Stage};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
    Http3,
}

impl Version {
    pub(crate) const ALL: [Self; 3] = [Self::Http1, Self::Http2, Self::Http3];

    /// As metrics and the access log call it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Http3 => "http3",
        }
    }
}

/// An encrypted TCP connection.
pub(crate) async fn tls(stage: &Stage, server_name: &str, alpn: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(stage.https_address()).await?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::new(client_tls(&[alpn])));
    connector.connect(ServerName::try_from(server_name.to_owned()).unwrap(), stream).await
}

/// A connection for plain requests.
pub(crate) struct Connection {
    sender: Sender,
    driver: AbortOnDropHandle<()>,
}

enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<http1::Content>),
    Http2(h2::client::SendRequest<Bytes>),
    /// The QUIC client is held, because dropping it closes the connection.
    Http3(h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>, #[expect(dead_code, reason = "held")] quic::Client),
}

/// Why an exchange was cut short.
#[derive(Debug)]
pub(crate) enum Cut {
    /// The stream was reset with this code (HTTP/2 and HTTP/3).
    Reset(u64),
    /// The connection ended, or the client gave up on what it got.
    Broken(#[expect(dead_code, reason = "printed where a test fails")] String),
}

impl Connection {
    pub(crate) async fn open(stage: &Stage, version: Version) -> Self {
        Self::open_as(stage, version, HOST).await
    }

    /// With another TLS server name.
    pub(crate) async fn open_as(stage: &Stage, version: Version, server_name: &str) -> Self {
        within("a connection", async {
            match version {
                Version::Http1 => Self::http1(tls(stage, server_name, "http/1.1").await.unwrap()).await,
                Version::Http2 => Self::http2(tls(stage, server_name, "h2").await.unwrap()).await,
                Version::Http3 => Self::http3(quic::Client::connect(stage, server_name).await).await,
            }
        })
        .await
    }

    /// In clear text: HTTP/1.1, or HTTP/2 with prior knowledge.
    pub(crate) async fn open_clear(stage: &Stage, version: Version) -> Self {
        let stream = TcpStream::connect(stage.http_address()).await.unwrap();
        match version {
            Version::Http1 => Self::http1(stream).await,
            Version::Http2 => Self::http2(stream).await,
            Version::Http3 => panic!("HTTP/3 has no clear text"),
        }
    }

    async fn http1(stream: impl wire::Stream) -> Self {
        let io = hyper_util::rt::TokioIo::new(stream);
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let driver = tokio::spawn(async move { drop(connection.await) });
        Self { sender: Sender::Http1(sender), driver: AbortOnDropHandle::new(driver) }
    }

    async fn http2(stream: impl wire::Stream) -> Self {
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        let driver = tokio::spawn(async move { drop(connection.await) });
        Self { sender: Sender::Http2(sender), driver: AbortOnDropHandle::new(driver) }
    }

    /// On a QUIC connection that is there.
    pub(crate) async fn on(quic: quic::Client) -> Self {
        Self::http3(quic).await
    }

    async fn http3(quic: quic::Client) -> Self {
        let (mut connection, sender) =
            h3::client::new(h3_quinn::Connection::new(quic.connection.clone())).await.unwrap();
        let driver = tokio::spawn(async move { drop(connection.wait_idle().await) });
        Self { sender: Sender::Http3(sender, quic), driver: AbortOnDropHandle::new(driver) }
    }

    /// Whether the connection is over: closed, or gone away and done.
    pub(crate) fn is_over(&self) -> bool {
        self.driver.is_finished()
    }

    /// Begins an exchange. `more` says that content or trailers will follow.
    pub(crate) async fn begin(&mut self, request: Request<()>, more: bool) -> Result<Exchange, Cut> {
        let exchange = async {
            match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await.map_err(Cut::from)?;
                    let (content, outgoing) = http1::content(more);
                    let response = sender.send_request(http1::origin_form(request).map(|()| content));
                    let incoming = Incoming::Http1 { response: Some(Box::pin(response)), body: None, trailers: None };
                    Ok(Exchange { outgoing: Outgoing::Http1(outgoing), incoming })
                }
                Sender::Http2(sender) => {
                    *sender = sender.clone().ready().await.map_err(Cut::from)?;
                    let (response, stream) = sender.send_request(request, !more).map_err(Cut::from)?;
                    Ok(Exchange {
                        outgoing: Outgoing::Http2(stream),
                        incoming: Incoming::Http2 { response: Some(response), body: None },
                    })
                }
                Sender::Http3(sender, _) => {
                    let (mut send, recv) = sender.send_request(request).await.map_err(Cut::from)?.split();
                    if !more {
                        send.finish().await.map_err(Cut::from)?;
                    }
                    Ok(Exchange { outgoing: Outgoing::Http3(send), incoming: Incoming::Http3(recv) })
                }
            }
        };
        within("an exchange to begin", exchange).await
    }

    /// A whole exchange.
    pub(crate) async fn fetch(&mut self, request: Request<Vec<u8>>) -> Result<Answer, Cut> {
        let (parts, body) = request.into_parts();
        let mut exchange = self.begin(Request::from_parts(parts, ()), !body.is_empty()).await?;
        if !body.is_empty() {
            // A server may answer before it has read everything, and refuse the rest.
            let _early_answer = async {
                exchange.outgoing.data(Bytes::from(body)).await?;
                exchange.outgoing.finish().await
            }
            .await;
        }
        exchange.incoming.whole().await
    }
}

/// Both directions of one exchange.
pub(crate) struct Exchange {
    pub(crate) outgoing: Outgoing,
    pub(crate) incoming: Incoming,
}

/// The request's content.
#[expect(clippy::large_enum_variant, reason = "a test has few of them")]
pub(crate) enum Outgoing {
    Http1(http1::Feed),
    Http2(h2::SendStream<Bytes>),
    Http3(h3::client::RequestStream<h3_quinn::SendStream<Bytes>, Bytes>),
}

impl Outgoing {
    pub(crate) async fn data(&mut self, mut data: Bytes) -> Result<(), Cut> {
        let sent = async {
            match self {
                Self::Http1(feed) => feed.send(Frame::data(data)).await,
                Self::Http2(stream) => {
                    while !data.is_empty() {
                        stream.reserve_capacity(data.len());
                        let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                        let granted = granted.ok_or_else(|| Cut::Broken("the stream is closed".to_owned()))?;
                        stream.send_data(data.split_to(granted.map_err(Cut::from)?), false).map_err(Cut::from)?;
                    }
                    Ok(())
                }
                Self::Http3(stream) => stream.send_data(data).await.map_err(Cut::from),
            }
        };
        within("content to be taken", sent).await
    }

    pub(crate) async fn trailers(mut self, trailers: HeaderMap) -> Result<(), Cut> {
        match &mut self {
            Self::Http1(feed) => feed.send(Frame::trailers(trailers)).await?,
            Self::Http2(stream) => return stream.send_trailers(trailers).map_err(Cut::from),
            Self::Http3(stream) => stream.send_trailers(trailers).await.map_err(Cut::from)?,
        }
        self.finish().await
    }

    pub(crate) async fn finish(&mut self) -> Result<(), Cut> {
        match self {
            Self::Http1(feed) => feed.finish(),
            Self::Http2(stream) => stream.send_data(Bytes::new(), true).map_err(Cut::from)?,
            Self::Http3(stream) => stream.finish().await.map_err(Cut::from)?,
        }
        Ok(())
    }

    /// Gives the request up half-way.
    pub(crate) fn reset(self) {
        match self {
            Self::Http1(feed) => feed.fail(),
            Self::Http2(mut stream) => stream.send_reset(h2::Reason::CANCEL),
            Self::Http3(mut stream) => stream.stop_stream(h3::error::Code::H3_REQUEST_CANCELLED),
        }
    }
}

type Http1Response = std::pin::Pin<Box<dyn Future<Output = hyper::Result<Response<hyper::body::Incoming>>> + Send>>;

/// The response.
pub(crate) enum Incoming {
    Http1 { response: Option<Http1Response>, body: Option<hyper::body::Incoming>, trailers: Option<HeaderMap> },
    Http2 { response: Option<h2::client::ResponseFuture>, body: Option<h2::RecvStream> },
    Http3(h3::client::RequestStream<h3_quinn::RecvStream, Bytes>),
}

impl Incoming {
    /// The final response's head. To be asked for once, before anything else.
    pub(crate) async fn head(&mut self) -> Result<Response<()>, Cut> {
        let head = async {
            match self {
                Self::Http1 { response, body, .. } => {
                    let (head, content) = response.take().unwrap().await.map_err(Cut::from)?.into_parts();
                    *body = Some(content);
                    Ok(Response::from_parts(head, ()))
                }
                Self::Http2 { response, body } => {
                    let (head, content) = response.take().unwrap().await.map_err(Cut::from)?.into_parts();
                    *body = Some(content);
                    Ok(Response::from_parts(head, ()))
                }
                Self::Http3(stream) => loop {
                    let head = stream.recv_response().await.map_err(Cut::from)?;
                    if !head.status().is_informational() {
                        return Ok(head);
                    }
                },
            }
        };
        within("a response", head).await
    }

    /// The next piece of content, never an empty one; `None` at its end.
    pub(crate) async fn data(&mut self) -> Result<Option<Bytes>, Cut> {
        loop {
            match self.frame().await? {
                Some(empty) if empty.is_empty() => {}
                other => return Ok(other),
            }
        }
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, Cut> {
        let data = async {
            match self {
                Self::Http1 { body, trailers, .. } => loop {
                    let Some(frame) = body.as_mut().unwrap().frame().await else { return Ok(None) };
                    match frame.map_err(Cut::from)?.into_data() {
                        Ok(data) => return Ok(Some(data)),
                        Err(frame) => *trailers = frame.into_trailers().ok(),
                    }
                },
                Self::Http2 { body, .. } => {
                    let body = body.as_mut().unwrap();
                    let Some(data) = body.data().await else { return Ok(None) };
                    let data = data.map_err(Cut::from)?;
                    body.flow_control().release_capacity(data.len()).map_err(Cut::from)?;
                    Ok(Some(data))
                }
                Self::Http3(stream) => {
                    let data = stream.recv_data().await.map_err(Cut::from)?;
                    Ok(data.map(|mut data| data.copy_to_bytes(data.remaining())))
                }
            }
        };
        within("content", data).await
    }

    /// What comes behind the content.
    pub(crate) async fn trailers(&mut self) -> Result<Option<HeaderMap>, Cut> {
        match self {
            Self::Http1 { trailers, .. } => Ok(trailers.take()),
            Self::Http2 { body, .. } => body.as_mut().unwrap().trailers().await.map_err(Cut::from),
            Self::Http3(stream) => stream.recv_trailers().await.map_err(Cut::from),
        }
    }

    /// Everything.
    pub(crate) async fn whole(&mut self) -> Result<Answer, Cut> {
        let (head, ()) = self.head().await?.into_parts();
        let mut body = Vec::new();
        while let Some(data) = self.data().await? {
            body.extend_from_slice(&data);
        }
        let trailers = within("trailers", self.trailers()).await?.unwrap_or_default();
        Ok(Answer { status: head.status, headers: head.headers, body, trailers })
    }
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// A field's only value, or nothing.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} comes more than once");
        value
    }
}

/// A request without content for [`HOST`].
pub(crate) fn get(path: &str) -> Request<Vec<u8>> {
    request(Method::GET, path, &[], b"")
}

/// A request for [`HOST`].
pub(crate) fn request(method: Method, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Request<Vec<u8>> {
    let mut builder = Request::builder().method(method).uri(format!("https://{HOST}{path}"));
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(body.to_vec()).unwrap()
}

impl From<hyper::Error> for Cut {
    fn from(error: hyper::Error) -> Self {
        Self::Broken(format!("{error:?}"))
    }
}

impl From<h2::Error> for Cut {
    fn from(error: h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_reset() => Self::Reset(u32::from(reason).into()),
            _ => Self::Broken(format!("{error:?}")),
        }
    }
}

impl From<h3::error::StreamError> for Cut {
    fn from(error: h3::error::StreamError) -> Self {
        match error {
            h3::error::StreamError::RemoteTerminate { code, .. } => Self::Reset(code.value()),
            other => Self::Broken(format!("{other:?}")),
        }
    }
}
