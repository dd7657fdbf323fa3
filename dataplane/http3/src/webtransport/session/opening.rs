//! Owns a stream that this side may open and has not opened yet.

use std::{future::poll_fn, sync::Arc};

use super::inner::Inner;
use crate::{
    code::Code,
    webtransport::{
        ended::Ended,
        header::{self, Direction},
        hub::Raw,
        stream::{Cell, RecvStream, SendStream},
    },
};

/// The right to open a stream in a session. Dropped, it is given back.
#[derive(Debug)]
struct Right {
    session: Arc<Inner>,
    direction: Direction,
    used: bool,
}

impl Drop for Right {
    fn drop(&mut self) {
        if !self.used {
            self.session.give_up_opening(self.direction);
        }
    }
}

/// A stream that nobody has heard of. Dropped, it is reset: QUIC would end it well.
#[derive(Debug)]
struct Opening {
    right: Right,
    stream: Option<Raw>,
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.refuse(Code::H3_REQUEST_CANCELLED);
        }
    }
}

impl Opening {
    async fn reserve(session: &Arc<Inner>, direction: Direction) -> Result<Self, Ended> {
        poll_fn(|cx| session.poll_may_open(direction, cx)).await?;
        let right = Right { session: Arc::clone(session), direction, used: false };
        let quic = &session.shared().quic;
        let opening = async {
            match direction {
                Direction::Bidirectional => {
                    quic.open_bi().await.map(|(send, recv)| Raw { send: Some(send), recv: Some(recv) })
                }
                Direction::Unidirectional => quic.open_uni().await.map(|send| Raw { send: Some(send), recv: None }),
            }
        };
        let stream = tokio::select! {
            stream = opening => stream.map_err(|error| Ended::Connection(session.shared().ended(error)))?,
            ended = session.closed() => return Err(ended),
        };
        Ok(Self { right, stream: Some(stream) })
    }

    async fn open(mut self) -> Result<Arc<Cell>, Ended> {
        let session = Arc::clone(&self.right.session);
        // From here on the peer may hear of the stream.
        self.right.used = true;
        session.use_opening(self.right.direction);
        let (octets, size) = header::encode(self.right.direction, session.id());
        let send = self.stream.as_mut().and_then(|stream| stream.send.as_mut());
        let send = send.expect("a stream of this side can be sent on");
        tokio::select! {
            written = send.write_all(&octets[..size]) => match written {
                Ok(()) => {}
                // What the peer stops, whoever writes is told of.
                Err(quinn::WriteError::Stopped(_)) => {}
                Err(quinn::WriteError::ConnectionLost(error)) => {
                    return Err(Ended::Connection(session.shared().ended(error)));
                }
                Err(_) => {
                    return Err(Ended::Aborted { code: Code::H3_INTERNAL_ERROR, reason: "QUIC took no header" });
                }
            },
            ended = session.closed() => return Err(ended),
        }
        let stream = self.stream.take().expect("the stream is taken once");
        session.add_own(stream)
    }
}

/// The right to open a bidirectional stream, by the session's flow control and QUIC's.
#[derive(Debug)]
pub struct BiOpening(Opening);

impl BiOpening {
    pub(super) async fn reserve(session: &Arc<Inner>) -> Result<Self, Ended> {
        Opening::reserve(session, Direction::Bidirectional).await.map(Self)
    }

    /// Opens the stream: the peer sees it.
    pub async fn open(self) -> Result<(SendStream, RecvStream), Ended> {
        let cell = self.0.open().await?;
        Ok((SendStream::new(Arc::clone(&cell)), RecvStream::new(cell)))
    }
}

/// The right to open a unidirectional stream, by the session's flow control and QUIC's.
#[derive(Debug)]
pub struct UniOpening(Opening);

impl UniOpening {
    pub(super) async fn reserve(session: &Arc<Inner>) -> Result<Self, Ended> {
        Opening::reserve(session, Direction::Unidirectional).await.map(Self)
    }

    /// Opens the stream: the peer sees it.
    pub async fn open(self) -> Result<SendStream, Ended> {
        self.0.open().await.map(SendStream::new)
    }
}
