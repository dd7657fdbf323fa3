//! The demo, whole: its backend, its manifests and a Headrace that serves them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::application::Application;
use crate::client::Reached;
use crate::headrace::binary;
use crate::manifest::{self, DEMO_PORT, DEMO_WEBTRANSPORT_PORT, HTTP_PORT, HTTPS_PORT};
use crate::{Headrace, Process, port};

/// The guard of the demo backend's start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A demo backend behind a Headrace, in a directory of its own.
///
/// Fields are dropped in this order: Headrace first, the directory last.
pub struct Site {
    /// The Headrace in front.
    pub headrace: Headrace,
    /// The demo backend.
    pub demo: Process,
    /// The port of the HTTPS listener, on TCP and UDP.
    pub https: u16,
    /// The port of the clear-text listener.
    pub http: u16,
    applications: Vec<Application>,
    directory: TempDir,
}

impl Site {
    /// The demo as its manifests say.
    pub fn start() -> Result<Self> {
        Self::with_applications(|_| Ok(Vec::new()))
    }

    /// The demo with applications beside it, which are started in the directory that is given.
    pub fn with_applications(start: impl FnOnce(&Path) -> Result<Vec<Application>>) -> Result<Self> {
        let directory = TempDir::with_prefix("headrace-e2e-")?;
        let mut demo = Command::new(binary("headrace-demo", "HEADRACE_DEMO_BIN")?);
        demo.args(["--listen", "127.0.0.1:0", "--webtransport", "127.0.0.1:0"]);
        // Headrace makes the certificate when it reads the manifests, and the demo waits for it.
        let certificate = directory.path().join(".headrace/backends/headrace-demo.demo.pem");
        demo.arg("--certificate").arg(&certificate).arg("--key").arg(certificate.with_extension("key"));
        let mut demo = Process::start("demo", &mut demo, directory.path())?;
        let port = |line: &str, scheme: &str| line.split_once(scheme)?.1.rsplit_once(':')?.1.parse().ok();
        let demo_port = demo.wait_for_line(START_TIMEOUT, |line| port(line, "http://"))?;
        let demo_webtransport_port = demo.wait_for_line(START_TIMEOUT, |line| port(line, "https://"))?;
        let applications = start(directory.path())?;

        let (https, http) = (port::free()?, port::free()?);
        let manifests = directory.path().join("manifests");
        let root = manifest::source_root();
        let demo_ports = [
            (HTTPS_PORT, https),
            (HTTP_PORT, http),
            (DEMO_PORT, demo_port),
            (DEMO_WEBTRANSPORT_PORT, demo_webtransport_port),
        ];
        manifest::copy(&root.join("manifests/demo"), &manifests, &demo_ports)?;
        for application in &applications {
            let from = root.join("e2e/manifests").join(application.name);
            manifest::copy(&from, &manifests, &[(application.manifest_port, application.port)])?;
        }
        let headrace = Headrace::start(directory.path(), &manifests)
            .with_context(|| format!("on the manifests of {}", manifests.display()))?;
        Ok(Self { headrace, demo, https, http, applications, directory })
    }

    /// The manifests that are served. They may be changed.
    pub fn manifests(&self) -> PathBuf {
        self.directory().join("manifests")
    }

    /// An `https` URL, or with `wss` as its scheme one of a tunnel.
    pub fn secure(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://localhost:{}{path}", self.https)
    }

    /// An `http` URL, or with `ws` as its scheme one of a tunnel.
    pub fn clear(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://localhost:{}{path}", self.http)
    }

    /// What everybody has said, for a failure's message.
    pub fn tails(&self) -> String {
        let mut text = format!("=== headrace ===\n{}\n", self.headrace.process.tail());
        for application in &self.applications {
            text += &format!("=== {} ===\n{}\n", application.name, application.process.tail());
        }
        text
    }
}

impl Reached for Site {
    fn ca(&self) -> PathBuf {
        self.headrace.ca()
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }
}
