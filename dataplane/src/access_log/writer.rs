//! The thread that writes queued lines, many at a time, to standard output or a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use super::{Message, OnLoss};

/// Octets after which waiting lines are written though more are queued: large enough to make system calls rare, small
/// enough to show lines soon.
const BATCH_SIZE: usize = 64 * 1024;

/// Where lines go.
pub(super) struct Output {
    to: Box<dyn Write + Send>,
    /// Where the file is opened anew; absent for what is no file.
    path: Option<PathBuf>,
}

impl Output {
    pub(super) fn stdout() -> Self {
        Self { to: Box::new(io::stdout()), path: None }
    }

    pub(super) fn file(path: PathBuf) -> io::Result<Self> {
        Ok(Self { to: Box::new(append(&path)?), path: Some(path) })
    }

    #[cfg(test)]
    pub(super) fn writer(to: impl Write + Send + 'static) -> Self {
        Self { to: Box::new(to), path: None }
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match append(path) {
            Ok(file) => self.to = Box::new(file),
            Err(error) => tracing::warn!(path = %path.display(), %error, "access log not opened anew"),
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The state of the writer thread.
pub(super) struct Writer {
    pub(super) output: Output,
    pub(super) lines: Receiver<Message>,
    pub(super) reopen: Arc<AtomicBool>,
    pub(super) on_loss: Arc<OnLoss>,
}

/// Lines that are written together.
#[derive(Default)]
struct Batch {
    octets: Vec<u8>,
    lines: u64,
    /// Who waits for this batch.
    flushes: Vec<SyncSender<()>>,
}

impl Batch {
    fn take(&mut self, message: Message) {
        match message {
            Message::Line(line) => {
                self.octets.extend_from_slice(&line);
                self.lines += 1;
            }
            Message::Wake => {}
            Message::Flush(done) => self.flushes.push(done),
        }
    }
}

impl Writer {
    /// Runs until every logger is gone and everything is written.
    pub(super) fn run(mut self) {
        let mut batch = Batch::default();
        let mut failing = false;
        while let Ok(message) = self.lines.recv() {
            batch.take(message);
            while batch.octets.len() < BATCH_SIZE
                && let Ok(message) = self.lines.try_recv()
            {
                batch.take(message);
            }
            if self.reopen.swap(false, Ordering::AcqRel) {
                self.output.reopen();
            }
            failing = self.write(&mut batch, failing);
        }
    }

    /// Writes and empties the batch. Tells whether it failed; only the first failure in a row is worth a warning.
    fn write(&mut self, batch: &mut Batch, failing: bool) -> bool {
        let written = self.output.to.write_all(&batch.octets).and_then(|()| self.output.to.flush());
        if let Err(error) = &written {
            (self.on_loss)(batch.lines);
            if !failing {
                tracing::warn!(%error, "access log not written");
            }
        }
        batch.octets.clear();
        batch.lines = 0;
        for done in batch.flushes.drain(..) {
            // Whoever waited may have given up.
            let _ = done.try_send(());
        }
        written.is_err()
    }
}
