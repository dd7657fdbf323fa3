//! A data plane on free ports of the loopback, with the tables that tests serve on it.

pub(crate) mod certificates;
mod port;
pub(crate) mod table;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use headrace_dataplane::{AccessLog, Config, DataPlane, DrainReport, Published, Retry};
use headrace_table::{Table, wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::certificates::Credential;
pub(crate) use self::port::free_port;
use crate::patience::within;

/// The host that requests name unless a test says otherwise.
pub(crate) const HOST: &str = "a.example.com";

/// What clients see as the HTTPS port, which is not the one that is bound.
pub(crate) const PUBLIC_HTTPS: u16 = 9443;

/// The same for clear text.
pub(crate) const PUBLIC_HTTP: u16 = 9080;

/// Ids of the listeners that [`Stage::serve`] makes.
pub(crate) const HTTPS: &str = "test/edge/https";
pub(crate) const HTTP: &str = "test/edge/http";

/// How the data plane of a stage runs.
pub(crate) struct Options {
    pub(crate) workers: usize,
    pub(crate) retry: Retry,
    pub(crate) drain_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { workers: 1, retry: Retry::Never, drain_timeout: Duration::from_secs(10) }
    }
}

/// A running data plane.
pub(crate) struct Stage {
    plane: DataPlane,
    pub(crate) https: u16,
    pub(crate) http: u16,
    pub(crate) admin: SocketAddr,
    log: tempfile::NamedTempFile,
}

impl Stage {
    pub(crate) fn start(options: Options) -> Self {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let log = tempfile::NamedTempFile::new().unwrap();
        let plane = DataPlane::start(Config {
            workers: options.workers,
            bind: vec![Ipv4Addr::LOCALHOST.into()],
            admin: Some(admin),
            access_log: AccessLog::File(log.path().to_owned()),
            retry: options.retry,
            drain_timeout: options.drain_timeout,
            ..Config::default()
        });
        Self { plane: plane.unwrap(), https: free_port(), http: free_port(), admin, log }
    }

    /// A data plane of one worker with these rules on an HTTPS and a clear-text listener for every host.
    pub(crate) async fn serving(rules: Vec<wire::Rule>, backends: Vec<wire::Backend>) -> Self {
        let stage = Self::start(Options::default());
        stage.serve(rules, backends).await;
        stage
    }

    /// Serves these rules on an HTTPS and a clear-text listener for every host.
    pub(crate) async fn serve(&self, rules: Vec<wire::Rule>, backends: Vec<wire::Backend>) {
        let published = self.publish(self.table(rules, backends)).await;
        assert!(published.unbound.is_empty() && published.certificates.is_empty(), "{published:?}");
        assert_eq!(published.backends, [], "TLS with backends is set up");
    }

    /// What [`Stage::serve`] serves.
    pub(crate) fn table(&self, rules: Vec<wire::Rule>, backends: Vec<wire::Backend>) -> wire::Table {
        let credential = Credential::common();
        wire::Table {
            listeners: vec![table::http(HTTP, self.http), table::https(HTTPS, self.https, &credential.id)],
            routes: vec![table::route("HTTPRoute/test/route", &[HTTP, HTTPS], rules)],
            backends,
            certificates: vec![credential.wire()],
            ..wire::Table::default()
        }
    }

    /// Serves any table, which must be a good one.
    pub(crate) async fn publish(&self, mut table: wire::Table) -> Published {
        table.listeners.sort_by(|a, b| a.id.cmp(&b.id));
        table.routes.sort_by(|a, b| a.id.cmp(&b.id));
        table.backends.sort_by(|a, b| a.id.cmp(&b.id));
        table.certificates.sort_by(|a, b| a.id.cmp(&b.id));
        within("publish", self.plane.publish(Table::try_from(table).unwrap())).await
    }

    pub(crate) fn plane(&self) -> &DataPlane {
        &self.plane
    }

    /// Where the HTTPS listener is, on TCP and UDP.
    pub(crate) fn https_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.https))
    }

    pub(crate) fn http_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.http))
    }

    /// What the admin server says to a GET: status and body.
    pub(crate) async fn admin(&self, path: &str) -> (u16, String) {
        ask_admin(self.admin, path).await
    }

    /// The value of one series.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        metric_of(&self.admin("/metrics").await.1, series)
    }

    /// The access log's lines so far.
    pub(crate) fn log_lines(&self) -> Vec<serde_json::Value> {
        lines_of(&self.log)
    }

    /// Drains; tells what came of it and every line of the access log.
    pub(crate) async fn drain(self) -> (DrainReport, Vec<serde_json::Value>) {
        let report = within("the drain", self.plane.drain()).await;
        (report, lines_of(&self.log))
    }
}

fn lines_of(log: &tempfile::NamedTempFile) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(log.path()).unwrap();
    // What comes after the last line feed is still being written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The value of one series in a scrape.
pub(crate) fn metric_of(scrape: &str, series: &str) -> f64 {
    let value = scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no series {series}")).parse().unwrap()
}

/// Asks an admin server.
pub(crate) async fn ask_admin(address: SocketAddr, path: &str) -> (u16, String) {
    within("the admin server", async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    })
    .await
}
