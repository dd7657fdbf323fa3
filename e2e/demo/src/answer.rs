//! The response body of every endpoint, and the short answers that many of them give.
//!
//! Must not know any endpoint.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};

/// A response body of any origin.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An answer with a whole body.
pub(crate) fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A line of plain text.
pub(crate) fn text(status: StatusCode, line: &str) -> Response<Body> {
    whole(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

/// JSON.
pub(crate) fn json(value: &serde_json::Value) -> Response<Body> {
    whole(StatusCode::OK, "application/json", format!("{value}\n"))
}

/// Nothing but a status.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::default().boxed_unsync());
    *response.status_mut() = status;
    response
}
