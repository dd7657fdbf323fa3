//! The admin server: metrics, health, readiness and status, over HTTP/1.1 on an address of its own.
//!
//! For the kubelet, Prometheus and `headrace status`, not for clients: it should be bound where only the cluster reaches it,
//! and is bounded all the same. Owns what readiness means. It changes nothing.

pub mod report;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headrace_compile::Kind;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::generation::Generation;
use crate::leader::Leadership;
use crate::metrics::{Gauges, Label, Metrics};
use crate::publish::Publish;
use crate::watch::{KindState, Store};
use report::{Readiness, StatusReport};

/// Connections at a time; a few probes and scrapers are usual. More wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 64;

/// Octets of a request's header section, the smallest bound that hyper knows.
const MAX_HEADER_OCTETS: usize = 8 * 1024;

/// For the request's header section.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// For a whole connection, which carries one request: a scrape of a slow reader included.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause after a failed accept, which means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The Prometheus text format (TextEncoder writes this version).
const METRICS_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

const TEXT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

const JSON_TYPE: HeaderValue = HeaderValue::from_static("application/json");

const INDEX: &str = "headrace controller\n\n\
    /metrics  Prometheus metrics\n\
    /healthz  200 while the process lives\n\
    /readyz   200 once the cluster has been read and compiled, else 503 and what is awaited\n\
    /status   what is watched, compiled and served, as JSON\n";

/// Whether an object could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectState {
    /// It is in the World.
    Read,
    /// It is left out.
    Unreadable,
}

impl Label for ObjectState {
    const NAME: &'static str = "state";
    const ALL: &'static [Self] = &[ObjectState::Read, ObjectState::Unreadable];

    fn label(self) -> &'static str {
        match self {
            ObjectState::Read => "read",
            ObjectState::Unreadable => "unreadable",
        }
    }
}

/// What is told of the World, at the moment of a scrape.
#[derive(Clone, Debug)]
pub struct WorldMetrics {
    objects: Gauges<(Kind, ObjectState)>,
    missing: Gauges<Kind>,
}

impl WorldMetrics {
    /// All zero.
    pub fn new(metrics: &Metrics) -> Self {
        WorldMetrics {
            objects: metrics
                .gauges("objects", "Objects of the cluster that are watched, by kind, and whether they could be read."),
            missing: metrics.gauges("kind_missing", "1 for a kind that the API server does not have, else 0."),
        }
    }

    fn refresh(&self, store: &Store) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let unreadable = store.unreadable();
        for (kind, state, count) in store.kinds() {
            self.objects.of((kind, ObjectState::Read)).set(gauge(count));
            self.missing.of(kind).set(i64::from(matches!(state, KindState::Missing(_))));
        }
        for (kind, count) in store.referenced() {
            self.objects.of((kind, ObjectState::Read)).set(gauge(count));
        }
        for kind in Kind::ALL {
            let count = unreadable.iter().filter(|object| object.kind == *kind).count();
            self.objects.of((*kind, ObjectState::Unreadable)).set(gauge(count));
        }
    }
}

/// What the admin server tells, and from whom it has it.
#[derive(Clone, Debug)]
pub struct Admin {
    /// This pod's name.
    pub pod: String,
    /// All metrics.
    pub metrics: Metrics,
    /// Those of the World.
    pub world_metrics: WorldMetrics,
    /// What is watched.
    pub store: Arc<Store>,
    /// What is compiled.
    pub generations: watch::Receiver<Option<Arc<Generation>>>,
    /// Who leads.
    pub leadership: watch::Receiver<Leadership>,
    /// What the pods say.
    pub publish: Publish,
    /// What pods share for QUIC.
    pub quic: crate::quic::Known,
}

impl Admin {
    /// Answers on the listener until the future is dropped, which also drops its connections.
    pub async fn serve(self, listener: TcpListener) -> Infallible {
        let admin = Arc::new(self);
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, _)) => {
                    let admin = Arc::clone(&admin);
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

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(move |request: Request<_>| {
            let response = self.answer(request.method(), request.uri().path());
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .max_buf_size(MAX_HEADER_OCTETS)
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
            let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT_TYPE, "GET or HEAD only\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/" => answer(StatusCode::OK, TEXT_TYPE, INDEX),
            "/healthz" => answer(StatusCode::OK, TEXT_TYPE, "ok\n"),
            "/readyz" => {
                let readiness = self.readiness();
                let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                answer(status, TEXT_TYPE, readiness.to_string())
            }
            "/metrics" => {
                self.world_metrics.refresh(&self.store);
                answer(StatusCode::OK, METRICS_TYPE, self.metrics.encode())
            }
            "/status" => {
                let report = serde_json::to_vec(&self.report()).expect("a report has string keys and finite numbers");
                answer(StatusCode::OK, JSON_TYPE, report)
            }
            _ => answer(StatusCode::NOT_FOUND, TEXT_TYPE, "not found\n"),
        }
    }

    fn readiness(&self) -> Readiness {
        Readiness::of(&self.store.kinds(), self.generations.borrow().is_some())
    }

    fn report(&self) -> StatusReport {
        let generation = self.generations.borrow().clone();
        StatusReport::of(
            &self.pod,
            &self.readiness(),
            *self.leadership.borrow(),
            &self.store,
            generation.as_deref(),
            self.publish.summary(),
            self.quic.summary(),
        )
    }
}

fn answer(status: StatusCode, of: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, of);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
