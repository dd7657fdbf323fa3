//! The ends of a stream's direction: where octets come from and where they go, and how each says that it broke.
//!
//! Codes are those on the wire: an intermediary passes on what it got.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use headrace_http3::Code;
use headrace_http3::webtransport::{RESET_INTERVAL, RecvStream, SendStream};
use tokio::time::{Instant, Sleep, sleep};

/// Where octets come from.
pub(super) trait Source {
    /// Reads into the scratch buffer; 0 is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Result<usize, Code>>;
    /// Asks whether it broke while it is not being read.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Code>;
    /// No more is wanted.
    fn stop(&mut self, code: Code);
}

/// Where octets go.
pub(super) trait Sink {
    fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<Result<usize, Code>>;
    /// Asks whether no more is wanted, while there is nothing to write.
    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<Code>;
    /// Says the end.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Code>>;
    /// Says that there is no end to come.
    fn reset(&mut self, code: Code);
}

/// A receiving half, with what asks now and then whether it was reset. That is made when it is first not to be read.
pub(super) struct Receiving {
    recv: RecvStream,
    look: Option<Pin<Box<Sleep>>>,
}

impl From<RecvStream> for Receiving {
    fn from(recv: RecvStream) -> Self {
        Self { recv, look: None }
    }
}

impl Source for Receiving {
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Result<usize, Code>> {
        self.look = None;
        self.recv.poll_read_data(cx, scratch).map_err(|error| error.code())
    }

    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Code> {
        loop {
            match self.recv.poll_reset(cx) {
                Poll::Ready(Ok(Some(code))) => return Poll::Ready(code),
                // It ended well: nothing more is to be heard of it.
                Poll::Ready(Ok(None)) => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(error.code()),
                Poll::Pending => {}
            }
            let look = self.look.get_or_insert_with(|| Box::pin(sleep(RESET_INTERVAL)));
            ready!(look.as_mut().poll(cx));
            look.as_mut().reset(Instant::now() + RESET_INTERVAL);
        }
    }

    fn stop(&mut self, code: Code) {
        self.recv.stop_sending(code);
    }
}

/// A sending half, with what tells that its peer wants no more. That is made when there is first nothing to write.
pub(super) struct Sending {
    send: SendStream,
    stopped: Option<Pin<Box<dyn Future<Output = Code> + Send>>>,
}

impl From<SendStream> for Sending {
    fn from(send: SendStream) -> Self {
        Self { send, stopped: None }
    }
}

impl Sink for Sending {
    fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<Result<usize, Code>> {
        self.send.poll_write_data(cx, octets).map_err(|error| error.code())
    }

    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<Code> {
        let stopped = self.stopped.get_or_insert_with(|| {
            let stopped = self.send.stopped();
            Box::pin(async move {
                match stopped.await {
                    Ok(Some(code)) => code,
                    Ok(None) => std::future::pending().await,
                    Err(error) => error.code(),
                }
            })
        });
        stopped.as_mut().poll(cx)
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Code>> {
        Poll::Ready(self.send.finish().map_err(|error| error.code()))
    }

    fn reset(&mut self, code: Code) {
        self.send.reset(code);
    }
}
