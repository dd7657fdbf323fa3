//! A stream of a session and a TCP connection, as one.
//!
//! Owns how each says what the other has said: FIN is FIN, a reset is a RST. TCP cannot be stopped in one direction, so that
//! STOP_SENDING is a RST too, and a RST ends both directions of a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use headrace_http3::Code;
use headrace_http3::webtransport::{RecvStream, SendStream, codes};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::ends::{Receiving, Sending, Sink, Source};
use super::pipe::{self, Pipe};
use super::running::Running;
use super::streams::RESET;
use crate::metrics::SessionSide;
use crate::tunnel::{Probe, reset_tcp};

/// How long a backend may take to close its direction after a stream that had only the other: it has everything by then.
const LINGER: Duration = Duration::from_secs(15);

/// Carries a stream's octets until both directions have ended. Without `send`, what the backend says is read, so that it
/// can go on, and goes nowhere.
pub(super) async fn carry(running: &Arc<Running>, send: Option<SendStream>, recv: RecvStream, stream: TcpStream) {
    let (read, write) = stream.into_split();
    let read = Reading { half: read, probe: Probe::default() };
    let up = Pipe::new(Receiving::from(recv), Writing(Some(write)), SessionSide::Client, running);
    match send {
        Some(send) => {
            let down = Pipe::new(read, Sending::from(send), SessionSide::Backend, running);
            pipe::join_tied(up, down, broken()).await;
        }
        None => {
            let down = Pipe::new(read, Nowhere, SessionSide::Backend, running);
            pipe::join_lingering(up, down, broken(), LINGER).await;
        }
    }
}

fn broken() -> Code {
    codes::from_application(RESET)
}

struct Reading {
    half: OwnedReadHalf,
    probe: Probe,
}

impl Source for Reading {
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Result<usize, Code>> {
        let mut buffer = ReadBuf::new(scratch);
        let read = ready!(Pin::new(&mut self.half).poll_read(cx, &mut buffer));
        Poll::Ready(read.map(|()| buffer.filled().len()).map_err(|_| broken()))
    }

    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Code> {
        match self.probe.poll(self.half.as_ref(), cx) {
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(broken()),
        }
    }

    fn stop(&mut self, _: Code) {
        reset_tcp(self.half.as_ref());
    }
}

/// Absent once it was reset: dropping it would say FIN first.
struct Writing(Option<OwnedWriteHalf>);

impl Writing {
    fn half(&mut self) -> Result<Pin<&mut OwnedWriteHalf>, Code> {
        self.0.as_mut().map(Pin::new).ok_or_else(broken)
    }
}

impl Sink for Writing {
    fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<Result<usize, Code>> {
        self.half()?.poll_write(cx, octets).map_err(|_| broken())
    }

    fn poll_stopped(&mut self, _: &mut Context<'_>) -> Poll<Code> {
        // A RST is heard by who reads.
        Poll::Pending
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Code>> {
        self.half()?.poll_shutdown(cx).map_err(|_| broken())
    }

    fn reset(&mut self, _: Code) {
        if let Some(half) = self.0.take() {
            reset_tcp(half.as_ref());
            half.forget();
        }
    }
}

/// For what nobody wants.
struct Nowhere;

impl Sink for Nowhere {
    fn poll_write(&mut self, _: &mut Context<'_>, octets: &[u8]) -> Poll<Result<usize, Code>> {
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_stopped(&mut self, _: &mut Context<'_>) -> Poll<Code> {
        Poll::Pending
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Code>> {
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, _: Code) {}
}
