//! The sockets that one worker has open, brought into line with each table.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use headrace_http3::Code;
use headrace_table::{Port, Protocol, Table};
use http::HeaderValue;
use quinn::Endpoint;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::listener::{quic, tcp};
use crate::metrics::Transport;
use crate::quic::Group;
use crate::socket;
use crate::worker::Worker;

/// How long clients may remember where HTTP/3 is. An hour: long enough for the next visit, short enough that a listener
/// taken away is forgotten the same day.
const ALT_SVC_MAX_AGE: u32 = 3600;

/// An address that could not be bound.
#[derive(Debug)]
pub(crate) struct BindFailure {
    pub(crate) address: SocketAddr,
    pub(crate) transport: Transport,
    pub(crate) error: io::Error,
}

/// An address on TCP, or on UDP for QUIC.
pub(crate) type SocketId = (SocketAddr, Transport);

/// Which sockets a worker may open. The first worker asks whether an address is free; the others, which share it, take its
/// word.
#[derive(Clone)]
pub(crate) enum Binding {
    /// Any, but those that this process does not have yet only when nobody else has them.
    First {
        /// What this process has.
        held: Arc<HashSet<SocketId>>,
    },
    /// All but those that the first worker could not have.
    Following {
        /// What it could not have.
        refused: Arc<HashSet<SocketId>>,
    },
}

impl Binding {
    /// Whether to open a socket at all.
    ///
    /// # Errors
    /// Somebody else has the address.
    fn allows(&self, address: SocketAddr, transport: Transport) -> io::Result<bool> {
        match self {
            Self::First { held } if held.contains(&(address, transport)) => Ok(true),
            Self::First { .. } => socket::is_free(address, transport).map(|()| true),
            Self::Following { refused } => Ok(!refused.contains(&(address, transport))),
        }
    }
}

impl BindFailure {
    pub(crate) fn id(&self) -> SocketId {
        (self.address, self.transport)
    }
}

/// All open sockets of a worker, by port and address.
#[derive(Default)]
pub(crate) struct Sockets {
    tcp: BTreeMap<(u16, IpAddr), Tcp>,
    quic: BTreeMap<(u16, IpAddr), Quic>,
    /// Refusing new connections while old ones go on, at whichever worker. A port that comes back reuses its endpoint.
    parked: BTreeMap<(u16, IpAddr), Quic>,
}

struct Tcp {
    protocol: Protocol,
    /// Accepts for as long as it is held.
    _accepting: AbortOnDropHandle<()>,
}

struct Quic {
    group: Arc<Group>,
    endpoint: Endpoint,
    _accepting: AbortOnDropHandle<()>,
}

impl Sockets {
    /// Opens what the table asks for and closes what it does not. Open connections are left alone.
    pub(super) fn reconcile(&mut self, worker: &Arc<Worker>, table: &Table, binding: &Binding) -> Vec<BindFailure> {
        let protocol = |port: u16| table.port(port).map(|port| port.protocol);
        self.tcp.retain(|(port, _), open| protocol(*port) == Some(open.protocol));
        let unwanted = |port: u16| !table.port(port).is_some_and(|port| port.http3);
        let gone: Vec<_> = self.quic.keys().copied().filter(|(port, _)| unwanted(*port)).collect();
        for key in gone {
            self.park(key);
        }
        let mut failures = Vec::new();
        for port in table.ports() {
            for ip in worker.shared.bind.iter().copied() {
                let address = SocketAddr::new(ip, port.number);
                if let Err(error) = self.open_tcp(worker, port, address, binding) {
                    failures.push(BindFailure { address, transport: Transport::Tcp, error });
                }
                if port.http3
                    && let Err(error) = self.open_quic(worker, port, address, binding)
                {
                    failures.push(BindFailure { address, transport: Transport::Quic, error });
                }
            }
        }
        failures
    }

    fn open_tcp(
        &mut self,
        worker: &Arc<Worker>,
        port: &Port,
        address: SocketAddr,
        binding: &Binding,
    ) -> io::Result<()> {
        let key = (port.number, address.ip());
        if self.tcp.contains_key(&key) || !binding.allows(address, Transport::Tcp)? {
            return Ok(());
        }
        let listener = TcpListener::from_std(socket::tcp_listener(address)?)?;
        let tls = &worker.shared.tls;
        let tls = (port.protocol == Protocol::Https).then(|| TlsAcceptor::from(tls.tcp_config(tls.port(port.number))));
        let accepting = tokio::spawn(tcp::accept(Arc::clone(worker), listener, port.number, tls));
        let open = Tcp { protocol: port.protocol, _accepting: AbortOnDropHandle::new(accepting) };
        self.tcp.insert(key, open);
        Ok(())
    }

    fn open_quic(
        &mut self,
        worker: &Arc<Worker>,
        port: &Port,
        address: SocketAddr,
        binding: &Binding,
    ) -> io::Result<()> {
        let key = (port.number, address.ip());
        if self.quic.contains_key(&key) || !binding.allows(address, Transport::Quic)? {
            return Ok(());
        }
        let quic = match self.parked.remove(&key) {
            Some(quic) => quic,
            None => {
                let group = worker.shared.pod.group(address)?;
                let endpoint = quic::bind(Arc::clone(&group), worker, port.number)?;
                let accepting = tokio::spawn(quic::accept(Arc::clone(worker), endpoint.clone(), port.number));
                Quic { group, endpoint, _accepting: AbortOnDropHandle::new(accepting) }
            }
        };
        quic.group.wanted_by(worker.quic.worker.index());
        self.quic.insert(key, quic);
        Ok(())
    }

    /// From here on [`quic::accept`] finds that the port is not served.
    fn park(&mut self, key: (u16, IpAddr)) {
        if let Some(quic) = self.quic.remove(&key) {
            self.parked.insert(key, quic);
        }
    }

    /// What `alt-svc` says on a port (RFC 7838): where HTTP/3 is when every address serves it, `clear` when it should be
    /// served and is not, nothing when nobody asked for it.
    pub(super) fn alt_svc(&self, port: &Port) -> Option<HeaderValue> {
        if !port.http3 {
            return None;
        }
        let mut tcp = self.tcp.keys().filter(|(number, _)| *number == port.number).peekable();
        if tcp.peek().is_none() || !tcp.all(|key| self.quic.contains_key(key)) {
            return Some(HeaderValue::from_static("clear"));
        }
        let public = port.listeners().find(|listener| listener.http3).map_or(port.number, |l| l.public_port);
        HeaderValue::try_from(format!("h3=\":{public}\"; ma={ALT_SVC_MAX_AGE}")).ok()
    }

    /// Takes no new connection from here on.
    pub(super) fn close(&mut self) {
        self.tcp.clear();
        let open: Vec<_> = self.quic.keys().copied().collect();
        for key in open {
            self.park(key);
        }
    }

    /// Lets go of parked endpoints when the last connection of any worker there has ended.
    pub(super) fn sweep(&mut self, worker: &Worker) {
        let index = worker.quic.worker.index();
        self.parked.retain(|_, quic| quic.endpoint.open_connections() > 0 || !quic.group.may_be_left(index));
    }

    /// Closes every connection and waits a little for the closes to go out.
    pub(super) async fn end(mut self, timeout: Duration) {
        self.close();
        for quic in self.parked.values() {
            quic.endpoint.close(quinn::VarInt::from_u32(Code::H3_NO_ERROR.value() as u32), b"shutting down");
        }
        let idle = futures::future::join_all(self.parked.values().map(|quic| quic.endpoint.wait_idle()));
        // Peers that do not answer find out by their idle timeout.
        let _all_said_goodbye = tokio::time::timeout(timeout, idle).await;
    }
}
