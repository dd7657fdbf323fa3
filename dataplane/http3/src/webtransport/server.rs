//! Owns the server's side of a session's beginning: a request is held against the client's settings and the limits, and
//! then accepted or refused.

use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode, uri::Scheme};
use thiserror::Error;

use super::{
    draft::{self, DRAFT02_REQUEST, DRAFT02_RESPONSE, DRAFT02_RESPONSE_VALUE, Draft, Unmet},
    driver::Driver,
    ended::Ended,
    flow::Limits,
    hub::Place,
    session::{Inner, Session},
    subprotocol::{self, InvalidSubprotocol},
};
use crate::{
    code::Code,
    error::{Error, StreamError},
    fields::{Protocol, Unsendable},
    stream::{RecvStream, SendStream},
};

/// Whether a request asks for a session.
pub fn is_request<T>(request: &Request<T>) -> bool {
    request.extensions().get::<Protocol>().is_some_and(|protocol| draft::is_token(protocol.as_str()))
}

/// Why a request for a session came to nothing. The client has its answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request asks for no session, or the connection's configuration offers none: it was answered with 501.
    #[error("no request for a session that is offered")]
    NotOffered,
    /// It came in 0-RTT, where it may be a replay: it was answered with 425 (RFC 8470).
    #[error("a session cannot begin in 0-RTT")]
    TooEarly,
    /// The client's settings and its request do not go together: it was reset with H3_MESSAGE_ERROR.
    #[error(transparent)]
    Unmet(#[from] Unmet),
    /// The connection has as many sessions as it may: it was reset with H3_REQUEST_REJECTED, so that the client can ask on
    /// another one.
    #[error("the connection has as many sessions as it may")]
    TooMany,
    /// The stream or the connection ended.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// Why a session was not accepted. The client's stream was reset.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The subprotocol is none that the client offered, or no subprotocol at all.
    #[error("the client did not offer this subprotocol")]
    Subprotocol,
    /// The stream or the connection ended, or the response cannot be sent.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl From<InvalidSubprotocol> for AcceptError {
    fn from(_: InvalidSubprotocol) -> Self {
        Self::Subprotocol
    }
}

/// A client's request for a session that can be accepted. Dropped, it is reset.
#[derive(Debug)]
pub struct SessionRequest {
    send: SendStream,
    recv: RecvStream,
    draft: Draft,
    subprotocols: Vec<String>,
    peer: Option<Limits>,
    place: Place,
}

impl SessionRequest {
    /// Takes a request for which [`is_request`] holds, with its streams, and waits for the client's settings, which say
    /// what its draft is. How long that may take is for the caller to bound: dropping the future resets the stream.
    ///
    /// Whether the client may have the session (its origin, its token) is not looked at.
    pub async fn receive<T>(
        request: &Request<T>,
        mut send: SendStream,
        mut recv: RecvStream,
    ) -> Result<Self, RequestError> {
        let shared = Arc::clone(send.shared());
        let (Some(hub), Some(protocol)) = (&shared.webtransport, request.extensions().get::<Protocol>()) else {
            return answer(send, StatusCode::NOT_IMPLEMENTED, RequestError::NotOffered).await;
        };
        if !draft::is_token(protocol.as_str()) {
            return answer(send, StatusCode::NOT_IMPLEMENTED, RequestError::NotOffered).await;
        }
        if recv.is_0rtt() {
            return answer(send, StatusCode::TOO_EARLY, RequestError::TooEarly).await;
        }
        let settings = shared.settings_arrived().await?;
        let of_draft02 = request.headers().contains_key(DRAFT02_REQUEST);
        let asked = match Draft::of_request(settings, protocol.as_str(), of_draft02) {
            Ok(_) if shared.quic.max_datagram_size().is_none() => Err(Unmet::NoDatagrams),
            // Section 3.2: a session is `https`, which is what the settings should have told apart.
            Ok(_) if request.uri().scheme() != Some(&Scheme::HTTPS) => Err(Unmet::Scheme),
            asked => asked,
        };
        let draft = asked.inspect_err(|unmet| reset(&mut send, &mut recv, unmet.code()))?;
        let peer = Limits::agreed(&hub.config, settings);
        let alone = peer.is_none() && !draft.pools_without_flow_control();
        let most = if alone { 1 } else { u64::from(hub.config.max_sessions) };
        let Some(mut place) = Place::reserve(&shared, most) else {
            reset(&mut send, &mut recv, Code::H3_REQUEST_REJECTED);
            return Err(RequestError::TooMany);
        };
        place.set_id(recv.id());
        let subprotocols = subprotocol::offered(request.headers());
        Ok(Self { send, recv, draft, subprotocols, peer, place })
    }

    /// The session's draft.
    pub const fn draft(&self) -> Draft {
        self.draft
    }

    /// The subprotocols that the client offers, the most preferred first.
    pub fn subprotocols(&self) -> &[String] {
        &self.subprotocols
    }

    /// The sending half, to see whether the client gave up.
    pub const fn stream(&self) -> &SendStream {
        &self.send
    }

    /// Accepts with a response whose status is 2xx, and a subprotocol that the client offered. What came for the session
    /// before is found in it.
    pub async fn accept<T>(self, mut response: Response<T>, subprotocol: Option<&str>) -> Result<Session, AcceptError> {
        if !response.status().is_success() {
            return Err(StreamError::from(Unsendable::Status).into());
        }
        if let Some(chosen) = subprotocol {
            if !self.subprotocols.iter().any(|offered| offered == chosen) {
                return Err(AcceptError::Subprotocol);
            }
            response.headers_mut().insert(subprotocol::CHOSEN, subprotocol::choose(chosen)?);
        }
        if self.draft == Draft::Draft02 {
            response.headers_mut().insert(DRAFT02_RESPONSE, HeaderValue::from_static(DRAFT02_RESPONSE_VALUE));
        }
        let Self { mut send, recv, draft, peer, place, .. } = self;
        let shared = Arc::clone(send.shared());
        let inner = Inner::new(recv.id(), draft, subprotocol.map(str::to_owned), peer, Arc::clone(&shared));
        // From here on what comes for the session goes to it, and its end is what cleans up.
        place.open(&inner);
        let unanswered = EndOnDrop(Some(Arc::clone(&inner)));
        send.send_response(response).await?;
        unanswered.disarm();
        Ok(begin(inner, send, recv))
    }

    /// Refuses with a response of any other status, and no content.
    pub async fn refuse<T>(self, response: Response<T>) -> Result<(), StreamError> {
        let (mut send, _recv) = self.into_parts();
        send.send_response(response).await?;
        send.finish()
    }

    /// Gives the request up: its streams are for whoever answers it otherwise.
    pub fn into_parts(self) -> (SendStream, RecvStream) {
        (self.send, self.recv)
    }
}

/// Gives a session to the connection's task and to the application.
pub(super) fn begin(inner: Arc<Inner>, send: SendStream, recv: RecvStream) -> Session {
    let session = Session::new(Arc::clone(&inner));
    let shared = Arc::clone(inner.shared());
    if let Some(hub) = &shared.webtransport {
        hub.drive(Driver::new(inner, send, recv));
    }
    session
}

/// Ends a session that was opened and whose client may never hear of it.
struct EndOnDrop(Option<Arc<Inner>>);

impl EndOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            inner.end(Ended::Aborted { code: Code::H3_REQUEST_CANCELLED, reason: "the session never began" });
        }
    }
}

fn reset(send: &mut SendStream, recv: &mut RecvStream, code: Code) {
    send.reset(code);
    recv.stop_sending(code);
}

async fn answer<T>(mut send: SendStream, status: StatusCode, error: RequestError) -> Result<T, RequestError> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    send.send_response(response).await?;
    send.finish()?;
    Err(error)
}

impl From<Error> for RequestError {
    fn from(error: Error) -> Self {
        Self::Stream(error.into())
    }
}
