//! Runs the program. Nothing here outlives its test.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than any machine takes; no test waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn headrace(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headrace"));
    // No test may reach a cluster that its user happens to have.
    command.env("KUBECONFIG", "no-such-kubeconfig");
    command.current_dir(directory).env_remove("RUST_LOG").env_remove("HEADRACE_DATA_DIR");
    command
}

/// Runs to the end: standard output, standard error, exit code.
pub(crate) fn run(directory: &Path, args: &[&str]) -> (String, String, i32) {
    text(headrace(directory).args(args).stdin(Stdio::null()).output().unwrap())
}

/// Runs to the end with an input.
pub(crate) fn run_with(directory: &Path, args: &[&str], input: &str) -> (String, String, i32) {
    let pipes = || Stdio::piped();
    let mut child = headrace(directory).args(args).stdin(pipes()).stdout(pipes()).stderr(pipes()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    text(child.wait_with_output().unwrap())
}

fn text(output: Output) -> (String, String, i32) {
    let utf8 = |octets| String::from_utf8(octets).unwrap();
    (utf8(output.stdout), utf8(output.stderr), output.status.code().unwrap())
}

/// A program that is running, killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    /// Lines that nobody asked for yet: those of two streams come in any order.
    unclaimed: Vec<String>,
}

impl Running {
    pub(crate) fn start(directory: &Path, args: &[&str]) -> Self {
        let mut command = headrace(directory);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let error_sender = sender.clone();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        std::thread::spawn(move || forward(stdout, &sender));
        std::thread::spawn(move || forward(stderr, &error_sender));
        Self { child, lines, unclaimed: Vec::new() }
    }

    /// Waits for a line with this in it. Each line is given once.
    pub(crate) fn line_with(&mut self, wanted: &str) -> String {
        if let Some(index) = self.unclaimed.iter().position(|line| line.contains(wanted)) {
            return self.unclaimed.remove(index);
        }
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(wanted) => return line,
                Ok(line) => self.unclaimed.push(line),
                Err(_) => panic!("no line with {wanted:?} in:\n{}", self.unclaimed.join("\n")),
            }
        }
    }

    pub(crate) fn stdin(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().unwrap()
    }

    pub(crate) fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("still running; it said:\n{}", self.unclaimed.join("\n"));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.unclaimed.extend(self.lines.try_iter());
            eprintln!("it said:\n{}", self.unclaimed.join("\n"));
        }
    }
}

fn forward(from: impl std::io::Read, to: &std::sync::mpsc::Sender<String>) {
    for line in BufReader::new(from.take(1 << 20)).lines() {
        let Ok(line) = line else { return };
        if to.send(line).is_err() {
            return;
        }
    }
}

/// A port that nobody uses on TCP or UDP, and that no other test of this process is given.
///
/// Below the range from which systems choose ports for outgoing connections: none of those can take it meanwhile.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time begin far apart.
    let start = std::process::id().wrapping_mul(97);
    loop {
        let number = start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % COUNT + FIRST;
        let port = u16::try_from(number).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
