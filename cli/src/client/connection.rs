//! A connection of any HTTP version, on which tunnels are opened.

use super::handshake::Opened;
use super::{ClientError, Dialer, HttpVersion, Offer, http1, http2, http3};

/// Made once for many tunnels, but for HTTP/1.1, where each tunnel is a connection.
pub(crate) struct Connection {
    dialer: Dialer,
    carrier: Carrier,
}

enum Carrier {
    Http1,
    Http2(http2::Http2),
    Http3(http3::Http3),
}

impl Connection {
    /// Connects by that version and no other.
    pub(crate) async fn connect(dialer: &Dialer, version: HttpVersion) -> Result<Self, ClientError> {
        let carrier = match version {
            HttpVersion::Http1 => Carrier::Http1,
            HttpVersion::Http2 => Carrier::Http2(http2::connect(dialer).await?),
            HttpVersion::Http3 => Carrier::Http3(http3::connect(dialer).await?),
        };
        Ok(Self { dialer: dialer.clone(), carrier })
    }

    /// Opens one more tunnel.
    pub(crate) async fn open(&self, offer: &Offer) -> Result<Opened, ClientError> {
        match &self.carrier {
            Carrier::Http1 => http1::open(&self.dialer, offer).await,
            Carrier::Http2(http2) => http2.open(&self.dialer, offer).await,
            Carrier::Http3(http3) => http3.open(&self.dialer, offer).await,
        }
    }

    /// Leaves in good order. Tunnels must be gone.
    pub(crate) async fn close(self) {
        match self.carrier {
            Carrier::Http1 => {}
            Carrier::Http2(http2) => http2.close().await,
            Carrier::Http3(http3) => http3.close().await,
        }
    }
}
