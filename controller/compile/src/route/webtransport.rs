//! WebTransportRoute in the common shape.
//!
//! Owns the translation field by field. It must not judge what it translates.

use headrace_crds::webtransportroute as api;
use headrace_table::wire::Opens;

use super::ours;
use super::shape::{MatchShape, RuleShape, SessionLimit, SessionShape, Shape, Timeout};
use crate::age::created;
use crate::gateway::RouteKind;
use crate::status::ObjectRef;
use crate::world::{Key, Kind};

pub(super) fn shape(key: &Key, route: &api::WebTransportRoute) -> Shape {
    Shape {
        object: ObjectRef::new(Kind::WebTransportRoute, key),
        kind: RouteKind::WebTransport,
        generation: route.metadata.generation,
        created: created(&route.metadata),
        parents: route.spec.parent_refs.clone(),
        hostnames: route.spec.hostnames.clone(),
        rules: route.spec.rules.iter().map(rule).collect(),
    }
}

fn rule(rule: &api::WebTransportRouteRule) -> RuleShape {
    let timeouts = rule.timeouts.clone().unwrap_or_default();
    let timeouts =
        [(Timeout::Open, timeouts.open), (Timeout::Idle, timeouts.idle), (Timeout::Lifetime, timeouts.lifetime)];
    RuleShape {
        name: rule.name.clone(),
        opens: Opens::WebTransport,
        matches: rule.matches.iter().map(one_match).collect(),
        filters: rule.filters.iter().map(ours::filter).collect(),
        backends: rule.backend_refs.iter().map(ours::backend).collect(),
        origins: rule.origins.clone(),
        timeouts: timeouts.into_iter().filter_map(|(timeout, text)| Some((timeout, text?))).collect(),
        session: Some(session(rule)),
    }
}

fn session(rule: &api::WebTransportRouteRule) -> SessionShape {
    let limits = rule.limits.clone().unwrap_or_default();
    let limits = [
        (SessionLimit::Streams, limits.streams),
        (SessionLimit::OpeningRate, limits.opening_rate),
        (SessionLimit::DatagramSize, limits.datagram_size),
        (SessionLimit::DatagramRate, limits.datagram_rate),
    ];
    SessionShape {
        ends_here: rule.mode == api::WebTransportMode::Streams,
        stream_backends: rule.stream_backend_refs.iter().map(ours::backend).collect(),
        datagram_backends: rule.datagram_backend_refs.iter().map(ours::backend).collect(),
        limits: limits.into_iter().filter_map(|(limit, value)| Some((limit, value?))).collect(),
    }
}

fn one_match(found: &api::WebTransportRouteMatch) -> MatchShape {
    MatchShape {
        path: found.path.as_ref().map(ours::path),
        method: None,
        headers: found.headers.iter().map(ours::value).collect(),
        query: found.query_params.iter().map(ours::value).collect(),
        subprotocols: found.subprotocols.clone(),
    }
}
