//! What is behind the proxies: sessions, bare QUIC, TCP and UDP, of which everything comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use headrace_http3::webtransport::{self, RecvStream, SendStream, Session, SessionRequest};
use headrace_http3::{Config, StreamError, server};
use http::Response;
use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use rustls::version::TLS13;
use tokio::net::{TcpListener, UdpSocket};

use crate::authority::Authority;
use crate::floor::{self, BARE};
use crate::target::BACKEND_NAME;

/// What one read takes.
const READ: usize = 16 << 10;

/// More than any proxy puts on a connection: Envoy puts all on one, and does not ask how many are allowed.
const SESSIONS: u32 = 2_000;

/// Streams on a connection, likewise: those of all sessions, and their requests.
const STREAMS: u32 = 4_000;

/// A running backend.
pub(crate) struct Backend {
    /// What its certificate is from.
    pub(crate) roots: String,
    pub(crate) quic: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) udp: SocketAddr,
}

impl Backend {
    /// Starts one on a thread of its own, for as long as the process lives.
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let authority = Authority::new("backend");
        let started = runtime.block_on(async {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let quic = endpoint(&authority);
            let (tcp, udp) = (TcpListener::bind(any).await.unwrap(), UdpSocket::bind(any).await.unwrap());
            let started = Self {
                roots: authority.pem.clone(),
                quic: quic.local_addr().unwrap(),
                tcp: tcp.local_addr().unwrap(),
                udp: udp.local_addr().unwrap(),
            };
            tokio::spawn(accept(quic));
            tokio::spawn(echo_tcp(tcp));
            tokio::spawn(echo_udp(udp));
            started
        });
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        started
    }
}

fn endpoint(authority: &Authority) -> quinn::Endpoint {
    let tls = authority.issue(&[BACKEND_NAME]).server(&[&TLS13], &["h3", BARE]);
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    config.transport_config(floor::transport(STREAMS));
    quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap()
}

async fn accept(endpoint: quinn::Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(quic) = incoming.await else { return };
            let data = quic.handshake_data().unwrap().downcast::<HandshakeData>().unwrap();
            if data.protocol.as_deref() == Some(BARE.as_bytes()) {
                floor::echo(&quic).await;
            } else {
                let webtransport = webtransport::Config { max_sessions: SESSIONS, ..webtransport::Config::default() };
                let config = Config { webtransport: Some(webtransport), ..Config::default() };
                let _ended = serve(server::Connection::new(quic, &config)).await;
            }
        });
    }
}

async fn serve(mut connection: server::Connection) -> Result<(), headrace_http3::Error> {
    while let Some(incoming) = connection.accept().await? {
        tokio::spawn(async move {
            let Ok((request, send, recv)) = incoming.resolve().await else { return };
            let Ok(asked) = SessionRequest::receive(&request, send, recv).await else { return };
            let Ok(session) = asked.accept(Response::new(()), None).await else { return };
            tokio::join!(echo_streams(&session), echo_datagrams(&session));
        });
    }
    Ok(())
}

async fn echo_streams(session: &Session) {
    while let Ok((send, recv)) = session.accept_bi().await {
        // How it ends is for whoever counts to see.
        tokio::spawn(async move { drop(echo(recv, send).await) });
    }
}

async fn echo(mut recv: RecvStream, mut send: SendStream) -> Result<(), StreamError> {
    let mut octets = vec![0; READ];
    loop {
        match recv.read_data(&mut octets).await? {
            0 => return send.finish(),
            size => send.write_all(&octets[..size]).await?,
        }
    }
}

async fn echo_datagrams(session: &Session) {
    while let Ok(datagram) = session.recv_datagram().await {
        let _lost = session.send_datagram(&datagram);
    }
}

async fn echo_tcp(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let (mut from, mut to) = stream.split();
            let _ended = tokio::io::copy(&mut from, &mut to).await;
        });
    }
}

async fn echo_udp(socket: UdpSocket) {
    let mut datagram = vec![0; 2048];
    loop {
        // An error is that of a client whose flow is over.
        if let Ok((size, from)) = socket.recv_from(&mut datagram).await {
            let _lost = socket.send_to(&datagram[..size], from).await;
        }
    }
}
