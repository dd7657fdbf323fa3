//! Echoes in a closed loop: each tunnel sends its next message when one has come back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::frame::{FrameReader, PONG, Received, binary_message};
use super::{LoadArgs, Measured, Pid};
use crate::client::{Connection, Dialer, HttpVersion, Offer, Tunnel};

/// The longest latency that is told apart: longer ones count as this.
const MAX_LATENCY_MICROSECONDS: u64 = 60_000_000;
/// Latencies are kept to three digits.
const SIGNIFICANT_DIGITS: u8 = 3;

/// What came of a run.
#[derive(Debug, Serialize)]
pub(crate) struct EchoReport {
    http: &'static str,
    connections: u32,
    tunnels: u32,
    size: u32,
    messages: u64,
    seconds: f64,
    messages_per_second: f64,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    max_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_seconds_per_million: Option<f64>,
}

impl EchoReport {
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{}: {} echoes of {} octets on {} x {} tunnels in {:.2} s: {:.0} a second\n\
             latency: p50 {} us, p90 {} us, p99 {} us, max {} us\n",
            self.http,
            self.messages,
            self.size,
            self.connections,
            self.tunnels,
            self.seconds,
            self.messages_per_second,
            self.p50_us,
            self.p90_us,
            self.p99_us,
            self.max_us
        );
        if let (Some(cpu), Some(per_million)) = (self.cpu_seconds, self.cpu_seconds_per_million) {
            text.push_str(&format!("CPU: {cpu:.2} s, {per_million:.2} s a million echoes\n"));
        }
        text
    }
}

/// Opens everything, sends one message on each tunnel to warm up, and then measures.
pub(crate) async fn echo(
    dialer: &Dialer,
    offer: &Offer,
    version: HttpVersion,
    load: &LoadArgs,
    pid: Option<Pid>,
) -> anyhow::Result<Measured> {
    let opened = open(dialer, offer, version, load).await?;
    let tunnels = opened.tunnels.len() as u64;
    let latencies = Arc::new(Mutex::new(Histogram::new_with_max(MAX_LATENCY_MICROSECONDS, SIGNIFICANT_DIGITS)?));
    let message: Arc<[u8]> = binary_message(load.size as usize).into();
    // Nobody starts before everybody is warm, the one who looks at the clock included.
    let warm = Arc::new(Barrier::new(opened.tunnels.len() + 1));
    let start = Arc::new(Barrier::new(opened.tunnels.len() + 1));
    let mut tasks = JoinSet::new();
    for (index, tunnel) in opened.tunnels.into_iter().enumerate() {
        let share = load.messages / tunnels + u64::from((index as u64) < load.messages % tunnels);
        let mut echoer = Echoer::new(tunnel, Arc::clone(&message), load.size, Arc::clone(&latencies));
        let (warm, start, in_flight) = (Arc::clone(&warm), Arc::clone(&start), load.concurrency);
        tasks.spawn(async move {
            let warmed = echoer.run(1, 1, Recorded::No).await;
            warm.wait().await;
            start.wait().await;
            warmed?;
            echoer.run(share, in_flight, Recorded::Yes).await?;
            anyhow::Ok(echoer)
        });
    }
    warm.wait().await;
    let cpu_before = pid.map(Pid::cpu_seconds).transpose()?;
    let began = Instant::now();
    start.wait().await;
    // Tunnels are kept to the end, so that their ends are not measured.
    let mut done = Vec::new();
    while let Some(task) = tasks.join_next().await {
        done.push(task??);
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu_seconds = match (pid, cpu_before) {
        (Some(pid), Some(before)) => Some(pid.cpu_seconds()? - before),
        _ => None,
    };
    drop(done);
    futures::future::join_all(opened.connections.into_iter().map(Connection::close)).await;
    let latencies = latencies.lock().expect("no thread panics while it records");
    Ok(Measured::Echo(EchoReport {
        http: version.label(),
        connections: load.connections,
        tunnels: load.tunnels,
        size: load.size,
        messages: load.messages,
        seconds,
        messages_per_second: load.messages as f64 / seconds,
        p50_us: latencies.value_at_quantile(0.5),
        p90_us: latencies.value_at_quantile(0.9),
        p99_us: latencies.value_at_quantile(0.99),
        max_us: latencies.max(),
        cpu_seconds,
        cpu_seconds_per_million: cpu_seconds.map(|cpu| cpu * 1e6 / load.messages.max(1) as f64),
    }))
}

/// Connections with their tunnels.
pub(super) struct OpenedAll {
    pub(super) connections: Vec<Connection>,
    pub(super) tunnels: Vec<Tunnel>,
}

/// Opens every connection and every tunnel, connection by connection.
pub(super) async fn open(
    dialer: &Dialer,
    offer: &Offer,
    version: HttpVersion,
    load: &LoadArgs,
) -> anyhow::Result<OpenedAll> {
    let mut opened = OpenedAll { connections: Vec::new(), tunnels: Vec::new() };
    for number in 1..=load.connections {
        let label = version.label();
        let connection = Connection::connect(dialer, version).await;
        let connection = connection.with_context(|| format!("{label}: connection {number}"))?;
        for tunnel in 1..=load.tunnels {
            let offered = connection.open(offer).await;
            let offered = offered.with_context(|| format!("{label}: connection {number}, tunnel {tunnel}"))?;
            opened.tunnels.push(offered.tunnel);
        }
        opened.connections.push(connection);
    }
    Ok(opened)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Recorded {
    Yes,
    No,
}

struct Echoer {
    tunnel: Tunnel,
    reader: FrameReader,
    message: Arc<[u8]>,
    size: u64,
    latencies: Arc<Mutex<Histogram<u64>>>,
}

impl Echoer {
    fn new(tunnel: Tunnel, message: Arc<[u8]>, size: u32, latencies: Arc<Mutex<Histogram<u64>>>) -> Self {
        Self { tunnel, reader: FrameReader::new(), message, size: u64::from(size), latencies }
    }

    /// So many echoes, with at most so many messages under way.
    async fn run(&mut self, count: u64, in_flight: u32, recorded: Recorded) -> anyhow::Result<()> {
        let mut sent = VecDeque::new();
        let mut unsent = count;
        for _ in 0..count {
            while unsent > 0 && sent.len() < in_flight as usize {
                sent.push_back(Instant::now());
                unsent -= 1;
                self.tunnel.write_all(&self.message).await?;
                self.tunnel.flush().await?;
            }
            self.receive().await?;
            let sent = sent.pop_front().expect("a message was sent for every echo");
            if recorded == Recorded::Yes {
                let latency = sent.elapsed().as_micros() as u64;
                self.latencies.lock().expect("no thread panics while it records").saturating_record(latency);
            }
        }
        Ok(())
    }

    async fn receive(&mut self) -> anyhow::Result<()> {
        loop {
            match self.reader.next(&mut self.tunnel).await? {
                Received::Message(size) if size == self.size => return Ok(()),
                Received::Message(size) => bail!("sent {} octets and got {size} back: not an echo", self.size),
                Received::Ping => self.tunnel.write_all(&PONG).await?,
                Received::Close => bail!("the server closed a tunnel"),
            }
        }
    }
}
