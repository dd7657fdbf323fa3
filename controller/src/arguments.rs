//! The command line of `headrace-controller`. Every flag can also be given by the environment, as `HEADRACE_` and its name.
//!
//! Owns what can be said and what is legal; not what it is good for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;

use clap::{Parser, ValueEnum};
use jiff::SignedDuration;

/// Watches a Kubernetes cluster, compiles its Gateways, routes and Ingresses, and publishes tables to data-plane pods.
#[derive(Clone, Debug, Parser)]
#[command(name = "headrace-controller", version)]
pub struct Arguments {
    /// The namespace of the installation: of the Lease, the CA and the data-plane pods.
    #[arg(long, env = "HEADRACE_NAMESPACE", value_name = "NAMESPACE", default_value = "headrace-system")]
    pub namespace: String,

    /// The name of this pod, which is its name in the Lease and in events.
    #[arg(long, env = "HEADRACE_POD_NAME", value_name = "NAME")]
    pub pod_name: String,

    /// Where data-plane pods subscribe to tables.
    #[arg(long, env = "HEADRACE_PUSH_ADDRESS", value_name = "ADDRESS", default_value = "0.0.0.0:9443")]
    pub push_address: SocketAddr,

    /// Where metrics, health and status are served, in clear text.
    #[arg(long, env = "HEADRACE_ADMIN_ADDRESS", value_name = "ADDRESS", default_value = "0.0.0.0:9091")]
    pub admin_address: SocketAddr,

    /// The `controllerName` of the GatewayClasses that are ours.
    #[arg(
        long,
        env = "HEADRACE_CONTROLLER_NAME",
        value_name = "NAME",
        default_value = "headrace.dev/gateway-controller"
    )]
    pub controller_name: String,

    /// The `spec.controller` of the IngressClasses that are ours.
    #[arg(
        long,
        env = "HEADRACE_INGRESS_CONTROLLER_NAME",
        value_name = "NAME",
        default_value = "headrace.dev/ingress-controller"
    )]
    pub ingress_controller_name: String,

    /// The Service, in the installation's namespace, through which Ingresses are reached. Its addresses become theirs.
    #[arg(long, env = "HEADRACE_INGRESS_SERVICE", value_name = "NAME", default_value = "headrace-ingress")]
    pub ingress_service: String,

    /// A pod set and the ServiceAccount of its pods, which is also the name of their headless Service. Can be given
    /// several times; the set `default` serves where no other is asked for.
    #[arg(
        long = "pod-set",
        env = "HEADRACE_POD_SET",
        value_name = "NAME=SERVICEACCOUNT",
        value_delimiter = ',',
        default_value = "default=headrace-dataplane"
    )]
    pub pod_sets: Vec<PodSet>,

    /// The headless Service by whose name data-plane pods dial the controller.
    #[arg(long, env = "HEADRACE_PUSH_SERVICE", value_name = "NAME", default_value = "headrace-controller-push")]
    pub push_service: String,

    /// The Lease by which replicas elect their leader.
    #[arg(long, env = "HEADRACE_LEASE", value_name = "NAME", default_value = "headrace-controller")]
    pub lease: String,

    /// The Secret that holds the CA of the push, and the ConfigMap that publishes its certificate.
    #[arg(long, env = "HEADRACE_CA", value_name = "NAME", default_value = "headrace-push-ca")]
    pub ca: String,

    /// The first part of the names of the Secrets that hold the keys of QUIC's connection IDs, one for each pod set, whose
    /// name follows.
    #[arg(long, env = "HEADRACE_QUIC_SECRETS", value_name = "NAME", default_value = "headrace-quic")]
    pub quic_secrets: String,

    /// Days between two rotations of those keys; 0 rotates on demand alone.
    #[arg(
        long,
        env = "HEADRACE_QUIC_KEY_ROTATION",
        value_name = "DAYS",
        default_value_t = 7,
        value_parser = clap::value_parser!(u16).range(..=MAX_ROTATION_DAYS)
    )]
    pub quic_key_rotation: u16,

    /// How log lines are written.
    #[arg(long, env = "HEADRACE_LOG_FORMAT", value_name = "FORMAT", default_value = "json")]
    pub log_format: LogFormat,

    /// What is logged, as tracing-subscriber's EnvFilter has it. The client's own word on failed requests is left out of the
    /// default: whoever sent one says more about it.
    #[arg(long, env = "HEADRACE_LOG", value_name = "FILTER", default_value = "info,kube_client::client::builder=off")]
    pub log: String,
}

/// Ten years: whoever does not want a rotation says 0.
const MAX_ROTATION_DAYS: i64 = 3650;

impl Arguments {
    /// Between two rotations of QUIC's keys. `None`: on demand alone.
    pub fn quic_key_rotation(&self) -> Option<SignedDuration> {
        let days = i64::from(self.quic_key_rotation);
        (days > 0).then(|| SignedDuration::from_hours(24 * days))
    }

    /// Pod sets by name, each with its ServiceAccount. Of two with the same name the last one counts.
    pub fn pod_sets_by_name(&self) -> BTreeMap<String, String> {
        self.pod_sets.iter().map(|set| (set.name.clone(), set.service_account.clone())).collect()
    }
}

/// A pod set: data-plane pods that serve the same table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSet {
    /// The name by which GatewayParameters ask for it.
    pub name: String,
    /// The ServiceAccount of its pods, and the name of their headless Service.
    pub service_account: String,
}

/// A pod set is `NAME=SERVICEACCOUNT`.
#[derive(Debug, thiserror::Error)]
#[error("a pod set is NAME=SERVICEACCOUNT, for example default=headrace-dataplane")]
pub struct NotAPodSet;

impl FromStr for PodSet {
    type Err = NotAPodSet;

    fn from_str(text: &str) -> Result<Self, NotAPodSet> {
        match text.split_once('=') {
            Some((name, service_account)) if !name.is_empty() && !service_account.is_empty() => {
                Ok(PodSet { name: name.to_owned(), service_account: service_account.to_owned() })
            }
            _ => Err(NotAPodSet),
        }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(["headrace-controller", "--pod-name", "c-0"].iter().chain(arguments))
    }

    #[test]
    fn the_defaults_are_the_charts() {
        let arguments = parse(&[]).unwrap();
        assert_eq!(arguments.lease, "headrace-controller");
        assert_eq!(
            arguments.pod_sets_by_name(),
            BTreeMap::from([("default".to_owned(), "headrace-dataplane".to_owned())])
        );
    }

    #[test]
    fn keys_rotate_every_week_unless_told_otherwise() {
        let cases: [(&[&str], Option<i64>); 3] =
            [(&[], Some(168)), (&["--quic-key-rotation", "1"], Some(24)), (&["--quic-key-rotation", "0"], None)];
        for (given, hours) in cases {
            assert_eq!(parse(given).unwrap().quic_key_rotation(), hours.map(SignedDuration::from_hours));
        }
        assert!(parse(&["--quic-key-rotation", "3651"]).is_err());
    }

    #[test]
    fn pod_sets_have_two_names() {
        let arguments = parse(&["--pod-set", "default=a", "--pod-set", "edge=b"]).unwrap();
        assert_eq!(arguments.pod_sets_by_name().into_values().collect::<Vec<_>>(), ["a", "b"]);
        for wrong in ["default", "=a", "a=", ""] {
            assert!(parse(&["--pod-set", wrong]).is_err(), "{wrong}");
        }
    }
}
