//! The datagrams of a session and a UDP flow, as one.
//!
//! Owns the session's one socket: made for its first datagram, connected to one endpoint for good, and closed with the
//! session. UDP says nothing of who is there, so that a datagram for nobody is only lost.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use headrace_http3::webtransport::{DatagramError, Session};
use tokio::net::UdpSocket;

use super::datagrams::Datagrams;
use super::running::Running;
use super::streams::{Backends, endpoints};
use crate::metrics::{DatagramDrop, SessionSide};
use crate::scratch;
use crate::worker::Worker;

/// Carries datagrams until the session is over.
pub(super) async fn carry(worker: &Worker, running: &Arc<Running>, client: &Session, backends: &Backends) {
    let mut datagrams = Datagrams::new(running, client, SessionSide::Client);
    // Whatever the table says later, a flow stays with the endpoint that knows it.
    let (first, socket) = loop {
        let Some(first) = datagrams.next().await else { return };
        match connect(worker, backends).await {
            Some(socket) => break (first, socket),
            None => running.dropped(DatagramDrop::NoBackend, 1),
        }
        tokio::task::consume_budget().await;
    };
    let there = async {
        let mut next = Some(first);
        while let Some(datagram) = next {
            match socket.send(&datagram).await {
                Ok(_) => running.passed(SessionSide::Client, datagram.len()),
                // What an earlier one met there, too.
                Err(_) => running.dropped(DatagramDrop::NoBackend, 1),
            }
            tokio::task::consume_budget().await;
            next = datagrams.next().await;
        }
    };
    tokio::select! {
        () = there => {}
        () = back(running, client, &socket) => {}
    }
}

async fn back(running: &Running, client: &Session, socket: &UdpSocket) {
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        let received = scratch::with(|scratch| {
            let size = socket.try_recv(scratch)?;
            io::Result::Ok(bytes::Bytes::copy_from_slice(&scratch[..size]))
        });
        tokio::task::consume_budget().await;
        // That nobody was there for one of ours, or that it was somebody else's wake-up.
        let Ok(datagram) = received else { continue };
        if !running.pass(SessionSide::Backend, datagram.len()) {
            continue;
        }
        match client.send_datagram_wait(&datagram).await {
            Ok(()) => running.passed(SessionSide::Backend, datagram.len()),
            Err(DatagramError::TooLarge | DatagramError::Unsupported) => running.dropped(DatagramDrop::TooLarge, 1),
            Err(DatagramError::Ended(_)) => return,
        }
    }
}

async fn connect(worker: &Worker, backends: &Backends) -> Option<UdpSocket> {
    let endpoint = *endpoints(&worker.view(), worker, backends.udp()).ok()?.first()?;
    let any = match endpoint {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let connected = async {
        let socket = UdpSocket::bind(any).await?;
        socket.connect(endpoint).await?;
        io::Result::Ok(socket)
    };
    connected.await.inspect_err(|error| tracing::debug!(%error, %endpoint, "no UDP flow to a backend")).ok()
}
