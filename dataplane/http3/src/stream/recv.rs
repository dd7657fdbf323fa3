//! Owns the receiving half of a request stream: heads, content, trailers, and the order in which frames may come.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Response, StatusCode};

use super::read_error;
use crate::{
    code::Code,
    config::{ENCODED_SLACK, MAX_BEFORE_HEAD},
    control::Role,
    error::{StreamError, to_varint},
    fields::{self, HeadError, Malformed, Protocol, RequestHead},
    frame::{FrameHeader, FrameType, MAX_HEADER_SIZE, body::BodyFrames},
    shared::Shared,
};

/// No Content-Length.
const ANY_LENGTH: u64 = u64::MAX;

/// How much is read at once of what comes after the content, where there is no caller's buffer.
const TAIL_BUFFER: usize = 512;

/// The largest piece of content that is given at once.
const PIECE: usize = 16 << 10;

thread_local! {
    /// Where pieces are put together, once a thread: a stream that waits keeps no buffer, and nothing stays here between
    /// two polls.
    static PIECE_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into());
}

/// How far the message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before the end of the final head.
    Head,
    /// In the content.
    Content,
    /// Within the trailer section.
    Trailers,
    /// After the trailer section, where only unknown frames may be.
    Tail,
    /// The peer ended the stream where it may end.
    End,
    /// Nothing more is received.
    Failed,
}

/// What a client's request was, as far as it says what the response may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Head,
    Connect,
    Other,
}

impl From<&Method> for Asked {
    fn from(method: &Method) -> Self {
        match *method {
            Method::HEAD => Self::Head,
            Method::CONNECT => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// A field section of which some has come.
#[derive(Debug)]
struct PartialSection {
    left: usize,
    octets: BytesMut,
}

/// The receiving half of a request stream.
///
/// Dropped before its end, it asks the peer to stop: with H3_NO_ERROR when a server needs no more of a request
/// (RFC 9114 section 4.1), else with H3_REQUEST_CANCELLED.
#[derive(Debug)]
pub struct RecvStream {
    quic: quinn::RecvStream,
    shared: Arc<Shared>,
    frames: BodyFrames,
    /// What Content-Length lets still come, or [`ANY_LENGTH`].
    content_left: u64,
    section: Option<Box<PartialSection>>,
    trailers: Option<Box<HeaderMap>>,
    phase: Phase,
    asked: Asked,
    /// Whether the stream is a tunnel, on which only DATA may come (RFC 9114 section 4.4).
    tunnel: bool,
    /// Frames that came before the head.
    passed_over: u8,
}

impl RecvStream {
    pub(crate) fn new(quic: quinn::RecvStream, shared: Arc<Shared>, asked: Asked) -> Self {
        shared.add_user();
        let webtransport = shared.webtransport.is_some();
        Self {
            quic,
            shared,
            frames: BodyFrames::new(webtransport),
            content_left: ANY_LENGTH,
            section: None,
            trailers: None,
            phase: Phase::Head,
            asked,
            tunnel: false,
            passed_over: 0,
        }
    }

    /// Takes octets that were read from the stream already: those of an integer, and so not all of a frame's header.
    pub(crate) fn begun(mut self, octets: &[u8]) -> Self {
        let (header, _) = self.frames.header(octets);
        assert!(header.is_none(), "one integer is no frame header");
        self
    }

    /// The QUIC stream's ID, which is the request's on this connection.
    pub fn id(&self) -> u64 {
        quinn::VarInt::from(self.quic.id()).into_inner()
    }

    /// Whether the stream came before the handshake was complete, so that it may be a replay (RFC 8470).
    pub fn is_0rtt(&self) -> bool {
        self.quic.is_0rtt()
    }

    /// Whether the end was reached: all content and trailers were received.
    pub fn is_end(&self) -> bool {
        self.phase == Phase::End
    }

    /// The content that is still to come by Content-Length, if the peer said one. `Some(0)` before the end is certain
    /// means that nothing but the end may come.
    pub fn content_left(&self) -> Option<u64> {
        Some(self.content_left).filter(|left| *left != ANY_LENGTH)
    }

    /// Reads the head of a request.
    pub(crate) async fn request(&mut self) -> Result<RequestHead, StreamError> {
        let section = poll_fn(|cx| self.poll_head(cx)).await?;
        let head = fields::decode_request(&section, self.shared.limits).map_err(|error| self.head_error(error))?;
        if !self.shared.extended_connect && head.request.extensions().get::<Protocol>().is_some() {
            // RFC 9220 section 3 with RFC 8441 section 4: it was not offered, and so `:protocol` is not defined.
            return Err(self.malformed(Malformed::PseudoUnexpected));
        }
        self.tunnel = head.request.method() == Method::CONNECT;
        self.content_left = head.content_length.unwrap_or(ANY_LENGTH);
        self.phase = Phase::Content;
        Ok(head)
    }

    /// Waits for the final response's head. Interim ones are passed over, up to
    /// [`MAX_BEFORE_HEAD`].
    pub async fn response(&mut self) -> Result<Response<()>, StreamError> {
        loop {
            let response = self.response_or_interim().await?;
            if !response.status().is_informational() {
                return Ok(response);
            }
        }
    }

    /// Waits for the next response's head: any number of interim ones (1xx), then the final one. Cancel-safe.
    pub async fn response_or_interim(&mut self) -> Result<Response<()>, StreamError> {
        if self.shared.role != Role::Client {
            return Err(StreamError::Closed);
        }
        let section = poll_fn(|cx| self.poll_head(cx)).await?;
        let head = fields::decode_response(&section, self.shared.limits).map_err(|error| self.head_error(error))?;
        let status = head.response.status();
        if status.is_informational() {
            self.pass_over()?;
            return Ok(head.response);
        }
        self.tunnel = self.asked == Asked::Connect && status.is_success();
        let never_content =
            self.asked == Asked::Head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.content_left = match (self.tunnel, never_content) {
            // RFC 9110 section 9.3.6: a client ignores Content-Length here.
            (true, _) => ANY_LENGTH,
            (false, true) => 0,
            (false, false) => head.content_length.unwrap_or(ANY_LENGTH),
        };
        self.phase = Phase::Content;
        Ok(head.response)
    }

    /// The encoded section of the next HEADERS frame. Nothing after it is read.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, StreamError>> {
        if self.phase != Phase::Head {
            return Poll::Ready(Err(StreamError::Closed));
        }
        loop {
            if let Some(section) = &self.section {
                let left = section.left;
                let chunk = ready!(self.poll_chunk(cx, left as u64))?;
                if let Some(section) = self.take_section(chunk) {
                    return Poll::Ready(Ok(section));
                }
            } else if self.frames.skip_left() > 0 {
                ready!(self.poll_skip(cx))?;
            } else if let Some(header) = ready!(self.poll_header(cx))? {
                match header.frame_type {
                    FrameType::HEADERS => self.begin_section(header)?,
                    unknown if self.frames.is_skipped(unknown) => {
                        self.pass_over()?;
                        self.frames.begin(header);
                        continue;
                    }
                    other => return Poll::Ready(Err(self.unexpected(other))),
                }
                if header.length == 0 {
                    self.section = None;
                    return Poll::Ready(Ok(Bytes::new()));
                }
            } else {
                // RFC 9114 section 4.1: the stream ended without a whole message.
                self.phase = Phase::Failed;
                return Poll::Ready(Err(StreamError::Incomplete));
            }
        }
    }

    /// Counts a frame before the head that is not the head.
    fn pass_over(&mut self) -> Result<(), StreamError> {
        if self.passed_over == MAX_BEFORE_HEAD {
            self.stop(Code::H3_EXCESSIVE_LOAD);
            return Err(StreamError::ExcessiveLoad);
        }
        self.passed_over += 1;
        Ok(())
    }

    /// Adds to the section that is coming. Returns it when it is whole.
    fn take_section(&mut self, chunk: Bytes) -> Option<Bytes> {
        let section = self.section.as_mut()?;
        section.left -= chunk.len();
        if section.left > 0 {
            section.octets.extend_from_slice(&chunk);
            return None;
        }
        let mut section = self.section.take()?;
        if section.octets.is_empty() {
            // The usual case: all of it in one packet, and never copied.
            return Some(chunk);
        }
        section.octets.extend_from_slice(&chunk);
        Some(section.octets.freeze())
    }

    fn begin_section(&mut self, header: FrameHeader) -> Result<(), StreamError> {
        let bound = self.shared.limits.size.saturating_add(ENCODED_SLACK);
        match usize::try_from(header.length) {
            Ok(left) if header.length <= bound => {
                self.section = Some(Box::new(PartialSection { left, octets: BytesMut::new() }));
                Ok(())
            }
            _ => Err(self.too_large()),
        }
    }

    /// The next frame's header, reading no further; `None` when the stream ended in front of it.
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<FrameHeader>, StreamError>> {
        loop {
            let mut octets = [0; MAX_HEADER_SIZE];
            let wanted = self.frames.header_wanted();
            let size = ready!(self.poll_quic(cx, &mut octets[..wanted]))?;
            if size == 0 {
                let between = self.frames.is_between_frames();
                return Poll::Ready(if between { Ok(None) } else { Err(self.cut_off()) });
            }
            if let (Some(header), _) = self.frames.header(&octets[..size]) {
                return Poll::Ready(Ok(Some(header)));
            }
        }
    }

    fn poll_quic(&mut self, cx: &mut Context<'_>, octets: &mut [u8]) -> Poll<Result<usize, StreamError>> {
        ready!(self.quic.poll_read(cx, octets)).map_err(|error| self.quic_error(error)).into()
    }

    /// Some of the current frame's payload, at most `left` octets, as QUIC has it.
    fn poll_chunk(&mut self, cx: &mut Context<'_>, left: u64) -> Poll<Result<Bytes, StreamError>> {
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        // The future has no state between polls, so that a new one each time loses nothing.
        let read = ready!(pin!(self.quic.read_chunk(most, true)).poll(cx));
        let chunk = read.map_err(|error| self.quic_error(error))?;
        Poll::Ready(chunk.map(|chunk| chunk.bytes).ok_or_else(|| self.cut_off()))
    }

    /// Drops the rest of an unknown frame.
    fn poll_skip(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        while self.frames.skip_left() > 0 {
            let chunk = ready!(self.poll_chunk(cx, self.frames.skip_left()))?;
            self.frames.consume(chunk.len());
        }
        Poll::Ready(Ok(()))
    }

    /// Reads content into `buffer`. Returns how many of its first octets are content; 0 means that all content and the
    /// trailers were received and the peer ended the stream.
    ///
    /// Never more is read than `buffer` takes, and nothing of the content is kept between calls. Many small DATA frames
    /// come back as one run. An empty `buffer` gets 0 at once, which says nothing.
    pub fn poll_read_data(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, StreamError>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        while self.phase == Phase::Content {
            let size = ready!(self.poll_quic(cx, buffer))?;
            if size == 0 {
                self.end()?;
                break;
            }
            let compacted = self.frames.compact(&mut buffer[..size]);
            self.count(compacted.content)?;
            if let Some((header, at)) = compacted.other {
                self.begin_trailers(header)?;
                self.tail(&buffer[at..size])?;
            }
            if compacted.content > 0 {
                return Poll::Ready(Ok(compacted.content));
            }
        }
        ready!(self.poll_tail(cx))?;
        Poll::Ready(Ok(0))
    }

    /// Reads content into `buffer`; see [`RecvStream::poll_read_data`]. Cancel-safe.
    pub async fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, StreamError> {
        poll_fn(|cx| self.poll_read_data(cx, buffer)).await
    }

    /// The next piece of content, in an allocation of its own; `None` at the end, as [`RecvStream::poll_read_data`] has it.
    ///
    /// Copied, and not QUIC's own buffers: those are a packet each, so that a body in them takes a lock and a write
    /// onwards every 1200 octets, and keep the packets that they came in.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamError>> {
        PIECE_BUFFER.with_borrow_mut(|buffer| {
            let size = ready!(self.poll_read_data(cx, buffer))?;
            Poll::Ready(Ok((size > 0).then(|| Bytes::copy_from_slice(&buffer[..size]))))
        })
    }

    /// The next piece of content; see [`RecvStream::poll_data`]. Cancel-safe.
    pub async fn data(&mut self) -> Result<Option<Bytes>, StreamError> {
        poll_fn(|cx| self.poll_data(cx)).await
    }

    /// The trailers, once, after the end of the content.
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take().map(|trailers| *trailers)
    }

    /// Asks the peer to stop sending. What has come and was not read is dropped.
    pub fn stop_sending(&mut self, code: Code) {
        if !matches!(self.phase, Phase::End | Phase::Failed) {
            self.stop(code);
        }
    }

    /// Holds content against Content-Length.
    fn count(&mut self, octets: usize) -> Result<(), StreamError> {
        if self.content_left != ANY_LENGTH {
            match self.content_left.checked_sub(octets as u64) {
                Some(left) => self.content_left = left,
                None => return Err(self.malformed(Malformed::ContentLengthMismatch)),
            }
        }
        Ok(())
    }

    /// A frame that is neither DATA nor unknown came after the head.
    fn begin_trailers(&mut self, header: FrameHeader) -> Result<(), StreamError> {
        if header.frame_type != FrameType::HEADERS || self.tunnel {
            return Err(self.unexpected(header.frame_type));
        }
        self.begin_section(header)?;
        self.phase = Phase::Trailers;
        Ok(())
    }

    /// Takes octets that were read after the beginning of the trailers.
    fn tail(&mut self, mut input: &[u8]) -> Result<(), StreamError> {
        loop {
            if self.phase == Phase::Trailers {
                let section = self.section.as_mut().expect("trailers are within a section");
                let here = section.left.min(input.len());
                section.octets.extend_from_slice(&input[..here]);
                section.left -= here;
                input = &input[here..];
                if section.left > 0 {
                    return Ok(());
                }
                self.finish_trailers()?;
            }
            if input.is_empty() {
                return Ok(());
            }
            let skip = usize::try_from(self.frames.skip_left()).unwrap_or(usize::MAX).min(input.len());
            if skip > 0 {
                self.frames.consume(skip);
                input = &input[skip..];
                continue;
            }
            let (header, taken) = self.frames.header(input);
            input = &input[taken..];
            match header {
                Some(header) if self.frames.is_skipped(header.frame_type) => {
                    self.frames.begin(header);
                }
                Some(header) => return Err(self.unexpected(header.frame_type)),
                None => {}
            }
        }
    }

    fn finish_trailers(&mut self) -> Result<(), StreamError> {
        let section = self.section.take().expect("trailers are within a section");
        let trailers = fields::decode_trailers(&section.octets, self.shared.limits);
        self.trailers = Some(Box::new(trailers.map_err(|error| self.head_error(error))?));
        self.phase = Phase::Tail;
        Ok(())
    }

    /// Reads on to the end of the stream.
    fn poll_tail(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        while matches!(self.phase, Phase::Trailers | Phase::Tail) {
            let mut octets = [0; TAIL_BUFFER];
            match ready!(self.poll_quic(cx, &mut octets))? {
                0 => self.end()?,
                size => self.tail(&octets[..size])?,
            }
        }
        Poll::Ready(if self.phase == Phase::End { Ok(()) } else { Err(StreamError::Closed) })
    }

    /// The peer ended the stream.
    fn end(&mut self) -> Result<(), StreamError> {
        if self.section.is_some() || !self.frames.is_between_frames() {
            return Err(self.cut_off());
        }
        if self.content_left != ANY_LENGTH && self.content_left != 0 {
            return Err(self.malformed(Malformed::ContentLengthMismatch));
        }
        self.phase = Phase::End;
        Ok(())
    }

    fn quic_error(&mut self, error: quinn::ReadError) -> StreamError {
        self.phase = Phase::Failed;
        read_error(&self.shared, error)
    }

    /// RFC 9114 section 7.1: a stream ended within a frame.
    fn cut_off(&mut self) -> StreamError {
        self.fail(Code::H3_FRAME_ERROR, "a stream ended within a frame")
    }

    /// RFC 9114 section 7.2: a frame that must not come on this stream, or not now.
    fn unexpected(&mut self, frame_type: FrameType) -> StreamError {
        if frame_type == FrameType::PUSH_PROMISE && self.shared.role == Role::Client {
            // No push was ever allowed, so that every push ID is too large (section 7.2.5).
            return self.fail(Code::H3_ID_ERROR, "a push that was not allowed");
        }
        if frame_type == FrameType::WEBTRANSPORT_STREAM {
            return self.fail(Code::H3_FRAME_ERROR, "a WebTransport stream that does not begin as one");
        }
        self.fail(Code::H3_FRAME_UNEXPECTED, "a frame that is not allowed here on a request stream")
    }

    fn fail(&mut self, code: Code, reason: &'static str) -> StreamError {
        self.phase = Phase::Failed;
        StreamError::Connection(self.shared.fail(code, reason))
    }

    fn head_error(&mut self, error: HeadError) -> StreamError {
        match error {
            HeadError::Qpack(_) => self.fail(Code::QPACK_DECOMPRESSION_FAILED, "a field section is no QPACK"),
            HeadError::TooLarge => self.too_large(),
            HeadError::Malformed(malformed) => self.malformed(malformed),
        }
    }

    fn malformed(&mut self, malformed: Malformed) -> StreamError {
        self.stop(Code::H3_MESSAGE_ERROR);
        StreamError::Malformed(malformed)
    }

    fn too_large(&mut self) -> StreamError {
        // A server answers a request's head with 431 and needs no more of it, which is no error (RFC 9114 section 4.1).
        let answered = self.shared.role == Role::Server && self.phase == Phase::Head;
        self.stop(if answered { Code::H3_NO_ERROR } else { Code::H3_EXCESSIVE_LOAD });
        StreamError::FieldsTooLarge
    }

    fn stop(&mut self, code: Code) {
        self.phase = Phase::Failed;
        self.section = None;
        // A stream that has ended, or whose connection has, needs no stopping.
        let _ = self.quic.stop(to_varint(code));
    }

    /// Whether the end has come and was only not looked at.
    fn is_end_waiting(&mut self) -> bool {
        let mut octet = [0];
        self.phase == Phase::Content
            && self.frames.is_between_frames()
            && matches!(self.quic.poll_read(&mut Context::from_waker(Waker::noop()), &mut octet), Poll::Ready(Ok(0)))
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        if !matches!(self.phase, Phase::End | Phase::Failed) && !self.is_end_waiting() {
            let enough = self.shared.role == Role::Server && !self.tunnel;
            self.stop(if enough { Code::H3_NO_ERROR } else { Code::H3_REQUEST_CANCELLED });
        }
        self.shared.remove_user();
    }
}
