//! WebSocket tunnels: the handshake with the client's side in any of its three forms, the handshake with the backend, and
//! the byte pipe after both.
//!
//! Owns what makes a handshake good and how one form becomes the other (RFC 6455, RFC 8441, RFC 9220). The pipe itself is
//! [`relay`]. Knows nothing of WebSocket frames.

mod client;
mod handshake;
mod relay;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headrace_table::{Action, Forward, Opening, WebSocketRules};
use http::{Method, Request, Response, StatusCode, header, request};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

pub(crate) use self::client::{Client, Probe, Stopped, poll_capacity, reset_tcp};
pub(crate) use self::handshake::{ClientHandshake, is_upgrade};
use self::relay::{Limits, Relay};
use crate::body::{RequestBody, ResponseBody};
use crate::downstream::{Downstream, early_data};
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::metrics::{EarlyOutcome, Refusal};
use crate::route::{self, Matched, Target};
use crate::upstream::{self, Alpn, Stream, Upstream};
use crate::worker::{View, Worker};
use crate::{headers, proxy};

/// From the client's handshake to the backend's answer where the route says nothing.
const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// A tunnel whose backend has accepted: what the client is told, and what the pipe needs.
pub(crate) struct Opened {
    /// 101 with `Sec-WebSocket-Accept` on HTTP/1.1, 200 on HTTP/2 and HTTP/3.
    pub(crate) response: Response<()>,
    backend: Stream,
    /// What the backend sent right behind its 101.
    early: Bytes,
    limits: Limits,
    exchange: Arc<Exchange>,
}

impl Opened {
    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Starts the pipe on a task of its own: what the handshake needed is let go of.
    pub(crate) fn start(self, client: Client) {
        self.exchange.opened();
        let relay = Relay::new(client, self.backend, self.early, self.limits, self.exchange);
        tokio::spawn(relay);
    }
}

/// Does everything up to the point where bytes may flow.
///
/// # Errors
/// The response for the client when there is no tunnel: a failure of ours, a redirect, or what the backend said instead
/// of accepting.
pub(crate) async fn open(
    worker: &Arc<Worker>,
    downstream: &Arc<Downstream>,
    handshake: ClientHandshake,
    request: Request<()>,
) -> Result<Opened, Response<ResponseBody>> {
    let view = worker.view();
    let target = Target::of(&request);
    let exchange = Arc::new(Exchange::tunnel(downstream, proxy::head(&request, &target)));
    let attempt = Attempt { view: &view, worker, downstream, exchange: &exchange };
    let (parts, ()) = request.into_parts();
    let outcome = match target {
        Ok(target) => attempt.run(&handshake, &target, parts).await,
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(Outcome::Opened(mut opened)) => {
            proxy::advertise(&view, downstream, opened.response.headers_mut());
            exchange.answered(opened.response.status());
            Ok(*opened)
        }
        Ok(Outcome::Declined(response)) => Err(proxy::finish(&view, downstream, &exchange, Ok(*response))),
        Err(failure) => {
            worker.metrics.tunnel_refused_total(Refusal::from(&failure)).inc();
            Err(proxy::finish(&view, downstream, &exchange, Err(failure)))
        }
    }
}

enum Outcome {
    Opened(Box<Opened>),
    /// Not a tunnel, and nobody's mistake: a redirect, or the backend's own refusal.
    Declined(Box<Response<ResponseBody>>),
}

/// One handshake on its way.
struct Attempt<'a> {
    view: &'a View,
    worker: &'a Arc<Worker>,
    downstream: &'a Arc<Downstream>,
    exchange: &'a Arc<Exchange>,
}

impl Attempt<'_> {
    async fn run(
        &self,
        handshake: &ClientHandshake,
        target: &Target,
        mut parts: request::Parts,
    ) -> Result<Outcome, Failure> {
        handshake.check(&parts)?;
        // A handshake is a GET, whatever the HTTP version calls it: one rule holds on every version.
        parts.method = Method::GET;
        let asked = (&parts.method, &parts.uri, &parts.headers);
        let matched = route::find(&self.view.snapshot, self.downstream, target, asked, Opening::WebSocket)?;
        self.exchange.routed(&matched.route, &matched.rule);
        let Action::Forward(forward) = &matched.rule.action else {
            let (action, uri) = (&matched.rule.action, &parts.uri);
            let mut answer = proxy::answer_here(action, self.downstream, self.exchange, target, &matched, uri);
            headers::change(answer.headers_mut(), &matched.rule.response_headers);
            return Ok(Outcome::Declined(Box::new(answer)));
        };
        if early_data::is_marked(&parts.headers) {
            // Opening a tunnel is never safe, whatever the method of its handshake (RFC 8470 section 5.1).
            self.worker.metrics.early_data_requests_total(EarlyOutcome::TooEarly).inc();
            return Err(Failure::TooEarly);
        }
        let origin = parts.headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("\u{0}"));
        if !forward.websocket.origins.allow(origin) {
            return Err(Failure::OriginRefused);
        }
        let limit = timeout(&forward.websocket);
        let done = self.connect_and_ask(handshake, target, &matched, forward, parts);
        tokio::time::timeout(limit, done).await.map_err(|_| Failure::TimedOut)?
    }

    async fn connect_and_ask(
        &self,
        handshake: &ClientHandshake,
        target: &Target,
        matched: &Matched,
        forward: &Forward,
        mut parts: request::Parts,
    ) -> Result<Outcome, Failure> {
        let chosen = proxy::choose(&forward.backends, self.worker.draw())?;
        let upstream = proxy::upstream(self.view, self.worker, chosen)?;
        let (stream, endpoint) = self.dial(&upstream).await?;
        self.exchange.reached(endpoint);
        proxy::rewrite(&mut parts, self.downstream, target, matched, forward.into(), chosen)?;
        let key = handshake::fresh_key(self.worker);
        handshake::ask(&mut parts.headers, &key);
        let offered: Vec<_> = parts.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().cloned().collect();
        let response = send(stream, Request::from_parts(parts, RequestBody::empty())).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return self.declined(handshake, matched, chosen, response);
        }
        handshake::verify(response.headers(), &key)?;
        handshake::verify_subprotocol(&offered, response.headers())?;
        let mut head = Response::new(());
        *head.status_mut() = handshake.accepting_status();
        *head.headers_mut() = response.headers().clone();
        let (backend, early) = upgraded(response).await?;
        headers::change(head.headers_mut(), &chosen.response_headers);
        headers::change(head.headers_mut(), &matched.rule.response_headers);
        handshake.accept(head.headers_mut());
        let limits = limits(&forward.websocket);
        let exchange = Arc::clone(self.exchange);
        Ok(Outcome::Opened(Box::new(Opened { response: head, backend, early, limits, exchange })))
    }

    async fn dial(&self, upstream: &Upstream<'_>) -> Result<(Stream, SocketAddr), Failure> {
        let mut failure = Failure::NoEndpoints;
        for endpoint in upstream.candidates(self.worker.draw()) {
            // By Upgrade, whatever the backend's plain requests are sent in.
            match upstream.connect(endpoint, Alpn::Http1).await {
                Ok(stream) => return Ok((stream, endpoint)),
                Err(why) => failure = why,
            }
        }
        Err(failure)
    }

    /// What the backend said instead of 101 passes through as it is, unless an extended CONNECT's client would take it
    /// for acceptance (RFC 8441 section 5: any 2xx).
    fn declined(
        &self,
        handshake: &ClientHandshake,
        matched: &Matched,
        chosen: &headrace_table::WeightedBackend,
        response: Response<Incoming>,
    ) -> Result<Outcome, Failure> {
        if response.status().is_success() && !handshake.is_upgrade() {
            return Err(Failure::BadAccept("it answered 2xx where only 101 accepts"));
        }
        self.worker.metrics.tunnel_refused_total(Refusal::BackendStatus).inc();
        let (mut head, body) = response.into_parts();
        proxy::take_over(&mut head, chosen);
        headers::change(&mut head.headers, &matched.rule.response_headers);
        let body = ResponseBody::backend(body, None, Arc::clone(self.exchange), None);
        Ok(Outcome::Declined(Box::new(Response::from_parts(head, body))))
    }
}

fn timeout(rules: &WebSocketRules) -> Duration {
    match rules.handshake_timeout_ms {
        0 => DEFAULT_HANDSHAKE_TIMEOUT,
        ms => Duration::from_millis(ms),
    }
}

fn limits(rules: &WebSocketRules) -> Limits {
    let some = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
    Limits { idle: some(rules.idle_timeout_ms), lifetime: some(rules.lifetime_ms) }
}

/// Sends a handshake on a connection of its own, which never returns to a pool.
async fn send(stream: Stream, request: Request<RequestBody>) -> Result<Response<Incoming>, Failure> {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|_| Failure::BackendProtocol)?;
    upstream::drive(connection.with_upgrades());
    sender.send_request(request).await.map_err(|error| {
        tracing::debug!(%error, "a backend broke off a WebSocket handshake");
        Failure::BackendProtocol
    })
}

/// The connection behind a 101, and what was read beyond it.
async fn upgraded(response: Response<Incoming>) -> Result<(Stream, Bytes), Failure> {
    let upgraded = hyper::upgrade::on(response).await.map_err(|_| Failure::BackendProtocol)?;
    let parts = upgraded.downcast::<TokioIo<Stream>>().map_err(|_| Failure::BackendProtocol)?;
    // Copied, because a slice of it, even an empty one, would keep the whole read buffer for as long as the tunnel lives.
    Ok((parts.io.into_inner(), Bytes::copy_from_slice(&parts.read_buf)))
}

impl From<&Failure> for Refusal {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::BadRequest(_) | Failure::PlainConnect | Failure::WebSocketVersion => Self::BadHandshake,
            Failure::UnknownProtocol => Self::UnknownProtocol,
            Failure::NoRoute | Failure::NoSessions | Failure::Misdirected => Self::NoRoute,
            Failure::OriginRefused => Self::Origin,
            Failure::TooEarly => Self::TooEarly,
            Failure::BackendUnresolved | Failure::NoEndpoints => Self::NoBackend,
            Failure::Unreachable => Self::BackendUnreachable,
            Failure::BackendCertificate => Self::BackendCertificate,
            Failure::BackendTls => Self::BackendTls,
            Failure::BackendProtocol => Self::BackendProtocol,
            Failure::BadAccept(_) => Self::BadAccept,
            Failure::Subprotocol => Self::Subprotocol,
            Failure::TimedOut => Self::HandshakeTimeout,
        }
    }
}
