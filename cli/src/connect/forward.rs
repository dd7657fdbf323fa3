//! `headrace connect -L`: local TCP connections and UDP flows, carried over WebTransport sessions.
//!
//! ```text
//!   ssh ... tcp:127.0.0.1:2222 --+-- connections: a bidirectional stream each --+-- one session, kept open [`shared`]
//!   psql .. tcp:127.0.0.1:5432 --+                                              |
//!   dig ... udp:127.0.0.1:5353 ----- flows: datagrams ---- a session each ------+-- few connections [`link`]
//! ```
//!
//! Datagrams of a session do not say which flow they belong to, and a server makes one UDP flow of them: so each local
//! address that sends gets a session of its own.
//!
//! Owns the listeners and the end of it all. Must not know what the octets mean.

mod backoff;
mod link;
mod pump;
mod shared;
mod tcp;
mod udp;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::{Dialer, Offer};
use crate::output::complain;
use link::Link;

/// What is listened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
}

/// `tcp:127.0.0.1:2222`: a transport and where on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listen {
    transport: Transport,
    address: SocketAddr,
}

/// Why a text is no [`Listen`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected tcp:ADDRESS:PORT or udp:ADDRESS:PORT, such as tcp:127.0.0.1:2222, or without an address tcp:2222")]
pub(super) struct ListenError;

impl FromStr for Listen {
    type Err = ListenError;

    /// A port alone is one of the loopback: whoever wants to serve a whole network says so.
    fn from_str(text: &str) -> Result<Self, ListenError> {
        let (transport, place) = text.split_once(':').ok_or(ListenError)?;
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return Err(ListenError),
        };
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let address = place.parse().or_else(|_| place.parse().map(loopback)).map_err(|_| ListenError)?;
        Ok(Self { transport, address })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(f, "{transport}:{}", self.address)
    }
}

/// Listens, and carries what comes until the process is told to stop.
pub(super) async fn run(dialer: Dialer, offer: Offer, listen: &[Listen], verbose: bool) -> anyhow::Result<ExitCode> {
    let link = Arc::new(Link::new(dialer, offer));
    let (current, sessions) = watch::channel(None);
    let mut serving = JoinSet::new();
    for listen in listen {
        let cannot = || format!("cannot listen on {listen}");
        match listen.transport {
            Transport::Tcp => {
                let listener = TcpListener::bind(listen.address).await.with_context(cannot)?;
                announce(Transport::Tcp, listener.local_addr()?, "each connection is a stream of one session");
                serving.spawn(tcp::serve(listener, sessions.clone(), verbose));
            }
            Transport::Udp => {
                let socket = UdpSocket::bind(listen.address).await.with_context(cannot)?;
                announce(Transport::Udp, socket.local_addr()?, "each sender gets a session");
                serving.spawn(udp::serve(socket, Arc::clone(&link), verbose));
            }
        }
    }
    if listen.iter().any(|listen| listen.transport == Transport::Tcp) {
        serving.spawn(shared::keep(Arc::clone(&link), current));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    complain("stopping: what is open is cut off");
    drop(sessions);
    let farewell = link.farewell();
    serving.shutdown().await;
    farewell.await;
    Ok(ExitCode::SUCCESS)
}

fn announce(transport: Transport, address: SocketAddr, how: &str) {
    complain(&format!("listening on {}: {how}", Listen { transport, address }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_listeners() {
        for (text, expected) in [
            ("tcp:127.0.0.1:2222", Some("tcp:127.0.0.1:2222")),
            ("udp:[::1]:53", Some("udp:[::1]:53")),
            ("tcp:0.0.0.0:0", Some("tcp:0.0.0.0:0")),
            ("tcp:2222", Some("tcp:127.0.0.1:2222")),
            ("udp:5353", Some("udp:127.0.0.1:5353")),
            ("2222", None),
            ("sctp:127.0.0.1:1", None),
            ("tcp:", None),
            ("tcp:70000", None),
            ("tcp:example.com:80", None),
            ("2222:127.0.0.1:22", None),
        ] {
            let found = text.parse::<Listen>().ok().map(|listen| listen.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }
}
