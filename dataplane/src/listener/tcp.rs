//! TCP listeners: accept, TLS handshake, and which HTTP version it is.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Io;
use crate::certificates::tcp_handshake_result;
use crate::downstream::{self, Version, http1, http2};
use crate::metrics::{HandshakeResult, Transport};
use crate::socket;
use crate::worker::Worker;

/// From the accepted connection to the end of the TLS handshake, or to the first octets that tell the HTTP version.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Accepting fails when the process is out of file descriptors; trying again at once would only burn the CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Accepts until it is dropped. `tls` is absent where the port speaks clear text.
pub(crate) async fn accept(worker: Arc<Worker>, listener: TcpListener, port: u16, tls: Option<TlsAcceptor>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // A socket that refuses its options still carries bytes.
                let _still_works = socket::connect_options(&stream);
                let arrival = Arrival { worker: Arc::clone(&worker), peer, port };
                let tls = tls.clone();
                downstream::spawn(async move {
                    match tls {
                        Some(tls) => arrival.secure(stream, &tls).await,
                        None => arrival.clear(stream).await,
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, port, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection that was accepted and has said nothing yet.
struct Arrival {
    worker: Arc<Worker>,
    peer: SocketAddr,
    port: u16,
}

impl Arrival {
    async fn secure(self, stream: TcpStream, tls: &TlsAcceptor) {
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
        let result = match &handshake {
            Ok(Ok(_)) => HandshakeResult::Ok,
            Ok(Err(error)) => {
                tracing::debug!(%error, client = %self.peer, "a TLS handshake failed");
                tcp_handshake_result(error)
            }
            Err(_) => HandshakeResult::Timeout,
        };
        self.worker.metrics.handshakes_total(Transport::Tcp, result).inc();
        let Ok(Ok(stream)) = handshake else { return };
        let session = stream.get_ref().1;
        let server_name = session.server_name().map(Box::from);
        let version = if session.alpn_protocol() == Some(b"h2") { Version::Http2 } else { Version::Http1 };
        self.serve(Io::tls(stream), version, true, server_name);
    }

    async fn clear(self, mut stream: TcpStream) {
        let told = tokio::time::timeout(HANDSHAKE_TIMEOUT, tell_version(&mut stream)).await;
        if let Ok(Ok((version, early))) = told {
            self.serve(Io::clear(stream, early), version, false, None);
        }
    }

    /// On a task of its own: what the handshake needed is let go of.
    fn serve(self, io: Io, version: Version, tls: bool, server_name: Option<Box<str>>) {
        let Self { worker, peer, port } = self;
        let downstream =
            worker.admit(downstream::Arrival { transport: Transport::Tcp, peer, port, tls, server_name, version });
        match version {
            Version::Http2 => downstream::spawn(http2::serve(worker, downstream, io)),
            Version::Http1 | Version::Http3 => downstream::spawn(http1::serve(worker, downstream, io)),
        }
    }
}

/// Reads until the octets are HTTP/2's preface or can no longer become it. Never reads beyond the preface.
async fn tell_version(stream: &mut TcpStream) -> io::Result<(Version, Bytes)> {
    let mut early = BytesMut::with_capacity(PREFACE.len());
    loop {
        let wanted = PREFACE.len() - early.len();
        if (&mut *stream).take(wanted as u64).read_buf(&mut early).await? == 0 {
            return Ok((Version::Http1, early.freeze()));
        }
        if !PREFACE.starts_with(&early) {
            return Ok((Version::Http1, early.freeze()));
        }
        if early.len() == PREFACE.len() {
            return Ok((Version::Http2, early.freeze()));
        }
    }
}
