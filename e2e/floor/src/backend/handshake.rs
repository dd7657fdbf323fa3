//! The server's side of the opening handshake (RFC 6455, section 4.2): a request's head in, 101 out.
//!
//! Must not know what is spoken afterwards. The demo backend is the strict one; this one looks at what it needs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest head that is taken. Proxies add a handful of lines to what the load generator sends.
const MAX_HEAD_OCTETS: usize = 8 << 10;

/// The most header lines that are taken.
const MAX_HEADERS: usize = 64;

/// RFC 6455, section 1.3.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request's head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The target, as it was sent.
    pub(super) path: String,
    /// The key of a handshake. Plain requests have none.
    pub(super) key: Option<String>,
    /// What was read beyond the head.
    pub(super) rest: Vec<u8>,
}

/// Reads a head. There is none when the connection ends early, or what comes is not a request or too long.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<Head>> {
    let mut octets = Vec::with_capacity(1024);
    while octets.len() < MAX_HEAD_OCTETS {
        if stream.read_buf(&mut octets).await? == 0 {
            return Ok(None);
        }
        match parse(&octets) {
            Ok(None) => {}
            Ok(head) => return Ok(head),
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

fn parse(octets: &[u8]) -> Result<Option<Head>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(size) = request.parse(octets)? else { return Ok(None) };
    let key = request
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("sec-websocket-key"))
        .and_then(|header| std::str::from_utf8(header.value).ok());
    Ok(Some(Head {
        path: request.path.unwrap_or_default().to_owned(),
        key: key.map(str::to_owned),
        rest: octets[size..].to_vec(),
    }))
}

/// The answer that accepts a handshake.
pub(super) fn accept(key: &str) -> String {
    let accept = STANDARD.encode(Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: \
         {accept}\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let head = |path: &str, key: Option<&str>, rest: &[u8]| {
            Ok(Some(Head { path: path.to_owned(), key: key.map(str::to_owned), rest: rest.to_vec() }))
        };
        let cases: [(&str, Result<Option<Head>, httparse::Error>); 4] = [
            ("GET /echo HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\n\r\nxy", head("/echo", Some("k"), b"xy")),
            ("GET /written HTTP/1.1\r\nHost: a\r\n\r\n", head("/written", None, b"")),
            ("GET /echo HTTP/1.1\r\nHost", Ok(None)),
            ("GET /echo HTTP/1.1\r\n: a\r\n\r\n", Err(httparse::Error::HeaderName)),
        ];
        for (octets, expect) in cases {
            assert_eq!(parse(octets.as_bytes()), expect, "{octets}");
        }
    }

    /// The example of RFC 6455, section 1.3.
    #[test]
    fn accepted() {
        assert!(
            accept("dGhlIHNhbXBsZSBub25jZQ==").contains("\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")
        );
    }
}
