//! Requests to the API server: counted below the client, so that whoever sends one is counted.

use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use prometheus::Histogram;
use tower::{Layer, Service};

use super::{Counters, Label, Metrics};

/// From a cached read nearby to what an API server in trouble takes.
const BOUNDS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// What is asked of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// To get or list.
    Read,
    /// To watch.
    Watch,
    /// To create, a TokenReview or an event included.
    Create,
    /// To replace.
    Update,
    /// To patch or apply.
    Patch,
    /// To delete.
    Delete,
}

impl Label for Verb {
    const NAME: &'static str = "verb";
    const ALL: &'static [Self] = &[Verb::Read, Verb::Watch, Verb::Create, Verb::Update, Verb::Patch, Verb::Delete];

    fn label(self) -> &'static str {
        match self {
            Verb::Read => "read",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
        }
    }
}

/// What is wrong with an answer of the API server, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// 401: our token is not taken.
    Unauthorized,
    /// 403: the role does not allow it.
    Forbidden,
    /// 404, which a read may well be answered.
    NotFound,
    /// 409: somebody else was faster.
    Conflict,
    /// 410: what a watch wanted to resume from is forgotten.
    Gone,
    /// 400 or 422: the object is not good.
    Invalid,
    /// 429.
    Throttled,
    /// 5xx.
    Server,
    /// Any other status that is no success.
    Other,
    /// No answer: not reachable, or broken off.
    Connection,
}

impl Label for ApiError {
    const NAME: &'static str = "error";
    const ALL: &'static [Self] = &[
        ApiError::Unauthorized,
        ApiError::Forbidden,
        ApiError::NotFound,
        ApiError::Conflict,
        ApiError::Gone,
        ApiError::Invalid,
        ApiError::Throttled,
        ApiError::Server,
        ApiError::Other,
        ApiError::Connection,
    ];

    fn label(self) -> &'static str {
        match self {
            ApiError::Unauthorized => "unauthorized",
            ApiError::Forbidden => "forbidden",
            ApiError::NotFound => "not_found",
            ApiError::Conflict => "conflict",
            ApiError::Gone => "gone",
            ApiError::Invalid => "invalid",
            ApiError::Throttled => "throttled",
            ApiError::Server => "server",
            ApiError::Other => "other",
            ApiError::Connection => "connection",
        }
    }
}

impl Verb {
    fn of<B>(request: &Request<B>) -> Verb {
        let query = request.uri().query().unwrap_or("");
        match *request.method() {
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE => Verb::Delete,
            _ if query.split('&').any(|pair| pair == "watch=true") => Verb::Watch,
            _ => Verb::Read,
        }
    }
}

impl ApiError {
    fn of(status: StatusCode) -> Option<ApiError> {
        match status.as_u16() {
            100..=399 => None,
            401 => Some(ApiError::Unauthorized),
            403 => Some(ApiError::Forbidden),
            404 => Some(ApiError::NotFound),
            409 => Some(ApiError::Conflict),
            410 => Some(ApiError::Gone),
            400 | 422 => Some(ApiError::Invalid),
            429 => Some(ApiError::Throttled),
            500..=599 => Some(ApiError::Server),
            _ => Some(ApiError::Other),
        }
    }
}

/// What is counted of every request to the API server.
#[derive(Clone, Debug)]
pub struct ApiMetrics {
    requests: Counters<Verb>,
    errors: Counters<(Verb, ApiError)>,
    seconds: Histogram,
}

impl ApiMetrics {
    /// All zero.
    pub fn new(metrics: &Metrics) -> Self {
        ApiMetrics {
            requests: metrics.counters("api_requests_total", "Requests sent to the API server, by verb."),
            errors: metrics.counters(
                "api_errors_total",
                "Requests to the API server that failed, by verb and kind of error. Reads that find nothing are among them.",
            ),
            seconds: metrics.histogram(
                "api_request_duration_seconds",
                "Time from a request to the head of the API server's answer.",
                &BOUNDS,
            ),
        }
    }
}

/// The layer that counts, to be put around a client.
impl<S> Layer<S> for ApiMetrics {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, metrics: self.clone() }
    }
}

/// A client whose requests are counted.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    inner: S,
    metrics: ApiMetrics,
}

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let verb = Verb::of(&request);
        let metrics = self.metrics.clone();
        metrics.requests.of(verb).inc();
        let start = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            metrics.seconds.observe(start.elapsed().as_secs_f64());
            let error = match &answer {
                Ok(response) => ApiError::of(response.status()),
                Err(_) => Some(ApiError::Connection),
            };
            if let Some(error) = error {
                metrics.errors.of((verb, error)).inc();
            }
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn requests_are_counted_by_verb_and_outcome() {
        let metrics = Metrics::new();
        let answer = |request: Request<()>| async move {
            let status: u16 = request.uri().path().trim_start_matches('/').parse().unwrap();
            Ok::<_, Infallible>(Response::builder().status(status).body(()).unwrap())
        };
        let mut client = ApiMetrics::new(&metrics).layer(tower::service_fn(answer));
        for (method, uri) in [
            ("GET", "/200?watch=true&labelSelector=a"),
            ("GET", "/410?labelSelector=a&watch=true"),
            ("GET", "/404"),
            ("PATCH", "/409?fieldManager=headrace"),
        ] {
            client.call(Request::builder().method(method).uri(uri).body(()).unwrap()).await.unwrap();
        }
        let text = metrics.encode();
        for line in [
            "headrace_controller_api_requests_total{verb=\"watch\"} 2",
            "headrace_controller_api_requests_total{verb=\"read\"} 1",
            "headrace_controller_api_errors_total{error=\"gone\",verb=\"watch\"} 1",
            "headrace_controller_api_errors_total{error=\"not_found\",verb=\"read\"} 1",
            "headrace_controller_api_errors_total{error=\"conflict\",verb=\"patch\"} 1",
            "headrace_controller_api_errors_total{error=\"server\",verb=\"read\"} 0",
            "headrace_controller_api_request_duration_seconds_count 4",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }
}
