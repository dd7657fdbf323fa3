//! A conversation: lines of standard input become messages, and messages become lines of standard output.

use std::fmt;
use std::io;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::lines::{self, shown};
use crate::args::EXIT_CLOSED_BADLY;
use crate::client::Tunnel;
use crate::output::Output;

/// How long the server may take to answer a Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// So long ahead that it is never.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// How a conversation ended.
#[derive(Debug)]
pub(super) enum End {
    /// A Close frame came.
    Closed { code: Option<u16>, reason: String },
    /// The tunnel ended without one (1006 in the words of RFC 6455, section 7.1.5).
    Cut(Option<Error>),
    /// The server never answered the Close.
    NoAnswer,
}

impl End {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            End::Closed { code: None | Some(1000 | 1001), .. } => 0,
            _ => EXIT_CLOSED_BADLY,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed { code: None, .. } => f.write_str("closed without a code"),
            End::Closed { code: Some(code), reason } if reason.is_empty() => write!(f, "closed with {code}"),
            End::Closed { code: Some(code), reason } => write!(f, "closed with {code}: {reason}"),
            End::Cut(None) => f.write_str("the tunnel ended without a Close"),
            End::Cut(Some(error)) => write!(f, "the tunnel ended without a Close: {error}"),
            End::NoAnswer => write!(f, "no answer to the Close within {} s", CLOSE_TIMEOUT.as_secs()),
        }
    }
}

/// Talks until either side closes.
pub(super) async fn run(tunnel: Tunnel, binary: bool) -> io::Result<End> {
    let websocket = WebSocketStream::from_raw_socket(tunnel, Role::Client, None).await;
    let (mut sink, mut stream) = websocket.split();
    let mut lines = lines::read();
    let deadline = std::cell::Cell::new(Instant::now() + NEVER);
    // Lines are sent while messages arrive: an echo that nobody reads would block both.
    let send = async {
        while let Some(line) = lines.recv().await {
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            let message = match binary {
                true => Message::Binary(line.to_vec().into()),
                false => Message::text(String::from_utf8_lossy(line).into_owned()),
            };
            if sink.send(message).await.is_err() {
                break;
            }
        }
        // Errors show on the side that reads.
        let _ = sink.send(Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))).await;
        deadline.set(Instant::now() + CLOSE_TIMEOUT);
        std::future::pending::<()>().await;
    };
    let receive = async {
        let mut closed = None;
        loop {
            match stream.next().await {
                Some(Ok(Message::Close(frame))) => closed = Some(frame),
                Some(Ok(message)) => show(&message)?,
                Some(Err(Error::ConnectionClosed)) | None => return Ok(end(closed, None)),
                Some(Err(error)) => return Ok(end(closed, Some(error))),
            }
        }
    };
    let late = async {
        loop {
            let until = deadline.get();
            // The deadline moves once; until then there is a look at it every so often.
            sleep_until(until.min(Instant::now() + CLOSE_TIMEOUT)).await;
            if deadline.get() <= Instant::now() {
                return;
            }
        }
    };
    let end = tokio::select! {
        end = receive => end,
        () = send => Ok(End::NoAnswer),
        () = late => Ok(End::NoAnswer),
    };
    // An end, where dropping the tunnel would be a reset.
    if let Ok(mut websocket) = sink.reunite(stream) {
        let _ = timeout(CLOSE_TIMEOUT, websocket.get_mut().shutdown()).await;
    }
    end
}

fn end(closed: Option<Option<CloseFrame>>, error: Option<Error>) -> End {
    match closed {
        Some(Some(frame)) => End::Closed { code: Some(frame.code.into()), reason: frame.reason.to_string() },
        Some(None) => End::Closed { code: None, reason: String::new() },
        None => End::Cut(error),
    }
}

fn show(message: &Message) -> io::Result<()> {
    match message {
        Message::Text(text) => Output::Stdout.line(text),
        Message::Binary(octets) => Output::Stdout.line(&shown(octets)),
        _ => Ok(()),
    }
}
