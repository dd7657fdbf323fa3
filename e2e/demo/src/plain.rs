//! The plain requests: the page, bodies of any size, and what tests ask of a backend.
//!
//! Bodies stream in both directions: none is ever held whole. Must not know WebSocket.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::json;

use crate::answer::{self, Body};

const PAGE: &str = include_str!("page.html");

/// The page brings all it needs and talks to its own origin only.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                           img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'";

/// The largest body on offer: enough for an hour's transfer, and an end.
const MAX_BYTES: u64 = 10 << 30;

/// The piece in which bodies are sent.
const PIECE_OCTETS: usize = 64 << 10;

/// A body's octets repeat this, so that a byte lost or out of place shows: a prime number of them never lines up with
/// a buffer.
const PATTERN_OCTETS: usize = 251;

/// The longest time to be late by.
const MAX_SLOW: Duration = Duration::from_secs(120);

pub(crate) fn page<B>(request: &Request<B>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer::empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    let mut response = answer::whole(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    response
}

/// `/bytes/N`: N octets, where octet i is i modulo 251.
pub(crate) fn bytes(method: &Method, size: &str) -> Response<Body> {
    let size = match size.parse::<u64>() {
        Ok(size) if size <= MAX_BYTES => size,
        _ => return answer::text(StatusCode::BAD_REQUEST, "the size is a number up to 10 GiB"),
    };
    let body = if method == Method::HEAD { answer::Body::default() } else { pattern(size) };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A stream of the pattern. All pieces are views of one buffer that is made once a request.
fn pattern(size: u64) -> Body {
    let buffer_octets = size.min((PIECE_OCTETS + PATTERN_OCTETS) as u64) as usize;
    let buffer: Bytes = (0..buffer_octets).map(|index| (index % PATTERN_OCTETS) as u8).collect();
    StreamBody::new(stream::unfold(0u64, move |sent| {
        let piece = (size > sent).then(|| {
            let start = (sent % PATTERN_OCTETS as u64) as usize;
            let length = (size - sent).min(PIECE_OCTETS as u64) as usize;
            let next = sent + length as u64;
            (Ok::<_, Infallible>(Frame::data(buffer.slice(start..start + length))), next)
        });
        std::future::ready(piece)
    }))
    .boxed_unsync()
}

/// `/headers`: the request's head as it arrived here.
pub(crate) fn headers<B>(request: &Request<B>) -> Response<Body> {
    answer::json(&json!({
        "method": request.method().as_str(),
        "path": request.uri().to_string(),
        "version": format!("{:?}", request.version()),
        "headers": pairs(request.headers()),
    }))
}

/// Name and value of every header line, in the order of the names' first arrival.
fn pairs(headers: &HeaderMap) -> Vec<[String; 2]> {
    let lossy = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| [name.as_str().to_owned(), lossy(value)]).collect()
}

/// `/upload`: how many octets the request's body has, and its trailers.
pub(crate) async fn upload(request: Request<Incoming>) -> Response<Body> {
    let mut body = request.into_body();
    let mut count = 0u64;
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return answer::text(StatusCode::BAD_REQUEST, "the body broke off") };
        match frame.into_data() {
            Ok(data) => count += data.len() as u64,
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    answer::json(&json!({ "bytes": count, "trailers": pairs(&trailers) }))
}

/// `/trailers`: a body in two pieces, then two trailers. They are sent to whom says `TE: trailers` (RFC 9110, section
/// 6.5.1).
pub(crate) fn trailers() -> Response<Body> {
    let fields = [("x-demo-pieces", "2"), ("x-demo-status", "done")];
    let fields = fields.map(|(name, value)| (name.parse().expect("a legal name"), HeaderValue::from_static(value)));
    let frames = [
        Frame::data(Bytes::from_static(b"one\n")),
        Frame::data(Bytes::from_static(b"two\n")),
        Frame::trailers(fields.into_iter().collect()),
    ];
    let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>))).boxed_unsync();
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::TRAILER, HeaderValue::from_static("x-demo-pieces, x-demo-status"));
    response
}

/// `/slow?ms=N`: an answer that is late by N milliseconds.
pub(crate) async fn slow<B>(request: &Request<B>) -> Response<Body> {
    let late = query(request, "ms").unwrap_or("0").parse().map(Duration::from_millis);
    match late {
        Ok(late) if late <= MAX_SLOW => {
            tokio::time::sleep(late).await;
            answer::text(StatusCode::OK, "late")
        }
        _ => answer::text(StatusCode::BAD_REQUEST, "ms is a number up to 120000"),
    }
}

/// `/status/N`: that status. Interim ones are no answer.
pub(crate) fn status(code: &str) -> Response<Body> {
    match code.parse::<u16>().ok().filter(|code| *code >= 200).map(StatusCode::from_u16) {
        Some(Ok(status @ (StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED))) => {
            answer::empty(status)
        }
        Some(Ok(status)) => answer::text(status, status.canonical_reason().unwrap_or("a status of nobody's")),
        _ => answer::text(StatusCode::BAD_REQUEST, "the status is a number from 200 to 999"),
    }
}

/// The value of a query parameter as it stands in the URL.
pub(crate) fn query<'a, B>(request: &'a Request<B>, name: &str) -> Option<&'a str> {
    let pairs = request.uri().query()?.split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_have_their_size_and_pattern() {
        for size in [0, 1, 250, 251, 65_535, 65_536, 65_537, 1_000_000] {
            let response = bytes(&Method::GET, &size.to_string());
            assert_eq!(response.headers()[header::CONTENT_LENGTH], size.to_string());
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body.len(), size);
            assert!(body.iter().enumerate().all(|(index, octet)| usize::from(*octet) == index % PATTERN_OCTETS));
        }
    }

    #[test]
    fn refused_arguments() {
        for size in ["", "-1", "x", "10737418241", "1/2"] {
            assert_eq!(bytes(&Method::GET, size).status(), StatusCode::BAD_REQUEST, "{size}");
        }
        for code in ["", "100", "101", "1000", "x"] {
            assert_eq!(status(code).status(), StatusCode::BAD_REQUEST, "{code}");
        }
        assert_eq!(status("503").status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
