//! A data plane on a free port of the loopback with rules that open sessions.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use headrace_dataplane::{AccessLog, Config, DataPlane, DrainReport};
use headrace_table::wire::{
    Action, Backend, BackendProtocol, BackendTls, Destination, Match, Opens, QuicOptions, Rule, SessionLimits, Trust,
    WebTransport,
};
use headrace_table::{Table, wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::authority::Authority;
use crate::certificates::Credential;
use crate::patience::{eventually, within};
use crate::port::free_port;
use crate::table::{https, route, rule, weighted};

/// The server name of backends that speak WebTransport.
pub(crate) const NAME: &str = "wt.b.test";

const LISTENER: &str = "test/edge/https";

/// A running data plane of one worker.
pub(crate) struct Stage {
    plane: DataPlane,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    log: tempfile::NamedTempFile,
}

impl Stage {
    pub(crate) async fn serving(rules: Vec<Rule>, backends: Vec<Backend>) -> Self {
        Self::with_options(rules, backends, QuicOptions::default()).await
    }

    pub(crate) async fn with_options(rules: Vec<Rule>, mut backends: Vec<Backend>, quic: QuicOptions) -> Self {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let log = tempfile::NamedTempFile::new().unwrap();
        let plane = DataPlane::start(Config {
            workers: 1,
            bind: vec![Ipv4Addr::LOCALHOST.into()],
            admin: Some(admin),
            access_log: AccessLog::File(log.path().to_owned()),
            drain_timeout: Duration::from_secs(10),
            ..Config::default()
        });
        let (plane, port) = (plane.unwrap(), free_port());
        let credential = Credential::common();
        backends.sort_by(|a, b| a.id.cmp(&b.id));
        let table = wire::Table {
            listeners: vec![wire::Listener { quic, ..https(LISTENER, port, &credential.id) }],
            routes: vec![route("WebTransportRoute/test/route", &[LISTENER], rules)],
            backends,
            certificates: vec![credential.wire()],
            ..wire::Table::default()
        };
        let published = within("publish", plane.publish(Table::try_from(table).unwrap())).await;
        assert!(published.unbound.is_empty() && published.certificates.is_empty(), "{published:?}");
        assert_eq!(published.backends, [], "TLS with backends is set up");
        Self { plane, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), admin, log }
    }

    /// The value of one series.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let scrape = within("the admin server", async {
            let mut stream = TcpStream::connect(self.admin).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        })
        .await;
        let name = format!("headrace_dataplane_{series} ");
        let value = scrape.lines().find_map(|line| line.strip_prefix(&name));
        value.unwrap_or_else(|| panic!("no series {series}")).parse().unwrap()
    }

    /// Waits until a series has a value.
    pub(crate) async fn until(&self, series: &str, value: f64) {
        eventually(series, async || (self.metric(series).await == value).then_some(())).await;
    }

    /// The access log's line of a path, once it is there.
    pub(crate) async fn log_line(&self, path: &str) -> serde_json::Value {
        eventually("a line in the access log", async || {
            let text = std::fs::read_to_string(self.log.path()).unwrap();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let mut lines = whole.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            lines.find(|line| line["path"] == path)
        })
        .await
    }

    pub(crate) async fn drain(self) -> DrainReport {
        within("the drain", self.plane.drain()).await
    }
}

/// A rule that opens sessions under a path with one backend.
pub(crate) fn session(prefix: &str, backend: &str) -> Rule {
    session_with(prefix, backend, |_| {})
}

/// A rule of that kind with changes.
pub(crate) fn session_with(prefix: &str, backend: &str, change: impl FnOnce(&mut WebTransport)) -> Rule {
    opening(prefix, Destination::Session { backends: vec![weighted(Some(backend), 1)] }, change)
}

/// A rule that opens sessions whose streams go to a backend, and whose datagrams do.
pub(crate) fn streams(
    prefix: &str,
    tcp: Option<&str>,
    udp: Option<&str>,
    change: impl FnOnce(&mut WebTransport),
) -> Rule {
    let to = |backend: Option<&str>| backend.map(|backend| weighted(Some(backend), 1)).into_iter().collect();
    opening(prefix, Destination::Streams { tcp: to(tcp), udp: to(udp) }, change)
}

fn opening(prefix: &str, destination: Destination, change: impl FnOnce(&mut WebTransport)) -> Rule {
    let mut session = WebTransport {
        origins: Vec::new(),
        destination,
        rewrite_host: None,
        rewrite_path: None,
        open_timeout_ms: 0,
        idle_timeout_ms: 0,
        lifetime_ms: 0,
        limits: SessionLimits::default(),
    };
    change(&mut session);
    opens(rule(prefix, Action::WebTransport(session)), Opens::WebTransport)
}

/// The rule for what opens this.
pub(crate) fn opens(rule: Rule, opens: Opens) -> Rule {
    let matches = rule.matches.into_iter().map(|one| Match { opens, ..one }).collect();
    Rule { matches, ..rule }
}

/// A backend that speaks WebTransport with a certificate for [`NAME`].
pub(crate) fn http3(id: &str, endpoints: &[SocketAddr], authority: &Authority) -> Backend {
    let trust = Trust::Roots(authority.pem.clone());
    let tls = BackendTls { server_name: NAME.to_owned(), trust, subject_alt_names: Vec::new() };
    Backend { protocol: BackendProtocol::Http3, tls: Some(tls), ..crate::table::backend(id, endpoints) }
}

/// A backend of octets over TCP, or of datagrams.
pub(crate) fn octets(id: &str, protocol: BackendProtocol, endpoints: &[SocketAddr]) -> Backend {
    Backend { protocol, ..crate::table::backend(id, endpoints) }
}
