//! The Service and the EndpointSlices of a Gateway, as they are to be.
//!
//! Owns how a plan reads as Kubernetes objects, and which pods are behind them. Pure. It must not know what is there already.
//!
//! The Service has no selector: it is in the Gateway's namespace and the pods are in ours, so that its EndpointSlices are
//! written here, after those of the pod set's headless Service.

use std::collections::{BTreeMap, BTreeSet};

use headrace_compile::{Key, ServicePlan, World};
use headrace_crds::gatewayparameters::ServiceType;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sha2::{Digest, Sha256};

/// Which controller wrote the object. Another installation in the cluster, of another controller name, leaves it alone.
pub(crate) const CONTROLLER_LABEL: &str = "headrace.dev/controller";
/// A digest of all that was applied. What is no longer planned cannot be told from what somebody else added; by this it is
/// known that something is to be applied again.
pub(crate) const APPLIED_ANNOTATION: &str = "headrace.dev/applied";
/// By which a slice belongs to a Service.
pub(crate) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Tells Kubernetes' own controllers to leave a slice alone.
const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGED_BY: &str = "headrace.dev";
/// Endpoints of an EndpointSlice at most (the API's own limit).
const MAX_ENDPOINTS: usize = 1000;
/// Characters of a label's value at most.
const MAX_LABEL: usize = 63;

/// The families of addresses that a slice can have, in the words of the API.
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// The controller's name as a label's value, which has no slash.
pub(crate) fn controller_label(controller_name: &str) -> String {
    let is_legal = |octet: char| octet.is_ascii_alphanumeric() || matches!(octet, '-' | '_' | '.');
    let value: String = controller_name.chars().map(|octet| if is_legal(octet) { octet } else { '_' }).collect();
    let ends_well = value.ends_with(|last: char| last.is_ascii_alphanumeric());
    if value.len() <= MAX_LABEL && ends_well {
        return value;
    }
    digest(controller_name.as_bytes())
}

/// The Service of a plan.
pub(crate) fn service(plan: &ServicePlan, controller_name: &str) -> Service {
    let mut metadata = metadata(plan, plan.name.clone(), controller_name);
    metadata.labels.get_or_insert_default().extend(plan.labels.clone());
    let ports = plan.ports.iter().map(|port| ServicePort {
        name: Some(port.name.clone()),
        port: i32::from(port.port),
        protocol: Some(port.protocol.label().to_owned()),
        target_port: Some(IntOrString::Int(i32::from(port.target_port))),
        ..ServicePort::default()
    });
    let is_load_balancer = plan.r#type == ServiceType::LoadBalancer;
    // The API server refuses these on Services that are not reached from outside, or by a load balancer.
    let outside = plan.external_traffic_policy.filter(|_| plan.r#type != ServiceType::ClusterIp);
    let ranges = Some(plan.load_balancer_source_ranges.clone()).filter(|it| is_load_balancer && !it.is_empty());
    let spec = ServiceSpec {
        type_: Some(plan.r#type.label().to_owned()),
        ports: Some(ports.collect()),
        load_balancer_class: plan.load_balancer_class.clone().filter(|_| is_load_balancer),
        load_balancer_source_ranges: ranges,
        // Deprecated since each provider has an annotation of its own for it, and still the one field that many of them
        // read. `externalIPs` would not do: whoever makes Gateways could take addresses from anybody in the cluster.
        load_balancer_ip: plan.addresses.first().filter(|_| is_load_balancer).map(ToString::to_string),
        external_traffic_policy: outside.map(|policy| policy.label().to_owned()),
        ip_family_policy: plan.ip_family_policy.map(|policy| policy.label().to_owned()),
        ..ServiceSpec::default()
    };
    let mut service = Service { metadata, spec: Some(spec), status: None };
    let mut annotations = plan.annotations.clone();
    // What the digest covers includes the annotations that are planned.
    service.metadata.annotations = Some(annotations.clone());
    let applied = digest(&serde_json::to_vec(&service).unwrap_or_default());
    annotations.insert(APPLIED_ANNOTATION.to_owned(), applied);
    service.metadata.annotations = Some(annotations);
    service
}

/// The slices of a plan: the endpoints of each family in runs of at most a thousand, ordered by address.
pub(crate) fn slices(plan: &ServicePlan, pods: &Pods, controller_name: &str) -> Vec<EndpointSlice> {
    let ports = plan.ports.iter().map(|port| EndpointPort {
        name: Some(port.name.clone()),
        port: Some(i32::from(port.target_port)),
        protocol: Some(port.protocol.label().to_owned()),
        app_protocol: None,
    });
    let ports: Vec<EndpointPort> = ports.collect();
    let mut slices = Vec::new();
    for family in FAMILIES {
        let endpoints = pods.by_family.get(family).map_or(&[][..], Vec::as_slice);
        for (index, endpoints) in endpoints.chunks(MAX_ENDPOINTS).enumerate() {
            let name = format!("{}-{}-{index}", plan.name, family.to_ascii_lowercase());
            let mut metadata = metadata(plan, name, controller_name);
            metadata.labels.get_or_insert_default().extend([
                (SERVICE_NAME_LABEL.to_owned(), plan.name.clone()),
                (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
            ]);
            slices.push(EndpointSlice {
                metadata,
                address_type: family.to_owned(),
                endpoints: endpoints.to_vec(),
                ports: Some(ports.clone()),
            });
        }
    }
    slices
}

fn metadata(plan: &ServicePlan, name: String, controller_name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(plan.namespace.clone()),
        labels: Some(BTreeMap::from([(CONTROLLER_LABEL.to_owned(), controller_label(controller_name))])),
        owner_references: Some(vec![OwnerReference {
            api_version: headrace_compile::Kind::Gateway.api_version().to_owned(),
            kind: headrace_compile::Kind::Gateway.label().to_owned(),
            name: plan.gateway.name.clone(),
            uid: plan.gateway_uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        }]),
        ..ObjectMeta::default()
    }
}

/// The pods of a pod set, by family of their addresses, each in order and once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pods {
    by_family: BTreeMap<String, Vec<Endpoint>>,
}

impl Pods {
    /// The endpoints of a headless Service of ours.
    pub(crate) fn of(world: &World, service: &Key) -> Self {
        let mut by_family: BTreeMap<String, BTreeMap<Vec<String>, Endpoint>> = BTreeMap::new();
        for slice in slices_of(world, service) {
            let endpoints = by_family.entry(slice.address_type.clone()).or_default();
            for endpoint in &slice.endpoints {
                let mirrored = mirrored(endpoint);
                // While an endpoint moves from one slice to another it is in both for a moment: the ready one counts.
                match endpoints.get(&mirrored.addresses) {
                    Some(before) if is_ready(before) => {}
                    _ => {
                        endpoints.insert(mirrored.addresses.clone(), mirrored);
                    }
                }
            }
        }
        let by_family = by_family.into_iter().map(|(family, endpoints)| (family, endpoints.into_values().collect()));
        Pods { by_family: by_family.collect() }
    }

    /// The names of the pods that get traffic.
    pub(crate) fn ready(&self) -> BTreeSet<String> {
        let endpoints = self.by_family.values().flatten().filter(|endpoint| is_ready(endpoint));
        let pods = endpoints.filter_map(|endpoint| endpoint.target_ref.as_ref());
        pods.filter(|target| target.kind.as_deref() == Some("Pod")).filter_map(|target| target.name.clone()).collect()
    }
}

/// All that a proxy of the cluster goes by. Hints are for the Service that they were worked out for.
fn mirrored(endpoint: &Endpoint) -> Endpoint {
    Endpoint {
        addresses: endpoint.addresses.clone(),
        conditions: endpoint.conditions.clone(),
        node_name: endpoint.node_name.clone(),
        zone: endpoint.zone.clone(),
        target_ref: endpoint.target_ref.clone(),
        ..Endpoint::default()
    }
}

/// Absent means ready (the API's own words).
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

/// The slices of a Service.
fn slices_of<'a>(world: &'a World, service: &'a Key) -> impl Iterator<Item = &'a EndpointSlice> {
    let from = Key::new(&*service.namespace, "");
    let of_namespace = world.endpoint_slices.range(from..).take_while(|(key, _)| key.namespace == service.namespace);
    of_namespace.map(|(_, slice)| &**slice).filter(|slice| {
        let labels = slice.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(SERVICE_NAME_LABEL)) == Some(&service.name)
    })
}

/// Thirty-two hexadecimal digits: more than enough to tell what was applied from what is to be.
fn digest(octets: &[u8]) -> String {
    Sha256::digest(octets)[..16].iter().map(|octet| format!("{octet:02x}")).collect()
}
