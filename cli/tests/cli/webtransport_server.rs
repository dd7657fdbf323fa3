//! A WebTransport server for tests that shares no code with Headrace, and what stands behind it where it forwards.
//!
//! `/echo` opens a unidirectional stream with a greeting and a bidirectional one, and sends streams and datagrams back; the
//! line `bye` makes it close the session with 7, and `reset` makes it reset the stream with 9. `/forward` makes a TCP
//! connection of each bidirectional stream and one UDP flow of a session's datagrams. Anything else is refused with 403.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use quinn::crypto::rustls::QuicServerConfig;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::oneshot;
use web_transport_quinn::proto::ConnectResponse;
use web_transport_quinn::{RecvStream, Request, SendStream, Session};

/// How long a server may take to be gone.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Who the server is, over restarts.
#[derive(Clone)]
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: Arc<PrivatePkcs8KeyDer<'static>>,
    pub(crate) pem: String,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = Arc::new(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        Self { certificate: cert.der().clone(), key, pem: cert.pem() }
    }

    fn config(&self) -> quinn::ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], PrivateKeyDer::Pkcs8(self.key.clone_key()))
            .unwrap();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()))
    }
}

/// What a server forwards to.
#[derive(Clone, Copy)]
pub(crate) struct Behind {
    pub(crate) tcp: SocketAddr,
    pub(crate) udp: SocketAddr,
}

impl Behind {
    pub(crate) fn nothing() -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        Self { tcp: nowhere, udp: nowhere }
    }
}

/// A server that is running, stopped when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Port 0 is any.
    pub(crate) fn start(identity: &Identity, port: u16, behind: Behind) -> Self {
        let socket = std::net::UdpSocket::bind(("127.0.0.1", port)).unwrap();
        let address = socket.local_addr().unwrap();
        let config = identity.config();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let runtime = Arc::new(quinn::TokioRuntime);
                let endpoint = quinn::EndpointConfig::default();
                let endpoint = quinn::Endpoint::new(endpoint, Some(config), socket, runtime).unwrap();
                tokio::select! {
                    () = serve(&endpoint, behind) => {}
                    _ = stopped => {}
                }
                endpoint.close(0_u32.into(), b"the server stops");
                let _ = tokio::time::timeout(END_TIMEOUT, endpoint.wait_idle()).await;
            });
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    /// What `--resolve` is to say.
    pub(crate) fn resolve(&self) -> String {
        format!("localhost:{}:127.0.0.1", self.address.port())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().unwrap().join();
    }
}

/// Serves HTTP/3 without WebTransport until the process ends.
pub(crate) fn start_without(identity: &Identity) -> SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let config = identity.config();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let runtime = Arc::new(quinn::TokioRuntime);
            let endpoint = quinn::EndpointConfig::default();
            let endpoint = quinn::Endpoint::new(endpoint, Some(config), socket, runtime).unwrap();
            while let Some(incoming) = endpoint.accept().await {
                tokio::spawn(async move {
                    let quic = h3_quinn::Connection::new(incoming.await.ok()?);
                    let mut connection = h3::server::Connection::<_, Bytes>::new(quic).await.ok()?;
                    while let Ok(Some(_)) = connection.accept().await {}
                    Some(())
                });
            }
        });
    });
    address
}

async fn serve(endpoint: &quinn::Endpoint, behind: Behind) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let request = Request::accept(incoming.await.ok()?).await.ok()?;
            let path = request.url.path().to_owned();
            let mut response = ConnectResponse::OK;
            if let Some(first) = request.protocols.first() {
                response = response.with_protocol(first.clone());
            }
            match path.as_str() {
                "/echo" => echo(request.respond(response).await.ok()?).await,
                "/forward" => forward(request.respond(response).await.ok()?, behind).await,
                _ => {
                    let connection = request.conn().clone();
                    request.reject(http::StatusCode::FORBIDDEN).await.ok()?;
                    // The answer is lost with the connection, which ends when nobody here has it.
                    connection.closed().await;
                    Some(())
                }
            }
        });
    }
}

async fn echo(session: Session) -> Option<()> {
    let mut greeting = session.open_uni().await.ok()?;
    greeting.write_all(b"welcome\nto the echo").await.ok()?;
    greeting.finish().ok()?;
    let (mut talk, _recv) = session.open_bi().await.ok()?;
    talk.write_all(b"what do you think?\n").await.ok()?;
    talk.finish().ok()?;
    let datagrams = session.clone();
    tokio::spawn(async move {
        while let Ok(datagram) = datagrams.read_datagram().await {
            let _ = datagrams.send_datagram(datagram);
        }
    });
    while let Ok((send, recv)) = session.accept_bi().await {
        tokio::spawn(echo_stream(session.clone(), send, recv));
    }
    Some(())
}

async fn echo_stream(session: Session, mut send: SendStream, mut recv: RecvStream) -> Option<()> {
    let mut octets = vec![0; 10_000];
    while let Some(size) = recv.read(&mut octets).await.ok()? {
        match &octets[..size] {
            b"bye\n" => session.close(7, b"so long"),
            b"reset\n" => send.reset(9).ok()?,
            other => send.write_all(other).await.ok()?,
        }
    }
    send.finish().ok()
}

async fn forward(session: Session, behind: Behind) -> Option<()> {
    tokio::spawn(forward_datagrams(session.clone(), behind.udp));
    while let Ok((send, recv)) = session.accept_bi().await {
        tokio::spawn(forward_stream(send, recv, behind.tcp));
    }
    Some(())
}

async fn forward_datagrams(session: Session, to: SocketAddr) -> Option<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.ok()?;
    socket.connect(to).await.ok()?;
    let mut octets = vec![0; 2000];
    loop {
        tokio::select! {
            datagram = session.read_datagram() => drop(socket.send(&datagram.ok()?).await.ok()?),
            received = socket.recv(&mut octets) => {
                session.send_datagram(Bytes::copy_from_slice(&octets[..received.ok()?])).ok()?;
            }
        }
    }
}

/// FIN is the end of a stream and RST a reset, both ways.
async fn forward_stream(mut send: SendStream, mut recv: RecvStream, to: SocketAddr) -> Option<()> {
    let mut tcp = TcpStream::connect(to).await.ok()?;
    let (mut reader, mut writer) = tcp.split();
    let up = async {
        let mut octets = vec![0; 8000];
        loop {
            match recv.read(&mut octets).await {
                Ok(Some(size)) => writer.write_all(&octets[..size]).await.map_err(drop)?,
                Ok(None) => return writer.shutdown().await.map_err(drop),
                Err(_) => return Err(()),
            }
        }
    };
    let down = async {
        let mut octets = vec![0; 8000];
        loop {
            match reader.read(&mut octets).await {
                Ok(0) => return send.finish().map_err(drop),
                Ok(size) => send.write_all(&octets[..size]).await.map_err(drop)?,
                Err(_) => return Err(()),
            }
        }
    };
    if tokio::try_join!(up, down).is_err() {
        let _ = send.reset(0);
        let _ = recv.stop(0);
        let _ = tcp.set_zero_linger();
    }
    Some(())
}
