//! Ingresses: their rules in the table, and what is wrong with them.
//!
//! Owns what Ingress leaves open, decided thus:
//! - Rules are served in clear text, and over TLS where a TLS host of any Ingress covers theirs; there is no redirect.
//! - A more specific host goes before a less specific one, whatever the paths. In clear text a request that matches no path
//!   of its host falls through to less specific hosts, and at last to default backends. A TLS host has a listener of its
//!   own, which takes the rules of the most specific host that any Ingress has for it, and default backends.
//! - An Ingress's default backend takes what its own hosts leave over, and then, the oldest Ingress first, what all do.
//! - ImplementationSpecific paths are prefixes. A wildcard covers any number of labels, as on a Gateway.

mod class;
mod place;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use headrace_crds::condition::{ConditionType, IngressReason};
use headrace_table::wire::{self, Attachment, Rule};
use headrace_table::{HostPattern, SectionKind};
use k8s_openapi::api::networking::v1::Ingress;

use crate::Options;
use crate::age::Age;
use crate::backend::Backends;
use crate::budget::Budget;
use crate::certificate::Certificates;
use crate::diagnosis::{ConditionWriter, Fault};
use crate::gateway::Gateways;
use crate::status::{Address, IngressStatus, ObjectRef, Statuses};
use crate::world::{Key, Kind, World};

use class::Owner;
use place::Places;
use read::Parsed;

/// Added to the creation time of default backends, so that they come after every rule of the same host and path. Default
/// backends for all hosts come after those for an Ingress's own. Both leave room for every real time.
const OWN_DEFAULT_AFTER: i64 = i64::MAX / 4;
const DEFAULT_AFTER: i64 = i64::MAX / 2;

/// What Ingresses are compiled against.
pub(crate) struct IngressCompiler<'a, 'w> {
    pub(crate) world: &'w World,
    pub(crate) options: &'a Options,
    pub(crate) gateways: &'a Gateways,
    pub(crate) certificates: &'a mut Certificates<'w>,
    pub(crate) backends: &'a mut Backends<'w>,
    pub(crate) budget: &'a mut Budget,
    pub(crate) statuses: &'a mut Statuses,
    /// Where Ingresses can be reached.
    pub(crate) addresses: Vec<Address>,
}

/// What Ingresses add to the table.
#[derive(Default)]
pub(crate) struct Ingresses {
    pub(crate) listeners: Vec<wire::Listener>,
    pub(crate) routes: Vec<wire::Route>,
}

impl<'w> IngressCompiler<'_, 'w> {
    pub(crate) fn compile(mut self) -> Ingresses {
        self.statuses.problems.extend(class::problems(self.world, self.options));
        let mut ours = self.ours();
        ours.sort_by_key(|(key, ingress)| Age::of(key, &ingress.metadata));
        let mut parsed: Vec<Parsed> =
            ours.iter().map(|(key, ingress)| read::read(key, ingress, self.backends, self.certificates)).collect();
        let mut places = Places::of(&mut parsed, self.gateways, self.options, self.budget);
        let hosts = parsed.iter().flat_map(|ingress| ingress.hosts.keys()).map(|host| (host.clone(), ())).collect();
        let mut compiled = Ingresses { listeners: std::mem::take(&mut places.listeners), routes: Vec::new() };
        for mut ingress in parsed {
            compiled.routes.extend(self.routes(&mut ingress, &places, &hosts));
            self.write(&ingress);
        }
        compiled
    }

    fn ours(&mut self) -> Vec<(&'w Key, &'w Ingress)> {
        let mut ours = Vec::new();
        let world = self.world;
        for (key, ingress) in &world.ingresses {
            match class::owner(world, self.options, ingress) {
                Owner::Us => ours.push((key, ingress.as_ref())),
                Owner::Another => {}
                Owner::Nobody(fault) => {
                    let problem = fault.problem(&ObjectRef::new(Kind::Ingress, key), ConditionType::Accepted);
                    self.statuses.problems.push(problem);
                }
            }
        }
        ours
    }

    fn routes(&mut self, ingress: &mut Parsed, places: &Places, hosts: &BTreeMap<HostPattern, ()>) -> Vec<wire::Route> {
        let id = format!("Ingress/{}", ingress.object.key().id());
        let mut routes = Vec::new();
        let mut own = Vec::new();
        for (host, rules) in std::mem::take(&mut ingress.hosts) {
            let attachments = places.attachments(&host, hosts);
            if host != HostPattern::Any {
                own.extend(attachments.iter().cloned());
            }
            routes.push(route(format!("{id}/host/{host}"), ingress.created, attachments, rules));
        }
        if let Some(default) = ingress.default.take() {
            let created = ingress.created.saturating_add(OWN_DEFAULT_AFTER);
            routes.push(route(format!("{id}/default/own"), created, merged(own), vec![default.clone()]));
            let created = ingress.created.saturating_add(DEFAULT_AFTER);
            routes.push(route(format!("{id}/default/any"), created, places.fallbacks(), vec![default]));
        }
        routes.retain(|route| !route.attachments.is_empty() && !route.rules.is_empty());
        routes.retain(|route| match self.options.refusal(SectionKind::Route, &route.id) {
            None => true,
            Some(message) => {
                ingress.refused.push(Fault::new("spec.rules", IngressReason::UnsupportedValue, message));
                false
            }
        });
        routes.retain(|route| {
            let fits = self.budget.take_route(&route.attachments, &route.rules);
            if !fits {
                let message = format!("the table is full: {} is not served", route.id);
                ingress.refused.push(Fault::new("spec.rules", IngressReason::UnsupportedValue, message));
            }
            fits
        });
        routes
    }

    fn write(&mut self, ingress: &Parsed) {
        let mut writer = ConditionWriter::new(ingress.generation);
        let message = "The Ingress is served.";
        writer.set_by(ConditionType::Accepted, &ingress.refused, IngressReason::Accepted, message);
        let message = "Every reference was found.";
        writer.set_by(ConditionType::ResolvedRefs, &ingress.refs, IngressReason::ResolvedRefs, message);
        for (faults, condition) in
            [(&ingress.refused, ConditionType::Accepted), (&ingress.refs, ConditionType::ResolvedRefs)]
        {
            self.statuses.problems.extend(faults.iter().map(|fault| fault.problem(&ingress.object, condition)));
        }
        self.statuses.ingresses.push(IngressStatus {
            object: ingress.object.clone(),
            conditions: writer.conditions,
            addresses: self.addresses.clone(),
        });
    }
}

fn route(id: String, created: i64, attachments: Vec<Attachment>, rules: Vec<Rule>) -> wire::Route {
    wire::Route { id, created, attachments, rules }
}

/// One attachment for each listener, with the hosts of all.
fn merged(attachments: Vec<Attachment>) -> Vec<Attachment> {
    let mut by_listener: BTreeMap<String, Option<BTreeSet<String>>> = BTreeMap::new();
    for Attachment { listener, hostnames } in attachments {
        let entry = by_listener.entry(listener).or_insert_with(|| Some(BTreeSet::new()));
        match hostnames.is_empty() {
            // Every host of the listener.
            true => *entry = None,
            false => entry.iter_mut().for_each(|hosts| hosts.extend(hostnames.iter().cloned())),
        }
    }
    let attachment = |(listener, hosts): (String, Option<BTreeSet<String>>)| Attachment {
        listener,
        hostnames: hosts.unwrap_or_default().into_iter().collect(),
    };
    by_listener.into_iter().map(attachment).collect()
}
