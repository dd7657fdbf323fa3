//! A backend on this project's own HTTP/3, which hands its sessions to the test.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use headrace_http3::webtransport::{self, RecvStream, SendStream, Session, SessionRequest};
use headrace_http3::{Config, StreamError, server};
use http::{Request, Response, StatusCode};
use quinn::crypto::rustls::QuicServerConfig;
use rustls::version::TLS13;
use tokio::sync::mpsc;

use crate::authority::Authority;
use crate::patience::within;
use crate::stage::NAME;

/// A running backend. `/refused` is answered with 418, `/slow` never; anything else becomes a session with the second
/// subprotocol of those that are offered, or the only one.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    endpoint: quinn::Endpoint,
    sessions: mpsc::UnboundedReceiver<(Request<()>, Session)>,
    connections: Arc<AtomicUsize>,
}

impl Backend {
    pub(crate) fn start() -> Self {
        Self::with(webtransport::Config::default(), 256 << 10)
    }

    /// One that allows this, and takes so many octets of a stream ahead of the test.
    pub(crate) fn with(webtransport: webtransport::Config, window: u32) -> Self {
        let authority = Authority::new("wt");
        let endpoint = endpoint(&authority, window);
        let address = endpoint.local_addr().unwrap();
        let (found, sessions) = mpsc::unbounded_channel();
        let connections = Arc::<AtomicUsize>::default();
        let (accepting, counted) = (endpoint.clone(), Arc::clone(&connections));
        let config = Config { webtransport: Some(webtransport), ..Config::default() };
        tokio::spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                let (found, config, counted) = (found.clone(), config.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let Ok(quic) = incoming.await else { return };
                    counted.fetch_add(1, Ordering::Relaxed);
                    let _ended = serve(server::Connection::new(quic, &config), found).await;
                });
            }
        });
        Self { address, authority, endpoint, sessions, connections }
    }

    /// The next session that a client asked for, with its request.
    pub(crate) async fn asked(&mut self) -> (Request<()>, Session) {
        within("a session", self.sessions.recv()).await.unwrap()
    }

    /// The next session that a client asked for.
    pub(crate) async fn session(&mut self) -> Session {
        self.asked().await.1
    }

    /// How many connections came.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Ends every connection at once.
    pub(crate) fn die(&self) {
        self.endpoint.close(0x102_u32.into(), b"");
    }
}

/// A QUIC server that shows a certificate for [`NAME`].
pub(crate) fn endpoint(authority: &Authority, window: u32) -> quinn::Endpoint {
    let tls = authority.issue(&[NAME]).server(&[&TLS13], &["h3"]);
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let mut transport = quinn::TransportConfig::default();
    transport
        .stream_receive_window(window.into())
        .receive_window((window.saturating_mul(16)).into())
        .max_concurrent_bidi_streams(600_u32.into())
        .max_concurrent_uni_streams(600_u32.into());
    config.transport_config(Arc::new(transport));
    quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap()
}

type Found = mpsc::UnboundedSender<(Request<()>, Session)>;

async fn serve(mut connection: server::Connection, found: Found) -> Result<(), headrace_http3::Error> {
    while let Some(incoming) = connection.accept().await? {
        let found = found.clone();
        tokio::spawn(async move {
            let Ok((request, send, recv)) = incoming.resolve().await else { return };
            let Ok(asked) = SessionRequest::receive(&request, send, recv).await else { return };
            match request.uri().path() {
                "/refused" => {
                    let response = Response::builder().status(StatusCode::IM_A_TEAPOT).header("x-from", "backend");
                    asked.refuse(response.body(()).unwrap()).await.unwrap();
                }
                "/slow" => std::future::pending().await,
                _ => {
                    let chosen = asked.subprotocols().get(1).or(asked.subprotocols().first()).cloned();
                    let response = Response::builder().header("x-from", "backend").body(()).unwrap();
                    let Ok(session) = asked.accept(response, chosen.as_deref()).await else { return };
                    let _nobody_waits = found.send((request, session));
                }
            }
        });
    }
    Ok(())
}

/// Sends everything back: bidirectional streams on themselves, unidirectional ones on one of the backend's, datagrams.
pub(crate) fn echo(session: Session) {
    tokio::spawn(async move {
        tokio::join!(echo_bidi(&session), echo_uni(&session), echo_datagrams(&session));
    });
}

async fn echo_bidi(session: &Session) {
    while let Ok((mut send, mut recv)) = session.accept_bi().await {
        tokio::spawn(async move {
            if let Err(error) = copy(&mut recv, &mut send).await {
                send.reset(error.code());
                recv.stop_sending(error.code());
            }
        });
    }
}

async fn echo_uni(session: &Session) {
    while let Ok(mut recv) = session.accept_uni().await {
        let session = session.clone();
        tokio::spawn(async move {
            let Ok(mut send) = session.open_uni().await else { return };
            if let Err(error) = copy(&mut recv, &mut send).await {
                send.reset(error.code());
            }
        });
    }
}

async fn echo_datagrams(session: &Session) {
    while let Ok(datagram) = session.recv_datagram().await {
        let _lost = session.send_datagram(&datagram);
    }
}

async fn copy(recv: &mut RecvStream, send: &mut SendStream) -> Result<(), StreamError> {
    let mut octets = vec![0; 5000];
    loop {
        match recv.read_data(&mut octets).await? {
            0 => return send.finish(),
            size => send.write_all(&octets[..size]).await?,
        }
    }
}
