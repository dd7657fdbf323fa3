//! `/echo`: every message comes back as it was, and so does the close code.
//!
//! Must not know the chat.

use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::answer::Body;
use crate::handshake::{Handshake, Tunnel};
use crate::server::{Shared, TunnelGuard, stopped};

/// Answers a handshake. The first subprotocol on offer is taken.
pub(crate) fn open(request: Request<Incoming>, shared: Shared, guard: TunnelGuard) -> Response<Body> {
    match Handshake::check(request) {
        Ok(handshake) => {
            let subprotocol = handshake.offered().first().cloned();
            handshake.accept(subprotocol.as_deref(), async move |tunnel| {
                echo(tunnel, shared).await;
                drop(guard);
            })
        }
        Err(answer) => *answer,
    }
}

/// Nothing is read while an echo cannot be written: a client that does not read stops being read.
async fn echo(mut tunnel: Tunnel, shared: Shared) {
    let mut stop = std::pin::pin!(stopped(shared.stopping));
    loop {
        let message = tokio::select! {
            message = tunnel.next() => message,
            () = &mut stop => break,
        };
        match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if tunnel.send(message).await.is_err() {
                    return;
                }
            }
            // Pings are answered, and the close frame returned, by the next turn of the stream.
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
    let going = CloseFrame { code: CloseCode::Away, reason: "the demo stops".into() };
    // The process ends now: whether the client still hears it does not matter.
    let _ = tunnel.close(Some(going)).await;
}
