//! A plain request on its way: the rule it meets, the request a backend gets, the response the client gets.
//!
//! The same for every HTTP version: [`crate::downstream`] brings the request in one form and takes the response in one
//! form. Tunnels go through [`crate::tunnel`] and share the pieces here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headrace_table::{Action, Forward, Opening, PathRewrite, Redirect, WeightedBackend, WeightedBackends};
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version, request, response};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::body::{RequestBody, ResponseBody};
use crate::downstream::Downstream;
use crate::downstream::early_data::{self, Handshake};
use crate::exchange::{Exchange, Head};
use crate::failure::{Failure, Origin};
use crate::headers::{self, Seen};
use crate::metrics::EarlyOutcome;
use crate::route::{self, Matched, Target};
use crate::upstream::{Answer, Upstream};
use crate::worker::{View, Worker};

/// Longest a backend may take for a response's head when the route sets no limit. A stuck backend must not hold a
/// request, and what it holds here, for ever.
const DEFAULT_RESPONSE_HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Tells the downstream side that the body is wanted now (`100 Continue`, RFC 9110 section 10.1.1). A request extension,
/// set where the HTTP version's library does not do so by itself.
#[derive(Clone)]
pub(crate) struct Continue(Arc<std::sync::Mutex<Option<oneshot::Sender<()>>>>);

impl Continue {
    pub(crate) fn new(wanted: oneshot::Sender<()>) -> Self {
        Self(Arc::new(std::sync::Mutex::new(Some(wanted))))
    }

    fn send(&self) {
        if let Ok(mut wanted) = self.0.lock()
            && let Some(wanted) = wanted.take()
        {
            // The client may be gone, and nothing is lost then.
            let _client_gone = wanted.send(());
        }
    }
}

/// Answers one plain request. Always an answer: what goes wrong becomes a status code with a sentence.
pub(crate) async fn answer(
    worker: &Arc<Worker>,
    downstream: &Arc<Downstream>,
    request: Request<RequestBody>,
) -> Response<ResponseBody> {
    let view = worker.view();
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, ());
    let target = Target::of(&request);
    let exchange = Arc::new(Exchange::request(downstream, head(&request, &target)));
    let (parts, ()) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let answered = match target {
        Ok(target) => respond(&view, worker, downstream, &exchange, &target, parts, body).await,
        Err(failure) => Err(failure),
    };
    let mut response = finish(&view, downstream, &exchange, answered);
    if is_head && let Some(length) = response.body_mut().withhold() {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

/// Refuses a request before it is looked at any further.
pub(crate) fn refuse<B>(
    worker: &Arc<Worker>,
    downstream: &Arc<Downstream>,
    request: &Request<B>,
    failure: Failure,
) -> Response<ResponseBody> {
    let target = Target::of(request);
    let exchange = Arc::new(Exchange::request(downstream, head(request, &target)));
    finish(&worker.view(), downstream, &exchange, Err(failure))
}

pub(crate) fn head<'a, B>(request: &'a Request<B>, target: &'a Result<Target, Failure>) -> Head<'a> {
    Head {
        method: request.method(),
        host: target.as_ref().map_or("", Target::host),
        path: request.uri().path(),
        headers: request.headers(),
    }
}

/// Makes the last changes to any answer and counts it.
pub(crate) fn finish(
    view: &View,
    downstream: &Downstream,
    exchange: &Arc<Exchange>,
    answered: Result<Response<ResponseBody>, Failure>,
) -> Response<ResponseBody> {
    let mut response = answered.unwrap_or_else(|failure| {
        match failure.origin() {
            Origin::Downstream => tracing::debug!(%failure, client = %downstream.peer, "a request was refused"),
            Origin::Upstream | Origin::Internal => tracing::warn!(%failure, "a request failed"),
        }
        exchange.broke(failure.label());
        let mut response = text(failure.status(), format!("{failure}\n"), exchange);
        if failure == Failure::WebSocketVersion {
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    });
    advertise(view, downstream, response.headers_mut());
    exchange.answered(response.status());
    response
}

/// Says where HTTP/3 is (RFC 7838), or takes back what was said before. A backend's own claim is about another origin.
pub(crate) fn advertise(view: &View, downstream: &Downstream, headers: &mut HeaderMap) {
    match view.alt_svc(downstream.port) {
        Some(value) if downstream.tls => headers.insert(header::ALT_SVC, value.clone()),
        _ => headers.remove(header::ALT_SVC),
    };
}

fn text(status: StatusCode, text: impl Into<Bytes>, exchange: &Arc<Exchange>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::text(text, Arc::clone(exchange)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

async fn respond(
    view: &View,
    worker: &Arc<Worker>,
    downstream: &Arc<Downstream>,
    exchange: &Arc<Exchange>,
    target: &Target,
    parts: request::Parts,
    body: RequestBody,
) -> Result<Response<ResponseBody>, Failure> {
    if parts.method == Method::CONNECT {
        return Err(Failure::PlainConnect);
    }
    let asked = (&parts.method, &parts.uri, &parts.headers);
    let matched = route::find(&view.snapshot, downstream, target, asked, Opening::Request)?;
    exchange.routed(&matched.route, &matched.rule);
    let mut response = match &matched.rule.action {
        Action::Forward(forward) => {
            forward_to(view, worker, downstream, exchange, target, &matched, forward, parts, body).await?
        }
        other => answer_here(other, downstream, exchange, target, &matched, &parts.uri),
    };
    headers::change(response.headers_mut(), &matched.rule.response_headers);
    Ok(response)
}

/// The answer of a rule that needs no backend.
pub(crate) fn answer_here(
    action: &Action,
    downstream: &Downstream,
    exchange: &Arc<Exchange>,
    target: &Target,
    matched: &Matched,
    uri: &Uri,
) -> Response<ResponseBody> {
    match action {
        Action::Redirect(redirect) => {
            let mut response = Response::new(ResponseBody::text(Bytes::new(), Arc::clone(exchange)));
            *response.status_mut() = redirect.status;
            let location = location(redirect, downstream, target, matched, uri);
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
        Action::Respond(status) => text(*status, Bytes::new(), exchange),
        Action::Forward(_) | Action::WebTransport(_) => unreachable!("the caller forwards, or opens a session"),
    }
}

/// The redirect's target (Gateway API, HTTPRequestRedirectFilter): the port is left out where it is the scheme's own.
fn location(redirect: &Redirect, downstream: &Downstream, target: &Target, matched: &Matched, uri: &Uri) -> String {
    let current = if downstream.tls { Scheme::HTTPS } else { Scheme::HTTP };
    let scheme = redirect.scheme.as_ref().unwrap_or(&current);
    let own_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let port = redirect.port.unwrap_or(if redirect.scheme.is_some() { own_port } else { matched.public_port });
    let host = redirect.host.as_deref().unwrap_or(target.host());
    let path = match &redirect.path {
        Some(rewrite) => rewrite.apply(uri.path(), matched.prefix_len),
        None => uri.path().to_owned(),
    };
    let port = if port == own_port { String::new() } else { format!(":{port}") };
    let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
    format!("{scheme}://{host}{port}{path}{query}")
}

/// The backend that a draw fell on.
///
/// # Errors
/// [`Failure::BackendUnresolved`] when there is none of any weight, or the reference could not be resolved.
pub(crate) fn choose(backends: &WeightedBackends, draw: u64) -> Result<&WeightedBackend, Failure> {
    backends.choose(draw).filter(|chosen| chosen.backend.is_some()).ok_or(Failure::BackendUnresolved)
}

/// The backend that was chosen, with what this worker needs to reach it.
///
/// # Errors
/// [`Failure::BackendUnresolved`] when the table does not have it, [`Failure::BackendTls`] when it asks for TLS that could
/// not be set up.
pub(crate) fn upstream<'a>(
    view: &'a View,
    worker: &'a Worker,
    chosen: &WeightedBackend,
) -> Result<Upstream<'a>, Failure> {
    let backend = chosen.backend.as_deref().and_then(|id| view.snapshot.table.backend(id));
    let backend = backend.ok_or(Failure::BackendUnresolved)?;
    let tls = view.snapshot.tls.of(backend)?;
    Ok(Upstream::new(&worker.pool, &worker.metrics, backend, tls))
}

#[expect(
    clippy::too_many_arguments,
    reason = "each is a different fact about one request; a struct would only rename them"
)]
async fn forward_to(
    view: &View,
    worker: &Arc<Worker>,
    downstream: &Arc<Downstream>,
    exchange: &Arc<Exchange>,
    target: &Target,
    matched: &Matched,
    forward: &Forward,
    mut parts: request::Parts,
    body: RequestBody,
) -> Result<Response<ResponseBody>, Failure> {
    let chosen = choose(&forward.backends, worker.draw())?;
    let upstream = upstream(view, worker, chosen)?;
    if !upstream.has_endpoints() {
        return Err(Failure::NoEndpoints);
    }
    let early = parts.extensions.remove::<Handshake>().filter(|handshake| !handshake.is_complete());
    let marked = refuse_unsafe(worker, &parts)?;
    if let Some(expected) = parts.extensions.remove::<Continue>() {
        expected.send();
    }
    let trailers = headers::accepts_trailers(&parts.headers);
    rewrite(&mut parts, downstream, target, matched, forward.into(), chosen)?;
    parts.headers.remove(header::EXPECT);
    if trailers {
        parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if upstream.is_http2() {
        absolute_form(&mut parts, upstream.scheme())?;
    }
    // Whatever the rule does to headers, the backend is told.
    if marked || early.is_some() {
        early_data::mark(&mut parts.headers);
    }
    // A client that has marked its request knows what 425 means, and is told.
    let again = early.filter(|_| !marked).map(|handshake| (handshake, parts.clone()));
    let outgoing = Request::from_parts(parts, body.counted(Arc::clone(exchange)));
    let times = Times::new(forward);
    let attempt = Attempt { worker, upstream: &upstream, exchange, head_by: times.head };
    let answer = match (attempt.send(outgoing).await?, again) {
        (answer, Some((handshake, head))) if answer.response.status() == StatusCode::TOO_EARLY => {
            drop(answer);
            attempt.send_after(&handshake, head).await?
        }
        (answer, _) => answer,
    };
    exchange.reached(answer.endpoint);
    let (mut head, body) = answer.response.into_parts();
    take_over(&mut head, chosen);
    let body = ResponseBody::backend(body, answer.lease, Arc::clone(exchange), times.whole);
    Ok(Response::from_parts(head, body))
}

/// Whether a request says that it was early on an earlier hop.
///
/// # Errors
/// [`Failure::TooEarly`] where it does and is not safe: waiting does not make it so (RFC 8470 section 5.1).
pub(crate) fn refuse_unsafe(worker: &Worker, parts: &request::Parts) -> Result<bool, Failure> {
    let marked = early_data::is_marked(&parts.headers);
    if marked && !parts.method.is_safe() {
        worker.metrics.early_data_requests_total(EarlyOutcome::TooEarly).inc();
        return Err(Failure::TooEarly);
    }
    Ok(marked)
}

/// How a request is sent.
struct Attempt<'a> {
    worker: &'a Worker,
    upstream: &'a Upstream<'a>,
    exchange: &'a Arc<Exchange>,
    head_by: Instant,
}

impl Attempt<'_> {
    async fn send(&self, request: Request<RequestBody>) -> Result<Answer, Failure> {
        let sent = self.upstream.send(self.worker.draw(), request);
        let sent = tokio::time::timeout_at(self.head_by, sent).await.map_err(|_| Failure::TimedOut)?;
        sent.map_err(|failure| blame(failure, self.exchange))
    }

    /// Sends a request without a body once more when the handshake is complete, as a backend asks for that does not want
    /// it early (RFC 8470 section 5.2).
    async fn send_after(&self, handshake: &Handshake, mut head: request::Parts) -> Result<Answer, Failure> {
        let complete = tokio::time::timeout_at(self.head_by, handshake.completed()).await;
        complete.map_err(|_| Failure::TimedOut)?.map_err(|_| Failure::TooEarly)?;
        self.worker.metrics.early_data_requests_total(EarlyOutcome::Repeated).inc();
        early_data::unmark(&mut head.headers);
        self.send(Request::from_parts(head, RequestBody::empty().counted(Arc::clone(self.exchange)))).await
    }
}

/// A request that cannot be sent to its end because its client breaks off, or sends other content than its head says
/// (RFC 9114 section 4.1.2), fails at the backend's connection, and is no fault of the backend.
fn blame(failure: Failure, exchange: &Exchange) -> Failure {
    match failure {
        Failure::BackendProtocol if exchange.has_broken_content() => {
            Failure::BadRequest("its content broke off, or is not as long as it says")
        }
        other => other,
    }
}

/// Makes a backend's response head ours: what concerned its hop is gone, what the rule asks of this backend is done.
pub(crate) fn take_over(head: &mut response::Parts, chosen: &WeightedBackend) {
    headers::strip_hop_by_hop(&mut head.headers);
    headers::change(&mut head.headers, &chosen.response_headers);
    head.version = Version::HTTP_11;
    head.extensions.clear();
}

/// When the response's head and its end must be there.
struct Times {
    head: Instant,
    whole: Option<Instant>,
}

impl Times {
    fn new(forward: &Forward) -> Self {
        let now = Instant::now();
        let limit = [forward.request_timeout_ms, forward.backend_timeout_ms].into_iter().filter(|ms| *ms > 0).min();
        let whole = limit.map(|ms| now + Duration::from_millis(ms));
        Self { head: whole.unwrap_or(now + DEFAULT_RESPONSE_HEAD_TIMEOUT), whole }
    }
}

/// What a rule changes of a request's target.
#[derive(Clone, Copy)]
pub(crate) struct Rewrites<'a> {
    pub(crate) host: Option<&'a HeaderValue>,
    pub(crate) path: Option<&'a PathRewrite>,
}

impl<'a> From<&'a Forward> for Rewrites<'a> {
    fn from(forward: &'a Forward) -> Self {
        Self { host: forward.rewrite_host.as_ref(), path: forward.rewrite_path.as_ref() }
    }
}

/// Turns the client's request head into the backend's: origin-form target, `Host`, hop-by-hop fields gone, `Forwarded`,
/// the rule's changes.
pub(crate) fn rewrite(
    parts: &mut request::Parts,
    downstream: &Downstream,
    target: &Target,
    matched: &Matched,
    rewrites: Rewrites<'_>,
    chosen: &WeightedBackend,
) -> Result<(), Failure> {
    headers::strip_hop_by_hop(&mut parts.headers);
    let seen = Seen {
        client: downstream.peer.ip(),
        https: downstream.tls,
        host: &target.authority,
        port: matched.public_port,
    };
    headers::set_forwarded(&mut parts.headers, &seen);
    let host = match rewrites.host {
        Some(host) => host.clone(),
        None => HeaderValue::from_str(&target.authority)
            .map_err(|_| Failure::BadRequest("the host has octets that no header may carry"))?,
    };
    parts.headers.insert(header::HOST, host);
    headers::change(&mut parts.headers, &matched.rule.request_headers);
    headers::change(&mut parts.headers, &chosen.request_headers);
    parts.uri = origin_form(&parts.uri, rewrites, matched)?;
    parts.version = Version::HTTP_11;
    Ok(())
}

/// RFC 9112 section 3.2.1, with the rule's path rewrite.
fn origin_form(uri: &Uri, rewrites: Rewrites<'_>, matched: &Matched) -> Result<Uri, Failure> {
    let path = match rewrites.path {
        Some(rewrite) => {
            let path = rewrite.apply(uri.path(), matched.prefix_len);
            let text = uri.query().map_or(path.clone(), |query| format!("{path}?{query}"));
            PathAndQuery::try_from(text).map_err(|_| Failure::BadRequest("the rewritten path is not a path"))?
        }
        None => uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
    };
    Ok(Uri::from(path))
}

/// HTTP/2 and HTTP/3 want scheme and authority as pseudo-header fields in place of `Host` (RFC 9113 section 8.3.1,
/// RFC 9114 section 4.3.1).
pub(crate) fn absolute_form(parts: &mut request::Parts, scheme: Scheme) -> Result<(), Failure> {
    const BAD: Failure = Failure::BadRequest("the host is no authority");
    let host = parts.headers.remove(header::HOST).ok_or(BAD)?;
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| BAD)?;
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.scheme = Some(scheme);
    uri.authority = Some(authority);
    parts.uri = Uri::from_parts(uri).map_err(|_| BAD)?;
    parts.version = Version::HTTP_2;
    Ok(())
}
