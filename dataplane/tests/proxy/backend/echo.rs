//! A WebSocket echo on tokio-tungstenite, which checks the handshake and records it.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_util::task::AbortOnDropHandle;

use crate::patience::within;

/// The one subprotocol that it speaks.
pub(crate) const SUBPROTOCOL: &str = "chat.v1";

/// A running server. It echoes messages, and answers `name` with the name that it was given.
pub(crate) struct EchoServer {
    pub(crate) address: SocketAddr,
    handshakes: mpsc::UnboundedReceiver<Request<()>>,
    closes: mpsc::UnboundedReceiver<Option<CloseFrame>>,
    _accepting: AbortOnDropHandle<()>,
}

impl EchoServer {
    pub(crate) async fn start(name: &'static str) -> Self {
        let (listener, address) = super::listen().await;
        let (handshake, handshakes) = mpsc::unbounded_channel();
        let (close, closes) = mpsc::unbounded_channel();
        let accepting = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                open.spawn(serve(name, stream, handshake.clone(), close.clone()));
            }
        });
        Self { address, handshakes, closes, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// The next handshake's head.
    pub(crate) async fn handshake(&mut self) -> Request<()> {
        within("a handshake at the echo", self.handshakes.recv()).await.unwrap()
    }

    /// How the next tunnel that ended was closed: by which close frame, if any.
    pub(crate) async fn closed(&mut self) -> Option<CloseFrame> {
        within("a close at the echo", self.closes.recv()).await.unwrap()
    }
}

async fn serve(
    name: &'static str,
    stream: TcpStream,
    handshake: mpsc::UnboundedSender<Request<()>>,
    close: mpsc::UnboundedSender<Option<CloseFrame>>,
) {
    // The shape of the callback is tungstenite's.
    #[expect(clippy::result_large_err, reason = "tungstenite's own signature")]
    let check = |request: &Request<()>, mut response: Response<()>| {
        check_handshake(request.headers());
        if offers(request.headers()).any(|offer| offer == SUBPROTOCOL) {
            response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        }
        let _test_is_over = handshake.send(request.clone());
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, check).await else { return };
    let mut by_frame = None;
    while let Some(Ok(message)) = socket.next().await {
        let answer = match message {
            Message::Text(text) if text.as_str() == "name" => Message::text(name),
            Message::Text(_) | Message::Binary(_) => message,
            Message::Close(frame) => {
                by_frame = frame;
                continue;
            }
            _ => continue,
        };
        if socket.send(answer).await.is_err() {
            break;
        }
    }
    let _test_is_over = close.send(by_frame);
}

/// The subprotocols that a handshake offers.
pub(crate) fn offers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all("sec-websocket-protocol").iter();
    values.flat_map(|value| value.to_str().unwrap().split(',')).map(str::trim)
}

/// RFC 6455 section 4.2.1, to the letter.
fn check_handshake(headers: &HeaderMap) {
    let only = |name: &str| {
        let all: Vec<_> = headers.get_all(name).iter().collect();
        assert_eq!(all.len(), 1, "{name} comes once: {headers:?}");
        all[0].to_str().unwrap().to_owned()
    };
    assert_eq!(only("upgrade").to_ascii_lowercase(), "websocket");
    assert_eq!(only("connection").to_ascii_lowercase(), "upgrade");
    assert_eq!(only("sec-websocket-version"), "13");
    assert_eq!(STANDARD.decode(only("sec-websocket-key")).unwrap().len(), 16);
    only("host");
    for forbidden in ["content-length", "transfer-encoding", "sec-websocket-accept", "te", "keep-alive"] {
        assert!(!headers.contains_key(forbidden), "{forbidden}: {headers:?}");
    }
}
