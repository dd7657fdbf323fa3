//! Owns the unidirectional streams of a connection, for both roles: this side's control stream, the peer's control and
//! QPACK streams, and the way of those that are a WebTransport session's. It is polled by whoever owns the connection; no
//! task is spawned.
//!
//! This side opens no QPACK streams: neither table has a capacity, so that no instruction would ever be sent (RFC 9204
//! section 4.2 allows it).

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use quinn::{AcceptUni, OpenUni, ReadDatagram};

use crate::{
    code::Code,
    config::{Config, MAX_UNTYPED_STREAMS},
    control::{ControlEvent, ControlReader, DecoderStreamReader, Fault, Role, read_encoder_stream},
    error::{Error, to_varint},
    frame::{FrameHeader, FrameType, MAX_HEADER_SIZE},
    shared::Shared,
    stream_type::StreamType,
    varint, webtransport,
};

/// How much of a control or QPACK stream is read at once.
const READ_BUFFER: usize = 512;

/// The unidirectional streams of a connection.
#[derive(Debug)]
pub(crate) struct Control {
    shared: Arc<Shared>,
    ours: Option<quinn::SendStream>,
    /// What is still to be written on this side's control stream.
    pending: Vec<u8>,
    control: Option<(quinn::RecvStream, ControlReader)>,
    encoder: Option<quinn::RecvStream>,
    decoder: Option<(quinn::RecvStream, DecoderStreamReader)>,
    /// Streams whose type has not come yet, where there is no router.
    untyped: Vec<Untyped>,
    /// Where WebTransport is offered: streams of either direction go through it. Boxed: most connections have none.
    pub(crate) router: Option<Box<webtransport::Router>>,
}

/// A unidirectional stream of which some octets of the type have come.
#[derive(Debug)]
struct Untyped {
    quic: quinn::RecvStream,
    octets: [u8; varint::MAX_SIZE],
    len: usize,
}

/// The futures of QUIC that must live as long as somebody waits for them.
pub(crate) struct Waits<'a, 'q> {
    pub(crate) quic: &'q quinn::Connection,
    pub(crate) accept: Pin<&'a mut AcceptUni<'q>>,
    pub(crate) open: Pin<&'a mut OpenUni<'q>>,
    pub(crate) datagrams: Pin<&'a mut ReadDatagram<'q>>,
}

/// What [`Control::poll`] left for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// Nothing before the task is woken.
    Waits,
    /// The router has room for streams again that it had none for: take more, and poll again.
    RoomAgain,
}

impl Control {
    pub(crate) fn new(shared: Arc<Shared>, config: &Config) -> Self {
        let mut payload = Vec::new();
        config.settings(shared.role == Role::Server).encode(&mut payload);
        let mut pending = Vec::new();
        varint::append(StreamType::Control.value(), &mut pending);
        append_frame(FrameType::SETTINGS, &payload, &mut pending);
        let router = webtransport::Router::new(&shared).map(Box::new);
        Self { shared, ours: None, pending, control: None, encoder: None, decoder: None, untyped: Vec::new(), router }
    }

    /// Says GOAWAY once this is polled.
    pub(crate) fn go_away(&mut self, id: u64) {
        let mut payload = Vec::new();
        varint::append(id, &mut payload);
        append_frame(FrameType::GOAWAY, &payload, &mut self.pending);
    }

    /// Does what can be done now, and has the task woken when there is more.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, waits: &mut Waits<'_, '_>) -> Result<Polled, Error> {
        self.poll_write(cx, waits)?;
        let polled = if self.router.is_some() {
            self.poll_routed(cx, waits)?
        } else {
            self.poll_accept(cx, waits)?;
            Polled::Waits
        };
        self.poll_untyped(cx)?;
        self.poll_streams(cx)?;
        Ok(polled)
    }

    /// Gives streams to the router, and takes those that are no session's from it.
    fn poll_routed(&mut self, cx: &mut Context<'_>, waits: &mut Waits<'_, '_>) -> Result<Polled, Error> {
        let Some(router) = &mut self.router else { return Ok(Polled::Waits) };
        let mut full = !router.has_room();
        while router.has_room()
            && let Poll::Ready(stream) = waits.accept.as_mut().poll(cx)
        {
            let quic = stream.map_err(|error| self.shared.ended(error))?;
            waits.accept.set(waits.quic.accept_uni());
            router.push(None, quic);
            full = !router.has_room();
        }
        router.poll(cx, waits.quic, waits.datagrams.as_mut())?;
        let polled = if full && router.has_room() { Polled::RoomAgain } else { Polled::Waits };
        while let Some((stream, stream_type)) = self.router.as_deref_mut().and_then(webtransport::Router::next_typed) {
            self.typed(stream, stream_type)?;
        }
        Ok(polled)
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>, waits: &mut Waits<'_, '_>) -> Result<(), Error> {
        while let Poll::Ready(stream) = waits.accept.as_mut().poll(cx) {
            let quic = stream.map_err(|error| self.shared.ended(error))?;
            waits.accept.set(waits.quic.accept_uni());
            if self.untyped.len() == MAX_UNTYPED_STREAMS {
                return Err(self.shared.fail(Code::H3_EXCESSIVE_LOAD, "too many streams without a type"));
            }
            self.untyped.push(Untyped { quic, octets: [0; varint::MAX_SIZE], len: 0 });
        }
        Ok(())
    }

    /// Writes what is pending, on a stream that is opened for it first.
    fn poll_write(&mut self, cx: &mut Context<'_>, waits: &mut Waits<'_, '_>) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.ours.is_none() {
            match waits.open.as_mut().poll(cx) {
                Poll::Ready(Ok(stream)) => self.ours = Some(stream),
                Poll::Ready(Err(error)) => return Err(self.shared.ended(error)),
                Poll::Pending => return Ok(()),
            }
        }
        let Some(stream) = &mut self.ours else { return Ok(()) };
        while !self.pending.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, &self.pending) {
                Poll::Ready(Ok(written)) => {
                    self.pending.drain(..written);
                }
                Poll::Ready(Err(quinn::WriteError::ConnectionLost(error))) => return Err(self.shared.ended(error)),
                Poll::Ready(Err(_)) => {
                    return Err(self.shared.fail(Code::H3_CLOSED_CRITICAL_STREAM, "the control stream was stopped"));
                }
                Poll::Pending => return Ok(()),
            }
        }
        // Idle connections keep no buffer.
        self.pending = Vec::new();
        Ok(())
    }

    fn poll_untyped(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let mut at = 0;
        while at < self.untyped.len() {
            match self.untyped[at].poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(stream_type)) => {
                    let stream = self.untyped.swap_remove(at).quic;
                    self.typed(stream, stream_type)?;
                }
                Poll::Ready(Err(Some(error))) => return Err(self.shared.ended(error)),
                // RFC 9114 section 6.2: a stream may end or be reset before its type.
                Poll::Ready(Err(None)) => {
                    self.untyped.swap_remove(at);
                }
            }
        }
        if self.untyped.is_empty() {
            self.untyped = Vec::new();
        }
        Ok(())
    }

    /// Puts a stream in its place. There is one of each kind (RFC 9114 section 6.2.1, RFC 9204 section 4.2).
    fn typed(&mut self, mut stream: quinn::RecvStream, stream_type: StreamType) -> Result<(), Error> {
        let twice = match stream_type {
            StreamType::Control => {
                let reader = ControlReader::new(self.shared.role).with_webtransport(self.router.is_some());
                self.control.replace((stream, reader)).is_some()
            }
            StreamType::QpackEncoder => self.encoder.replace(stream).is_some(),
            StreamType::QpackDecoder => self.decoder.replace((stream, DecoderStreamReader::default())).is_some(),
            StreamType::Push if self.shared.role == Role::Server => {
                return Err(self.shared.fail(Code::H3_STREAM_CREATION_ERROR, "a client pushed"));
            }
            StreamType::Push => {
                // RFC 9114 section 4.6: no push ID was ever allowed.
                return Err(self.shared.fail(Code::H3_ID_ERROR, "a push that was not allowed"));
            }
            StreamType::WebTransport | StreamType::Unknown(_) => {
                // RFC 9114 section 6.2: not read, and no error of the connection. One that has ended needs no stopping.
                let _ = stream.stop(to_varint(Code::H3_STREAM_CREATION_ERROR));
                false
            }
        };
        if twice {
            return Err(self.shared.fail(Code::H3_STREAM_CREATION_ERROR, "a second stream of a kind"));
        }
        Ok(())
    }

    fn poll_streams(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let shared = &self.shared;
        if let Some((stream, reader)) = &mut self.control {
            drain(shared, stream, cx, |octets| reader.read(octets, |event| control_event(shared, event)))?;
        }
        if let Some(stream) = &mut self.encoder {
            drain(shared, stream, cx, read_encoder_stream)?;
        }
        if let Some((stream, reader)) = &mut self.decoder {
            drain(shared, stream, cx, |octets| reader.read(octets))?;
        }
        Ok(())
    }
}

fn control_event(shared: &Shared, event: ControlEvent) {
    match event {
        ControlEvent::Settings(settings) => shared.set_peer_settings(settings),
        ControlEvent::GoAway(id) => shared.set_goaway(id),
        // Streams belong to the application by now: the `priority` header of their requests is what it goes by.
        ControlEvent::Priority { stream, priority } => tracing::trace!(stream, ?priority, "PRIORITY_UPDATE"),
    }
}

/// Reads what has come on a stream that must never end.
fn drain(
    shared: &Shared,
    stream: &mut quinn::RecvStream,
    cx: &mut Context<'_>,
    mut read: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<(), Error> {
    let mut octets = [0; READ_BUFFER];
    while let Poll::Ready(size) = stream.poll_read(cx, &mut octets) {
        match size {
            Ok(size) if size > 0 => {
                read(&octets[..size]).map_err(|fault| shared.fail(fault.code, fault.reason))?;
            }
            Err(quinn::ReadError::ConnectionLost(error)) => return Err(shared.ended(error)),
            // RFC 9114 section 6.2.1, RFC 9204 section 4.2.
            Ok(_) | Err(_) => {
                return Err(shared.fail(Code::H3_CLOSED_CRITICAL_STREAM, "a control or QPACK stream was closed"));
            }
        }
    }
    Ok(())
}

impl Untyped {
    /// The stream's type; `None` as an error when the stream ended without one.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<StreamType, Option<quinn::ConnectionError>>> {
        loop {
            let size = match self.len {
                0 => 1,
                _ => varint::size_from_first(self.octets[0]),
            };
            match ready!(self.quic.poll_read(cx, &mut self.octets[self.len..size])) {
                Ok(0) => return Poll::Ready(Err(None)),
                Ok(read) => self.len += read,
                Err(quinn::ReadError::ConnectionLost(error)) => return Poll::Ready(Err(Some(error))),
                Err(_) => return Poll::Ready(Err(None)),
            }
            if let Some((value, _)) = varint::decode(&self.octets[..self.len]) {
                return Poll::Ready(Ok(StreamType::from(value)));
            }
        }
    }
}

fn append_frame(frame_type: FrameType, payload: &[u8], out: &mut Vec<u8>) {
    let mut header = [0; MAX_HEADER_SIZE];
    let size = FrameHeader { frame_type, length: payload.len() as u64 }.encode(&mut header);
    out.extend_from_slice(&header[..size]);
    out.extend_from_slice(payload);
}
