//! The admin server: metrics, health and readiness, over HTTP/1.1 on an address of its own.
//!
//! For the kubelet and Prometheus, not for clients: it should be bound where only the cluster reaches it, and is bounded
//! all the same. Runs beside the workers, so that it answers when they are busy. Knows nothing of what makes the process
//! ready; whoever does tells [`Readiness`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::metrics::Metrics;

/// Connections at a time; a few probes and scrapers are usual. More wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 64;

/// Octets of a request's header section, the smallest bound that hyper knows.
const MAX_HEADER_SIZE: usize = 8 * 1024;

/// Header fields of a request.
const MAX_HEADERS: usize = 64;

/// For the request's header section.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// For a whole connection, which carries one request: a scrape of a slow reader included.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause after a failed accept, which means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The Prometheus text format (TextEncoder writes this version).
const METRICS_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

const TEXT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

const INDEX: &str = "headrace data plane\n\n\
    /metrics  Prometheus metrics\n\
    /healthz  200 while the process lives\n\
    /readyz   200 while it serves a routing table, else 503 and why\n";

/// Whether this process wants traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadinessState {
    /// No table was accepted yet, for this reason.
    Starting(String),
    /// The table of this generation is served.
    Serving {
        /// The table's generation.
        version: u64,
    },
    /// Finishing what is open. For good.
    Draining,
}

/// The readiness that the admin server reports. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Readiness {
    state: Arc<ArcSwap<ReadinessState>>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Starting.
    pub(crate) fn new() -> Self {
        let state = ReadinessState::Starting("no routing table yet".to_owned());
        Self { state: Arc::new(ArcSwap::from_pointee(state)) }
    }

    /// Says why it is still starting. Means nothing once a table is served: that one is served on.
    pub(crate) fn starting(&self, reason: &str) {
        self.advance(|state| match state {
            ReadinessState::Starting(_) => Some(ReadinessState::Starting(reason.to_owned())),
            _ => None,
        });
    }

    /// A table is served, unless the drain has begun.
    pub(crate) fn serving(&self, version: u64) {
        self.advance(|state| match state {
            ReadinessState::Draining => None,
            _ => Some(ReadinessState::Serving { version }),
        });
    }

    /// The drain begins.
    pub(crate) fn draining(&self) {
        self.advance(|_| Some(ReadinessState::Draining));
    }

    /// The state now.
    pub(crate) fn state(&self) -> ReadinessState {
        ReadinessState::clone(&self.state.load())
    }

    fn advance(&self, next: impl Fn(&ReadinessState) -> Option<ReadinessState>) {
        self.state.rcu(|state| next(state).map_or_else(|| Arc::clone(state), Arc::new));
    }
}

/// What the admin server tells.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) readiness: Readiness,
}

impl Admin {
    /// Answers on the listener until the future is dropped, which also drops its connections.
    pub(crate) async fn serve(self, listener: TcpListener) -> Infallible {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, _)) => {
                    let admin = self.clone();
                    connections.spawn(async move {
                        admin.connection(stream).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "admin connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
        let service = service_fn(move |request: Request<_>| {
            let response = self.answer(request.method(), request.uri().path());
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .max_buf_size(MAX_HEADER_SIZE)
            .max_headers(MAX_HEADERS)
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "admin connection failed"),
            Err(_) => tracing::debug!("admin connection took too long"),
        }
    }

    /// The answer to a request. hyper leaves the body away for HEAD.
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD only\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/" => text(StatusCode::OK, INDEX),
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => match self.readiness.state() {
                ReadinessState::Serving { version } => text(StatusCode::OK, format!("serving table {version}\n")),
                ReadinessState::Starting(reason) => {
                    text(StatusCode::SERVICE_UNAVAILABLE, format!("starting: {reason}\n"))
                }
                ReadinessState::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            },
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.metrics.encode());
                response.headers_mut().insert(CONTENT_TYPE, METRICS_TYPE);
                response
            }
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT_TYPE);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
