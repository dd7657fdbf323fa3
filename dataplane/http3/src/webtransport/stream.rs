//! Owns the streams of a session: their halves, and that the session's end ends them whoever holds them.
//!
//! A half keeps no octets: what the peer has not sent or taken waits in QUIC's windows.

mod recv;
mod send;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Waker},
};

pub use recv::{RESET_INTERVAL, RecvStream};
pub use send::SendStream;

use super::{
    header::Direction,
    hub::{Raw, lock},
    session::Inner,
};
use crate::{
    code::Code,
    error::{StreamError, to_varint},
};

/// How far a half is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Octets may go on.
    Open,
    /// It ended well.
    End,
    /// It was reset or stopped, by either side.
    Failed,
    /// The session is over.
    Gone,
}

#[derive(Debug)]
struct Half<T> {
    /// `None` in the direction that the stream does not have.
    quic: Option<T>,
    phase: Phase,
    /// Who waits for it, and is to be told of the session's end.
    waker: Option<Waker>,
}

impl<T> Half<T> {
    const fn new(quic: Option<T>) -> Self {
        let phase = if quic.is_some() { Phase::Open } else { Phase::Failed };
        Self { quic, phase, waker: None }
    }

    /// QUIC's half, while octets may go on.
    fn open(&mut self) -> Result<&mut T, StreamError> {
        match (self.phase, &mut self.quic) {
            (Phase::Open, Some(quic)) => Ok(quic),
            (Phase::Gone, _) => Err(StreamError::SessionGone),
            _ => Err(StreamError::Closed),
        }
    }

    fn wait(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }
}

/// A stream that the application has.
#[derive(Debug)]
pub(super) struct Cell {
    id: u64,
    session: Arc<Inner>,
    /// Set when the peer opened it.
    peers: Option<Direction>,
    send: Mutex<Half<quinn::SendStream>>,
    recv: Mutex<Half<quinn::RecvStream>>,
    /// Halves that the application has.
    handles: AtomicU8,
}

impl Cell {
    pub(super) fn new(session: Arc<Inner>, stream: Raw, peers: Option<Direction>) -> Arc<Self> {
        let Raw { send, recv } = stream;
        let id = send.as_ref().map(quinn::SendStream::id).or(recv.as_ref().map(quinn::RecvStream::id));
        let handles = u8::from(send.is_some()) + u8::from(recv.is_some());
        Arc::new(Self {
            id: id.map(quinn::VarInt::from).expect("a stream has a direction").into_inner(),
            session,
            peers,
            send: Mutex::new(Half::new(send)),
            recv: Mutex::new(Half::new(recv)),
            handles: AtomicU8::new(handles),
        })
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// The session is over: both directions end with WT_SESSION_GONE (draft-ietf-webtrans-http3 section 6). What was
    /// ended well before still arrives.
    pub(super) fn gone(&self) {
        let code = to_varint(Code::WT_SESSION_GONE);
        let mut send = lock(&self.send);
        if let Ok(quic) = send.open() {
            let _ = quic.reset(code);
            send.phase = Phase::Gone;
        }
        let waker = send.waker.take();
        drop(send);
        let mut recv = lock(&self.recv);
        if let Ok(quic) = recv.open() {
            let _ = quic.stop(code);
            recv.phase = Phase::Gone;
        }
        for waker in waker.into_iter().chain(recv.waker.take()) {
            waker.wake();
        }
    }

    /// The application dropped a half.
    fn drop_handle(&self) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.session.forget(self.id, self.peers);
        }
    }
}
