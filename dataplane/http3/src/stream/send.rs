//! Owns the sending half of a request stream: heads, DATA frames, trailers, and how it ends.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::write_error;
use crate::{
    code::Code,
    control::Role,
    error::{StreamError, from_varint, to_varint},
    fields::{self, Unsendable},
    frame::{FrameHeader, FrameType, MAX_HEADER_SIZE},
    shared::Shared,
};

/// How much content goes into one allocation with its frame header, so that QUIC gets both at once. Larger content
/// continues in an allocation of its own, which QUIC makes for what it takes: this is also the most that is copied in
/// vain when QUIC takes nothing.
const COALESCED: usize = 4096;

/// Octets left free in front of an encoded section for its frame header: a type and a length of up to 2^30.
const SECTION_HEADROOM: usize = 5;

/// How far the message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its head was not sent.
    Head,
    /// Its head was sent.
    Content,
    /// Trailers were sent.
    Trailers,
    /// A write of several steps is under way, or was dropped: nothing can follow.
    Writing,
    /// It is complete.
    Finished,
    /// The stream was reset by this side.
    Reset,
}

/// The sending half of a request stream.
///
/// Dropped before [`SendStream::finish`], it resets the stream with H3_REQUEST_CANCELLED, so that a message that was cut
/// off is never taken for a whole one.
#[derive(Debug)]
pub struct SendStream {
    quic: quinn::SendStream,
    shared: Arc<Shared>,
    /// What the current DATA frame declared and is still to get.
    left: u64,
    /// Octets at the end of the current DATA frame's header that QUIC did not take yet. `left` is then all it declared.
    header_left: u8,
    phase: Phase,
    tunnel: bool,
}

impl SendStream {
    pub(crate) fn new(quic: quinn::SendStream, shared: Arc<Shared>) -> Self {
        shared.add_user();
        Self { quic, shared, left: 0, header_left: 0, phase: Phase::Head, tunnel: false }
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Notes that this stream is, or may become, a tunnel (RFC 9114 section 4.4).
    pub(crate) fn set_tunnel(&mut self) {
        self.tunnel = true;
    }

    /// The QUIC stream's ID, which is the request's on this connection.
    pub fn id(&self) -> u64 {
        quinn::VarInt::from(self.quic.id()).into_inner()
    }

    pub(crate) async fn send_request(&mut self, section: Section) -> Result<(), StreamError> {
        self.send_section(section, Phase::Content).await
    }

    /// Sends the final response's head. Content may follow.
    pub async fn send_response<T>(&mut self, response: Response<T>) -> Result<(), StreamError> {
        if self.phase != Phase::Head {
            return Err(StreamError::Closed);
        }
        if response.status().is_informational() {
            return Err(Unsendable::Status.into());
        }
        let tunnel = self.tunnel && response.status().is_success();
        let section = Section::encode(&self.shared, |out| fields::encode_response(&response, tunnel, out))?;
        // A CONNECT that is refused gets an ordinary response.
        self.tunnel = tunnel;
        self.send_section(section, Phase::Content).await?;
        self.shared.answered();
        Ok(())
    }

    /// Sends an interim response (1xx, but not 101) before the final one.
    pub async fn send_informational<T>(&mut self, response: Response<T>) -> Result<(), StreamError> {
        if self.phase != Phase::Head {
            return Err(StreamError::Closed);
        }
        if !response.status().is_informational() {
            return Err(Unsendable::Status.into());
        }
        let section = Section::encode(&self.shared, |out| fields::encode_response(&response, false, out))?;
        self.send_section(section, Phase::Head).await
    }

    /// Sends trailers, after which only [`SendStream::finish`] remains.
    pub async fn send_trailers(&mut self, trailers: HeaderMap) -> Result<(), StreamError> {
        self.check_content()?;
        if self.left > 0 {
            return Err(StreamError::Closed);
        }
        if self.tunnel {
            return Err(Unsendable::TunnelTrailers.into());
        }
        let section = Section::encode(&self.shared, |out| Ok(fields::encode_trailers(&trailers, out)))?;
        self.send_section(section, Phase::Trailers).await
    }

    async fn send_section(&mut self, section: Section, then: Phase) -> Result<(), StreamError> {
        self.phase = Phase::Writing;
        let written = self.quic.write_all_chunks(&mut [section.into_frame()]).await;
        written.map_err(|error| write_error(&self.shared, error))?;
        self.phase = then;
        Ok(())
    }

    fn check_content(&self) -> Result<(), StreamError> {
        if self.phase == Phase::Content { Ok(()) } else { Err(StreamError::Closed) }
    }

    /// Offers content. Returns how much of it was taken, at least one octet of a slice that is not empty.
    ///
    /// It is a byte pipe: octets that were not taken must be offered again before any others, because the DATA frame
    /// that was begun declares them. Nothing is buffered on this side of QUIC's windows; when those are full, the task
    /// is woken once they have room.
    pub fn poll_write_data(&mut self, cx: &mut Context<'_>, content: &[u8]) -> Poll<Result<usize, StreamError>> {
        self.check_content()?;
        if content.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.left == 0 {
            return self.poll_begin_frame(cx, content);
        }
        if self.header_left > 0 {
            ready!(self.poll_rest_of_header(cx))?;
        }
        let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(content.len());
        let taken = ready!(self.poll_write(cx, &content[..here]))?;
        self.left -= taken as u64;
        Poll::Ready(Ok(taken))
    }

    /// Begins a DATA frame of all of `content`.
    fn poll_begin_frame(&mut self, cx: &mut Context<'_>, content: &[u8]) -> Poll<Result<usize, StreamError>> {
        let (header, header_size) = data_header(content.len() as u64);
        let first = content.len().min(COALESCED);
        let mut frame = Vec::with_capacity(header_size + first);
        frame.extend_from_slice(&header[..header_size]);
        frame.extend_from_slice(&content[..first]);
        let written = ready!(self.poll_write_owned(cx, frame.into()))?;

        if written < header_size {
            self.left = content.len() as u64;
            self.header_left = (header_size - written) as u8;
            // No content was taken. This registers the task, or goes on when a window opened meanwhile.
            return self.poll_write_data(cx, content);
        }
        let mut taken = written - header_size;
        self.left = (content.len() - taken) as u64;
        if taken == first && first < content.len() {
            // Pending is no answer here: the first part was taken.
            if let Poll::Ready(more) = self.poll_write(cx, &content[first..]) {
                let more = more?;
                taken += more;
                self.left -= more as u64;
            }
        }
        if taken == 0 { self.poll_write_data(cx, content) } else { Poll::Ready(Ok(taken)) }
    }

    fn poll_rest_of_header(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let (header, size) = data_header(self.left);
        while self.header_left > 0 {
            let from = size - usize::from(self.header_left);
            let written = ready!(self.poll_write(cx, &header[from..size]))?;
            self.header_left -= written as u8;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<Result<usize, StreamError>> {
        let written = ready!(std::pin::Pin::new(&mut self.quic).poll_write(cx, octets));
        Poll::Ready(written.map_err(|error| write_error(&self.shared, error)))
    }

    fn poll_write_owned(&mut self, cx: &mut Context<'_>, octets: Bytes) -> Poll<Result<usize, StreamError>> {
        let mut chunks = [octets];
        // The future has no state between polls, so that a new one each time loses nothing.
        let written = ready!(pin!(self.quic.write_chunks(&mut chunks)).poll(cx));
        Poll::Ready(written.map(|written| written.bytes).map_err(|error| write_error(&self.shared, error)))
    }

    /// Offers content and waits until some of it is taken; see [`SendStream::poll_write_data`].
    pub async fn write_data(&mut self, content: &[u8]) -> Result<usize, StreamError> {
        poll_fn(|cx| self.poll_write_data(cx, content)).await
    }

    /// Sends all of `content` as one DATA frame, without copying it. When this is dropped half-way, the stream can only
    /// be reset.
    pub async fn send_data(&mut self, content: Bytes) -> Result<(), StreamError> {
        self.check_content()?;
        if content.is_empty() {
            return Ok(());
        }
        if self.left > 0 {
            // A frame was begun by `poll_write_data`: its octets come first.
            let mut rest = &content[..];
            while !rest.is_empty() {
                let taken = self.write_data(rest).await?;
                rest = &rest[taken..];
            }
            return Ok(());
        }
        let (header, size) = data_header(content.len() as u64);
        self.phase = Phase::Writing;
        let written = self.quic.write_all_chunks(&mut [Bytes::copy_from_slice(&header[..size]), content]).await;
        written.map_err(|error| write_error(&self.shared, error))?;
        self.phase = Phase::Content;
        Ok(())
    }

    /// Ends the message: the peer sees the end of the stream. After content that was begun and not taken whole, or
    /// before any head, it is an error and resets the stream with H3_INTERNAL_ERROR.
    pub fn finish(&mut self) -> Result<(), StreamError> {
        if self.phase == Phase::Finished {
            return Ok(());
        }
        if !matches!(self.phase, Phase::Content | Phase::Trailers) || self.left > 0 {
            self.reset(Code::H3_INTERNAL_ERROR);
            return Err(StreamError::Closed);
        }
        self.phase = Phase::Finished;
        self.quic.finish().map_err(|_| StreamError::Closed)
    }

    /// Ends the stream abruptly. What QUIC has not delivered is not delivered any more.
    pub fn reset(&mut self, code: Code) {
        if self.phase != Phase::Reset {
            // Only a server's stream can be at its head, and these codes say that it was this side's own decision.
            let own = matches!(code, Code::H3_REQUEST_REJECTED | Code::H3_INTERNAL_ERROR);
            if self.phase == Phase::Head && self.shared.role == Role::Server && !own {
                self.shared.unanswered();
            }
            self.phase = Phase::Reset;
            // The stream may have been stopped by the peer, or the connection lost: then it is as good as reset.
            let _ = self.quic.reset(to_varint(code));
        }
    }

    /// Sets the order in which QUIC sends when several streams have something to send: larger numbers first.
    pub fn set_priority(&mut self, priority: i32) {
        // A stream that is closed has nothing to send.
        let _ = self.quic.set_priority(priority);
    }

    /// Waits until the peer takes no more: the code when it stopped the stream, `None` when it took everything up to the
    /// end. The future does not borrow the stream.
    pub fn stopped(&self) -> impl Future<Output = Result<Option<Code>, StreamError>> + Send + use<> {
        let stopped = self.quic.stopped();
        let shared = Arc::clone(&self.shared);
        async move {
            match stopped.await {
                Ok(code) => Ok(code.map(from_varint)),
                Err(error) => Err(write_error(&shared, error.into())),
            }
        }
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if !matches!(self.phase, Phase::Finished | Phase::Reset) {
            self.reset(Code::H3_REQUEST_CANCELLED);
        }
        self.shared.remove_user();
    }
}

fn data_header(length: u64) -> ([u8; MAX_HEADER_SIZE], usize) {
    let mut octets = [0; MAX_HEADER_SIZE];
    let size = FrameHeader { frame_type: FrameType::DATA, length }.encode(&mut octets);
    (octets, size)
}

/// An encoded field section with room for its frame header in front.
pub(crate) struct Section {
    octets: Vec<u8>,
}

impl Section {
    /// Encodes a section, unless it is larger than the peer takes (RFC 9114 section 4.2.2).
    pub(crate) fn encode(
        shared: &Shared,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<u64, Unsendable>,
    ) -> Result<Self, Unsendable> {
        /// What most heads take, encoded.
        const USUAL: usize = 256;
        let mut octets = Vec::with_capacity(USUAL);
        octets.resize(SECTION_HEADROOM, 0);
        let size = encode(&mut octets)?;
        let limit = shared.peer_max_field_section_size();
        if size > limit { Err(Unsendable::TooLarge { size, limit }) } else { Ok(Self { octets }) }
    }

    /// The HEADERS frame.
    fn into_frame(mut self) -> Bytes {
        let length = (self.octets.len() - SECTION_HEADROOM) as u64;
        let mut header = [0; MAX_HEADER_SIZE];
        let size = FrameHeader { frame_type: FrameType::HEADERS, length }.encode(&mut header);
        if size > SECTION_HEADROOM {
            // Over a gigabyte of headers: correct, if slow.
            self.octets.splice(..SECTION_HEADROOM, header[..size].iter().copied());
            return self.octets.into();
        }
        let start = SECTION_HEADROOM - size;
        self.octets[start..SECTION_HEADROOM].copy_from_slice(&header[..size]);
        Bytes::from(self.octets).slice(start..)
    }
}
