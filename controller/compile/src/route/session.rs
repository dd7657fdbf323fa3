//! What a rule for WebTransport sessions does, checked and in the table's form.
//!
//! Owns which fields belong to which mode, and the bounds of limits. The schema says the same to whoever has an API server.

use headrace_table::wire::{Action, Destination, SessionLimits, WebTransport};

use super::rule::{Filters, Surroundings, Timeouts, invalid, lower_backends};
use super::shape::{RuleShape, SessionLimit, SessionShape, Timeout};
use crate::backend::Purpose;
use crate::diagnosis::Fault;

pub(super) fn lower(
    rule: &RuleShape,
    session: &SessionShape,
    filters: &Filters,
    timeouts: &Timeouts,
    around: &mut Surroundings<'_, '_>,
    refs: &mut Vec<Fault>,
) -> Result<Action, Fault> {
    belongs(rule, session, filters)?;
    let destination = match session.ends_here {
        false => Destination::Session {
            backends: lower_backends("backendRefs", &rule.backends, Purpose::Sessions, around, refs)?,
        },
        true => Destination::Streams {
            tcp: lower_backends("streamBackendRefs", &session.stream_backends, Purpose::Streams, around, refs)?,
            udp: lower_backends("datagramBackendRefs", &session.datagram_backends, Purpose::Datagrams, around, refs)?,
        },
    };
    Ok(Action::WebTransport(WebTransport {
        origins: rule.origins.clone(),
        destination,
        rewrite_host: filters.rewrite_host.clone(),
        rewrite_path: filters.rewrite_path.clone(),
        open_timeout_ms: timeouts.get(Timeout::Open),
        idle_timeout_ms: timeouts.get(Timeout::Idle),
        lifetime_ms: timeouts.get(Timeout::Lifetime),
        limits: lower_limits(&session.limits)?,
    }))
}

/// Whether everything that is set belongs to the rule's mode.
fn belongs(rule: &RuleShape, session: &SessionShape, filters: &Filters) -> Result<(), Fault> {
    let of_streams = [
        ("streamBackendRefs", session.stream_backends.is_empty()),
        ("datagramBackendRefs", session.datagram_backends.is_empty()),
    ];
    if !session.ends_here {
        return match of_streams.iter().find(|(_, is_empty)| !is_empty) {
            Some((field, _)) => Err(invalid(*field, format!("{field} are for mode Streams: use backendRefs"))),
            None => Ok(()),
        };
    }
    if !rule.backends.is_empty() {
        let message = "backendRefs are for mode Session: use streamBackendRefs and datagramBackendRefs";
        return Err(invalid("backendRefs", message));
    }
    if of_streams.iter().all(|(_, is_empty)| *is_empty) {
        return Err(invalid("mode", "mode Streams needs streamBackendRefs, datagramBackendRefs, or both"));
    }
    if filters.request_headers.is_some() || filters.rewrites {
        let message =
            "in mode Streams no request goes to a backend: of the filters only ResponseHeaderModifier can be used";
        return Err(invalid("filters", message));
    }
    Ok(())
}

fn lower_limits(limits: &[(SessionLimit, i32)]) -> Result<SessionLimits, Fault> {
    let mut lowered = SessionLimits::default();
    for (limit, asked) in limits {
        let (field, max) = (limit.field(), limit.max());
        let value = u32::try_from(*asked).ok().filter(|value| (1..=max).contains(value));
        let value = value
            .ok_or_else(|| invalid(format!("limits.{field}"), format!("{field} {asked} must be from 1 to {max}")))?;
        match limit {
            SessionLimit::Streams => lowered.streams = value,
            SessionLimit::OpeningRate => lowered.opening_per_second = value,
            SessionLimit::DatagramSize => lowered.datagram_octets = value,
            SessionLimit::DatagramRate => lowered.datagrams_per_second = value,
        }
    }
    Ok(lowered)
}
