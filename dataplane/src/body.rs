//! Bodies on their way through: a request's from any HTTP version, a response's from a backend or of our own.
//!
//! Owns framing-independent streaming: a frame is taken from one side only when the other side asks for it. Knows nothing
//! of routes; counts octets into the [`Exchange`](crate::exchange::Exchange) that it belongs to.

mod request;
mod response;

pub(crate) use self::request::RequestBody;
pub(crate) use self::response::ResponseBody;

/// Any error on a body: the peer's side decides what it means.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;
