//! A data plane with its subscription, as it runs in a pod, and the files that a pod has.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use headrace_dataplane::{AccessLog, Config, ControllerAddress, DataPlane, Retry, Subscription, SubscriptionConfig};

use crate::authority::Authority;
use crate::controller::TOKEN;
use crate::http::get;
use crate::patience::{eventually, within};
use crate::port::free_port;

/// What is mounted in a pod: it outlives the process.
pub(crate) struct Volumes {
    directory: tempfile::TempDir,
}

impl Volumes {
    /// With this CA's certificate and a good token.
    pub(crate) fn new(ca: &Authority) -> Self {
        let volumes = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::write(volumes.ca_file(), ca.pem()).unwrap();
        std::fs::write(volumes.token_file(), TOKEN).unwrap();
        volumes
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.crt")
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.directory.path().join("token")
    }

    /// Not there until a table is.
    pub(crate) fn table_directory(&self) -> PathBuf {
        self.directory.path().join("table")
    }

    /// The last good table.
    pub(crate) fn table_file(&self) -> PathBuf {
        self.table_directory().join("last-good")
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// A running pod.
pub(crate) struct Pod {
    plane: Arc<DataPlane>,
    subscription: Subscription,
    admin: SocketAddr,
}

impl Pod {
    /// Subscribes to the controllers on these ports.
    pub(crate) fn start(volumes: &Volumes, controllers: &[u16]) -> Self {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let plane = DataPlane::start(Config {
            workers: 2,
            bind: vec![Ipv4Addr::LOCALHOST.into()],
            admin: Some(admin),
            access_log: AccessLog::Off,
            retry: Retry::Never,
            drain_timeout: Duration::from_secs(5),
            ..Config::default()
        });
        let plane = Arc::new(plane.unwrap());
        let config = SubscriptionConfig {
            controllers: controllers.iter().map(|port| address(*port)).collect(),
            ca_file: volumes.ca_file(),
            token_file: volumes.token_file(),
            table_directory: Some(volumes.table_directory()),
        };
        let subscription = Subscription::start(Arc::clone(&plane), config).unwrap();
        Self { plane, subscription, admin }
    }

    /// Until `/readyz` says yes.
    pub(crate) async fn ready(&self) {
        eventually("readiness", async || (self.admin("/readyz").await.0 == 200).then_some(())).await;
    }

    /// Until `/readyz` says why it is not ready, in words with all of these.
    pub(crate) async fn not_ready_for(&self, reasons: &[&str]) {
        eventually(&format!("readiness that says {reasons:?}"), async || {
            let (status, text) = self.admin("/readyz").await;
            (status == 503 && reasons.iter().all(|reason| text.contains(reason))).then_some(())
        })
        .await;
    }

    pub(crate) async fn admin(&self, path: &str) -> (u16, String) {
        within("the admin server", get(self.admin, path)).await.unwrap()
    }

    /// The value of one series.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let (_, scrape) = self.admin("/metrics").await;
        let line = format!("headrace_dataplane_{series}");
        let value = scrape.lines().find_map(|found| found.strip_prefix(&line)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no series {line}")).parse().unwrap()
    }

    /// Until a series has this value.
    pub(crate) async fn metric_becomes(&self, series: &str, value: f64) {
        eventually(series, async || (self.metric(series).await == value).then_some(())).await;
    }

    /// Ends it, as a restart of its container does: its volumes stay.
    pub(crate) async fn end(self) {
        within("the subscription's end", self.subscription.end()).await;
        let plane = Arc::into_inner(self.plane).expect("the subscription has let go of it");
        within("the drain", plane.drain()).await;
    }
}

/// A controller's address.
pub(crate) fn address(port: u16) -> ControllerAddress {
    format!("localhost:{port}").parse().unwrap()
}

/// Until a GET to the port is answered with this.
pub(crate) async fn answers(port: u16, content: &str) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let expect = (200, content.to_owned());
    eventually(&format!("{content} on port {port}"), async || {
        let answer = within("an answer", get(address, "/")).await;
        (answer.ok().as_ref() == Some(&expect)).then_some(())
    })
    .await;
}
