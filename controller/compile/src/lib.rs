//! Headrace's compiler: every Kubernetes object in, a routing table and every status out.
//!
//! Pure: it knows no runtime, no client, no clock and no randomness. It is total: whatever the [`World`] holds, [`compile`]
//! returns a table that `headrace_table::Table` takes, and what could not be served is a condition and a [`Problem`].
//! Equal worlds give equal output, in whatever order they were filled.
//!
//! How the objects hang together:
//!
//! ```text
//!     GatewayParameters
//!      ^            ^
//! GatewayClass <- Gateway <- ListenerSet -> Secret         IngressClass <- Ingress -> Secret
//!                  ^ ^          ^                                             |
//!         EdgePolicy |          |                                             |
//!            HTTPRoute, WebSocketRoute,                                       |
//!            WebTransportRoute -> Service -> EndpointSlice <------------------+
//!                              |     ^
//!                              |     +- BackendTLSPolicy -> ConfigMap
//!                              +- ReferenceGrant (between namespaces)
//!
//! Gateway -> Service of its own -> address (of Nodes, where it is of type NodePort)
//! ```

mod age;
mod backend;
mod budget;
mod certificate;
mod class;
mod diagnosis;
mod edge_policy;
mod gateway;
mod grant;
mod hostname;
mod ingress;
mod options;
mod parameters;
mod path;
mod policy;
mod references;
mod route;
mod service;
mod status;
mod world;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use headrace_table::wire;

use backend::Backends;
use budget::Budget;
use certificate::Certificates;
use edge_policy::EdgePolicies;
use gateway::GatewayCompiler;
use grant::Grants;
use ingress::IngressCompiler;
use route::{RouteCompiler, probe};
use service::address;

pub use options::{DEFAULT_POD_SET, LocalEndpoints, Options, PortOwner, Ports};
pub use references::{Reference, References, references};
pub use service::{PlannedPort, ServicePlan, TransportProtocol};
pub use status::{
    Address, AncestorStatus, Condition, ConditionStatus, GatewayClassStatus, GatewayStatus, IngressStatus,
    ListenerSetStatus, ListenerStatus, ObjectRef, ParentStatus, PolicyStatus, Problem, RouteGroupKind, RouteStatus,
    Statuses,
};
pub use world::{Key, Kind, Object, World};

/// All that came of a [`World`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compiled {
    /// What the data plane serves.
    pub table: headrace_table::wire::Table,
    /// What is to be written back to each object.
    pub statuses: Statuses,
    /// The Services that Gateways are to have, by Gateway.
    pub services: Vec<ServicePlan>,
    /// The Gateways of which nothing can be planned for now, because they or their class are not accepted. What Services
    /// they have are to stay as they are, with their addresses, until the mistake is corrected.
    pub held: BTreeSet<Key>,
    /// Which port of the pods each port of each Gateway has.
    pub allotments: BTreeMap<PortOwner, u16>,
    /// The pod set of each listener that is not on the default one, by the listener's id.
    pub pod_sets: BTreeMap<String, String>,
}

impl Compiled {
    /// Everything that is not accepted, not resolved or in conflict, sorted by object and field.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.statuses.problems.iter()
    }

    /// The table for the pods of one set: its listeners, and what can be reached through them.
    pub fn table_for(&self, pod_set: &str) -> Cow<'_, wire::Table> {
        let is_theirs = |listener: &str| self.pod_sets.get(listener).map_or(DEFAULT_POD_SET, String::as_str) == pod_set;
        if self.table.listeners.iter().all(|listener| is_theirs(&listener.id)) {
            return Cow::Borrowed(&self.table);
        }
        let listeners = self.table.listeners.iter().filter(|listener| is_theirs(&listener.id)).cloned().collect();
        let routes = self.table.routes.iter().filter_map(|route| {
            let attachments: Vec<_> =
                route.attachments.iter().filter(|attachment| is_theirs(&attachment.listener)).cloned().collect();
            (!attachments.is_empty()).then(|| wire::Route {
                id: route.id.clone(),
                created: route.created,
                attachments,
                rules: route.rules.clone(),
            })
        });
        let (certificates, backends) = (&self.table.certificates, &self.table.backends);
        Cow::Owned(complete(listeners, routes.collect(), backends.iter().cloned(), certificates.iter().cloned()))
    }
}

/// A table of these listeners and routes, with what of the rest they use.
fn complete(
    listeners: Vec<wire::Listener>,
    routes: Vec<wire::Route>,
    backends: impl Iterator<Item = wire::Backend>,
    certificates: impl Iterator<Item = wire::Certificate>,
) -> wire::Table {
    let used_certificates: BTreeSet<&str> =
        listeners.iter().flat_map(|listener| &listener.certificates).map(String::as_str).collect();
    let used_backends: BTreeSet<&str> = routes.iter().flat_map(forwards_to).collect();
    let certificates = certificates.filter(|certificate| used_certificates.contains(&*certificate.id)).collect();
    let backends = backends.filter(|backend| used_backends.contains(&*backend.id)).collect();
    wire::Table { listeners, routes, backends, certificates, ..wire::Table::default() }
}

/// Compiles every object at once.
pub fn compile(world: &World, options: &Options) -> Compiled {
    let mut statuses = Statuses::default();
    let classes = class::compile(world, options, &mut statuses);
    let grants = Grants::of(world);
    let mut certificates = Certificates::of(world, options);
    let mut backends = Backends::of(world, options);
    let mut budget = Budget::new();
    let mut gateways = GatewayCompiler {
        world,
        options,
        classes: &classes,
        grants: &grants,
        certificates: &mut certificates,
        budget: &mut budget,
        problems: &mut statuses.problems,
    }
    .compile();
    let planned = service::plan(world, options, &mut gateways);
    let edge_policies = EdgePolicies::of(world, &mut gateways);
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
        addresses: options.ingress_service.as_ref().and_then(|key| address::of(world, key).ok()).unwrap_or_default(),
    }
    .compile();
    listeners.extend(ingresses.listeners);
    routes.extend(ingresses.routes);
    gateways.write(&mut statuses);
    edge_policies.write(&gateways, &listeners, options, &mut statuses);
    backends.write(&mut statuses);

    listeners.sort_by(|a, b| a.id.cmp(&b.id));
    routes.sort_by(|a, b| a.id.cmp(&b.id));
    let table = complete(listeners, routes, backends.into_table(), certificates.into_table());
    statuses.sort();
    let services = gateways.iter().filter_map(|gateway| gateway.service.clone()).collect();
    let service::Planned { allotments, held, pod_sets } = planned;
    Compiled { table, statuses, services, held, allotments, pod_sets }
}

fn forwards_to(route: &wire::Route) -> impl Iterator<Item = &str> {
    let lists = route.rules.iter().flat_map(|rule| probe::backends_of(&rule.action));
    lists.flat_map(|(_, backends)| backends).filter_map(|backend| backend.backend.as_deref())
}
