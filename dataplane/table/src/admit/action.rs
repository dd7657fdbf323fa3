//! What rules do: forwards, redirects, answers, header changes.

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, StatusCode};

use super::Spoken;
use super::rule::{admit_header_name, admit_text};
use crate::action::{
    Action, BackendId, Destination, Forward, HeaderChanges, PathRewrite, Redirect, WebSocketRules, WebTransport,
    WeightedBackend, WeightedBackends,
};
use crate::hostname::Hostname;
use crate::origin::{OriginPattern, Origins};
use crate::refused::{List, Reason};
use crate::wire::{self, BackendProtocol};

/// The greatest weight of a backend (Gateway API, `BackendRef.weight`).
pub const MAX_WEIGHT: u32 = 1_000_000;

/// `without_prefix` is the index of a match of the rule that is not by prefix, if there is one.
pub(super) fn admit_action(
    action: wire::Action,
    without_prefix: Option<usize>,
    backends: &Spoken,
) -> Result<Action, Reason> {
    Ok(match action {
        wire::Action::Forward(forward) => Action::Forward(admit_forward(forward, without_prefix, backends)?),
        wire::Action::Redirect(redirect) => Action::Redirect(admit_redirect(redirect, without_prefix)?),
        wire::Action::Respond(status) => Action::Respond(admit_status(status)?),
        wire::Action::WebTransport(session) => {
            Action::WebTransport(admit_webtransport(session, without_prefix, backends)?)
        }
    })
}

/// RFC 9110 section 15: 1xx is not final, and there is no class above 5xx.
fn admit_status(status: u16) -> Result<StatusCode, Reason> {
    match StatusCode::from_u16(status) {
        Ok(code) if (200..600).contains(&status) => Ok(code),
        _ => Err(Reason::Status(status)),
    }
}

fn admit_forward(
    forward: wire::Forward,
    without_prefix: Option<usize>,
    known_backends: &Spoken,
) -> Result<Forward, Reason> {
    const SPOKEN: &[BackendProtocol] = &[BackendProtocol::Http1, BackendProtocol::H2c];
    Ok(Forward {
        backends: admit_backends(forward.backends, known_backends, SPOKEN)?,
        rewrite_host: forward.rewrite_host.as_deref().map(admit_host_value).transpose()?,
        rewrite_path: forward.rewrite_path.map(|path| admit_rewrite(path, without_prefix)).transpose()?,
        request_timeout_ms: forward.request_timeout_ms,
        backend_timeout_ms: forward.backend_timeout_ms,
        websocket: admit_websocket(forward.websocket)?,
    })
}

fn admit_webtransport(
    session: wire::WebTransport,
    without_prefix: Option<usize>,
    known_backends: &Spoken,
) -> Result<WebTransport, Reason> {
    let backends = |backends, spoken| admit_backends(backends, known_backends, &[spoken]);
    Ok(WebTransport {
        origins: admit_origins(session.origins)?,
        destination: match session.destination {
            wire::Destination::Session { backends: of } => Destination::Session(backends(of, BackendProtocol::Http3)?),
            wire::Destination::Streams { tcp, udp } => Destination::Streams {
                tcp: backends(tcp, BackendProtocol::Stream)?,
                udp: backends(udp, BackendProtocol::Datagram)?,
            },
        },
        rewrite_host: session.rewrite_host.as_deref().map(admit_host_value).transpose()?,
        rewrite_path: session.rewrite_path.map(|path| admit_rewrite(path, without_prefix)).transpose()?,
        open_timeout_ms: session.open_timeout_ms,
        idle_timeout_ms: session.idle_timeout_ms,
        lifetime_ms: session.lifetime_ms,
        limits: session.limits,
    })
}

/// Backends of which each speaks one of `spoken`.
fn admit_backends(
    backends: Vec<wire::WeightedBackend>,
    known: &Spoken,
    spoken: &[BackendProtocol],
) -> Result<WeightedBackends, Reason> {
    List::WeightedBackends.check(backends.len())?;
    let backends = backends.into_iter().map(|backend| admit_weighted(backend, known, spoken));
    Ok(backends.collect::<Result<Vec<_>, _>>()?.into())
}

fn admit_weighted(
    weighted: wire::WeightedBackend,
    known: &Spoken,
    spoken: &[BackendProtocol],
) -> Result<WeightedBackend, Reason> {
    if weighted.weight > MAX_WEIGHT {
        return Err(Reason::Weight(weighted.weight));
    }
    let shared = |id: String| -> Result<BackendId, Reason> {
        match known.get_key_value(id.as_str()) {
            Some((shared, protocol)) if spoken.contains(protocol) => Ok(shared.clone()),
            Some((_, protocol)) => Err(Reason::BackendSpeaks { id, protocol: *protocol }),
            None => Err(Reason::UnknownBackend(id)),
        }
    };
    Ok(WeightedBackend {
        backend: weighted.backend.map(shared).transpose()?,
        weight: weighted.weight,
        request_headers: admit_header_changes(weighted.request_headers)?,
        response_headers: admit_header_changes(weighted.response_headers)?,
    })
}

fn admit_websocket(rules: wire::WebSocketRules) -> Result<WebSocketRules, Reason> {
    Ok(WebSocketRules {
        origins: admit_origins(rules.origins)?,
        handshake_timeout_ms: rules.handshake_timeout_ms,
        idle_timeout_ms: rules.idle_timeout_ms,
        lifetime_ms: rules.lifetime_ms,
    })
}

fn admit_origins(origins: Vec<String>) -> Result<Origins, Reason> {
    List::Origins.check(origins.len())?;
    let origin =
        |text: String| OriginPattern::try_from(text.as_str()).map_err(|fault| Reason::Origin { origin: text, fault });
    origins.into_iter().map(origin).collect()
}

fn admit_redirect(redirect: wire::Redirect, without_prefix: Option<usize>) -> Result<Redirect, Reason> {
    let status = match redirect.status {
        301 | 302 | 303 | 307 | 308 => admit_status(redirect.status)?,
        other => return Err(Reason::RedirectStatus(other)),
    };
    let scheme = match redirect.scheme {
        None => None,
        Some(text) if text == "http" => Some(Scheme::HTTP),
        Some(text) if text == "https" => Some(Scheme::HTTPS),
        Some(text) => return Err(Reason::Scheme(text)),
    };
    if redirect.port == Some(0) {
        return Err(Reason::PortZero);
    }
    let host = redirect.host.as_deref().map(admit_hostname).transpose()?;
    Ok(Redirect {
        scheme,
        host: host.map(|host| host.as_str().to_owned()),
        path: redirect.path.map(|path| admit_rewrite(path, without_prefix)).transpose()?,
        port: redirect.port,
        status,
    })
}

fn admit_hostname(text: &str) -> Result<Hostname, Reason> {
    Hostname::try_from(text).map_err(|fault| Reason::Hostname { host: text.to_owned(), fault })
}

fn admit_host_value(text: &str) -> Result<HeaderValue, Reason> {
    let host = admit_hostname(text)?;
    Ok(HeaderValue::from_str(host.as_str()).expect("letters, digits, hyphens and dots are field octets"))
}

fn admit_rewrite(path: wire::PathRewrite, without_prefix: Option<usize>) -> Result<PathRewrite, Reason> {
    Ok(match path {
        wire::PathRewrite::Full(text) => PathRewrite::Full(admit_new_path(text)?),
        wire::PathRewrite::Prefix(text) => {
            if let Some(at) = without_prefix {
                return Err(Reason::PrefixRewriteWithoutPrefix(at));
            }
            // Gateway API, HTTPPathModifier: an empty replacement takes the prefix away.
            PathRewrite::Prefix(if text.is_empty() { text } else { admit_new_path(text)? })
        }
    })
}

/// What is written must be legal as it stands: nobody escapes it later.
fn admit_new_path(text: String) -> Result<String, Reason> {
    admit_text(&text)?;
    let parsed = PathAndQuery::try_from(text.as_str());
    match parsed {
        Ok(parsed) if text.starts_with('/') && text.is_ascii() && parsed.path() == text => Ok(text),
        _ => Err(Reason::RewritePath(text)),
    }
}

pub(super) fn admit_header_changes(changes: wire::HeaderChanges) -> Result<HeaderChanges, Reason> {
    List::HeaderChanges.check(changes.set.len() + changes.add.len() + changes.remove.len())?;
    let fields = |fields: Vec<(String, String)>| fields.into_iter().map(admit_field).collect::<Result<_, _>>();
    Ok(HeaderChanges {
        set: fields(changes.set)?,
        add: fields(changes.add)?,
        remove: changes.remove.iter().map(|name| admit_header_name(name)).collect::<Result<_, _>>()?,
    })
}

fn admit_field((name, value): (String, String)) -> Result<(HeaderName, HeaderValue), Reason> {
    let name = admit_header_name(&name)?;
    admit_text(&value)?;
    match HeaderValue::from_str(&value) {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(Reason::HeaderValue(name.to_string())),
    }
}
