//! An HTTP server on hyper, over HTTP/1.1 or HTTP/2 in clear text, which answers by path and records what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::patience::within;

/// A running server.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: mpsc::UnboundedReceiver<Seen>,
    _accepting: AbortOnDropHandle<()>,
}

/// One request as the server got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// As it stood in the request: origin-form on HTTP/1.1, absolute on HTTP/2.
    pub(crate) target: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    /// Empty where the path has the body streamed back.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl Seen {
    /// Every value of a field.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

#[derive(Clone, Copy)]
enum Speaks {
    Http1,
    H2c,
}

impl Origin {
    /// Speaks HTTP/1.1. Its answers carry `x-origin: NAME`.
    pub(crate) async fn http1(name: &'static str) -> Self {
        Self::start(name, Speaks::Http1).await
    }

    /// Speaks HTTP/2 with prior knowledge.
    pub(crate) async fn h2c(name: &'static str) -> Self {
        Self::start(name, Speaks::H2c).await
    }

    async fn start(name: &'static str, speaks: Speaks) -> Self {
        let (listener, address) = super::listen().await;
        let connections = Arc::new(AtomicUsize::new(0));
        let (record, seen) = mpsc::unbounded_channel();
        let counter = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::Relaxed);
                let record = record.clone();
                let service = service_fn(move |request| {
                    let record = record.clone();
                    async move { Ok::<_, Infallible>(answer(name, request, &record).await) }
                });
                open.spawn(async move {
                    let io = TokioIo::new(stream);
                    // A connection that the proxy breaks off is no failure of the server.
                    let _ = match speaks {
                        Speaks::Http1 => hyper::server::conn::http1::Builder::new().serve_connection(io, service).await,
                        Speaks::H2c => {
                            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                            builder.serve_connection(io, service).await
                        }
                    };
                });
            }
        });
        Self { address, connections, seen, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// How many connections it has accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The next request.
    pub(crate) async fn seen(&mut self) -> Seen {
        within("a request at the origin", self.seen.recv()).await.unwrap()
    }

    /// Whether every request that has come and was not looked at is for this path.
    pub(crate) fn saw_nothing_more_but(&mut self, path: &str) -> bool {
        while let Ok(seen) = self.seen.try_recv() {
            if seen.target != path {
                return false;
            }
        }
        true
    }

    /// Whether no request has come that was not looked at.
    pub(crate) fn saw_nothing_more(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }
}

type OriginBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// What the paths do: `/echo` streams the body back as it comes, trailers included; `/bytes/N` sends N octets;
/// `/trailers` sends trailers; `/status/N` answers N, with headers that the client may ask for in `x-answer`; `/hang`
/// never answers; `/stall` sends a head and a little and no more; `/watch` records the request when it begins and when it
/// ends; everything else takes the whole body and answers 200.
async fn answer(
    name: &'static str,
    request: Request<Incoming>,
    record: &mpsc::UnboundedSender<Seen>,
) -> Response<OriginBody> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let mut seen = Seen {
        method: parts.method,
        target: parts.uri.to_string(),
        version: parts.version,
        headers: parts.headers,
        body: Vec::new(),
        trailers: HeaderMap::new(),
    };
    let mut answer_fields = Vec::new();
    for value in seen.headers.get_all("x-answer") {
        let (name, value) = value.to_str().unwrap().split_once('=').unwrap();
        answer_fields.push((name.to_owned(), value.to_owned()));
    }
    let mut response = if path.starts_with("/echo") {
        record_to(record, seen);
        Response::new(body.boxed_unsync())
    } else {
        if path == "/watch" {
            record_to(record, seen.clone());
        }
        if let Ok(whole) = body.collect().await {
            seen.trailers = whole.trailers().cloned().unwrap_or_default();
            seen.body = whole.to_bytes().to_vec();
        } else {
            seen.body = b"broken off".to_vec();
        }
        record_to(record, seen);
        by_path(&path).await
    };
    response.headers_mut().insert("x-origin", HeaderValue::from_static(name));
    for (name, value) in answer_fields {
        let name = http::HeaderName::try_from(name).unwrap();
        response.headers_mut().append(name, HeaderValue::try_from(value).unwrap());
    }
    response
}

fn record_to(record: &mpsc::UnboundedSender<Seen>, seen: Seen) {
    // Nobody listens at the end of a test.
    let _ = record.send(seen);
}

async fn by_path(path: &str) -> Response<OriginBody> {
    let number = |prefix: &str| path.strip_prefix(prefix).and_then(|number| number.parse::<usize>().ok());
    if let Some(count) = number("/bytes/") {
        return Response::new(full(vec![b'x'; count]));
    }
    if let Some(status) = number("/status/") {
        let status = http::StatusCode::from_u16(status as u16).unwrap();
        let body = match status.as_u16() {
            204 | 304 => Empty::new().map_err(|never| match never {}).boxed_unsync(),
            _ => full(format!("status {status}").into_bytes()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        return response;
    }
    match path {
        "/hang" => std::future::pending().await,
        "/stall" => Response::new(Stalled(Some(Bytes::from_static(b"a little"))).boxed_unsync()),
        "/trailers" => {
            let trailers = HeaderMap::from_iter([("x-end".parse().unwrap(), HeaderValue::from_static("yes"))]);
            // Of no known length, since only chunked content has trailers on HTTP/1.1.
            let frames = [Frame::data(Bytes::from_static(b"content")), Frame::trailers(trailers)];
            let frames = futures::stream::iter(frames.map(Ok));
            let mut response = Response::new(http_body_util::StreamBody::new(frames).boxed_unsync());
            response.headers_mut().insert("trailer", HeaderValue::from_static("x-end"));
            response
        }
        _ => Response::new(full(b"ok".to_vec())),
    }
}

fn full(body: Vec<u8>) -> OriginBody {
    Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync()
}

/// A body that begins and never ends.
struct Stalled(Option<Bytes>);

impl Body for Stalled {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            // Nothing will ever wake it: the connection is dropped with the test.
            None => Poll::Pending,
        }
    }
}
