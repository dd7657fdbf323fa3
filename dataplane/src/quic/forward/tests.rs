//! The hop of one worker, with real sockets on both sides and a peer that is played with headrace-hop alone.

use std::future::poll_fn;
use std::io::IoSliceMut;
use std::net::Ipv4Addr;
use std::time::Duration;

use headrace_cid::ServerId;
use headrace_hop::{Ecn, Envelope, FORWARDS_BURST, HEADER_LEN, Kind, Receiver, Sender};
use headrace_table::wire::{self, Phase, Standing};
use quinn::AsyncUdpSocket;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};

use super::*;
use crate::metrics::Metrics;
use crate::quic::outlet::{Batch, Entrance, Flow, Forwarder};
use crate::quic::scene::{cid, configuration, peer, server, table};
use crate::quic::{Pod, PodConfig};

/// No wait is longer: what takes longer than this is lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a runtime is left alone.
const SETTLED: Duration = Duration::from_millis(20);

/// The ports of clients' packets in these tests.
const PORT: u16 = 443;

/// A worker of the pod with server ID 1, and the hop's socket of the pod with server ID 2.
struct Scene {
    worker: PodWorker,
    metrics: Metrics,
    hop: Arc<Hop>,
    address: SocketAddr,
    peer: Arc<dyn AsyncUdpSocket>,
    _receiving: AbortOnDropHandle<()>,
}

/// What a socket received at once.
struct Received {
    octets: Vec<u8>,
    meta: RecvMeta,
}

fn free() -> SocketAddr {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn peers(first: SocketAddr, second: SocketAddr) -> Vec<wire::Peer> {
    let at =
        |id, number, hop: SocketAddr| wire::Peer { hop: Some(hop.to_string()), ..peer(id, number, Standing::Live) };
    vec![at("own", 1, first), at("peer", 2, second)]
}

impl Scene {
    async fn new(workers: usize) -> Self {
        let workers = Workers::new(workers).unwrap();
        let address = free();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let config = PodConfig { uid: Some("own".into()), hop_address: Some(address), ..PodConfig::default() };
        let pod = Arc::new(Pod::new(&config, workers).unwrap());
        pod.adopt(&table(vec![configuration(0, Phase::Encoding)], peers(address, socket.local_addr().unwrap())));
        let metrics = Metrics::new();
        let hop = pod.open_hop(true).unwrap().unwrap();
        let worker = PodWorker::new(pod, 0, &metrics, metrics.worker());
        let _receiving = hop.start(&worker).unwrap();
        let peer = TokioRuntime.wrap_udp_socket(socket).unwrap();
        // The runtime hears of new sockets that they can be written to when it has nothing else to do.
        tokio::time::sleep(SETTLED).await;
        Self { worker, metrics, hop, address, peer, _receiving }
    }

    fn forwarder(&self) -> &Arc<dyn Forwarder> {
        self.worker.forwarder().unwrap()
    }

    /// What the peer's socket has next.
    async fn received(&self) -> Received {
        let mut buffer = vec![0; 65_536];
        let mut meta = [RecvMeta::default()];
        let receiving = poll_fn(|cx| self.peer.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta));
        assert_eq!(tokio::time::timeout(PATIENCE, receiving).await.unwrap().unwrap(), 1);
        buffer.truncate(meta[0].len);
        Received { octets: buffer, meta: meta[0] }
    }

    /// The peer's roster, as its own table would give it.
    fn roster(&self) -> headrace_hop::Membership {
        let membership = self.worker.pod.membership();
        let mut roster = roster::roster(&membership).unwrap();
        let own = std::mem::replace(&mut roster.own, roster.peers[0]);
        roster.peers = vec![own];
        roster
    }

    /// Waits until a series has a value.
    async fn counts(&self, series: &str, expected: u64) {
        let line = format!("headrace_dataplane_{series} {expected}\n");
        let counted = async {
            while !self.metrics.encode().contains(&line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, counted).await;
        assert!(found.is_ok(), "no {line} in {}", self.metrics.encode());
    }
}

/// A client's datagrams back to back, for one connection of the peer.
fn datagrams(number: u64, stride: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    for at in 0..number {
        octets.push(0x40);
        octets.extend_from_slice(cid(2, 1).as_slice());
        octets.resize(stride * (at as usize + 1), at as u8);
    }
    octets
}

/// The series of what was sent to a peer.
fn sent(kind: &str, peer: ServerId, result: &str) -> String {
    format!("hop_sent_total{{kind=\"{kind}\",peer=\"{peer}\",result=\"{result}\"}}")
}

fn flow() -> Flow {
    Flow {
        client: "192.0.2.7:50000".parse().unwrap(),
        local_ip: Some("127.0.0.1".parse().unwrap()),
        ecn: Some(EcnCodepoint::Ect0),
    }
}

#[tokio::test]
async fn a_batch_goes_out_and_comes_in_as_one() {
    let scene = Scene::new(1).await;
    let octets = datagrams(5, 1_200);
    scene.forwarder().forward(&server(2), PORT, &Batch { flow: flow(), stride: 1_200, octets: &octets });
    let Received { octets: packets, meta } = scene.received().await;
    assert_eq!(meta.stride, 1_200 + OVERHEAD);
    assert_eq!(meta.ecn, Some(EcnCodepoint::Ect0), "the packet around it has the client's mark");
    let mut receiver = Receiver::default();
    receiver.adopt(&scene.roster());
    let mut found = Vec::new();
    for packet in packets.chunks(meta.stride) {
        let opened = receiver.open(packet).unwrap();
        let expected = Envelope {
            kind: Kind::Forward,
            steering: octets[17],
            answer: 0,
            ecn: Ecn::from_bits(2),
            client: flow().client,
            local: flow().local_ip,
            port: PORT,
        };
        assert_eq!(opened.header.envelope, expected);
        found.extend_from_slice(opened.datagram);
    }
    if scene.peer.max_transmit_segments() > 1 {
        assert_eq!(found, octets, "the kernel cuts batches, and puts them together again");
    } else {
        assert_eq!(found, octets[..1_200]);
    }
    scene.counts(&sent("forward", server(2), "sent"), 5).await;
}

#[tokio::test]
async fn a_reply_goes_by_the_entrance() {
    let scene = Scene::new(1).await;
    let contents = [vec![1; 1_352], vec![2; 1_352], vec![3; 40]].concat();
    let destination = flow().client;
    let reply = Transmit {
        destination,
        ecn: Some(EcnCodepoint::Ect0),
        contents: &contents,
        segment_size: Some(1_352),
        src_ip: Some("198.51.100.9".parse().unwrap()),
    };
    let entrance = Entrance { peer: server(2), steer: 9, local_ip: flow().local_ip };
    assert!(scene.forwarder().answer(&entrance, PORT, &reply));
    let Received { octets: packets, meta } = scene.received().await;
    let mut receiver = Receiver::default();
    receiver.adopt(&scene.roster());
    let opened = receiver.open(&packets[..meta.stride]).unwrap();
    let Envelope { kind, steering, client, local, port, .. } = opened.header.envelope;
    assert_eq!((kind, steering, client, local, port), (Kind::Return, 9, destination, flow().local_ip, PORT));
    assert_eq!(opened.datagram, &contents[..1_352]);
    scene.counts(&sent("return", server(2), "sent"), 3).await;
    // Who is no peer, or has gone, sends nothing for us.
    let nobody = Entrance { peer: server(7), steer: 0, local_ip: None };
    assert!(!scene.forwarder().answer(&nobody, PORT, &reply));
}

#[tokio::test]
async fn a_peer_gets_no_more_than_a_burst_at_once() {
    let scene = Scene::new(1).await;
    let octets = datagrams(2 * FORWARDS_BURST, 30);
    scene.forwarder().forward(&server(2), PORT, &Batch { flow: flow(), stride: 30, octets: &octets });
    scene.counts(&sent("forward", server(2), "limited"), FORWARDS_BURST).await;
    scene.forwarder().forward(&server(7), PORT, &Batch { flow: flow(), stride: 30, octets: &octets[..90] });
    scene.counts(&sent("forward", server(7), "no_way"), 3).await;
}

#[tokio::test]
async fn what_arrives_at_the_wrong_worker_is_handed_over_once_it_is_proved() {
    let scene = Scene::new(2).await;
    // The other worker does not run: what is handed over to it stays in its queue.
    let mut queue = scene.hop.members[1].taken.lock().unwrap().take().unwrap();
    let workers = Workers::new(1).unwrap();
    let mut sender = Sender::new(Boot::new(0, 1, [1; 6]), workers.worker(0).unwrap());
    sender.adopt(&scene.roster());
    let envelope = Envelope {
        kind: Kind::Forward,
        steering: 1,
        answer: 0,
        ecn: Ecn::default(),
        client: flow().client,
        local: None,
        port: PORT,
    };
    let mut packet = Vec::new();
    sender.seal(&server(1), &envelope, b"datagram", 8, &mut packet).unwrap();
    // As from a kernel that does not steer: by the first worker's own socket.
    let receiving = Receiving::new(Arc::clone(&scene.peer), mpsc::channel(1).1, &scene.worker, Arc::clone(&scene.hop));
    let running = AbortOnDropHandle::new(tokio::spawn(receiving.run()));
    let to = scene.peer.local_addr().unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut forged = packet.clone();
    forged[HEADER_LEN] ^= 1;
    socket.send_to(&forged, to).unwrap();
    scene.counts("hop_dropped_total{reason=\"wrong_tag\"}", 1).await;
    socket.send_to(&packet, to).unwrap();
    let taken = tokio::time::timeout(PATIENCE, queue.recv()).await.unwrap();
    assert_eq!(taken, Some(Bytes::from(packet)));
    scene.counts("hop_handed_over_total{result=\"taken\"}", 1).await;
    drop(running);
    assert_eq!(scene.address, scene.hop.members[0].socket.local_addr().unwrap());
}
