//! Where a Service can be reached.
//!
//! Owns the reading of a Service's status, and of Nodes for its node ports. It must not know whose Service it is.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, Service};

use crate::status::Address;
use crate::world::{Key, World};

/// Addresses told of a Gateway at most (the bound of Gateway API's own schema). Of a cluster's nodes these are the first
/// by address.
const MAX_ADDRESSES: usize = 16;

/// The addresses of the Service, or a message that says why there is none and what to change.
pub(crate) fn of(world: &World, key: &Key) -> Result<Vec<Address>, String> {
    let Some(service) = world.services.get(key) else {
        return Err(format!("Service {key} is not there yet"));
    };
    let r#type = service.spec.as_ref().and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP");
    let mut addresses = match r#type {
        "LoadBalancer" => of_load_balancer(service),
        "NodePort" => of_nodes(world),
        _ => of_cluster(service),
    };
    addresses.truncate(MAX_ADDRESSES);
    if !addresses.is_empty() {
        return Ok(addresses);
    }
    Err(match r#type {
        "LoadBalancer" => format!(
            "Service {key} of type LoadBalancer has no address yet: does the cluster have a load-balancer controller{}? \
             Without one, GatewayParameters can ask for type NodePort or ClusterIP",
            class_in_words(service)
        ),
        "NodePort" => format!("Service {key} is of type NodePort, and no node has an address"),
        _ => format!("Service {key} of type {type} has no cluster IP yet"),
    })
}

fn class_in_words(service: &Service) -> String {
    let class = service.spec.as_ref().and_then(|spec| spec.load_balancer_class.as_deref());
    class.map_or_else(String::new, |class| format!(" for loadBalancerClass {class}"))
}

/// In the order in which the load balancer names them.
fn of_load_balancer(service: &Service) -> Vec<Address> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let mut addresses: Vec<Address> = Vec::new();
    for ingress in status.and_then(|status| status.ingress.as_ref()).into_iter().flatten() {
        let ip = ingress.ip.as_deref().and_then(|ip| ip.parse().ok()).map(Address::Ip);
        let hostname = ingress.hostname.as_ref().filter(|name| !name.is_empty()).cloned().map(Address::Hostname);
        let found = ip.or(hostname);
        addresses.extend(found.filter(|address| !addresses.contains(address)));
    }
    addresses
}

fn of_cluster(service: &Service) -> Vec<Address> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let all = spec.cluster_ips.as_deref().unwrap_or_default();
    let first = spec.cluster_ip.iter().filter(|first| !all.contains(first));
    // A Service without an address has the word None.
    first.chain(all).filter_map(|ip| ip.parse().ok()).map(Address::Ip).collect()
}

/// The addresses of nodes that are ready, from outside where a node has one.
fn of_nodes(world: &World) -> Vec<Address> {
    let addresses: BTreeSet<IpAddr> =
        world.nodes.values().filter(|node| is_ready(node)).flat_map(|node| of_node(node)).collect();
    addresses.into_iter().map(Address::Ip).collect()
}

fn of_node(node: &Node) -> Vec<IpAddr> {
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let of_type = |r#type: &str| -> Vec<IpAddr> {
        let addresses = addresses.iter().filter(|address| address.type_ == r#type);
        addresses.filter_map(|address| address.address.parse().ok()).collect()
    };
    let external = of_type("ExternalIP");
    if external.is_empty() { of_type("InternalIP") } else { external }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().find(|condition| condition.type_ == "Ready").is_none_or(|condition| condition.status == "True")
}
