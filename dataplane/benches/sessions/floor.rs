//! Bare quinn with streams and datagrams and no HTTP: what a proxy of sessions cannot cost less than.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use crate::target::BACKEND_NAME;

/// What is spoken where there is no HTTP/3.
pub(crate) const BARE: &str = "headrace-bare";

/// What one read takes.
const READ: usize = 16 << 10;

/// Credit of a stream and of a connection, at every end of every benchmark: those of a data plane.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Streams that a client may have open: as many as one session allows. quinn keeps state for every stream that it allows,
/// open or not.
const STREAMS: u32 = 100;

/// Streams of HTTP/3 itself.
const CONTROL_STREAMS: u32 = 8;

/// Longer than any measurement's pause.
const IDLE_TIMEOUT_MS: u32 = 120_000;
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// One end, or two.
#[derive(Serialize, Deserialize)]
pub(crate) struct Floor {
    pub(crate) address: SocketAddr,
    /// PEM of what it shows.
    pub(crate) chain: String,
    pub(crate) key: String,
    /// Where it relays to, and PEM of what it trusts there; it echoes where there is none.
    pub(crate) backend: Option<(SocketAddr, String)>,
}

/// QUIC as load and backend have it, too, where a peer may have so many bidirectional streams open.
pub(crate) fn transport(streams: u32) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(CONTROL_STREAMS.into())
        .max_idle_timeout(Some(quinn::VarInt::from_u32(IDLE_TIMEOUT_MS).into()))
        .keep_alive_interval(Some(KEEP_ALIVE));
    Arc::new(transport)
}

/// Serves until the process ends; says so when it does.
pub(crate) async fn serve(floor: Floor, serving: fn()) {
    let endpoint = Endpoint::server(server(&floor), floor.address).unwrap();
    let out = floor.backend.as_ref().map(|(backend, roots)| {
        let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        endpoint.set_default_client_config(client(roots));
        (endpoint, *backend)
    });
    serving();
    while let Some(incoming) = endpoint.accept().await {
        let out = out.clone();
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            match out {
                Some((endpoint, backend)) => {
                    let behind = endpoint.connect(backend, BACKEND_NAME).unwrap().await.unwrap();
                    relay(&connection, &behind).await;
                }
                None => echo(&connection).await,
            }
        });
    }
}

/// Everything comes back.
pub(crate) async fn echo(connection: &Connection) {
    let streams = async {
        while let Ok((send, recv)) = connection.accept_bi().await {
            tokio::spawn(pipe(recv, send));
        }
    };
    tokio::join!(streams, datagrams(connection, connection));
}

async fn relay(client: &Connection, backend: &Connection) {
    let streams = async {
        while let Ok((client_send, client_recv)) = client.accept_bi().await {
            let Ok((send, recv)) = backend.open_bi().await else { return };
            tokio::spawn(pipe(client_recv, send));
            tokio::spawn(pipe(recv, client_send));
        }
    };
    tokio::join!(streams, datagrams(client, backend), datagrams(backend, client));
}

async fn datagrams(from: &Connection, to: &Connection) {
    while let Ok(datagram) = from.read_datagram().await {
        if to.send_datagram(datagram).is_err() {
            return;
        }
    }
}

/// A stream's end of any kind is for whoever counts to see.
async fn pipe(mut from: RecvStream, mut to: SendStream) {
    while let Ok(Some(chunk)) = from.read_chunk(READ, true).await {
        if to.write_chunk(chunk.bytes).await.is_err() {
            return;
        }
    }
    let _gone = to.finish();
}

fn server(floor: &Floor) -> quinn::ServerConfig {
    let chain = CertificateDer::pem_slice_iter(floor.chain.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(floor.key.as_bytes()).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let mut tls = tls.unwrap();
    tls.alpn_protocols = vec![BARE.into()];
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    config.transport_config(transport(STREAMS));
    config
}

fn client(roots: &str) -> quinn::ClientConfig {
    let mut store = rustls::RootCertStore::empty();
    store.add(CertificateDer::from_pem_slice(roots.as_bytes()).unwrap()).unwrap();
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    tls.alpn_protocols = vec![BARE.into()];
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(transport(0));
    config
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
