//! Owns a session as the application has it: what it takes from the peer, opens and sends, and how it ends.

mod inner;
mod opening;

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use thiserror::Error;

pub(super) use inner::Inner;
pub use opening::{BiOpening, UniOpening};

use super::{
    capsule::MAX_REASON,
    draft::Draft,
    ended::Ended,
    header::Direction,
    stream::{RecvStream, SendStream},
};
use crate::{code::Code, control::Fault, datagram, varint};

/// Why a datagram was not sent.
#[derive(Clone, Debug, Error)]
pub enum DatagramError {
    /// It is larger than [`Session::max_datagram_size`].
    #[error("the datagram is too large for the path")]
    TooLarge,
    /// The peer takes no datagrams, or this side's QUIC has them off.
    #[error("no datagrams on this connection")]
    Unsupported,
    /// The session is over.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// A session. Clones share it; when the last one is dropped, it is closed with code 0 and no reason.
///
/// Any number of tasks may use it at once. All waiting is cancel-safe.
#[derive(Debug)]
pub struct Session {
    inner: Arc<Inner>,
}

impl Session {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        inner.add_handle();
        Self { inner }
    }

    /// The session's ID: its CONNECT stream's.
    pub fn id(&self) -> u64 {
        self.inner.id()
    }

    /// The draft that was agreed on.
    pub fn draft(&self) -> Draft {
        self.inner.draft()
    }

    /// The subprotocol that was agreed on.
    pub fn subprotocol(&self) -> Option<&str> {
        self.inner.subprotocol()
    }

    /// Whether both sides announced limits, so that the session has flow control of its own.
    pub fn is_flow_controlled(&self) -> bool {
        self.inner.is_flow_controlled()
    }

    /// The connection that carries it.
    pub fn quic(&self) -> &quinn::Connection {
        &self.inner.shared().quic
    }

    /// Takes the next bidirectional stream that the peer opened.
    pub fn poll_accept_bi(&self, cx: &mut Context<'_>) -> Poll<Result<(SendStream, RecvStream), Ended>> {
        self.inner
            .poll_accept(Direction::Bidirectional, cx)
            .map_ok(|cell| (SendStream::new(Arc::clone(&cell)), RecvStream::new(cell)))
    }

    /// Takes the next bidirectional stream that the peer opened.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), Ended> {
        poll_fn(|cx| self.poll_accept_bi(cx)).await
    }

    /// Takes the next unidirectional stream that the peer opened.
    pub fn poll_accept_uni(&self, cx: &mut Context<'_>) -> Poll<Result<RecvStream, Ended>> {
        self.inner.poll_accept(Direction::Unidirectional, cx).map_ok(RecvStream::new)
    }

    /// Takes the next unidirectional stream that the peer opened.
    pub async fn accept_uni(&self) -> Result<RecvStream, Ended> {
        poll_fn(|cx| self.poll_accept_uni(cx)).await
    }

    /// Waits until a bidirectional stream can be opened, by the session's flow control and QUIC's. Nothing is sent
    /// before [`BiOpening::open`]: whoever relays takes a stream from one side once the other has this.
    pub async fn reserve_bi(&self) -> Result<BiOpening, Ended> {
        BiOpening::reserve(&self.inner).await
    }

    /// Waits until a unidirectional stream can be opened; see [`Session::reserve_bi`].
    pub async fn reserve_uni(&self) -> Result<UniOpening, Ended> {
        UniOpening::reserve(&self.inner).await
    }

    /// Opens a bidirectional stream, once flow control allows it. The peer sees it at once.
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), Ended> {
        self.reserve_bi().await?.open().await
    }

    /// Opens a unidirectional stream, once flow control allows it. The peer sees it at once.
    pub async fn open_uni(&self) -> Result<SendStream, Ended> {
        self.reserve_uni().await?.open().await
    }

    /// Lets the peer have so many streams of each kind open at once, where that is more than [`Config`](super::Config)
    /// allows every session. With flow control it is told. QUIC's own limit is the application's to raise.
    pub fn allow_streams(&self, most: u32) {
        self.inner.allow_streams(most);
    }

    /// The largest datagram that can be sent now. It follows the path's MTU. `None` when there are no datagrams.
    pub fn max_datagram_size(&self) -> Option<usize> {
        let prefix = varint::size(self.id() / 4);
        self.quic().max_datagram_size().and_then(|size| size.checked_sub(prefix))
    }

    /// Octets of datagrams that QUIC takes without dropping others that it has not sent yet, the oldest first. All
    /// sessions of the connection share it.
    pub fn datagram_room(&self) -> usize {
        self.quic().datagram_send_buffer_space()
    }

    /// Sends a datagram. It may be lost, and may overtake others.
    pub fn send_datagram(&self, payload: &[u8]) -> Result<(), DatagramError> {
        let octets = self.datagram(payload)?;
        self.quic().send_datagram(octets).map_err(|error| self.datagram_error(error))
    }

    /// Sends a datagram once QUIC takes it without dropping another one: whoever relays takes the next one from one side
    /// once the other has taken this. Cancel-safe.
    pub async fn send_datagram_wait(&self, payload: &[u8]) -> Result<(), DatagramError> {
        let octets = self.datagram(payload)?;
        self.quic().send_datagram_wait(octets).await.map_err(|error| self.datagram_error(error))
    }

    /// A datagram as QUIC has it.
    fn datagram(&self, payload: &[u8]) -> Result<Bytes, Ended> {
        if let Some(ended) = self.inner.ended() {
            return Err(ended);
        }
        let mut octets = Vec::with_capacity(varint::MAX_SIZE + payload.len());
        datagram::append_prefix(self.id(), &mut octets);
        octets.extend_from_slice(payload);
        Ok(octets.into())
    }

    fn datagram_error(&self, error: quinn::SendDatagramError) -> DatagramError {
        match error {
            quinn::SendDatagramError::TooLarge => DatagramError::TooLarge,
            quinn::SendDatagramError::UnsupportedByPeer | quinn::SendDatagramError::Disabled => {
                DatagramError::Unsupported
            }
            quinn::SendDatagramError::ConnectionLost(error) => {
                Ended::Connection(self.inner.shared().ended(error)).into()
            }
        }
    }

    /// Takes the next datagram. At the session's end, those that were not taken are gone.
    pub fn poll_recv_datagram(&self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Ended>> {
        self.inner.poll_datagram(cx)
    }

    /// Takes the next datagram.
    pub async fn recv_datagram(&self) -> Result<Bytes, Ended> {
        poll_fn(|cx| self.poll_recv_datagram(cx)).await
    }

    /// How many datagrams were dropped because they were not taken in time.
    pub fn dropped_datagrams(&self) -> u64 {
        self.inner.dropped_datagrams()
    }

    /// Closes the session: the peer's application gets the code and the reason, of which the first 1024 octets count,
    /// and every stream ends with WT_SESSION_GONE. It has no effect on one that is over.
    pub fn close(&self, code: u32, reason: &str) {
        let reason = reason[..reason.floor_char_boundary(MAX_REASON)].to_owned();
        self.inner.end(Ended::ByUs { code, reason });
    }

    /// Resets the session's CONNECT stream, which says less than [`Session::close`]: for when what the session depends on
    /// was reset.
    pub fn reset(&self, code: Code) {
        self.inner.abort(Fault::new(code, "reset by the application"));
    }

    /// Tells the peer's application that the session should end soon. Everything goes on working.
    pub fn drain(&self) {
        self.inner.drain();
    }

    /// Waits until the peer wants the session to end soon: it said so, or its connection is going away. The future does
    /// not borrow the session, and is never ready after the session's end.
    pub fn drained(&self) -> impl Future<Output = ()> + Send + use<> {
        let inner = Arc::clone(&self.inner);
        async move { inner.drained().await }
    }

    /// Why the session is over, if it is.
    pub fn ended(&self) -> Option<Ended> {
        self.inner.ended()
    }

    /// Waits until the session is over. The future does not borrow the session, nor keeps it open.
    pub fn closed(&self) -> impl Future<Output = Ended> + Send + use<> {
        let inner = Arc::clone(&self.inner);
        async move { inner.closed().await }
    }
}

impl Clone for Session {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.inner))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.inner.remove_handle();
    }
}
