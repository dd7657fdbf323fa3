//! Child processes: their output in files, their end by process id.
//!
//! Must not know what runs in them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How often a wait looks again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a child that was asked to end may take, before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of a child's output a failure shows, from its end.
const SHOWN_OCTETS: usize = 4000;

/// A running child. It is killed when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts a command, with its output in `<name>.out` and `<name>.err` in a directory.
    pub fn start(name: &str, command: &mut Command, directory: &Path) -> Result<Self> {
        Self::start_with_input(name, command, directory, "")
    }

    /// Starts a command that reads a text from its standard input, and then its end.
    pub fn start_with_input(name: &str, command: &mut Command, directory: &Path, input: &str) -> Result<Self> {
        let stdin = directory.join(format!("{name}.in"));
        std::fs::write(&stdin, input)?;
        let stdout = directory.join(format!("{name}.out"));
        let stderr = directory.join(format!("{name}.err"));
        let child = command
            .stdin(File::open(stdin)?)
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .spawn()
            .with_context(|| format!("cannot start {command:?}; has scripts/setup test been run?"))?;
        Ok(Self { name: name.to_owned(), child, stdout, stderr })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Waits until a complete line of standard output passes `find`, and returns what `find` made of it.
    pub fn wait_for_line<T>(&mut self, timeout: Duration, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.wait_until(timeout, |process| {
            let output = process.stdout();
            let (complete, _) = output.rsplit_once('\n').unwrap_or_default();
            complete.lines().find_map(&find)
        })
    }

    /// Waits until `look` finds something, and fails when the child ends first.
    pub fn wait_until<T>(&mut self, timeout: Duration, mut look: impl FnMut(&Self) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + timeout;
        loop {
            let ended = self.child.try_wait()?;
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if let Some(status) = ended {
                bail!("{} ended with {status}\n{}", self.name, self.tail());
            }
            if Instant::now() >= deadline {
                bail!("{} is not ready after {timeout:?}\n{}", self.name, self.tail());
            }
            sleep(LOOK_EVERY);
        }
    }

    /// Waits for its end. A child that takes longer is ended, and that is an error.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.poll(timeout)? {
            return Ok(status);
        }
        // Asked first: a test client closes its browser when it is.
        self.signal("TERM")?;
        self.poll(END_TIMEOUT)?;
        bail!("{} still ran after {timeout:?}\n{}", self.name, self.tail());
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.id().to_string()).status()?;
        anyhow::ensure!(status.success(), "cannot signal {}", self.name);
        Ok(())
    }

    /// The end of its output, for messages.
    pub fn tail(&self) -> String {
        let tail = |text: &str| {
            let start = text.len().saturating_sub(SHOWN_OCTETS);
            let start = (start..text.len()).find(|index| text.is_char_boundary(*index)).unwrap_or(text.len());
            text[start..].to_owned()
        };
        format!("--- stdout ---\n{}\n--- stderr ---\n{}", tail(&self.stdout()), tail(&self.stderr()))
    }

    fn poll(&mut self, timeout: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    // A file that cannot be read shows as empty, and the wait that looks at it says what it waited for.
    std::fs::read(path).map(|octets| String::from_utf8_lossy(&octets).into_owned()).unwrap_or_default()
}
