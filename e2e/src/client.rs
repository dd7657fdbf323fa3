//! Independent clients in other languages: where they are, and one run of each.
//!
//! Each says what it saw as one JSON object; the tests judge it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{Process, manifest};

/// The guard of one client's whole run.
const RUN_TIMEOUT: Duration = Duration::from_secs(120);

/// What a client is run against: it needs something to trust, and somewhere to write.
pub trait Reached {
    /// The file of the CA's certificate that clients trust.
    fn ca(&self) -> PathBuf;

    /// Where the output of clients goes.
    fn directory(&self) -> &Path;
}

/// The directory of the client scripts.
pub(crate) fn clients() -> PathBuf {
    manifest::source_root().join("e2e/clients")
}

/// A program on the path, or else the first of these that exists.
pub(crate) fn tool(name: &str, elsewhere: &[&str]) -> PathBuf {
    let on_path = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join(name).is_file()));
    let found = elsewhere.iter().map(PathBuf::from).find(|path| path.is_file());
    if on_path { name.into() } else { found.unwrap_or_else(|| name.into()) }
}

/// The Python of the environment that `scripts/setup test` makes.
fn python() -> PathBuf {
    let from = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let venv = from("HEADRACE_VENV").unwrap_or_else(|| {
        let home = || from("HOME").unwrap_or_default().join(".cache");
        from("XDG_CACHE_HOME").unwrap_or_else(home).join("headrace").join("venv")
    });
    venv.join("bin").join("python")
}

/// Runs a script of `e2e/clients` to its end and returns what it said.
///
/// `name` tells this run's files from those of others in the same directory.
pub fn run(reached: &impl Reached, name: &str, script: &str, arguments: &[&str]) -> Result<Value> {
    start(reached, name, script, arguments)?.finish()
}

/// Starts a script of `e2e/clients`.
pub fn start(reached: &impl Reached, name: &str, script: &str, arguments: &[&str]) -> Result<Running> {
    let mut command = self::script(script);
    command.args(arguments).env("NODE_EXTRA_CA_CERTS", reached.ca());
    Ok(Running(Process::start(name, &mut command, reached.directory())?))
}

/// A command that runs a script of `e2e/clients`.
pub fn script(script: &str) -> Command {
    let interpreter = if script.ends_with(".py") { python() } else { "node".into() };
    let mut command = Command::new(interpreter);
    command.arg(clients().join(script));
    command
}

/// A client script that has not ended yet.
pub struct Running(Process);

impl Running {
    /// Waits until the script says a word on standard error, on a line of its own.
    pub fn wait_until_it_says(&mut self, word: &str) -> Result<()> {
        self.0.wait_until(RUN_TIMEOUT, |process| process.stderr().lines().any(|line| line == word).then_some(()))
    }

    /// Asks the script to come to its end.
    pub fn stop(&self) -> Result<()> {
        self.0.signal("TERM")
    }

    /// Waits for the end and returns what the script said.
    pub fn finish(mut self) -> Result<Value> {
        let status = self.0.wait(RUN_TIMEOUT)?;
        ensure!(status.success(), "{status}\n{}", self.0.tail());
        serde_json::from_str(&self.0.stdout()).with_context(|| self.0.tail())
    }
}

/// Runs a program to its end and returns its standard output.
pub fn command(directory: &Path, name: &str, command: &mut Command) -> Result<String> {
    let mut process = Process::start(name, command, directory)?;
    let status = process.wait(RUN_TIMEOUT)?;
    ensure!(status.success(), "{command:?}: {status}\n{}", process.tail());
    Ok(process.stdout())
}

/// One request by curl: status and body.
pub fn curl(reached: &impl Reached, flags: &[&str], url: &str) -> Result<(u16, String)> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--write-out", "\n%{http_code}"]);
    let output = command.arg("--cacert").arg(reached.ca()).args(flags).arg(url).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "curl {url}: {stderr}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').context("curl wrote nothing")?;
    Ok((status.parse()?, body.to_owned()))
}
