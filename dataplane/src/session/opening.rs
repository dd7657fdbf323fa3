//! From a client's request for a session to the answer: the rule, `Origin`, the backend.
//!
//! Owns what makes a session be opened or refused, and with which status. The decision is the tunnels': the same listener,
//! the same rule, the same judge of `Origin`.

use std::sync::Arc;
use std::time::Duration;

use headrace_http3::webtransport::{RequestError, Session, SessionRequest, draft, subprotocol};
use headrace_http3::{Code, RecvStream, SendStream};
use headrace_table::{Action, Destination, Opening, WebTransport, WeightedBackends};
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request};
use tokio::time::timeout;

use super::running::Running;
use super::streams::Backends;
use super::{Allowance, Opened, Towards, streams_of};
use crate::body::ResponseBody;
use crate::downstream::{Downstream, early_data};
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::headers;
use crate::metrics::{EarlyOutcome, SessionMode, SessionRefusal};
use crate::proxy::{self, Rewrites};
use crate::route::{self, Matched, Target};
use crate::upstream::UnopenedSession;
use crate::worker::{View, Worker};

/// From the client's request to the backend's answer where the route says nothing.
const DEFAULT_OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a client's settings may take behind its request.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(10);

/// Why no session was opened.
pub(crate) enum Unopened {
    /// The client is to be answered with this. The receiving half is not dropped before: that would stop the request.
    Answered(SendStream, RecvStream, Box<Response<ResponseBody>>),
    /// The client has its answer, or needs none.
    Gone,
}

/// Does everything up to the point where the session is open, its answer to the client included.
pub(crate) async fn open(
    worker: &Arc<Worker>,
    downstream: &Arc<Downstream>,
    allowance: &Arc<Allowance>,
    request: Request<()>,
    send: SendStream,
    recv: RecvStream,
) -> Result<Opened, Unopened> {
    let view = worker.view();
    let target = Target::of(&request);
    let exchange = Arc::new(Exchange::session(downstream, proxy::head(&request, &target)));
    let asked = receive(worker, &exchange, &request, send, recv).await?;
    let attempt = Attempt { view: &view, worker, downstream, exchange: &exchange, subprotocols: asked.subprotocols() };
    let (parts, ()) = request.into_parts();
    let gave_up = asked.stream().stopped();
    let outcome = tokio::select! {
        outcome = attempt.run(target, parts) => outcome,
        _ = gave_up => {
            worker.metrics.session_refused_total(SessionRefusal::ClientGone).inc();
            return Err(Unopened::Gone);
        }
    };
    match outcome {
        Ok(Outcome::Accepted(accepted)) => {
            accept(worker, &view, downstream, allowance, exchange, asked, *accepted).await
        }
        Ok(Outcome::Declined(response)) => {
            let response = proxy::finish(&view, downstream, &exchange, Ok(*response));
            let (send, recv) = asked.into_parts();
            Err(Unopened::Answered(send, recv, Box::new(response)))
        }
        Err(failure) => {
            worker.metrics.session_refused_total(SessionRefusal::from(&failure)).inc();
            let response = proxy::finish(&view, downstream, &exchange, Err(failure));
            let (send, recv) = asked.into_parts();
            Err(Unopened::Answered(send, recv, Box::new(response)))
        }
    }
}

/// Holds the request against the client's settings and the connection's limits.
async fn receive(
    worker: &Worker,
    exchange: &Exchange,
    request: &Request<()>,
    send: SendStream,
    recv: RecvStream,
) -> Result<SessionRequest, Unopened> {
    let received = timeout(SETTINGS_TIMEOUT, SessionRequest::receive(request, send, recv)).await;
    let (refusal, status) = match received {
        Ok(Ok(asked)) => return Ok(asked),
        Ok(Err(RequestError::TooEarly)) => {
            worker.metrics.early_data_requests_total(EarlyOutcome::TooEarly).inc();
            (SessionRefusal::TooEarly, Some(StatusCode::TOO_EARLY))
        }
        Ok(Err(RequestError::TooMany)) => (SessionRefusal::TooMany, None),
        Ok(Err(RequestError::Stream(_))) => (SessionRefusal::ClientGone, None),
        Ok(Err(RequestError::NotOffered)) => (SessionRefusal::Requirements, Some(StatusCode::NOT_IMPLEMENTED)),
        Ok(Err(_)) | Err(_) => (SessionRefusal::Requirements, None),
    };
    worker.metrics.session_refused_total(refusal).inc();
    exchange.broke(refusal.label());
    if let Some(status) = status {
        exchange.answered(status);
    }
    Err(Unopened::Gone)
}

/// Tells the client that its session is open.
async fn accept(
    worker: &Worker,
    view: &View,
    downstream: &Downstream,
    allowance: &Arc<Allowance>,
    exchange: Arc<Exchange>,
    asked: SessionRequest,
    accepted: Accepted,
) -> Result<Opened, Unopened> {
    let Accepted { matched, mut response, towards, mode } = accepted;
    let Action::WebTransport(rules) = &matched.rule.action else { unreachable!("only such a rule accepts") };
    proxy::advertise(view, downstream, response.headers_mut());
    exchange.answered(response.status());
    // Before the answer: the client's streams may come right behind it.
    let grant = allowance.grant(streams_of(rules));
    let chosen = match &towards {
        Towards::Session(backend) => backend.session.subprotocol().map(str::to_owned),
        Towards::Streams(_) => None,
    };
    match asked.accept(response, chosen.as_deref()).await {
        Ok(client) => {
            client.allow_streams(streams_of(rules));
            if let Towards::Session(backend) = &towards {
                backend.session.allow_streams(streams_of(rules));
            }
            let of_backend = match &towards {
                Towards::Session(backend) => Some(backend.lease.grant()),
                Towards::Streams(_) => None,
            };
            let grants = [Some(grant), of_backend];
            let running = Running::begin(&client, mode, rules, exchange, &worker.metrics, grants);
            Ok(Opened { client, towards, running })
        }
        Err(error) => {
            tracing::debug!(%error, client = %downstream.peer, "a client did not wait for its session");
            worker.metrics.session_refused_total(SessionRefusal::ClientGone).inc();
            if let Towards::Session(backend) = &towards {
                give_up(&backend.session);
            }
            Err(Unopened::Gone)
        }
    }
}

/// Ends a backend's session that no client will use.
fn give_up(backend: &Session) {
    backend.reset(Code::H3_REQUEST_CANCELLED);
}

enum Outcome {
    Accepted(Box<Accepted>),
    /// No session, and nobody's mistake: a redirect, or the backend's own refusal.
    Declined(Box<Response<ResponseBody>>),
}

/// A session that is the client's as soon as it is told.
struct Accepted {
    matched: Matched,
    response: Response<()>,
    towards: Towards,
    mode: SessionMode,
}

/// One request on its way.
struct Attempt<'a> {
    view: &'a View,
    worker: &'a Arc<Worker>,
    downstream: &'a Arc<Downstream>,
    exchange: &'a Arc<Exchange>,
    /// What the client offers.
    subprotocols: &'a [String],
}

impl Attempt<'_> {
    async fn run(&self, target: Result<Target, Failure>, parts: request::Parts) -> Result<Outcome, Failure> {
        let target = target?;
        let matched = self.find(&target, &parts)?;
        self.exchange.routed(&matched.route, &matched.rule);
        let Action::WebTransport(rules) = &matched.rule.action else {
            let (action, uri) = (&matched.rule.action, &parts.uri);
            let mut answer = proxy::answer_here(action, self.downstream, self.exchange, &target, &matched, uri);
            headers::change(answer.headers_mut(), &matched.rule.response_headers);
            return Ok(Outcome::Declined(Box::new(answer)));
        };
        if early_data::is_marked(&parts.headers) {
            // As for tunnels: RFC 8470 section 5.1.
            self.worker.metrics.early_data_requests_total(EarlyOutcome::TooEarly).inc();
            return Err(Failure::TooEarly);
        }
        let origin = parts.headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("\u{0}"));
        if !rules.origins.allow(origin) {
            return Err(Failure::OriginRefused);
        }
        match &rules.destination {
            Destination::Session(backends) => {
                let limit = match rules.open_timeout_ms {
                    0 => DEFAULT_OPEN_TIMEOUT,
                    ms => Duration::from_millis(ms),
                };
                let asking = self.ask(&target, &matched, rules, backends, parts);
                timeout(limit, asking).await.map_err(|_| Failure::TimedOut)?
            }
            Destination::Streams { .. } => {
                let mut response = Response::new(());
                headers::change(response.headers_mut(), &matched.rule.response_headers);
                let towards = Towards::Streams(Backends::of(&matched.rule));
                let mode = SessionMode::Streams;
                Ok(Outcome::Accepted(Box::new(Accepted { matched, response, towards, mode })))
            }
        }
    }

    /// The rule of a session. Where there is none, a rule for plain requests makes the difference between a resource that
    /// opens no sessions and none at all (draft-ietf-webtrans-http3 section 3.2).
    fn find(&self, target: &Target, parts: &request::Parts) -> Result<Matched, Failure> {
        let snapshot = &self.view.snapshot;
        let asked = (&Method::CONNECT, &parts.uri, &parts.headers);
        let opening = Opening::WebTransport { subprotocols: self.subprotocols };
        route::find(snapshot, self.downstream, target, asked, opening).map_err(|failure| {
            let plain = (&Method::GET, &parts.uri, &parts.headers);
            match failure {
                Failure::NoRoute if route::find(snapshot, self.downstream, target, plain, Opening::Request).is_ok() => {
                    Failure::NoSessions
                }
                other => other,
            }
        })
    }

    /// Asks a backend for a session.
    async fn ask(
        &self,
        target: &Target,
        matched: &Matched,
        rules: &WebTransport,
        backends: &WeightedBackends,
        mut parts: request::Parts,
    ) -> Result<Outcome, Failure> {
        let chosen = proxy::choose(backends, self.worker.draw())?;
        let upstream = proxy::upstream(self.view, self.worker, chosen)?;
        let rewrites = Rewrites { host: rules.rewrite_host.as_ref(), path: rules.rewrite_path.as_ref() };
        proxy::rewrite(&mut parts, self.downstream, target, matched, rewrites, chosen)?;
        proxy::absolute_form(&mut parts, Scheme::HTTPS)?;
        strip_hop(&mut parts.headers);
        // Only what is offered of a session is its client's: the draft is each side's own.
        parts.extensions.clear();
        let asked = upstream.open_session(self.worker.draw(), &parts, self.subprotocols, streams_of(rules)).await;
        let response_of = |response: Response<()>| {
            let (mut head, ()) = response.into_parts();
            proxy::take_over(&mut head, chosen);
            strip_hop(&mut head.headers);
            headers::change(&mut head.headers, &matched.rule.response_headers);
            head
        };
        match asked {
            Ok(mut opened) => {
                self.exchange.reached(opened.endpoint);
                let response = std::mem::take(&mut opened.response);
                let response = Response::from_parts(response_of(response), ());
                let (towards, mode) = (Towards::Session(Box::new(opened)), SessionMode::Session);
                Ok(Outcome::Accepted(Box::new(Accepted { matched: matched.clone(), response, towards, mode })))
            }
            Err(UnopenedSession::Refused { response, endpoint }) => {
                self.exchange.reached(endpoint);
                self.worker.metrics.session_refused_total(SessionRefusal::BackendStatus).inc();
                let mut head = response_of(*response);
                // Its content was not asked for.
                head.headers.remove(header::CONTENT_LENGTH);
                let body = ResponseBody::text("", Arc::clone(self.exchange));
                Ok(Outcome::Declined(Box::new(Response::from_parts(head, body))))
            }
            Err(UnopenedSession::Failed(failure)) => Err(failure),
        }
    }
}

/// What each side says for itself: its draft, and the subprotocols.
fn strip_hop(headers: &mut HeaderMap) {
    headers.remove(subprotocol::AVAILABLE);
    headers.remove(subprotocol::CHOSEN);
    headers.remove(draft::DRAFT02_REQUEST);
    headers.remove(draft::DRAFT02_RESPONSE);
}

impl From<&Failure> for SessionRefusal {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::BadRequest(_)
            | Failure::PlainConnect
            | Failure::WebSocketVersion
            | Failure::UnknownProtocol
            | Failure::BadAccept(_) => Self::Requirements,
            Failure::NoRoute | Failure::Misdirected => Self::NoRoute,
            Failure::NoSessions => Self::NotHere,
            Failure::OriginRefused => Self::Origin,
            Failure::TooEarly => Self::TooEarly,
            Failure::BackendUnresolved | Failure::NoEndpoints => Self::NoBackend,
            Failure::Unreachable => Self::BackendUnreachable,
            Failure::BackendCertificate => Self::BackendCertificate,
            Failure::BackendTls => Self::BackendTls,
            Failure::BackendProtocol => Self::BackendProtocol,
            Failure::Subprotocol => Self::Subprotocol,
            Failure::TimedOut => Self::Timeout,
        }
    }
}
