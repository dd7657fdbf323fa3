//! HTTP/1.1 octet by octet, over TLS or in clear text.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::patience::within;
use crate::stage::{HOST, Stage};

/// Any byte stream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// A connection on which a test says every octet.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    /// What was read and not yet looked at.
    ahead: Vec<u8>,
}

/// A message as it came.
#[derive(Debug)]
pub(crate) struct Message {
    /// With its status line, up to the empty line.
    pub(crate) head: String,
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// A field's first value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Wire {
    pub(crate) async fn tls(stage: &Stage) -> Self {
        Self::new(super::tls(stage, HOST, "http/1.1").await.unwrap())
    }

    pub(crate) async fn clear(stage: &Stage) -> Self {
        Self::new(TcpStream::connect(stage.http_address()).await.unwrap())
    }

    fn new(stream: impl Stream) -> Self {
        Self { stream: Box::new(stream), ahead: Vec::new() }
    }

    pub(crate) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    async fn more(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let read = within("octets", self.stream.read(&mut buffer)).await?;
        self.ahead.extend_from_slice(&buffer[..read]);
        Ok(read)
    }

    /// A message head and no more.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.ahead.split_off(end + 4);
                return String::from_utf8(std::mem::replace(&mut self.ahead, rest)).unwrap();
            }
            let read = self.more().await.unwrap();
            assert!(read > 0, "closed within a head: {:?}", String::from_utf8_lossy(&self.ahead));
        }
    }

    /// So many octets.
    pub(crate) async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count {
            assert!(self.more().await.unwrap() > 0, "closed early: {:?}", String::from_utf8_lossy(&self.ahead));
        }
        let rest = self.ahead.split_off(count);
        std::mem::replace(&mut self.ahead, rest)
    }

    /// Everything up to the end of the connection. Missing close_notify counts as an end, a reset does not.
    pub(crate) async fn rest(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.more().await {
                Ok(0) => return Ok(std::mem::take(&mut self.ahead)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.ahead));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A response whose length its head tells.
    pub(crate) async fn response(&mut self) -> Message {
        let head = self.head().await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut message = Message { head, status, body: Vec::new() };
        if message.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            while !message.body.ends_with(b"0\r\n\r\n") {
                message.body.extend(self.exactly(1).await);
            }
        } else if let Some(length) = message.header("content-length") {
            message.body = self.exactly(length.parse().unwrap()).await;
        }
        message
    }
}
