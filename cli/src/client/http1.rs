//! WebSocket by Upgrade (RFC 6455, section 4): a connection for each tunnel.

use bytes::BytesMut;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::handshake::{Opened, answered};
use super::prefixed::Prefixed;
use super::{ClientError, Dialer, HttpVersion, Offer, Tunnel, tcp};

/// The longest response head that is read, and how many header lines it may have.
const MAX_HEAD_OCTETS: usize = 64 << 10;
const MAX_HEADERS: usize = 128;

/// Connects and opens the one tunnel of the connection.
pub(super) async fn open(dialer: &Dialer, offer: &Offer) -> Result<Opened, ClientError> {
    let stream = tcp::connect_any(dialer, &[b"http/1.1"]).await?;
    answered(upgrade(stream, dialer, offer)).await
}

async fn upgrade(mut stream: Tunnel, dialer: &Dialer, offer: &Offer) -> Result<Opened, ClientError> {
    let key = generate_key();
    let mut request = Request::get(dialer.target.path.as_str())
        .header(HOST, dialer.target.authority.as_str())
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_KEY, &key)
        .body(())?;
    offer.write(&mut request)?;
    stream.write_all(&head(&request)).await?;
    stream.flush().await?;
    let (response, rest) = read_head(&mut stream).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(ClientError::Refused(Box::new(response)));
    }
    verify(&response, &key)?;
    offer.judge(&response)?;
    let tunnel: Tunnel = match rest.is_empty() {
        true => stream,
        false => Box::new(Prefixed::new(rest.freeze(), stream)),
    };
    Ok(Opened { tunnel, response, version: HttpVersion::Http1 })
}

fn head(request: &Request<()>) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Reads the final response's head, and gives the octets that came after it.
async fn read_head(stream: &mut Tunnel) -> Result<(Response<()>, BytesMut), ClientError> {
    let mut octets = BytesMut::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        let malformed = |_| ClientError::Handshake("the answer is not HTTP/1.1");
        if let httparse::Status::Complete(size) = parsed.parse(&octets).map_err(malformed)? {
            let response = to_response(&parsed)?;
            let rest = octets.split_off(size);
            if !response.status().is_informational() || response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Ok((response, rest));
            }
            octets = rest;
            continue;
        }
        if octets.len() >= MAX_HEAD_OCTETS {
            return Err(ClientError::Handshake("the answer's head is too long"));
        }
        if stream.read_buf(&mut octets).await? == 0 {
            return Err(ClientError::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

fn to_response(parsed: &httparse::Response<'_, '_>) -> Result<Response<()>, ClientError> {
    let mut response = Response::builder().status(parsed.code.unwrap_or_default()).body(())?;
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(http::Error::from)?;
        let value = HeaderValue::from_bytes(header.value).map_err(http::Error::from)?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

/// RFC 6455, section 4.1: the server must have understood this very handshake.
fn verify(response: &Response<()>, key: &str) -> Result<(), ClientError> {
    let has_token = |name: HeaderName, token: &str| {
        let values = response.headers().get_all(name);
        let mut tokens = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        tokens.any(|found| found.trim().eq_ignore_ascii_case(token))
    };
    if !has_token(UPGRADE, "websocket") || !has_token(CONNECTION, "upgrade") {
        return Err(ClientError::Handshake("the 101 does not switch to WebSocket"));
    }
    let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    if accept != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(ClientError::Handshake("Sec-WebSocket-Accept is not the answer to this key"));
    }
    Ok(())
}
