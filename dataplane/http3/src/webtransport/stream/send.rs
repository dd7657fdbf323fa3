//! Owns the sending half of a session's stream.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;

use super::{Cell, Phase};
use crate::{
    code::Code,
    error::{StreamError, from_varint, to_varint},
    stream::write_error,
    webtransport::{codes, hub::lock},
};

/// The sending half of a session's stream.
///
/// Dropped before [`SendStream::finish`], it is reset with H3_REQUEST_CANCELLED, so that what was cut off is never taken
/// for the whole.
#[derive(Debug)]
pub struct SendStream {
    cell: Arc<Cell>,
}

impl SendStream {
    pub(in crate::webtransport) const fn new(cell: Arc<Cell>) -> Self {
        Self { cell }
    }

    /// The QUIC stream's ID.
    pub fn id(&self) -> u64 {
        self.cell.id
    }

    /// Offers octets. Returns how many of them were taken, at least one of a slice that is not empty. Nothing is
    /// buffered on this side of QUIC's windows, and the session's flow control is kept.
    pub fn poll_write_data(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<Result<usize, StreamError>> {
        let session = &self.cell.session;
        let mut half = lock(&self.cell.send);
        let quic = half.open()?;
        if octets.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut allowed = octets.len();
        if session.is_flow_controlled() {
            allowed = session.may_send(self.cell.id, allowed, cx);
            if allowed == 0 {
                half.wait(cx);
                return Poll::Pending;
            }
        }
        let written = Pin::new(quic).poll_write(cx, &octets[..allowed]);
        if session.is_flow_controlled() {
            let taken = if let Poll::Ready(Ok(taken)) = &written { *taken } else { 0 };
            session.give_up_sending(allowed - taken);
        }
        match written {
            Poll::Ready(Ok(taken)) => Poll::Ready(Ok(taken)),
            Poll::Ready(Err(error)) => {
                half.phase = Phase::Failed;
                Poll::Ready(Err(write_error(session.shared(), error)))
            }
            Poll::Pending => {
                half.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Offers octets and waits until some are taken; see [`SendStream::poll_write_data`].
    pub async fn write_data(&mut self, octets: &[u8]) -> Result<usize, StreamError> {
        poll_fn(|cx| self.poll_write_data(cx, octets)).await
    }

    /// Offers octets until all are taken.
    pub async fn write_all(&mut self, mut octets: &[u8]) -> Result<(), StreamError> {
        while !octets.is_empty() {
            let taken = self.write_data(octets).await?;
            octets = &octets[taken..];
        }
        Ok(())
    }

    /// Ends the stream: the peer sees its end after everything that was sent.
    pub fn finish(&mut self) -> Result<(), StreamError> {
        let mut half = lock(&self.cell.send);
        if half.phase == Phase::End {
            return Ok(());
        }
        let finished = half.open()?.finish();
        half.phase = Phase::End;
        finished.map_err(|_| StreamError::Closed)
    }

    /// Ends the stream abruptly with a code as it is on the wire: an intermediary passes on what it got. What QUIC has
    /// not delivered is not delivered any more.
    pub fn reset(&mut self, code: Code) {
        let mut half = lock(&self.cell.send);
        if matches!(half.phase, Phase::Open | Phase::End)
            && let Some(quic) = &mut half.quic
        {
            // The peer may have stopped it, or have it all.
            let _ = quic.reset(to_varint(code));
            half.phase = Phase::Failed;
        }
    }

    /// Ends the stream abruptly with an application's code.
    pub fn reset_application(&mut self, code: u32) {
        self.reset(codes::from_application(code));
    }

    /// Sets the order in which QUIC sends when several streams have something to send: larger numbers first.
    pub fn set_priority(&mut self, priority: i32) {
        if let Ok(quic) = lock(&self.cell.send).open() {
            // A stream that is closed has nothing to send.
            let _ = quic.set_priority(priority);
        }
    }

    /// Waits until the peer takes no more: the code when it stopped the stream, `None` when it has everything up to the
    /// end. The future does not borrow the stream.
    pub fn stopped(&self) -> impl Future<Output = Result<Option<Code>, StreamError>> + Send + use<> {
        let stopped = lock(&self.cell.send).quic.as_ref().map(quinn::SendStream::stopped);
        let cell = Arc::clone(&self.cell);
        async move {
            let Some(stopped) = stopped else { return Err(StreamError::Closed) };
            let stopped = tokio::select! {
                // What the peer said last, it says before its session ends.
                biased;
                stopped = stopped => stopped,
                _ = cell.session.closed() => return Err(StreamError::SessionGone),
            };
            match stopped {
                // The session's end resets the stream, which is no end that the peer took.
                Ok(None) if lock(&cell.send).phase == Phase::Gone => Err(StreamError::SessionGone),
                Ok(code) => Ok(code.map(from_varint)),
                Err(error) => Err(write_error(cell.session.shared(), error.into())),
            }
        }
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_data(cx, octets).map_err(io::Error::from)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // QUIC sends as soon as it may.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().finish().map_err(io::Error::from))
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        let unfinished = lock(&self.cell.send).phase == Phase::Open;
        if unfinished {
            self.reset(Code::H3_REQUEST_CANCELLED);
        }
        self.cell.drop_handle();
    }
}
