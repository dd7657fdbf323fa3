//! Socket options: how listening sockets are made, and what is set on accepted ones.
//!
//! Every worker binds sockets of its own to the same addresses and the kernel spreads connections over them, hence
//! `SO_REUSEPORT` everywhere. Knows nothing of what is spoken on a socket. Would be the only place for unsafe code in
//! this crate; socket2 makes any unnecessary.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use headrace_cid::filter::Instruction;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

use crate::metrics::Transport;

/// Connections that the kernel completes before we accept them, per worker. A restart of every client at once is what
/// fills it; beyond it clients retry their SYN after a second. The kernel lowers it to `net.core.somaxconn`.
const TCP_BACKLOG: i32 = 1024;

/// Wanted size of a UDP socket's buffers in octets: all connections of a worker share one socket, so it must ride out
/// the bursts of all of them. The kernel lowers it to `net.core.rmem_max` and `wmem_max`.
const UDP_BUFFER_SIZE: usize = 2 * 1024 * 1024;

/// How long a TCP connection is silent before the kernel asks whether the peer is still there. Tunnels may be idle for
/// ever, and a peer that vanished without a FIN would hold one for ever.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Time between unanswered questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Unanswered questions after which the connection is given up.
const KEEPALIVE_RETRIES: u32 = 4;

/// Whether nobody has a socket on this address, not even one that shares it. The kernel would otherwise spread connections
/// over two processes that know nothing of each other.
pub(crate) fn is_free(addr: SocketAddr, transport: Transport) -> io::Result<()> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Quic => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if transport == Transport::Tcp {
        // Connections of a process that has ended, in TIME_WAIT, are nobody's.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&addr.into())
}

/// Binds and listens on TCP. The listener does not block and shares its address with other workers' listeners.
pub(crate) fn tcp_listener(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = shared_socket(addr, Type::STREAM, Protocol::TCP)?;
    // A restarted process must not wait for its predecessor's connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(TCP_BACKLOG)?;
    Ok(socket.into())
}

/// Binds a UDP socket that does not block and shares its address with other workers' sockets.
pub(crate) fn udp_socket(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = shared_socket(addr, Type::DGRAM, Protocol::UDP)?;
    // Best effort: smaller buffers lose datagrams under bursts, and QUIC recovers from that.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER_SIZE);
    let _ = socket.set_send_buffer_size(UDP_BUFFER_SIZE);
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Has the kernel choose among all sockets of this one's address by a program, whose answer is a socket's place in the order
/// in which they were bound. Needs no privilege.
///
/// # Errors
/// The kernel does not take the program.
pub(crate) fn steer(socket: &UdpSocket, program: &[Instruction]) -> io::Result<()> {
    let mut instructions: Vec<libc::sock_filter> = program
        .iter()
        .map(|one| libc::sock_filter { code: one.code, jt: one.jump_true, jf: one.jump_false, k: one.k })
        .collect();
    let len = u16::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The kernel copies the instructions before the call returns.
    let program = libc::sock_fprog { len, filter: instructions.as_mut_ptr() };
    Ok(setsockopt(socket, sockopt::AttachReusePortCbpf, &program)?)
}

/// Sets what every TCP connection of ours wants, accepted or dialled: small messages leave at once, and a peer that is
/// gone is noticed.
pub(crate) fn connect_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn shared_socket(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    if addr.is_ipv6() {
        // `[::]` and `0.0.0.0` are bound apart, so that an IPv4 client has an IPv4 address in every log and header.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

    /// Loopback addresses that this machine has; containers often lack IPv6.
    fn available() -> impl Iterator<Item = SocketAddr> {
        LOOPBACKS.iter().map(|addr| addr.parse().unwrap()).filter(|addr: &SocketAddr| TcpListener::bind(addr).is_ok())
    }

    #[test]
    fn workers_share_a_tcp_address() {
        for addr in available() {
            let first = tcp_listener(addr).unwrap();
            let addr = first.local_addr().unwrap();
            let second = tcp_listener(addr).unwrap();
            assert_eq!(second.local_addr().unwrap(), addr);
            assert_eq!(first.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);

            let socket = SockRef::from(&first);
            assert!(socket.reuse_address().unwrap() && socket.reuse_port().unwrap());
            if addr.is_ipv6() {
                assert!(socket.only_v6().unwrap());
            }
        }
    }

    #[test]
    fn workers_share_a_udp_address() {
        for addr in available() {
            let first = udp_socket(addr).unwrap();
            let addr = first.local_addr().unwrap();
            let second = udp_socket(addr).unwrap();
            assert_eq!(second.local_addr().unwrap(), addr);
            assert_eq!(first.recv(&mut [0; 16]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert!(SockRef::from(&first).reuse_port().unwrap());
        }
    }

    #[test]
    fn an_address_that_anybody_shares_is_not_free() {
        for addr in available() {
            let (tcp, udp) = (tcp_listener(addr).unwrap(), udp_socket(addr).unwrap());
            for (addr, transport) in
                [(tcp.local_addr().unwrap(), Transport::Tcp), (udp.local_addr().unwrap(), Transport::Quic)]
            {
                assert_eq!(is_free(addr, transport).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            }
            let (tcp_addr, udp_addr) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
            drop((tcp, udp));
            assert!(is_free(tcp_addr, Transport::Tcp).is_ok() && is_free(udp_addr, Transport::Quic).is_ok());
        }
    }

    #[test]
    fn a_port_that_another_program_holds_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = tcp_listener(taken.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn connections_send_at_once_and_notice_dead_peers() {
        let listener =
            tokio::net::TcpListener::from_std(tcp_listener("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
        let (dialled, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), async { listener.accept().await });
        for stream in [dialled.unwrap(), accepted.unwrap().0] {
            connect_options(&stream).unwrap();
            assert!(stream.nodelay().unwrap());
            let socket = SockRef::from(&stream);
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        }
    }
}
