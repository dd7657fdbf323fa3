//! The streams that a load drives, and what one echo is on them.

use quinn::{Connection, RecvStream, SendStream};
use tokio::task::JoinSet;

use super::{Floor, LoadArgs};
use crate::quic::client;

/// The longest payload whose frame head this writes: 7 bits of length (RFC 6455, section 5.2).
const MAX_SHORT_PAYLOAD: usize = 125;

/// A client's mask. Any will do: the other side is our own, and no cache is in between.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// One open stream.
pub(super) struct Stream {
    send: SendStream,
    recv: RecvStream,
    message: Vec<u8>,
    answer: Vec<u8>,
    /// The connection lasts as long as its streams.
    _connection: Connection,
}

impl Stream {
    /// Sends one message and waits for its echo.
    pub(super) async fn echo(&mut self) -> anyhow::Result<()> {
        self.send.write_all(&self.message).await?;
        self.recv.read_exact(&mut self.answer).await?;
        Ok(())
    }
}

/// Opens all of them, with one echo on each: a QUIC stream exists once something was sent on it.
pub(super) async fn open(arguments: &LoadArgs) -> anyhow::Result<Vec<Stream>> {
    let (message, answer_octets) = message(arguments)?;
    let endpoint = client::endpoint(&arguments.ca)?;
    let mut streams = Vec::with_capacity(arguments.connections * arguments.tunnels);
    for _ in 0..arguments.connections {
        let connection = client::connect(&endpoint, arguments.server).await?;
        let mut opening = JoinSet::new();
        for _ in 0..arguments.tunnels {
            let (connection, message) = (connection.clone(), message.clone());
            opening.spawn_local(async move {
                let (send, recv) = connection.open_bi().await?;
                let answer = vec![0; answer_octets];
                let mut stream = Stream { send, recv, message, answer, _connection: connection };
                stream.echo().await?;
                Ok::<_, anyhow::Error>(stream)
            });
        }
        while let Some(stream) = opening.join_next().await {
            streams.push(stream??);
        }
    }
    Ok(streams)
}

/// A message as it goes out, and how long its echo is.
fn message(arguments: &LoadArgs) -> anyhow::Result<(Vec<u8>, usize)> {
    let size = arguments.size;
    anyhow::ensure!((1..=MAX_SHORT_PAYLOAD).contains(&size), "a message has 1 to {MAX_SHORT_PAYLOAD} octets");
    let length = u8::try_from(size).expect("the bound fits");
    let mut message = vec![0x82, 0x80 | length];
    message.extend_from_slice(&MASK);
    message.resize(message.len() + size, 0x2a);
    let answer_octets = match arguments.floor {
        Floor::Echo => message.len(),
        Floor::Relay => message.len() - MASK.len(),
    };
    Ok((message, answer_octets))
}
