//! One direction of a stream, from one end to the other, and both directions of one.
//!
//! Owns backpressure: nothing is read before the other end has taken what was read last. A direction that carries nothing
//! holds no buffer, and one that is stalled no more than one read.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use headrace_http3::Code;
use tokio::time::timeout;

use super::ends::{Sink, Source};
use super::running::Running;
use crate::metrics::SessionSide;
use crate::scratch;

/// Reads in a row before other streams of the thread get their turn.
const TURN: usize = 16;

/// A direction.
pub(super) struct Pipe<S, T> {
    source: S,
    sink: T,
    /// Who sends.
    side: SessionSide,
    running: Arc<Running>,
    /// What was read and not taken.
    held: Bytes,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The source ended, and the sink is to hear of it.
    Ending,
    Ended,
    Broken,
}

impl<S: Source, T: Sink> Pipe<S, T> {
    pub(super) fn new(source: S, sink: T, side: SessionSide, running: &Arc<Running>) -> Self {
        Self { source, sink, side, running: Arc::clone(running), held: Bytes::new(), phase: Phase::Open }
    }

    /// Moves octets until one of the ends has ended. Both ends know of it by then, unless it is the one that broke.
    pub(super) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx).map(drop)).await;
    }

    /// Ready with how it ended, over and over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Code>> {
        match self.phase {
            Phase::Open | Phase::Ending => {}
            Phase::Ended | Phase::Broken => return Poll::Ready(Ok(())),
        }
        let mut moved = 0;
        let outcome = scratch::with(|scratch| self.poll_move(cx, scratch, &mut moved));
        self.running.moved(self.side, moved);
        outcome.map(|broken| match broken {
            Ok(()) => {
                self.phase = Phase::Ended;
                Ok(())
            }
            Err(Broken::Source(code)) => {
                self.sink.reset(code);
                self.phase = Phase::Broken;
                Err(code)
            }
            Err(Broken::Sink(code)) => {
                self.source.stop(code);
                self.phase = Phase::Broken;
                Err(code)
            }
        })
    }

    fn poll_move(&mut self, cx: &mut Context<'_>, scratch: &mut [u8], moved: &mut usize) -> Poll<Result<(), Broken>> {
        if self.write_held(cx, moved)?.is_pending() {
            // The source is not read while something is held, so its death has to be asked for.
            return self.source.poll_broken(cx).map(|code| Err(Broken::Source(code)));
        }
        for _ in 0..TURN {
            if self.phase == Phase::Ending {
                return self.sink.poll_finish(cx).map_err(Broken::Sink);
            }
            let size = match self.source.poll_read(cx, scratch) {
                Poll::Ready(size) => size.map_err(Broken::Source)?,
                Poll::Pending => return self.sink.poll_stopped(cx).map(|code| Err(Broken::Sink(code))),
            };
            if size == 0 {
                self.phase = Phase::Ending;
                continue;
            }
            let mut taken = 0;
            while taken < size {
                match self.sink.poll_write(cx, &scratch[taken..size]) {
                    Poll::Ready(more) => taken += more.map_err(Broken::Sink)?,
                    Poll::Pending => break,
                }
            }
            *moved += taken;
            if taken < size {
                self.held = Bytes::copy_from_slice(&scratch[taken..size]);
                return self.source.poll_broken(cx).map(|code| Err(Broken::Source(code)));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn write_held(&mut self, cx: &mut Context<'_>, moved: &mut usize) -> Result<Poll<()>, Broken> {
        while !self.held.is_empty() {
            let Poll::Ready(taken) = self.sink.poll_write(cx, &self.held) else { return Ok(Poll::Pending) };
            let taken = taken.map_err(Broken::Sink)?;
            *moved += taken;
            self.held.advance(taken);
        }
        self.held = Bytes::new();
        Ok(Poll::Ready(()))
    }

    /// Ends what goes on, at both ends.
    fn break_off(&mut self, code: Code) {
        if matches!(self.phase, Phase::Open | Phase::Ending) {
            self.source.stop(code);
            self.sink.reset(code);
            self.phase = Phase::Broken;
        }
    }
}

/// Which end broke, with the code.
enum Broken {
    Source(Code),
    Sink(Code),
}

/// Runs both directions of a stream to their ends, each by itself.
pub(super) async fn join<A: Source, B: Sink, C: Source, D: Sink>(mut up: Pipe<A, B>, mut down: Pipe<C, D>) {
    poll_fn(|cx| {
        // Both are polled, whichever is ready.
        let (up, down) = (up.poll(cx), down.poll(cx));
        let _how = (ready!(up), ready!(down));
        Poll::Ready(())
    })
    .await;
}

/// Runs both directions of what cannot break in one of them alone, and no longer than `linger` after the first has ended
/// well; see [`join_tied`].
pub(super) async fn join_lingering<A: Source, B: Sink, C: Source, D: Sink>(
    up: Pipe<A, B>,
    down: Pipe<C, D>,
    code: Code,
    linger: Duration,
) {
    let mut ends = Tied { up, down, code };
    let both = poll_fn(|cx| {
        let outcome = ends.poll(cx);
        if outcome.is_pending() && ends.up.phase == Phase::Ended { Poll::Ready(false) } else { outcome.map(|()| true) }
    });
    if !both.await {
        // Whoever has not closed by then is closed upon.
        let _closed_or_not = timeout(linger, poll_fn(|cx| ends.poll(cx))).await;
    }
}

/// Runs both directions of what cannot break in one of them alone: the other is broken off with `code` then.
pub(super) async fn join_tied<A: Source, B: Sink, C: Source, D: Sink>(up: Pipe<A, B>, down: Pipe<C, D>, code: Code) {
    let mut ends = Tied { up, down, code };
    poll_fn(|cx| ends.poll(cx)).await;
}

struct Tied<A, B, C, D> {
    up: Pipe<A, B>,
    down: Pipe<C, D>,
    code: Code,
}

impl<A: Source, B: Sink, C: Source, D: Sink> Tied<A, B, C, D> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let outcomes = (self.up.poll(cx), self.down.poll(cx));
        if let (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) = outcomes {
            self.up.break_off(self.code);
            self.down.break_off(self.code);
            return Poll::Ready(());
        }
        let _how = (ready!(outcomes.0), ready!(outcomes.1));
        Poll::Ready(())
    }
}
