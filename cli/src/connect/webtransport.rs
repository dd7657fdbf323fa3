//! A WebTransport session in a terminal: lines of standard input go out on one stream or as datagrams, and what comes is
//! shown.
//!
//! What comes back by the way that lines go out is shown as it is: octets of the stream, or a line for each datagram.
//! Everything else says in brackets where it comes from.

mod arrivals;
mod screen;
mod talk;

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use headrace_http3::webtransport::{Ended, Session};
use tokio::time::timeout;

use crate::args::{EXIT_CLOSED_BADLY, EXIT_FAILURE};
use crate::client::{Carrier, ClientError, Dialer, Offer};
use crate::output::complain;

use super::show_response;
use screen::Screen;
use talk::Broken;

/// When everything is said: how long the server may take to close the session itself, with a code that may say more than
/// this side's 0. One that does so does it at once.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(250);

/// What lines go out on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrying {
    /// One bidirectional stream, which stays open.
    Stream,
    /// A datagram each.
    Datagrams,
}

/// How a conversation ended.
#[derive(Debug)]
enum End {
    /// One of the sides closed the session, with a code and a reason.
    Closed { code: u32, reason: String },
    /// It ended without.
    Cut(Ended),
    /// The talk could not go on, and the session ended for that.
    Broken(Broken),
}

impl End {
    fn exit_code(&self) -> ExitCode {
        match self {
            End::Closed { code: 0, .. } => ExitCode::SUCCESS,
            _ => ExitCode::from(EXIT_CLOSED_BADLY),
        }
    }
}

impl From<Ended> for End {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::ByPeer { code, reason } | Ended::ByUs { code, reason } => End::Closed { code, reason },
            other => End::Cut(other),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed { code, reason } if reason.is_empty() => write!(f, "closed with {code}"),
            End::Closed { code, reason } => write!(f, "closed with {code}: {reason}"),
            End::Cut(ended) => write!(f, "the session ended without a close: {ended}"),
            End::Broken(broken) => broken.fmt(f),
        }
    }
}

/// Opens a session and talks until either side ends it.
pub(super) async fn run(dialer: &Dialer, offer: &Offer, carrying: Carrying, verbose: bool) -> anyhow::Result<ExitCode> {
    let opened = async {
        let carrier = Carrier::connect(dialer).await?;
        let (session, response) = carrier.open(dialer, offer).await?;
        Ok((carrier, session, response))
    };
    let (carrier, session, response) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            complain(&format!("WebTransport: {error}"));
            if let ClientError::Refused(response) = &error
                && verbose
            {
                show_response(response);
            }
            return Ok(ExitCode::from(EXIT_FAILURE));
        }
    };
    announce(&session);
    if verbose {
        show_response(&response);
    }
    let end = converse(&session, carrying).await?;
    complain(&end.to_string());
    drop(session);
    carrier.close().await;
    Ok(end.exit_code())
}

/// Says what was agreed on.
pub(super) fn announce(session: &Session) {
    let subprotocol = session.subprotocol().map(|name| format!(", subprotocol {name}"));
    complain(&format!(
        "connected over HTTP/3 (WebTransport, {}){}",
        session.draft().label(),
        subprotocol.unwrap_or_default()
    ));
}

async fn converse(session: &Session, carrying: Carrying) -> std::io::Result<End> {
    let screen = Screen::new();
    let arriving = tokio::spawn(arrivals::show(session.clone(), screen.clone(), carrying));
    let talk = async {
        match carrying {
            Carrying::Stream => talk::on_a_stream(session, &screen).await,
            Carrying::Datagrams => talk::in_datagrams(session, &screen).await,
        }
    };
    let end = tokio::select! {
        ended = session.closed() => ended.into(),
        talked = talk => match talked {
            Err(Broken::Session) => session.closed().await.into(),
            Err(broken) => End::Broken(broken),
            Ok(()) => match timeout(FAREWELL_TIMEOUT, session.closed()).await {
                Ok(ended) => ended.into(),
                Err(_) => End::Closed { code: 0, reason: String::new() },
            },
        },
    };
    session.close(0, "");
    // It has a handle, which would keep the connection.
    arriving.abort();
    let _ = arriving.await;
    screen.finish()?;
    Ok(end)
}
