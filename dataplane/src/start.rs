//! The data plane's handle: start, publish, drain.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use headrace_cid::{MAX_WORKERS, Workers};
use headrace_push::{Member, Report};
use headrace_table::{HostPattern, Retry, Table};
use rustls::sign::CertifiedKey;
use tokio::sync::Mutex;

use crate::access_log::{AccessLog, AccessLogger};
use crate::admin::{Admin, Readiness};
use crate::certificates::{self, CertificateIndex, ListenerCertificates, ServerTls};
use crate::drain::{DrainHandle, Drained, TaskCount};
use crate::listener::token::Tokens;
use crate::metrics::{DrainResult, ListenerState, Metrics, ProcessMetrics, Transport};
use crate::quic::report::Uses;
use crate::quic::{Pod, PodConfig};
use crate::snapshot::Snapshot;
use crate::thread::{self, Binding, SocketId, WorkerThread};
use crate::upstream::{BackendFailure, UpstreamTls};
use crate::worker::Shared;

/// How long the access log's last lines may take at the end.
const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How often it is counted which connections have ended during a drain: more often than anybody looks.
const DRAIN_COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// How a data plane runs. What is served comes by [`DataPlane::publish`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads, each with its own sockets. At least one and at most 128; the machine's cores by default.
    pub workers: usize,
    /// Addresses on which every port of the table is bound. All of IPv4 and IPv6 by default.
    pub bind: Vec<IpAddr>,
    /// Where `/metrics`, `/healthz` and `/readyz` are served; nowhere by default.
    pub admin: Option<SocketAddr>,
    /// Where a line for each request and tunnel goes; nowhere by default.
    pub access_log: AccessLog,
    /// When a QUIC client has to prove its address before anything is kept for it, on every port and whatever the table
    /// says; never by default.
    pub retry: Retry,
    /// How long [`DataPlane::drain`] lets open requests and tunnels go on; 30 s by default.
    pub drain_timeout: Duration,
    /// Who this is among data planes that share clients; nobody by default.
    pub pod: PodConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS),
            bind: vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            admin: None,
            access_log: AccessLog::Off,
            retry: Retry::Never,
            drain_timeout: Duration::from_secs(30),
            pod: PodConfig::default(),
        }
    }
}

/// Why a data plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is nothing to run on, or more than packets can be shared out to.
    #[error("a data plane needs 1 to {MAX_WORKERS} workers and at least one address to bind")]
    Nothing,
    /// It cannot be counted how often this process was started.
    #[error("cannot count restarts in {}: {error}", directory.display())]
    Restarts {
        /// Where.
        directory: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The address for packets of peers cannot be bound.
    #[error("cannot take packets of peers on {address}: {error}")]
    Hop {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The admin address cannot be bound.
    #[error("cannot serve metrics and health on {address}: {error}")]
    Admin {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The access log cannot be opened.
    #[error("cannot open the access log: {0}")]
    AccessLog(io::Error),
    /// A thread or its event queue is refused by the system.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The cryptography library refuses to work.
    #[error("cannot set up TLS: {0}")]
    Tls(rustls::Error),
}

/// A running data plane. Dropping it without [`DataPlane::drain`] ends it at once.
pub struct DataPlane {
    shared: Arc<Shared>,
    workers: Vec<WorkerThread>,
    readiness: Readiness,
    drain_timeout: Duration,
    generation: AtomicU64,
    /// Its lock puts publications in order.
    publisher: Mutex<Publisher>,
    /// Locked to look, by who publishes and who reports.
    uses: std::sync::Mutex<Uses>,
    /// Ends the admin thread when dropped.
    _admin: Option<tokio::sync::oneshot::Sender<()>>,
}

impl DataPlane {
    /// Starts the workers, which serve nothing until the first table.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs on then.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let workers = Workers::new(config.workers).filter(|_| !config.bind.is_empty()).ok_or(StartError::Nothing)?;
        let pod = Pod::new(&config.pod, workers).map_err(|error| {
            let directory = config.pod.directory.clone().unwrap_or_default();
            StartError::Restarts { directory, error }
        })?;
        raise_open_files();
        let metrics = Arc::new(Metrics::new());
        let process = Arc::clone(metrics.process());
        let counted = move |lost| process.access_log_dropped_total().add(lost);
        let shared = Arc::new(Shared {
            bind: config.bind,
            retry: config.retry,
            tls: ServerTls::new(&metrics.worker()).map_err(StartError::Tls)?,
            tokens: Tokens::new(),
            hop: pod.open_hop(config.pod.kernel_steering).map_err(|error| {
                let address = config.pod.hop_address.expect("without an address nothing is opened");
                StartError::Hop { address, error }
            })?,
            pod: Arc::new(pod),
            access_log: AccessLogger::start_counting(config.access_log, counted).map_err(StartError::AccessLog)?,
            metrics: Arc::clone(&metrics),
            drain: DrainHandle::new(),
            connections: TaskCount::new(),
        });
        let readiness = Readiness::new();
        let admin = match config.admin {
            Some(address) => Some(
                start_admin(address, Admin { metrics, readiness: readiness.clone() })
                    .map_err(|error| StartError::Admin { address, error })?,
            ),
            None => None,
        };
        let workers = (0..config.workers).map(|index| WorkerThread::start(index, &shared));
        Ok(Self {
            workers: workers.collect::<io::Result<_>>().map_err(StartError::Thread)?,
            shared,
            readiness,
            drain_timeout: config.drain_timeout,
            generation: AtomicU64::new(0),
            publisher: Mutex::default(),
            uses: std::sync::Mutex::default(),
            _admin: admin,
        })
    }

    /// Serves a table from now on, and returns when every worker does. What is open goes on; connections of a listener
    /// that is gone end when their clients end them.
    ///
    /// What cannot be served of it is told and left out: the rest serves.
    pub async fn publish(&self, table: Table) -> Published {
        let mut publisher = self.publisher.lock().await;
        let (loaded, certificates) = load_keys(&table, &publisher.keys);
        self.shared.tls.swap(index(&table, &loaded));
        publisher.keys = loaded;
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let (tls, backends) = UpstreamTls::load(&table, publisher.served.as_deref().map(|served| &served.tls));
        self.shared.pod.adopt(&table);
        self.shared.metrics.hop_peers().keep(self.shared.pod.membership().peers.keys());
        self.uses().adopt(table.keys(), Instant::now());
        self.shared.tls.share(table.keys());
        self.shared.tokens.share(table.keys());
        let snapshot = Arc::new(Snapshot { generation, table, tls });
        let unbound = self.serve(&mut publisher, &snapshot).await;
        self.count(&snapshot, &unbound);
        publisher.served = Some(snapshot);
        if self.shared.pod.is_named() {
            self.readiness.serving(generation);
        } else {
            self.readiness.starting("the routing table does not name this pod yet");
        }
        Published { generation, unbound, certificates, backends }
    }

    /// Tries once more to bind what the table that is served asks for, and tells what still cannot be bound.
    pub async fn bind_again(&self) -> Vec<BindFailure> {
        let mut publisher = self.publisher.lock().await;
        let Some(snapshot) = publisher.served.clone() else { return Vec::new() };
        let unbound = self.serve(&mut publisher, &snapshot).await;
        self.count(&snapshot, &unbound);
        unbound
    }

    /// The first worker finds out which addresses can be had, the others follow.
    async fn serve(&self, publisher: &mut Publisher, snapshot: &Arc<Snapshot>) -> Vec<BindFailure> {
        let Some((first, others)) = self.workers.split_first() else { return Vec::new() };
        let held = Binding::First { held: Arc::clone(&publisher.held) };
        let mut unbound = first.serve(Arc::clone(snapshot), held).await;
        let refused: Arc<HashSet<SocketId>> = Arc::new(unbound.iter().map(|failure| failure.id()).collect());
        let following = others
            .iter()
            .map(|worker| worker.serve(Arc::clone(snapshot), Binding::Following { refused: Arc::clone(&refused) }));
        unbound.extend(futures::future::join_all(following).await.into_iter().flatten());
        let wanted = snapshot.table.ports().flat_map(|port| {
            let transports: &[_] = if port.http3 { &[Transport::Tcp, Transport::Quic] } else { &[Transport::Tcp] };
            let addresses = self.shared.bind.iter().map(|ip| SocketAddr::new(*ip, port.number));
            addresses.flat_map(|address| transports.iter().map(move |transport| (address, *transport)))
        });
        Arc::make_mut(&mut publisher.held).extend(wanted.filter(|id| !refused.contains(id)));
        let mut told = HashSet::new();
        unbound.into_iter().filter(|failure| told.insert(failure.id())).map(BindFailure::from).collect()
    }

    fn count(&self, snapshot: &Snapshot, unbound: &[BindFailure]) {
        let process = self.shared.metrics.process();
        process.table_version().set(snapshot.generation);
        let ports: Vec<_> = snapshot.table.ports().collect();
        for transport in [Transport::Tcp, Transport::Quic] {
            let wanted = ports.iter().filter(|port| transport == Transport::Tcp || port.http3);
            let (failed, serving): (Vec<u16>, Vec<u16>) = wanted.map(|port| port.number).partition(|number| {
                unbound.iter().any(|failure| failure.transport == transport && failure.address.port() == *number)
            });
            process.listeners(transport, ListenerState::Serving).set(serving.len() as u64);
            process.listeners(transport, ListenerState::Failed).set(failed.len() as u64);
        }
    }

    /// The generation that is served; 0 before the first table.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// What `/readyz` gives as the reason until a first table serves.
    pub fn waiting(&self, reason: &str) {
        self.readiness.starting(reason);
    }

    /// Counts a table that was refused before it came here, for `table_rejected_total`; until a first table serves,
    /// `/readyz` gives the reason.
    pub fn rejected(&self, reason: &str) {
        self.readiness.starting(reason);
        self.shared.metrics.process().table_rejected_total().inc();
    }

    /// What packets of QUIC find this process by.
    pub(crate) fn member(&self) -> Member {
        self.shared.pod.member()
    }

    /// What the QUIC connections of this process use at the moment.
    pub(crate) fn quic_report(&self) -> Report {
        self.uses().report(self.shared.metrics.quic_connections_open(), Instant::now())
    }

    fn uses(&self) -> std::sync::MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What exists once per process, for whoever counts beside the workers.
    pub(crate) fn process_metrics(&self) -> &Arc<ProcessMetrics> {
        self.shared.metrics.process()
    }

    /// Opens the access log's file anew, after a log rotation moved it.
    pub fn reopen_access_log(&self) {
        self.shared.access_log.reopen();
    }

    /// Asks for no more traffic, and serves what still comes: whoever sends it may take a while to hear of this. The first
    /// step of a [`DataPlane::drain`], for those who can wait between the two.
    pub fn leave_rotation(&self) {
        self.readiness.draining();
        self.shared.pod.leave();
        self.shared.metrics.process().draining().set(1);
    }

    /// Starts the drain, waits for its end, and counts meanwhile.
    async fn drained(&self) -> Drained {
        let connections = &self.shared.connections;
        let count = |result| self.shared.metrics.process().drained_connections_total(result);
        let mut counted = connections.ended();
        let mut ended = std::pin::pin!(connections.drained(self.drain_timeout));
        self.shared.drain.start();
        let mut tick = tokio::time::interval(DRAIN_COUNT_INTERVAL);
        let drained = loop {
            let drained = tokio::select! {
                drained = &mut ended => Some(drained),
                _ = tick.tick() => None,
            };
            let now = connections.ended();
            count(DrainResult::Finished).add(now.wrapping_sub(counted));
            counted = now;
            if let Some(drained) = drained {
                break drained;
            }
        };
        count(DrainResult::Cut).add(drained.cut);
        drained
    }

    /// Takes no new connection, tells clients to go elsewhere (GOAWAY, `Connection: close`), and waits for what is open
    /// to finish, for [`Config::drain_timeout`] at most. Then ends everything.
    pub async fn drain(self) -> DrainReport {
        self.leave_rotation();
        let drained = self.drained().await;
        for worker in self.workers {
            worker.stop().await;
        }
        if !self.shared.access_log.flush(LOG_FLUSH_TIMEOUT) {
            tracing::warn!("the access log's last lines were not written in time");
        }
        DrainReport { finished: drained.finished, cut: drained.cut }
    }
}

/// What one publication leaves for the next.
#[derive(Default)]
struct Publisher {
    /// The keys of the table that is served, so that an unchanged certificate is not loaded again.
    keys: HashMap<Arc<str>, Arc<CertifiedKey>>,
    /// The sockets that this process has or had: old connections may still hold one.
    held: Arc<HashSet<SocketId>>,
    /// What all workers serve.
    served: Option<Arc<Snapshot>>,
}

/// What came of a publication.
#[derive(Debug)]
pub struct Published {
    /// Counts publications of this process, from 1.
    pub generation: u64,
    /// Addresses that could not be bound; the next publication tries again.
    pub unbound: Vec<BindFailure>,
    /// Certificates that cannot be used; handshakes that need one fail.
    pub certificates: Vec<CertificateFailure>,
    /// Backends whose TLS cannot be set up; requests to them are refused.
    pub backends: Vec<BackendFailure>,
}

/// An address that could not be bound.
#[derive(Debug)]
pub struct BindFailure {
    /// What could not be bound.
    pub address: SocketAddr,
    /// TCP, or UDP for QUIC.
    pub transport: Transport,
    /// Why not.
    pub error: io::Error,
}

impl From<thread::BindFailure> for BindFailure {
    fn from(failure: thread::BindFailure) -> Self {
        Self { address: failure.address, transport: failure.transport, error: failure.error }
    }
}

/// A certificate that cannot be used.
#[derive(Debug)]
pub struct CertificateFailure {
    /// Its id in the table.
    pub id: String,
    /// Why not, without any octet of the key.
    pub reason: String,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that ended by themselves.
    pub finished: u64,
    /// Connections that were cut at the deadline.
    pub cut: u64,
}

fn load_keys(
    table: &Table,
    before: &HashMap<Arc<str>, Arc<CertifiedKey>>,
) -> (HashMap<Arc<str>, Arc<CertifiedKey>>, Vec<CertificateFailure>) {
    let mut loaded = HashMap::new();
    let mut failures = Vec::new();
    for certificate in table.certificates() {
        match certificates::parse(&certificate.chain, &certificate.key, before.get(&certificate.id)) {
            Ok(key) => drop(loaded.insert(Arc::clone(&certificate.id), key)),
            Err(error) => {
                failures.push(CertificateFailure { id: certificate.id.to_string(), reason: error.to_string() });
            }
        }
    }
    (loaded, failures)
}

fn index(table: &Table, keys: &HashMap<Arc<str>, Arc<CertifiedKey>>) -> CertificateIndex {
    let hostnames: Vec<(u16, Option<String>, Vec<Arc<CertifiedKey>>)> = table
        .ports()
        .flat_map(|port| port.listeners())
        .map(|listener| {
            let hostname = match &listener.hostname {
                HostPattern::Any => None,
                pattern => Some(pattern.to_string()),
            };
            let keys = listener.certificates.iter().filter_map(|id| keys.get(id).cloned()).collect();
            (listener.port, hostname, keys)
        })
        .collect();
    CertificateIndex::new(hostnames.iter().map(|(port, hostname, keys)| ListenerCertificates {
        port: *port,
        hostname: hostname.as_deref(),
        keys: keys.clone(),
    }))
}

/// Every tunnel holds two descriptors, and the usual soft limit of 1,024 is there for programs that use `select`.
fn raise_open_files() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised) {
        tracing::warn!(%error, soft = ?limit.current, "the limit on open files cannot be raised");
    }
}

fn start_admin(address: SocketAddr, admin: Admin) -> io::Result<tokio::sync::oneshot::Sender<()>> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "the admin server cannot listen"),
            };
            tokio::select! {
                never = admin.serve(listener) => match never {},
                _ = stopped => {}
            }
        });
    })?;
    Ok(stop)
}
