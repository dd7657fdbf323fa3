//! The smallest HTTP client there can be, so that the harness depends on none of the clients under test.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The guard of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A request in clear text: the status, and the body as it is on the wire.
///
/// HTTP/1.0, so that the body is not chunked.
pub fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost:{port}\r\n\r\n")?;
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets)?;
    let response = String::from_utf8_lossy(&octets);
    let (head, body) = response.split_once("\r\n\r\n").context("no response head")?;
    let status = head.split(' ').nth(1).context("no status line")?.parse()?;
    Ok((status, body.to_owned()))
}
