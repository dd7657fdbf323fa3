//! The byte pipe between a client's stream and a backend's connection.
//!
//! Owns backpressure, half-close, resets in both directions and the tunnel's timers. Knows nothing of handshakes and
//! nothing of WebSocket frames: bytes pass as they are.
//!
//! A tunnel that carries nothing holds no buffer. Reads go to one scratch buffer that all tunnels of a worker's thread
//! share; only what the other side would not take at once is kept, at most one scratch buffer per direction, and nothing
//! more is read until it is gone.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep};

use super::client::{Broken, Chunk, Client, Sink, Source, reset_tcp};
use crate::exchange::Exchange;
use crate::metrics::ResetCause;
use crate::scratch;
use crate::upstream::Stream;

/// Reads in a row before other tunnels of the thread get their turn.
const TURN: usize = 16;

/// After one side said its last, the other may stay silent for this long. WebSocket has no half-open state of its own
/// (RFC 6455 section 7.1.1), so what is left is a peer that vanished.
const HALF_CLOSED_IDLE: Duration = Duration::from_secs(15);

/// What may end a tunnel besides its two peers. `None` is never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) idle: Option<Duration>,
    pub(crate) lifetime: Option<Duration>,
}

/// A running tunnel. Resolves when it is over, whatever ended it; the peers have been told by then.
pub(crate) struct Relay {
    client: Client,
    backend: Stream,
    /// Client to backend.
    up: Direction,
    /// Backend to client.
    down: Direction,
    timers: Option<Box<Timers>>,
    /// Whether it has been polled.
    started: bool,
    exchange: Arc<Exchange>,
}

/// One direction's state: what was read and not yet taken, and how far its end has come.
#[derive(Default)]
struct Direction {
    held: Bytes,
    phase: Phase,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// The source ended; what is held and the end itself are still to be passed on.
    Ending,
    Ended,
}

struct Timers {
    idle: Option<Duration>,
    last_active: Instant,
    ends_at: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
}

impl Relay {
    /// `early` is what the backend sent right behind its handshake.
    pub(crate) fn new(client: Client, backend: Stream, early: Bytes, limits: Limits, exchange: Arc<Exchange>) -> Self {
        let down = Direction { held: early, phase: Phase::Open };
        let timers = Timers::new(limits);
        Self { client, backend, up: Direction::default(), down, timers, started: false, exchange }
    }

    fn end(&mut self, cause: ResetCause) {
        self.exchange.reset(cause);
        self.client.reset();
        reset_tcp(self.backend.tcp());
    }

    fn arm_half_closed(&mut self) {
        if (self.up.phase == Phase::Ended) != (self.down.phase == Phase::Ended) {
            let timers = self.timers.get_or_insert_with(|| Timers::armed(HALF_CLOSED_IDLE));
            timers.idle = Some(timers.idle.map_or(HALF_CLOSED_IDLE, |idle| idle.min(HALF_CLOSED_IDLE)));
            timers.last_active = Instant::now();
            timers.rearm();
        }
    }
}

impl Future for Relay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if !this.started {
            this.started = true;
            // The stream may still hold the waker of the task that did the handshake, and so all of that task's memory:
            // asking replaces it. What broke already is noticed by reading. On HTTP/3 nothing holds one, and asking costs.
            if matches!(this.client, Client::Http2 { .. }) {
                let _noticed_later = this.client.poll_broken(cx);
            }
        }
        let phases = (this.up.phase, this.down.phase);
        let mut moved = Moved::default();
        let outcome = scratch::with(|scratch| {
            let up = this.up.pump(&mut this.client, &mut this.backend, scratch, &mut moved.up, cx);
            let down = this.down.pump(&mut this.backend, &mut this.client, scratch, &mut moved.down, cx);
            (up, down)
        });
        this.exchange.received(moved.up);
        this.exchange.sent(moved.down);
        match outcome {
            (Err(at), _) | (_, Err(at)) => {
                this.end(match at {
                    Side::Source(cause) | Side::Sink(cause) => cause,
                });
                return Poll::Ready(());
            }
            _ if this.up.phase == Phase::Ended && this.down.phase == Phase::Ended => return Poll::Ready(()),
            _ => {}
        }
        if phases != (this.up.phase, this.down.phase) {
            this.arm_half_closed();
        }
        if let Some(timers) = &mut this.timers {
            if moved.up + moved.down > 0 {
                timers.last_active = Instant::now();
            }
            if let Poll::Ready(cause) = timers.poll(cx) {
                this.end(cause);
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

#[derive(Default)]
struct Moved {
    up: usize,
    down: usize,
}

/// Which end of a direction broke, already as the cause that is counted.
enum Side {
    Source(ResetCause),
    Sink(ResetCause),
}

impl Direction {
    /// Moves what can be moved now. `Ok` means that a wake-up is arranged, or that the direction has ended.
    fn pump<S: Source, T: Sink>(
        &mut self,
        source: &mut S,
        sink: &mut T,
        scratch: &mut [u8],
        moved: &mut usize,
        cx: &mut Context<'_>,
    ) -> Result<(), Side> {
        match self.poll_pump(source, sink, scratch, moved, cx) {
            Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(side)) => Err(side),
            Poll::Pending if self.held.is_empty() => Ok(()),
            // The source is not read while something is held, so its death has to be asked for.
            Poll::Pending => source.poll_broken(cx).map_err(|Broken| Side::Source(S::CAUSE)),
        }
    }

    fn poll_pump<S: Source, T: Sink>(
        &mut self,
        source: &mut S,
        sink: &mut T,
        scratch: &mut [u8],
        moved: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Side>> {
        let sink_broke = |Broken| Side::Sink(T::CAUSE);
        ready!(self.poll_held(source, sink, moved, cx)).map_err(sink_broke)?;
        for _ in 0..TURN {
            if self.phase != Phase::Open {
                return self.poll_end(sink, cx).map_err(sink_broke);
            }
            let chunk = match source.poll_read(cx, scratch) {
                Poll::Ready(Ok(chunk)) => chunk,
                Poll::Ready(Err(Broken)) => return Poll::Ready(Err(Side::Source(S::CAUSE))),
                Poll::Pending => return sink.poll_flush(cx).map_err(sink_broke),
            };
            match chunk {
                Chunk::End => self.phase = Phase::Ending,
                Chunk::Scratch(len) => {
                    let taken = write_some(sink, &scratch[..len], cx).map_err(sink_broke)?;
                    *moved += taken;
                    source.release(taken);
                    if taken < len {
                        self.held = Bytes::copy_from_slice(&scratch[taken..len]);
                        return Poll::Pending;
                    }
                }
                Chunk::Owned(bytes) => {
                    self.held = bytes;
                    ready!(self.poll_held(source, sink, moved, cx)).map_err(sink_broke)?;
                }
            }
        }
        cx.waker().wake_by_ref();
        sink.poll_flush(cx).map_err(sink_broke)
    }

    fn poll_held<S: Source, T: Sink>(
        &mut self,
        source: &mut S,
        sink: &mut T,
        moved: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        if self.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let taken = write_some(sink, &self.held, cx)?;
        *moved += taken;
        source.release(taken);
        if taken < self.held.len() {
            bytes::Buf::advance(&mut self.held, taken);
            return Poll::Pending;
        }
        self.held = Bytes::new();
        Poll::Ready(Ok(()))
    }

    fn poll_end<T: Sink>(&mut self, sink: &mut T, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.phase == Phase::Ending {
            ready!(sink.poll_finish(cx))?;
            self.phase = Phase::Ended;
        }
        Poll::Ready(Ok(()))
    }
}

/// Offers bytes until the sink takes no more, and says how many it took. A wake-up is arranged when that is not all.
fn write_some<T: Sink>(sink: &mut T, bytes: &[u8], cx: &mut Context<'_>) -> Result<usize, Broken> {
    let mut taken = 0;
    while taken < bytes.len() {
        match sink.poll_write(cx, &bytes[taken..]) {
            Poll::Ready(written) => taken += written?,
            Poll::Pending => break,
        }
    }
    Ok(taken)
}

impl Timers {
    fn new(limits: Limits) -> Option<Box<Self>> {
        let shortest = [limits.idle, limits.lifetime].into_iter().flatten().min()?;
        let mut timers = Self::armed(shortest);
        timers.idle = limits.idle;
        timers.ends_at = limits.lifetime.map(|lifetime| timers.last_active + lifetime);
        Some(timers)
    }

    fn armed(after: Duration) -> Box<Self> {
        let sleep = Box::pin(tokio::time::sleep(after));
        Box::new(Self { idle: None, last_active: Instant::now(), ends_at: None, sleep })
    }

    fn due(&self) -> Option<Instant> {
        let idle_at = self.idle.map(|idle| self.last_active + idle);
        [idle_at, self.ends_at].into_iter().flatten().min()
    }

    fn rearm(&mut self) {
        if let Some(due) = self.due() {
            self.sleep.as_mut().reset(due);
        }
    }

    /// Ready with the cause when time is up. The sleep is moved only when it fires, not with every byte.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ResetCause> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let now = Instant::now();
            if self.ends_at.is_some_and(|end| end <= now) {
                return Poll::Ready(ResetCause::Lifetime);
            }
            if self.due().is_none_or(|due| due <= now) {
                return Poll::Ready(ResetCause::IdleTimeout);
            }
            self.rearm();
        }
    }
}
