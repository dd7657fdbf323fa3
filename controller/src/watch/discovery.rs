//! Which of the kinds the API server has, and at which version.
//!
//! Kinds of Kubernetes itself are always there. Those of the Gateway API and our own are CustomResourceDefinitions, which
//! may be missing, of an older release, installed later or deleted. Owns what is said about that; not what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use headrace_compile::Kind;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::{ApiResource, PartialObjectMeta};
use kube::{Api, Client};

/// The group of the Gateway API.
const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// Carries the annotation that tells the release of all of them.
const GATEWAY_CRD: &str = "gateways.gateway.networking.k8s.io";

/// The release of the Gateway API's CRDs.
const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";

/// The oldest release that has every kind at the version we read.
const GATEWAY_RELEASE: &str = "v1.5";

/// What the API server has of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It serves it here.
    Served(ApiResource),
    /// It does not, for this reason.
    Missing(String),
}

/// The plural, which is a kind's name in a URL.
pub(crate) const fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::GatewayClass => "gatewayclasses",
        Kind::Gateway => "gateways",
        Kind::ListenerSet => "listenersets",
        Kind::GatewayParameters => "gatewayparameters",
        Kind::EdgePolicy => "edgepolicies",
        Kind::HttpRoute => "httproutes",
        Kind::WebSocketRoute => "websocketroutes",
        Kind::WebTransportRoute => "webtransportroutes",
        Kind::Ingress => "ingresses",
        Kind::IngressClass => "ingressclasses",
        Kind::Service => "services",
        Kind::EndpointSlice => "endpointslices",
        Kind::BackendTlsPolicy => "backendtlspolicies",
        Kind::Secret => "secrets",
        Kind::ConfigMap => "configmaps",
        Kind::Node => "nodes",
        Kind::Namespace => "namespaces",
        Kind::ReferenceGrant => "referencegrants",
    }
}

/// The versions at which a kind has the shape that we read, the best first.
fn versions(kind: Kind) -> &'static [&'static str] {
    match kind {
        // v1 is new in Gateway API v1.5, and is the same as v1beta1.
        Kind::ReferenceGrant => &["v1", "v1beta1"],
        _ => &[],
    }
}

/// How a kind is reached at one of its versions.
pub(crate) fn resource(kind: Kind, version: Option<&str>) -> ApiResource {
    let (group, own) = kind.api_version().split_once('/').unwrap_or(("", kind.api_version()));
    let version = version.unwrap_or(own);
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.label().to_owned(),
        plural: plural(kind).to_owned(),
    }
}

fn is_custom(kind: Kind) -> bool {
    kind.api_version().starts_with(GATEWAY_GROUP) || kind.api_version().starts_with(headrace_crds::GROUP)
}

/// The resources of every group and version that was asked for; `None` for a version that is not served.
type Served = BTreeMap<String, Option<Vec<String>>>;

/// Asks the API server which of `kinds` it has.
pub(crate) async fn discover(client: &Client, kinds: &[Kind]) -> kube::Result<BTreeMap<Kind, Presence>> {
    let group_versions = group_versions(client).await?;
    let mut served = Served::new();
    let mut found = BTreeMap::new();
    for kind in kinds.iter().copied() {
        if !is_custom(kind) {
            found.insert(kind, Presence::Served(resource(kind, None)));
            continue;
        }
        let own = resource(kind, None).version;
        let mut candidates = versions(kind).to_vec();
        if candidates.is_empty() {
            candidates.push(&own);
        }
        let mut presence = None;
        for version in candidates {
            let api = resource(kind, Some(version));
            if !served.contains_key(&api.api_version) {
                let plurals = match group_versions.contains(&api.api_version) {
                    true => resources(client, &api.api_version).await?,
                    false => None,
                };
                served.insert(api.api_version.clone(), plurals);
            }
            let plurals = served.get(&api.api_version).and_then(Option::as_ref);
            if plurals.is_some_and(|plurals| plurals.contains(&api.plural)) {
                presence = Some(Presence::Served(api));
                break;
            }
        }
        found.insert(kind, presence.unwrap_or_else(|| Presence::Missing(missing(kind, &served))));
    }
    Ok(found)
}

/// The plurals at a version of a group; `None` if there is no such version.
async fn resources(client: &Client, api_version: &str) -> kube::Result<Option<Vec<String>>> {
    match client.list_api_group_resources(api_version).await {
        Ok(list) => Ok(Some(list.resources.into_iter().map(|resource| resource.name).collect())),
        // It went away since the groups were listed.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every version of every group that is served. Asking for one that is not would be answered 404, in plain text.
async fn group_versions(client: &Client) -> kube::Result<BTreeSet<String>> {
    let groups = client.list_api_groups().await?.groups;
    Ok(groups.into_iter().flat_map(|group| group.versions).map(|version| version.group_version).collect())
}

fn missing(kind: Kind, served: &Served) -> String {
    let api_version = kind.api_version();
    let is_group_there = served.get(api_version).is_some_and(Option::is_some);
    let place = if is_group_there { format!("not in {api_version}") } else { format!("{api_version} is not served") };
    match api_version.starts_with(GATEWAY_GROUP) {
        true => format!("{place}: install the CRDs of Gateway API {GATEWAY_RELEASE} or newer"),
        false => format!("{place}: install the CRDs of Headrace"),
    }
}

/// The release of the Gateway API's CRDs. `None` if they are not there or do not say.
pub(crate) async fn gateway_api_version(client: &Client) -> kube::Result<Option<String>> {
    let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client.clone());
    let definition = api.get_opt(GATEWAY_CRD).await?;
    Ok(definition.and_then(|definition| definition.metadata.annotations?.remove(BUNDLE_VERSION)))
}

/// One line about everything that is missing, for the log and for readiness. `None` if nothing is.
pub(crate) fn summary<'a>(missing: impl IntoIterator<Item = (Kind, &'a str)>) -> Option<String> {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (kind, reason) in missing {
        by_reason.entry(reason).or_default().push(kind.label());
    }
    let parts: Vec<String> =
        by_reason.into_iter().map(|(reason, kinds)| format!("{} ({reason})", kinds.join(", "))).collect();
    (!parts.is_empty()).then(|| format!("kinds that are not there: {}", parts.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_reached_by_group_version_and_plural() {
        for (kind, version, expect) in [
            (Kind::Service, None, " v1 v1 services"),
            (Kind::HttpRoute, None, "gateway.networking.k8s.io v1 gateway.networking.k8s.io/v1 httproutes"),
            (
                Kind::ReferenceGrant,
                Some("v1beta1"),
                "gateway.networking.k8s.io v1beta1 gateway.networking.k8s.io/v1beta1 referencegrants",
            ),
            (Kind::WebSocketRoute, None, "headrace.dev v1alpha1 headrace.dev/v1alpha1 websocketroutes"),
            (Kind::WebTransportRoute, None, "headrace.dev v1alpha1 headrace.dev/v1alpha1 webtransportroutes"),
        ] {
            let api = resource(kind, version);
            assert_eq!(format!("{} {} {} {}", api.group, api.version, api.api_version, api.plural), expect);
        }
    }

    #[test]
    fn what_is_missing_is_one_line_that_says_what_to_do() {
        let served = Served::from([
            ("gateway.networking.k8s.io/v1".to_owned(), Some(vec!["gateways".to_owned()])),
            ("headrace.dev/v1alpha1".to_owned(), None),
        ]);
        let kinds = [Kind::ListenerSet, Kind::BackendTlsPolicy, Kind::WebSocketRoute];
        let reasons: Vec<_> = kinds.iter().map(|kind| (*kind, missing(*kind, &served))).collect();
        let line = summary(reasons.iter().map(|(kind, reason)| (*kind, reason.as_str())));
        assert_eq!(
            line.as_deref(),
            Some(
                "kinds that are not there: WebSocketRoute (headrace.dev/v1alpha1 is not served: install the CRDs of \
                 Headrace); ListenerSet, BackendTLSPolicy (not in gateway.networking.k8s.io/v1: install the CRDs of \
                 Gateway API v1.5 or newer)"
            )
        );
        assert_eq!(summary([]), None);
    }
}
