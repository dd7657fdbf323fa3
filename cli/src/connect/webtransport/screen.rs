//! Standard output, shared by everything that arrives: octets of one stream as they are, lines of the others whole.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::connect::lines::shown;
use crate::output::Output;

/// Clones write to the same screen.
#[derive(Clone, Debug)]
pub(super) struct Screen(Arc<Mutex<Pen>>);

#[derive(Debug)]
struct Pen {
    /// Whether octets without a line feed were the last.
    within_line: bool,
    /// The first failure. Whoever shows something goes on, and the end tells.
    failure: Option<io::Error>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Pen { within_line: false, failure: None })))
    }

    /// Octets as they are.
    pub(super) fn octets(&self, octets: &[u8]) {
        let mut pen = self.pen();
        pen.write(octets);
        pen.within_line = octets.last().is_some_and(|last| *last != b'\n');
    }

    /// A line of its own: text as it is, and other octets as how many they are and which.
    pub(super) fn line(&self, from: &str, octets: &[u8]) {
        let text = match std::str::from_utf8(octets) {
            Ok(text) => text.to_owned(),
            Err(_) => shown(octets),
        };
        let gap = if from.is_empty() { "" } else { " " };
        let mut pen = self.pen();
        let start = if pen.within_line { "\n" } else { "" };
        pen.write(format!("{start}{from}{gap}{text}\n").as_bytes());
        pen.within_line = false;
    }

    /// Ends a line that is not ended. Fails if anything that was shown could not be.
    pub(super) fn finish(&self) -> io::Result<()> {
        let mut pen = self.pen();
        if pen.within_line {
            pen.write(b"\n");
            pen.within_line = false;
        }
        pen.failure.take().map_or(Ok(()), Err)
    }

    fn pen(&self) -> MutexGuard<'_, Pen> {
        self.0.lock().expect("nothing panics while it writes")
    }
}

impl Pen {
    fn write(&mut self, octets: &[u8]) {
        if let Err(error) = Output::Stdout.octets(octets) {
            self.failure.get_or_insert(error);
        }
    }
}
