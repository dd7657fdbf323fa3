//! Connections to backends: choosing an endpoint, dialling it, and keeping idle ones for the next request.
//!
//! Owns the pool of one worker, and TLS towards backends. Knows nothing of routes and rules: it is given a backend and a
//! request.

mod connect;
mod http3;
mod pool;
mod stream;
mod tls;
mod verify;

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use headrace_table::{Backend, BackendProtocol};
use http::uri::Scheme;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper_util::rt::{TokioExecutor, TokioIo};

pub(crate) use self::connect::{Alpn, dial_stream};
pub(crate) use self::http3::{Opened as OpenedSession, Unopened as UnopenedSession};
pub(crate) use self::pool::{Lease, Place, Pool};
pub(crate) use self::stream::Stream;
pub use self::tls::BackendFailure;
pub(crate) use self::tls::{ClientTls, UpstreamTls};
use crate::body::RequestBody;
use crate::failure::Failure;
use crate::metrics::WorkerMetrics;

/// How many endpoints one request is offered to. Two, because with three a backend that is down as a whole triples its
/// clients' waiting.
const MAX_ATTEMPTS: usize = 2;

/// Response heads above this are refused (Apache, NGINX and Envoy allow 8 to 64 KiB).
const MAX_RESPONSE_HEAD: usize = 64 * 1024;

/// Header fields in a response.
const MAX_RESPONSE_HEADERS: usize = 128;

/// A backend, with what this worker needs to reach it.
#[derive(Clone, Copy)]
pub(crate) struct Upstream<'a> {
    pool: &'a Arc<Pool>,
    metrics: &'a WorkerMetrics,
    backend: &'a Backend,
    /// Absent where the backend speaks in clear text.
    tls: Option<&'a ClientTls>,
}

/// What a backend answered, with the connection's lease to be given back after the body.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) endpoint: SocketAddr,
    pub(crate) lease: Option<Lease>,
}

impl<'a> Upstream<'a> {
    pub(crate) fn new(
        pool: &'a Arc<Pool>,
        metrics: &'a WorkerMetrics,
        backend: &'a Backend,
        tls: Option<&'a ClientTls>,
    ) -> Self {
        Self { pool, metrics, backend, tls }
    }

    /// Whether there is anybody to try.
    pub(crate) fn has_endpoints(&self) -> bool {
        !self.backend.endpoints.is_empty()
    }

    /// Whether plain requests are sent in HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.backend.protocol == BackendProtocol::H2c
    }

    /// The scheme of what is sent to it.
    pub(crate) fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// The endpoints to try for one request, starting at a drawn one.
    pub(crate) fn candidates(&self, draw: u64) -> impl Iterator<Item = SocketAddr> + use<'a> {
        let endpoints = &self.backend.endpoints;
        let start = draw.checked_rem(endpoints.len() as u64).unwrap_or(0) as usize;
        endpoints.iter().cycle().skip(start).take(endpoints.len().min(MAX_ATTEMPTS)).copied()
    }

    /// Sends a plain request to one of the endpoints.
    ///
    /// It is sent again only where that is safe: when nothing of it was sent, or when a kept connection closed under a
    /// request without a body whose method is idempotent (RFC 9110 section 9.2.2).
    pub(crate) async fn send(&self, draw: u64, mut request: Request<RequestBody>) -> Result<Answer, Failure> {
        let mut failure = Failure::NoEndpoints;
        for (attempt, endpoint) in self.candidates(draw).enumerate() {
            if attempt > 0 {
                self.metrics.retries_total().inc();
            }
            let outcome = match self.backend.protocol {
                BackendProtocol::Http1 => self.send_http1(endpoint, request).await,
                BackendProtocol::H2c => self.send_http2(endpoint, request).await,
                BackendProtocol::Http3 | BackendProtocol::Stream | BackendProtocol::Datagram => {
                    unreachable!("a table forwards requests to backends of HTTP/1.1 and HTTP/2 only")
                }
            };
            match outcome {
                Ok(answer) => return Ok(answer),
                Err(Unsent { request: Some(returned), failure: why }) => {
                    (request, failure) = (*returned, why);
                }
                Err(Unsent { request: None, failure }) => return Err(failure),
            }
        }
        Err(failure)
    }

    async fn send_http1(&self, endpoint: SocketAddr, mut request: Request<RequestBody>) -> Result<Answer, Unsent> {
        let place = self.place(endpoint);
        // Kept connections first: each may have been closed by the backend a moment ago, so each failure tries the next.
        while let Some(mut sender) = self.pool.take_http1(place) {
            let again = repeatable(&request);
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.answer(place, sender, response)),
                Err(mut error) => match (error.take_message(), again) {
                    (Some(returned), _) => request = returned,
                    (None, Some(copy)) if closed_under_it(error.error()) => request = copy,
                    (None, _) => return Err(Unsent { request: None, failure: Failure::BackendProtocol }),
                },
            }
        }
        let stream = match self.connect(endpoint, Alpn::Http1).await {
            Ok(stream) => stream,
            Err(failure) => return Err(Unsent { request: Some(Box::new(request)), failure }),
        };
        let handshake = hyper::client::conn::http1::Builder::new()
            .max_headers(MAX_RESPONSE_HEADERS)
            .max_buf_size(MAX_RESPONSE_HEAD)
            .handshake(TokioIo::new(stream))
            .await;
        let Ok((mut sender, connection)) = handshake else {
            return Err(Unsent { request: Some(Box::new(request)), failure: Failure::Unreachable });
        };
        drive(connection);
        match sender.try_send_request(request).await {
            Ok(response) => Ok(self.answer(place, sender, response)),
            Err(error) => Err(error.into()),
        }
    }

    fn answer(&self, place: Place, sender: pool::Http1, response: Response<Incoming>) -> Answer {
        Answer { response, endpoint: place.endpoint, lease: Some(Lease::new(self.pool, place, sender)) }
    }

    async fn send_http2(&self, endpoint: SocketAddr, mut request: Request<RequestBody>) -> Result<Answer, Unsent> {
        let place = self.place(endpoint);
        if let Some(mut sender) = self.pool.http2(place) {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(Answer { response, endpoint, lease: None }),
                Err(mut error) => match error.take_message() {
                    Some(returned) => request = returned,
                    None => return Err(Unsent { request: None, failure: Failure::BackendProtocol }),
                },
            }
        }
        let stream = match self.connect(endpoint, Alpn::Http2).await {
            Ok(stream) => stream,
            Err(failure) => return Err(Unsent { request: Some(Box::new(request)), failure }),
        };
        let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(MAX_RESPONSE_HEAD as u32)
            .handshake(TokioIo::new(stream))
            .await;
        let Ok((mut sender, connection)) = handshake else {
            return Err(Unsent { request: Some(Box::new(request)), failure: Failure::BackendProtocol });
        };
        drive(connection);
        self.pool.keep_http2(place, sender.clone());
        match sender.try_send_request(request).await {
            Ok(response) => Ok(Answer { response, endpoint, lease: None }),
            Err(error) => Err(error.into()),
        }
    }

    fn place(&self, endpoint: SocketAddr) -> Place {
        Place { endpoint, tls: self.tls.map(ClientTls::id) }
    }
}

/// A request that got no answer; it comes back when another attempt is safe.
struct Unsent {
    request: Option<Box<Request<RequestBody>>>,
    failure: Failure,
}

impl From<TrySendError<Request<RequestBody>>> for Unsent {
    fn from(mut error: TrySendError<Request<RequestBody>>) -> Self {
        Self { request: error.take_message().map(Box::new), failure: Failure::BackendProtocol }
    }
}

/// Lets a connection to a backend do its work until it ends.
pub(crate) fn drive(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a backend connection ended");
        }
    });
}

/// Whether a kept connection was closed under a request: by FIN, by RST, or over TLS by a peer that says no close_notify.
fn closed_under_it(error: &hyper::Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    error.is_incomplete_message()
        || io.is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            )
        })
}

/// A copy of a request that may be sent twice: idempotent, and without a body.
fn repeatable(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    );
    if !idempotent || !request.body().is_empty() {
        return None;
    }
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}
