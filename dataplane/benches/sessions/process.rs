//! Processes that are measured: started on a core of their own, ended with whoever started them, and read by proc(5).

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::serve::Role;

/// A running process. Dropped, it is killed: nothing of it is measured any more.
pub(crate) struct Process(Child);

impl Process {
    /// This program as `role`, once it serves.
    pub(crate) fn itself(role: &Role, core: usize) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child =
            pinned(&program, core).arg("--serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = serde_json::to_vec(role).unwrap();
        line.push(b'\n');
        // Standard input stays open: it ends when this process does.
        child.stdin.as_mut().unwrap().write_all(&line).unwrap();
        let mut answer = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
        assert_eq!(answer, "serving\n", "the process to be measured does not serve");
        Self(child)
    }

    /// Envoy with one worker. Whether it serves is not known yet.
    pub(crate) fn envoy(program: &Path, config: &Path, core: usize) -> Self {
        let mut command = pinned(program, core);
        command.arg("-c").arg(config).args(["--concurrency", "1", "--disable-hot-restart"]);
        command.args(["--log-level", "critical"]);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    /// Whether it ended by itself, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// Nanoseconds that its threads were on a CPU, in user and in system.
    pub(crate) fn cpu(&self) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let of_thread = |path: std::path::PathBuf| {
            // One that has ended meanwhile is none of those that carry anything.
            let stat = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            stat.split(' ').next().and_then(|spent| spent.parse().ok()).unwrap_or(0_u64)
        };
        threads.map(|thread| of_thread(thread.unwrap().path())).sum()
    }

    /// Octets of memory that it has.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn pinned(program: &Path, core: usize) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &core.to_string()]).arg(program);
    command
}

/// Keeps this process, and whatever threads it starts, away from what it measures.
pub(crate) fn pin_to(core: usize) {
    let (core, pid) = (core.to_string(), std::process::id().to_string());
    let mut command = Command::new("taskset");
    let done = command.args(["--all-tasks", "--cpu-list", "--pid", &core, &pid]).stdout(Stdio::null()).status();
    assert!(done.unwrap().success(), "two cores are needed: one for the proxy, one for the load and the backend");
}
