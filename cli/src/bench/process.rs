//! What another process costs, as Linux tells it under `/proc`.

use std::fs;
use std::num::NonZeroU32;
use std::str::FromStr;

use anyhow::Context as _;
use serde::Serialize;

/// The kernel counts CPU time for user space in these, whatever its own clock (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pid(NonZeroU32);

impl FromStr for Pid {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Pid)
    }
}

/// Memory that a process has in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Memory {
    /// Resident set.
    pub(super) rss_octets: u64,
    /// What of it is not a file's: heap and stacks.
    pub(super) anonymous_octets: u64,
}

impl Pid {
    /// CPU seconds so far, of all threads that there are and were.
    pub(super) fn cpu_seconds(self) -> anyhow::Result<f64> {
        let path = format!("/proc/{}/stat", self.0);
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        parse_cpu(&text).with_context(|| format!("{path} is not as expected"))
    }

    /// Memory in use now.
    pub(super) fn memory(self) -> anyhow::Result<Memory> {
        let path = format!("/proc/{}/status", self.0);
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        parse_memory(&text).with_context(|| format!("{path} is not as expected"))
    }
}

fn parse_cpu(stat: &str) -> Option<f64> {
    // The command's name comes in parentheses and may hold anything; fields 14 and 15 are user and system time.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

fn parse_memory(status: &str) -> Option<Memory> {
    let kilobytes = |field: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some(Memory { rss_octets: kilobytes("VmRSS")? * 1024, anonymous_octets: kilobytes("RssAnon")? * 1024 })
}

/// Thousands of connections are thousands of descriptors, and the usual soft limit is 1,024.
pub(super) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // What cannot be raised shows when a connection fails.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 3 0 100 1 1";
        assert_eq!(parse_cpu(stat), Some(3.0));
        let status = "Name:\tx\nVmRSS:\t    2048 kB\nRssAnon:\t    1024 kB\n";
        assert_eq!(parse_memory(status), Some(Memory { rss_octets: 2 << 20, anonymous_octets: 1 << 20 }));
        let own: Pid = std::process::id().to_string().parse().unwrap();
        assert!(own.memory().unwrap().rss_octets > 0);
        assert!(own.cpu_seconds().unwrap() >= 0.0);
    }
}
