//! What a compiler is told besides the objects.
//!
//! Owns the settings and their defaults, which are those of a laptop. It must not know what follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use headrace_table::{SectionId, SectionKind};

use crate::world::Key;

/// The pod set of Gateways that ask for none, and of Ingresses.
pub const DEFAULT_POD_SET: &str = "default";

/// What a compiler is told besides the objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The `controllerName` of the GatewayClasses that are ours, and the name under which statuses are written.
    pub controller_name: String,
    /// The `spec.controller` of the IngressClasses that are ours.
    pub ingress_controller_name: String,
    /// Whether HTTPS listeners serve HTTP/3 on the UDP port of the same number.
    pub http3: bool,
    /// Whether endpoints on this machine count.
    pub local_endpoints: LocalEndpoints,
    /// The ports on which Ingresses are served: clear text and TLS.
    pub ingress_ports: (u16, u16),
    /// The ports by which clients know them, where those are others.
    pub ingress_public_ports: Option<(u16, u16)>,
    /// The version of the Gateway API's CRDs, as their annotation `gateway.networking.k8s.io/bundle-version` has it. Absent
    /// where there are none to look at; then nothing is said about it.
    pub gateway_api_version: Option<String>,
    /// Which ports the data plane binds for Gateways.
    pub ports: Ports,
    /// The sections of the table that the data plane refused, and why. They are left out.
    pub refused: BTreeMap<SectionId, String>,
    /// The Service through which Ingresses are reached, whose addresses are theirs.
    pub ingress_service: Option<Key>,
    /// The pod sets of the installation, the default one included. Of no meaning where ports are as listed: then one
    /// process serves everything.
    pub pod_sets: BTreeSet<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            controller_name: "headrace.dev/gateway-controller".to_owned(),
            ingress_controller_name: "headrace.dev/ingress-controller".to_owned(),
            http3: true,
            local_endpoints: LocalEndpoints::Refused,
            ingress_ports: (80, 443),
            ingress_public_ports: None,
            gateway_api_version: None,
            ports: Ports::AsListed,
            refused: BTreeMap::new(),
            ingress_service: None,
            pod_sets: BTreeSet::from([DEFAULT_POD_SET.to_owned()]),
        }
    }
}

impl Options {
    /// What the data plane has against that section, if it refused it.
    pub(crate) fn refusal(&self, kind: SectionKind, id: &str) -> Option<String> {
        if self.refused.is_empty() {
            return None;
        }
        let why = self.refused.get(&SectionId::new(kind, id))?;
        Some(format!("refused by the data plane: {why}"))
    }

    /// The ports by which clients know Ingresses.
    pub(crate) fn ingress_public_ports(&self) -> (u16, u16) {
        self.ingress_public_ports.unwrap_or(self.ingress_ports)
    }
}

/// Whether an EndpointSlice may name this machine itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalEndpoints {
    /// Loopback and link-local addresses are dropped, as are slices of host names: in a cluster they would let a tenant
    /// reach what listens inside the data plane's own pod.
    #[default]
    Refused,
    /// Loopback addresses count, and so do host names under `localhost`, which mean 127.0.0.1. For standalone use.
    Allowed,
}

/// Which ports the data plane binds for the listeners of Gateways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ports {
    /// Those that the listeners name: one process with the addresses of its machine, which all Gateways share.
    #[default]
    AsListed,
    /// One from a range for each port of each Gateway. Every Gateway has a Service that brings its own ports there, so
    /// that no Gateway is in the way of another.
    Allotted {
        /// What may be given out.
        range: RangeInclusive<u16>,
        /// What was given out before, and stays where it is: `Compiled::allotments` of the last time.
        before: BTreeMap<PortOwner, u16>,
    },
}

/// A port of a Gateway, as its clients know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortOwner {
    /// The Gateway.
    pub gateway: Key,
    /// The listeners' port.
    pub port: u16,
}
