//! Floods at line rate: what one core can send, for a while, of packets that belong to nobody.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::client::Running;
use headrace_e2e::{Reached as _, client};
use serde_json::json;

use crate::network::{client as address_of_client, inside};
use crate::relay::Relay;
use crate::stage::{HOST, Stage};
use crate::table::HOP_PORT;

/// How long each flood lasts.
const FLOOD: Duration = Duration::from_secs(3);

/// Octets of a packet: as many as a client's first.
const PACKET_OCTETS: usize = 1200;

/// Octets of a connection ID.
const CID_OCTETS: usize = 17;

/// Tunnels that echo meanwhile.
const TUNNELS: usize = 4;

/// How often the client of those moves, and how long it waits in between: it is there for as long as the flood.
const MOVES: usize = 4;
const INTERVAL_MS: usize = 1_000;

/// What a flood did.
struct Flood {
    packets: u64,
    /// CPU seconds of the pod that was flooded, and of its peer, in a second.
    cpu: [f64; 2],
}

/// IDs that nobody has drawn: none is a peer's, and the peer does not notice.
#[test]
fn of_random_ids() -> Result<()> {
    inside("floods::of_random_ids", || {
        let stage = Stage::start(2)?;
        let relay = stage.relay(&[1])?;
        let tunnels = Tunnels::open(&stage, &relay, 1)?;
        let mut random = Random(1);
        let flood = flood(&stage, stage.pods[0].address, |packet| {
            packet[1..25].copy_from_slice(&random.octets());
        })?;
        let forwarded = stage.pods[0].metric("hop_sent_total", &["kind=\"forward\""])?;
        let undecodable = stage.pods[0].metric("quic_undecodable_total", &[])?;
        tunnels.finish()?;
        let [own, peer] = flood.cpu;
        println!(
            "random IDs: {} packets in {FLOOD:?}, {undecodable} of them read, {forwarded} forwarded; {own:.2} cores of the \
             pod, {peer:.2} of its peer, whose tunnels went on",
            flood.packets,
        );
        ensure!(undecodable > 10_000.0, "{undecodable} of {} packets arrived", flood.packets);
        assert_eq!((forwarded, stage.pods[1].metric("hop_received_total", &[])?), (0.0, 0.0));
        stage.nothing_refused()
    })
}

/// The ID of a connection that lives, in packets that are not its client's, at another pod than its own: they are
/// forwarded, within a bound, and the connection survives.
#[test]
fn of_a_live_id() -> Result<()> {
    inside("floods::of_a_live_id", || {
        let stage = Stage::start(2)?;
        let relay = stage.relay(&[1])?;
        let tunnels = Tunnels::open(&stage, &relay, 1)?;
        let last = relay.last_packet();
        let cid = last.get(1..=CID_OCTETS).context("the client has sent nothing")?;
        let mut random = Random(2);
        let flood = flood(&stage, stage.pods[0].address, |packet| {
            packet[1..=CID_OCTETS].copy_from_slice(cid);
            packet[CID_OCTETS + 1..][..24].copy_from_slice(&random.octets());
        })?;
        let sent = |result| stage.pods[0].metric("hop_sent_total", &["kind=\"forward\"", result]);
        let (forwarded, limited) = (sent("result=\"sent\"")?, sent("result=\"limited\"")?);
        let taken = stage.pods[1].metric("hop_received_total", &["kind=\"forward\""])?;
        tunnels.finish()?;
        let [own, peer] = flood.cpu;
        println!(
            "a live ID: {} packets in {FLOOD:?}, {forwarded} forwarded, {limited} over the limit, {taken} taken; \
             {own:.2} cores of the pod, {peer:.2} of its peer, whose tunnels went on",
            flood.packets,
        );
        ensure!(forwarded > 0.0 && taken > 0.0, "the ID is that of a live connection");
        stage.nothing_refused()
    })
}

/// At the port where pods take packets of each other, from somebody who is none.
#[test]
fn at_the_hop() -> Result<()> {
    inside("floods::at_the_hop", || {
        let stage = Stage::start(2)?;
        let relay = stage.relay(&[1])?;
        let tunnels = Tunnels::open(&stage, &relay, 1)?;
        let mut random = Random(3);
        let to = SocketAddr::new(stage.pods[0].address.ip(), HOP_PORT);
        let flood = flood(&stage, to, |packet| packet[..24].copy_from_slice(&random.octets()))?;
        let dropped = stage.pods[0].metric("hop_dropped_total", &[])?;
        tunnels.finish()?;
        let [own, peer] = flood.cpu;
        println!(
            "at the hop: {} packets in {FLOOD:?}, {dropped} of them read and dropped; {own:.2} cores of the pod, {peer:.2} \
             of its peer, whose tunnels went on",
            flood.packets,
        );
        ensure!(dropped > 10_000.0, "{dropped} of {} packets arrived", flood.packets);
        assert_eq!(stage.pods[0].metric("hop_received_total", &[])?, 0.0);
        Ok(())
    })
}

/// Sends as fast as this thread can.
fn flood(stage: &Stage, to: SocketAddr, mut fill: impl FnMut(&mut [u8])) -> Result<Flood> {
    let socket = UdpSocket::bind((address_of_client(100), 0))?;
    socket.connect(to)?;
    let before = [stage.pods[0].cpu_seconds()?, stage.pods[1].cpu_seconds()?];
    // With a short header (RFC 9000 section 17.3).
    let (begun, mut packets, mut packet) = (Instant::now(), 0, [0x40; PACKET_OCTETS]);
    while begun.elapsed() < FLOOD {
        fill(&mut packet);
        // A full buffer loses it, as does a pod that refuses by ICMP.
        packets += u64::from(socket.send(&packet).is_ok());
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = |place: usize| Ok::<_, anyhow::Error>((stage.pods[place].cpu_seconds()? - before[place]) / seconds);
    Ok(Flood { packets, cpu: [cpu(0)?, cpu(1)?] })
}

/// Octets of chance enough, the same in every run, and cheaper than a packet (xorshift).
struct Random(u64);

impl Random {
    /// As many as cover an ID, or what matters of a header.
    fn octets(&mut self) -> [u8; 24] {
        let mut octets = [0; 24];
        for word in octets.chunks_exact_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_be_bytes());
        }
        octets
    }
}

/// aioquic with tunnels that echo while a flood is on.
struct Tunnels(Running);

impl Tunnels {
    /// Opens them at a pod.
    fn open(stage: &Stage, relay: &Relay, place: usize) -> Result<Self> {
        let url = format!("https://{HOST}:{}", relay.address.port());
        let (address, ca) = (relay.address.ip().to_string(), stage.ca());
        let [tunnels, moves, interval] = [TUNNELS, MOVES, INTERVAL_MS].map(|number| number.to_string());
        let arguments = ["--url", &url, "--address", &address, "--ca", ca.to_str().context("a strange name")?];
        let more = ["--tunnels", &tunnels, "--moves", &moves, "--interval-ms", &interval];
        let running = client::start(stage, "tunnels", "moves.py", &[&arguments[..], &more].concat())?;
        let deadline = Instant::now() + FLOOD * 10;
        while stage.pods[place].metric("tunnels_open", &[])? < TUNNELS as f64 {
            ensure!(Instant::now() < deadline, "tunnels do not open\n{}", stage.tails());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self(running))
    }

    /// Waits until the client is done, and judges what it saw.
    fn finish(self) -> Result<()> {
        let seen = self.0.finish()?;
        assert_eq!((&seen["wrong"], &seen["ends"]), (&json!([]), &json!(vec!["1000 fin"; TUNNELS])), "{seen}");
        assert_eq!(seen["connectionLost"], false, "{seen}");
        Ok(())
    }
}
