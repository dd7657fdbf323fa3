//! What becomes of datagrams at a worker's socket, with packets that are written octet by octet and peers that are played.

use std::future::poll_fn;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use headrace_cid::{ServerId, Workers};
use headrace_table::wire::{Phase, Standing};

use super::*;
use crate::metrics::Metrics;
use crate::quic::outlet::{Entrance, Forwarder};
use crate::quic::scene::{cid, configuration, peer, server, table};
use crate::quic::{Pod, PodConfig};

/// No wait is longer: what takes longer than this is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a played forwarder was given.
#[derive(Debug, Default)]
struct Played {
    forwarded: Mutex<Vec<(ServerId, Vec<u8>)>>,
    answered: Mutex<Vec<Vec<u8>>>,
    is_gone: AtomicBool,
}

impl Forwarder for Played {
    fn forward(&self, owner: &ServerId, _port: u16, batch: &Batch<'_>) {
        self.forwarded.lock().unwrap().push((*owner, batch.octets.to_vec()));
    }

    fn answer(&self, _entrance: &Entrance, _port: u16, reply: &Transmit<'_>) -> bool {
        if self.is_gone.load(Ordering::Relaxed) {
            return false;
        }
        self.answered.lock().unwrap().push(reply.contents.to_vec());
        true
    }
}

/// Two workers of a pod that has a live peer, with a socket for each, and a client.
struct Scene {
    pod: Arc<Pod>,
    sockets: Vec<Arc<Socket>>,
    forwarder: Arc<Played>,
    client: UdpSocket,
    to: SocketAddr,
}

impl Scene {
    fn new() -> Self {
        let workers = Workers::new(2).unwrap();
        let pod = PodConfig { uid: Some("own".into()), ..PodConfig::default() };
        let pod = Arc::new(Pod::new(&pod, workers).unwrap());
        pod.adopt(&table(
            vec![configuration(0, Phase::Encoding)],
            vec![peer("own", 1, Standing::Live), peer("live", 2, Standing::Live), peer("next", 3, Standing::Draining)],
        ));
        let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = probe.local_addr().unwrap();
        drop(probe);
        let group = pod.group(to).unwrap();
        let (forwarder, metrics) = (Arc::new(Played::default()), Metrics::new());
        let sockets = (0..2).map(|index| {
            let worker = PodWorker::new(Arc::clone(&pod), index, &metrics, metrics.worker());
            worker.set_forwarder(Arc::clone(&forwarder) as Arc<dyn Forwarder>);
            Socket::new(Arc::clone(&group), Arc::new(worker)).unwrap()
        });
        let sockets = sockets.collect();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { pod, sockets, forwarder, client, to }
    }

    /// What a worker's endpoint gets of the next thing that happens to its socket: nothing, where all was given away.
    async fn next(&self, worker: usize) -> Vec<Vec<u8>> {
        let mut buffers = [vec![0; 65536], vec![0; 65536]];
        let mut meta = [RecvMeta::default(); 2];
        let socket = &self.sockets[worker];
        let received = poll_fn(|cx| {
            let mut slices = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
            socket.poll_recv(cx, &mut slices, &mut meta)
        });
        let count = tokio::time::timeout(PATIENCE, received).await.expect("something comes").unwrap();
        let mut datagrams = Vec::new();
        for (buffer, meta) in buffers.iter().zip(&meta).take(count) {
            let octets = &buffer[..meta.len];
            datagrams.extend(octets.chunks(meta.stride.max(1)).map(<[u8]>::to_vec));
        }
        datagrams
    }

    fn send(&self, packet: &[u8]) {
        self.client.send_to(packet, self.to).unwrap();
    }

    fn forwarded(&self) -> Vec<(ServerId, Vec<u8>)> {
        std::mem::take(&mut self.forwarder.forwarded.lock().unwrap())
    }

    async fn reply(&self, worker: usize, contents: &[u8]) {
        let mut poller = (Arc::clone(&self.sockets[worker]) as Arc<dyn AsyncUdpSocket>).create_io_poller();
        poll_fn(|cx| poller.as_mut().poll_writable(cx)).await.unwrap();
        let destination = self.client.local_addr().unwrap();
        let transmit = Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None };
        self.sockets[worker].try_send(&transmit).unwrap();
    }

    /// What came to the client directly.
    fn received(&self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let count = self.client.recv(&mut buffer).unwrap();
        buffer[..count].to_vec()
    }
}

/// A packet with a short header, of this server and worker.
fn short(owner: u64, worker: u8) -> Vec<u8> {
    let cid = (0..).map(|nonce| cid(owner, nonce)).find(|cid| cid.as_slice()[16] % 2 == worker).unwrap();
    [&[0x40][..], cid.as_slice(), &[7; 30]].concat()
}

/// A client's first packet, with an ID of its own choice that leads to this worker.
fn initial(number: u8, worker: u8) -> Vec<u8> {
    let cid = [0xf1, number, 3, 4, 5, 6, 7, 8 | worker];
    [&[0xc0, 0, 0, 0, 1, 8][..], &cid, &[0; 1180]].concat()
}

#[tokio::test]
async fn each_packet_goes_where_it_belongs() {
    let scene = Scene::new();
    scene.send(&short(1, 1));
    assert_eq!(scene.next(1).await, [short(1, 1)]);
    for owner in [2, 3] {
        scene.send(&short(owner, 0));
        assert_eq!(scene.next(0).await, Vec::<Vec<u8>>::new());
        assert_eq!(scene.forwarded(), [(server(owner), short(owner, 0))]);
    }
    // Nobody's, and a client's first.
    for packet in [short(9, 0), initial(1, 0)] {
        scene.send(&packet);
        assert_eq!(scene.next(0).await, [packet]);
    }
    assert!(scene.forwarded().is_empty());
}

#[tokio::test]
async fn what_a_peer_brings_is_shared_out_and_never_sent_on() {
    let scene = Scene::new();
    let flow = Flow { client: scene.client.local_addr().unwrap(), local_ip: None, ecn: None };
    let entrance = Some(Entrance { peer: server(2), steer: 0, local_ip: None });
    let bring = |packets: &[Vec<u8>]| {
        let octets = packets.concat().into();
        scene.pod.deliver(scene.to.port(), &Inbound { flow, stride: packets[0].len(), octets, entrance })
    };
    bring(&[short(1, 0), short(1, 1), short(1, 1)]).unwrap();
    assert_eq!(scene.next(0).await, [short(1, 0)]);
    assert_eq!(scene.next(1).await, [short(1, 1), short(1, 1)]);
    assert!(bring(&[short(2, 0)]).is_err(), "each takes the other for its owner");
    assert!(bring(&[short(1, 0), short(3, 0)]).is_err());
    assert_eq!(scene.next(0).await, [short(1, 0)], "what is ours of it comes in all the same");
    assert!(
        scene.pod.deliver(1, &Inbound { flow, stride: 9, octets: short(1, 0).into(), entrance }).is_err(),
        "no port"
    );
    assert!(scene.forwarded().is_empty());
}

#[tokio::test]
async fn replies_go_back_the_way_that_packets_came() {
    let scene = Scene::new();
    scene.reply(0, b"directly").await;
    assert_eq!(scene.received(), b"directly");

    let flow = Flow { client: scene.client.local_addr().unwrap(), local_ip: None, ecn: None };
    let entrance = Some(Entrance { peer: server(2), steer: 0, local_ip: None });
    let bring = || {
        let octets: Bytes = short(1, 0).into();
        scene.pod.deliver(scene.to.port(), &Inbound { flow, stride: octets.len(), octets, entrance }).unwrap();
    };
    bring();
    scene.next(0).await;
    scene.reply(0, b"through the peer").await;
    assert_eq!(*scene.forwarder.answered.lock().unwrap(), [b"through the peer".to_vec()]);

    // The balancer changes its mind.
    scene.send(&short(1, 0));
    scene.next(0).await;
    scene.reply(0, b"directly again").await;
    assert_eq!(scene.received(), b"directly again");

    // The peer goes away.
    bring();
    scene.next(0).await;
    scene.forwarder.is_gone.store(true, Ordering::Relaxed);
    scene.reply(0, b"there is nobody else").await;
    assert_eq!(scene.received(), b"there is nobody else");
    assert_eq!(scene.forwarder.answered.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn who_is_to_go_gives_new_connections_away_and_keeps_what_began() {
    let scene = Scene::new();
    scene.send(&initial(1, 0));
    assert_eq!(scene.next(0).await, [initial(1, 0)]);
    scene.pod.leave();
    scene.send(&initial(1, 0));
    assert_eq!(scene.next(0).await, [initial(1, 0)], "its handshake began here");
    scene.send(&initial(2, 0));
    assert!(scene.next(0).await.is_empty());
    assert_eq!(scene.forwarded(), [(server(2), initial(2, 0))], "the other is to go as well");
    scene.send(&short(1, 0));
    assert_eq!(scene.next(0).await, [short(1, 0)], "connections stay");
    // What a peer gives us is not given back.
    let flow = Flow { client: scene.client.local_addr().unwrap(), local_ip: None, ecn: None };
    let entrance = Some(Entrance { peer: server(2), steer: 0, local_ip: None });
    let octets: Bytes = initial(3, 0).into();
    scene.pod.deliver(scene.to.port(), &Inbound { flow, stride: octets.len(), octets, entrance }).unwrap();
    assert_eq!(scene.next(0).await, [initial(3, 0)]);
    assert!(scene.forwarded().is_empty());

    // Without anybody to take them, they are answered here.
    scene.pod.adopt(&table(vec![configuration(0, Phase::Encoding)], vec![peer("own", 1, Standing::Draining)]));
    scene.send(&initial(4, 0));
    assert_eq!(scene.next(0).await, [initial(4, 0)]);
}

#[tokio::test]
async fn a_worker_without_an_endpoint_is_answered_for() {
    let mut scene = Scene::new();
    let last = scene.sockets.pop().unwrap();
    drop(last);
    let inbound = Inbound {
        flow: Flow { client: scene.client.local_addr().unwrap(), local_ip: None, ecn: None },
        stride: 1200,
        octets: short(1, 1).into(),
        entrance: None,
    };
    assert!(scene.pod.deliver(scene.to.port(), &inbound).is_err());
    // The kernel still has its socket, so what is for it is not ours to see; what comes here by mistake is.
    let mut begun = Begun::default();
    let meta = RecvMeta::default();
    let membership = scene.pod.membership();
    let mut octets = short(1, 1);
    let length = octets.len();
    let meta = RecvMeta { stride: length, len: length, addr: scene.client.local_addr().unwrap(), ..meta };
    assert_eq!(scene.sockets[0].sort(&membership, &mut begun, &mut octets, &meta), length);
}

#[test]
fn a_batch_that_is_too_long_for_a_buffer_comes_in_parts() {
    let flow = Flow { client: "127.0.0.1:1".parse().unwrap(), local_ip: None, ecn: None };
    let inbound = |octets: &'static [u8], stride| Inbound { flow, stride, octets: octets.into(), entrance: None };
    type Case = (&'static [u8], usize, usize, &'static [&'static [u8]]);
    let cases: [Case; 5] = [
        (b"abcdef", 2, 6, &[b"abcdef"]),
        (b"abcdef", 2, 5, &[b"abcd", b"ef"]),
        (b"abcde", 2, 4, &[b"abcd", b"e"]),
        (b"abcdefg", 2, 3, &[b"ab", b"cd", b"efg"]),
        // One that nobody was told could be sent.
        (b"abcde", 4, 3, &[b""]),
    ];
    for (octets, stride, room, expected) in cases {
        let (mut rest, mut parts) = (Some(inbound(octets, stride)), Vec::new());
        while let Some(inbound) = rest.take() {
            let mut buffer = vec![0; room];
            let (meta, left) = fill(&mut buffer, inbound, |_| {});
            assert_eq!(meta.stride, stride);
            parts.push(buffer[..meta.len].to_vec());
            rest = left;
        }
        assert_eq!(parts, expected, "{octets:?} by {stride} into {room}");
    }
}
