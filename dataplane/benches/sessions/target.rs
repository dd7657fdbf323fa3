//! What is measured, and how a fresh one of it is started.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use headrace_table::wire::{
    self, Action, BackendProtocol, BackendTls, Destination, Match, Opens, QuicOptions, SessionLimits, Trust,
    WebTransport, WebTransportOptions,
};
use serde::Serialize;
use tempfile::TempDir;

use crate::backend::Backend;
use crate::certificates::Credential;
use crate::floor::Floor;
use crate::link::Clients;
use crate::port::free_port;
use crate::process::Process;
use crate::serve::Role;
use crate::table::{backend, https, route, rule, weighted};

/// The server name of the backend.
pub(crate) const BACKEND_NAME: &str = "wt.b.test";

const LISTENER: &str = "bench/edge/https";

/// Streams that a session may have open: what a backend or a page may have in use, and more than the default.
const STREAMS: u32 = 100;

/// The configuration of Envoy, in which words after a dollar sign are filled in.
const ENVOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/sessions/envoy.yaml");

/// One way to carry sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Target {
    /// A data plane with a backend of sessions.
    Session,
    /// A data plane with a backend of TCP and UDP.
    Streams,
    Envoy,
    /// Bare QUIC to bare QUIC.
    Relay,
    /// Bare QUIC that answers itself.
    Echo,
}

/// What all of them run beside.
pub(crate) struct Surroundings {
    pub(crate) backend: Backend,
    /// The core of whatever is measured.
    pub(crate) core: usize,
    /// Where Envoy is.
    pub(crate) envoy: Option<PathBuf>,
}

/// A running one.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) clients: Clients,
    _configuration: Option<TempDir>,
}

impl Target {
    pub(crate) const ALL: [Self; 5] = [Self::Session, Self::Streams, Self::Envoy, Self::Relay, Self::Echo];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Session => "Headrace, to sessions",
            Self::Streams => "Headrace, to TCP and UDP",
            Self::Envoy => "Envoy, to sessions",
            Self::Relay => "quinn relay",
            Self::Echo => "quinn echo",
        }
    }

    /// Whether several sessions share a connection.
    pub(crate) const fn pools(self) -> bool {
        !self.is_bare()
    }

    const fn is_bare(self) -> bool {
        matches!(self, Self::Relay | Self::Echo)
    }

    /// Starts a fresh one, by whose port a client can connect.
    pub(crate) fn start(self, Surroundings { backend, core, envoy }: &Surroundings) -> Running {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut configuration = None;
        let process = match self {
            Self::Session | Self::Streams => {
                Process::itself(&Role::Plane(Box::new(self.table(address.port(), backend))), *core)
            }
            Self::Relay => {
                Process::itself(&Role::Floor(floor(address, Some((backend.quic, backend.roots.clone())))), *core)
            }
            Self::Echo => Process::itself(&Role::Floor(floor(address, None)), *core),
            Self::Envoy => {
                let directory = tempfile::tempdir().unwrap();
                let config = envoy_config(directory.path(), address.port(), backend);
                configuration = Some(directory);
                Process::envoy(envoy.as_deref().unwrap(), &config, *core)
            }
        };
        Running { process, clients: Clients::new(address, self.is_bare()), _configuration: configuration }
    }

    fn table(self, port: u16, behind: &Backend) -> wire::Table {
        let credential = Credential::common();
        let (destination, mut backends) = self.destination(behind);
        backends.sort_by(|a, b| a.id.cmp(&b.id));
        let session = WebTransport {
            origins: Vec::new(),
            destination,
            rewrite_host: None,
            rewrite_path: None,
            open_timeout_ms: 0,
            idle_timeout_ms: 0,
            lifetime_ms: 0,
            limits: SessionLimits { streams: STREAMS, opening_per_second: u32::MAX, ..SessionLimits::default() },
        };
        let rule = rule("/", Action::WebTransport(session));
        let matches = rule.matches.iter().map(|one| Match { opens: Opens::WebTransport, ..one.clone() }).collect();
        let rule = wire::Rule { matches, ..rule };
        let quic = QuicOptions { webtransport: WebTransportOptions::default(), ..QuicOptions::default() };
        wire::Table {
            listeners: vec![wire::Listener { quic, ..https(LISTENER, port, &credential.id) }],
            routes: vec![route("WebTransportRoute/bench/route", &[LISTENER], vec![rule])],
            backends,
            certificates: vec![credential.wire()],
            ..wire::Table::default()
        }
    }

    fn destination(self, behind: &Backend) -> (Destination, Vec<wire::Backend>) {
        let one = |id: &str| vec![weighted(Some(id), 1)];
        if self == Self::Session {
            let trust = Trust::Roots(behind.roots.clone());
            let tls = BackendTls { server_name: BACKEND_NAME.to_owned(), trust, subject_alt_names: Vec::new() };
            let session = backend("bench/echo:443/udp", &[behind.quic]);
            let session = wire::Backend { protocol: BackendProtocol::Http3, tls: Some(tls), ..session };
            return (Destination::Session { backends: one(&session.id) }, vec![session]);
        }
        let tcp = wire::Backend { protocol: BackendProtocol::Stream, ..backend("bench/echo:7", &[behind.tcp]) };
        let udp = wire::Backend { protocol: BackendProtocol::Datagram, ..backend("bench/echo:7/udp", &[behind.udp]) };
        (Destination::Streams { tcp: one(&tcp.id), udp: one(&udp.id) }, vec![tcp, udp])
    }
}

fn floor(address: SocketAddr, backend: Option<(SocketAddr, String)>) -> Floor {
    let wire::Certificate { chain, key, .. } = Credential::common().wire();
    Floor { address, chain, key, backend }
}

fn envoy_config(directory: &Path, port: u16, backend: &Backend) -> PathBuf {
    let certificate = Credential::common().wire();
    let write = |name: &str, content: &str| {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let text = std::fs::read_to_string(ENVOY).unwrap();
    let text = text
        .replace("$backend_port", &backend.quic.port().to_string())
        .replace("$backend_name", BACKEND_NAME)
        .replace("$port", &port.to_string())
        .replace("$cert", write("cert.pem", &certificate.chain).to_str().unwrap())
        .replace("$key", write("key.pem", &certificate.key).to_str().unwrap())
        .replace("$roots", write("roots.pem", &backend.roots).to_str().unwrap());
    write("envoy.yaml", &text)
}
