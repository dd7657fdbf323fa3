//! A running `headrace standalone`: how it is started, and what it tells from outside.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::probe::{get, metric};
use crate::{Process, port};

/// The guard of the start: far above what a debug build takes on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A data plane that serves manifests, without a cluster.
pub struct Headrace {
    /// The process, whose standard output has the access log.
    pub process: Process,
    directory: PathBuf,
    admin: SocketAddr,
}

impl Headrace {
    /// Starts it in a directory, on the manifests of another, and waits until it serves.
    pub fn start(directory: &Path, manifests: &Path) -> Result<Self> {
        let admin = port::on_loopback(port::free()?);
        let mut command = Command::new(Self::binary()?);
        command.current_dir(directory).arg("standalone").arg("-f").arg(manifests);
        command.args(["--admin", &admin.to_string(), "--access-log", "stdout"]);
        let mut process = Process::start("headrace", &mut command, directory)?;
        process.wait_until(START_TIMEOUT, |_| (get(admin, "/readyz").ok()?.0 == 200).then_some(()))?;
        Ok(Self { process, directory: directory.to_owned(), admin })
    }

    /// The program under test.
    pub fn binary() -> Result<PathBuf> {
        binary("headrace", "HEADRACE_BIN")
    }

    /// The development CA's certificate.
    pub fn ca(&self) -> PathBuf {
        self.directory.join(".headrace").join("ca.pem")
    }

    /// The hash of the certificate's public key, by which Chromium is told to trust it.
    pub fn spki(&mut self) -> Result<String> {
        self.process.wait_until(START_TIMEOUT, |process| {
            // Remarks are on standard error, so that the access log has standard output to itself.
            let said = [process.stderr(), process.stdout()].concat();
            let (_, rest) = said.split_once("spki-sha256=")?;
            let (hash, _) = rest.split_once(|c: char| c.is_whitespace())?;
            Some(hash.to_owned())
        })
    }

    /// A request to the admin endpoint: status and body.
    pub fn admin(&self, path: &str) -> Result<(u16, String)> {
        get(self.admin, path)
    }

    /// The value of a metric, summed over all label sets that contain every given text.
    pub fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        metric(self.admin, name, labels)
    }

    /// Waits until a metric passes a test.
    pub fn wait_for_metric(&mut self, name: &str, labels: &[&str], test: impl Fn(f64) -> bool) -> Result<()> {
        let admin = self.admin;
        let passes = |_: &Process| metric(admin, name, labels).is_ok_and(&test).then_some(());
        self.process.wait_until(START_TIMEOUT, passes).with_context(|| format!("{name} is never as expected"))
    }
}

/// A binary of this workspace: what the variable names, or what lies where the test itself was built.
pub fn binary(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let found = test.ancestors().skip(1).map(|directory| directory.join(name)).find(|path| path.is_file());
    found.with_context(|| {
        format!("{name} is not built: run `cargo build -p headrace -p headrace-demo`, or set {variable}")
    })
}
