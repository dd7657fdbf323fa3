//! The smallest HTTP client there can be, so that the harness depends on none of the clients under test.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// The guard of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A request in clear text: the status, and the body as it is on the wire.
///
/// HTTP/1.0, so that the body is not chunked.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets)?;
    let response = String::from_utf8_lossy(&octets);
    let (head, body) = response.split_once("\r\n\r\n").context("no response head")?;
    let status = head.split(' ').nth(1).context("no status line")?.parse()?;
    Ok((status, body.to_owned()))
}

/// The value of a metric at `/metrics` there, summed over all label sets that contain every given text.
pub fn metric(address: SocketAddr, name: &str, labels: &[&str]) -> Result<f64> {
    let (status, text) = get(address, "/metrics")?;
    ensure!(status == 200, "/metrics answers {status}");
    let mut sum = 0.0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let (series_name, series_labels) = series.split_once('{').unwrap_or((series, ""));
        if series_name == name && labels.iter().all(|label| series_labels.contains(label)) {
            sum += value.parse::<f64>().with_context(|| format!("not a metric: {line}"))?;
        }
    }
    Ok(sum)
}
