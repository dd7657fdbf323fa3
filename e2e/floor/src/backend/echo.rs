//! `/echo`: every frame comes back.
//!
//! Must not know what a frame looks like.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::frame::Echo;

/// What one read takes. Small messages fit many times, and thousands of idle tunnels hold none of it: see [`run`].
const READ_OCTETS: usize = 4 << 10;

/// Echoes until either side ends. Nothing is read while an echo cannot be written.
pub(super) async fn run(stream: &mut TcpStream, rest: Vec<u8>) -> std::io::Result<()> {
    let mut echo = Echo::default();
    let mut out = Vec::new();
    let mut sound = echo.push(&rest, &mut out);
    loop {
        if !out.is_empty() {
            stream.write_all(&out).await?;
        }
        if !sound || echo.is_closed() {
            return stream.shutdown().await;
        }
        out.clear();
        stream.readable().await?;
        // On the stack between two waits, so that an idle tunnel has no read buffer.
        let mut octets = [0; READ_OCTETS];
        match stream.try_read(&mut octets) {
            Ok(0) => return stream.shutdown().await,
            Ok(size) => sound = echo.push(&octets[..size], &mut out),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
