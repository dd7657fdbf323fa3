//! The peers: how each is started as a client and as a backend.
//!
//! webtransport-go is there twice. Since 0.12 its client asks its server for RESET_STREAM_AT, which no Rust QUIC has: as a
//! client it is the newest before that, and the newest one says what it misses.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::manifest::source_root;
use headrace_e2e::{Process, Reached as _, client};
use serde_json::Value;

use crate::stage::{Ground, Said as _, Stage};

/// The guard of each wait.
pub(crate) const GUARD: Duration = Duration::from_secs(60);

/// Of each build, its program and the arguments that tell it from the other.
const NEWEST: (&str, &[&str]) = (concat!(env!("CARGO_TARGET_TMPDIR"), "/webtransport_go"), &[]);
const DIALER: (&str, &[&str]) =
    (concat!(env!("CARGO_TARGET_TMPDIR"), "/webtransport_go_dialer"), &["-modfile=dialer.mod", "-tags=dialer"]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// webtransport-go 0.13: draft 15, as a server with all earlier settings beside it.
    GoNewest,
    /// The same, whose sessions are held to 128 streams and 64 KiB by flow control, as the draft has it for several
    /// sessions on one connection. A backend only: a client with it is refused like the one without.
    GoFlow,
    /// webtransport-go 0.11.1: draft 15 without its flow control, and the last client that does without RESET_STREAM_AT.
    GoDialer,
    /// aioquic: draft 02.
    Aioquic,
}

impl Peer {
    pub(crate) const BACKENDS: [Self; 4] = [Self::GoNewest, Self::GoFlow, Self::GoDialer, Self::Aioquic];

    /// The path of its route as a backend, and its files' name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GoNewest => "go-newest",
            Self::GoFlow => "go-flow",
            Self::GoDialer => "go-dialer",
            Self::Aioquic => "aioquic",
        }
    }

    /// Runs it as a client to its end, against the target of this name.
    pub(crate) fn visit(self, stage: &Stage, target: &str, flags: &[&str]) -> Result<Value> {
        let (url, ca) = (stage.url(target), stage.ca());
        let mut arguments = vec!["--url", &url, "--ca", ca.to_str().context("the directory has a strange name")?];
        arguments.extend(flags);
        let name = format!("{}-to-{target}", self.name());
        let run = || match self {
            Self::Aioquic => client::run(stage, &name, "wt_client.py", &arguments),
            Self::GoNewest | Self::GoFlow | Self::GoDialer => {
                let mut command = Command::new(self.go()?);
                command.arg("client").args(&arguments);
                let said = client::command(stage.directory(), &name, &mut command)?;
                serde_json::from_str(&said).context(said)
            }
        };
        run().with_context(|| format!("{self:?} to {target}")).said(stage)
    }

    /// Starts it as a backend, and gives its port.
    pub(crate) fn stand(self, ground: &Ground) -> Result<(Process, u16)> {
        let (certificate, key) = &ground.certificate;
        let mut command = match self {
            Self::Aioquic => client::script("wt_backend.py"),
            Self::GoNewest | Self::GoFlow | Self::GoDialer => {
                let mut command = Command::new(self.go()?);
                command.arg("backend");
                command
            }
        };
        command.arg("--certificate").arg(certificate).arg("--key").arg(key);
        if self == Self::GoFlow {
            command.arg("--flow");
        }
        let mut process = Process::start(self.name(), &mut command, ground.directory())?;
        let port = process.wait_for_line(GUARD, |line| {
            let said: Value = serde_json::from_str(line).ok()?;
            said["listening"].as_u64()?.try_into().ok()
        })?;
        Ok((process, port))
    }

    fn go(self) -> Result<&'static Path> {
        static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
        let built = BUILT
            .get_or_init(|| [NEWEST, DIALER].into_iter().try_for_each(build).map_err(|error| format!("{error:#}")));
        built.clone().map_err(anyhow::Error::msg)?;
        Ok(Path::new(if self == Self::GoDialer { DIALER.0 } else { NEWEST.0 }))
    }
}

fn build((program, flags): (&str, &[&str])) -> Result<()> {
    let source = source_root().join("e2e/clients/webtransport_go");
    let mut go = Command::new("go");
    let built =
        go.arg("build").arg("-C").arg(source).args(flags).args(["-o", program, "."]).output().context("no go")?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Ok(())
}
