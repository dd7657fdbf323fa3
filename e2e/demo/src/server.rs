//! The accept loop: connections, which endpoint a path names, and the end of it all.
//!
//! Must not know what the endpoints do.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::answer::{self, Body};
use crate::chat::{self, Room};
use crate::{echo, plain};

/// How many connections are served at once; more wait in the listen queue. Above the largest test that a laptop runs.
const MAX_CONNECTIONS: usize = 20_000;

/// How long connections may take to finish once the process was told to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// How long a request's head may take to arrive: as good as for ever for a proxy, and an end for a stuck one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(600);

/// The pause after an accept failed, which happens when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every request may use.
#[derive(Clone)]
pub(crate) struct Shared {
    /// The one chat room.
    pub(crate) room: Arc<Room>,
    /// Turns true when the process was told to stop.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Serves until told to stop, and then until the open connections are done or [`STOP_DEADLINE`] has passed.
pub(crate) async fn serve(listener: TcpListener, stopping: watch::Receiver<bool>) {
    let shared = Shared { room: Arc::default(), stopping: stopping.clone() };
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut stop = pin!(stopped(stopping));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            connection(stream, shared).await;
            drop(slot);
        });
    }
    drop(listener);
    let everybody = u32::try_from(MAX_CONNECTIONS).expect("the bound fits");
    // A connection that outlasts the deadline ends with the process.
    let _ = tokio::time::timeout(STOP_DEADLINE, slots.acquire_many(everybody)).await;
}

/// Resolves once the process was told to stop.
pub(crate) async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which only happens at the end.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn connection(stream: TcpStream, shared: Shared) {
    // Small messages are the point of the demo. Where the option fails, it is only slower.
    let _ = stream.set_nodelay(true);
    let (tunnels, tunnels_done) = tunnel_counter();
    let stopping = shared.stopping.clone();
    let service = service_fn(move |request| {
        let shared = shared.clone();
        let tunnel = tunnels.clone();
        async move { Ok::<_, Infallible>(dispatch(request, shared, tunnel).await) }
    });
    {
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let finished = tokio::select! {
            _ = connection.as_mut() => true,
            () = stopped(stopping) => false,
        };
        if !finished {
            connection.as_mut().graceful_shutdown();
            // What went wrong on a connection is the client's to see; this process has no log.
            let _ = connection.await;
        }
    }
    tunnels_done.await;
}

/// Held by a tunnel for as long as it is open, so that its connection's slot stays taken.
pub(crate) type TunnelGuard = tokio::sync::mpsc::Sender<Infallible>;

fn tunnel_counter() -> (TunnelGuard, impl Future<Output = ()>) {
    let (guard, mut closed) = tokio::sync::mpsc::channel(1);
    (guard, async move {
        // Nothing can be sent: this ends when the last guard is dropped.
        let _ = closed.recv().await;
    })
}

async fn dispatch(request: Request<Incoming>, shared: Shared, tunnel: TunnelGuard) -> Response<Body> {
    let path = request.uri().path();
    let (_, rest) = path.split_at(usize::from(path.starts_with('/')));
    let (endpoint, argument) = rest.split_once('/').unwrap_or((rest, ""));
    match (endpoint, argument) {
        ("", "") => plain::page(&request),
        ("echo", "") => echo::open(request, shared, tunnel),
        ("chat", "") => chat::open(request, shared, tunnel),
        ("bytes", size) => plain::bytes(request.method(), size),
        ("headers", "") => plain::headers(&request),
        ("upload", "") => plain::upload(request).await,
        ("trailers", "") => plain::trailers(),
        ("slow", "") => plain::slow(&request).await,
        ("status", code) => plain::status(code),
        _ => answer::text(StatusCode::NOT_FOUND, "no such path"),
    }
}
