//! What `standalone` takes, and the data plane's configuration that it makes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use headrace_dataplane::{AccessLog, Config, Retry};

use crate::args::ManifestArgs;
use crate::output::Output;

/// What `standalone` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Manifests are watched: a change is served without dropping a connection, and an object that turns \
                        bad keeps its last good version.\nSIGTERM and SIGINT drain and end with 0; SIGHUP reopens the \
                        access log and reloads."
)]
pub(crate) struct StandaloneArgs {
    #[command(flatten)]
    pub(super) manifests: ManifestArgs,
    /// Only judge the manifests, as `headrace check` does
    #[arg(long)]
    pub(super) check: bool,
    /// Where /metrics, /healthz and /readyz are served, or `off`
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    admin: Admin,
    /// Threads that serve; as many as the machine has cores unless told otherwise
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=128))]
    workers: Option<u16>,
    /// Addresses to listen on; only this machine's loopback unless told otherwise. For all: --bind 0.0.0.0 ::
    #[arg(long, value_name = "ADDR", num_args = 1..)]
    bind: Vec<IpAddr>,
    /// Where a JSON line for each request and tunnel goes: off, stdout, or a file
    #[arg(long, value_name = "off|stdout|FILE", default_value = "off", value_parser = access_log)]
    access_log: AccessLog,
    /// How long open requests and tunnels may go on after SIGTERM, such as 30s or 2m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    drain_timeout: Duration,
    /// Whether a QUIC client must prove its address before anything is kept for it
    #[arg(long, value_enum, default_value_t = RetryPolicy::Never)]
    retry: RetryPolicy,
}

/// Words for [`Retry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RetryPolicy {
    Never,
    UnderLoad,
    Always,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Admin(Option<SocketAddr>);

impl FromStr for Admin {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Admin(None)),
            address => address.parse().map(|address| Admin(Some(address))),
        }
    }
}

fn access_log(text: &str) -> Result<AccessLog, std::convert::Infallible> {
    Ok(match text {
        "off" => AccessLog::Off,
        "stdout" | "-" => AccessLog::Stdout,
        file => AccessLog::File(PathBuf::from(file)),
    })
}

/// `500ms`, `30s`, `2m`, `1h`, or seconds.
fn duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "expected a time such as 500ms, 30s or 2m";
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| EXPECTED)?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).ok_or(EXPECTED)
}

impl StandaloneArgs {
    /// The data plane's configuration.
    pub(super) fn config(&self) -> Config {
        let default = Config::default();
        Config {
            workers: self.workers.map_or(default.workers, usize::from),
            bind: self.bind(),
            admin: self.admin.0,
            access_log: self.access_log.clone(),
            retry: match self.retry {
                RetryPolicy::Never => Retry::Never,
                RetryPolicy::UnderLoad => Retry::UnderLoad,
                RetryPolicy::Always => Retry::Always,
            },
            drain_timeout: self.drain_timeout,
            ..default
        }
    }

    /// Where reports go: standard output belongs to the access log if that is where it goes.
    pub(super) fn output(&self) -> Output {
        match self.access_log {
            AccessLog::Stdout => Output::Stderr,
            _ => Output::Stdout,
        }
    }

    fn bind(&self) -> Vec<IpAddr> {
        if !self.bind.is_empty() {
            return self.bind.clone();
        }
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        // Of what nobody asked for, only what the machine has: IPv6 may be off.
        loopback.into_iter().filter(|address| UdpSocket::bind((*address, 0)).is_ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times() {
        for (text, expected) in [
            ("30", Some(30_000)),
            ("30s", Some(30_000)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("0s", Some(0)),
            ("s", None),
            ("1d", None),
            ("-1s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615s", None),
        ] {
            assert_eq!(duration(text).ok().map(|time| time.as_millis()), expected, "{text}");
        }
    }
}
