//! The ends of a tunnel: a client's stream on any HTTP version, and a backend's connection, as byte sources and sinks.
//!
//! Owns how FIN, reset and flow control are said on each version. Knows nothing of the other end.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use headrace_http3::Code;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::downstream::StreamGuard;
use crate::listener::Io;
use crate::metrics::ResetCause;
use crate::upstream::Stream;

/// How soon a tunnel that is stalled towards its backend notices that its HTTP/1.1 client is gone.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// The stream or connection broke; the cause is known by which end it was.
pub(crate) struct Broken;

/// What a read brought.
pub(crate) enum Chunk {
    /// So many octets at the start of the scratch buffer.
    Scratch(usize),
    /// Octets that the transport had already put aside.
    Owned(Bytes),
    /// The peer's last octet has been read: FIN, END_STREAM.
    End,
}

/// Where bytes come from.
pub(crate) trait Source {
    /// What is counted when this end breaks.
    const CAUSE: ResetCause;
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Result<Chunk, Broken>>;
    /// Gives flow-control credit back for octets that the other side has taken.
    fn release(&mut self, _taken: usize) {}
    /// Asks whether the peer has broken the stream while it is not being read. `Ok` also when that cannot be told.
    fn poll_broken(&mut self, _cx: &mut Context<'_>) -> Result<(), Broken> {
        Ok(())
    }
}

/// Where bytes go.
pub(crate) trait Sink {
    /// What is counted when this end breaks.
    const CAUSE: ResetCause;
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Broken>>;
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>>;
    /// Says FIN.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>>;
}

/// A client's end of a tunnel.
pub(crate) enum Client {
    /// A connection of its own, after the 101. Boxed: TLS state is large, and the other versions have none here.
    Http1(Box<Io>, Probe),
    /// A stream of an HTTP/2 connection (RFC 8441).
    Http2 { recv: h2::RecvStream, send: h2::SendStream<Bytes>, _open: StreamGuard },
    /// A stream of an HTTP/3 connection (RFC 9220).
    Http3 { recv: headrace_http3::RecvStream, send: headrace_http3::SendStream, stopped: Stopped, _open: StreamGuard },
}

/// Asks now and then whether a TCP peer has reset a connection that is not being read: no event of the runtime tells.
/// Made when a tunnel first stalls: most never do.
#[derive(Default)]
pub(crate) struct Probe(Option<Pin<Box<Sleep>>>);

impl Probe {
    pub(crate) fn poll(&mut self, tcp: &TcpStream, cx: &mut Context<'_>) -> Result<(), Broken> {
        let next = self.0.get_or_insert_with(|| Box::pin(sleep(PROBE_INTERVAL)));
        while next.as_mut().poll(cx).is_ready() {
            if !matches!(tcp.take_error(), Ok(None)) {
                return Err(Broken);
            }
            next.as_mut().reset(Instant::now() + PROBE_INTERVAL);
        }
        Ok(())
    }
}

/// Ready when an HTTP/3 client takes no more. Made when a tunnel first stalls: most never do.
#[derive(Default)]
pub(crate) struct Stopped(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Stopped {
    fn poll(&mut self, send: &headrace_http3::SendStream, cx: &mut Context<'_>) -> Poll<()> {
        let stopped = self.0.get_or_insert_with(|| {
            let stopped = send.stopped();
            Box::pin(async move {
                // What ended well on this side says nothing of the other.
                if matches!(stopped.await, Ok(None)) {
                    std::future::pending().await
                }
            })
        });
        stopped.as_mut().poll(cx)
    }
}

impl Client {
    /// Cuts the tunnel towards the client: RST_STREAM with CANCEL, RESET_STREAM and STOP_SENDING with
    /// H3_REQUEST_CANCELLED, or a TCP RST.
    pub(super) fn reset(&mut self) {
        match self {
            Client::Http1(io, _) => reset_tcp(io.tcp()),
            Client::Http2 { send, .. } => send.send_reset(h2::Reason::CANCEL),
            Client::Http3 { recv, send, .. } => {
                send.reset(Code::H3_REQUEST_CANCELLED);
                recv.stop_sending(Code::H3_REQUEST_CANCELLED);
            }
        }
    }
}

impl Source for Client {
    const CAUSE: ResetCause = ResetCause::ClientReset;

    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Result<Chunk, Broken>> {
        match self {
            Client::Http1(io, _) => poll_read(Pin::new(&mut **io), cx, scratch),
            Client::Http2 { recv, .. } => Poll::Ready(match ready!(recv.poll_data(cx)) {
                Some(Ok(bytes)) => Ok(Chunk::Owned(bytes)),
                Some(Err(_)) => Err(Broken),
                None => Ok(Chunk::End),
            }),
            Client::Http3 { recv, .. } => Poll::Ready(match ready!(recv.poll_read_data(cx, scratch)) {
                Ok(0) => Ok(Chunk::End),
                Ok(len) => Ok(Chunk::Scratch(len)),
                Err(_) => Err(Broken),
            }),
        }
    }

    fn release(&mut self, taken: usize) {
        if let Client::Http2 { recv, .. } = self {
            // Refused only for a stream that is gone, whose credit no longer matters.
            let _stream_gone = recv.flow_control().release_capacity(taken);
        }
    }

    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        match self {
            Client::Http2 { send, .. } => match send.poll_reset(cx) {
                Poll::Ready(_) => Err(Broken),
                Poll::Pending => Ok(()),
            },
            // A client that cancels says STOP_SENDING with its RESET_STREAM (RFC 9114 section 4.1.1), and only that one
            // can be heard without reading.
            Client::Http3 { send, stopped, .. } => match stopped.poll(send, cx) {
                Poll::Ready(()) => Err(Broken),
                Poll::Pending => Ok(()),
            },
            Client::Http1(io, probe) => probe.poll(io.tcp(), cx),
        }
    }
}

impl Sink for Client {
    const CAUSE: ResetCause = ResetCause::ClientReset;

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Broken>> {
        match self {
            Client::Http1(io, _) => Pin::new(&mut **io).poll_write(cx, bytes).map_err(|_| Broken),
            Client::Http2 { send, .. } => {
                let granted = ready!(poll_capacity(send, bytes.len(), cx))?;
                let part = Bytes::copy_from_slice(&bytes[..granted]);
                Poll::Ready(send.send_data(part, false).map(|()| granted).map_err(|_| Broken))
            }
            Client::Http3 { send, .. } => send.poll_write_data(cx, bytes).map_err(|_| Broken),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match self {
            Client::Http1(io, _) => Pin::new(&mut **io).poll_flush(cx).map_err(|_| Broken),
            Client::Http2 { .. } | Client::Http3 { .. } => Poll::Ready(Ok(())),
        }
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match self {
            Client::Http1(io, _) => Pin::new(&mut **io).poll_shutdown(cx).map_err(|_| Broken),
            Client::Http2 { send, .. } => Poll::Ready(send.send_data(Bytes::new(), true).map_err(|_| Broken)),
            Client::Http3 { send, .. } => Poll::Ready(send.finish().map_err(|_| Broken)),
        }
    }
}

/// How many of `wanted` octets an HTTP/2 stream takes now: what flow control and the bound on its send buffer allow.
pub(crate) fn poll_capacity(
    send: &mut h2::SendStream<Bytes>,
    wanted: usize,
    cx: &mut Context<'_>,
) -> Poll<Result<usize, Broken>> {
    send.reserve_capacity(wanted);
    loop {
        let granted = send.capacity();
        if granted > 0 {
            return Poll::Ready(Ok(granted.min(wanted)));
        }
        match ready!(send.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Poll::Ready(Err(Broken)),
        }
    }
}

impl Source for Stream {
    const CAUSE: ResetCause = ResetCause::BackendReset;

    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Result<Chunk, Broken>> {
        poll_read(Pin::new(self), cx, scratch)
    }
}

impl Sink for Stream {
    const CAUSE: ResetCause = ResetCause::BackendReset;

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Broken>> {
        AsyncWrite::poll_write(Pin::new(self), cx, bytes).map_err(|_| Broken)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        AsyncWrite::poll_flush(Pin::new(self), cx).map_err(|_| Broken)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        AsyncWrite::poll_shutdown(Pin::new(self), cx).map_err(|_| Broken)
    }
}

fn poll_read<R: AsyncRead>(io: Pin<&mut R>, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Result<Chunk, Broken>> {
    let mut buffer = ReadBuf::new(scratch);
    Poll::Ready(match ready!(io.poll_read(cx, &mut buffer)) {
        Ok(()) if buffer.filled().is_empty() => Ok(Chunk::End),
        Ok(()) => Ok(Chunk::Scratch(buffer.filled().len())),
        // A peer that closes TCP without close_notify (RFC 8446 section 6.1) has ended its stream: WebSocket has an
        // end of its own, and many peers never send the alert.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Chunk::End),
        Err(_) => Err(Broken),
    })
}

/// Makes the close that follows a TCP RST: the peer learns that the stream was cut, not ended.
pub(crate) fn reset_tcp(stream: &TcpStream) {
    // When the option is refused the close is an ordinary one, which is all that is left to do.
    let _ordinary_close = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
