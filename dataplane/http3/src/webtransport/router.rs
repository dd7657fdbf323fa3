//! Owns the way of streams and datagrams from QUIC to their sessions, and drives the sessions. The connection's task
//! polls it.
//!
//! Of a stream, its header is read and nothing else. A stream that turns out to be no session's goes back to the
//! connection, with the octets that were read.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures::stream::{FuturesUnordered, StreamExt};
use quinn::ReadDatagram;

use super::{
    driver::Driver,
    header::{Direction, Opening, PartialOpening, is_session_id},
    hub::{Hub, Raw},
};
use crate::{
    code::Code,
    control::Role,
    datagram,
    error::{Error, to_varint},
    shared::Shared,
    stream_type::StreamType,
};

/// How many streams may be open whose header has not come yet. Packets are lost and overtake each other, so that a burst
/// of streams is known by their number before their octets come. More wait in QUIC, whose limit is of this order.
const MAX_HEADS: usize = 64;

/// How many datagrams are taken before the streams of the connection get their turn.
const DATAGRAMS_PER_TURN: usize = 64;

/// A stream whose header has not come.
#[derive(Debug)]
struct Head {
    partial: PartialOpening,
    direction: Direction,
    send: Option<quinn::SendStream>,
    recv: quinn::RecvStream,
}

/// A client's bidirectional stream that is no session's: a request, of which these octets were read.
pub(crate) struct Request {
    pub(crate) send: quinn::SendStream,
    pub(crate) recv: quinn::RecvStream,
    pub(crate) begun: PartialOpening,
}

/// The sessions of a connection, as its task has them.
#[derive(Debug)]
pub(crate) struct Router {
    shared: Arc<Shared>,
    heads: Vec<Head>,
    drivers: FuturesUnordered<Driver>,
    requests: VecDeque<Request>,
    typed: Vec<(quinn::RecvStream, StreamType)>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("id", &self.recv.id()).finish_non_exhaustive()
    }
}

impl Router {
    /// For a connection that offers WebTransport.
    pub(crate) fn new(shared: &Arc<Shared>) -> Option<Self> {
        shared.webtransport.as_deref()?;
        Some(Self {
            shared: Arc::clone(shared),
            heads: Vec::new(),
            drivers: FuturesUnordered::new(),
            requests: VecDeque::new(),
            typed: Vec::new(),
        })
    }

    fn hub(&self) -> &Hub {
        self.shared.webtransport.as_deref().expect("a router is made where there is a hub")
    }

    /// Whether another stream can be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.heads.len() + self.requests.len() < MAX_HEADS
    }

    pub(crate) fn push(&mut self, send: Option<quinn::SendStream>, recv: quinn::RecvStream) {
        let direction = if send.is_some() { Direction::Bidirectional } else { Direction::Unidirectional };
        self.heads.push(Head { partial: PartialOpening::new(direction), direction, send, recv });
    }

    /// The next request.
    pub(crate) fn next_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// The next unidirectional stream that is no session's.
    pub(crate) fn next_typed(&mut self) -> Option<(quinn::RecvStream, StreamType)> {
        self.typed.pop()
    }

    /// Does what can be done now, and has the task woken when there is more.
    pub(crate) fn poll<'q>(
        &mut self,
        cx: &mut Context<'_>,
        quic: &'q quinn::Connection,
        mut datagrams: Pin<&mut ReadDatagram<'q>>,
    ) -> Result<(), Error> {
        self.poll_heads(cx)?;
        for turn in 0.. {
            let Poll::Ready(datagram) = datagrams.as_mut().poll(cx) else { break };
            let datagram = datagram.map_err(|error| self.shared.ended(error))?;
            datagrams.set(quic.read_datagram());
            let Some((session, payload)) = datagram::decode(&datagram) else {
                return Err(self.shared.fail(Code::H3_DATAGRAM_ERROR, "a datagram without a stream ID"));
            };
            self.hub().datagram(session, datagram.slice_ref(payload));
            if turn == DATAGRAMS_PER_TURN {
                cx.waker().wake_by_ref();
                break;
            }
        }
        // Last, so that the sessions hear of what came above in this turn.
        self.poll_drivers(cx);
        Ok(())
    }

    fn poll_drivers(&mut self, cx: &mut Context<'_>) {
        self.drivers.extend(self.shared.webtransport.iter().flat_map(|hub| hub.fresh(cx)));
        while let Poll::Ready(Some(())) = self.drivers.poll_next_unpin(cx) {}
    }

    fn poll_heads(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let mut at = 0;
        while at < self.heads.len() {
            match self.heads[at].poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(opening) => {
                    // In the order they came: what is known in the same turn keeps it.
                    let head = self.heads.remove(at);
                    self.opened(head, opening)?;
                }
            }
        }
        if self.heads.is_empty() {
            self.heads = Vec::new();
        }
        Ok(())
    }

    fn opened(&mut self, head: Head, opening: Result<Opening, Broken>) -> Result<(), Error> {
        let Head { partial, direction, send, recv } = head;
        match (opening, direction) {
            (Ok(Opening::Session(id)), _) if !is_session_id(id) => {
                return Err(self.shared.fail(Code::H3_ID_ERROR, "a session ID that is no request's"));
            }
            (Ok(Opening::Session(id)), _) => self.hub().stream(id, direction, Raw { send, recv: Some(recv) }),
            (Ok(Opening::Other(stream_type)), Direction::Unidirectional) => {
                self.typed.push((recv, StreamType::from(stream_type)));
            }
            (Err(Broken::Connection(error)), _) => return Err(self.shared.ended(error)),
            // RFC 9114 section 6.2: a stream may end or be reset before its type.
            (Err(Broken::Finished | Broken::Reset), Direction::Unidirectional) => {}
            (Err(Broken::Finished), Direction::Bidirectional) if partial.is_sessions() => {
                return Err(self.shared.fail(Code::H3_FRAME_ERROR, "a stream ended within its session ID"));
            }
            (Err(Broken::Reset), Direction::Bidirectional) if partial.is_sessions() => {
                Raw { send, recv: Some(recv) }.refuse(Code::H3_REQUEST_CANCELLED);
            }
            // What went wrong is seen again by whoever reads the request.
            (_, Direction::Bidirectional) if self.shared.role == Role::Server => {
                let send = send.expect("a bidirectional stream has both directions");
                self.requests.push_back(Request { send, recv, begun: partial });
            }
            (Err(_), Direction::Bidirectional) => {
                Raw { send, recv: Some(recv) }.refuse(Code::H3_REQUEST_CANCELLED);
            }
            (Ok(Opening::Other(_)), Direction::Bidirectional) => {
                // RFC 9114 section 6.1: servers open no other ones.
                let code = Code::H3_STREAM_CREATION_ERROR;
                return Err(self.shared.fail(code, "the server opened a bidirectional stream of no session"));
            }
        }
        Ok(())
    }

    /// The connection failed: the sessions are told, but for those whose own end came before that. A client may send it a
    /// packet ahead of its CONNECTION_CLOSE, and both may be there by now.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.poll_drivers(&mut Context::from_waker(Waker::noop()));
        self.hub().close(error);
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let error = match self.shared.quic.close_reason() {
            Some(error) => self.shared.ended(error),
            None => Error::Local { code: Code::H3_NO_ERROR, reason: "nobody drives the connection" },
        };
        self.hub().close(&error);
        for head in std::mem::take(&mut self.heads) {
            Raw { send: head.send, recv: Some(head.recv) }.refuse(Code::H3_REQUEST_REJECTED);
        }
        for mut request in std::mem::take(&mut self.requests) {
            let _ = request.send.reset(to_varint(Code::H3_REQUEST_REJECTED));
            let _ = request.recv.stop(to_varint(Code::H3_REQUEST_REJECTED));
        }
    }
}

/// Why a stream's header never came.
enum Broken {
    Finished,
    Reset,
    Connection(quinn::ConnectionError),
}

impl Head {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Opening, Broken>> {
        loop {
            let read = std::task::ready!(self.recv.poll_read(cx, self.partial.wanted()));
            match read {
                Ok(0) => return Poll::Ready(Err(Broken::Finished)),
                Ok(size) => {
                    if let Some(opening) = self.partial.advance(size) {
                        return Poll::Ready(Ok(opening));
                    }
                }
                Err(quinn::ReadError::ConnectionLost(error)) => return Poll::Ready(Err(Broken::Connection(error))),
                Err(_) => return Poll::Ready(Err(Broken::Reset)),
            }
        }
    }
}
