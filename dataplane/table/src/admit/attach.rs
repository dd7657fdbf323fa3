//! Routes and where they are attached.
//!
//! Makes one candidate for each match on each host of each listener. Ordering them is for the lists that they go into.

use std::collections::HashMap;
use std::sync::Arc;

use super::rule::{AdmittedMatch, admit_rule};
use super::{Ids, Spoken, admit_host_pattern, admit_id};
use crate::hostname::HostPattern;
use crate::paths::{Candidate, PathPattern};
use crate::precedence::RouteName;
use crate::refused::{List, Place, Reason, Refused};
use crate::table::{Listener, Route};
use crate::wire;

/// A match where it is to be found.
pub(super) struct Attached {
    /// Index of the listener.
    pub(super) listener: usize,
    pub(super) host: HostPattern,
    pub(super) path: PathPattern,
    pub(super) candidate: Candidate,
}

pub(super) fn admit_routes(
    routes: Vec<wire::Route>,
    listeners: &[Listener],
    backends: &Spoken,
) -> Result<Vec<Attached>, Refused> {
    let by_id: HashMap<&str, usize> = listeners.iter().enumerate().map(|(at, listener)| (&*listener.id, at)).collect();
    let mut seen = Ids::new();
    let mut attached = Vec::new();
    for route in routes {
        let place = || Place::Route(route.id.clone());
        let id: Arc<str> = route.id.as_str().into();
        admit_id(&mut seen, &id).map_err(place().refuses())?;
        let hosts = admit_attachments(&route.attachments, listeners, &by_id).map_err(place().refuses())?;
        List::Rules.check(route.rules.len()).map_err(place().refuses())?;

        let mut rules = Vec::with_capacity(route.rules.len());
        let mut matches = Vec::new();
        for (at, rule) in route.rules.into_iter().enumerate() {
            let (rule, of_rule) = admit_rule(&route.id, at, rule, backends)?;
            rules.push(Arc::new(rule));
            matches.push(of_rule);
        }
        let per_host: usize = matches.iter().map(Vec::len).sum();
        let count = per_host.saturating_mul(hosts.len()).saturating_add(attached.len());
        List::Candidates.check(count).map_err(Place::Table.refuses())?;

        let name = RouteName::from(route.id.as_str());
        let route = Arc::new(Route { id, name, created: route.created, rules });
        for (listener, host) in &hosts {
            attached.extend(on(&route, *listener, host, &matches));
        }
    }
    Ok(attached)
}

/// The listeners and hosts of a route, each pair once.
fn admit_attachments(
    attachments: &[wire::Attachment],
    listeners: &[Listener],
    by_id: &HashMap<&str, usize>,
) -> Result<Vec<(usize, HostPattern)>, Reason> {
    List::Attachments.check(attachments.len())?;
    let mut hosts = Vec::new();
    for attachment in attachments {
        let unknown = || Reason::UnknownListener(attachment.listener.clone());
        let at = *by_id.get(attachment.listener.as_str()).ok_or_else(unknown)?;
        let within = &listeners[at].hostname;
        List::Hostnames.check(attachment.hostnames.len())?;
        // Every host of the listener is what its own pattern says, so that a route which names that pattern and one
        // which names none have the same rank.
        if attachment.hostnames.is_empty() {
            hosts.push((at, within.clone()));
        }
        for text in &attachment.hostnames {
            let host = admit_host_pattern(text)?;
            if !within.covers(&host) {
                let listener = attachment.listener.clone();
                return Err(Reason::HostOutsideListener { host: text.clone(), listener, within: within.to_string() });
            }
            hosts.push((at, host));
        }
    }
    hosts.sort_unstable();
    hosts.dedup();
    Ok(hosts)
}

/// Every match of a route (by rule), on one host of one listener.
fn on(
    route: &Arc<Route>,
    listener: usize,
    host: &HostPattern,
    matches: &[Vec<AdmittedMatch>],
) -> impl Iterator<Item = Attached> {
    let of_rules = matches.iter().enumerate();
    let each = of_rules.flat_map(|(rule, matches)| matches.iter().enumerate().map(move |(at, one)| (rule, at, one)));
    each.map(move |(rule, place, admitted)| Attached {
        listener,
        host: host.clone(),
        path: admitted.path.clone(),
        candidate: Candidate { route: Arc::clone(route), rule, place, conditions: admitted.conditions.clone() },
    })
}
