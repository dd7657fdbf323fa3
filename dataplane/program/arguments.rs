//! The command line, and what the library is configured with by it. Every flag can be set by the environment as well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use headrace_cid::ServerId;
use headrace_dataplane::{AccessLog, Config, ControllerAddress, PodConfig, Retry, SubscriptionConfig};

use crate::log::LogFormat;

/// Serves the routing tables that a Headrace controller publishes
#[derive(Debug, clap::Parser)]
#[command(
    name = "headrace-dataplane",
    version,
    after_help = "SIGTERM and SIGINT: leaves the rotation, drains, and ends with 0. SIGHUP reopens the access log."
)]
pub(crate) struct Arguments {
    /// Where controllers are: a name that stands for all of them, or several
    #[arg(long, value_name = "HOST:PORT", env = "HEADRACE_CONTROLLER", required = true, value_delimiter = ',')]
    controller: Vec<ControllerAddress>,
    /// Certificates of the CA that issues those of controllers
    #[arg(long, value_name = "FILE", env = "HEADRACE_CA_FILE", default_value = "/var/run/headrace/ca/ca.crt")]
    ca_file: PathBuf,
    /// The token that controllers know this pod by
    #[arg(long, value_name = "FILE", env = "HEADRACE_TOKEN_FILE", default_value = "/var/run/headrace/token/token")]
    token_file: PathBuf,
    /// Where the last good table is kept for the next start: a directory on a volume in memory, since it holds keys
    #[arg(long, value_name = "DIR", env = "HEADRACE_TABLE_DIRECTORY", default_value = "/var/run/headrace/table")]
    table_directory: PathBuf,
    /// Where /metrics, /healthz and /readyz are served
    #[arg(long, value_name = "ADDR", env = "HEADRACE_ADMIN_ADDRESS", default_value = "0.0.0.0:9090")]
    admin_address: SocketAddr,
    /// The UID of this pod, by which controllers name it to the others
    #[arg(long, value_name = "UID", env = "HEADRACE_POD_UID")]
    pod_uid: Option<Box<str>>,
    /// Where packets of clients are taken that came to other pods; nowhere unless told otherwise
    #[arg(long, value_name = "ADDR", env = "HEADRACE_HOP_ADDRESS")]
    hop_address: Option<SocketAddr>,
    /// The server ID that the AWS Load Balancer Controller gave this pod: connection IDs are its load balancer's then
    #[arg(long, value_name = "BASE64", env = "AWS_LBC_QUIC_SERVER_ID", value_parser = ServerId::from_aws)]
    aws_server_id: Option<ServerId>,
    /// Addresses to listen on; all that the machine has unless told otherwise
    #[arg(long, value_name = "ADDR", env = "HEADRACE_BIND", value_delimiter = ',')]
    bind: Vec<IpAddr>,
    /// Threads that serve; as many as there are cores unless told otherwise
    #[arg(long, value_name = "N", env = "HEADRACE_WORKERS", value_parser = clap::value_parser!(u16).range(1..=128))]
    workers: Option<u16>,
    /// Where a JSON line for each request and tunnel goes: off, stdout, or a file
    #[arg(
        long,
        value_name = "off|stdout|FILE",
        env = "HEADRACE_ACCESS_LOG",
        default_value = "off",
        value_parser = access_log
    )]
    access_log: AccessLog,
    /// How long new connections are still served after SIGTERM, until endpoints have left the rotation
    #[arg(long, value_name = "N", env = "HEADRACE_DRAIN_DELAY_SECONDS", default_value_t = 5)]
    drain_delay_seconds: u32,
    /// How long open requests and tunnels may go on after that
    #[arg(long, value_name = "N", env = "HEADRACE_DRAIN_TIMEOUT_SECONDS", default_value_t = 30)]
    drain_timeout_seconds: u32,
    /// Whether a QUIC client must prove its address before anything is kept for it
    #[arg(long, value_enum, env = "HEADRACE_RETRY", default_value_t = RetryPolicy::Never)]
    retry: RetryPolicy,
    /// How diagnostics are written to standard error
    #[arg(long, value_enum, env = "HEADRACE_LOG_FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// Words for [`Retry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RetryPolicy {
    Never,
    UnderLoad,
    Always,
}

fn access_log(text: &str) -> Result<AccessLog, std::convert::Infallible> {
    Ok(match text {
        "off" => AccessLog::Off,
        "stdout" => AccessLog::Stdout,
        file => AccessLog::File(PathBuf::from(file)),
    })
}

impl Arguments {
    /// How the data plane runs.
    pub(crate) fn config(&self) -> Config {
        let default = Config::default();
        Config {
            workers: self.workers.map_or(default.workers, usize::from),
            bind: self.bind(),
            admin: Some(self.admin_address),
            access_log: self.access_log.clone(),
            retry: match self.retry {
                RetryPolicy::Never => Retry::Never,
                RetryPolicy::UnderLoad => Retry::UnderLoad,
                RetryPolicy::Always => Retry::Always,
            },
            drain_timeout: Duration::from_secs(self.drain_timeout_seconds.into()),
            pod: self.pod(),
        }
    }

    /// Who it is among the pods of its pod set.
    fn pod(&self) -> PodConfig {
        PodConfig {
            uid: self.pod_uid.clone(),
            aws_server_id: self.aws_server_id,
            hop_address: self.hop_address,
            // It outlives the process and not the pod.
            directory: self.pod_uid.is_some().then(|| self.table_directory.clone()),
            ..PodConfig::default()
        }
    }

    /// Where its tables come from.
    pub(crate) fn subscription(&self) -> SubscriptionConfig {
        SubscriptionConfig {
            controllers: self.controller.clone(),
            ca_file: self.ca_file.clone(),
            token_file: self.token_file.clone(),
            table_directory: Some(self.table_directory.clone()),
        }
    }

    /// The time between leaving the rotation and the drain.
    pub(crate) fn drain_delay(&self) -> Duration {
        Duration::from_secs(self.drain_delay_seconds.into())
    }

    /// The controllers, for the log.
    pub(crate) fn controllers(&self) -> String {
        let controllers: Vec<_> = self.controller.iter().map(ToString::to_string).collect();
        controllers.join(", ")
    }

    fn bind(&self) -> Vec<IpAddr> {
        if !self.bind.is_empty() {
            return self.bind.clone();
        }
        let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        // Of what nobody asked for, only what the machine has: a cluster may be without one of the two, and a port that
        // cannot be bound is told to whoever wrote the Gateway.
        all.into_iter().filter(|address| UdpSocket::bind((*address, 0)).is_ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    const MINIMUM: [&str; 3] =
        ["headrace-dataplane", "--controller", "headrace-controller-push.headrace-system.svc:9443"];

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_a_pod() {
        let arguments = Arguments::try_parse_from(MINIMUM).unwrap();
        let subscription = arguments.subscription();
        assert_eq!(arguments.controllers(), MINIMUM[2]);
        assert_eq!(subscription.table_directory, Some(PathBuf::from("/var/run/headrace/table")));
        let config = arguments.config();
        assert_eq!(config.admin, Some(SocketAddr::from(([0, 0, 0, 0], 9090))));
        assert!(config.bind.iter().all(IpAddr::is_unspecified) && !config.bind.is_empty(), "{:?}", config.bind);
        assert_eq!((arguments.drain_delay().as_secs(), config.drain_timeout.as_secs()), (5, 30));
        assert_eq!((config.pod.uid, config.pod.hop_address, config.pod.directory), (None, None, None));
    }

    #[test]
    fn a_pod_that_is_named_counts_its_restarts_where_it_keeps_its_table() {
        let more = ["--pod-uid", "5d2a", "--hop-address", "0.0.0.0:9444", "--aws-server-id", "LWV1oW+gjqQ="];
        let pod = Arguments::try_parse_from(MINIMUM.iter().chain(&more)).unwrap().config().pod;
        assert_eq!(pod.uid.as_deref(), Some("5d2a"));
        assert_eq!(pod.hop_address, Some(SocketAddr::from(([0, 0, 0, 0], 9444))));
        assert_eq!(pod.directory, Some(PathBuf::from("/var/run/headrace/table")));
        assert_eq!(pod.aws_server_id.map(|id| id.to_string()).as_deref(), Some("2d6575a16fa08ea4"));
        assert!(pod.kernel_steering);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let with = |more: &[&'static str]| Arguments::try_parse_from(MINIMUM.iter().chain(more)).map(drop);
        assert!(with(&["--workers", "2", "--retry", "always", "--log-format", "json", "--bind", "127.0.0.1"]).is_ok());
        for more in [
            ["--workers", "0"],
            ["--retry", "sometimes"],
            ["--controller", "no-port"],
            ["--admin-address", "9090"],
            ["--drain-delay-seconds", "-1"],
            ["--bind", "everywhere"],
            ["--workers", "129"],
            ["--hop-address", "9444"],
            ["--aws-server-id", "LWV1oW8="],
        ] {
            assert!(with(&more).is_err(), "{more:?}");
        }
        assert!(Arguments::try_parse_from(&MINIMUM[..1]).is_err(), "somebody must be subscribed to");
    }
}
