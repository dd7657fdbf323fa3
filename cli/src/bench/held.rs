//! Tunnels that are held: idle ones, and ones that nobody reads.

use std::time::Duration;

use serde::Serialize;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};

use super::echo::{OpenedAll, open};
use super::frame::binary_message;
use super::process::Memory;
use super::{LoadArgs, Measured, Pid};
use crate::client::{Connection, Dialer, HttpVersion, Offer};

/// How often memory is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct HeldReport {
    mode: Mode,
    http: &'static str,
    connections: u32,
    tunnels: u32,
    seconds: u64,
    before: Memory,
    peak: Memory,
    after: Memory,
    octets_per_tunnel: f64,
    octets_per_connection: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Idle,
    SlowReader,
}

impl HeldReport {
    pub(super) fn text(&self) -> String {
        let mode = match self.mode {
            Mode::Idle => "idle",
            Mode::SlowReader => "unread",
        };
        let memory = |memory: &Memory| {
            let kib = |octets: u64| octets / 1024;
            format!("{} KiB ({} KiB anonymous)", kib(memory.rss_octets), kib(memory.anonymous_octets))
        };
        format!(
            "{}: {} x {} {mode} tunnels held for {} s\n\
             memory before: {}\nmemory at most: {}\nmemory at the end: {}\n\
             {:.1} KiB a tunnel, {:.1} KiB a connection\n",
            self.http,
            self.connections,
            self.tunnels,
            self.seconds,
            memory(&self.before),
            memory(&self.peak),
            memory(&self.after),
            self.octets_per_tunnel / 1024.0,
            self.octets_per_connection / 1024.0,
        )
    }
}

/// Opens everything and does nothing with it.
pub(super) async fn idle(
    dialer: &Dialer,
    offer: &Offer,
    version: HttpVersion,
    load: &LoadArgs,
    pid: Pid,
    time: Duration,
) -> anyhow::Result<Measured> {
    let before = pid.memory()?;
    let opened = open(dialer, offer, version, load).await?;
    let (peak, after) = watch(pid, time).await?;
    close(opened).await;
    Ok(report(Mode::Idle, version, load, time, before, peak, after))
}

/// Opens everything and reads nothing of what comes.
pub(super) async fn slow_reader(
    dialer: &Dialer,
    offer: &Offer,
    version: HttpVersion,
    load: &LoadArgs,
    pid: Pid,
    time: Duration,
    push: bool,
) -> anyhow::Result<Measured> {
    let OpenedAll { connections, mut tunnels } = open(dialer, offer, version, load).await?;
    let before = pid.memory()?;
    let message = binary_message(load.size as usize);
    let pushing = futures::future::join_all(tunnels.iter_mut().map(|tunnel| async {
        // Ends when the tunnel does; until then it blocks once nothing more fits anywhere.
        while push && tunnel.write_all(&message).await.is_ok() {}
        std::future::pending::<()>().await;
    }));
    let (peak, after) = tokio::select! {
        memory = watch(pid, time) => memory?,
        _ = pushing => unreachable!("a pusher waits for ever at its end, and there is at least one"),
    };
    close(OpenedAll { connections, tunnels }).await;
    Ok(report(Mode::SlowReader, version, load, time, before, peak, after))
}

/// The largest and the last of what is seen.
async fn watch(pid: Pid, time: Duration) -> anyhow::Result<(Memory, Memory)> {
    let end = Instant::now() + time;
    let mut peak = pid.memory()?;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        sleep(left.min(SAMPLE_INTERVAL)).await;
        let now = pid.memory()?;
        if now.rss_octets > peak.rss_octets {
            peak = now;
        }
        if left.is_zero() {
            return Ok((peak, now));
        }
    }
}

/// All at once: each waits for its server to have heard.
async fn close(opened: OpenedAll) {
    drop(opened.tunnels);
    futures::future::join_all(opened.connections.into_iter().map(Connection::close)).await;
}

fn report(
    mode: Mode,
    version: HttpVersion,
    load: &LoadArgs,
    time: Duration,
    before: Memory,
    peak: Memory,
    after: Memory,
) -> Measured {
    let grown = match mode {
        Mode::Idle => after.rss_octets as f64 - before.rss_octets as f64,
        Mode::SlowReader => peak.rss_octets as f64 - before.rss_octets as f64,
    };
    let connections = f64::from(load.connections);
    Measured::Held(HeldReport {
        mode,
        http: version.label(),
        connections: load.connections,
        tunnels: load.tunnels,
        seconds: time.as_secs(),
        before,
        peak,
        after,
        octets_per_tunnel: grown / (connections * f64::from(load.tunnels)),
        octets_per_connection: grown / connections,
    })
}
