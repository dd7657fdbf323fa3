//! One accepted TCP connection, with or without TLS, perhaps with octets that were read to tell its protocol.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A client's byte stream.
pub(crate) struct Io {
    /// Octets that were read already and come first.
    early: bytes::Bytes,
    transport: Transport,
}

/// TLS state is large and most of it idle, so it lives in a box of its own.
enum Transport {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Io {
    pub(crate) fn clear(stream: TcpStream, early: bytes::Bytes) -> Self {
        Self { early, transport: Transport::Clear(stream) }
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self { early: bytes::Bytes::new(), transport: Transport::Tls(Box::new(stream)) }
    }

    /// The connection below TLS.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match &self.transport {
            Transport::Clear(stream) => stream,
            Transport::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Puts octets that somebody read too far back to the front.
    pub(crate) fn unread(mut self, early: bytes::Bytes) -> Self {
        debug_assert!(self.early.is_empty(), "the first octets were consumed before more were read");
        self.early = early;
        self
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let len = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early.split_to(len));
            return Poll::Ready(Ok(()));
        }
        match &mut self.transport {
            Transport::Clear(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Clear(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Clear(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Transport::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
