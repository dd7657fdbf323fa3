//! Owns a request stream as a byte pipe, for what runs inside a CONNECT: both halves as one `AsyncRead + AsyncWrite`.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stream::{RecvStream, SendStream};

/// Both halves of a request stream.
///
/// The end of the peer's content is the end of what is read. Shutting down ends this side's content and leaves the other
/// direction open. A [`StreamError`](crate::StreamError) is the source of every `io::Error`.
#[derive(Debug)]
pub struct Tunnel {
    send: SendStream,
    recv: RecvStream,
}

impl Tunnel {
    /// Puts the halves together. Heads must have been sent and received.
    pub fn new(send: SendStream, recv: RecvStream) -> Self {
        Self { send, recv }
    }

    /// The halves.
    pub fn into_parts(self) -> (SendStream, RecvStream) {
        (self.send, self.recv)
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let size = ready!(self.get_mut().recv.poll_read_data(cx, buffer.initialize_unfilled()))?;
        buffer.advance(size);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(ready!(self.get_mut().send.poll_write_data(cx, octets))?))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // QUIC sends as soon as it may.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(self.get_mut().send.finish()?))
    }
}
