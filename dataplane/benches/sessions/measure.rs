//! The figures, and how each is taken.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::load::{self, Opened, Shape};
use crate::process::Process;
use crate::target::{Running, Surroundings, Target};

/// No figure takes longer, or it failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a fresh process may take until it answers, and the time between two tries.
const STARTS_WITHIN: Duration = Duration::from_secs(15);
const TRIES_EVERY: Duration = Duration::from_millis(200);

/// Ten sessions of ten streams, each on a connection of its own, as the benchmark of tunnels has it.
const BUSY: Shape = Shape { connections: 10, sessions: 1 };
const BUSY_STREAMS: usize = 10;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    /// Octets for each session where ten share a connection.
    IdleSession,
    /// Octets for each connection with one session.
    IdleConnection,
    /// Octets for each stream of a session.
    IdleStream,
    /// CPU time of datagrams there and back.
    Datagrams,
    /// CPU time of messages there and back on streams that stay.
    Messages,
    /// Octets there and back on one stream.
    Bulk,
    /// A stream of which nothing is read.
    SlowReader,
}

/// One value.
#[derive(Serialize)]
pub(crate) struct Sample {
    pub(crate) target: Target,
    pub(crate) title: &'static str,
    pub(crate) figure: Figure,
    pub(crate) round: usize,
    pub(crate) name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
}

/// How much is measured.
pub(crate) struct Extent {
    rounds: usize,
    /// Connections of ten sessions, connections of one, and sessions of a hundred streams.
    shared: usize,
    alone: usize,
    streams: usize,
    datagrams: usize,
    messages: usize,
    bulk: usize,
    echoes: usize,
    slow: Duration,
    /// How long after the last handshake memory is read: timers that free what a handshake took have run by then.
    settles: Duration,
}

impl Extent {
    pub(crate) fn new(quick: bool, rounds: Option<usize>) -> Self {
        if quick {
            return Self {
                rounds: rounds.unwrap_or(1),
                shared: 4,
                alone: 20,
                streams: 2,
                datagrams: 4_000,
                messages: 4_000,
                bulk: 8 << 20,
                echoes: 200,
                slow: Duration::from_millis(500),
                settles: Duration::from_millis(200),
            };
        }
        Self {
            rounds: rounds.unwrap_or(5),
            shared: 100,
            alone: 1_000,
            streams: 20,
            datagrams: 200_000,
            messages: 200_000,
            bulk: 256 << 20,
            echoes: 2_000,
            slow: Duration::from_secs(10),
            settles: Duration::from_secs(3),
        }
    }
}

/// Names and values.
type Values = Vec<(&'static str, f64)>;

impl Figure {
    pub(crate) const ALL: [Self; 7] = [
        Self::IdleSession,
        Self::IdleConnection,
        Self::IdleStream,
        Self::Datagrams,
        Self::Messages,
        Self::Bulk,
        Self::SlowReader,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::IdleSession => "idle_session",
            Self::IdleConnection => "idle_connection",
            Self::IdleStream => "idle_stream",
            Self::Datagrams => "datagrams",
            Self::Messages => "messages",
            Self::Bulk => "bulk",
            Self::SlowReader => "slow_reader",
        }
    }

    /// Memory is the same in every round.
    const fn is_timed(self) -> bool {
        matches!(self, Self::Datagrams | Self::Messages | Self::Bulk)
    }

    async fn take(self, target: Target, running: &Running, extent: &Extent) -> Result<Values, String> {
        let ten = Shape { connections: extent.shared, sessions: 10 };
        let one = Shape { connections: extent.alone, sessions: 1 };
        match self {
            Self::IdleSession if !target.pools() => Ok(Vec::new()),
            Self::IdleSession => {
                idle(running, extent, ten).await.map(|each| vec![("octets for an idle session of ten", each)])
            }
            Self::IdleConnection => {
                idle(running, extent, one).await.map(|each| vec![("octets for a connection of one idle session", each)])
            }
            Self::IdleStream => idle_stream(running, extent).await,
            Self::Datagrams => datagrams(running, extent).await,
            Self::Messages => messages(running, extent).await,
            Self::Bulk => bulk(running, extent).await,
            Self::SlowReader => slow_reader(running, extent).await,
        }
    }
}

/// Every figure of every target, in turns: whatever else the machine does then falls on all of them.
pub(crate) fn all(targets: &[Target], figures: &[Figure], extent: &Extent, beside: &Surroundings) -> Vec<Sample> {
    let mut samples = Vec::new();
    for figure in figures {
        for round in 0..if figure.is_timed() { extent.rounds } else { 1 } {
            for target in targets {
                let outcome = one(*target, *figure, extent, beside);
                let sample = |name, value, failed| Sample {
                    target: *target,
                    title: target.title(),
                    figure: *figure,
                    round,
                    name,
                    value,
                    failed,
                };
                eprintln!("{}, {}, round {round}: {outcome:?}", figure.name(), target.title());
                match outcome {
                    Ok(values) => {
                        samples.extend(values.into_iter().map(|(name, value)| sample(name, Some(value), None)))
                    }
                    Err(failed) => samples.push(sample(figure.name(), None, Some(failed))),
                }
            }
        }
    }
    samples
}

fn one(target: Target, figure: Figure, extent: &Extent, beside: &Surroundings) -> Result<Values, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut running = target.start(beside);
        answers(&mut running).await?;
        // What ends that should not panics, and the other figures go on.
        let taking = AssertUnwindSafe(figure.take(target, &running, extent)).catch_unwind();
        let taken = timeout(PATIENCE, taking).await.map_err(|_| format!("not done after {} s", PATIENCE.as_secs()))?;
        taken.map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it ended".to_owned()))?
    })
}

/// Waits until a session can be opened.
async fn answers(running: &mut Running) -> Result<(), String> {
    let give_up = Instant::now() + STARTS_WITHIN;
    loop {
        if let Some(status) = running.process.ended() {
            return Err(format!("the process ended: {status}"));
        }
        let tried = timeout(TRIES_EVERY * 5, load::open(&running.clients, Shape { connections: 1, sessions: 1 })).await;
        match tried {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if Instant::now() > give_up => return Err(error),
            Err(_) if Instant::now() > give_up => return Err("no answer to a request for a session".to_owned()),
            _ => sleep(TRIES_EVERY).await,
        }
    }
}

async fn idle(running: &Running, extent: &Extent, shape: Shape) -> Result<f64, String> {
    let before = running.process.resident();
    let _opened = load::open(&running.clients, shape).await?;
    sleep(extent.settles).await;
    Ok(grown(&running.process, before) / (shape.connections * shape.sessions) as f64)
}

async fn idle_stream(running: &Running, extent: &Extent) -> Result<Values, String> {
    const EACH: usize = 90;
    let shape = Shape { connections: extent.streams, sessions: 1 };
    let opened = load::open(&running.clients, shape).await?;
    sleep(extent.settles).await;
    let before = running.process.resident();
    let _streams = load::open_streams(&opened.links, EACH).await?;
    sleep(extent.settles).await;
    let each = grown(&running.process, before) / (opened.links.len() * EACH) as f64;
    Ok(vec![("octets for an idle stream", each)])
}

async fn datagrams(running: &Running, extent: &Extent) -> Result<Values, String> {
    let opened = load::open(&running.clients, BUSY).await?;
    load::datagrams(&opened.links, extent.datagrams / 10).await;
    let (begun, cpu) = (Instant::now(), running.process.cpu());
    let (came, lost) = load::datagrams(&opened.links, extent.datagrams).await;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), (running.process.cpu() - cpu) as f64 / 1e9);
    if came < extent.datagrams / 2 {
        return Err(format!("{came} datagrams came back and {lost} did not"));
    }
    Ok(vec![
        ("CPU seconds for a million datagrams", cpu / came as f64 * 1e6),
        ("datagrams a second", came as f64 / seconds),
        ("lost of a thousand datagrams", lost as f64 / (came + lost) as f64 * 1e3),
    ])
}

async fn messages(running: &Running, extent: &Extent) -> Result<Values, String> {
    let opened = load::open(&running.clients, BUSY).await?;
    let mut streams = load::open_streams(&opened.links, BUSY_STREAMS).await?;
    load::messages(&mut streams, extent.messages / 10).await;
    let (begun, cpu) = (Instant::now(), running.process.cpu());
    load::messages(&mut streams, extent.messages).await;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), (running.process.cpu() - cpu) as f64 / 1e9);
    Ok(vec![
        ("CPU seconds for a million messages", cpu / extent.messages as f64 * 1e6),
        ("messages a second", extent.messages as f64 / seconds),
    ])
}

async fn bulk(running: &Running, extent: &Extent) -> Result<Values, String> {
    let opened = load::open(&running.clients, Shape { connections: 1, sessions: 1 }).await?;
    let mut streams = load::open_streams(&opened.links, 1).await?;
    load::bulk(&mut streams[0], extent.bulk / 16).await;
    let (begun, cpu) = (Instant::now(), running.process.cpu());
    load::bulk(&mut streams[0], extent.bulk).await;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), (running.process.cpu() - cpu) as f64 / 1e9);
    Ok(vec![
        ("megabytes a second, there and back", extent.bulk as f64 / 1e6 / seconds),
        ("CPU seconds for a gigabyte", cpu / extent.bulk as f64 * 1e9),
    ])
}

/// One stream whose echoes nobody reads, and two that go on: beside it in its session, and in another one.
async fn slow_reader(running: &Running, extent: &Extent) -> Result<Values, String> {
    let Opened { links, .. } = &load::open(&running.clients, Shape { connections: 2, sessions: 1 }).await?;
    let mut streams = load::open_streams(links, 2).await?;
    let [slow, beside, elsewhere, _] = &mut streams[..] else { unreachable!("two of each") };
    let quiet = (load::round_trip(beside, extent.echoes).await, load::round_trip(elsewhere, extent.echoes).await);
    let before = running.process.resident();
    let taken = load::fill(slow).await;
    let begun = Instant::now();
    let mut slowed = (0.0, 0.0);
    let mut highest = 0.0_f64;
    while slowed.0 == 0.0 || begun.elapsed() < extent.slow {
        slowed = (load::round_trip(beside, extent.echoes).await, load::round_trip(elsewhere, extent.echoes).await);
        highest = highest.max(grown(&running.process, before));
    }
    Ok(vec![
        ("octets on their way to a reader that does not read", taken as f64),
        ("octets that the proxy grew by", highest),
        ("echo beside it in its session, of what it took before", slowed.0 / quiet.0),
        ("echo in another session, of what it took before", slowed.1 / quiet.1),
    ])
}

fn grown(process: &Process, before: u64) -> f64 {
    process.resident() as f64 - before as f64
}
