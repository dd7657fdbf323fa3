//! Owns the server's side of a connection: requests come out of it, and it goes away gracefully.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use http::{Method, Request, Response, StatusCode};
use quinn::AcceptBi;

use crate::{
    code::Code,
    config::Config,
    connection::{Control, Polled, Waits},
    control::Role,
    error::{Error, StreamError, to_varint},
    settings::Settings,
    shared::Shared,
    stream::{Asked, RecvStream, SendStream},
    webtransport,
};

/// The distance between the IDs of two request streams (RFC 9000 section 2.1).
const STREAM_ID_STEP: u64 = 4;

/// A connection from a client. One task owns it and calls [`Connection::accept`] again and again.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    control: Control,
    /// The ID of the first request stream that was not accepted.
    next_id: u64,
    going_away: bool,
}

impl Connection {
    /// Takes over a QUIC connection whose ALPN is `h3`. Nothing is sent before the first [`Connection::accept`].
    pub fn new(quic: quinn::Connection, config: &Config) -> Self {
        let shared = Arc::new(Shared::new(quic, Role::Server, config));
        let control = Control::new(Arc::clone(&shared), config);
        Self { shared, control, next_id: 0, going_away: false }
    }

    /// The QUIC connection.
    pub fn quic(&self) -> &quinn::Connection {
        &self.shared.quic
    }

    /// What the client announced, once it has come.
    pub fn peer_settings(&self) -> Option<&Settings> {
        self.shared.peer_settings()
    }

    /// What was refused of the client's WebTransport for want of room.
    pub fn refused(&self) -> webtransport::Refused {
        self.shared.webtransport.as_deref().map(webtransport::Hub::refused).unwrap_or_default()
    }

    /// Waits for the next request stream. Its head is read by [`Incoming::resolve`], so that a slow one delays nothing.
    ///
    /// It also serves the control and QPACK streams, and so must be called again while requests are being worked on.
    /// Cancel-safe. `None` means that the client closed the connection with H3_NO_ERROR, or that
    /// [`Connection::shutdown`] was called and both halves of every accepted stream were dropped: then what QUIC still
    /// has to deliver is on its way, and the client should get a little time to close by [`Connection::closed`],
    /// before [`Connection::close`] does.
    pub async fn accept(&mut self) -> Result<Option<Incoming>, Error> {
        let shared = Arc::clone(&self.shared);
        let quic = &shared.quic;
        let mut requests = pin!(quic.accept_bi());
        let mut waits = Waits {
            quic,
            accept: pin!(quic.accept_uni()),
            open: pin!(quic.open_uni()),
            datagrams: pin!(quic.read_datagram()),
        };
        let accepted = poll_fn(|cx| {
            if self.control.router.is_some() {
                self.poll_routed(cx, requests.as_mut(), &mut waits)
            } else {
                self.poll_accept(cx, requests.as_mut(), &mut waits)
            }
        });
        let accepted = accepted.await;
        // However well the connection ended, its sessions are told.
        if let (Ok(None) | Err(_), Some(router), Some(error)) =
            (&accepted, &mut self.control.router, quic.close_reason())
        {
            router.fail(&self.shared.ended(error));
        }
        accepted
    }

    fn poll_accept<'q>(
        &mut self,
        cx: &mut Context<'_>,
        mut requests: Pin<&mut AcceptBi<'q>>,
        waits: &mut Waits<'_, 'q>,
    ) -> Poll<Result<Option<Incoming>, Error>> {
        while let Poll::Ready(streams) = requests.as_mut().poll(cx) {
            match streams {
                Ok((send, recv)) if self.going_away => refuse(send, recv),
                Ok((send, recv)) => {
                    self.next_id = quinn::VarInt::from(send.id()).into_inner() + STREAM_ID_STEP;
                    return Poll::Ready(Ok(Some(Incoming::new(send, recv, &self.shared))));
                }
                Err(error) => return Poll::Ready(end(self.shared.ended(error))),
            }
            requests.set(waits.quic.accept_bi());
        }
        if let Err(error) = self.control.poll(cx, waits) {
            return Poll::Ready(end(error));
        }
        if self.going_away && self.shared.poll_unused(cx).is_ready() {
            return Poll::Ready(Ok(None));
        }
        Poll::Pending
    }

    /// Where WebTransport is offered, what a stream is for is known only from its first octets.
    fn poll_routed<'q>(
        &mut self,
        cx: &mut Context<'_>,
        mut requests: Pin<&mut AcceptBi<'q>>,
        waits: &mut Waits<'_, 'q>,
    ) -> Poll<Result<Option<Incoming>, Error>> {
        loop {
            match self.poll_streams(cx, requests.as_mut(), waits) {
                Err(error) => return Poll::Ready(end(error)),
                Ok((Some(incoming), _)) => return Poll::Ready(Ok(Some(incoming))),
                Ok((None, Polled::RoomAgain)) => {}
                Ok((None, Polled::Waits)) => break,
            }
        }
        if self.going_away && self.shared.poll_unused(cx).is_ready() {
            return Poll::Ready(Ok(None));
        }
        Poll::Pending
    }

    /// Gives streams to the router and polls everything. Returns the next request, unless the client was told that this
    /// side is going away before it came: then it is refused.
    fn poll_streams<'q>(
        &mut self,
        cx: &mut Context<'_>,
        mut requests: Pin<&mut AcceptBi<'q>>,
        waits: &mut Waits<'_, 'q>,
    ) -> Result<(Option<Incoming>, Polled), Error> {
        let mut full = false;
        while let Some(router) = &mut self.control.router {
            full = !router.has_room();
            if full {
                break;
            }
            match requests.as_mut().poll(cx) {
                Poll::Ready(Ok((send, recv))) => router.push(Some(send), recv),
                Poll::Ready(Err(error)) => return Err(self.shared.ended(error)),
                Poll::Pending => break,
            }
            requests.set(waits.quic.accept_bi());
        }
        let mut polled = self.control.poll(cx, waits)?;
        while let Some(request) = self.control.router.as_deref_mut().and_then(webtransport::Router::next_request) {
            let id = quinn::VarInt::from(request.send.id()).into_inner();
            if self.going_away && id >= self.next_id {
                refuse(request.send, request.recv);
                continue;
            }
            self.next_id = self.next_id.max(id + STREAM_ID_STEP);
            return Ok((Some(Incoming::routed(request, &self.shared)), polled));
        }
        if full && self.control.router.as_deref().is_some_and(webtransport::Router::has_room) {
            polled = Polled::RoomAgain;
        }
        Ok((None, polled))
    }

    /// Takes no more requests: the client is told so with GOAWAY (RFC 9114 section 5.2) once [`Connection::accept`] is
    /// called, requests that come later are reset with H3_REQUEST_REJECTED, so that the client can send them elsewhere,
    /// and accepted ones go on.
    pub fn shutdown(&mut self) {
        if !self.going_away {
            self.going_away = true;
            self.control.go_away(self.next_id);
        }
    }

    /// Waits until the connection has ended, refusing every request. It is for the time after [`Connection::accept`]
    /// returned `None`, and belongs under a timeout. Cancel-safe.
    pub async fn closed(&mut self) -> Error {
        self.shutdown();
        let shared = Arc::clone(&self.shared);
        let quic = &shared.quic;
        let mut requests = pin!(quic.accept_bi());
        let mut waits = Waits {
            quic,
            accept: pin!(quic.accept_uni()),
            open: pin!(quic.open_uni()),
            datagrams: pin!(quic.read_datagram()),
        };
        poll_fn(|cx| {
            if self.control.router.is_some() {
                return self.poll_closed_routed(cx, requests.as_mut(), &mut waits);
            }
            while let Poll::Ready(streams) = requests.as_mut().poll(cx) {
                match streams {
                    Ok((send, recv)) => refuse(send, recv),
                    Err(error) => return Poll::Ready(self.shared.ended(error)),
                }
                requests.set(quic.accept_bi());
            }
            self.control.poll(cx, &mut waits).err().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    fn poll_closed_routed<'q>(
        &mut self,
        cx: &mut Context<'_>,
        mut requests: Pin<&mut AcceptBi<'q>>,
        waits: &mut Waits<'_, 'q>,
    ) -> Poll<Error> {
        loop {
            match self.poll_streams(cx, requests.as_mut(), waits) {
                Err(error) => return Poll::Ready(error),
                Ok((Some(incoming), _)) => incoming.refuse(),
                Ok((None, Polled::RoomAgain)) => {}
                Ok((None, Polled::Waits)) => return Poll::Pending,
            }
        }
    }

    /// Closes the connection at once: every stream ends, and what is in flight may be lost.
    pub fn close(&self, code: Code, reason: &'static str) {
        self.shared.fail(code, reason);
    }
}

fn end(error: Error) -> Result<Option<Incoming>, Error> {
    if error.is_graceful() { Ok(None) } else { Err(error) }
}

fn refuse(mut send: quinn::SendStream, mut recv: quinn::RecvStream) {
    // Streams that have ended by themselves need neither.
    let _ = send.reset(to_varint(Code::H3_REQUEST_REJECTED));
    let _ = recv.stop(to_varint(Code::H3_REQUEST_REJECTED));
}

/// A request stream whose head was not read.
#[derive(Debug)]
pub struct Incoming {
    send: SendStream,
    recv: RecvStream,
}

impl Incoming {
    fn new(send: quinn::SendStream, recv: quinn::RecvStream, shared: &Arc<Shared>) -> Self {
        Self {
            send: SendStream::new(send, Arc::clone(shared)),
            recv: RecvStream::new(recv, Arc::clone(shared), Asked::Other),
        }
    }

    /// A request of which some octets were read to tell it from a session's stream.
    fn routed(request: webtransport::Request, shared: &Arc<Shared>) -> Self {
        let webtransport::Request { send, recv, begun } = request;
        let Self { send, recv } = Self::new(send, recv, shared);
        Self { send, recv: recv.begun(begun.octets()) }
    }

    /// The QUIC stream's ID.
    pub fn id(&self) -> u64 {
        self.recv.id()
    }

    /// Whether the request came before the handshake was complete, so that it may be a replay (RFC 8470).
    pub fn is_0rtt(&self) -> bool {
        self.recv.is_0rtt()
    }

    /// Reads the request's head. How long that may take is for the caller to bound: dropping the future resets the
    /// stream.
    ///
    /// A malformed request is reset with H3_MESSAGE_ERROR, one that ends early with H3_REQUEST_INCOMPLETE (RFC 9114
    /// section 4.1), and one whose fields are too large is answered with 431 (section 4.2.2), before the error comes
    /// back.
    pub async fn resolve(mut self) -> Result<(Request<()>, SendStream, RecvStream), StreamError> {
        match self.recv.request().await {
            Ok(head) => {
                if head.request.method() == Method::CONNECT {
                    self.send.set_tunnel();
                }
                Ok((head.request, self.send, self.recv))
            }
            Err(StreamError::FieldsTooLarge) => {
                let mut response = Response::new(());
                *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                self.send.send_response(response).await?;
                self.send.finish()?;
                Err(StreamError::FieldsTooLarge)
            }
            Err(StreamError::Reset(code)) => {
                self.send.reset(Code::H3_REQUEST_CANCELLED);
                Err(StreamError::Reset(code))
            }
            Err(error) => {
                self.send.reset(error.code());
                Err(error)
            }
        }
    }

    /// Refuses the request without reading it, so that the client can send it elsewhere.
    pub fn refuse(mut self) {
        self.send.reset(Code::H3_REQUEST_REJECTED);
        self.recv.stop_sending(Code::H3_REQUEST_REJECTED);
    }
}
