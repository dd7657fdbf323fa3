//! Lines of standard input, and octets shown as text: what conversations have in common.

use std::io::{self, BufRead as _, Read as _};

use tokio::sync::mpsc;

use crate::output::complain;

/// Lines that wait to be sent: standard input is read no faster than the other side takes it.
const QUEUED_LINES: usize = 16;
/// The longest line; what is longer is sent in pieces.
const MAX_LINE_OCTETS: u64 = 16 << 20;
/// How much of a binary message is shown.
const MAX_SHOWN_OCTETS: usize = 64;

/// Lines of standard input, each with its line feed where it has one. The thread ends with the process: a read cannot be
/// called off.
pub(super) fn read() -> mpsc::Receiver<Vec<u8>> {
    let (lines, receiver) = mpsc::channel(QUEUED_LINES);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            match (&mut input).take(MAX_LINE_OCTETS).read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) => {
                    if lines.blocking_send(line).is_err() {
                        return;
                    }
                }
                Err(error) => return complain(&format!("standard input: {error}")),
            }
        }
    });
    receiver
}

/// Octets that are no text: how many, and the first of them.
pub(super) fn shown(octets: &[u8]) -> String {
    let shown = &octets[..octets.len().min(MAX_SHOWN_OCTETS)];
    let hex: String = shown.iter().map(|octet| format!("{octet:02x}")).collect();
    let more = if octets.len() > shown.len() { "…" } else { "" };
    format!("[{} octets] {hex}{more}", octets.len())
}
