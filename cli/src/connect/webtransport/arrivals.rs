//! What the server sends of its own accord: streams that it opens, and datagrams beside the stream that lines go out on.
//!
//! How many streams are read at once is what [`Carrier`](crate::client::Carrier) allows the server.

use headrace_http3::StreamError;
use headrace_http3::webtransport::{RecvStream, Session};

use crate::output::complain;

use super::Carrying;
use super::screen::Screen;

/// How much of a stream is read at once.
const READ_OCTETS: usize = 16 << 10;
/// The longest line of such a stream; what is longer is shown in pieces.
const MAX_LINE_OCTETS: usize = 64 << 10;

/// Shows what comes until the session ends.
pub(super) async fn show(session: Session, screen: Screen, carrying: Carrying) {
    let bidirectional = async {
        while let Ok((mut send, recv)) = session.accept_bi().await {
            // There is nothing to say on it. Where the server does not want to hear that, it has stopped it.
            let _ = send.finish();
            tokio::spawn(show_stream(recv, screen.clone()));
        }
    };
    let unidirectional = async {
        while let Ok(recv) = session.accept_uni().await {
            tokio::spawn(show_stream(recv, screen.clone()));
        }
    };
    let datagrams = async {
        // Where lines go out as datagrams, those that come are part of the talk.
        if carrying == Carrying::Datagrams {
            return;
        }
        while let Ok(datagram) = session.recv_datagram().await {
            screen.line("[datagram]", &datagram);
        }
    };
    tokio::join!(bidirectional, unidirectional, datagrams);
}

async fn show_stream(mut recv: RecvStream, screen: Screen) {
    let from = format!("[stream {}]", recv.id());
    let mut octets = vec![0; READ_OCTETS];
    let mut line = Vec::new();
    let failure = loop {
        match recv.read_data(&mut octets).await {
            Ok(0) => break None,
            Ok(size) => show_lines(&from, &octets[..size], &mut line, &screen),
            Err(error) => break Some(error),
        }
    };
    if !line.is_empty() {
        screen.line(&from, &line);
    }
    match failure {
        None | Some(StreamError::SessionGone | StreamError::Connection(_)) => {}
        Some(error) => complain(&format!("{from} {error}")),
    }
}

fn show_lines(from: &str, octets: &[u8], line: &mut Vec<u8>, screen: &Screen) {
    for piece in octets.split_inclusive(|octet| *octet == b'\n') {
        line.extend_from_slice(piece);
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() < MAX_LINE_OCTETS {
            continue;
        }
        screen.line(from, line);
        line.clear();
    }
}
