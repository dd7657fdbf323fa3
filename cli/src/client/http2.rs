//! WebSocket by extended CONNECT on HTTP/2 (RFC 8441): many tunnels on a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Ping, RecvStream, SendStream};
use http::{Method, Request, Response, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::handshake::{Opened, answered};
use super::{ClientError, Dialer, HttpVersion, Offer, tcp};

/// How long leaving may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The most that is copied for one DATA frame: the frame size that every peer takes (RFC 9113, section 4.2).
const MAX_WRITE_OCTETS: usize = 16 << 10;

/// A connection on which tunnels can be opened.
pub(super) struct Http2 {
    requests: SendRequest<Bytes>,
    /// Ends when every request and tunnel is gone; its errors reach whoever uses those.
    driver: JoinHandle<()>,
}

/// Connects and learns whether the server does extended CONNECT.
pub(super) async fn connect(dialer: &Dialer) -> Result<Http2, ClientError> {
    let (requests, driver) = match dialer.target.secure {
        true => {
            let stream = tcp::connect_tls(dialer, &[b"h2", b"http/1.1"]).await?;
            match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => handshake(stream).await?,
                Some(other) => return Err(ClientError::Alpn(String::from_utf8_lossy(other).into_owned())),
                None => return Err(ClientError::Alpn("nothing".to_owned())),
            }
        }
        // Prior knowledge (RFC 9113, section 3.3).
        false => handshake(tcp::connect(dialer).await?).await?,
    };
    if !requests.is_extended_connect_protocol_enabled() {
        return Err(ClientError::NoExtendedConnect);
    }
    Ok(Http2 { requests, driver })
}

async fn handshake<S>(stream: S) -> Result<(SendRequest<Bytes>, JoinHandle<()>), ClientError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (requests, mut connection) = h2::client::Builder::new().handshake(stream).await?;
    let mut pings = connection.ping_pong();
    let driver = tokio::spawn(async move { drop(connection.await) });
    // The server's settings are the first thing it sends (RFC 9113, section 3.4): whatever answers comes after them.
    if let Some(pings) = &mut pings {
        answered(pings.ping(Ping::opaque())).await?;
    }
    Ok((requests, driver))
}

impl Http2 {
    /// Waits until what was sent last has left and the connection is closed. Tunnels must be gone.
    pub(super) async fn close(self) {
        let Self { requests, driver } = self;
        drop(requests);
        // A server that does not take what is left is left without it.
        let _ = timeout(CLOSE_TIMEOUT, driver).await;
    }

    /// Opens one more tunnel.
    pub(super) async fn open(&self, dialer: &Dialer, offer: &Offer) -> Result<Opened, ClientError> {
        answered(self.extended_connect(dialer, offer)).await
    }

    async fn extended_connect(&self, dialer: &Dialer, offer: &Offer) -> Result<Opened, ClientError> {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .version(Version::HTTP_2)
            .uri(dialer.target.uri()?)
            .extension(Protocol::from_static("websocket"))
            .body(())?;
        offer.write(&mut request)?;
        let (response, send) = self.requests.clone().ready().await?.send_request(request, false)?;
        let (head, recv) = response.await?.into_parts();
        let response = Response::from_parts(head, ());
        if !response.status().is_success() {
            return Err(ClientError::Refused(Box::new(response)));
        }
        offer.judge(&response)?;
        let tunnel = Box::new(Http2Tunnel { send, recv, unread: Bytes::new() });
        Ok(Opened { tunnel, response, version: HttpVersion::Http2 })
    }
}

/// A stream's two halves as a byte pipe. What is read is given back to the windows, and not before.
struct Http2Tunnel {
    send: SendStream<Bytes>,
    recv: RecvStream,
    unread: Bytes,
}

impl AsyncRead for Http2Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.recv.poll_data(cx)) {
                Some(data) => self.unread = data.map_err(into_io)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let size = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..size]);
        self.unread.advance(size);
        self.recv.flow_control().release_capacity(size).map_err(into_io)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        if octets.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let wanted = octets.len().min(MAX_WRITE_OCTETS);
        self.send.reserve_capacity(wanted);
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(capacity) => capacity.map(drop).map_err(into_io)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let size = wanted.min(self.send.capacity());
        self.send.send_data(Bytes::copy_from_slice(&octets[..size]), false).map_err(into_io)?;
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task writes as soon as it can.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.send.send_data(Bytes::new(), true).map_err(into_io))
    }
}

fn into_io(error: h2::Error) -> io::Error {
    match error.is_io() {
        true => error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()),
        false => io::Error::other(error),
    }
}
