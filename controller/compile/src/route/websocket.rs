//! WebSocketRoute in the common shape.
//!
//! Owns the translation field by field. It must not judge what it translates.

use headrace_crds::reference::BackendRef;
use headrace_crds::websocketroute as api;
use headrace_table::wire::{HeaderChanges, Opens, PathRewrite};

use super::shape::{BackendShape, Filter, MatchShape, PathKind, PathModifier, RuleShape, Shape, Timeout, ValueShape};
use crate::age::created;
use crate::gateway::RouteKind;
use crate::status::ObjectRef;
use crate::world::{Key, Kind};

pub(super) fn shape(key: &Key, route: &api::WebSocketRoute) -> Shape {
    Shape {
        object: ObjectRef::new(Kind::WebSocketRoute, key),
        kind: RouteKind::WebSocketRoute,
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
        filters: rule.filters.iter().map(filter).collect(),
        backends: rule.backend_refs.iter().map(backend).collect(),
        origins: rule.origins.clone(),
        timeouts: timeouts.into_iter().filter_map(|(timeout, text)| Some((timeout, text?))).collect(),
    }
}

fn one_match(found: &api::WebSocketRouteMatch) -> MatchShape {
    MatchShape {
        path: found.path.as_ref().map(|path| {
            let kind = match path.r#type {
                api::PathMatchType::Exact => PathKind::Exact,
                api::PathMatchType::PathPrefix => PathKind::Prefix,
                api::PathMatchType::RegularExpression => PathKind::Regex,
            };
            (kind, path.value.clone())
        }),
        method: None,
        headers: found.headers.iter().map(value).collect(),
        query: found.query_params.iter().map(value).collect(),
        subprotocols: found.subprotocols.clone(),
    }
}

fn value(value: &api::ValueMatch) -> ValueShape {
    ValueShape {
        name: value.name.clone(),
        value: value.value.clone(),
        regex: value.r#type == api::ValueMatchType::RegularExpression,
    }
}

fn filter(filter: &api::RouteFilter) -> Filter {
    match filter.r#type {
        api::RouteFilterType::RequestHeaderModifier => match &filter.request_header_modifier {
            Some(changes) => Filter::RequestHeaders(header_changes(changes)),
            None => Filter::Incomplete("requestHeaderModifier"),
        },
        api::RouteFilterType::ResponseHeaderModifier => match &filter.response_header_modifier {
            Some(changes) => Filter::ResponseHeaders(header_changes(changes)),
            None => Filter::Incomplete("responseHeaderModifier"),
        },
        api::RouteFilterType::UrlRewrite => match &filter.url_rewrite {
            Some(rewrite) => {
                Filter::Rewrite { hostname: rewrite.hostname.clone(), path: rewrite.path.as_ref().map(path_modifier) }
            }
            None => Filter::Incomplete("urlRewrite"),
        },
    }
}

fn path_modifier(path: &api::PathModifier) -> PathModifier {
    match path.r#type {
        api::PathModifierType::ReplaceFullPath => match &path.replace_full_path {
            Some(full) => PathModifier::Complete(PathRewrite::Full(full.clone())),
            None => PathModifier::Incomplete("replaceFullPath"),
        },
        api::PathModifierType::ReplacePrefixMatch => match &path.replace_prefix_match {
            Some(prefix) => PathModifier::Complete(PathRewrite::Prefix(prefix.clone())),
            None => PathModifier::Incomplete("replacePrefixMatch"),
        },
    }
}

fn header_changes(changes: &api::HeaderModifier) -> HeaderChanges {
    let pairs = |headers: &[api::HttpHeader]| -> Vec<(String, String)> {
        headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect()
    };
    HeaderChanges { set: pairs(&changes.set), add: pairs(&changes.add), remove: changes.remove.clone() }
}

fn backend(backend: &BackendRef) -> BackendShape {
    BackendShape {
        group: backend.group.clone(),
        kind: backend.kind.clone(),
        namespace: backend.namespace.clone(),
        name: backend.name.clone(),
        port: backend.port,
        weight: backend.weight,
        filters: Vec::new(),
    }
}
