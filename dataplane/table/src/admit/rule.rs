//! Rules and their matches.

use std::sync::Arc;

use http::{HeaderName, Method};

use super::action::{admit_action, admit_header_changes};
use super::{MAX_TEXT, Spoken};
use crate::conditions::Conditions;
use crate::paths::PathPattern;
use crate::pattern::{self, ValuePattern};
use crate::refused::{List, Place, Reason, Refused};
use crate::table::Rule;
use crate::wire;

/// A match in checked form.
pub(super) struct AdmittedMatch {
    pub(super) path: PathPattern,
    /// Absent where the path is all that is asked for.
    pub(super) conditions: Option<Arc<Conditions>>,
}

pub(super) fn admit_rule(
    route: &str,
    at: usize,
    rule: wire::Rule,
    backends: &Spoken,
) -> Result<(Rule, Vec<AdmittedMatch>), Refused> {
    let place = || Place::Rule(route.to_owned(), at);
    if rule.matches.is_empty() {
        return Err(place().refuses()(Reason::NoMatches));
    }
    List::Matches.check(rule.matches.len()).map_err(place().refuses())?;
    let mut matches = Vec::with_capacity(rule.matches.len());
    for (index, wire_match) in rule.matches.iter().enumerate() {
        let place = Place::Match(route.to_owned(), at, index);
        matches.push(admit_match(wire_match).map_err(place.refuses())?);
    }
    admit_opening(&rule).map_err(place().refuses())?;
    let without_prefix = rule.matches.iter().position(|one| !matches!(one.path, wire::PathMatch::Prefix(_)));
    let admit = || -> Result<Rule, Reason> {
        Ok(Rule {
            name: rule.name.map(Arc::from),
            request_headers: admit_header_changes(rule.request_headers)?,
            response_headers: admit_header_changes(rule.response_headers)?,
            action: admit_action(rule.action, without_prefix, backends)?,
        })
    };
    Ok((admit().map_err(place().refuses())?, matches))
}

/// What forwards requests cannot open sessions, and the other way round. Any rule may redirect or refuse.
fn admit_opening(rule: &wire::Rule) -> Result<(), Reason> {
    let session = |one: &wire::Match| one.opens == wire::Opens::WebTransport;
    let stray = match rule.action {
        wire::Action::WebTransport(_) => rule.matches.iter().position(|one| !session(one)),
        wire::Action::Forward(_) => rule.matches.iter().position(session),
        wire::Action::Redirect(_) | wire::Action::Respond(_) => None,
    };
    stray.map_or(Ok(()), |at| Err(Reason::ActionCannotOpen(at)))
}

fn admit_match(wire_match: &wire::Match) -> Result<AdmittedMatch, Reason> {
    let conditions = Conditions {
        opens: wire_match.opens,
        method: wire_match.method.as_deref().map(admit_method).transpose()?,
        headers: admit_headers(&wire_match.headers)?,
        query: admit_query(&wire_match.query)?,
        subprotocols: admit_subprotocols(wire_match)?,
    };
    Ok(AdmittedMatch {
        path: admit_path(&wire_match.path)?,
        conditions: (!conditions.are_none()).then(|| Arc::new(conditions)),
    })
}

fn admit_method(text: &str) -> Result<Method, Reason> {
    Method::from_bytes(text.as_bytes()).map_err(|_| Reason::Method(text.to_owned()))
}

fn admit_path(path: &wire::PathMatch) -> Result<PathPattern, Reason> {
    Ok(match path {
        wire::PathMatch::Exact(path) => PathPattern::Exact(admit_path_text(path)?.into()),
        wire::PathMatch::Prefix(prefix) => PathPattern::Prefix(admit_path_text(prefix)?.into()),
        wire::PathMatch::Regex(text) => {
            let regex = pattern::whole(admit_text(text)?);
            let regex = regex.map_err(|fault| Reason::Regex { pattern: text.clone(), fault })?;
            PathPattern::Regex(Arc::new(regex))
        }
    })
}

fn admit_path_text(text: &str) -> Result<&str, Reason> {
    match admit_text(text)? {
        path if path.starts_with('/') && !path.contains(['?', '#']) => Ok(path),
        _ => Err(Reason::Path(text.to_owned())),
    }
}

/// Gateway API, `HTTPRouteMatch.headers`: "If multiple entries specify equivalent header names, only the first entry with
/// an equivalent name MUST be considered for a match." So the others are gone from here on, and do not count for
/// precedence.
fn admit_headers(headers: &[wire::ValueMatch]) -> Result<Vec<(HeaderName, ValuePattern)>, Reason> {
    List::HeaderMatches.check(headers.len())?;
    let mut admitted = Vec::<(HeaderName, ValuePattern)>::new();
    for header in headers {
        let name = admit_header_name(&header.name)?;
        let pattern = admit_value(&header.value)?;
        if !admitted.iter().any(|(other, _)| *other == name) {
            admitted.push((name, pattern));
        }
    }
    Ok(admitted)
}

/// The names of a match's query parameters, which are octets, with their values.
type QueryMatches = Vec<(Box<[u8]>, ValuePattern)>;

/// `HTTPRouteMatch.queryParams` has the same clause as headers, with names compared as they are.
fn admit_query(query: &[wire::ValueMatch]) -> Result<QueryMatches, Reason> {
    List::QueryMatches.check(query.len())?;
    let mut admitted = QueryMatches::new();
    for parameter in query {
        let name = admit_text(&parameter.name)?.as_bytes();
        if name.is_empty() {
            return Err(Reason::QueryName);
        }
        let pattern = admit_value(&parameter.value)?;
        if !admitted.iter().any(|(other, _)| **other == *name) {
            admitted.push((name.into(), pattern));
        }
    }
    Ok(admitted)
}

fn admit_value(value: &wire::ValuePattern) -> Result<ValuePattern, Reason> {
    let (wire::ValuePattern::Exact(text) | wire::ValuePattern::Regex(text)) = value;
    admit_text(text)?;
    ValuePattern::try_from(value).map_err(|fault| Reason::Regex { pattern: text.clone(), fault })
}

/// RFC 6455 section 4.1: subprotocols are tokens. Those of sessions are strings of a structured field, which is printable
/// ASCII (RFC 9651 section 3.3.3).
fn admit_subprotocols(wire_match: &wire::Match) -> Result<Vec<Box<str>>, Reason> {
    let subprotocols = &wire_match.subprotocols;
    List::Subprotocols.check(subprotocols.len())?;
    let legal = match wire_match.opens {
        wire::Opens::Any if subprotocols.is_empty() => return Ok(Vec::new()),
        wire::Opens::Any => return Err(Reason::SubprotocolsWithoutWebSocket),
        wire::Opens::WebSocket => is_token,
        wire::Opens::WebTransport => is_printable,
    };
    let admit = |text: &String| match admit_text(text)? {
        text if legal(text) => Ok(text.into()),
        _ => Err(Reason::Subprotocol(text.clone())),
    };
    subprotocols.iter().map(admit).collect()
}

/// A field name is a token too (RFC 9110 section 5.1).
fn is_token(text: &str) -> bool {
    HeaderName::from_bytes(text.as_bytes()).is_ok()
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|octet| matches!(octet, b' '..=b'~'))
}

pub(super) fn admit_header_name(text: &str) -> Result<HeaderName, Reason> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| Reason::HeaderName(text.to_owned()))
}

pub(super) fn admit_text(text: &str) -> Result<&str, Reason> {
    if text.len() > MAX_TEXT { Err(Reason::TooLong(text.len())) } else { Ok(text) }
}
