//! The floors: an endpoint that echoes, and one that relays to a backend. No HTTP/3, no routes, no limits of their own.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, Incoming, RecvStream, SendStream, ServerConfig, VarInt};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::LocalSet;

use super::{ALPN, INITIAL_STREAMS, MAX_STREAMS, provider, transport};
use crate::{Identity, say};

/// What one read takes.
const READ_OCTETS: usize = 4 << 10;

/// The longest answer to the relay's handshake that is waited for.
const MAX_ANSWER_OCTETS: usize = 4 << 10;

/// The relay's handshake. The key is RFC 6455's own example: nothing here guards against caches.
const HANDSHAKE: &[u8] = b"GET /echo HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The code of a stream whose other side failed.
const FAILED: VarInt = VarInt::from_u32(1);

/// What is done with a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Service {
    /// Its octets come back.
    Echo,
    /// They go to a backend's `/echo`, and what that answers comes back.
    Relay {
        /// The backend.
        backend: SocketAddr,
    },
}

/// Serves until the process ends.
pub(crate) async fn serve(identity: &Identity, service: Service) -> anyhow::Result<()> {
    let endpoint = Endpoint::server(config(identity)?, identity.listen)?;
    say(&format!("listening on {}", endpoint.local_addr()?))?;
    LocalSet::new()
        .run_until(async {
            while let Some(incoming) = endpoint.accept().await {
                tokio::task::spawn_local(connection(incoming, service));
            }
        })
        .await;
    Ok(())
}

fn config(identity: &Identity) -> anyhow::Result<ServerConfig> {
    let cannot_read = |path: &std::path::Path| format!("cannot read {}", path.display());
    let chain = CertificateDer::pem_file_iter(&identity.cert)
        .with_context(|| cannot_read(&identity.cert))?
        .collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&identity.key).with_context(|| cannot_read(&identity.key))?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport(None));
    Ok(config)
}

/// How a connection or a stream ends is the client's to see: the benchmark counts echoes there.
async fn connection(incoming: Incoming, service: Service) {
    let Ok(connection) = incoming.await else { return };
    let mut opened: u32 = 0;
    while let Ok((send, recv)) = connection.accept_bi().await {
        opened = opened.saturating_add(1);
        if opened == INITIAL_STREAMS {
            connection.set_max_concurrent_bi_streams(MAX_STREAMS.into());
        }
        tokio::task::spawn_local(async move {
            let _ = match service {
                Service::Echo => echo(send, recv).await,
                Service::Relay { backend } => relay(send, recv, backend).await,
            };
        });
    }
}

async fn echo(mut send: SendStream, mut recv: RecvStream) -> anyhow::Result<()> {
    while let Some(chunk) = recv.read_chunk(READ_OCTETS, true).await? {
        send.write_chunk(chunk.bytes).await?;
    }
    Ok(send.finish()?)
}

async fn relay(mut send: SendStream, recv: RecvStream, backend: SocketAddr) -> anyhow::Result<()> {
    let (read, write) = match open(backend).await {
        Ok(stream) => stream.into_split(),
        Err(error) => {
            send.reset(FAILED)?;
            return Err(error.into());
        }
    };
    tokio::try_join!(upstream(recv, write), downstream(read, send))?;
    Ok(())
}

/// A tunnel to the backend: the handshake is sent, and its answer read and taken for good.
async fn open(backend: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(backend).await?;
    stream.set_nodelay(true)?;
    stream.write_all(HANDSHAKE).await?;
    let mut answer = Vec::with_capacity(256);
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() > MAX_ANSWER_OCTETS || stream.read_buf(&mut answer).await? == 0 {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
    }
    Ok(stream)
}

async fn upstream(mut recv: RecvStream, mut write: OwnedWriteHalf) -> anyhow::Result<()> {
    while let Some(chunk) = recv.read_chunk(READ_OCTETS, true).await? {
        write.write_all(&chunk.bytes).await?;
    }
    Ok(write.shutdown().await?)
}

async fn downstream(read: OwnedReadHalf, mut send: SendStream) -> anyhow::Result<()> {
    loop {
        read.readable().await?;
        match try_read(&read) {
            Ok(octets) if octets.is_empty() => return Ok(send.finish()?),
            Ok(octets) => send.write_chunk(octets).await?,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The buffer is on the stack and nothing waits here, so that an idle tunnel has none.
fn try_read(read: &OwnedReadHalf) -> std::io::Result<Bytes> {
    let mut octets = [0; READ_OCTETS];
    let size = read.try_read(&mut octets)?;
    Ok(Bytes::copy_from_slice(&octets[..size]))
}
