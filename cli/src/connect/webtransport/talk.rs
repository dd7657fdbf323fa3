//! Both directions of what lines go out on: the terminal's stream, or datagrams.

use std::time::Duration;

use headrace_http3::StreamError;
use headrace_http3::webtransport::{DatagramError, Session};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::connect::lines;
use crate::output::complain;

use super::screen::Screen;

/// How long the server may keep the stream from being opened, by its limits.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// How much of the stream is read at once.
const READ_OCTETS: usize = 16 << 10;
/// After the last line: how long the server may be silent before its answer is taken for complete.
const SILENCE: Duration = Duration::from_secs(5);
/// The same for datagrams, of which nobody can know whether more are to come.
const DATAGRAM_SILENCE: Duration = Duration::from_secs(1);

/// Why a talk ended before both sides had said what they had to say.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The session's end says more.
    #[error("the session is over")]
    Session,
    #[error("the server allowed no stream within {} s", OPEN_TIMEOUT.as_secs())]
    NoStream,
    #[error("the stream ended: {0}")]
    Stream(StreamError),
}

impl From<StreamError> for Broken {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::SessionGone | StreamError::Connection(_) => Broken::Session,
            other => Broken::Stream(other),
        }
    }
}

/// Lines go out, each with its line feed, and what comes is shown. Ends well when both directions have ended, or when
/// standard input has and the server says no more.
pub(super) async fn on_a_stream(session: &Session, screen: &Screen) -> Result<(), Broken> {
    let opened = timeout(OPEN_TIMEOUT, session.open_bi()).await.map_err(|_| Broken::NoStream)?;
    let (mut send, mut recv) = opened.map_err(|_| Broken::Session)?;
    let (all_said, mut said) = oneshot::channel();
    let sending = async {
        let mut lines = lines::read();
        while let Some(line) = lines.recv().await {
            send.write_all(&line).await?;
        }
        send.finish()?;
        // Nobody is waiting where the server has said all that it had to say.
        let _ = all_said.send(());
        Ok(())
    };
    let receiving = async {
        let mut octets = vec![0; READ_OCTETS];
        let mut is_last_word = false;
        loop {
            let read = tokio::select! {
                read = recv.read_data(&mut octets) => read?,
                _ = &mut said, if !is_last_word => {
                    is_last_word = true;
                    continue;
                }
                () = sleep(SILENCE), if is_last_word => return Ok(()),
            };
            if read == 0 {
                return Ok(());
            }
            screen.octets(&octets[..read]);
        }
    };
    tokio::try_join!(sending, receiving).map(drop)
}

/// Lines go out as datagrams, without their line feeds, and those that come are shown as lines.
pub(super) async fn in_datagrams(session: &Session, screen: &Screen) -> Result<(), Broken> {
    let mut lines = lines::read();
    let mut has_more = true;
    loop {
        tokio::select! {
            line = lines.recv(), if has_more => match line {
                Some(line) => send_datagram(session, line.strip_suffix(b"\n").unwrap_or(&line))?,
                None => has_more = false,
            },
            datagram = session.recv_datagram() => match datagram {
                Ok(datagram) => screen.line("", &datagram),
                Err(_) => return Err(Broken::Session),
            },
            () = sleep(DATAGRAM_SILENCE), if !has_more => return Ok(()),
        }
    }
}

fn send_datagram(session: &Session, line: &[u8]) -> Result<(), Broken> {
    match session.send_datagram(line) {
        Ok(()) => Ok(()),
        Err(DatagramError::Ended(_)) => Err(Broken::Session),
        Err(error) => {
            let most = session.max_datagram_size().unwrap_or(0);
            complain(&format!("a line of {} octets was not sent: {error} (at most {most})", line.len()));
            Ok(())
        }
    }
}
