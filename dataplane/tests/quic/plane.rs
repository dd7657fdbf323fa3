//! A data plane on free ports of the loopback, behind which every tunnel is answered with what it sends.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use headrace_dataplane::{Config, DataPlane, DrainReport, PodConfig, Published, Retry};
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

/// The UID by which tables of tests name the data plane.
pub(crate) const UID: &str = "5d2a";

/// The UID of one at an address of its own.
pub(crate) const OTHER_UID: &str = "77c1";

/// The key of configuration 0 in tables of tests.
pub(crate) const KEY: [u8; 16] = [0x42; 16];

/// How a data plane of a test runs.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) workers: usize,
    pub(crate) kernel_steering: bool,
    pub(crate) retry: Retry,
    /// Where it serves, if not at a port of its own: it has [`OTHER_UID`] then.
    pub(crate) at: Option<SocketAddr>,
    /// Whether it takes packets of other pods.
    pub(crate) has_hop: bool,
    pub(crate) drain_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let drain_timeout = Duration::from_secs(5);
        Self { workers: 4, kernel_steering: true, retry: Retry::Never, at: None, has_hop: false, drain_timeout }
    }
}

/// A running data plane.
pub(crate) struct Plane {
    plane: DataPlane,
    echo: Raw,
    address: SocketAddr,
    hop: Option<SocketAddr>,
    admin: SocketAddr,
}

/// A pod in a table.
pub(crate) fn peer(id: &str, server_id: &str, standing: wire::Standing) -> wire::Peer {
    let (id, server_id) = (id.to_owned(), server_id.to_owned());
    wire::Peer { pod: format!("pod-{id}"), id, server_id, allotment: 0, hop: None, standing }
}

/// Keys with one configuration, which encodes.
pub(crate) fn keys() -> wire::Keys {
    keys_with(1, &[(0, wire::Phase::Encoding)])
}

/// Keys with these configurations.
pub(crate) fn keys_with(revision: u64, phases: &[(u8, wire::Phase)]) -> wire::Keys {
    let secret = |id: u32| wire::Secret { id, octets: format!("{id:064x}") };
    let configurations = phases.iter().map(|(number, phase)| wire::Configuration {
        number: *number,
        phase: *phase,
        form: wire::Form::Encrypted,
        server_id_octets: 8,
        nonce_octets: 8,
        key: KEY.iter().map(|octet| format!("{:02x}", octet ^ number)).collect(),
    });
    wire::Keys {
        id: wire::KEYS_ID.to_owned(),
        revision,
        configurations: configurations.collect(),
        hop: vec![secret(1)],
        reset: secret(2),
        tokens: vec![secret(3)],
        tickets: vec![secret(4)],
    }
}

impl Plane {
    pub(crate) async fn start(options: Options) -> Self {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let address = options.at.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let uid = if options.at.is_some() { OTHER_UID } else { UID };
        let hop = options.has_hop.then(|| SocketAddr::new(address.ip(), free_port()));
        let pod = PodConfig {
            uid: Some(uid.into()),
            hop_address: hop,
            kernel_steering: options.kernel_steering,
            ..PodConfig::default()
        };
        let plane = DataPlane::start(Config {
            workers: options.workers,
            bind: vec![address.ip()],
            admin: Some(admin),
            retry: options.retry,
            drain_timeout: options.drain_timeout,
            pod,
            ..Config::default()
        });
        let echo = Raw::start(|mut stream, _| async move {
            switch(&mut stream, "", b"").await;
            let (mut from, mut to) = stream.split();
            // Ends when the data plane does.
            let _ended = tokio::io::copy(&mut from, &mut to).await;
        });
        Self { plane: plane.unwrap(), echo: echo.await, address, hop, admin }
    }

    /// One that serves without keys.
    pub(crate) async fn serving(options: Options) -> Self {
        let plane = Self::start(options).await;
        plane.publish(plane.table()).await;
        plane
    }

    /// One HTTPS port, on which every path leads to the echo.
    pub(crate) fn table(&self) -> wire::Table {
        let credential = Credential::common();
        wire::Table {
            listeners: vec![https(LISTENER, self.address.port(), &credential.id)],
            routes: vec![route("HTTPRoute/test/route", &[LISTENER], vec![forward("/", "echo")])],
            backends: vec![backend("echo", &[self.echo.address])],
            certificates: vec![credential.wire()],
            ..wire::Table::default()
        }
    }

    pub(crate) async fn publish(&self, table: wire::Table) -> Published {
        let published = within("publish", self.plane.publish(Table::try_from(table).unwrap())).await;
        assert!(published.unbound.is_empty() && published.certificates.is_empty(), "{published:?}");
        published
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it takes packets of other pods.
    pub(crate) fn hop(&self) -> SocketAddr {
        self.hop.expect("it has one")
    }

    pub(crate) fn plane(&self) -> &DataPlane {
        &self.plane
    }

    /// Drains to the end.
    pub(crate) async fn drain(self) -> DrainReport {
        within("the drain", self.plane.drain()).await
    }

    /// The value of one series, without the prefix of all.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let scrape = within("the admin server", async {
            let mut stream = TcpStream::connect(self.admin).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        })
        .await;
        let series = format!("headrace_dataplane_{series} ");
        let value = scrape.lines().find_map(|line| line.strip_prefix(&series));
        value.unwrap_or_else(|| panic!("no series {series}")).parse().unwrap()
    }

    /// Datagrams that workers handed over to each other, and lost while doing so.
    pub(crate) async fn handed_over(&self) -> (f64, f64) {
        let of = |result: &str| format!("quic_handed_over_total{{result=\"{result}\"}}");
        (self.metric(&of("taken")).await, self.metric(&of("dropped")).await)
    }
}
