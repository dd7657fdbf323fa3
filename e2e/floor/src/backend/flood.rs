//! `/flood`: binary messages as fast as the connection takes them, and a count of what it took.
//!
//! The count is what a slow reader's proxy has swallowed, with what its sockets and this one's hold.

use std::cell::Cell;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::frame;

/// The payload of each message.
const MESSAGE_OCTETS: u16 = 16 << 10;

/// How many messages one write offers: enough that the system call is not what limits the flood.
const MESSAGES_A_WRITE: usize = 4;

/// Sends until the client ends or the connection fails.
pub(super) async fn run(stream: TcpStream, written: &Cell<u64>) -> std::io::Result<()> {
    let mut message = frame::binary_head(MESSAGE_OCTETS).to_vec();
    message.resize(message.len() + usize::from(MESSAGE_OCTETS), 0x2a);
    let octets = message.repeat(MESSAGES_A_WRITE);
    let (mut read, mut write) = stream.into_split();
    let send = async {
        let mut at = 0;
        loop {
            let size = write.write(&octets[at..]).await?;
            written.set(written.get() + size as u64);
            at = (at + size) % octets.len();
            // The other connections of this thread have their turn.
            tokio::task::yield_now().await;
        }
    };
    let ended = async {
        let mut ignored = [0; 1024];
        while read.read(&mut ignored).await? > 0 {}
        Ok(())
    };
    tokio::select! {
        result = send => result,
        result = ended => result,
    }
}
