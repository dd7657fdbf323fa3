//! The headers of a WebSocket handshake, as HTTP/1.1 writes them and as extended CONNECT does.
//!
//! Pure but for the key, which is drawn from the worker's generator: it is no secret (RFC 6455 section 10.3), it only has
//! to differ between handshakes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header, request};
use sha1::{Digest, Sha1};

use crate::failure::Failure;
use crate::headers::{has_token, strip_hop_by_hop};
use crate::worker::Worker;

/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Removes what no WebSocket handshake may carry over a proxy, whatever the version.
fn strip_handshake(headers: &mut HeaderMap) {
    for name in [
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_ACCEPT,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::CONNECTION,
    ] {
        headers.remove(name);
    }
}

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// The form in which a client asked.
pub(crate) enum ClientHandshake {
    /// HTTP/1.1 Upgrade, with what `Sec-WebSocket-Accept` must say.
    Upgrade { accept: Option<HeaderValue> },
    /// Extended CONNECT with `:protocol` = `websocket`.
    ExtendedConnect,
}

/// Whether an HTTP/1.1 request asks to become a WebSocket, well formed or not.
pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11
        && request.headers().get_all(header::UPGRADE).iter().any(|value| has_token(value, "websocket"))
        && request.headers().get_all(header::CONNECTION).iter().any(|value| has_token(value, "upgrade"))
}

impl ClientHandshake {
    /// Reads the key of an HTTP/1.1 handshake; [`ClientHandshake::check`] complains of a missing one.
    pub(crate) fn upgrade(headers: &HeaderMap) -> Self {
        let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
        let accept = match (keys.next(), keys.next()) {
            (Some(key), None) if STANDARD.decode(key.as_bytes()).is_ok_and(|key| key.len() == 16) => {
                Some(accept_for(key.as_bytes()))
            }
            _ => None,
        };
        Self::Upgrade { accept }
    }

    pub(super) fn is_upgrade(&self) -> bool {
        matches!(self, Self::Upgrade { .. })
    }

    /// RFC 6455 section 4.2.1; RFC 8441 section 5.
    pub(super) fn check(&self, parts: &request::Parts) -> Result<(), Failure> {
        if let Self::Upgrade { accept } = self {
            if parts.method != Method::GET {
                return Err(Failure::BadRequest("a WebSocket handshake must be a GET"));
            }
            if accept.is_none() {
                return Err(Failure::BadRequest("Sec-WebSocket-Key must be 16 octets in base64, once"));
            }
            let has_length = parts.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
            if has_length || parts.headers.contains_key(header::TRANSFER_ENCODING) {
                return Err(Failure::BadRequest("a WebSocket handshake has no body"));
            }
        }
        match parts.headers.get(header::SEC_WEBSOCKET_VERSION) {
            Some(version) if version == "13" => Ok(()),
            _ => Err(Failure::WebSocketVersion),
        }
    }

    pub(super) fn accepting_status(&self) -> StatusCode {
        match self {
            Self::Upgrade { .. } => StatusCode::SWITCHING_PROTOCOLS,
            Self::ExtendedConnect => StatusCode::OK,
        }
    }

    /// Turns the backend's accepting headers into the client's.
    pub(super) fn accept(&self, headers: &mut HeaderMap) {
        strip_hop_by_hop(headers);
        strip_handshake(headers);
        if let Self::Upgrade { accept: Some(accept) } = self {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, WEBSOCKET);
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.clone());
        }
    }
}

/// A key for a backend. The client's own never travels: the two handshakes are two connections.
pub(super) fn fresh_key(worker: &Worker) -> HeaderValue {
    let octets = (u128::from(worker.draw()) << 64 | u128::from(worker.draw())).to_be_bytes();
    HeaderValue::from_str(&STANDARD.encode(octets)).expect("base64 is legal in a header")
}

/// Makes a request's headers a handshake for an HTTP/1.1 backend.
pub(super) fn ask(headers: &mut HeaderMap, key: &HeaderValue) {
    strip_handshake(headers);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, WEBSOCKET);
    headers.insert(header::SEC_WEBSOCKET_KEY, key.clone());
}

/// RFC 6455 section 4.1, what a client checks in a 101.
pub(super) fn verify(headers: &HeaderMap, key: &HeaderValue) -> Result<(), Failure> {
    if !headers.get_all(header::UPGRADE).iter().any(|value| has_token(value, "websocket")) {
        return Err(Failure::BadAccept("its 101 does not say Upgrade: websocket"));
    }
    if !headers.get_all(header::CONNECTION).iter().any(|value| has_token(value, "upgrade")) {
        return Err(Failure::BadAccept("its 101 does not say Connection: Upgrade"));
    }
    if headers.get(header::SEC_WEBSOCKET_ACCEPT) != Some(&accept_for(key.as_bytes())) {
        return Err(Failure::BadAccept("its Sec-WebSocket-Accept does not answer the key"));
    }
    Ok(())
}

/// What the backend chose must be one of those that the client offered, or nothing (RFC 6455 section 4.1).
pub(super) fn verify_subprotocol(offered: &[HeaderValue], headers: &HeaderMap) -> Result<(), Failure> {
    let mut chosen = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let Some(one) = chosen.next() else { return Ok(()) };
    let is_offered = |chosen: &str| {
        let offers = offered.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        offers.into_iter().any(|offer| offer.trim() == chosen.trim())
    };
    if chosen.next().is_none() && one.to_str().is_ok_and(is_offered) { Ok(()) } else { Err(Failure::Subprotocol) }
}

/// RFC 6455 section 4.2.2, step 5.4.
fn accept_for(key: &[u8]) -> HeaderValue {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    HeaderValue::from_str(&STANDARD.encode(digest)).expect("base64 is legal in a header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_the_rfcs() {
        assert_eq!(accept_for(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_handshake_is_checked() {
        let good = [("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-version", "13")];
        let check = |method: Method, fields: &[(&'static str, &'static str)]| {
            let mut builder = Request::builder().method(method);
            for (name, value) in fields {
                builder = builder.header(*name, *value);
            }
            let (parts, ()) = builder.body(()).unwrap().into_parts();
            ClientHandshake::upgrade(&parts.headers).check(&parts)
        };
        assert_eq!(check(Method::GET, &good), Ok(()));
        assert!(matches!(check(Method::POST, &good), Err(Failure::BadRequest(_))));
        assert!(matches!(check(Method::GET, &good[1..]), Err(Failure::BadRequest(_))));
        assert_eq!(check(Method::GET, &good[..1]), Err(Failure::WebSocketVersion));
        let short = [("sec-websocket-key", "c2hvcnQ="), good[1]];
        assert!(matches!(check(Method::GET, &short), Err(Failure::BadRequest(_))));
        let body = [good[0], good[1], ("content-length", "5")];
        assert!(matches!(check(Method::GET, &body), Err(Failure::BadRequest(_))));
    }

    #[test]
    fn a_backend_chooses_among_what_was_offered() {
        let offered = [HeaderValue::from_static("chat.v2, chat.v1"), HeaderValue::from_static("mqtt")];
        for (chosen, good) in [(None, true), (Some("chat.v1"), true), (Some("mqtt"), true), (Some("chat"), false)] {
            let mut headers = HeaderMap::new();
            if let Some(chosen) = chosen {
                headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
            }
            assert_eq!(verify_subprotocol(&offered, &headers).is_ok(), good, "{chosen:?}");
        }
    }

    #[test]
    fn only_a_101_that_answers_our_key_is_acceptance() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        let fields = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ];
        let headers = |skip: usize, accept: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            for (index, (name, value)) in fields.iter().enumerate().filter(|(index, _)| *index != skip) {
                let value = if index == 2 { accept.unwrap_or(value) } else { value };
                headers.insert(*name, HeaderValue::from_static(value));
            }
            headers
        };
        assert_eq!(verify(&headers(9, None), &key), Ok(()));
        for (skip, (name, _)) in fields.iter().enumerate() {
            assert!(verify(&headers(skip, None), &key).is_err(), "{name}");
        }
        assert!(verify(&headers(9, Some("AAAAAAAAAAAAAAAAAAAAAAAAAAA=")), &key).is_err());
    }
}
