//! Owns a session's CONNECT stream: what the peer says on it is heard, what this side has to say is written, and both
//! directions are ended as the session's end asks. The connection's task polls it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    capsule::{Capsule, Interpreter},
    ended::Ended,
    session::Inner,
};
use crate::{
    code::Code,
    control::Fault,
    error::{Error, StreamError},
    stream::{RecvStream, SendStream},
};

/// How much is read at once. A usual capsule has under 16 octets.
const READ_BUFFER: usize = 1024;

/// How often a stream is read before others of the connection get their turn.
const READS_PER_TURN: usize = 16;

/// What is said goes before what is streamed: credit that waits behind data helps nobody.
const PRIORITY: i32 = 1;

type Acked = Pin<Box<dyn Future<Output = Result<Option<Code>, StreamError>> + Send>>;

/// A CONNECT stream of a session that was accepted.
pub(super) struct Driver {
    session: Arc<Inner>,
    send: SendStream,
    recv: RecvStream,
    interpreter: Interpreter,
    /// What is said and was not written yet.
    out: Vec<u8>,
    close_said: bool,
    /// Whether the peer takes no more of what is said.
    stopped: bool,
    /// Whether nothing more comes from the peer.
    peer_ended: bool,
    finished: bool,
    /// Ready when the peer has all that was said.
    acked: Option<Acked>,
    /// Set when the peer says more after its close.
    fault: Option<Code>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("session", &self.session.id()).finish_non_exhaustive()
    }
}

impl Driver {
    pub(super) fn new(session: Arc<Inner>, mut send: SendStream, recv: RecvStream) -> Self {
        send.set_priority(PRIORITY);
        let interpreter = Interpreter::new(session.is_flow_controlled());
        Self {
            session,
            send,
            recv,
            interpreter,
            out: Vec::new(),
            close_said: false,
            stopped: false,
            peer_ended: false,
            finished: false,
            acked: None,
            fault: None,
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) {
        let mut octets = [0; READ_BUFFER];
        for _ in 0..READS_PER_TURN {
            if self.peer_ended || self.fault.is_some() {
                return;
            }
            let Poll::Ready(read) = self.recv.poll_read_data(cx, &mut octets) else { return };
            match read {
                Ok(0) => {
                    self.peer_ended = true;
                    match self.interpreter.end() {
                        // Section 6: an end without a close is one with code 0 and no reason.
                        Ok(()) => self.session.end(Ended::ByPeer { code: 0, reason: String::new() }),
                        Err(fault) => self.abort(fault),
                    }
                }
                Ok(size) => self.hear(&octets[..size]),
                Err(error) => {
                    self.peer_ended = true;
                    self.session.end(match error {
                        StreamError::Reset(code) => Ended::Reset(code),
                        StreamError::Connection(error) => Ended::Connection(error),
                        other => Ended::Aborted { code: other.code(), reason: "the CONNECT stream is malformed" },
                    });
                }
            }
        }
        // There is more, in the next turn.
        cx.waker().wake_by_ref();
    }

    fn hear(&mut self, mut input: &[u8]) {
        if self.session.ended().is_some() && !self.interpreter.is_closed() {
            // This side closed the session: what the peer still said before it knew is of no use.
            return;
        }
        loop {
            match self.interpreter.next(&mut input) {
                Ok(None) => return,
                Ok(Some(capsule)) => {
                    if let Err(fault) = self.session.hear(capsule) {
                        return self.abort(fault);
                    }
                }
                Err(fault) => return self.abort(fault),
            }
        }
    }

    /// The peer broke the protocol. After the session's end only the stream is left to reset.
    fn abort(&mut self, fault: Fault) {
        self.fault = Some(fault.code);
        self.session.abort(fault);
    }

    /// Writes what there is to say. Says whether all of it is written.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.out.is_empty() && !self.stopped {
                self.session.say(&mut self.out);
            }
            if self.out.is_empty() || self.stopped {
                self.out = Vec::new();
                return Poll::Ready(());
            }
            match self.send.poll_write_data(cx, &self.out) {
                Poll::Ready(Ok(written)) => {
                    self.out.drain(..written);
                }
                // Whether that ends the session, the other direction tells.
                Poll::Ready(Err(_)) => self.stopped = true,
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn reset(&mut self, code: Code) -> Poll<()> {
        self.send.reset(code);
        self.recv.stop_sending(code);
        Poll::Ready(())
    }

    /// Ends the stream as the session's end asks.
    fn leave(&mut self, cx: &mut Context<'_>, ended: Ended) -> Poll<()> {
        if let Some(code) = self.fault {
            return self.reset(code);
        }
        match ended {
            Ended::Aborted { code, .. } => return self.reset(code),
            Ended::Reset(_) => return self.reset(Code::H3_REQUEST_CANCELLED),
            Ended::Connection(_) => return Poll::Ready(()),
            Ended::ByUs { code, reason } if !self.close_said => {
                self.close_said = true;
                Capsule::Close { code, reason }.append(&mut self.out);
            }
            Ended::ByUs { .. } | Ended::ByPeer { .. } => {}
        }
        if self.write(cx).is_pending() {
            return Poll::Pending;
        }
        if !self.finished {
            self.finished = true;
            self.acked = Some(Box::pin(self.send.stopped()));
            // A stream that was stopped cannot be finished, and needs not be.
            let _ = self.send.finish();
        }
        if self.peer_ended {
            return Poll::Ready(());
        }
        // The peer ends its side in response, but need not be waited for once it has the close (section 6).
        if self.acked.as_mut().is_none_or(|acked| acked.as_mut().poll(cx).is_ready()) {
            self.recv.stop_sending(Code::WT_SESSION_GONE);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.session.set_driver(cx.waker());
        this.read(cx);
        match this.session.ended() {
            Some(ended) => this.leave(cx, ended),
            None => {
                // What cannot be written waits, and what replaces it is said instead.
                let _ = this.write(cx);
                Poll::Pending
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.session.ended().is_none() {
            let shared = self.session.shared();
            let error = match shared.quic.close_reason() {
                Some(error) => shared.ended(error),
                None => Error::Local { code: Code::H3_NO_ERROR, reason: "nobody drives the connection" },
            };
            self.session.end(Ended::Connection(error));
        }
    }
}
