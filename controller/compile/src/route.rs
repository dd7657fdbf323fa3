//! HTTPRoutes, WebSocketRoutes and WebTransportRoutes: their rules in the table, their statuses.
//!
//! Owns what the kinds have in common, from the object to conditions. It must not know where listeners come from.

mod backend_ref;
mod http;
mod ours;
mod parent;
pub(crate) mod probe;
mod rule;
mod session;
mod shape;
mod websocket;
mod webtransport;

use std::collections::{BTreeMap, BTreeSet};

use headrace_crds::condition::{ConditionType, RouteReason};
use headrace_crds::reference::ParentReference;
use headrace_table::wire::{self, Attachment};
use headrace_table::{HostPattern, SectionKind};

use crate::Options;
use crate::backend::Backends;
use crate::budget::Budget;
use crate::diagnosis::{ConditionWriter, Fault, sentence};
use crate::gateway::Gateways;
use crate::grant::{Grants, Referrer};
use crate::hostname;
use crate::status::{ConditionStatus, ParentStatus, RouteStatus, Statuses};
use crate::world::{Key, Kind, World};

use parent::{Named, Parent, Reached};
use rule::{Lowered, Surroundings};
use shape::Shape;

/// The bounds of the schemas of all kinds of routes, for worlds that no API server checked.
const MAX_PARENTS: usize = 32;
const MAX_HOSTNAMES: usize = 16;
const MAX_RULES: usize = 16;

/// What routes are compiled against.
pub(crate) struct RouteCompiler<'a, 'w> {
    pub(crate) world: &'w World,
    pub(crate) options: &'a Options,
    pub(crate) grants: &'a Grants<'w>,
    pub(crate) gateways: &'a mut Gateways,
    pub(crate) backends: &'a mut Backends<'w>,
    pub(crate) budget: &'a mut Budget,
    pub(crate) statuses: &'a mut Statuses,
}

impl RouteCompiler<'_, '_> {
    /// Every route that reaches a listener.
    pub(crate) fn compile(&mut self) -> Vec<wire::Route> {
        let world = self.world;
        let http = world.http_routes.iter().map(|(key, route)| http::shape(key, route));
        let websocket = world.websocket_routes.iter().map(|(key, route)| websocket::shape(key, route));
        let webtransport = world.webtransport_routes.iter().map(|(key, route)| webtransport::shape(key, route));
        http.chain(websocket).chain(webtransport).filter_map(|shape| self.compile_one(&shape)).collect()
    }

    fn compile_one(&mut self, shape: &Shape) -> Option<wire::Route> {
        let parents = self.our_parents(shape);
        if parents.is_empty() {
            return None;
        }
        let id = format!("{}/{}", shape.object.kind.label(), shape.object.key().id());
        let mut body = self.compile_body(shape);
        if let Some(message) = self.options.refusal(SectionKind::Route, &id) {
            body.refused.push(Fault::new("spec", RouteReason::UnsupportedValue, message));
        }
        let mut attached = Attached::default();
        let mut reached = Vec::with_capacity(parents.len());
        for Parent { index, gateway: key, set } in &parents {
            let (Some(parent), Some(gateway)) = (shape.parents.get(*index), self.gateways.get(key)) else { continue };
            let listeners = parent::attach(self.world, shape, &body.hosts, parent, set.as_ref(), gateway)
                .map_err(|fault| fault.under(&format!("spec.parentRefs[{index}]")));
            if let (true, Ok(listeners)) = (body.is_accepted(), &listeners) {
                attached.add(key, gateway, listeners);
            }
            reached.push((parent, listeners.err()));
        }
        self.backends.reached(|| {
            let reached = reached.iter().zip(&parents).filter(|((_, fault), _)| fault.is_none());
            reached.map(|(_, parent)| parent.gateway.clone()).collect()
        });
        let attachments = attached.attachments();
        let is_served = !attachments.is_empty() && body.is_accepted();
        if is_served && !self.budget.take_route(&attachments, &body.rules) {
            let message = "the table is full: there are too many routes, matches and hosts in the cluster";
            body.refused.push(Fault::new("spec", RouteReason::UnsupportedValue, message));
        }
        if body.is_accepted() {
            attached.count(self.gateways);
        }
        self.write(shape, &body, reached);
        (is_served && body.is_accepted()).then_some(wire::Route {
            id,
            created: shape.created,
            attachments,
            rules: body.rules,
        })
    }

    fn write(&mut self, shape: &Shape, body: &Body, parents: Vec<(&ParentReference, Option<Fault>)>) {
        let mut statuses = Vec::with_capacity(parents.len());
        for (parent, fault) in parents {
            if let Some(fault) = &fault {
                self.statuses.problems.push(fault.problem(&shape.object, ConditionType::Accepted));
            }
            statuses.push(self.parent_status(shape, parent, body, fault));
        }
        body.report(shape, self.statuses);
        self.statuses.routes.push(RouteStatus { object: shape.object.clone(), parents: statuses });
    }

    /// The parentRefs that name Gateways of ours, or ListenerSets on them. Those that name nothing are told as problems.
    fn our_parents(&mut self, shape: &Shape) -> Vec<Parent> {
        let mut ours = Vec::new();
        for (index, parent) in shape.parents.iter().take(MAX_PARENTS).enumerate() {
            let (kind, exists, key) = match parent::named(parent, &shape.object.namespace) {
                None => continue,
                Some(Named::Gateway(key)) if self.gateways.get(&key).is_some() => {
                    ours.push(Parent { index, gateway: key, set: None });
                    continue;
                }
                Some(Named::Gateway(key)) => (Kind::Gateway, self.gateways.exists(&key), key),
                Some(Named::ListenerSet(key)) => match self.gateways.of_set(&key) {
                    Some(gateway) => {
                        ours.push(Parent { index, gateway: gateway.clone(), set: Some(key) });
                        continue;
                    }
                    None => (Kind::ListenerSet, self.world.listener_sets.contains_key(&key), key),
                },
            };
            if !exists {
                let message = format!("{} {key} does not exist", kind.label());
                let fault =
                    Fault::new(format!("spec.parentRefs[{index}].name"), RouteReason::NoMatchingParent, message);
                self.statuses.problems.push(fault.problem(&shape.object, ConditionType::Accepted));
            }
        }
        ours
    }

    fn compile_body(&mut self, shape: &Shape) -> Body {
        let mut body = Body::default();
        for (list, count, max) in [
            ("spec.parentRefs", shape.parents.len(), MAX_PARENTS),
            ("spec.hostnames", shape.hostnames.len(), MAX_HOSTNAMES),
            ("spec.rules", shape.rules.len(), MAX_RULES),
        ] {
            if count > max {
                let message = format!("{count} entries, of which at most {max} are allowed");
                body.refused.push(Fault::new(list, RouteReason::UnsupportedValue, message));
            }
        }
        for (index, parent) in shape.parents.iter().take(MAX_PARENTS).enumerate() {
            if let Some(same) = shape.parents[..index].iter().position(|other| other == parent) {
                let message = format!("the same as spec.parentRefs[{same}]: remove one");
                let field = format!("spec.parentRefs[{index}]");
                body.refused.push(Fault::new(field, RouteReason::UnsupportedValue, message));
            }
        }
        if shape.rules.is_empty() {
            let message = "a route needs at least one rule";
            body.refused.push(Fault::new("spec.rules", RouteReason::UnsupportedValue, message));
        }
        for (index, text) in shape.hostnames.iter().take(MAX_HOSTNAMES).enumerate() {
            match hostname::parse(text) {
                Ok(host) => body.hosts.push(host),
                Err(message) => {
                    let field = format!("spec.hostnames[{index}]");
                    body.refused.push(Fault::new(field, RouteReason::UnsupportedValue, message));
                }
            }
        }
        let group_kind = shape.kind.group_kind();
        let route = Referrer { group: group_kind.group, kind: group_kind.kind, namespace: &shape.object.namespace };
        let mut around = Surroundings { backends: self.backends, grants: self.grants, route };
        let rules: Vec<Result<Lowered, Fault>> =
            shape.rules.iter().take(MAX_RULES).map(|rule| rule::lower(rule, &mut around)).collect();
        let good: Vec<wire::Rule> = rules.iter().flatten().map(|lowered| lowered.rule.clone()).collect();
        let all_are_taken = probe::takes_all(good);
        for (index, lowered) in rules.into_iter().enumerate() {
            let field = format!("spec.rules[{index}]");
            let objection = match &lowered {
                Ok(lowered) if !all_are_taken => probe::object_to(&lowered.rule),
                Ok(_) | Err(_) => None,
            };
            match (lowered, objection) {
                (Ok(lowered), None) => {
                    body.refs.extend(lowered.refs.into_iter().map(|fault| fault.under(&field)));
                    body.rules.push(lowered.rule);
                }
                (Ok(_), Some(no)) => {
                    let fault = Fault::new(no.field, RouteReason::UnsupportedValue, no.message);
                    body.dropped.push(fault.under(&field));
                }
                (Err(fault), _) => body.dropped.push(fault.under(&field)),
            }
        }
        body
    }

    fn parent_status(
        &self,
        shape: &Shape,
        parent: &ParentReference,
        body: &Body,
        fault: Option<Fault>,
    ) -> ParentStatus {
        let mut writer = ConditionWriter::new(shape.generation);
        let mut faults: Vec<Fault> = fault.into_iter().chain(body.refused.iter().cloned()).collect();
        if body.rules.is_empty() {
            faults.extend(body.dropped.iter().cloned());
        }
        writer.set_by(ConditionType::Accepted, &faults, RouteReason::Accepted, "The route is accepted.");
        writer.set_by(ConditionType::ResolvedRefs, &body.refs, RouteReason::ResolvedRefs, "Every reference was found.");
        if faults.is_empty() && !body.dropped.is_empty() {
            let message = format!("Dropped Rule: {}", sentence(&body.dropped));
            let reason = RouteReason::UnsupportedValue;
            writer.set(ConditionType::PartiallyInvalid, ConditionStatus::True, reason, message);
        }
        ParentStatus {
            parent_ref: parent.clone(),
            controller_name: self.options.controller_name.clone(),
            conditions: writer.conditions,
        }
    }
}

/// All of a route but its parents.
#[derive(Default)]
struct Body {
    hosts: Vec<HostPattern>,
    rules: Vec<wire::Rule>,
    /// Why the route is not accepted on any parent.
    refused: Vec<Fault>,
    /// Why rules are not served.
    dropped: Vec<Fault>,
    /// References that cannot be used.
    refs: Vec<Fault>,
}

impl Body {
    fn is_accepted(&self) -> bool {
        self.refused.is_empty() && !self.rules.is_empty()
    }

    fn report(&self, shape: &Shape, statuses: &mut Statuses) {
        let of_dropped = match self.rules.is_empty() {
            true => ConditionType::Accepted,
            false => ConditionType::PartiallyInvalid,
        };
        for (faults, condition) in [
            (&self.refused, ConditionType::Accepted),
            (&self.dropped, of_dropped),
            (&self.refs, ConditionType::ResolvedRefs),
        ] {
            statuses.problems.extend(faults.iter().map(|fault| fault.problem(&shape.object, condition)));
        }
    }
}

/// Hosts of a route on one listener.
#[derive(Default)]
struct Hosts {
    every: bool,
    names: BTreeSet<String>,
}

impl Hosts {
    fn attachment(self, listener: String) -> Attachment {
        let hostnames = if self.every { Vec::new() } else { self.names.into_iter().collect() };
        Attachment { listener, hostnames }
    }
}

/// Where a route is attached, over all its parents.
#[derive(Default)]
struct Attached {
    /// By the listener's id; only listeners that are served.
    attachments: BTreeMap<String, Hosts>,
    /// Listeners that count the route, served or not.
    counted: BTreeMap<Key, BTreeSet<usize>>,
}

impl Attached {
    fn add(&mut self, key: &Key, gateway: &crate::gateway::GatewayState, reached: &[Reached]) {
        for one in reached {
            self.counted.entry(key.clone()).or_default().insert(one.index);
            let Some(listener) = gateway.listeners.get(one.index).filter(|listener| gateway.serves(listener)) else {
                continue;
            };
            let hosts = self.attachments.entry(listener.id()).or_default();
            hosts.every |= one.hostnames.is_empty();
            hosts.names.extend(one.hostnames.iter().cloned());
        }
    }

    fn attachments(&mut self) -> Vec<Attachment> {
        std::mem::take(&mut self.attachments).into_iter().map(|(listener, hosts)| hosts.attachment(listener)).collect()
    }

    fn count(&self, gateways: &mut Gateways) {
        for (key, listeners) in &self.counted {
            gateways.count_route(key, listeners);
        }
    }
}
