//! Which Secrets and ConfigMaps the World refers to, as far as they are any of our business.
//!
//! The controller may read every Secret and reads only these. A reference into another namespace that no ReferenceGrant
//! allows is not followed at all. Whether what it leads to is any good is the compiler's to say.

use std::collections::{BTreeMap, BTreeSet};

use gateway_api::gateways::Gateway;
use headrace_compile::{Key, Kind, World};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

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

/// Whose classes count.
#[derive(Clone, Debug)]
pub struct Ours {
    /// `controllerName` of our GatewayClasses.
    pub controller_name: String,
    /// `spec.controller` of our IngressClasses.
    pub ingress_controller_name: String,
}

/// Everything that Gateways, ListenerSets, Ingresses and BackendTLSPolicies of ours refer to.
pub fn references(world: &World, ours: &Ours) -> References {
    let mut found = Found { grants: grants(world), references: References::new() };
    for (key, gateway) in &world.gateways {
        if is_our_class(world, ours, &gateway.spec.gateway_class_name) {
            found.gateway(&key.namespace, gateway);
        }
    }
    for (key, set) in &world.listener_sets {
        let parent = &set.spec.parent_ref;
        let gateway = Key::new(parent.namespace.as_deref().unwrap_or(&key.namespace), parent.name.as_str());
        let gateway = world.gateways.get(&gateway);
        if gateway.is_some_and(|gateway| is_our_class(world, ours, &gateway.spec.gateway_class_name)) {
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
        if is_our_ingress(world, ours, ingress) {
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

/// Who may refer to what in another namespace: kind and namespace of both ends, and a name unless it is all of them.
type Grants<'w> = BTreeMap<(&'w str, &'w str, &'w str, &'w str), Vec<Option<&'w str>>>;

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
        if !name.is_empty() && (namespace == from.namespace || self.is_granted(from, kind, namespace, name)) {
            self.references.insert(Reference { kind, key: Key::new(namespace, name) });
        }
    }

    fn is_granted(&self, from: From<'_>, kind: Kind, namespace: &str, name: &str) -> bool {
        let names = self.grants.get(&(from.kind.label(), from.namespace, kind.label(), namespace));
        names.is_some_and(|names| names.iter().any(|granted| granted.is_none_or(|granted| granted == name)))
    }
}

fn grants(world: &World) -> Grants<'_> {
    let mut grants = Grants::new();
    for (key, grant) in &world.reference_grants {
        for from in grant.spec.from.iter().filter(|from| from.group == GATEWAY_GROUP) {
            for to in grant.spec.to.iter().filter(|to| to.group.is_empty()) {
                let ends = (from.kind.as_str(), from.namespace.as_str(), to.kind.as_str(), key.namespace.as_str());
                // An empty name means every object, as no name does.
                grants.entry(ends).or_default().push(to.name.as_deref().filter(|name| !name.is_empty()));
            }
        }
    }
    grants
}

fn is_our_class(world: &World, ours: &Ours, name: &str) -> bool {
    let class = world.gateway_classes.get(&Key::new("", name));
    class.is_some_and(|class| class.spec.controller_name == ours.controller_name)
}

/// Generous: where nothing names a class it is enough that there is one of ours. The compiler decides.
fn is_our_ingress(world: &World, ours: &Ours, ingress: &Ingress) -> bool {
    let is_ours = |class: &IngressClass| {
        class.spec.as_ref().and_then(|spec| spec.controller.as_deref()) == Some(ours.ingress_controller_name.as_str())
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
