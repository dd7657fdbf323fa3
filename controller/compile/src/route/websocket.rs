//! WebSocketRoute in the common shape.
//!
//! Owns the translation field by field. It must not judge what it translates.

use headrace_crds::websocketroute as api;
use headrace_table::wire::Opens;

use super::ours;
use super::shape::{MatchShape, RuleShape, Shape, Timeout};
use crate::age::created;
use crate::gateway::RouteKind;
use crate::status::ObjectRef;
use crate::world::{Key, Kind};

pub(super) fn shape(key: &Key, route: &api::WebSocketRoute) -> Shape {
    Shape {
        object: ObjectRef::new(Kind::WebSocketRoute, key),
        kind: RouteKind::WebSocket,
        generation: route.metadata.generation,
        created: created(&route.metadata),
        parents: route.spec.parent_refs.clone(),
        hostnames: route.spec.hostnames.clone(),
        rules: route.spec.rules.iter().map(rule).collect(),
    }
}

fn rule(rule: &api::WebSocketRouteRule) -> RuleShape {
    let timeouts = rule.timeouts.clone().unwrap_or_default();
    let timeouts = [
        (Timeout::Handshake, timeouts.handshake),
        (Timeout::Idle, timeouts.idle),
        (Timeout::Lifetime, timeouts.lifetime),
    ];
    RuleShape {
        name: rule.name.clone(),
        opens: Opens::WebSocket,
        matches: rule.matches.iter().map(one_match).collect(),
        filters: rule.filters.iter().map(ours::filter).collect(),
        backends: rule.backend_refs.iter().map(ours::backend).collect(),
        origins: rule.origins.clone(),
        session: None,
        timeouts: timeouts.into_iter().filter_map(|(timeout, text)| Some((timeout, text?))).collect(),
    }
}

fn one_match(found: &api::WebSocketRouteMatch) -> MatchShape {
    MatchShape {
        path: found.path.as_ref().map(ours::path),
        method: None,
        headers: found.headers.iter().map(ours::value).collect(),
        query: found.query_params.iter().map(ours::value).collect(),
        subprotocols: found.subprotocols.clone(),
    }
}
