//! The kinds that are watched: where each lives in the World, what of it is kept, and which of its changes matter.
//!
//! Trimming is for memory: a cluster has thousands of EndpointSlices, and the controller reads a tenth of each. Telling
//! changes apart is for calm: the status that we write ourselves comes back as a change, and must not be compiled again.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use gateway_api::backendtlspolicies::BackendTlsPolicy;
use gateway_api::gatewayclasses::GatewayClass;
use gateway_api::gateways::Gateway;
use gateway_api::httproutes::HttpRoute;
use gateway_api::listenersets::ListenerSet;
use gateway_api::referencegrants::ReferenceGrant;
use headrace_compile::{Key, Kind, Object, World};
use headrace_crds::{EdgePolicy, GatewayParameters, WebSocketRoute, WebTransportRoute};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, NodeSpec, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::DeserializeOwned;

/// The entries of Secrets that are read: a `kubernetes.io/tls` Secret's, and the certificates of authorities.
const SECRET_KEYS: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];

/// The entry of ConfigMaps that is read (Gateway API, `caCertificateRefs`).
const CONFIG_MAP_KEYS: [&str; 1] = ["ca.crt"];

/// The one condition of a Node that says whether its addresses lead anywhere.
const NODE_READY: &str = "Ready";

/// A kind that can be watched.
pub(crate) trait Watched:
    Resource + Clone + Debug + DeserializeOwned + Send + Sync + Into<Object> + 'static
{
    /// The kind.
    const KIND: Kind;

    /// Its objects in the World.
    fn objects(world: &World) -> &BTreeMap<Key, Arc<Self>>;

    /// The same, to change.
    fn objects_mut(world: &mut World) -> &mut BTreeMap<Key, Arc<Self>>;

    /// Drops what nobody reads.
    fn trim(&mut self);

    /// Whether the World compiles to the same with `other` in its place.
    fn means_the_same(&self, other: &Self) -> bool;
}

macro_rules! watched {
    ($($kind:ident in $field:ident: |$object:ident| $trim:block, |$one:ident, $two:ident| $same:expr;)+) => {
        $(impl Watched for $kind {
            const KIND: Kind = Kind::$kind;

            fn objects(world: &World) -> &BTreeMap<Key, Arc<Self>> {
                &world.$field
            }

            fn objects_mut(world: &mut World) -> &mut BTreeMap<Key, Arc<Self>> {
                &mut world.$field
            }

            fn trim(&mut self) {
                let $object = self;
                $trim
            }

            fn means_the_same(&self, other: &Self) -> bool {
                let ($one, $two) = (self, other);
                same_metadata(&$one.metadata, &$two.metadata) && $same
            }
        })+
    };
}

// The status of the first kinds is written by controllers, and read by none of what is compiled.
watched! {
    GatewayClass in gateway_classes: |_object| {}, |one, two| one.spec == two.spec;
    Gateway in gateways: |_object| {}, |one, two| one.spec == two.spec;
    ListenerSet in listener_sets: |_object| {}, |one, two| one.spec == two.spec;
    GatewayParameters in gateway_parameters: |_object| {}, |one, two| one.spec == two.spec;
    EdgePolicy in edge_policies: |_object| {}, |one, two| one.spec == two.spec;
    HttpRoute in http_routes: |_object| {}, |one, two| one.spec == two.spec;
    WebSocketRoute in websocket_routes: |_object| {}, |one, two| one.spec == two.spec;
    WebTransportRoute in webtransport_routes: |_object| {}, |one, two| one.spec == two.spec;
    BackendTlsPolicy in backend_tls_policies: |_object| {}, |one, two| one.spec == two.spec;
    ReferenceGrant in reference_grants: |_object| {}, |one, two| one.spec == two.spec;
    Ingress in ingresses: |_object| {}, |one, two| one.spec == two.spec;
    IngressClass in ingress_classes: |_object| {}, |one, two| one.spec == two.spec;
    Service in services: |service| { trim_service(service) },
        |one, two| one.spec == two.spec && one.status == two.status;
    EndpointSlice in endpoint_slices: |slice| { trim_endpoint_slice(slice) },
        |one, two| one.address_type == two.address_type && one.endpoints == two.endpoints && one.ports == two.ports;
    Secret in secrets: |secret| { trim_secret(secret) }, |one, two| one.type_ == two.type_ && one.data == two.data;
    ConfigMap in config_maps: |map| { trim_config_map(map) },
        |one, two| one.data == two.data && one.binary_data == two.binary_data;
    Namespace in namespaces: |namespace| { trim_namespace(namespace) }, |_one, _two| true;
    Node in nodes: |node| { trim_node(node) }, |one, two| one.status == two.status && one.spec == two.spec;
}

/// All but the version of the object, which every write changes.
fn same_metadata(one: &ObjectMeta, two: &ObjectMeta) -> bool {
    one.uid == two.uid
        && one.generation == two.generation
        && one.labels == two.labels
        && one.annotations == two.annotations
        && one.deletion_timestamp == two.deletion_timestamp
        && one.owner_references == two.owner_references
        && one.finalizers == two.finalizers
}

fn trim_service(service: &mut Service) {
    if let Some(spec) = &mut service.spec {
        spec.session_affinity = None;
        spec.session_affinity_config = None;
    }
    if let Some(status) = &mut service.status {
        status.conditions = None;
    }
}

/// Keeps where endpoints are and what they are fit for. The annotation of the last change goes: it changes at every write.
/// So does the generation, which counts the writes.
fn trim_endpoint_slice(slice: &mut EndpointSlice) {
    slice.metadata.annotations = None;
    slice.metadata.generation = None;
    slice.metadata.generate_name = None;
    for endpoint in &mut slice.endpoints {
        endpoint.deprecated_topology = None;
        endpoint.hints = None;
        endpoint.hostname = None;
        if let Some(pod) = &mut endpoint.target_ref {
            // Who it is, without the versions that say nothing about it.
            pod.api_version = None;
            pod.resource_version = None;
            pod.field_path = None;
        }
    }
}

fn trim_secret(secret: &mut Secret) {
    secret.metadata.annotations = None;
    secret.string_data = None;
    if let Some(data) = &mut secret.data {
        data.retain(|name, _| SECRET_KEYS.contains(&name.as_str()));
    }
}

fn trim_config_map(map: &mut ConfigMap) {
    map.metadata.annotations = None;
    if let Some(data) = &mut map.data {
        data.retain(|name, _| CONFIG_MAP_KEYS.contains(&name.as_str()));
    }
    if let Some(data) = &mut map.binary_data {
        data.retain(|name, _| CONFIG_MAP_KEYS.contains(&name.as_str()));
    }
}

fn trim_namespace(namespace: &mut Namespace) {
    namespace.metadata.annotations = None;
    namespace.spec = None;
    namespace.status = None;
}

/// Keeps labels, addresses and whether it is ready. A kubelet's heartbeat changes nothing of these.
fn trim_node(node: &mut Node) {
    node.metadata.annotations = None;
    let unschedulable = node.spec.as_ref().and_then(|spec| spec.unschedulable);
    node.spec = unschedulable.map(|_| NodeSpec { unschedulable, ..NodeSpec::default() });
    let Some(status) = node.status.take() else { return };
    let mut conditions = status.conditions.unwrap_or_default();
    conditions.retain(|condition| condition.type_ == NODE_READY);
    for condition in &mut conditions {
        condition.last_heartbeat_time = None;
        condition.message = None;
    }
    node.status = Some(k8s_openapi::api::core::v1::NodeStatus {
        addresses: status.addresses,
        conditions: Some(conditions),
        ..Default::default()
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use serde_json::{Value, json};

    use super::*;

    fn object<K: Watched>(value: Value) -> K {
        let mut object: K = serde_json::from_value(value).unwrap();
        object.trim();
        object
    }

    #[test]
    fn only_what_is_read_of_a_secret_comes_in() {
        let secret: Secret = object(json!({
            "metadata": {"name": "a", "annotations": {"a": "b"}},
            "data": {"tls.crt": "AA==", "tls.key": "AA==", "password": "AA=="},
        }));
        assert_eq!(secret.data.unwrap().into_keys().collect::<Vec<_>>(), ["tls.crt", "tls.key"]);
    }

    #[test]
    fn our_own_status_is_no_change_and_a_services_address_is() {
        let route = |version: &str, parents: Value| {
            object::<HttpRoute>(json!({
                "metadata": {"name": "a", "resourceVersion": version, "generation": 1},
                "spec": {},
                "status": {"parents": parents},
            }))
        };
        let condition = json!([{"parentRef": {"name": "edge"}, "controllerName": "headrace.dev/x", "conditions": []}]);
        assert!(route("1", json!([])).means_the_same(&route("2", condition)));

        let service = |ip: &str| {
            object::<Service>(json!({
                "metadata": {"name": "a"},
                "status": {"loadBalancer": {"ingress": [{"ip": ip}]}},
            }))
        };
        assert!(service("198.51.100.1").means_the_same(&service("198.51.100.1")));
        assert!(!service("198.51.100.1").means_the_same(&service("198.51.100.2")));
    }

    #[test]
    fn what_a_person_edits_is_a_change() {
        let gateway = |metadata: Value| {
            object::<Gateway>(json!({"metadata": metadata, "spec": {"gatewayClassName": "headrace", "listeners": []}}))
        };
        let plain = gateway(json!({"name": "a"}));
        for edited in [
            json!({"name": "a", "labels": {"a": "b"}}),
            json!({"name": "a", "annotations": {"a": "b"}}),
            json!({"name": "a", "generation": 2}),
            json!({"name": "a", "uid": "other"}),
            json!({"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}),
        ] {
            assert!(!plain.means_the_same(&gateway(edited.clone())), "{edited}");
        }
        assert!(plain.means_the_same(&gateway(json!({"name": "a", "resourceVersion": "9"}))));
    }

    #[test]
    fn heartbeats_and_triggers_are_no_changes() {
        let node = |time: &str, ready: &str| {
            object::<Node>(json!({
                "metadata": {"name": "a"},
                "spec": {"podCIDR": "10.0.0.0/24"},
                "status": {
                    "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
                    "images": [{"names": [time]}],
                    "conditions": [
                        {"type": "Ready", "status": ready, "lastHeartbeatTime": time},
                        {"type": "DiskPressure", "status": "False", "lastHeartbeatTime": time},
                    ],
                },
            }))
        };
        let before = node("2026-01-01T00:00:00Z", "True");
        assert!(before.means_the_same(&node("2026-01-01T00:00:10Z", "True")));
        assert!(!before.means_the_same(&node("2026-01-01T00:00:10Z", "False")));

        let slice = |time: &str, address: &str| {
            object::<EndpointSlice>(json!({
                "metadata": {
                    "name": "a", "generation": time.len(),
                    "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": time},
                },
                "addressType": "IPv4",
                "endpoints": [{"addresses": [address], "targetRef": {"name": "p", "resourceVersion": time}}],
            }))
        };
        assert!(slice("1", "192.0.2.1").means_the_same(&slice("22", "192.0.2.1")));
        assert!(!slice("1", "192.0.2.1").means_the_same(&slice("1", "192.0.2.2")));
    }
}
