//! HTTP/2 clients, on h2: plain requests, and WebSocket by extended CONNECT (RFC 8441).

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::Body as _;
use tokio::sync::oneshot;

use super::streams::{OpenStreams, StreamGuard};
use super::{Downstream, HEADER_TIMEOUT, MAX_HEADER_SECTION, MAX_STREAMS};
use crate::body::{RequestBody, ResponseBody};
use crate::failure::Failure;
use crate::listener::Io;
use crate::proxy::{self, Continue};
use crate::tunnel::{self, Client, ClientHandshake, poll_capacity};
use crate::worker::Worker;

/// Credit of one stream (RFC 9113 section 5.2): what a client may have under way to a backend that does not read.
const STREAM_WINDOW: u32 = 256 * 1024;

/// Credit of a whole connection, for a few busy streams among many idle ones.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Octets of one stream that wait here for the client's credit.
const SEND_BUFFER: usize = 32 * 1024;

/// Streams that a client may reset before they were accepted (CVE-2023-44487, rapid reset).
const MAX_PENDING_RESETS: usize = 32;

/// Streams that a client may make us reset by its mistakes (CVE-2025-8671, MadeYouReset).
const MAX_LOCAL_RESETS: usize = 256;

/// Reads a connection's preface, and starts to serve it.
pub(crate) async fn serve(worker: Arc<Worker>, downstream: Arc<Downstream>, io: Io) {
    let handshake = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_SECTION)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(Some(MAX_LOCAL_RESETS))
        .enable_connect_protocol()
        .handshake::<_, Bytes>(io);
    match tokio::time::timeout(HEADER_TIMEOUT, handshake).await {
        // On a task of its own: what the preface needed is let go of.
        Ok(Ok(connection)) => super::spawn(accept(worker, downstream, connection)),
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP/2 preface failed"),
        Err(_) => tracing::debug!("an HTTP/2 preface took too long"),
    }
}

/// Serves one connection until it ends, is idle for too long, or a drain lets its last stream finish.
async fn accept(worker: Arc<Worker>, downstream: Arc<Downstream>, mut connection: Connection<Io, Bytes>) {
    let streams = OpenStreams::default();
    let idle = streams.idle();
    let drain = worker.drain.started();
    tokio::pin!(idle, drain);
    let mut leaving = false;
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    let stream = Stream {
                        worker: Arc::clone(&worker),
                        downstream: Arc::clone(&downstream),
                        open: streams.enter(),
                    };
                    super::spawn(stream.serve(request, respond));
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, client = %downstream.peer, "an HTTP/2 connection broke");
                    return;
                }
                None => return,
            },
            () = &mut idle, if !leaving => {
                leaving = true;
                connection.graceful_shutdown();
            }
            () = &mut drain, if !leaving => {
                leaving = true;
                connection.graceful_shutdown();
            }
        }
    }
}

/// One request or tunnel.
struct Stream {
    worker: Arc<Worker>,
    downstream: Arc<Downstream>,
    open: StreamGuard,
}

impl Stream {
    async fn serve(self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        if request.method() != Method::CONNECT {
            return self.answer(request, respond).await;
        }
        match request.extensions().get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str) {
            Some("websocket") => self.tunnel(request, respond).await,
            Some(_) => self.refuse(request, respond, Failure::UnknownProtocol).await,
            None => self.refuse(request, respond, Failure::PlainConnect).await,
        }
    }

    async fn refuse(self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>, failure: Failure) {
        let response = proxy::refuse(&self.worker, &self.downstream, &request, failure);
        send(&mut respond, response).await;
    }

    async fn answer(self, mut request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let (wanted, body_wanted) = oneshot::channel();
        let mut expects = request.headers().get(http::header::EXPECT).is_some_and(|value| value == "100-continue");
        if expects {
            request.extensions_mut().insert(Continue::new(wanted));
        }
        let answer = proxy::answer(&self.worker, &self.downstream, request.map(RequestBody::http2));
        tokio::pin!(answer, body_wanted);
        let response = loop {
            tokio::select! {
                response = &mut answer => break response,
                // The client gave up: dropping the answer lets go of the backend.
                _ = poll_fn(|cx| respond.poll_reset(cx)) => {
                    self.worker.metrics.resets_total(crate::metrics::ResetCause::ClientReset).inc();
                    return;
                }
                wanted = &mut body_wanted, if expects => {
                    expects = false;
                    if wanted.is_ok() {
                        let mut interim = Response::new(());
                        *interim.status_mut() = http::StatusCode::CONTINUE;
                        // Refused only when the stream is gone, which poll_reset tells next.
                        let _stream_gone = respond.send_informational(interim);
                    }
                }
            }
        };
        send(&mut respond, response).await;
    }

    async fn tunnel(self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let (parts, recv) = request.into_parts();
        let request = Request::from_parts(parts, ());
        let opened = tokio::select! {
            opened = tunnel::open(&self.worker, &self.downstream, ClientHandshake::ExtendedConnect, request) => opened,
            _ = poll_fn(|cx| respond.poll_reset(cx)) => {
                self.worker.metrics.tunnel_refused_total(crate::metrics::Refusal::ClientGone).inc();
                return;
            }
        };
        match opened {
            Ok(mut opened) => {
                let mut head = std::mem::take(&mut opened.response);
                detach(head.headers_mut());
                if let Ok(send) = respond.send_response(head, false) {
                    opened.start(Client::Http2 { recv, send, _open: self.open });
                }
            }
            Err(declined) => send(&mut respond, declined).await,
        }
    }
}

/// Gives every value memory of its own. A backend's are slices of the buffer that its response was read into, and h2 keeps
/// values in its compression state for as long as the connection lives.
fn detach(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        let sensitive = value.is_sensitive();
        *value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value is one");
        value.set_sensitive(sensitive);
    }
}

/// Writes a response. A client that goes away ends it early; a backend that breaks off resets the stream.
async fn send(respond: &mut SendResponse<Bytes>, response: Response<ResponseBody>) {
    let (mut parts, body) = response.into_parts();
    detach(&mut parts.headers);
    let head = Response::from_parts(parts, ());
    let empty = body.is_end_stream();
    let Ok(mut stream) = respond.send_response(head, empty) else { return };
    if !empty && pump(&mut stream, body).await.is_err() {
        // RFC 9113 section 8.1: a response that cannot be finished is malformed, and says so.
        stream.send_reset(Reason::INTERNAL_ERROR);
    }
}

/// The client went away, or the backend broke off.
struct Unfinished;

async fn pump(stream: &mut SendStream<Bytes>, mut body: ResponseBody) -> Result<(), Unfinished> {
    let mut body = std::pin::Pin::new(&mut body);
    loop {
        let frame = poll_fn(|cx| match stream.poll_reset(cx) {
            Poll::Ready(_) => Poll::Ready(Some(Err(Unfinished))),
            Poll::Pending => body.as_mut().poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|_| Unfinished))),
        });
        let Some(frame) = frame.await.transpose()? else {
            return stream.send_data(Bytes::new(), true).map_err(|_| Unfinished);
        };
        match frame.into_data() {
            Ok(mut data) => {
                while !data.is_empty() {
                    let wanted = data.len();
                    let granted = poll_fn(|cx| poll_capacity(stream, wanted, cx)).await.map_err(|_| Unfinished)?;
                    let last = granted == wanted && body.is_end_stream();
                    stream.send_data(data.split_to(granted), last).map_err(|_| Unfinished)?;
                    if last {
                        return Ok(());
                    }
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    return stream.send_trailers(trailers).map_err(|_| Unfinished);
                }
            }
        }
    }
}
