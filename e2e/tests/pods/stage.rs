//! Pods, the backend behind them and the publisher of their table, on a network of their own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use headrace_e2e::ca::{CertificateAuthority, Leaf};
use headrace_e2e::probe::metric;
use headrace_e2e::{Process, Reached, headrace};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::network::{self, Namespace, TEST};
use crate::publisher::Publisher;
use crate::relay::Relay;
use crate::table::{HOP_PORT, PORT, Peer, Standing, sections};

/// The guard of the demo backend's start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The name that certificates are for.
pub(crate) const HOST: &str = "localhost";

/// Where pods tell of themselves.
const ADMIN_PORT: u16 = 9090;

/// A pod that runs.
pub(crate) struct Pod {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    /// Ends after the process.
    _namespace: Namespace,
}

/// All of it. What is dropped first ends first.
pub(crate) struct Stage {
    pub(crate) pods: Vec<Pod>,
    peers: Vec<Peer>,
    publisher: Publisher,
    demo: Process,
    backend: SocketAddr,
    leaf: Leaf,
    ca: CertificateAuthority,
    directory: TempDir,
    pub(crate) runtime: Runtime,
}

impl Stage {
    /// So many pods that serve, each with two workers.
    pub(crate) fn start(count: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let directory = TempDir::with_prefix("headrace-pods-")?;
        let ca = CertificateAuthority::create(directory.path())?;
        let leaf = ca.leaf(&[HOST])?;
        let mut demo = Command::new(headrace::binary("headrace-demo", "HEADRACE_DEMO_BIN")?);
        let mut demo = Process::start("demo", demo.arg("--listen").arg(format!("{TEST}:0")), directory.path())?;
        let port = demo.wait_for_line(START_TIMEOUT, |line| line.rsplit_once(':')?.1.parse().ok())?;
        let publisher = runtime.block_on(Publisher::start((TEST, 0).into(), &leaf))?;
        let uid = |place| format!("9b1c6f4e-0000-4000-8000-00000000000{place}");
        let peer = |place| Peer { uid: uid(place), address: network::pod(place), standing: Standing::Live };
        let peers: Vec<Peer> = (0..count).map(peer).collect();
        let pods = (0..count).map(|place| Pod::start(place, &peers[place], &publisher, &ca, directory.path()));
        let pods = pods.collect::<Result<_>>()?;
        let backend = (TEST, port).into();
        let stage = Self { pods, peers, publisher, demo, backend, leaf, ca, directory, runtime };
        stage.publish().with_context(|| stage.tails())?;
        Ok(stage)
    }

    /// Publishes the table as it is now to all pods that live.
    fn publish(&self) -> Result<()> {
        let live = self.peers.iter().filter(|peer| peer.standing == Standing::Live);
        let live: Vec<String> = live.map(|peer| peer.uid.clone()).collect();
        let sections = sections(&self.leaf, self.backend, &self.peers);
        self.runtime.block_on(self.publisher.publish(sections, &live))
    }

    /// Tells all others that a pod is gone.
    pub(crate) fn bury(&mut self, place: usize) -> Result<()> {
        self.peers[place].standing = Standing::Gone;
        self.publish()
    }

    /// The hash of the key of the pods' certificate, by which Chromium is told to trust it.
    pub(crate) fn spki_sha256(&self) -> String {
        self.ca.spki_sha256()
    }

    /// A relay that sprays over these pods.
    pub(crate) fn relay(&self, places: &[usize]) -> Result<Relay> {
        self.runtime.block_on(Relay::start(self.addresses(places)))
    }

    pub(crate) fn addresses(&self, places: &[usize]) -> Vec<SocketAddr> {
        places.iter().map(|place| self.pods[*place].address).collect()
    }

    /// A metric of every pod, summed over all label sets that contain every given text.
    pub(crate) fn metrics(&self, name: &str, labels: &[&str]) -> Result<Vec<f64>> {
        self.pods.iter().map(|pod| pod.metric(name, labels)).collect()
    }

    /// What pods forwarded to each other: what each gave away, and what each was given.
    pub(crate) fn forwarded(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        let sent = self.metrics("hop_sent_total", &["kind=\"forward\"", "result=\"sent\""])?;
        Ok((sent, self.metrics("hop_received_total", &["kind=\"forward\""])?))
    }

    /// Fails where packets were refused, or lost for a reason that is not the network's.
    pub(crate) fn nothing_refused(&self) -> Result<()> {
        for reason in ["malformed", "unknown_", "earlier_boot", "wrong_tag", "replayed", "looped"] {
            let dropped = self.metrics("hop_dropped_total", &[&format!("reason=\"{reason}")])?;
            anyhow::ensure!(dropped.iter().all(|count| *count == 0.0), "{reason}: {dropped:?}");
        }
        Ok(())
    }

    /// What everybody has said, for a failure's message.
    pub(crate) fn tails(&self) -> String {
        let mut text = format!("=== demo ===\n{}\n", self.demo.tail());
        for pod in &self.pods {
            text += &format!("=== pod {} ===\n{}\n", pod.address, pod.process.tail());
        }
        text
    }
}

impl Reached for Stage {
    fn ca(&self) -> PathBuf {
        self.ca.certificate().to_owned()
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Pod {
    fn start(place: usize, peer: &Peer, publisher: &Publisher, ca: &CertificateAuthority, at: &Path) -> Result<Self> {
        let namespace = Namespace::with(peer.address)?;
        let name = format!("pod-{place}");
        // The publisher knows a pod by its token, and this test by its UID.
        let token = at.join(format!("{name}.token"));
        std::fs::write(&token, &peer.uid)?;
        let mut command = namespace.command(headrace::binary("headrace-dataplane", "HEADRACE_DATAPLANE_BIN")?);
        command.arg("--controller").arg(publisher.address.to_string());
        command.arg("--ca-file").arg(ca.certificate()).arg("--token-file").arg(&token);
        command.arg("--table-directory").arg(at.join(&name)).args(["--workers", "2", "--pod-uid", &peer.uid]);
        command.arg("--hop-address").arg(format!("0.0.0.0:{HOP_PORT}"));
        command.arg("--admin-address").arg(format!("0.0.0.0:{ADMIN_PORT}")).args(["--bind", "0.0.0.0"]);
        let process = Process::start(&name, &mut command, at)?;
        let address = (peer.address, PORT).into();
        Ok(Self { process, address, admin: (peer.address, ADMIN_PORT).into(), _namespace: namespace })
    }

    /// A metric, by its name without the prefix of all, summed over all label sets that contain every given text.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        metric(self.admin, &format!("headrace_dataplane_{name}"), labels)
    }

    /// Waits until a metric passes a test.
    pub(crate) fn wait_for(&mut self, name: &str, labels: &[&str], test: impl Fn(f64) -> bool) -> Result<()> {
        let (admin, full) = (self.admin, format!("headrace_dataplane_{name}"));
        let passes = |_: &Process| metric(admin, &full, labels).is_ok_and(&test).then_some(());
        self.process.wait_until(START_TIMEOUT, passes).with_context(|| format!("{name} is never as expected"))
    }

    /// CPU seconds of the process so far, user and system (proc(5)).
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let fields: Vec<&str> = stat.rsplit_once(") ").context("no stat")?.1.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(ticks as f64 / TICKS_PER_SECOND)
    }
}

/// `USER_HZ`, which Linux has kept at 100 on every machine that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;
