//! What hyper needs to send content as a test dictates it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use http_body::{Body, Frame};
use tokio::sync::mpsc;

use super::Cut;

/// A request's content, fed from elsewhere.
pub(crate) struct Content(Option<mpsc::Receiver<Option<Frame<Bytes>>>>);

/// Feeds a [`Content`].
pub(crate) struct Feed(Option<mpsc::Sender<Option<Frame<Bytes>>>>);

pub(super) fn content(more: bool) -> (Content, Feed) {
    let (feed, content) = mpsc::channel(1);
    if more { (Content(Some(content)), Feed(Some(feed))) } else { (Content(None), Feed(None)) }
}

impl Feed {
    pub(super) async fn send(&mut self, frame: Frame<Bytes>) -> Result<(), Cut> {
        let sent = self.0.as_ref().unwrap().send(Some(frame)).await;
        sent.map_err(|_| Cut::Broken("the connection takes no more".to_owned()))
    }

    pub(super) fn finish(&mut self) {
        self.0 = None;
    }

    /// The content breaks off: hyper closes the connection.
    pub(super) fn fail(self) {
        if let Some(feed) = self.0 {
            tokio::spawn(async move { feed.send(None).await });
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let Some(content) = &mut self.0 else { return Poll::Ready(None) };
        content.poll_recv(cx).map(|frame| frame.map(|frame| frame.ok_or_else(|| std::io::Error::other("given up"))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

/// RFC 9112 section 3.2.1: the target without its authority, which goes to `Host`.
pub(super) fn origin_form(mut request: Request<()>) -> Request<()> {
    let uri = std::mem::take(request.uri_mut());
    if let Some(authority) = uri.authority()
        && !request.headers().contains_key(header::HOST)
    {
        let host = HeaderValue::from_str(authority.as_str()).unwrap();
        request.headers_mut().insert(header::HOST, host);
    }
    *request.uri_mut() = uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
    request
}
