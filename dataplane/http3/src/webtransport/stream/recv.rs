//! Owns the receiving half of a session's stream.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, ReadBuf};

use super::{Cell, Half, Phase};
use crate::{
    code::Code,
    error::{StreamError, to_varint},
    stream::read_error,
    webtransport::{codes, hub::lock},
};

/// How often a stream that is not read is asked whether it was reset.
pub const RESET_INTERVAL: Duration = Duration::from_secs(1);

/// The receiving half of a session's stream.
///
/// Dropped before its end, it asks the peer to stop with H3_REQUEST_CANCELLED.
#[derive(Debug)]
pub struct RecvStream {
    cell: Arc<Cell>,
}

impl RecvStream {
    pub(in crate::webtransport) const fn new(cell: Arc<Cell>) -> Self {
        Self { cell }
    }

    /// The QUIC stream's ID.
    pub fn id(&self) -> u64 {
        self.cell.id
    }

    /// Reads into `buffer`, and never more than it takes. 0 is the end of the stream, or an empty `buffer`.
    pub fn poll_read_data(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, StreamError>> {
        let session = &self.cell.session;
        let mut half = lock(&self.cell.recv);
        if half.phase == Phase::End || buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match half.open()?.poll_read(cx, buffer) {
            Poll::Pending => {
                half.wait(cx);
                Poll::Pending
            }
            Poll::Ready(Ok(0)) => {
                half.phase = Phase::End;
                Poll::Ready(Ok(0))
            }
            Poll::Ready(Ok(size)) => {
                drop(half);
                match session.read(size) {
                    Ok(()) => Poll::Ready(Ok(size)),
                    Err(fault) => {
                        session.abort(fault);
                        Poll::Ready(Err(StreamError::SessionGone))
                    }
                }
            }
            Poll::Ready(Err(error)) => {
                half.phase = Phase::Failed;
                drop(half);
                session.leave_unread();
                Poll::Ready(Err(read_error(session.shared(), error)))
            }
        }
    }

    /// Reads into `buffer`; see [`RecvStream::poll_read_data`]. Cancel-safe.
    pub async fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, StreamError> {
        poll_fn(|cx| self.poll_read_data(cx, buffer)).await
    }

    /// Asks the peer to stop sending, with a code as it is on the wire: an intermediary passes on what it got. What has
    /// come and was not read is dropped.
    pub fn stop_sending(&mut self, code: Code) {
        let mut half = lock(&self.cell.recv);
        if let Ok(quic) = half.open() {
            // A stream that has ended, or whose connection has, needs no stopping.
            let _ = quic.stop(to_varint(code));
            half.phase = Phase::Failed;
            drop(half);
            self.cell.session.leave_unread();
        }
    }

    /// Asks the peer to stop sending, with an application's code.
    pub fn stop_application(&mut self, code: u32) {
        self.stop_sending(codes::from_application(code));
    }

    /// Asks for the peer's reset without reading, for whoever cannot read now because what was read last has no place to
    /// go. `None` when the stream ended well. What was not read is gone with a reset.
    ///
    /// While octets wait unread, QUIC wakes nobody for a reset: then this is to be asked again after a while.
    /// ([`quinn::RecvStream::received_reset`] does wake, and leaves its waker in the connection for good when the stream is
    /// read to its end after.)
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Code>, StreamError>> {
        let mut half = lock(&self.cell.recv);
        if half.phase == Phase::End {
            return Poll::Ready(Ok(None));
        }
        // Nothing is read by this; the future has no state between polls, so that a new one each time loses nothing.
        let poll = pin!(half.open()?.read_chunk(0, true)).poll(cx);
        match poll {
            Poll::Pending | Poll::Ready(Ok(Some(_))) => {
                half.wait(cx);
                Poll::Pending
            }
            Poll::Ready(Ok(None)) => {
                half.phase = Phase::End;
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Err(error)) => {
                half.phase = Phase::Failed;
                drop(half);
                self.cell.session.leave_unread();
                match read_error(self.cell.session.shared(), error) {
                    StreamError::Reset(code) => Poll::Ready(Ok(Some(code))),
                    error => Poll::Ready(Err(error)),
                }
            }
        }
    }

    /// Waits for the peer's reset; see [`RecvStream::poll_reset`], which is asked once a second. Cancel-safe.
    pub async fn received_reset(&mut self) -> Result<Option<Code>, StreamError> {
        loop {
            tokio::select! {
                biased;
                reset = poll_fn(|cx| self.poll_reset(cx)) => return reset,
                () = tokio::time::sleep(RESET_INTERVAL) => {}
            }
        }
    }
}

/// Whether the end has come and was only not looked at.
fn is_end_waiting(half: &mut Half<quinn::RecvStream>) -> bool {
    let mut octet = [0];
    let noop = &mut Context::from_waker(Waker::noop());
    half.open().is_ok_and(|quic| matches!(quic.poll_read(noop, &mut octet), Poll::Ready(Ok(0))))
}

impl AsyncRead for RecvStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let size = ready!(self.get_mut().poll_read_data(cx, buffer.initialize_unfilled()))?;
        buffer.advance(size);
        Poll::Ready(Ok(()))
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        let mut half = lock(&self.cell.recv);
        if is_end_waiting(&mut half) {
            half.phase = Phase::End;
        }
        drop(half);
        self.stop_sending(Code::H3_REQUEST_CANCELLED);
        self.cell.drop_handle();
    }
}
