//! Ports that are free now.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Mutex;

use anyhow::{Result, bail};

/// How often to ask the system for another port before giving up.
const MAX_DRAWS: usize = 1000;

/// What this process has given out: the system may offer a port twice when nobody listens on it yet.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port of the loopback address that nobody listens on, on TCP or on UDP.
pub fn free() -> Result<u16> {
    for _ in 0..MAX_DRAWS {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = tcp.local_addr()?.port();
        if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && GIVEN.lock().expect("nothing panics while it holds the ports").insert(port)
        {
            return Ok(port);
        }
    }
    bail!("no port is free on both TCP and UDP")
}

/// A port of this machine, on loopback.
pub fn on_loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
