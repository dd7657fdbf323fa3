//! The access log: one JSON object on a line for every request and every tunnel.
//!
//! Workers write lines into a bounded queue and one thread writes the queue to standard output or a file. A worker never
//! waits: when the queue is full the line is lost, and counted. Knows nothing of requests beyond an [`Entry`].

mod entry;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

pub(crate) use entry::Entry;
use entry::Line;
use writer::{Output, Writer};

/// Lines that wait for the writer: at 300 octets each some 2.4 MB, and half a second of a busy pod.
const QUEUED_LINES: usize = 8192;

/// Room for a usual line, so that making one allocates once.
const LINE_CAPACITY: usize = 384;

/// Where access log lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    #[default]
    Off,
    /// To standard output.
    Stdout,
    /// To a file, which is appended to and made if it is absent.
    File(PathBuf),
}

/// Takes entries. Clones write to the same log.
#[derive(Clone)]
pub(crate) struct AccessLogger {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    queue: SyncSender<Message>,
    /// Asks the writer to open its file anew. Not a message: the request must not be lost when the queue is full.
    reopen: Arc<AtomicBool>,
    on_loss: Arc<OnLoss>,
}

/// Told how many lines were lost, whenever some are.
type OnLoss = dyn Fn(u64) + Send + Sync;

/// What the writer thread is told.
enum Message {
    /// A line with its line feed.
    Line(Vec<u8>),
    /// Look at the flags.
    Wake,
    /// Answer once everything before this is written.
    Flush(SyncSender<()>),
}

impl AccessLogger {
    /// Opens the log and starts its writer. `on_loss` is told how many lines were lost, whenever some are.
    pub(crate) fn start_counting(log: AccessLog, on_loss: impl Fn(u64) + Send + Sync + 'static) -> io::Result<Self> {
        let output = match log {
            AccessLog::Off => return Ok(Self { shared: None }),
            AccessLog::Stdout => Output::stdout(),
            AccessLog::File(path) => Output::file(path)?,
        };
        Self::start_on(output, QUEUED_LINES, on_loss)
    }

    fn start_on(
        output: Output,
        queued_lines: usize,
        on_loss: impl Fn(u64) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (queue, lines) = sync_channel(queued_lines);
        let reopen = Arc::new(AtomicBool::new(false));
        let on_loss: Arc<OnLoss> = Arc::new(on_loss);
        let writer = Writer { output, lines, reopen: Arc::clone(&reopen), on_loss: Arc::clone(&on_loss) };
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run())?;
        Ok(Self { shared: Some(Arc::new(Shared { queue, reopen, on_loss })) })
    }

    /// Whether lines go anywhere: what costs something to find out for an entry need not be when not.
    pub(crate) fn enabled(&self) -> bool {
        self.shared.is_some()
    }

    /// Writes an entry, or loses it if the writer is too far behind. Never waits.
    pub(crate) fn log(&self, entry: &Entry<'_>) {
        let Some(shared) = &self.shared else { return };
        let mut line = Vec::with_capacity(LINE_CAPACITY);
        serde_json::to_writer(&mut line, &Line::of(entry)).expect("strings and numbers are written to memory");
        line.push(b'\n');
        if shared.queue.try_send(Message::Line(line)).is_err() {
            (shared.on_loss)(1);
        }
    }

    /// Opens the file anew before the next line, for a log that was rotated by renaming. If that fails, lines go to the
    /// old one.
    pub(crate) fn reopen(&self) {
        let Some(shared) = &self.shared else { return };
        shared.reopen.store(true, Ordering::Release);
        match shared.queue.try_send(Message::Wake) {
            // A full queue wakes the writer as well.
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => tracing::warn!("the access log's writer is gone"),
        }
    }

    /// Waits until every line logged so far is written, for the end of the process. Blocks the thread, at most for
    /// `timeout`; tells whether it was enough.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let Some(shared) = &self.shared else { return true };
        let (done, wait) = sync_channel(1);
        // The queue may be full of lines for a moment, and there is no bounded wait for room in it.
        let give_up = std::time::Instant::now() + timeout;
        let mut message = Message::Flush(done);
        while let Err(error) = shared.queue.try_send(message) {
            let TrySendError::Full(back) = error else { return false };
            if std::time::Instant::now() >= give_up {
                return false;
            }
            message = back;
            std::thread::sleep(FLUSH_RETRY);
        }
        wait.recv_timeout(give_up.saturating_duration_since(std::time::Instant::now())).is_ok()
    }
}

/// How often [`AccessLogger::flush`] looks for room in a full queue.
const FLUSH_RETRY: Duration = Duration::from_millis(1);

impl std::fmt::Debug for AccessLogger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessLogger").field("enabled", &self.enabled()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
