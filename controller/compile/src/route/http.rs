//! HTTPRoute in the common shape.
//!
//! Owns the translation field by field. It must not judge what it translates.

use gateway_api::httproutes as api;
use headrace_crds::reference::ParentReference;
use headrace_table::wire::{HeaderChanges, Opens, PathRewrite};

use super::shape::{
    BackendShape, Filter, MatchShape, PathKind, PathModifier, RedirectShape, RuleShape, Shape, Timeout, ValueShape,
};
use crate::age::created;
use crate::gateway::RouteKind;
use crate::status::ObjectRef;
use crate::world::{Key, Kind};

pub(super) fn shape(key: &Key, route: &api::HttpRoute) -> Shape {
    let spec = &route.spec;
    Shape {
        object: ObjectRef::new(Kind::HttpRoute, key),
        kind: RouteKind::Http,
        generation: route.metadata.generation,
        created: created(&route.metadata),
        parents: spec.parent_refs.iter().flatten().map(parent).collect(),
        hostnames: spec.hostnames.clone().unwrap_or_default(),
        rules: match spec.rules.as_deref() {
            // The schema's default: one rule for every request, without backends.
            None | Some([]) => vec![rule(&api::HttpRouteRules::default())],
            Some(rules) => rules.iter().map(rule).collect(),
        },
    }
}

fn parent(parent: &api::HttpRouteParentRefs) -> ParentReference {
    ParentReference {
        group: parent.group.clone(),
        kind: parent.kind.clone(),
        namespace: parent.namespace.clone(),
        name: parent.name.clone(),
        section_name: parent.section_name.clone(),
        port: parent.port,
    }
}

fn rule(rule: &api::HttpRouteRules) -> RuleShape {
    let timeouts = rule.timeouts.as_ref();
    let timeouts = [
        (Timeout::Request, timeouts.and_then(|timeouts| timeouts.request.clone())),
        (Timeout::BackendRequest, timeouts.and_then(|timeouts| timeouts.backend_request.clone())),
    ];
    RuleShape {
        name: rule.name.clone(),
        opens: Opens::Any,
        matches: rule.matches.iter().flatten().map(one_match).collect(),
        filters: rule.filters.iter().flatten().map(rule_filter::filter).collect(),
        backends: rule.backend_refs.iter().flatten().map(backend).collect(),
        origins: Vec::new(),
        session: None,
        timeouts: timeouts.into_iter().filter_map(|(timeout, text)| Some((timeout, text?))).collect(),
    }
}

fn backend(backend: &api::HttpRouteRulesBackendRefs) -> BackendShape {
    BackendShape {
        group: backend.group.clone(),
        kind: backend.kind.clone(),
        namespace: backend.namespace.clone(),
        name: backend.name.clone(),
        port: backend.port,
        weight: backend.weight,
        filters: backend.filters.iter().flatten().map(backend_filter::filter).collect(),
    }
}

fn one_match(found: &api::HttpRouteRulesMatches) -> MatchShape {
    use api::{HttpRouteRulesMatchesHeadersType, HttpRouteRulesMatchesPathType, HttpRouteRulesMatchesQueryParamsType};
    MatchShape {
        path: found.path.as_ref().map(|path| {
            let kind = match path.r#type {
                Some(HttpRouteRulesMatchesPathType::Exact) => PathKind::Exact,
                Some(HttpRouteRulesMatchesPathType::RegularExpression) => PathKind::Regex,
                None | Some(HttpRouteRulesMatchesPathType::PathPrefix) => PathKind::Prefix,
            };
            (kind, path.value.clone().unwrap_or_else(|| "/".to_owned()))
        }),
        method: found.method.as_ref().map(|method| method_name(method).to_owned()),
        headers: found
            .headers
            .iter()
            .flatten()
            .map(|header| ValueShape {
                name: header.name.clone(),
                value: header.value.clone(),
                regex: header.r#type == Some(HttpRouteRulesMatchesHeadersType::RegularExpression),
            })
            .collect(),
        query: found
            .query_params
            .iter()
            .flatten()
            .map(|parameter| ValueShape {
                name: parameter.name.clone(),
                value: parameter.value.clone(),
                regex: parameter.r#type == Some(HttpRouteRulesMatchesQueryParamsType::RegularExpression),
            })
            .collect(),
        subprotocols: Vec::new(),
    }
}

const fn method_name(method: &api::HttpRouteRulesMatchesMethod) -> &'static str {
    use api::HttpRouteRulesMatchesMethod as Method;
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
    }
}

macro_rules! header_changes {
    ($changes:expr) => {
        HeaderChanges {
            set: $changes.set.iter().flatten().map(|header| (header.name.clone(), header.value.clone())).collect(),
            add: $changes.add.iter().flatten().map(|header| (header.name.clone(), header.value.clone())).collect(),
            remove: $changes.remove.clone().unwrap_or_default(),
        }
    };
}

/// gateway-api generates the types of a rule's filters and those of a backend's apart, though they are the same.
macro_rules! filters {
    ($module:ident, $filter:ident, $type:ident, $rewrite_path:ident, $rewrite_type:ident, $redirect:ident,
     $redirect_path:ident, $redirect_type:ident, $scheme:ident) => {
        mod $module {
            use super::*;

            pub(super) fn filter(filter: &api::$filter) -> Filter {
                match filter.r#type {
                    api::$type::RequestHeaderModifier => match &filter.request_header_modifier {
                        Some(changes) => Filter::RequestHeaders(header_changes!(changes)),
                        None => Filter::Incomplete("requestHeaderModifier"),
                    },
                    api::$type::ResponseHeaderModifier => match &filter.response_header_modifier {
                        Some(changes) => Filter::ResponseHeaders(header_changes!(changes)),
                        None => Filter::Incomplete("responseHeaderModifier"),
                    },
                    api::$type::RequestRedirect => match &filter.request_redirect {
                        Some(found) => Filter::Redirect(redirect(found)),
                        None => Filter::Incomplete("requestRedirect"),
                    },
                    api::$type::UrlRewrite => match &filter.url_rewrite {
                        Some(found) => {
                            Filter::Rewrite { hostname: found.hostname.clone(), path: found.path.as_ref().map(path) }
                        }
                        None => Filter::Incomplete("urlRewrite"),
                    },
                    api::$type::ExtensionRef => match &filter.extension_ref {
                        Some(found) => Filter::Extension(format!("{}/{} {}", found.group, found.kind, found.name)),
                        None => Filter::Incomplete("extensionRef"),
                    },
                    api::$type::RequestMirror => Filter::Unsupported("RequestMirror"),
                    api::$type::Cors => Filter::Unsupported("CORS"),
                }
            }

            fn path(path: &api::$rewrite_path) -> PathModifier {
                let full = (path.r#type == api::$rewrite_type::ReplaceFullPath, path.replace_full_path.as_ref());
                modifier(full, path.replace_prefix_match.as_ref())
            }

            fn redirect(redirect: &api::$redirect) -> RedirectShape {
                RedirectShape {
                    scheme: redirect.scheme.as_ref().map(|scheme| match scheme {
                        api::$scheme::Http => "http",
                        api::$scheme::Https => "https",
                    }),
                    hostname: redirect.hostname.clone(),
                    path: redirect.path.as_ref().map(redirect_path),
                    port: redirect.port,
                    status: redirect.status_code,
                }
            }

            fn redirect_path(path: &api::$redirect_path) -> PathModifier {
                let full = (path.r#type == api::$redirect_type::ReplaceFullPath, path.replace_full_path.as_ref());
                modifier(full, path.replace_prefix_match.as_ref())
            }
        }
    };
}

filters!(
    rule_filter,
    HttpRouteRulesFilters,
    HttpRouteRulesFiltersType,
    HttpRouteRulesFiltersUrlRewritePath,
    HttpRouteRulesFiltersUrlRewritePathType,
    HttpRouteRulesFiltersRequestRedirect,
    HttpRouteRulesFiltersRequestRedirectPath,
    HttpRouteRulesFiltersRequestRedirectPathType,
    HttpRouteRulesFiltersRequestRedirectScheme
);

filters!(
    backend_filter,
    HttpRouteRulesBackendRefsFilters,
    HttpRouteRulesBackendRefsFiltersType,
    HttpRouteRulesBackendRefsFiltersUrlRewritePath,
    HttpRouteRulesBackendRefsFiltersUrlRewritePathType,
    HttpRouteRulesBackendRefsFiltersRequestRedirect,
    HttpRouteRulesBackendRefsFiltersRequestRedirectPath,
    HttpRouteRulesBackendRefsFiltersRequestRedirectPathType,
    HttpRouteRulesBackendRefsFiltersRequestRedirectScheme
);

fn modifier((is_full, full): (bool, Option<&String>), prefix: Option<&String>) -> PathModifier {
    match (is_full, full, prefix) {
        (true, Some(full), _) => PathModifier::Complete(PathRewrite::Full(full.clone())),
        (true, None, _) => PathModifier::Incomplete("replaceFullPath"),
        (false, _, Some(prefix)) => PathModifier::Complete(PathRewrite::Prefix(prefix.clone())),
        (false, _, None) => PathModifier::Incomplete("replacePrefixMatch"),
    }
}
