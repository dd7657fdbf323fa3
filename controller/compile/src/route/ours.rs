//! What the rules of our own routes have in common, in the common shape.
//!
//! Owns the translation field by field. It must not judge what it translates.

use headrace_crds::reference::BackendRef;
use headrace_crds::route as api;
use headrace_table::wire::{HeaderChanges, PathRewrite};

use super::shape::{BackendShape, Filter, PathKind, PathModifier, ValueShape};

pub(super) fn path(path: &api::PathMatch) -> (PathKind, String) {
    let kind = match path.r#type {
        api::PathMatchType::Exact => PathKind::Exact,
        api::PathMatchType::PathPrefix => PathKind::Prefix,
        api::PathMatchType::RegularExpression => PathKind::Regex,
    };
    (kind, path.value.clone())
}

pub(super) fn value(value: &api::ValueMatch) -> ValueShape {
    ValueShape {
        name: value.name.clone(),
        value: value.value.clone(),
        regex: value.r#type == api::ValueMatchType::RegularExpression,
    }
}

pub(super) fn filter(filter: &api::RouteFilter) -> Filter {
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

pub(super) fn backend(backend: &BackendRef) -> BackendShape {
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
