//! A request's body, from a client on any HTTP version.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::BodyError;
use crate::exchange::Exchange;

/// A request's body, from whatever carried it.
pub(crate) struct RequestBody {
    source: Source,
    exchange: Option<Arc<Exchange>>,
}

enum Source {
    Empty,
    Http1(Incoming),
    Http2(h2::RecvStream),
    /// With what came along with the head, if that was looked at.
    Http3 {
        body: headrace_http3::RecvStream,
        first: Option<Bytes>,
    },
}

impl RequestBody {
    pub(crate) fn empty() -> Self {
        Self { source: Source::Empty, exchange: None }
    }

    pub(crate) fn http1(body: Incoming) -> Self {
        let source = if body.is_end_stream() { Source::Empty } else { Source::Http1(body) };
        Self { source, exchange: None }
    }

    pub(crate) fn http2(body: h2::RecvStream) -> Self {
        let source = if body.is_end_stream() { Source::Empty } else { Source::Http2(body) };
        Self { source, exchange: None }
    }

    /// HTTP/3 does not say in the head whether content follows: the end of the stream does, and mostly comes along with
    /// it. To be looked at here, because an HTTP/1.1 backend has to be told before.
    pub(crate) fn http3(mut body: headrace_http3::RecvStream) -> Self {
        let first = body.poll_data(&mut Context::from_waker(Waker::noop()));
        Self::http3_begun(body, first)
    }

    /// The same, where somebody has looked already.
    pub(crate) fn http3_begun(
        body: headrace_http3::RecvStream,
        first: Poll<Result<Option<Bytes>, headrace_http3::StreamError>>,
    ) -> Self {
        let source = match first {
            Poll::Ready(Ok(None)) => Source::Empty,
            Poll::Ready(Ok(first)) => Source::Http3 { body, first },
            // A broken stream says so again when the backend's connection asks.
            Poll::Ready(Err(_)) | Poll::Pending => Source::Http3 { body, first: None },
        };
        Self { source, exchange: None }
    }

    /// Counts what passes into the exchange from here on.
    pub(crate) fn counted(mut self, exchange: Arc<Exchange>) -> Self {
        self.exchange = Some(exchange);
        self
    }

    /// Whether there is certainly nothing to send, so that a request may be sent twice.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.source, Source::Empty)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match &mut self.source {
            Source::Empty => return Poll::Ready(None),
            Source::Http1(body) => ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(BodyError::from)),
            Source::Http2(body) => ready!(poll_h2(body, cx)),
            Source::Http3 { body, first } => match first.take() {
                Some(first) => Some(Ok(Frame::data(first))),
                None => ready!(poll_h3(body, cx)),
            },
        };
        if let (Some(frame), Some(exchange)) = (&frame, &self.exchange) {
            match frame {
                Ok(frame) => exchange.received(frame.data_ref().map_or(0, Bytes::len)),
                Err(_) => exchange.content_broke(),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Http1(body) => body.is_end_stream(),
            Source::Http2(body) => body.is_end_stream(),
            Source::Http3 { body, first } => first.is_none() && body.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Http1(body) => body.size_hint(),
            Source::Http2(_) | Source::Http3 { .. } => SizeHint::default(),
        }
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

fn poll_h2(body: &mut h2::RecvStream, cx: &mut Context<'_>) -> Polled {
    match ready!(body.poll_data(cx)) {
        Some(Ok(data)) => {
            // The credit goes back at once: the frame is in the hands of the upstream connection, which asked for it.
            let _closed_meanwhile = body.flow_control().release_capacity(data.len());
            Poll::Ready(Some(Ok(Frame::data(data))))
        }
        Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
        None => match ready!(body.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        },
    }
}

fn poll_h3(body: &mut headrace_http3::RecvStream, cx: &mut Context<'_>) -> Polled {
    match ready!(body.poll_data(cx)) {
        Ok(Some(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
        Ok(None) => Poll::Ready(body.trailers().map(|trailers| Ok(Frame::trailers(trailers)))),
        Err(error) => Poll::Ready(Some(Err(error.into()))),
    }
}
