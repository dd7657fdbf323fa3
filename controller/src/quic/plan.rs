//! What becomes of a pod set's keys and server IDs: from what is kept, what is seen and what pods say, to what is to be kept
//! instead.
//!
//! Pure: the time is an argument, and so is every octet of chance. What comes out is written down before anything of it is
//! published, and whoever writes second plans anew. It must not know of the API server or of tables.
//!
//! A pod counts for as long as its object is there, whether or not it is connected: what is known of it is what it said to
//! this leader, and before that nothing, so that nothing goes on without it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use headrace_cid::{ConfigId, ConfigSet, Form, NotNow, Phase, Report, Rotation};
use headrace_push::Member;
use jiff::{SignedDuration, Timestamp};

use super::kept::{Allotted, Configuration, Kept, Unusable};
use super::ring::{Named, Ring};
use crate::publish::told::Told;

/// How long a pod stays in tables after it is gone: for as long its peers tell its clients that their connections are
/// over. A client that sends nothing for this long has found out by itself.
pub(crate) const GONE_FOR: SignedDuration = SignedDuration::from_mins(10);

/// For packets that are on their way between pods, and for pods that take a while to use a new table.
const HOP_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// How long what was issued with the secrets of tokens and tickets is accepted: a day, after which a client that comes back
/// pays for one round trip more.
const TOKEN_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// Server IDs that pods brought along and whose allotments are counted; the load balancer draws them from 2^64.
const MAX_BROUGHT: usize = 4096;

/// A pod as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) name: String,
    /// Once it has a network.
    pub(crate) address: Option<IpAddr>,
    /// Whether it is to go.
    pub(crate) is_terminating: bool,
    /// Whether its containers have ended for good.
    pub(crate) has_ended: bool,
}

/// What there is to go by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'a> {
    /// Every pod of the set, by UID.
    pub(crate) seen: &'a BTreeMap<String, Seen>,
    /// What pods said, by UID.
    pub(crate) told: &'a BTreeMap<String, Told>,
    /// The word with which somebody asks for a rotation.
    pub(crate) asked: Option<&'a str>,
    /// Between rotations. `None`: only on demand.
    pub(crate) period: Option<SignedDuration>,
    pub(crate) now: Timestamp,
}

/// What is to be kept, and what is to be told.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) kept: Kept,
    /// Pods that bring the server ID of another pod along, by UID. They get none.
    pub(crate) refused: BTreeMap<String, Refused>,
    /// The names of pods that a rotation waits for.
    pub(crate) waits_for: Vec<String>,
}

/// A pod that brings along what another has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Its name.
    pub(crate) pod: String,
    /// The other's name.
    pub(crate) holder: String,
}

/// The first state of a pod set.
pub(crate) fn found(now: Timestamp, draw: &mut impl FnMut(&mut [u8])) -> Kept {
    let prefix = drawn::<4>(draw);
    Kept::new(prefix, || drawn::<32>(draw), now)
}

/// The next state.
pub(crate) fn plan(
    kept: &Kept,
    situation: &Situation<'_>,
    draw: &mut impl FnMut(&mut [u8]),
) -> Result<Planned, Unusable> {
    let mut next = kept.clone();
    let refused = allot(&mut next, situation);
    let reports = reports(situation);
    rotate(&mut next, situation, &reports, draw)?;
    let newest = waited_for(&next);
    let waits_for = newest.map_or(Vec::new(), |since| {
        let behind = reports.iter().filter(|(_, report)| report.holds < since);
        behind.map(|(uid, _)| situation.seen[*uid].name.clone()).collect()
    });
    Ok(Planned { kept: next, refused, waits_for })
}

/// The last thing that pods are to hold for something to go on.
fn waited_for(kept: &Kept) -> Option<u64> {
    let standings = kept.configurations.values();
    let waits = standings.filter(|one| !matches!(Phase::from(one.phase), Phase::Encoding));
    let rings = [&kept.hop, &kept.tokens, &kept.tickets].into_iter().filter_map(Ring::awaited);
    waits.map(|one| one.since).chain(rings).max()
}

/// Pods that may serve, with what is known of each. One without an address has never begun: it holds nothing, and will
/// begin with the newest table.
fn reports<'a>(situation: &Situation<'a>) -> Vec<(&'a str, Report)> {
    let serving = situation
        .seen
        .iter()
        .filter(|(uid, seen)| !seen.has_ended && (seen.address.is_some() || situation.told.contains_key(*uid)));
    serving.map(|(uid, _)| (uid.as_str(), situation.told.get(uid).map(report).unwrap_or_default())).collect()
}

fn report(told: &Told) -> Report {
    let uses = told.report.map_or(0, |report| report.uses);
    let uses: ConfigSet = ConfigId::all().filter(|id| uses >> id.number() & 1 == 1).collect();
    Report { holds: told.holds(), uses }
}

/// Server IDs: who is new gets one, who is gone keeps it for a while.
fn allot(kept: &mut Kept, situation: &Situation<'_>) -> BTreeMap<String, Refused> {
    let now = situation.now;
    for (uid, pod) in &mut kept.pods {
        let seen = situation.seen.get(uid).filter(|seen| !seen.has_ended);
        pod.gone = match (seen, pod.gone) {
            (Some(_), _) => None,
            // A clock that was set back must not keep it for longer than that.
            (None, Some(since)) => Some(since.min(now)),
            (None, None) => Some(now),
        };
        if let Some(seen) = seen {
            pod.is_terminating = seen.is_terminating;
            pod.address = seen.address;
        }
        if let Some(member) = situation.told.get(uid).and_then(|told| told.member.as_ref()) {
            pod.hop_port = member.hop_port;
        }
    }
    kept.pods.retain(|_, pod| pod.gone.is_none_or(|since| now < since + GONE_FOR));

    let mut refused = BTreeMap::new();
    for (uid, seen) in situation.seen.iter().filter(|(_, seen)| !seen.has_ended) {
        let member = situation.told.get(uid).and_then(|told| told.member.as_ref());
        let brought = member.and_then(|member| member.server_id.as_deref()).map(hex);
        if let Err(holder) = allot_one(kept, uid, seen, member, brought) {
            refused.insert(uid.clone(), Refused { pod: seen.name.clone(), holder });
        }
    }
    refused
}

/// Gives a pod its server ID, if it has none or brought another. `Err` is the name of the pod that has the one it brought.
fn allot_one(
    kept: &mut Kept,
    uid: &str,
    seen: &Seen,
    member: Option<&Member>,
    brought: Option<String>,
) -> Result<(), String> {
    let has = kept.pods.get(uid);
    let is_settled = has.is_some_and(|has| match &brought {
        Some(brought) => has.server_id == *brought,
        None => true,
    });
    if is_settled {
        return Ok(());
    }
    let (server_id, allotment) = match &brought {
        Some(brought) => {
            let holder = kept.pods.iter().find(|(other, pod)| *other != uid && pod.server_id == *brought);
            if let Some((_, holder)) = holder.filter(|(_, holder)| holder.gone.is_none()) {
                return Err(holder.name.clone());
            }
            kept.pods.retain(|_, pod| pod.server_id != *brought);
            (brought.clone(), count_brought(kept, brought))
        }
        // Where pods bring theirs along, this one has not said it yet.
        None if member.is_none() && form_in_use(kept) == Some(Form::Clear) => return Ok(()),
        None => (draw_server_id(kept), 0),
    };
    kept.pods.insert(
        uid.to_owned(),
        Allotted {
            name: seen.name.clone(),
            server_id,
            is_brought: brought.is_some(),
            allotment,
            hop_port: member.and_then(|member| member.hop_port),
            address: seen.address,
            is_terminating: seen.is_terminating,
            gone: None,
        },
    );
    Ok(())
}

/// How often a server ID that a pod brought along had been allotted before.
fn count_brought(kept: &mut Kept, server_id: &str) -> u32 {
    if !kept.brought.contains_key(server_id) && kept.brought.len() >= MAX_BROUGHT {
        let in_use = |id: &String| kept.pods.values().any(|pod| pod.server_id == *id);
        if let Some(oldest) = kept.brought.keys().find(|id| !in_use(id)).cloned() {
            kept.brought.remove(&oldest);
        }
    }
    let count = kept.brought.entry(server_id.to_owned()).or_default();
    let before = *count;
    *count = count.saturating_add(1);
    before
}

/// A server ID that was never given: a prefix of this state's own, and a number that only grows.
fn draw_server_id(kept: &mut Kept) -> String {
    loop {
        let server_id = format!("{}{:08x}", kept.prefix, kept.next_server);
        kept.next_server = kept.next_server.checked_add(1).expect("four billion pods are more than a cluster sees");
        if !kept.pods.values().any(|pod| pod.server_id == server_id) {
            return server_id;
        }
    }
}

/// The form of the configuration that encodes, or will.
fn form_in_use(kept: &Kept) -> Option<Form> {
    let of = |phase| kept.configurations.values().find(|one| Phase::from(one.phase) == phase).map(Configuration::form);
    of(Phase::Published).or_else(|| of(Phase::Encoding))
}

/// Keys: a rotation begins if it is time for one, and whatever is under way goes on as far as pods allow.
fn rotate(
    kept: &mut Kept,
    situation: &Situation<'_>,
    reports: &[(&str, Report)],
    draw: &mut impl FnMut(&mut [u8]),
) -> Result<(), Unusable> {
    let now = situation.now;
    let before = kept.revision;
    let mut rotation = kept.rotation()?;
    kept.rotated = kept.rotated.min(now);
    begin(kept, &mut rotation, situation, draw);

    let pods: Vec<Report> = reports.iter().map(|(_, report)| *report).collect();
    rotation.advance(&pods);
    let all_hold = |since: u64| pods.iter().all(|pod| pod.holds >= since);
    let mut rings_changed = before + 1 == kept.revision;
    for (ring, lifetime) in rings(kept) {
        rings_changed |= ring.step(all_hold, before + 1, now, lifetime);
    }
    kept.revision = rotation.revision().max(if rings_changed { before + 1 } else { before });
    let standings: BTreeMap<u8, _> = rotation.standings().map(|(id, standing)| (id.number(), standing)).collect();
    kept.configurations.retain(|number, _| standings.contains_key(number));
    for (number, one) in &mut kept.configurations {
        let standing = standings[number];
        (one.phase, one.since) = (standing.phase.into(), standing.since);
        if !standing.phase.is_in_tables() {
            one.key.clear();
        }
    }
    Ok(())
}

/// Begins what is due. The revision of `kept` grows where secrets come in.
fn begin(kept: &mut Kept, rotation: &mut Rotation, situation: &Situation<'_>, draw: &mut impl FnMut(&mut [u8])) {
    let now = situation.now;
    let is_under_way = rotation.standings().any(|(_, standing)| standing.phase == Phase::Published)
        || rings(kept).any(|(ring, _)| ring.is_renewing());
    if is_under_way {
        return;
    }
    let asked = situation.asked.filter(|asked| kept.obeyed.as_deref() != Some(*asked));
    let is_due = asked.is_some() || situation.period.is_some_and(|period| now >= kept.rotated + period);
    let in_use = form_in_use(kept);
    let form = wanted_form(kept, situation).or(in_use).unwrap_or(Form::Encrypted);
    // In clear text a number means a layout to the balancer in front, and there is no key to replace.
    let is_replaced = in_use != Some(form) || (is_due && form == Form::Encrypted);
    if is_replaced && let Err(not_now) = publish(kept, rotation, form, asked.is_some(), draw) {
        tracing::debug!(reason = %not_now, "no key of connection IDs can be published now");
        return;
    }
    if is_due {
        let since = kept.revision + 1;
        let ids = kept.next_secret..;
        for ((ring, _), id) in rings(kept).zip(ids) {
            let octets = drawn::<32>(draw);
            ring.renew(Named { id, octets }, since);
        }
        kept.next_secret += 3;
        kept.revision = since;
        kept.rotated = now;
        if let Some(asked) = asked {
            kept.obeyed = Some(asked.to_owned());
        }
    }
}

/// Publishes a configuration with a new key.
fn publish(
    kept: &mut Kept,
    rotation: &mut Rotation,
    form: Form,
    on_demand: bool,
    draw: &mut impl FnMut(&mut [u8]),
) -> Result<(), NotNow> {
    // The balancer that reads clear text knows one number.
    let is_allowed = |id: ConfigId| (id == ConfigId::FIRST) == (form == Form::Clear);
    let id = match rotation.publish_among(is_allowed) {
        Ok(id) => id,
        Err(not_now) => {
            // Whoever asks may want to be rid of the oldest, and of no more than that.
            let is_freeing = rotation.standings().any(|(_, standing)| standing.phase == Phase::Withdrawn);
            if let (NotNow::NoneFree(oldest), true) = (not_now, on_demand && !is_freeing) {
                rotation.abandon(oldest);
            }
            return Err(not_now);
        }
    };
    let (phase, since) = (Phase::Published.into(), rotation.revision());
    let one = Configuration { phase, since, is_clear: form == Form::Clear, key: drawn::<16>(draw) };
    kept.configurations.insert(id.number(), one);
    Ok(())
}

/// In clear text where pods bring server IDs along, encrypted where they do not. `None` where none has said.
fn wanted_form(kept: &Kept, situation: &Situation<'_>) -> Option<Form> {
    let mut there = kept.pods.iter().filter(|(_, pod)| pod.gone.is_none() && !pod.is_terminating);
    if there.clone().any(|(_, pod)| pod.is_brought) {
        return Some(Form::Clear);
    }
    let has_said = |uid: &String| situation.told.get(uid).is_some_and(|told| told.member.is_some());
    there.any(|(uid, _)| has_said(uid)).then_some(Form::Encrypted)
}

/// Every kind of secret that rotates, with how long what is made of one is good.
fn rings(kept: &mut Kept) -> impl Iterator<Item = (&mut Ring, SignedDuration)> {
    [(&mut kept.hop, HOP_LIFETIME), (&mut kept.tokens, TOKEN_LIFETIME), (&mut kept.tickets, TOKEN_LIFETIME)].into_iter()
}

/// Octets of chance in hexadecimal.
fn drawn<const N: usize>(draw: &mut impl FnMut(&mut [u8])) -> String {
    let mut octets = [0; N];
    draw(&mut octets);
    hex(&octets)
}

/// Octets in hexadecimal.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
