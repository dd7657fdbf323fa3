//! Connections to backends: choosing an endpoint, dialling it, and keeping idle ones for the next request.
//!
//! Owns the pool of one worker. Knows nothing of routes and rules: it is given a backend and a request.

mod pool;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headrace_table::{Backend, BackendProtocol};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

pub(crate) use self::pool::{Lease, Pool};
use crate::body::RequestBody;
use crate::failure::Failure;
use crate::metrics::{ConnectResult, WorkerMetrics};
use crate::socket::connect_options;

/// A dead endpoint must not hold a request for long: another one may be alive.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How many endpoints one request is offered to. Two, because with three a backend that is down as a whole triples its
/// clients' waiting.
const MAX_ATTEMPTS: usize = 2;

/// Response heads above this are refused (Apache, NGINX and Envoy allow 8 to 64 KiB).
const MAX_RESPONSE_HEAD: usize = 64 * 1024;

/// Header fields in a response.
const MAX_RESPONSE_HEADERS: usize = 128;

/// Dials an endpoint.
pub(crate) async fn connect(endpoint: SocketAddr, metrics: &WorkerMetrics) -> Result<TcpStream, Failure> {
    let result = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(endpoint)).await {
        Ok(Ok(stream)) => {
            // A socket that refuses its options still carries bytes.
            let _still_works = connect_options(&stream);
            metrics.upstream_connects_total(ConnectResult::Ok).inc();
            return Ok(stream);
        }
        Ok(Err(error)) => {
            tracing::debug!(%endpoint, %error, "connecting to an endpoint failed");
            match error.kind() {
                std::io::ErrorKind::ConnectionRefused => ConnectResult::Refused,
                _ => ConnectResult::Failed,
            }
        }
        Err(_) => {
            tracing::debug!(%endpoint, "connecting to an endpoint timed out");
            ConnectResult::Timeout
        }
    };
    metrics.upstream_connects_total(result).inc();
    Err(Failure::Unreachable)
}

/// The endpoints to try for one request, starting at a drawn one.
pub(crate) fn candidates(backend: &Backend, draw: u64) -> impl Iterator<Item = SocketAddr> + use<'_> {
    let count = backend.endpoints.len();
    let start = draw.checked_rem(count as u64).unwrap_or(0) as usize;
    backend.endpoints.iter().cycle().skip(start).take(count.min(MAX_ATTEMPTS)).copied()
}

/// What a backend answered, with the connection's lease to be given back after the body.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) endpoint: SocketAddr,
    pub(crate) lease: Option<Lease>,
}

/// Sends a plain request to one of the backend's endpoints.
///
/// It is sent again only where that is safe: when nothing of it was sent, or when a kept connection closed under a
/// request without a body whose method is idempotent (RFC 9110 section 9.2.2).
pub(crate) async fn send(
    pool: &Arc<Pool>,
    metrics: &WorkerMetrics,
    backend: &Backend,
    draw: u64,
    mut request: Request<RequestBody>,
) -> Result<Answer, Failure> {
    let mut failure = Failure::NoEndpoints;
    for (attempt, endpoint) in candidates(backend, draw).enumerate() {
        if attempt > 0 {
            metrics.retries_total().inc();
        }
        let outcome = match backend.protocol {
            BackendProtocol::Http1 => send_http1(pool, metrics, endpoint, request).await,
            BackendProtocol::H2c => send_h2c(pool, metrics, endpoint, request).await,
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

async fn send_http1(
    pool: &Arc<Pool>,
    metrics: &WorkerMetrics,
    endpoint: SocketAddr,
    mut request: Request<RequestBody>,
) -> Result<Answer, Unsent> {
    // Kept connections first: each may have been closed by the backend a moment ago, so each failure tries the next.
    while let Some(mut sender) = pool.take_http1(endpoint) {
        let again = repeatable(&request);
        match sender.try_send_request(request).await {
            Ok(response) => return Ok(answer(pool, endpoint, sender, response)),
            Err(mut error) => match (error.take_message(), again) {
                (Some(returned), _) => request = returned,
                (None, Some(copy)) if error.error().is_incomplete_message() => request = copy,
                (None, _) => return Err(Unsent { request: None, failure: Failure::BackendProtocol }),
            },
        }
    }
    let stream = match connect(endpoint, metrics).await {
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
        Ok(response) => Ok(answer(pool, endpoint, sender, response)),
        Err(error) => Err(error.into()),
    }
}

fn answer(pool: &Arc<Pool>, endpoint: SocketAddr, sender: pool::Http1, response: Response<Incoming>) -> Answer {
    Answer { response, endpoint, lease: Some(Lease::new(pool, endpoint, sender)) }
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

async fn send_h2c(
    pool: &Arc<Pool>,
    metrics: &WorkerMetrics,
    endpoint: SocketAddr,
    mut request: Request<RequestBody>,
) -> Result<Answer, Unsent> {
    if let Some(mut sender) = pool.h2c(endpoint) {
        match sender.try_send_request(request).await {
            Ok(response) => return Ok(Answer { response, endpoint, lease: None }),
            Err(mut error) => match error.take_message() {
                Some(returned) => request = returned,
                None => return Err(Unsent { request: None, failure: Failure::BackendProtocol }),
            },
        }
    }
    let stream = match connect(endpoint, metrics).await {
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
    pool.keep_h2c(endpoint, sender.clone());
    match sender.try_send_request(request).await {
        Ok(response) => Ok(Answer { response, endpoint, lease: None }),
        Err(error) => Err(error.into()),
    }
}
