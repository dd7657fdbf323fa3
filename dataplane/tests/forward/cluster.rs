//! Pods of a pod set: data planes at 127.0.0.1, 127.0.0.2 and so on, that know each other by their tables. Every tunnel is
//! answered with what it sends.

use std::net::{Ipv4Addr, SocketAddr};

use headrace_cid::{Config, ConfigId, ConnectionId, Key, Layout, LowBits, Nonce, ServerId};
use headrace_dataplane::{DataPlane, PodConfig};
use headrace_table::{Table, wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::certificates::Credential;
use crate::patience::within;
use crate::port::free_port;
use crate::raw::{Raw, switch};
use crate::table::{backend, forward, https, route};

/// The id of the listener.
const LISTENER: &str = "test/edge/https";

/// The key of configuration 0.
pub(crate) const KEY: [u8; 16] = [0x42; 16];

/// A secret of a table.
pub(crate) fn secret(id: u32) -> wire::Secret {
    wire::Secret { id, octets: format!("{id:064x}") }
}

/// The server ID of a pod, by its place.
pub(crate) fn server_id(pod: usize) -> u64 {
    0xab00 + pod as u64
}

/// An ID of a pod that no connection has.
pub(crate) fn cid(pod: usize, nonce: u8) -> ConnectionId {
    let config = Config::encrypted(ConfigId::FIRST, Layout::SINGLE_BLOCK, LowBits::Random, Key::from(KEY));
    let server = ServerId::try_from(&server_id(pod).to_be_bytes()[..]).unwrap();
    let nonce = Nonce::try_from(&[0xff, 0xff, 0xff, 0, 0, 0, 0, nonce][..]).unwrap();
    config.encode(&server, &nonce, 0).unwrap()
}

/// A packet with a short header and this destination.
pub(crate) fn packet(cid: &[u8], len: usize) -> Vec<u8> {
    let mut packet = vec![0x40];
    packet.extend_from_slice(cid);
    packet.resize(len, 0x55);
    packet
}

/// A running data plane.
pub(crate) struct Pod {
    plane: DataPlane,
    pub(crate) address: SocketAddr,
    pub(crate) hop: SocketAddr,
    admin: SocketAddr,
}

/// Several, which share one table.
pub(crate) struct Cluster {
    pub(crate) pods: Vec<Pod>,
    echo: Raw,
    pub(crate) table: wire::Table,
}

impl Pod {
    fn start(place: usize, port: u16, hop_port: u16, workers: usize, kernel_steering: bool) -> Self {
        let ip = Ipv4Addr::new(127, 0, 0, 1 + u8::try_from(place).unwrap());
        let hop = SocketAddr::from((ip, hop_port));
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let pod =
            PodConfig { uid: Some(uid(place).into()), hop_address: Some(hop), kernel_steering, ..PodConfig::default() };
        let config = headrace_dataplane::Config {
            workers,
            bind: vec![ip.into()],
            admin: Some(admin),
            pod,
            ..headrace_dataplane::Config::default()
        };
        let plane = DataPlane::start(config).unwrap();
        Self { plane, address: SocketAddr::from((ip, port)), hop, admin }
    }

    pub(crate) async fn publish(&self, table: &wire::Table) {
        let published = within("publish", self.plane.publish(Table::try_from(table.clone()).unwrap())).await;
        assert!(published.unbound.is_empty() && published.certificates.is_empty(), "{published:?}");
    }

    /// The sum of all series of a family whose labels have these parts, between commas; the family without the prefix of all.
    pub(crate) async fn metric(&self, family: &str, part: &str) -> f64 {
        let scrape = within("the admin server", async {
            let mut stream = TcpStream::connect(self.admin).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        })
        .await;
        let family = format!("headrace_dataplane_{family}{{");
        let series = scrape.lines().filter_map(|line| line.strip_prefix(&family)?.split_once("} "));
        let parts = |labels: &str| part.split(',').all(|part| labels.contains(part));
        let values: Vec<f64> =
            series.filter(|(labels, _)| parts(labels)).map(|(_, value)| value.parse().unwrap()).collect();
        assert!(!values.is_empty(), "no series of {family} has {part}");
        values.iter().sum()
    }

    /// Packets that were dropped for a reason.
    pub(crate) async fn dropped(&self, reason: &str) -> f64 {
        self.metric("hop_dropped_total", &format!("reason=\"{reason}\"")).await
    }

    /// Datagrams that went to peers, and packets that came from them.
    pub(crate) async fn forwarded(&self) -> (f64, f64) {
        let sent = self.metric("hop_sent_total", "kind=\"forward\",result=\"sent\"").await;
        (sent, self.metric("hop_received_total", "kind=\"forward\"").await)
    }
}

/// The UID by which tables name a pod.
pub(crate) fn uid(place: usize) -> String {
    format!("uid-{place}")
}

fn keys() -> wire::Keys {
    wire::Keys {
        id: wire::KEYS_ID.to_owned(),
        revision: 1,
        configurations: vec![wire::Configuration {
            number: 0,
            phase: wire::Phase::Encoding,
            form: wire::Form::Encrypted,
            server_id_octets: 8,
            nonce_octets: 8,
            key: KEY.iter().map(|octet| format!("{octet:02x}")).collect(),
        }],
        hop: vec![secret(1)],
        reset: secret(2),
        tokens: vec![secret(3)],
        tickets: vec![secret(4)],
    }
}

impl Cluster {
    /// Of so many pods with two workers each.
    pub(crate) async fn start(pods: usize, kernel_steering: bool) -> Self {
        let (port, hop_port) = (free_port(), free_port());
        // Pods of unlike machines have unlike numbers of workers.
        let pods = (0..pods).map(|place| Pod::start(place, port, hop_port, 2 + place % 2, kernel_steering));
        let pods: Vec<_> = pods.collect();
        let echo = Raw::start(|mut stream, _| async move {
            switch(&mut stream, "", b"").await;
            let (mut from, mut to) = stream.split();
            // Ends when the data plane does.
            let _ended = tokio::io::copy(&mut from, &mut to).await;
        })
        .await;
        let credential = Credential::common();
        let peer = |(place, pod): (usize, &Pod)| wire::Peer {
            id: uid(place),
            pod: format!("pod-{place}"),
            server_id: format!("{:016x}", server_id(place)),
            allotment: 0,
            hop: Some(pod.hop.to_string()),
            standing: wire::Standing::Live,
        };
        let table = wire::Table {
            listeners: vec![https(LISTENER, port, &credential.id)],
            routes: vec![route("HTTPRoute/test/route", &[LISTENER], vec![forward("/", "echo")])],
            backends: vec![backend("echo", &[echo.address])],
            certificates: vec![credential.wire()],
            keys: Some(keys()),
            peers: pods.iter().enumerate().map(peer).collect(),
        };
        Self { pods, echo, table }
    }

    /// One that serves, each pod with the same table.
    pub(crate) async fn serving(pods: usize, kernel_steering: bool) -> Self {
        let cluster = Self::start(pods, kernel_steering).await;
        cluster.publish().await;
        cluster
    }

    pub(crate) async fn publish(&self) {
        assert!(self.echo.address.port() > 0);
        for pod in &self.pods {
            pod.publish(&self.table).await;
        }
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.pods.iter().map(|pod| pod.address).collect()
    }

    /// Datagrams and packets of all pods that were lost on the hop, for whatever reason.
    pub(crate) async fn lost(&self) -> Vec<(usize, &'static str, f64)> {
        let mut lost = Vec::new();
        for (place, pod) in self.pods.iter().enumerate() {
            for reason in ["malformed", "unknown_", "earlier_boot", "wrong_tag", "replayed", "looped"] {
                lost.push((place, reason, pod.metric("hop_dropped_total", reason).await));
            }
            for result in ["limited", "no_way", "unsealed"] {
                lost.push((place, result, pod.metric("hop_sent_total", result).await));
            }
        }
        lost.retain(|(_, _, count)| *count > 0.0);
        lost
    }
}
