//! Owns the client's side of a session's beginning: it is asked for on a connection, beside what else that carries.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, uri::Scheme};
use thiserror::Error;

use super::{
    draft::{DRAFT02_REQUEST, Draft, Unmet},
    flow::Limits,
    hub::Place,
    server::begin,
    session::{Inner, Session},
    subprotocol::{self, InvalidSubprotocol},
};
use crate::{
    client::SendRequest,
    code::Code,
    error::{Error, StreamError},
    fields::{Protocol, Unsendable},
    settings::Settings,
    shared::Shared,
    stream::{RecvStream, SendStream},
};

/// Why there is no session.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The configuration of this side's connection has no WebTransport.
    #[error("this connection was made without WebTransport")]
    NotConfigured,
    /// The server shows no WebTransport that this side knows. Where a setting of its is wrong, the connection was closed.
    #[error(transparent)]
    Unmet(#[from] Unmet),
    /// The connection has as many sessions as the server allows, or as this side does.
    #[error("the connection has as many sessions as it may")]
    TooMany,
    /// An offered subprotocol is none.
    #[error(transparent)]
    Offer(#[from] InvalidSubprotocol),
    /// The server refused with this response.
    #[error("the server answered {}", .0.status())]
    Refused(Box<Response<()>>),
    /// The server chose a subprotocol that was not offered: the session was reset with WT_ALPN_ERROR.
    #[error("the server chose a subprotocol that was not offered")]
    Subprotocol,
    /// The stream or the connection ended.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl From<Error> for ConnectError {
    fn from(error: Error) -> Self {
        Self::Stream(error.into())
    }
}

/// Asks for a session on a connection and waits for the server's answer. The request's URI is an absolute `https` one; its
/// method and `:protocol` are set here. Somebody must be driving the connection. Dropping the future gives the session up.
///
/// Where the server answers with a subprotocol of those offered, [`Session::subprotocol`] has it. Where it answers with
/// none, there is a session without: whoever needs one closes it.
pub async fn connect<T, S: AsRef<str>>(
    requests: &mut SendRequest,
    request: Request<T>,
    subprotocols: &[S],
) -> Result<(Session, Response<()>), ConnectError> {
    let shared = Arc::clone(requests.shared());
    let Some(hub) = &shared.webtransport else { return Err(ConnectError::NotConfigured) };
    let settings = shared.settings_arrived().await?;
    let draft = draft_of(&shared, settings)?;
    let peer = Limits::agreed(&hub.config, settings);
    let alone = peer.is_none() && !draft.pools_without_flow_control();
    let most = if alone { 1 } else { draft.max_sessions(settings).unwrap_or(u64::MAX) };
    let most = most.min(hub.config.max_sessions.into());
    let mut place = Place::reserve(&shared, most).ok_or(ConnectError::TooMany)?;

    let request = prepare(request, draft, subprotocols)?;
    let (mut send, mut recv) = requests.send_request(request).await?;
    place.set_id(recv.id());
    let response = match recv.response().await {
        Ok(response) => response,
        Err(error) => {
            send.reset(Code::H3_REQUEST_CANCELLED);
            return Err(error.into());
        }
    };
    if !response.status().is_success() {
        send.reset(Code::H3_REQUEST_CANCELLED);
        return Err(ConnectError::Refused(Box::new(response)));
    }
    let chosen = choice(&response, subprotocols).inspect_err(|_| alpn_error(&mut send, &mut recv))?;
    let inner = Inner::new(recv.id(), draft, chosen, peer, Arc::clone(&shared));
    place.open(&inner);
    Ok((begin(inner, send, recv), response))
}

fn draft_of(shared: &Shared, settings: &Settings) -> Result<Draft, ConnectError> {
    let draft = match Draft::of_server(settings) {
        Ok(_) if shared.quic.max_datagram_size().is_none() => Err(Unmet::NoDatagrams),
        draft => draft,
    };
    Ok(draft.inspect_err(|unmet| {
        if *unmet == Unmet::Setting {
            shared.fail(unmet.code(), "a WebTransport setting has a value that is not allowed");
        }
    })?)
}

fn prepare<T, S: AsRef<str>>(
    request: Request<T>,
    draft: Draft,
    subprotocols: &[S],
) -> Result<Request<()>, ConnectError> {
    if request.uri().scheme() != Some(&Scheme::HTTPS) {
        return Err(StreamError::from(Unsendable::NoScheme).into());
    }
    let mut request = request.map(drop);
    *request.method_mut() = Method::CONNECT;
    let protocol = Protocol::try_from(draft.token()).expect("the tokens of the drafts are tokens");
    request.extensions_mut().insert(protocol);
    if let Some(offer) = subprotocol::offer(subprotocols)? {
        request.headers_mut().insert(subprotocol::AVAILABLE, offer);
    }
    if draft == Draft::Draft02 {
        request.headers_mut().insert(DRAFT02_REQUEST, HeaderValue::from_static("1"));
    }
    Ok(request)
}

/// What the server chose (section 3.3).
fn choice<T, S: AsRef<str>>(response: &Response<T>, offered: &[S]) -> Result<Option<String>, ConnectError> {
    match subprotocol::chosen(response.headers()) {
        // Who offers nothing does not look at the answer.
        Some(_) if offered.is_empty() => Ok(None),
        Some(chosen) if offered.iter().any(|offered| offered.as_ref() == chosen) => Ok(Some(chosen)),
        Some(_) => Err(ConnectError::Subprotocol),
        None => Ok(None),
    }
}

fn alpn_error(send: &mut SendStream, recv: &mut RecvStream) {
    send.reset(Code::WT_ALPN_ERROR);
    recv.stop_sending(Code::WT_ALPN_ERROR);
}
