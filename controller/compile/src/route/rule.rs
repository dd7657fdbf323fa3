//! A rule of a route, checked and in the table's form.
//!
//! Owns what makes a rule invalid, so that it is dropped, and which of its references cannot be used, so that its share of
//! requests gets 500. It must not know where the route is attached.

use gateway_api::Duration;
use headrace_crds::condition::RouteReason;
use headrace_table::MAX_WEIGHT;
use headrace_table::wire::{
    self, Action, Forward, HeaderChanges, Match, PathMatch, PathRewrite, Redirect, Rule, ValueMatch, ValuePattern,
    WebSocketRules, WeightedBackend,
};

use super::shape::{
    BackendShape, Filter, MatchShape, PathKind, PathModifier, RedirectShape, RuleShape, Timeout, ValueShape,
};
use super::{backend_ref, session};
use crate::backend::{Backends, Purpose};
use crate::diagnosis::Fault;
use crate::grant::{Grants, Referrer};
use crate::path;

/// Redirects without a status code are 302 (Gateway API, HTTPRequestRedirectFilter).
const DEFAULT_REDIRECT_STATUS: i64 = 302;

/// What an unresolved filter or backend answers (Gateway API, HTTPRouteFilter.extensionRef and HTTPRouteRule.backendRefs).
const UNRESOLVED_STATUS: u16 = 500;

/// What rules need besides themselves.
pub(super) struct Surroundings<'a, 'w> {
    pub(super) backends: &'a mut Backends<'w>,
    pub(super) grants: &'a Grants<'w>,
    pub(super) route: Referrer<'a>,
}

/// A rule in the table's form, with the references that could not be used.
pub(super) struct Lowered {
    pub(super) rule: Rule,
    pub(super) refs: Vec<Fault>,
}

/// The rule, or why it is dropped. Fields are relative to the rule.
pub(super) fn lower(rule: &RuleShape, around: &mut Surroundings<'_, '_>) -> Result<Lowered, Fault> {
    let matches = lower_matches(rule)?;
    let filters = gather(&rule.filters, &rule.matches)?;
    let mut refs = filters.extensions.clone();
    let timeouts = lower_timeouts(&rule.timeouts)?;
    let action = match &rule.session {
        Some(session) => session::lower(rule, session, &filters, &timeouts, around, &mut refs)?,
        None => lower_forward(rule, &filters, &timeouts, around, &mut refs)?,
    };
    let rule = Rule {
        name: rule.name.clone().filter(|name| !name.is_empty()),
        matches,
        request_headers: filters.request_headers.unwrap_or_default(),
        response_headers: filters.response_headers.unwrap_or_default(),
        action,
    };
    Ok(Lowered { rule, refs })
}

fn lower_forward(
    rule: &RuleShape,
    filters: &Filters,
    timeouts: &Timeouts,
    around: &mut Surroundings<'_, '_>,
    refs: &mut Vec<Fault>,
) -> Result<Action, Fault> {
    let backends = lower_backends("backendRefs", &rule.backends, Purpose::Requests, around, refs)?;
    Ok(match (refs.iter().any(|fault| fault.field.starts_with("filters")), &filters.redirect) {
        (true, _) => Action::Respond(UNRESOLVED_STATUS),
        (false, Some(redirect)) if rule.backends.is_empty() => Action::Redirect(redirect.clone()),
        (false, Some(_)) => {
            return Err(invalid("backendRefs", "a rule with RequestRedirect has no backends: remove one"));
        }
        (false, None) => Action::Forward(Forward {
            backends,
            rewrite_host: filters.rewrite_host.clone(),
            rewrite_path: filters.rewrite_path.clone(),
            request_timeout_ms: timeouts.get(Timeout::Request),
            backend_timeout_ms: timeouts.get(Timeout::BackendRequest),
            websocket: WebSocketRules {
                origins: rule.origins.clone(),
                handshake_timeout_ms: timeouts.get(Timeout::Handshake),
                idle_timeout_ms: timeouts.get(Timeout::Idle),
                lifetime_ms: timeouts.get(Timeout::Lifetime),
            },
        }),
    })
}

pub(super) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Fault {
    Fault::new(field, RouteReason::UnsupportedValue, message)
}

fn lower_matches(rule: &RuleShape) -> Result<Vec<Match>, Fault> {
    if rule.matches.is_empty() {
        return Ok(vec![lower_match(&MatchShape::default(), rule.opens)?]);
    }
    let matches = rule.matches.iter().enumerate();
    matches
        .map(|(at, one)| lower_match(one, rule.opens).map_err(|fault| fault.under(&format!("matches[{at}]"))))
        .collect()
}

fn lower_match(shape: &MatchShape, opens: wire::Opens) -> Result<Match, Fault> {
    let path_match = match &shape.path {
        None => PathMatch::Prefix("/".to_owned()),
        Some((PathKind::Regex, pattern)) => PathMatch::Regex(pattern.clone()),
        Some((PathKind::Exact, text)) => path::exact(text).map_err(|message| invalid("path.value", message))?,
        Some((PathKind::Prefix, text)) => path::prefix(text).map_err(|message| invalid("path.value", message))?,
    };
    let mut subprotocols = shape.subprotocols.clone();
    subprotocols.sort();
    subprotocols.dedup();
    Ok(Match {
        path: path_match,
        method: shape.method.clone(),
        headers: lower_values(&shape.headers, |name| name.to_ascii_lowercase()),
        query: lower_values(&shape.query, str::to_owned),
        opens,
        subprotocols,
    })
}

/// Of equal names the first counts (Gateway API, HTTPHeaderMatch.name and HTTPQueryParamMatch.name).
fn lower_values(values: &[ValueShape], name_of: impl Fn(&str) -> String) -> Vec<ValueMatch> {
    let mut lowered: Vec<ValueMatch> = Vec::with_capacity(values.len());
    for value in values {
        let name = name_of(&value.name);
        if lowered.iter().any(|other| other.name == name) {
            continue;
        }
        let pattern = match value.regex {
            true => ValuePattern::Regex(value.value.clone()),
            false => ValuePattern::Exact(value.value.clone()),
        };
        lowered.push(ValueMatch { name, value: pattern });
    }
    lowered.sort();
    lowered
}

/// The filters of a rule by what they do.
#[derive(Default)]
pub(super) struct Filters {
    pub(super) request_headers: Option<HeaderChanges>,
    response_headers: Option<HeaderChanges>,
    redirect: Option<Redirect>,
    pub(super) rewrite_host: Option<String>,
    pub(super) rewrite_path: Option<PathRewrite>,
    pub(super) rewrites: bool,
    /// References to other kinds of filters, none of which exist.
    extensions: Vec<Fault>,
    /// Types that were seen.
    seen: Vec<&'static str>,
}

fn gather(filters: &[Filter], matches: &[MatchShape]) -> Result<Filters, Fault> {
    let mut gathered = Filters::default();
    for (at, filter) in filters.iter().enumerate() {
        let field = format!("filters[{at}]");
        gathered.take(filter, matches).map_err(|fault| fault.under(&field))?;
        if let Filter::Extension(name) = filter {
            let message = format!("{name} is not a filter that exists here: remove it. Requests get 500");
            gathered.extensions.push(Fault::new(field, RouteReason::InvalidKind, message));
        }
    }
    if gathered.redirect.is_some() && gathered.rewrites {
        let message = "RequestRedirect and URLRewrite exclude one another: remove one";
        return Err(Fault::new("filters", RouteReason::IncompatibleFilters, message));
    }
    Ok(gathered)
}

impl Filters {
    fn take(&mut self, filter: &Filter, matches: &[MatchShape]) -> Result<(), Fault> {
        let r#type = match filter {
            Filter::RequestHeaders(_) => "RequestHeaderModifier",
            Filter::ResponseHeaders(_) => "ResponseHeaderModifier",
            Filter::Redirect(_) => "RequestRedirect",
            Filter::Rewrite { .. } => "URLRewrite",
            Filter::Extension(_) => return Ok(()),
            Filter::Unsupported(name) => {
                return Err(invalid("type", format!("filter {name} is not supported: remove it")));
            }
            Filter::Incomplete(field) => {
                return Err(invalid(*field, format!("{field} must be set for a filter of this type")));
            }
        };
        if self.seen.contains(&r#type) {
            return Err(invalid("type", format!("{type} can be used once in a rule: put both into one")));
        }
        self.seen.push(r#type);
        match filter {
            Filter::RequestHeaders(changes) => self.request_headers = Some(changes.clone()),
            Filter::ResponseHeaders(changes) => self.response_headers = Some(changes.clone()),
            Filter::Redirect(redirect) => self.redirect = Some(lower_redirect(redirect, matches)?),
            Filter::Rewrite { hostname, path } => {
                self.rewrites = true;
                self.rewrite_host.clone_from(hostname);
                let path = path.as_ref().map(|path| lower_path_modifier(path, matches));
                self.rewrite_path = path.transpose().map_err(|fault| fault.under("urlRewrite.path"))?;
            }
            Filter::Extension(_) | Filter::Unsupported(_) | Filter::Incomplete(_) => {}
        }
        Ok(())
    }
}

fn lower_redirect(redirect: &RedirectShape, matches: &[MatchShape]) -> Result<Redirect, Fault> {
    let status = redirect.status.unwrap_or(DEFAULT_REDIRECT_STATUS);
    let status = u16::try_from(status).map_err(|_| {
        invalid("requestRedirect.statusCode", format!("{status} does not redirect: use 301, 302, 303, 307 or 308"))
    })?;
    let port = redirect.port.map(|port| match u16::try_from(port) {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(invalid("requestRedirect.port", format!("{port} is not a port: use one from 1 to 65535"))),
    });
    let path = redirect.path.as_ref().map(|path| lower_path_modifier(path, matches));
    Ok(Redirect {
        scheme: redirect.scheme.map(str::to_owned),
        host: redirect.hostname.clone(),
        path: path.transpose().map_err(|fault| fault.under("requestRedirect.path"))?,
        port: port.transpose()?,
        status,
    })
}

fn lower_path_modifier(modifier: &PathModifier, matches: &[MatchShape]) -> Result<PathRewrite, Fault> {
    match modifier {
        PathModifier::Incomplete(field) => Err(invalid(*field, format!("{field} must be set for this type"))),
        // Gateway API lets this stand only where there is one prefix that could be meant.
        PathModifier::Complete(PathRewrite::Prefix(_)) if !has_one_prefix(matches) => {
            Err(invalid("replacePrefixMatch", "ReplacePrefixMatch needs exactly one match, of path type PathPrefix"))
        }
        PathModifier::Complete(PathRewrite::Full(path)) if path.is_empty() => {
            // An empty path is the root (RFC 9110, section 4.2.3).
            Ok(PathRewrite::Full("/".to_owned()))
        }
        PathModifier::Complete(rewrite) => Ok(rewrite.clone()),
    }
}

fn has_one_prefix(matches: &[MatchShape]) -> bool {
    match matches {
        // The default match is the prefix /.
        [] => true,
        [one] => one.path.as_ref().is_none_or(|(kind, _)| *kind == PathKind::Prefix),
        _ => false,
    }
}

/// The references under that field.
pub(super) fn lower_backends(
    list: &str,
    backends: &[BackendShape],
    purpose: Purpose,
    around: &mut Surroundings<'_, '_>,
    refs: &mut Vec<Fault>,
) -> Result<Vec<WeightedBackend>, Fault> {
    let mut lowered = Vec::with_capacity(backends.len());
    for (at, shape) in backends.iter().enumerate() {
        let field = format!("{list}[{at}]");
        let weight = shape.weight.unwrap_or(1);
        let weight = u32::try_from(weight).ok().filter(|weight| *weight <= MAX_WEIGHT).ok_or_else(|| {
            invalid(format!("{field}.weight"), format!("weight {weight} must be from 0 to {MAX_WEIGHT}"))
        })?;
        let filters = gather_of_backend(&shape.filters).map_err(|fault| fault.under(&field))?;
        let extension = filters.extensions.into_iter().next();
        let resolved = match extension {
            Some(extension) => Err(extension),
            None => backend_ref::resolve(shape, purpose, around),
        };
        let backend = resolved.map_err(|fault| refs.push(fault.under(&field))).ok();
        lowered.push(WeightedBackend {
            backend,
            weight,
            request_headers: filters.request_headers.unwrap_or_default(),
            response_headers: filters.response_headers.unwrap_or_default(),
        });
    }
    Ok(lowered)
}

/// Of a backend's filters only header modifiers are supported.
fn gather_of_backend(filters: &[Filter]) -> Result<Filters, Fault> {
    for (at, filter) in filters.iter().enumerate() {
        let r#type = match filter {
            Filter::Redirect(_) => "RequestRedirect",
            Filter::Rewrite { .. } => "URLRewrite",
            _ => continue,
        };
        let message = format!("filter {type} is not supported on a backend: use it on the rule");
        return Err(invalid(format!("filters[{at}].type"), message));
    }
    gather(filters, &[])
}

/// Timeouts in milliseconds.
pub(super) struct Timeouts(Vec<(Timeout, u64)>);

impl Timeouts {
    /// 0, which means no limit, where none was asked for.
    pub(super) fn get(&self, timeout: Timeout) -> u64 {
        self.0.iter().find(|(name, _)| *name == timeout).map_or(0, |(_, ms)| *ms)
    }
}

fn lower_timeouts(timeouts: &[(Timeout, String)]) -> Result<Timeouts, Fault> {
    let parsed = timeouts.iter().map(|(timeout, text)| match text.parse::<Duration>() {
        Ok(duration) => Ok((*timeout, u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))),
        Err(_) => Err(invalid(
            format!("timeouts.{}", timeout.field()),
            format!("{text:?} is not a duration: write it as 500ms, 10s or 1h30m (GEP-2257)"),
        )),
    });
    let parsed = Timeouts(parsed.collect::<Result<_, _>>()?);
    let (request, backend) = (parsed.get(Timeout::Request), parsed.get(Timeout::BackendRequest));
    if request != 0 && backend > request {
        let message = "backendRequest must not be longer than request";
        return Err(invalid("timeouts.backendRequest", message));
    }
    Ok(parsed)
}
