//! TLS in front of another backend: takes handshakes, records them, and passes what is inside on in clear text.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{HandshakeKind, ProtocolVersion, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::patience::within;

/// A running server.
pub(crate) struct TlsFront {
    pub(crate) address: SocketAddr,
    handshakes: mpsc::UnboundedReceiver<Handshake>,
    _accepting: AbortOnDropHandle<()>,
}

/// A handshake that both sides were content with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    pub(crate) server_name: Option<String>,
    pub(crate) alpn: Option<String>,
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) resumed: bool,
}

impl TlsFront {
    pub(crate) async fn start(config: ServerConfig, to: SocketAddr) -> Self {
        let (listener, address) = super::listen().await;
        let (record, handshakes) = mpsc::unbounded_channel();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let accepting = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                open.spawn(serve(acceptor.clone(), stream, to, record.clone()));
            }
        });
        Self { address, handshakes, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// The next handshake.
    pub(crate) async fn handshake(&mut self) -> Handshake {
        within("a TLS handshake at the backend", self.handshakes.recv()).await.unwrap()
    }

    /// How many handshakes have been made that were not looked at.
    pub(crate) fn more_handshakes(&mut self) -> usize {
        std::iter::from_fn(|| self.handshakes.try_recv().ok()).count()
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, to: SocketAddr, record: mpsc::UnboundedSender<Handshake>) {
    // A client that does not like what it is shown is what many tests are about.
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let session = stream.get_ref().1;
    let handshake = Handshake {
        server_name: session.server_name().map(str::to_owned),
        alpn: session.alpn_protocol().map(|alpn| String::from_utf8(alpn.to_vec()).unwrap()),
        version: session.protocol_version(),
        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
    };
    // In TLS 1.3 a server is done before its client has looked at the certificate: only what the client sends then tells.
    let mut first = [0; 1];
    if tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first).await.is_err() {
        return;
    }
    let _test_is_over = record.send(handshake);
    let mut inner = TcpStream::connect(to).await.unwrap();
    inner.set_nodelay(true).unwrap();
    if tokio::io::AsyncWriteExt::write_all(&mut inner, &first).await.is_ok() {
        // However the two sides end it.
        let _end = tokio::io::copy_bidirectional(&mut stream, &mut inner).await;
    }
}
