//! Octets between a TCP connection and a stream. Nothing is read from one before the other has taken what was read last.
//!
//! FIN is the end of a stream, both ways, and RST a reset: a connection is never ended well because its stream was not, nor
//! the other way about.

use std::io;
use std::pin::pin;

use headrace_http3::StreamError;
use headrace_http3::webtransport::{RecvStream, SendStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// What each direction holds at most.
const BUFFER_OCTETS: usize = 16 << 10;
/// The application's code of a stream whose TCP connection was reset. TCP has none to pass on.
const RESET: u32 = 0;

/// Why both were reset.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("reset on this side: {0}")]
    Local(#[from] io::Error),
    #[error("reset by the server's side: {0}")]
    Remote(#[from] StreamError),
}

/// Octets that went through: up to the server, and down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) up: u64,
    pub(super) down: u64,
}

/// A local connection that is reset when it is dropped, unless it has ended well: whatever cuts it off is not its end.
#[derive(Debug)]
pub(super) struct Local {
    tcp: TcpStream,
    ended: bool,
}

impl Local {
    pub(super) fn new(tcp: TcpStream) -> Self {
        // Small writes are what terminals make. Where the option fails, it is only slower.
        let _ = tcp.set_nodelay(true);
        Self { tcp, ended: false }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if !self.ended {
            // RST. Where it cannot be had, FIN says less.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

/// Carries until both directions have ended, or one of them breaks.
pub(super) async fn pump(
    mut local: Local,
    mut send: SendStream,
    mut recv: RecvStream,
) -> (Carried, Result<(), Broken>) {
    let mut carried = Carried::default();
    let (mut reader, mut writer) = local.tcp.split();
    let done =
        tokio::try_join!(up(&mut reader, &mut send, &mut carried.up), down(&mut recv, &mut writer, &mut carried.down));
    if done.is_ok() {
        local.ended = true;
    } else {
        send.reset_application(RESET);
        recv.stop_application(RESET);
    }
    (carried, done.map(drop))
}

async fn up(reader: &mut ReadHalf<'_>, send: &mut SendStream, carried: &mut u64) -> Result<(), Broken> {
    let mut stopped = pin!(send.stopped());
    let mut buffer = vec![0; BUFFER_OCTETS];
    loop {
        let size = tokio::select! {
            // What is still to come down may come. When that has ended too, the kernel tells the local side with RST if
            // it sent more than was taken.
            stopped = &mut stopped => match stopped {
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            },
            read = reader.read(&mut buffer) => read?,
        };
        if size == 0 {
            send.finish()?;
            return Ok(());
        }
        match send.write_all(&buffer[..size]).await {
            Ok(()) => *carried += size as u64,
            Err(StreamError::Stopped(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

async fn down(recv: &mut RecvStream, writer: &mut WriteHalf<'_>, carried: &mut u64) -> Result<(), Broken> {
    let mut buffer = vec![0; BUFFER_OCTETS];
    loop {
        let size = recv.read_data(&mut buffer).await?;
        if size == 0 {
            // A connection that the local side has reset meanwhile needs no FIN.
            let _ = writer.shutdown().await;
            return Ok(());
        }
        let mut writing = pin!(writer.write_all(&buffer[..size]));
        let reset = tokio::select! {
            biased;
            written = &mut writing => {
                written?;
                None
            }
            // The local side does not read: a reset is not to wait for that.
            reset = recv.received_reset() => Some(reset),
        };
        match reset {
            None => {}
            Some(Ok(None)) => writing.await?,
            Some(Ok(Some(code))) => return Err(StreamError::Reset(code).into()),
            Some(Err(error)) => return Err(error.into()),
        }
        *carried += size as u64;
    }
}
