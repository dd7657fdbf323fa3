//! A response's body, from a backend or of our own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::BodyError;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::metrics::ResetCause;
use crate::upstream::Lease;

/// A response's body, from a backend or of our own.
pub(crate) struct ResponseBody {
    source: Answer,
    exchange: Arc<Exchange>,
    deadline: Option<Pin<Box<Sleep>>>,
}

enum Answer {
    Text(Option<Bytes>),
    Backend { body: Incoming, lease: Option<Lease> },
}

impl ResponseBody {
    /// A body of our own, perhaps empty.
    pub(crate) fn text(text: impl Into<Bytes>, exchange: Arc<Exchange>) -> Self {
        let text = text.into();
        Self { source: Answer::Text((!text.is_empty()).then_some(text)), exchange, deadline: None }
    }

    /// Takes the content of a body of our own away and says how long it was: an answer to HEAD has none (RFC 9110
    /// section 9.3.2). A backend has seen to that itself.
    pub(crate) fn withhold(&mut self) -> Option<usize> {
        match &mut self.source {
            Answer::Text(text) => Some(text.take().map_or(0, |text| text.len())),
            Answer::Backend { .. } => None,
        }
    }

    /// A backend's. At its end the connection goes back to the pool; past the deadline it fails.
    pub(crate) fn backend(
        body: Incoming,
        lease: Option<Lease>,
        exchange: Arc<Exchange>,
        deadline: Option<tokio::time::Instant>,
    ) -> Self {
        let deadline = deadline.map(|at| Box::pin(tokio::time::sleep_until(at)));
        let mut this = Self { source: Answer::Backend { body, lease }, exchange, deadline };
        if this.is_end_stream() {
            this.give_back();
        }
        this
    }

    fn give_back(&mut self) {
        if let Answer::Backend { lease, .. } = &mut self.source
            && let Some(lease) = lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match &mut this.source {
            Answer::Text(text) => text.take().map(|text| Ok(Frame::data(text))),
            Answer::Backend { body, .. } => match Pin::new(body).poll_frame(cx) {
                Poll::Ready(frame) => frame.map(|frame| frame.map_err(BodyError::from)),
                Poll::Pending => {
                    let expired = this.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
                    if !expired {
                        return Poll::Pending;
                    }
                    this.deadline = None;
                    Some(Err(Failure::TimedOut.into()))
                }
            },
        };
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.exchange.sent(data.len());
                }
                if this.is_end_stream() {
                    this.give_back();
                }
            }
            Some(Err(error)) => this.exchange.reset(match error.downcast_ref() {
                Some(Failure::TimedOut) => ResetCause::RequestTimeout,
                _ => ResetCause::BackendReset,
            }),
            None => this.give_back(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Answer::Text(text) => text.is_none(),
            Answer::Backend { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Answer::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Answer::Backend { body, .. } => body.size_hint(),
        }
    }
}
