//! GatewayParameters: what a Gateway asks of the installation, by its class and by itself.
//!
//! Owns how references to them are resolved, checked and put together. It must not know what a Service is made of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use headrace_crds::GatewayParametersSpec;
use headrace_crds::gatewayparameters::{ServiceParameters, ServiceType};

use crate::options::{DEFAULT_POD_SET, Options, Ports};
use crate::world::{Key, Kind, World};

/// A reference to parameters, as a GatewayClass or a Gateway has it.
pub(crate) struct Reference<'a> {
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
}

/// What is referred to, or a message that says what to change.
pub(crate) fn resolve<'w>(
    world: &'w World,
    options: &Options,
    reference: &Reference<'_>,
) -> Result<&'w GatewayParametersSpec, String> {
    let Reference { group, kind, name, .. } = reference;
    if (*group, *kind) != (headrace_crds::GROUP, Kind::GatewayParameters.label()) {
        return Err(format!("{kind} {name} is not a kind of parameters: remove parametersRef"));
    }
    let Some(namespace) = reference.namespace.filter(|namespace| !namespace.is_empty()) else {
        return Err(format!("GatewayParameters {name} need a namespace: add the one that they are in"));
    };
    let key = Key::new(namespace, *name);
    let Some(parameters) = world.gateway_parameters.get(&key) else {
        return Err(format!("GatewayParameters {key} do not exist: create them, or remove parametersRef"));
    };
    match objection(&parameters.spec, options) {
        None => Ok(&parameters.spec),
        Some(message) => Err(format!("GatewayParameters {key}: {message}")),
    }
}

/// What of the parameters cannot be had here.
fn objection(spec: &GatewayParametersSpec, options: &Options) -> Option<String> {
    let is_known = |set: &str| set == DEFAULT_POD_SET || options.pod_sets.contains(set);
    let one_process = options.ports == Ports::AsListed;
    if let Some(set) = spec.pod_set.as_deref().filter(|set| !one_process && !is_known(set)) {
        let known: Vec<&str> = options.pod_sets.iter().map(String::as_str).collect();
        return Some(format!("there is no pod set {set}: use one of {}", known.join(", ")));
    }
    let ranges = spec.service.iter().flat_map(|service| &service.load_balancer_source_ranges);
    let wrong = ranges.into_iter().find(|range| !is_network(range))?;
    Some(format!("{wrong} is not a network: write it as 198.51.100.0/24"))
}

fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let bits = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= bits)
}

/// Where a Gateway is served and by what Service it is reached: its own parameters, and field by field those of its class
/// where it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The default one when absent.
    pub(crate) pod_set: Option<String>,
    pub(crate) service: ServiceParameters,
}

impl Placement {
    pub(crate) fn of(class: Option<&GatewayParametersSpec>, own: Option<&GatewayParametersSpec>) -> Self {
        let mut placement = Placement::default();
        for spec in [class, own].into_iter().flatten() {
            replace(&mut placement.pod_set, &spec.pod_set);
            if let Some(service) = &spec.service {
                overlay(&mut placement.service, service);
            }
        }
        // A class may ask of load balancers what makes no sense for a Gateway that has none.
        let service = &mut placement.service;
        match service.r#type.unwrap_or_default() {
            ServiceType::LoadBalancer => {}
            r#type => {
                service.load_balancer_class = None;
                service.load_balancer_source_ranges.clear();
                if r#type == ServiceType::ClusterIp {
                    service.external_traffic_policy = None;
                }
            }
        }
        placement
    }

    pub(crate) fn pod_set(&self) -> &str {
        self.pod_set.as_deref().unwrap_or(DEFAULT_POD_SET)
    }
}

fn overlay(under: &mut ServiceParameters, over: &ServiceParameters) {
    replace(&mut under.r#type, &over.r#type);
    extend(&mut under.annotations, &over.annotations);
    extend(&mut under.labels, &over.labels);
    replace(&mut under.load_balancer_class, &over.load_balancer_class);
    replace(&mut under.external_traffic_policy, &over.external_traffic_policy);
    replace(&mut under.ip_family_policy, &over.ip_family_policy);
    if !over.load_balancer_source_ranges.is_empty() {
        under.load_balancer_source_ranges.clone_from(&over.load_balancer_source_ranges);
    }
}

fn replace<T: Clone>(under: &mut Option<T>, over: &Option<T>) {
    if over.is_some() {
        under.clone_from(over);
    }
}

fn extend(under: &mut BTreeMap<String, String>, over: &BTreeMap<String, String>) {
    under.extend(over.iter().map(|(name, value)| (name.clone(), value.clone())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_addresses_with_a_length() {
        for (text, taken) in [
            ("198.51.100.0/24", true),
            ("0.0.0.0/0", true),
            ("2001:db8::/32", true),
            ("198.51.100.0/33", false),
            ("2001:db8::/129", false),
            ("198.51.100.0", false),
            ("198.51.100/24", false),
            ("a/24", false),
            ("198.51.100.0/", false),
        ] {
            assert_eq!(is_network(text), taken, "{text}");
        }
    }
}
