//! The server's side of the WebSocket opening handshake over HTTP/1.1 (RFC 6455, section 4.2).
//!
//! Owns what makes a handshake valid, strictly: a proxy that forwards no key, two keys or a wrong one is refused. Must
//! not know what is spoken afterwards.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::answer::{self, Body};

/// The only version there is (RFC 6455, section 4.1).
const VERSION: &str = "13";

/// A key is a nonce of this many octets in base64 (RFC 6455, section 4.1).
const KEY_OCTETS: usize = 16;

/// The longest message. Echoes are built in memory, so this bounds what one client can make the demo hold.
const MAX_MESSAGE_OCTETS: usize = 16 << 20;

/// What a connection reads at once. Small, so that thousands of idle tunnels stay cheap.
const READ_BUFFER_OCTETS: usize = 4 << 10;

/// A tunnel as this backend sees it.
pub(crate) type Tunnel = WebSocketStream<TokioIo<Upgraded>>;

/// A handshake found valid.
pub(crate) struct Handshake {
    accept: HeaderValue,
    offered: Vec<String>,
    upgrade: OnUpgrade,
}

impl Handshake {
    /// Checks a request. The error is the answer to send.
    pub(crate) fn check<B>(mut request: Request<B>) -> Result<Self, Box<Response<Body>>> {
        let refuse = |line: &str| Err(Box::new(answer::text(StatusCode::BAD_REQUEST, line)));
        let headers = request.headers();
        if !lists(headers, &header::UPGRADE, "websocket") {
            return Err(Box::new(upgrade_required("this is a WebSocket endpoint")));
        }
        if request.method() != Method::GET || request.version() != Version::HTTP_11 {
            return refuse("a handshake is a GET of HTTP/1.1");
        }
        if !lists(headers, &header::CONNECTION, "upgrade") {
            return refuse("Connection does not say Upgrade");
        }
        if only(headers, &header::HOST).is_none() {
            return refuse("there must be one Host");
        }
        match only(headers, &header::SEC_WEBSOCKET_VERSION) {
            Some(VERSION) => {}
            Some(_) => return Err(Box::new(upgrade_required("only version 13 is spoken"))),
            None => return refuse("there must be one Sec-WebSocket-Version"),
        }
        let Some(key) = only(headers, &header::SEC_WEBSOCKET_KEY) else {
            return refuse("there must be one Sec-WebSocket-Key");
        };
        if STANDARD.decode(key).map(|octets| octets.len()) != Ok(KEY_OCTETS) {
            return refuse("Sec-WebSocket-Key is not 16 octets in base64");
        }
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).expect("base64 is a legal value");
        let Ok(offered) = elements(headers, &header::SEC_WEBSOCKET_PROTOCOL)
            .map(|element| if is_token(element) { Ok(element.to_owned()) } else { Err(()) })
            .collect()
        else {
            return refuse("Sec-WebSocket-Protocol is not a list of tokens");
        };
        Ok(Self { accept, offered, upgrade: hyper::upgrade::on(&mut request) })
    }

    /// The subprotocols that the client offers, the preferred one first.
    pub(crate) fn offered(&self) -> &[String] {
        &self.offered
    }

    /// Accepts, naming the subprotocol; `serve` gets the tunnel once the answer is out.
    pub(crate) fn accept<F>(
        self,
        subprotocol: Option<&str>,
        serve: impl FnOnce(Tunnel) -> F + Send + 'static,
    ) -> Response<Body>
    where
        F: Future<Output = ()> + Send,
    {
        let mut response = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(subprotocol) = subprotocol {
            let value = HeaderValue::from_str(subprotocol).expect("subprotocols were found to be tokens");
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        tokio::spawn(async move {
            // The error means that the client was gone before the answer was out.
            let Ok(upgraded) = self.upgrade.await else { return };
            let config = WebSocketConfig::default()
                .read_buffer_size(READ_BUFFER_OCTETS)
                .write_buffer_size(0)
                .max_message_size(Some(MAX_MESSAGE_OCTETS))
                .max_frame_size(Some(MAX_MESSAGE_OCTETS));
            serve(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await).await;
        });
        response
    }
}

/// 426 with the version that is spoken (RFC 6455, section 4.4).
fn upgrade_required(line: &str) -> Response<Body> {
    let mut response = answer::text(StatusCode::UPGRADE_REQUIRED, line);
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
    response
}

/// The value of a header that must occur once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The elements of a list header, in all of its lines (RFC 9110, section 5.6.1).
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("\u{fffd}").split(','))
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

fn lists(headers: &HeaderMap, name: &HeaderName, element: &str) -> bool {
    elements(headers, name).any(|candidate| candidate.eq_ignore_ascii_case(element))
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line: headers, and the status that a strict server answers (101 when it accepts).
    #[test]
    fn strict() {
        let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
        let head = "host: a\nupgrade: websocket\nconnection: keep-alive, Upgrade\nsec-websocket-version: 13";
        let cases: [(String, u16); 9] = [
            (format!("{head}\n{key}"), 101),
            (format!("{head}\n{key}\nsec-websocket-protocol: a, b"), 101),
            (format!("{head}\n{key}\nsec-websocket-protocol: a b"), 400),
            (head.to_owned(), 400),
            (format!("{head}\n{key}\n{key}"), 400),
            (format!("{head}\nsec-websocket-key: c2hvcnQ="), 400),
            (format!("{}\n{key}", head.replace("13", "8")), 426),
            (format!("{}\n{key}", head.replace("connection", "x-connection")), 400),
            (format!("{}\n{key}", head.replace("upgrade: websocket", "upgrade: h2c")), 426),
        ];
        for (headers, expect) in cases {
            let mut request = Request::builder().uri("/echo");
            for line in headers.lines() {
                let (name, value) = line.split_once(": ").unwrap();
                request = request.header(name, value);
            }
            let status = match Handshake::check(request.body(()).unwrap()) {
                Ok(handshake) => {
                    assert_eq!(handshake.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
                    101
                }
                Err(response) => response.status().as_u16(),
            };
            assert_eq!(status, expect, "{headers}");
        }
    }
}
