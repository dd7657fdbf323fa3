//! The manifests that are served: compiled, published, reported on, and again whenever they change.
//!
//! Knows nothing of files being watched or of signals.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use headrace_compile::Compiled;
use headrace_dataplane::{DataPlane, DrainReport, Transport};
use headrace_table::{Table, wire};

use crate::development_ca::{CA_CERTIFICATE_FILE, DevelopmentCa};
use crate::manifest::Manifests;
use crate::output::{Output, complain};
use crate::report::Report;
use crate::world::{self, FilledIn, Trusted};

/// A data plane with what it serves.
pub(super) struct Serving {
    data_plane: DataPlane,
    ca: DevelopmentCa,
    manifests: Manifests,
    bind: Vec<IpAddr>,
    output: Output,
    /// What was published last.
    table: wire::Table,
    report: Report,
    /// Certificates that were made up, as they were told last.
    filled_in: Vec<FilledIn>,
    /// CAs for backends that were made up, likewise.
    trusted: Vec<Trusted>,
    /// URLs, as they were told last.
    urls: BTreeSet<String>,
    /// Sockets that are wanted and could not be had.
    unbound: BTreeSet<Socket>,
}

/// A socket of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Socket {
    address: SocketAddr,
    /// `TCP` or `UDP`.
    transport: &'static str,
}

impl Serving {
    pub(super) fn new(
        data_plane: DataPlane,
        ca: DevelopmentCa,
        manifests: Manifests,
        bind: Vec<IpAddr>,
        output: Output,
    ) -> Self {
        Self {
            data_plane,
            ca,
            manifests,
            bind,
            output,
            table: wire::Table::default(),
            report: Report::default(),
            filled_in: Vec::new(),
            trusted: Vec::new(),
            urls: BTreeSet::new(),
            unbound: BTreeSet::new(),
        }
    }

    /// Whether there is something to try again: a port may become free.
    pub(super) fn has_unbound(&self) -> bool {
        !self.unbound.is_empty()
    }

    pub(super) fn manifests(&self) -> &Manifests {
        &self.manifests
    }

    /// Serves what was loaded.
    pub(super) async fn begin(&mut self) -> anyhow::Result<()> {
        self.serve().await
    }

    /// Loads the paths again and serves what has changed. What cannot be served leaves everything as it is.
    pub(super) async fn reload(&mut self, paths: &[PathBuf]) {
        self.manifests = Manifests::load(paths, Some(&self.manifests));
        self.again().await;
    }

    /// Serves the same once more, for ports that may be free by now.
    pub(super) async fn again(&mut self) {
        if let Err(error) = self.serve().await {
            complain(&format!("not reloaded: {error:#}"));
        }
    }

    async fn serve(&mut self) -> anyhow::Result<()> {
        let prepared = world::prepare(&self.manifests, &mut self.ca);
        let compiled = headrace_compile::compile(&prepared.world, &world::options());
        let before = self.data_plane.generation();
        let is_news = before == 0 || compiled.table != self.table;
        if is_news || self.has_unbound() {
            self.publish(&compiled).await?;
        }
        let unbound_ports = self.unbound_ports();
        let mut report = Report::new(&self.manifests, &prepared, &compiled.statuses);
        report.mark_unbound(&compiled.table, &unbound_ports);
        let mut text = report.changes_since(&self.report);
        self.report = report;
        if is_news && before > 0 {
            text.push_str(&self.counts());
        }
        if prepared.filled_in != self.filled_in || prepared.trusted != self.trusted {
            self.filled_in = prepared.filled_in;
            self.trusted = prepared.trusted;
            text.push_str(&self.certificates());
        }
        let urls = urls(&compiled.table, &unbound_ports);
        urls.difference(&self.urls).for_each(|url| text.push_str(&format!("open {url}\n")));
        self.urls = urls;
        if !text.is_empty() {
            self.output.text(&text)?;
        }
        Ok(())
    }

    async fn publish(&mut self, compiled: &Compiled) -> anyhow::Result<()> {
        let table = Table::with_seed(compiled.table.clone(), RandomState::new().hash_one(std::process::id()))
            .inspect_err(|refused| self.data_plane.rejected(&refused.to_string()))
            .context("the table is refused")?;
        let published = self.data_plane.publish(table).await;
        self.table = compiled.table.clone();
        for failure in &published.certificates {
            complain(&format!("Secret {}: {}", failure.id, failure.reason));
        }
        for failure in &published.backends {
            complain(&format!("Service {}: {}", failure.id, failure.reason));
        }
        let mut unbound = BTreeSet::new();
        for failure in &published.unbound {
            let transport = match failure.transport {
                Transport::Tcp => "TCP",
                Transport::Quic => "UDP",
            };
            let socket = Socket { address: failure.address, transport };
            if !self.unbound.contains(&socket) {
                complain(&format!("cannot listen on {} ({transport}): {}", failure.address, failure.error));
            }
            unbound.insert(socket);
        }
        let ports: BTreeSet<u16> = self.table.listeners.iter().map(|listener| listener.port).collect();
        for Socket { address, transport } in self.unbound.difference(&unbound) {
            if ports.contains(&address.port()) {
                complain(&format!("now listening on {address} ({transport})"));
            }
        }
        self.unbound = unbound;
        Ok(())
    }

    /// Ports that are bound on no address at all.
    fn unbound_ports(&self) -> BTreeSet<u16> {
        let is_unbound = |port: u16, address: &IpAddr| {
            self.unbound.contains(&Socket { address: SocketAddr::new(*address, port), transport: "TCP" })
        };
        let ports = self.unbound.iter().map(|socket| socket.address.port());
        ports.filter(|port| self.bind.iter().all(|address| is_unbound(*port, address))).collect()
    }

    fn counts(&self) -> String {
        let wire::Table { listeners, routes, backends, .. } = &self.table;
        let (listeners, routes, backends) = (listeners.len(), routes.len(), backends.len());
        format!("reloaded: {listeners} listeners, {routes} routes and {backends} backends are served\n")
    }

    fn certificates(&self) -> String {
        let mut text = String::new();
        let none = self.filled_in.is_empty() && self.trusted.is_empty();
        if let (Some(directory), false) = (self.ca.directory(), none) {
            let ca = directory.join(CA_CERTIFICATE_FILE);
            text.push_str(&format!("development CA: {} (curl --cacert, headrace connect --ca)\n", ca.display()));
        }
        for filled_in in &self.filled_in {
            text.push_str(&format!(
                "{}: a development certificate, spki-sha256={}\n",
                filled_in.secret, filled_in.spki_sha256
            ));
        }
        for (policy, file) in self.trusted.iter().flat_map(|trusted| &trusted.policies) {
            if let Some(file) = file {
                text.push_str(&format!("{policy}: a development certificate for its backends, {}\n", file.display()));
            }
        }
        text
    }

    pub(super) fn reopen_access_log(&self) {
        self.data_plane.reopen_access_log();
    }

    pub(super) async fn drain(self) -> DrainReport {
        self.data_plane.drain().await
    }
}

/// Where a browser gets to see something.
fn urls(table: &wire::Table, unbound_ports: &BTreeSet<u16>) -> BTreeSet<String> {
    let url = |listener: &wire::Listener| {
        let (scheme, default_port) = match listener.protocol {
            wire::Protocol::Https => ("https", 443),
            wire::Protocol::Http => ("http", 80),
        };
        let host = listener.hostname.as_deref().unwrap_or("localhost");
        match listener.port == default_port {
            true => format!("{scheme}://{host}/"),
            false => format!("{scheme}://{host}:{}/", listener.port),
        }
    };
    table.listeners.iter().filter(|listener| !unbound_ports.contains(&listener.port)).map(url).collect()
}
