//! Connections to the push server: accepted, secured, and cut when they have no business here.
//!
//! Owns how many there may be and how long they may take to say who they are. It must not know what a subscription is:
//! whoever opens one tells the connection's [`Grip`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustls::{InvalidMessage, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::metrics::{Dialled, PushMetrics};
use super::paced::Paced;
use crate::metrics::Label as _;

/// Connections at a time, handshakes included: one for each pod, twice over while pods come back. More wait in the
/// listener's backlog.
const MAX_CONNECTIONS: usize = 2048;

/// For the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// For a connection without a subscription: time for a TokenReview, or to say goodbye after one has ended.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// For a stranger to read why it is turned away.
const DISMISSED_AFTER: Duration = Duration::from_secs(2);

/// Pause after a failed accept, which means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Secured connections that wait to be taken over. The server takes them at once.
const HANDOVER: usize = 16;

/// A secured connection.
pub(crate) struct Connection {
    io: TlsStream<TcpStream>,
    grip: Grip,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: OwnedSemaphorePermit,
}

/// A hold on a connection by those whom it serves. Clones hold the same.
#[derive(Clone, Debug)]
pub(crate) struct Grip(Arc<GripInner>);

#[derive(Debug)]
struct GripInner {
    cut: CancellationToken,
    subscriptions: AtomicUsize,
    /// Whether somebody waits to end it for want of a subscription. One does, however many come and go.
    is_watched: AtomicBool,
    is_dismissed: AtomicBool,
}

impl Grip {
    fn new() -> Self {
        Grip(Arc::new(GripInner {
            cut: CancellationToken::new(),
            subscriptions: AtomicUsize::new(0),
            is_watched: AtomicBool::new(false),
            is_dismissed: AtomicBool::new(false),
        }))
    }

    /// Keeps the connection for as long as the answer lives. `None` if its peer was dismissed.
    pub(crate) fn hold(&self) -> Option<Hold> {
        if self.0.is_dismissed.load(Ordering::SeqCst) {
            return None;
        }
        self.0.subscriptions.fetch_add(1, Ordering::SeqCst);
        Some(Hold(self.clone()))
    }

    /// Ends the connection after a while, unless it is of use by then.
    fn let_go_unless_held(&self) {
        if self.0.subscriptions.load(Ordering::SeqCst) > 0 || self.0.is_watched.swap(true, Ordering::SeqCst) {
            return;
        }
        let grip = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(IDLE_TIMEOUT) => {}
                () = grip.0.cut.cancelled() => return,
            }
            // In this order: whoever lets go after the first line watches anew, and who did before it is seen by the second.
            grip.0.is_watched.store(false, Ordering::SeqCst);
            if grip.0.subscriptions.load(Ordering::SeqCst) == 0 {
                grip.0.cut.cancel();
            }
        });
    }
}

/// Keeps a connection.
#[derive(Debug)]
pub(crate) struct Hold(Grip);

impl Hold {
    /// Ends the connection now: its peer takes nothing, so that nothing can be said to it.
    pub(crate) fn cut(&self) {
        self.0.0.cut.cancel();
    }

    /// Its peer has shown that it has no business here. It is told so, and whoever wants to try again pays for another
    /// handshake.
    pub(crate) fn dismiss(&self) {
        if self.0.0.is_dismissed.swap(true, Ordering::SeqCst) {
            return;
        }
        let grip = self.0.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(DISMISSED_AFTER) => grip.0.cut.cancel(),
                () = grip.0.cut.cancelled() => {}
            }
        });
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.0.subscriptions.fetch_sub(1, Ordering::SeqCst);
        self.0.let_go_unless_held();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.grip.0.cut.cancel();
    }
}

/// Accepts until told to stop. Connections come out of the receiver, secured.
pub(crate) fn accept(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    metrics: Arc<PushMetrics>,
    stop: CancellationToken,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (handover, connections) = mpsc::channel(HANDOVER);
    let secure = Secure { acceptor: TlsAcceptor::from(tls), metrics, failures: Arc::new(Paced::new()), handover };
    tokio::spawn(async move {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        tokio::select! {
            () = stop.cancelled() => {}
            () = accept_all(&listener, &permits, &secure) => {}
        }
    });
    connections
}

async fn accept_all(listener: &TcpListener, permits: &Arc<Semaphore>, secure: &Secure) {
    while let Ok(permit) = Arc::clone(permits).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(secure.clone().connection(stream, permit))),
            Err(error) => {
                tracing::warn!(%error, "push: accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[derive(Clone)]
struct Secure {
    acceptor: TlsAcceptor,
    metrics: Arc<PushMetrics>,
    failures: Arc<Paced<Dialled>>,
    handover: mpsc::Sender<io::Result<Connection>>,
}

impl Secure {
    async fn connection(self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        let peer = stream.peer_addr();
        // Messages are small and each is waited for.
        let handshake = async {
            stream.set_nodelay(true)?;
            self.acceptor.accept(stream).await
        };
        let (dialled, secured) = match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(io)) => (Dialled::Secured, Some(io)),
            Ok(Err(error)) => (dialled_with(&error), None),
            Err(_) => (Dialled::TimedOut, None),
        };
        self.metrics.connection(dialled);
        let Some(io) = secured else {
            if let Some(unsaid) = self.failures.admit(dialled, Instant::now()) {
                let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
                tracing::warn!(peer, result = dialled.label(), unsaid, "push: a connection without TLS is closed");
            }
            return;
        };
        let grip = Grip::new();
        let cut = Box::pin(grip.0.cut.clone().cancelled_owned());
        grip.let_go_unless_held();
        // Nobody takes it when the server ends.
        let _ = self.handover.send(Ok(Connection { io, grip, cut, _permit: permit })).await;
    }
}

fn dialled_with(error: &io::Error) -> Dialled {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Dialled::PlainText,
        _ => Dialled::Failed,
    }
}

impl Connected for Connection {
    type ConnectInfo = Grip;

    fn connect_info(&self) -> Grip {
        self.grip.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // A connection is always being read, whatever else it waits for: this is where it ends.
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
