//! Owns the client's side of a connection: requests go into it.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use http::Request;
use quinn::AcceptBi;

use crate::{
    code::Code,
    config::Config,
    connection::{Control, Polled, Waits},
    control::Role,
    error::{Error, StreamError},
    fields::{self, Protocol, Unsendable},
    settings::Settings,
    shared::Shared,
    stream::{Asked, RecvStream, Section, SendStream},
    webtransport,
};

/// Takes over a QUIC connection whose ALPN is `h3`. [`Connection::drive`] must be polled for anything but plain requests
/// to work.
pub fn connect(quic: quinn::Connection, config: &Config) -> (Connection, SendRequest) {
    let shared = Arc::new(Shared::new(quic, Role::Client, config));
    let control = Control::new(Arc::clone(&shared), config);
    (Connection { shared: Arc::clone(&shared), control }, SendRequest::new(shared))
}

/// A connection to a server. One task owns it and drives it.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    control: Control,
}

impl Connection {
    /// The QUIC connection.
    pub fn quic(&self) -> &quinn::Connection {
        &self.shared.quic
    }

    /// Serves the control and QPACK streams until the connection ends. It ends well when the server closes it with
    /// H3_NO_ERROR, or when every [`SendRequest`] and both halves of every stream were dropped, which closes it.
    /// Cancel-safe.
    pub async fn drive(&mut self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let quic = &shared.quic;
        let mut requests = pin!(quic.accept_bi());
        let mut waits = Waits {
            quic,
            accept: pin!(quic.accept_uni()),
            open: pin!(quic.open_uni()),
            datagrams: pin!(quic.read_datagram()),
        };
        let end = poll_fn(|cx| self.poll_drive(cx, requests.as_mut(), &mut waits)).await;
        if let Some(router) = &mut self.control.router {
            router.fail(&end);
        }
        if end.is_graceful() { Ok(()) } else { Err(end) }
    }

    fn poll_drive<'q>(
        &mut self,
        cx: &mut Context<'_>,
        mut requests: Pin<&mut AcceptBi<'q>>,
        waits: &mut Waits<'_, 'q>,
    ) -> Poll<Error> {
        while self.control.router.is_some() {
            match self.poll_routed(cx, requests.as_mut(), waits) {
                Err(error) => return Poll::Ready(error),
                Ok(Polled::RoomAgain) => {}
                Ok(Polled::Waits) => return self.poll_unused(cx),
            }
        }
        if let Err(error) = self.control.poll(cx, waits) {
            return Poll::Ready(error);
        }
        match requests.poll(cx) {
            Poll::Ready(Err(error)) => return Poll::Ready(self.shared.ended(error)),
            // RFC 9114 section 6.1: servers open no bidirectional streams.
            Poll::Ready(Ok(_)) => {
                let code = Code::H3_STREAM_CREATION_ERROR;
                return Poll::Ready(self.shared.fail(code, "the server opened a bidirectional stream"));
            }
            Poll::Pending => {}
        }
        self.poll_unused(cx)
    }

    fn poll_unused(&self, cx: &mut Context<'_>) -> Poll<Error> {
        self.shared.poll_unused(cx).map(|()| self.shared.fail(Code::H3_NO_ERROR, ""))
    }

    /// Where WebTransport is offered, the server opens bidirectional streams of sessions, and no others.
    fn poll_routed<'q>(
        &mut self,
        cx: &mut Context<'_>,
        mut streams: Pin<&mut AcceptBi<'q>>,
        waits: &mut Waits<'_, 'q>,
    ) -> Result<Polled, Error> {
        let mut full = false;
        while let Some(router) = &mut self.control.router {
            full = !router.has_room();
            if full {
                break;
            }
            match streams.as_mut().poll(cx) {
                Poll::Ready(Ok((send, recv))) => router.push(Some(send), recv),
                Poll::Ready(Err(error)) => return Err(self.shared.ended(error)),
                Poll::Pending => break,
            }
            streams.set(waits.quic.accept_bi());
        }
        let polled = self.control.poll(cx, waits)?;
        let room_again = full && self.control.router.as_deref().is_some_and(webtransport::Router::has_room);
        Ok(if room_again { Polled::RoomAgain } else { polled })
    }

    /// Closes the connection at once: every stream ends, and what is in flight may be lost.
    pub fn close(&self, code: Code, reason: &'static str) {
        self.shared.fail(code, reason);
    }
}

/// Sends requests on a connection. Clones share it, and it stays open while there is one.
#[derive(Debug)]
pub struct SendRequest {
    shared: Arc<Shared>,
}

impl SendRequest {
    fn new(shared: Arc<Shared>) -> Self {
        shared.add_user();
        Self { shared }
    }

    /// The QUIC connection.
    pub fn quic(&self) -> &quinn::Connection {
        &self.shared.quic
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Waits for what the server announces. Somebody must be driving the connection.
    pub async fn peer_settings(&self) -> Result<&Settings, Error> {
        self.shared.settings_arrived().await
    }

    /// Whether new requests can be sent: the server has not said GOAWAY, and the connection has not ended.
    pub fn is_open(&self) -> bool {
        self.shared.goaway().is_none() && self.shared.quic.close_reason().is_none()
    }

    /// Sends a request's head. Waits until the server allows one more stream, and for an extended CONNECT (a request
    /// with a [`Protocol`] extension) until its settings have come.
    ///
    /// The URI is absolute, or has only an authority for CONNECT; without one, Host is taken.
    pub async fn send_request<T>(&mut self, request: Request<T>) -> Result<(SendStream, RecvStream), StreamError> {
        if request.extensions().get::<Protocol>().is_some() && !self.peer_settings().await?.enable_connect_protocol {
            return Err(Unsendable::NoExtendedConnect.into());
        }
        let shared = &self.shared;
        let section = Section::encode(shared, |out| fields::encode_request(&request, out))?;
        let asked = Asked::from(request.method());
        // The head is encoded: nothing of the request is held while waiting.
        drop(request);
        if shared.goaway().is_some() {
            return Err(StreamError::GoingAway);
        }
        let (send, recv) = shared.quic.open_bi().await.map_err(|error| shared.ended(error))?;
        let mut recv = RecvStream::new(recv, Arc::clone(shared), asked);
        let mut send = SendStream::new(send, Arc::clone(shared));
        if shared.goaway().is_some() {
            // The stream was never heard of: resetting it tells the server nothing that it would act on.
            send.reset(Code::H3_REQUEST_CANCELLED);
            recv.stop_sending(Code::H3_REQUEST_CANCELLED);
            return Err(StreamError::GoingAway);
        }
        if asked == Asked::Connect {
            send.set_tunnel();
        }
        send.send_request(section).await?;
        Ok((send, recv))
    }
}

impl Clone for SendRequest {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared))
    }
}

impl Drop for SendRequest {
    fn drop(&mut self) {
        self.shared.remove_user();
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn what_was_asked() {
        assert_eq!(Asked::from(&Method::CONNECT), Asked::Connect);
        assert_eq!(Asked::from(&Method::HEAD), Asked::Head);
        assert_eq!(Asked::from(&Method::POST), Asked::Other);
    }
}
