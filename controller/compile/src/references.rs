//! Which Secrets and ConfigMaps the World refers to, as far as they are any of our business.
//!
//! Whoever fills a World may be able to read every Secret, and reads only these. A reference into another namespace that no ReferenceGrant
//! allows is not followed at all. Whether what it leads to is any good is the compiler's to say.

use std::collections::BTreeSet;

use gateway_api::gateways::Gateway;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

use crate::grant::{Grants, Referent, Referrer};
use crate::options::Options;
use crate::world::{Key, Kind, World};

/// The group of the Gateway API.
const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// How an Ingress named its class before there was a field for it.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// An object that is fetched because another names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Secret or ConfigMap.
    pub kind: Kind,
    /// Which one.
    pub key: Key,
}

/// Every reference, once.
pub type References = BTreeSet<Reference>;

impl Reference {
    /// The kinds whose objects are fetched by name.
    pub const KINDS: [Kind; 2] = [Kind::Secret, Kind::ConfigMap];

    /// Whether objects of a kind are fetched by name.
    pub fn is_kind(kind: Kind) -> bool {
        Self::KINDS.contains(&kind)
    }
}

/// Everything that Gateways, ListenerSets, Ingresses and BackendTLSPolicies of ours refer to.
pub fn references(world: &World, options: &Options) -> References {
    let mut found = Found { grants: Grants::of(world), references: References::new() };
    for (key, gateway) in &world.gateways {
        if is_our_class(world, options, &gateway.spec.gateway_class_name) {
            found.gateway(&key.namespace, gateway);
        }
    }
    for (key, set) in &world.listener_sets {
        let parent = &set.spec.parent_ref;
        let gateway = Key::new(parent.namespace.as_deref().unwrap_or(&key.namespace), parent.name.as_str());
        let gateway = world.gateways.get(&gateway);
        if gateway.is_some_and(|gateway| is_our_class(world, options, &gateway.spec.gateway_class_name)) {
            let tls = set.spec.listeners.iter().filter_map(|listener| listener.tls.as_ref());
            for to in tls.flat_map(|tls| tls.certificate_refs.iter().flatten()) {
                let from = From { kind: Kind::ListenerSet, namespace: &key.namespace };
                found.add(from, to.group.as_deref(), to.kind.as_deref(), to.namespace.as_deref(), &to.name);
            }
        }
    }
    for (key, policy) in &world.backend_tls_policies {
        for to in policy.spec.validation.ca_certificate_refs.iter().flatten() {
            let from = From { kind: Kind::BackendTlsPolicy, namespace: &key.namespace };
            found.add(from, Some(&to.group), Some(&to.kind), None, &to.name);
        }
    }
    for (key, ingress) in &world.ingresses {
        if is_our_ingress(world, options, ingress) {
            let tls = ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten());
            for name in tls.filter_map(|tls| tls.secret_name.as_deref()) {
                let from = From { kind: Kind::Ingress, namespace: &key.namespace };
                found.add(from, None, None, None, name);
            }
        }
    }
    found.references
}

#[derive(Clone, Copy)]
struct From<'w> {
    kind: Kind,
    namespace: &'w str,
}

struct Found<'w> {
    grants: Grants<'w>,
    references: References,
}

impl Found<'_> {
    fn gateway(&mut self, namespace: &str, gateway: &Gateway) {
        let from = From { kind: Kind::Gateway, namespace };
        let tls = gateway.spec.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        for to in tls.flat_map(|tls| tls.certificate_refs.iter().flatten()) {
            self.add(from, to.group.as_deref(), to.kind.as_deref(), to.namespace.as_deref(), &to.name);
        }
        let Some(tls) = &gateway.spec.tls else { return };
        if let Some(to) = tls.backend.as_ref().and_then(|backend| backend.client_certificate_ref.as_ref()) {
            self.add(from, to.group.as_deref(), to.kind.as_deref(), to.namespace.as_deref(), &to.name);
        }
        let Some(frontend) = &tls.frontend else { return };
        for to in frontend.default.validation.iter().flat_map(|validation| &validation.ca_certificate_refs) {
            self.add(from, Some(&to.group), Some(&to.kind), to.namespace.as_deref(), &to.name);
        }
        let ports = frontend.per_port.iter().flatten().filter_map(|port| port.tls.validation.as_ref());
        for to in ports.flat_map(|validation| &validation.ca_certificate_refs) {
            self.add(from, Some(&to.group), Some(&to.kind), to.namespace.as_deref(), &to.name);
        }
    }

    fn add(&mut self, from: From<'_>, group: Option<&str>, kind: Option<&str>, namespace: Option<&str>, name: &str) {
        let kind = match (group.unwrap_or(""), kind.unwrap_or("Secret")) {
            ("", "Secret") => Kind::Secret,
            ("", "ConfigMap") => Kind::ConfigMap,
            _ => return,
        };
        let namespace = namespace.unwrap_or(from.namespace);
        let referrer = Referrer { group: GATEWAY_GROUP, kind: from.kind.label(), namespace: from.namespace };
        let referent = Referent { group: "", kind: kind.label(), namespace, name };
        if !name.is_empty() && self.grants.permit(referrer, referent) {
            self.references.insert(Reference { kind, key: Key::new(namespace, name) });
        }
    }
}

fn is_our_class(world: &World, options: &Options, name: &str) -> bool {
    let class = world.gateway_classes.get(&Key::new("", name));
    class.is_some_and(|class| class.spec.controller_name == options.controller_name)
}

/// Generous: where nothing names a class it is enough that there is one of ours. The compiler decides.
fn is_our_ingress(world: &World, options: &Options, ingress: &Ingress) -> bool {
    let is_ours = |class: &IngressClass| {
        class.spec.as_ref().and_then(|spec| spec.controller.as_deref())
            == Some(options.ingress_controller_name.as_str())
    };
    let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
    let annotations = ingress.metadata.annotations.as_ref();
    match named.or_else(|| annotations.and_then(|annotations| annotations.get(CLASS_ANNOTATION))) {
        Some(name) => match world.ingress_classes.get(&Key::new("", name.as_str())) {
            Some(class) => is_ours(class),
            None => named.is_none(),
        },
        None => world.ingress_classes.values().any(|class| is_ours(class)),
    }
}

#[cfg(test)]
mod tests;
