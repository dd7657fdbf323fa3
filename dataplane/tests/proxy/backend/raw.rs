//! Plain TCP, scripted octet by octet.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// A server that runs a script on every connection.
pub(crate) struct Raw {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _accepting: AbortOnDropHandle<()>,
}

impl Raw {
    /// The script gets the connection and its number, from 1. What it does not hold on to is closed at its end.
    pub(crate) async fn start<F: Future<Output = ()> + Send + 'static>(
        script: impl Fn(TcpStream, usize) -> F + Send + 'static,
    ) -> Self {
        let (listener, address) = super::listen().await;
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let number = counter.fetch_add(1, Ordering::Relaxed) + 1;
                open.spawn(script(stream, number));
            }
        });
        Self { address, connections, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// How many connections it has accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Reads one octet at a time up to the end of a message head, so that nothing behind it is taken. `None` when the peer
/// closes before.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// What `Sec-WebSocket-Accept` must say to this request head.
pub(crate) fn accept_for(head: &str) -> String {
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(Sha1::new().chain_update(key.unwrap()).chain_update(guid).finalize())
}

/// Takes a WebSocket handshake and accepts it, with more header lines and with octets right behind.
pub(crate) async fn switch(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), more: &str, behind: &[u8]) -> String {
    let head = read_head(stream).await.unwrap();
    let accept = accept_for(&head);
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
    .into_bytes();
    answer.extend_from_slice(behind);
    stream.write_all(&answer).await.unwrap();
    stream.flush().await.unwrap();
    head
}
