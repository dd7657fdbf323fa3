//! HTTP/1.1 clients, on hyper: plain requests, and Upgrade to WebSocket.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::{Downstream, HEADER_TIMEOUT, MAX_HEADER_SECTION};
use crate::body::{RequestBody, ResponseBody};
use crate::listener::Io;
use crate::proxy;
use crate::tunnel::{self, Client, ClientHandshake, Opened, Probe};
use crate::worker::Worker;

/// Header fields in a request; above it the answer is 431.
const MAX_HEADERS: usize = 128;

/// Serves one connection until it ends, is upgraded, or a drain ends it after its current request.
pub(crate) async fn serve(worker: Arc<Worker>, downstream: Arc<Downstream>, io: Io) {
    let service = {
        let worker = Arc::clone(&worker);
        service_fn(move |request| {
            let (worker, downstream) = (Arc::clone(&worker), Arc::clone(&downstream));
            async move { Ok::<_, Infallible>(respond(worker, downstream, request).await) }
        })
    };
    let mut connection = Box::pin(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEADER_SECTION as usize)
            .max_buf_size(MAX_HEADER_SECTION as usize)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades(),
    );
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = worker.drain.started() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP/1.1 connection ended");
    }
}

async fn respond(
    worker: Arc<Worker>,
    downstream: Arc<Downstream>,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    if !tunnel::is_upgrade(&request) {
        return proxy::answer(&worker, &downstream, request.map(RequestBody::http1)).await;
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let handshake = ClientHandshake::upgrade(request.headers());
    let request = request.map(|_no_body| ());
    match tunnel::open(&worker, &downstream, handshake, request).await {
        Ok(opened) => switch(upgrade, opened),
        Err(mut declined) => {
            // What the client sent behind its handshake was meant for a tunnel: it must not be read as a request.
            declined.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            declined
        }
    }
}

/// Answers 101; the tunnel starts when hyper has written that and lets go of the connection.
fn switch(upgrade: OnUpgrade, mut opened: Opened) -> Response<ResponseBody> {
    let head = std::mem::take(&mut opened.response);
    let body = ResponseBody::text("", Arc::clone(opened.exchange()));
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<Io>>() else {
            unreachable!("this listener serves its own Io only")
        };
        let io = parts.io.into_inner();
        // Copied, because a slice of it, even an empty one, would keep the whole read buffer while the tunnel lives.
        let io = io.unread(Bytes::copy_from_slice(&parts.read_buf));
        opened.start(Client::Http1(Box::new(io), Probe::default()));
    });
    head.map(|()| body)
}
