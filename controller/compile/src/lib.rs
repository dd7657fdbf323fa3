//! Headrace's compiler: every Kubernetes object in, a routing table and every status out.
//!
//! Pure: it knows no runtime, no client, no clock and no randomness. It is total: whatever the [`World`] holds, [`compile`]
//! returns a table that `headrace_table::Table` takes, and what could not be served is a condition and a [`Problem`].
//! Equal worlds give equal output, in whatever order they were filled.
//!
//! How the objects hang together:
//!
//! ```text
//! GatewayClass <- Gateway -> listener -> Secret            IngressClass <- Ingress -> Secret
//!                              ^                                             |
//!            HTTPRoute, WebSocketRoute -> Service -> EndpointSlice <---------+
//!                              |             ^
//!                              +- ReferenceGrant (between namespaces)
//! ```

mod age;
mod backend;
mod budget;
mod certificate;
mod class;
mod diagnosis;
mod gateway;
mod grant;
mod hostname;
mod ingress;
mod path;
mod route;
mod status;
mod world;

use std::collections::BTreeSet;

use headrace_table::wire::{self, Action};

use backend::Backends;
use budget::Budget;
use certificate::Certificates;
use gateway::Gateways;
use grant::Grants;
use ingress::IngressCompiler;
use route::RouteCompiler;

pub use status::{
    Condition, ConditionStatus, GatewayClassStatus, GatewayStatus, IngressStatus, ListenerStatus, ObjectRef,
    ParentStatus, Problem, RouteGroupKind, RouteStatus, Statuses,
};
pub use world::{Key, Kind, Object, World};

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
    /// The version of the Gateway API's CRDs, as their annotation `gateway.networking.k8s.io/bundle-version` has it. Absent
    /// where there are none to look at; then nothing is said about it.
    pub gateway_api_version: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            controller_name: "headrace.dev/gateway-controller".to_owned(),
            ingress_controller_name: "headrace.dev/ingress-controller".to_owned(),
            http3: true,
            local_endpoints: LocalEndpoints::Refused,
            ingress_ports: (80, 443),
            gateway_api_version: None,
        }
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

/// All that came of a [`World`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compiled {
    /// What the data plane serves.
    pub table: headrace_table::wire::Table,
    /// What is to be written back to each object.
    pub statuses: Statuses,
}

impl Compiled {
    /// Everything that is not accepted, not resolved or in conflict, sorted by object and field.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.statuses.problems.iter()
    }
}

/// Compiles every object at once.
pub fn compile(world: &World, options: &Options) -> Compiled {
    let mut statuses = Statuses::default();
    let classes = class::compile(world, options, &mut statuses);
    let grants = Grants::of(world);
    let mut certificates = Certificates::of(world);
    let mut backends = Backends::of(world, options.local_endpoints);
    let mut budget = Budget::new();
    let mut gateways = Gateways::of(world, &classes, &grants, &mut certificates, &mut budget, &mut statuses.problems);
    let mut routes = RouteCompiler {
        world,
        options,
        grants: &grants,
        gateways: &mut gateways,
        backends: &mut backends,
        budget: &mut budget,
        statuses: &mut statuses,
    }
    .compile();
    let mut listeners = gateways.table(options);
    let ingresses = IngressCompiler {
        world,
        options,
        gateways: &gateways,
        certificates: &mut certificates,
        backends: &mut backends,
        budget: &mut budget,
        statuses: &mut statuses,
    }
    .compile();
    listeners.extend(ingresses.listeners);
    routes.extend(ingresses.routes);
    gateways.write(&mut statuses);

    listeners.sort_by(|a, b| a.id.cmp(&b.id));
    routes.sort_by(|a, b| a.id.cmp(&b.id));
    let used_certificates: BTreeSet<&str> =
        listeners.iter().flat_map(|listener| &listener.certificates).map(String::as_str).collect();
    let used_backends: BTreeSet<&str> = routes.iter().flat_map(forwards_to).collect();
    let certificates = certificates.into_table(|id| used_certificates.contains(id));
    let backends = backends.into_table(|id| used_backends.contains(id));
    statuses.sort();
    Compiled { table: wire::Table { listeners, routes, backends, certificates }, statuses }
}

fn forwards_to(route: &wire::Route) -> impl Iterator<Item = &str> {
    let forwards = route.rules.iter().filter_map(|rule| match &rule.action {
        Action::Forward(forward) => Some(forward),
        Action::Redirect(_) | Action::Respond(_) => None,
    });
    forwards.flat_map(|forward| &forward.backends).filter_map(|backend| backend.backend.as_deref())
}
