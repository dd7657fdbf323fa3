//! GatewayClasses: which are ours, and what they may count on.
//!
//! Owns the list of supported features. It must not know Gateways.

use std::collections::BTreeMap;

use headrace_crds::GatewayParametersSpec;
use headrace_crds::condition::{ConditionType, GatewayClassReason};

use crate::Options;
use crate::diagnosis::{ConditionWriter, Fault};
use crate::parameters::{self, Reference};
use crate::status::{GatewayClassStatus, ObjectRef, Statuses};
use crate::world::{Kind, World};

/// The Gateway API features that this project has, as the conformance suite names them, sorted.
pub(crate) const SUPPORTED_FEATURES: &[&str] = &[
    "BackendTLSPolicy",
    "BackendTLSPolicySANValidation",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayInfrastructure",
    "GatewayPort8080",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ListenerSet",
    "ReferenceGrant",
];

/// Whether Gateways of a class are served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ClassState<'w> {
    /// They are, with these parameters.
    Accepted(Option<&'w GatewayParametersSpec>),
    /// The class itself is not accepted.
    Refused,
    /// Another controller's.
    Foreign,
}

/// The classes by name; says so in the statuses.
pub(crate) fn compile<'w>(
    world: &'w World,
    options: &Options,
    statuses: &mut Statuses,
) -> BTreeMap<&'w str, ClassState<'w>> {
    let mut states = BTreeMap::new();
    for (key, class) in &world.gateway_classes {
        if class.spec.controller_name != options.controller_name {
            states.insert(key.name.as_str(), ClassState::Foreign);
            continue;
        }
        let object = ObjectRef::new(Kind::GatewayClass, key);
        let parameters = class.spec.parameters_ref.as_ref().map(|parameters| {
            let reference = Reference {
                group: &parameters.group,
                kind: &parameters.kind,
                namespace: parameters.namespace.as_deref(),
                name: &parameters.name,
            };
            parameters::resolve(world, options, &reference)
                .map_err(|message| Fault::new("spec.parametersRef", GatewayClassReason::InvalidParameters, message))
        });
        let (parameters, faults) = match parameters.transpose() {
            Ok(parameters) => (parameters, Vec::new()),
            Err(fault) => (None, vec![fault]),
        };
        let mut writer = ConditionWriter::new(class.metadata.generation);
        writer.set_by(ConditionType::Accepted, &faults, GatewayClassReason::Accepted, "The class is served.");
        if let Some(version) = &options.gateway_api_version {
            let faults = version_fault(version);
            let message = format!("Version {version} of the Gateway API is supported.");
            let reason = GatewayClassReason::SupportedVersion;
            writer.set_by(ConditionType::SupportedVersion, faults.as_slice(), reason, message);
            let problems = faults.iter().map(|fault| fault.problem(&object, ConditionType::SupportedVersion));
            statuses.problems.extend(problems);
        }
        statuses.problems.extend(faults.iter().map(|fault| fault.problem(&object, ConditionType::Accepted)));
        statuses.gateway_classes.push(GatewayClassStatus {
            object,
            conditions: writer.conditions,
            supported_features: SUPPORTED_FEATURES.to_vec(),
        });
        let state = if faults.is_empty() { ClassState::Accepted(parameters) } else { ClassState::Refused };
        states.insert(key.name.as_str(), state);
    }
    states
}

/// The minor versions of Gateway API v1 whose CRDs have the shapes that are read here.
const SUPPORTED_MINOR: std::ops::RangeInclusive<u32> = 1..=6;

/// Another version is served as well as can be; the class stays accepted.
fn version_fault(version: &str) -> Option<Fault> {
    let minor = version.strip_prefix("v1.").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    let supported = minor.is_some_and(|minor| SUPPORTED_MINOR.contains(&minor));
    let (from, to) = SUPPORTED_MINOR.into_inner();
    let message = format!("the Gateway API's CRDs are of version {version}: install one from v1.{from} to v1.{to}");
    (!supported).then(|| Fault::new("", GatewayClassReason::UnsupportedVersion, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_supported_or_not() {
        for (version, supported) in [
            ("v1.5.1", true),
            ("v1.6.3-rc.1", true),
            ("v1.0.0", false),
            ("v1.7.0", false),
            ("v0.8.1", false),
            ("", false),
        ] {
            assert_eq!(version_fault(version).is_none(), supported, "{version}");
        }
    }

    #[test]
    fn features_are_sorted_and_named_once() {
        assert!(SUPPORTED_FEATURES.is_sorted_by(|a, b| a < b));
    }
}
