//! HTTP/3 clients, on our own layer: plain requests, and by extended CONNECT WebSocket (RFC 9220) and WebTransport.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use headrace_http3::server::{Connection, Incoming};
use headrace_http3::{Code, Protocol, RecvStream, SendStream, webtransport};
use http::{Method, Request, Response};
use http_body::Body as _;
use tokio::sync::oneshot;

use super::early_data::{Handshake, NeverComplete};
use super::streams::{OpenStreams, StreamGuard};
use super::{Downstream, HEADER_TIMEOUT, MAX_STREAMS};
use crate::body::{RequestBody, ResponseBody};
use crate::failure::Failure;
use crate::listener::quic;
use crate::metrics::{EarlyOutcome, Refusal, ResetCause};
use crate::proxy::{self, Continue};
use crate::session::{self, Allowance, Base, Unopened};
use crate::tunnel::{self, Client, ClientHandshake, Stopped};
use crate::worker::Worker;

/// Requests that a new connection may open at once. quinn allots memory for every stream that it allows, so the limit
/// starts here and doubles while a connection uses what it has, up to [`MAX_STREAMS`].
pub(crate) const INITIAL_STREAMS: u32 = 16;

/// How long a connection that is done with waits for its client to close it, before it does so itself.
const LINGER: Duration = Duration::from_secs(2);

/// Serves one connection until it ends, is idle for too long, or a drain lets its last stream finish. It may begin before the
/// handshake is complete; then only what may be a replay without harm is served.
pub(crate) async fn serve(
    worker: Arc<Worker>,
    downstream: Arc<Downstream>,
    mut connection: Connection,
    handshake: Handshake,
    sessions: bool,
) {
    let streams = OpenStreams::default();
    let idle = streams.idle();
    let drain = worker.drain.started();
    tokio::pin!(idle, drain);
    let mut leaving = false;
    let mut allowed = INITIAL_STREAMS;
    let window = quic::CONNECTION_WINDOW;
    let base = Base { bidi: INITIAL_STREAMS, uni: quic::UNI_STREAMS, window, ahead: session::STREAMS };
    let allowance = Allowance::new(connection.quic().clone(), base);
    let mut refused = webtransport::Refused::default();
    loop {
        session::count_refused(&worker.metrics, &connection, &mut refused);
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Ok(Some(incoming)) => {
                    let stream = Stream {
                        worker: Arc::clone(&worker),
                        downstream: Arc::clone(&downstream),
                        sessions: sessions.then(|| Arc::clone(&allowance)),
                        open: streams.enter(),
                        handshake: if incoming.is_0rtt() { handshake.clone() } else { Handshake::complete() },
                    };
                    super::spawn(stream.serve(incoming));
                    if streams.count() as u32 * 2 > allowed && allowed < MAX_STREAMS {
                        allowed *= 2;
                        allowance.set_requests(allowed);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, client = %downstream.peer, "an HTTP/3 connection ended");
                    session::count_refused(&worker.metrics, &connection, &mut refused);
                    return;
                }
            },
            () = &mut idle, if !leaving => {
                leaving = true;
                connection.shutdown();
            }
            () = &mut drain, if !leaving => {
                leaving = true;
                connection.shutdown();
            }
        }
    }
    session::count_refused(&worker.metrics, &connection, &mut refused);
    // What was sent last is still on its way; a client that has it closes by itself.
    let _still_open = tokio::time::timeout(LINGER, connection.closed()).await;
    connection.close(Code::H3_NO_ERROR, "");
}

/// One request, tunnel or session.
struct Stream {
    worker: Arc<Worker>,
    downstream: Arc<Downstream>,
    /// Where WebTransport sessions are offered.
    sessions: Option<Arc<Allowance>>,
    open: StreamGuard,
    /// That of the connection, for a request in early data.
    handshake: Handshake,
}

impl Stream {
    async fn serve(self, incoming: Incoming) {
        let (request, send, recv) = match tokio::time::timeout(HEADER_TIMEOUT, incoming.resolve()).await {
            Ok(Ok(resolved)) => resolved,
            Ok(Err(error)) => {
                tracing::debug!(%error, client = %self.downstream.peer, "an HTTP/3 request was refused");
                self.worker.metrics.resets_total(ResetCause::ProtocolError).inc();
                return;
            }
            Err(_) => {
                self.worker.metrics.resets_total(ResetCause::HeaderTimeout).inc();
                return;
            }
        };
        if request.method() != Method::CONNECT {
            return self.answer(request, send, recv).await;
        }
        // A tunnel is never opened by what may be a replay (RFC 8470 section 4).
        if self.waits().await.is_err() {
            return;
        }
        match request.extensions().get::<Protocol>().map(Protocol::as_str) {
            Some("websocket") => self.tunnel(request, send, recv).await,
            Some(token) if webtransport::draft::is_token(token) => self.session(request, send, recv).await,
            Some(_) => self.refuse(&request, send, Failure::UnknownProtocol).await,
            None => self.refuse(&request, send, Failure::PlainConnect).await,
        }
    }

    async fn refuse(self, request: &Request<()>, mut send: SendStream, failure: Failure) {
        let response = proxy::refuse(&self.worker, &self.downstream, request, failure);
        respond(&mut send, response).await;
    }

    /// Waits for the handshake.
    ///
    /// # Errors
    /// There is none: the connection has ended, and the stream with it.
    async fn waits(&self) -> Result<(), NeverComplete> {
        if self.handshake.is_complete() {
            return Ok(());
        }
        self.worker.metrics.early_data_requests_total(EarlyOutcome::Waited).inc();
        self.handshake.completed().await
    }

    /// The content of a request, as soon as it may be served: at once if the method is safe and there is none, else when the
    /// handshake is complete (RFC 8470 section 4).
    async fn content(&self, request: &mut Request<()>, mut recv: RecvStream) -> Result<RequestBody, NeverComplete> {
        if !request.method().is_safe() {
            self.waits().await?;
        }
        if self.handshake.is_complete() {
            return Ok(RequestBody::http3(recv));
        }
        // The end of the stream may be a packet behind the head.
        let first = tokio::select! {
            biased;
            first = recv.data() => first,
            complete = self.handshake.completed() => {
                complete?;
                return Ok(RequestBody::http3(recv));
            }
        };
        let body = RequestBody::http3_begun(recv, Poll::Ready(first));
        if body.is_empty() {
            self.worker.metrics.early_data_requests_total(EarlyOutcome::Served).inc();
            request.extensions_mut().insert(self.handshake.clone());
        } else {
            self.waits().await?;
        }
        Ok(body)
    }

    async fn answer(self, mut request: Request<()>, mut send: SendStream, recv: RecvStream) {
        let Ok(body) = self.content(&mut request, recv).await else { return };
        let (wanted, body_wanted) = oneshot::channel();
        let mut expects = request.headers().get(http::header::EXPECT).is_some_and(|value| value == "100-continue");
        if expects {
            request.extensions_mut().insert(Continue::new(wanted));
        }
        let request = request.map(|()| body);
        let answer = proxy::answer(&self.worker, &self.downstream, request);
        let stopped = send.stopped();
        tokio::pin!(answer, body_wanted, stopped);
        let response = loop {
            tokio::select! {
                response = &mut answer => break response,
                // The client gave up: dropping the answer lets go of the backend.
                _ = &mut stopped => {
                    self.worker.metrics.resets_total(ResetCause::ClientReset).inc();
                    send.reset(Code::H3_REQUEST_CANCELLED);
                    return;
                }
                wanted = &mut body_wanted, if expects => {
                    expects = false;
                    if wanted.is_ok() {
                        let mut interim = Response::new(());
                        *interim.status_mut() = http::StatusCode::CONTINUE;
                        // Fails only when the stream is gone, which is noticed next.
                        let _stream_gone = send.send_informational(interim).await;
                    }
                }
            }
        };
        respond(&mut send, response).await;
    }

    async fn tunnel(self, request: Request<()>, mut send: SendStream, recv: RecvStream) {
        let stopped = send.stopped();
        let opened = tokio::select! {
            opened = tunnel::open(&self.worker, &self.downstream, ClientHandshake::ExtendedConnect, request) => opened,
            _ = stopped => {
                self.worker.metrics.tunnel_refused_total(Refusal::ClientGone).inc();
                send.reset(Code::H3_REQUEST_CANCELLED);
                return;
            }
        };
        match opened {
            Ok(mut opened) => {
                let head = std::mem::take(&mut opened.response);
                if send.send_response(head).await.is_ok() {
                    opened.start(Client::Http3 { recv, send, stopped: Stopped::default(), _open: self.open });
                }
            }
            Err(declined) => respond(&mut send, declined).await,
        }
    }

    async fn session(self, request: Request<()>, send: SendStream, recv: RecvStream) {
        let Some(allowance) = &self.sessions else {
            return self.refuse(&request, send, Failure::UnknownProtocol).await;
        };
        match session::open(&self.worker, &self.downstream, allowance, request, send, recv).await {
            Ok(opened) => opened.start(&self.worker, self.open),
            Err(Unopened::Answered(mut send, _recv, response)) => respond(&mut send, *response).await,
            Err(Unopened::Gone) => {}
        }
    }
}

/// Writes a response. A client that goes away ends it early; a backend that breaks off resets the stream.
async fn respond(send: &mut SendStream, response: Response<ResponseBody>) {
    let (parts, body) = response.into_parts();
    if send.send_response(Response::from_parts(parts, ())).await.is_err() {
        return;
    }
    match pump(send, body).await {
        // Refused only for a stream that is gone.
        Ok(()) => drop(send.finish()),
        // RFC 9114 section 4.1.1: the response cannot be finished.
        Err(Unfinished) => send.reset(Code::H3_INTERNAL_ERROR),
    }
}

/// The client went away, or the backend broke off.
struct Unfinished;

async fn pump(send: &mut SendStream, mut body: ResponseBody) -> Result<(), Unfinished> {
    let mut body = std::pin::Pin::new(&mut body);
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        match frame.map_err(|_| Unfinished)?.into_data() {
            Ok(data) => send.send_data(data).await.map_err(|_| Unfinished)?,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    send.send_trailers(trailers).await.map_err(|_| Unfinished)?;
                }
            }
        }
    }
    Ok(())
}
