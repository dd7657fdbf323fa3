//! What a client asks for in a handshake, and what it may accept of a WebSocket's on every HTTP version (RFC 6455, 4.1 and
//! 4.2.2).

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION};
use http::{Request, Response, header};
use tokio::time::timeout;

use super::{ClientError, HttpVersion, Tunnel};

/// The version of WebSocket that there is.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// How long a server may take to send its settings, and to answer a request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// A server's answer, which must come in time.
pub(super) async fn answered<T, E: Into<ClientError>>(
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, ClientError> {
    match timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(ClientError::Timeout { within: ANSWER_TIMEOUT }),
    }
}

/// What is asked for besides a tunnel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offer {
    /// In order of preference.
    pub(crate) subprotocols: Vec<String>,
    /// `Origin`, cookies and anything else.
    pub(crate) headers: HeaderMap,
}

/// A tunnel, with the answer that opened it.
pub(crate) struct Opened {
    pub(crate) tunnel: Tunnel,
    pub(crate) response: Response<()>,
    pub(crate) version: HttpVersion,
}

impl Offer {
    /// Puts the headers that all versions have in common into a request.
    pub(super) fn write<T>(&self, request: &mut Request<T>) -> Result<(), ClientError> {
        let headers = request.headers_mut();
        headers.insert(SEC_WEBSOCKET_VERSION, VERSION);
        if !self.subprotocols.is_empty() {
            let value = HeaderValue::try_from(self.subprotocols.join(", ")).map_err(http::Error::from)?;
            headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
        }
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        Ok(())
    }

    /// Judges what the server chose. No extension is ever offered, so that none may be chosen.
    pub(super) fn judge(&self, response: &Response<()>) -> Result<(), ClientError> {
        if response.headers().contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
            return Err(ClientError::Handshake("the server chose an extension that was not offered"));
        }
        let mut chosen = response.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let offered =
            |value: &HeaderValue| self.subprotocols.iter().any(|offered| offered.as_bytes() == value.as_bytes());
        match (chosen.next(), chosen.next()) {
            (Some(_), Some(_)) => Err(ClientError::Handshake("the server chose two subprotocols")),
            (Some(one), None) if !offered(one) => {
                Err(ClientError::Handshake("the server chose a subprotocol that was not offered"))
            }
            _ => Ok(()),
        }
    }
}

/// Headers that belong to the handshake itself, or that have an option of their own.
pub(crate) const RESERVED: [HeaderName; 11] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    headrace_http3::webtransport::subprotocol::AVAILABLE,
];
