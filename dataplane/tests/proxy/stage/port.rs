//! Ports that a data plane of a test may bind, and no other run of tests gets meanwhile.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port that nobody has on TCP or UDP. Taken in turn from below the range from which the kernel picks ports for
/// outgoing connections (32768 and up), so that no client of a test running beside can take it meanwhile.
///
/// The data plane shares its ports (`SO_REUSEPORT`), so that two runs of these tests could come to share one unnoticed.
/// The same port of another loopback address is held to the end of the run: whoever has that has the port.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 18_000;
    const COUNT: u16 = 14_000;
    const CLAIMS: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 1);
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static CLAIMED: Mutex<Vec<std::net::TcpListener>> = Mutex::new(Vec::new());
    // Processes that run at the same time begin at different places.
    let begin = (std::process::id() % 140) as u16 * 100;
    for _ in 0..COUNT {
        let port = FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let address = (Ipv4Addr::LOCALHOST, port);
        if let Ok(claim) = std::net::TcpListener::bind((CLAIMS, port))
            && std::net::TcpListener::bind(address).is_ok()
            && std::net::UdpSocket::bind(address).is_ok()
        {
            CLAIMED.lock().unwrap().push(claim);
            return port;
        }
    }
    panic!("no port is free");
}
