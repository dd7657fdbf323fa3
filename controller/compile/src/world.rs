//! The World: every object that the compiler looks at, by kind, namespace and name.
//!
//! Owns how objects are kept and found. It must not know what any of them means.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use gateway_api::backendtlspolicies::BackendTlsPolicy;
use gateway_api::gatewayclasses::GatewayClass;
use gateway_api::gateways::Gateway;
use gateway_api::httproutes::HttpRoute;
use gateway_api::listenersets::ListenerSet;
use gateway_api::referencegrants::ReferenceGrant;
use headrace_crds::{EdgePolicy, GatewayParameters, WebSocketRoute, WebTransportRoute};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer, Serialize};

/// Namespace and name. Objects without a namespace sort first, under the empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Key {
    /// The namespace; empty for kinds that have none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of that namespace and name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Key { namespace: namespace.into(), name: name.into() }
    }

    /// `namespace/name`, as a part of an id in the table.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", id_part(&self.namespace), id_part(&self.name))
    }
}

/// A name, fit to be a part of an id. Names of Kubernetes objects (RFC 1123 subdomains) stay as they are; in others, which
/// only files can hold, what could make two ids equal is percent-encoded.
pub(crate) fn id_part(name: &str) -> String {
    let mut part = String::with_capacity(name.len());
    for octet in name.bytes() {
        match octet {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' => part.push(char::from(octet)),
            other => part.push_str(&format!("%{other:02X}")),
        }
    }
    part
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

macro_rules! world {
    ($($(#[$doc:meta])* $variant:ident($object:ty, $api_version:literal, $kind:literal, $scope:ident) in $field:ident,)+) => {
        /// The kinds that the compiler looks at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Kind {
            $($(#[$doc])* #[serde(rename = $kind)] $variant,)+
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)+];

            /// The kind that a manifest's `apiVersion` and `kind` name.
            pub fn of(api_version: &str, kind: &str) -> Option<Kind> {
                // The old versions of these kinds have the same shape.
                let api_version = match api_version {
                    "gateway.networking.k8s.io/v1beta1" => "gateway.networking.k8s.io/v1",
                    other => other,
                };
                match (api_version, kind) {
                    $(($api_version, $kind) => Some(Kind::$variant),)+
                    _ => None,
                }
            }

            /// `apiVersion` as a manifest has it.
            pub const fn api_version(self) -> &'static str {
                match self { $(Kind::$variant => $api_version,)+ }
            }

            /// `kind` as a manifest has it.
            pub const fn label(self) -> &'static str {
                match self { $(Kind::$variant => $kind,)+ }
            }

            /// Whether objects of the kind live in a namespace.
            pub const fn is_namespaced(self) -> bool {
                match self { $(Kind::$variant => world!(@scope $scope),)+ }
            }
        }

        /// An object of any of the kinds.
        #[derive(Clone, Debug)]
        pub enum Object {
            $($(#[$doc])* $variant(Arc<$object>),)+
        }

        impl Object {
            /// Reads an object of that kind.
            pub fn deserialize<'de, D: Deserializer<'de>>(kind: Kind, from: D) -> Result<Object, D::Error> {
                match kind {
                    $(Kind::$variant => <$object>::deserialize(from).map(|object| Object::$variant(Arc::new(object))),)+
                }
            }

            /// Its kind.
            pub const fn kind(&self) -> Kind {
                match self { $(Object::$variant(_) => Kind::$variant,)+ }
            }

            /// Its metadata.
            pub fn meta(&self) -> &ObjectMeta {
                match self { $(Object::$variant(object) => object.meta(),)+ }
            }
        }

        $(impl From<$object> for Object {
            fn from(object: $object) -> Self {
                Object::$variant(Arc::new(object))
            }
        }

        impl From<Arc<$object>> for Object {
            fn from(object: Arc<$object>) -> Self {
                Object::$variant(object)
            }
        })+

        /// Every object there is.
        #[derive(Clone, Debug, Default)]
        pub struct World {
            $($(#[$doc])* pub $field: BTreeMap<Key, Arc<$object>>,)+
        }

        impl World {
            /// Puts an object in, in place of the one of the same kind, namespace and name.
            pub fn insert(&mut self, object: impl Into<Object>) {
                let object = object.into();
                let key = object.key();
                match object {
                    $(Object::$variant(object) => { self.$field.insert(key, object); })+
                }
            }

            /// Takes an object out; says whether it was there.
            pub fn remove(&mut self, kind: Kind, key: &Key) -> bool {
                match kind {
                    $(Kind::$variant => self.$field.remove(key).is_some(),)+
                }
            }

            /// How many objects there are.
            pub fn len(&self) -> usize {
                [$(self.$field.len(),)+].iter().sum()
            }

            /// Every object, by kind and key.
            pub fn objects(&self) -> impl Iterator<Item = Object> + '_ {
                std::iter::empty()$(.chain(self.$field.values().map(|object| Object::$variant(Arc::clone(object)))))+
            }
        }
    };
    (@scope Cluster) => { false };
    (@scope Namespaced) => { true };
}

world! {
    /// A class of Gateways.
    GatewayClass(GatewayClass, "gateway.networking.k8s.io/v1", "GatewayClass", Cluster) in gateway_classes,
    /// Listeners.
    Gateway(Gateway, "gateway.networking.k8s.io/v1", "Gateway", Namespaced) in gateways,
    /// More listeners for a Gateway.
    ListenerSet(ListenerSet, "gateway.networking.k8s.io/v1", "ListenerSet", Namespaced) in listener_sets,
    /// What Gateways ask of the installation.
    GatewayParameters(GatewayParameters, "headrace.dev/v1alpha1", "GatewayParameters", Namespaced) in gateway_parameters,
    /// How connections of clients are taken.
    EdgePolicy(EdgePolicy, "headrace.dev/v1alpha1", "EdgePolicy", Namespaced) in edge_policies,
    /// Routes for requests.
    HttpRoute(HttpRoute, "gateway.networking.k8s.io/v1", "HTTPRoute", Namespaced) in http_routes,
    /// Routes for WebSocket handshakes.
    WebSocketRoute(WebSocketRoute, "headrace.dev/v1alpha1", "WebSocketRoute", Namespaced) in websocket_routes,
    /// Routes for WebTransport sessions.
    WebTransportRoute(WebTransportRoute, "headrace.dev/v1alpha1", "WebTransportRoute", Namespaced) in webtransport_routes,
    /// The older kind of route.
    Ingress(Ingress, "networking.k8s.io/v1", "Ingress", Namespaced) in ingresses,
    /// A class of Ingresses.
    IngressClass(IngressClass, "networking.k8s.io/v1", "IngressClass", Cluster) in ingress_classes,
    /// Backends.
    Service(Service, "v1", "Service", Namespaced) in services,
    /// The endpoints of backends.
    EndpointSlice(EndpointSlice, "discovery.k8s.io/v1", "EndpointSlice", Namespaced) in endpoint_slices,
    /// TLS towards backends.
    BackendTlsPolicy(BackendTlsPolicy, "gateway.networking.k8s.io/v1", "BackendTLSPolicy", Namespaced) in backend_tls_policies,
    /// Certificates.
    Secret(Secret, "v1", "Secret", Namespaced) in secrets,
    /// Certificate authorities.
    ConfigMap(ConfigMap, "v1", "ConfigMap", Namespaced) in config_maps,
    /// Nodes, for their addresses.
    Node(Node, "v1", "Node", Cluster) in nodes,
    /// Namespaces, for their labels.
    Namespace(Namespace, "v1", "Namespace", Cluster) in namespaces,
    /// Leave to refer into another namespace.
    ReferenceGrant(ReferenceGrant, "gateway.networking.k8s.io/v1", "ReferenceGrant", Namespaced) in reference_grants,
}

impl Object {
    /// Its namespace and name. A namespaced object without a namespace is in `default`, as a manifest's would be.
    pub fn key(&self) -> Key {
        let meta = self.meta();
        let namespace = match (self.kind().is_namespaced(), &meta.namespace) {
            (false, _) => "",
            (true, Some(namespace)) if !namespace.is_empty() => namespace,
            (true, _) => "default",
        };
        Key::new(namespace, meta.name.as_deref().unwrap_or(""))
    }
}

impl World {
    /// Whether there are no objects.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_distinct_whatever_the_names() {
        for (namespace, name, expected) in [
            ("infra", "edge-1.a", "infra/edge-1.a"),
            ("a/b", "c", "a%2Fb/c"),
            ("a", "b/c", "a/b%2Fc"),
            ("a%2eb", "c", "a%252eb/c"),
            ("Ingress", "", "%49ngress/"),
        ] {
            assert_eq!(Key::new(namespace, name).id(), expected);
        }
    }

    #[test]
    fn every_kind_is_found_by_its_own_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of(kind.api_version(), kind.label()), Some(*kind));
        }
        assert_eq!(Kind::of("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"), Some(Kind::ReferenceGrant));
        assert_eq!(Kind::of("v1", "Pod"), None);
    }

    #[test]
    fn objects_come_and_go() {
        let mut world = World::default();
        let service = |name: &str| Service {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..Service::default()
        };
        world.insert(service("a"));
        world.insert(service("a"));
        world.insert(service("b"));
        assert_eq!(world.len(), 2);
        assert!(world.remove(Kind::Service, &Key::new("default", "a")));
        assert!(!world.remove(Kind::Service, &Key::new("default", "a")));
        assert!(!world.remove(Kind::Secret, &Key::new("default", "b")));
        assert_eq!(world.objects().map(|object| object.key().to_string()).collect::<Vec<_>>(), ["default/b"]);
    }
}
