//! One HTTP/2 connection to a controller, as tonic's client wants it.
//!
//! tonic's own channel dials again behind its caller's back and hides why a dial failed. Here one connection carries one
//! stream, and what becomes of either is for the dialler to see.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tonic::body::Body;
use tonic::codegen::Service;

/// Sends requests on one connection.
pub(super) struct Connection {
    requests: SendRequest<Body>,
}

impl Connection {
    pub(super) fn new(requests: SendRequest<Body>) -> Self {
        Self { requests }
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.requests.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.requests.send_request(request))
    }
}
