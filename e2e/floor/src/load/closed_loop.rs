//! The closed loop: every stream sends its next message when the last one has come back.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::Stream;
use crate::cpu;

/// The part of the messages that goes ahead, not measured: windows, caches and branch predictors settle.
const WARM_UP_PARTS: u64 = 10;

/// Latencies up to a minute, to three digits.
const MAX_LATENCY_US: u64 = 60_000_000;
const DIGITS: u8 = 3;

/// What a run came to.
pub(super) struct Measured {
    /// How long it took.
    pub(super) seconds: f64,
    /// What the other side's process used meanwhile.
    pub(super) cpu_seconds: f64,
    /// Every message's round trip.
    pub(super) latency_us: Histogram<u64>,
}

/// What all streams share: how many messages are still to be sent, and how long each took.
struct Shared {
    left: Cell<u64>,
    latency_us: RefCell<Histogram<u64>>,
}

/// Warms up, and then measures.
pub(super) async fn run(streams: Vec<Stream>, messages: u64, pid: u32) -> anyhow::Result<Measured> {
    let (streams, _) = send(streams, messages / WARM_UP_PARTS).await?;
    let (cpu_before, began) = (cpu::seconds(pid)?, Instant::now());
    let (_streams, latency_us) = send(streams, messages).await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Measured { seconds, cpu_seconds: cpu::seconds(pid)? - cpu_before, latency_us })
}

/// Sends so many messages over all streams together: a slow stream sends fewer, and none waits for another.
async fn send(streams: Vec<Stream>, messages: u64) -> anyhow::Result<(Vec<Stream>, Histogram<u64>)> {
    let latency_us = Histogram::new_with_bounds(1, MAX_LATENCY_US, DIGITS)?;
    let shared = Rc::new(Shared { left: Cell::new(messages), latency_us: RefCell::new(latency_us) });
    let mut sending = JoinSet::new();
    for mut stream in streams {
        let shared = Rc::clone(&shared);
        sending.spawn_local(async move {
            while let Some(left) = shared.left.get().checked_sub(1) {
                shared.left.set(left);
                let sent = Instant::now();
                stream.echo().await?;
                let took_us = u64::try_from(sent.elapsed().as_micros()).unwrap_or(MAX_LATENCY_US);
                shared.latency_us.borrow_mut().saturating_record(took_us);
            }
            Ok::<_, anyhow::Error>(stream)
        });
    }
    let mut streams = Vec::with_capacity(sending.len());
    while let Some(stream) = sending.join_next().await {
        streams.push(stream??);
    }
    let shared = Rc::into_inner(shared).context("a stream still runs")?;
    Ok((streams, shared.latency_us.into_inner()))
}
