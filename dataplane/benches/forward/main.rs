//! What it costs that a connection's packets come to the wrong place: one connection direct, handed over from worker to
//! worker of a pod, and forwarded from pod to pod, in turns and side by side. `cargo bench --bench forward`.
//!
//! Pods are those of the tests of forwarding, in this process and at addresses of their own on the loopback. CPU time is
//! that of their threads, as the scheduler counts it, so that neither the client nor the backend is in it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and prints what it found"
)]

#[path = "../../tests/proxy/stage/certificates.rs"]
#[allow(dead_code, reason = "shared with tests")]
mod certificates;
mod client;
#[path = "../../tests/forward/cluster.rs"]
#[allow(dead_code, reason = "shared with tests")]
mod cluster;
mod cpu;
#[path = "../../tests/proxy/patience.rs"]
#[allow(dead_code, reason = "shared with tests")]
mod patience;
#[path = "../../tests/proxy/stage/port.rs"]
mod port;
#[path = "../../tests/proxy/backend/raw.rs"]
#[allow(dead_code, reason = "shared with tests")]
mod raw;
mod report;
#[path = "../../tests/proxy/stage/table.rs"]
#[allow(dead_code, reason = "shared with tests")]
mod table;

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::runtime::Builder;

use self::client::Client;
use self::cluster::{Cluster, cid};
use self::cpu::Pods;
use self::report::{Sample, Way};

/// What the shared parts ask of whoever includes them.
const PUBLIC_HTTPS: u16 = 9443;
const PUBLIC_HTTP: u16 = 9080;

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Turns of every way, of which the median is taken.
const ROUNDS: u8 = 5;

/// Octets that go to the backend and come back.
const TRANSFER: usize = 48 << 20;

/// Octets before anything is counted: the path's capacity and its largest datagram are known then.
const WARM_UP: usize = 4 << 20;

/// Echoes of one turn, and octets of each.
const ECHOES: usize = 5_000;
const ECHO: usize = 64;

/// How often a client moves at most, until its packets come to the wrong worker: every other time, by chance.
const MOVES: usize = 64;

/// Two pods.
struct Stage {
    cluster: Cluster,
    pods: Pods,
}

impl Stage {
    fn start(kernel_steering: bool) -> Self {
        // On a thread of its own, so that the backend does not wait for the client, and for as long as the process lives.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        let before = cpu::workers();
        let cluster = handle.block_on(Cluster::serving(2, kernel_steering));
        Self { pods: Pods::since(&before), cluster }
    }

    /// Datagrams that took the long way so far, from worker to worker or from pod to pod.
    async fn detours(&self) -> f64 {
        let [owner, entry] = &self.cluster.pods[..] else { unreachable!("there are two") };
        owner.metric("quic_handed_over_total", "taken").await + entry.forwarded().await.0
    }
}

fn main() {
    let (steered, unsteered) = (Stage::start(true), Stage::start(false));
    let mut samples = Vec::new();
    for round in 0..ROUNDS {
        for way in Way::ALL {
            let stage = if way == Way::HandedOver { &unsteered } else { &steered };
            let sample = turn(stage, way, round);
            eprintln!("round {round}, {way:?}: {sample:?}");
            samples.push((way, sample));
        }
    }
    report::print(&samples);
}

/// A connection's life.
fn turn(stage: &Stage, way: Way, round: u8) -> Sample {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let addresses = stage.cluster.addresses();
        let mut client = match way {
            Way::Direct | Way::HandedOver => Client::connect(addresses[0], None).await,
            // It looks as if it belonged to the first pod, and comes to the second: so does all that follows.
            Way::Forwarded => Client::connect(addresses[1], Some(cid(0, round))).await,
        };
        if way == Way::HandedOver {
            to_the_wrong_worker(stage, &mut client).await;
        }
        client.transfer(WARM_UP).await;
        let detours = stage.detours().await;
        let (before, datagrams) = (stage.pods.cpu(), client.datagrams());
        let seconds = client.transfer(TRANSFER).await;
        let (cpu, datagrams) = (stage.pods.cpu().since(&before), client.datagrams() - datagrams);
        let lost = client.lost();
        let round_trips = client.round_trips(ECHOES, ECHO).await;
        let detours = stage.detours().await - detours;
        match way {
            Way::Direct => assert_eq!(detours, 0.0, "packets came to the wrong place"),
            _ => assert!(detours > datagrams as f64 / 4.0, "{detours} of {datagrams} datagrams took the long way"),
        }
        Sample::new(TRANSFER, seconds, datagrams, lost, cpu, round_trips)
    })
}

/// Moves until the kernel brings the client's packets to another worker than the connection's.
async fn to_the_wrong_worker(stage: &Stage, client: &mut Client) {
    for _ in 0..MOVES {
        let before = stage.detours().await;
        client.transfer(ECHO * 1024).await;
        // More than the first few of a connection.
        if stage.detours().await - before > 16.0 {
            return;
        }
        client.moves();
        client.transfer(ECHO).await;
    }
    panic!("the kernel brings every packet to its worker");
}
