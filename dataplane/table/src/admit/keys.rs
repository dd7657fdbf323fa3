//! The door for what pods share for QUIC: keys and peers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Ids, admit_endpoint, admit_id};
use crate::keys::{Configuration, KEY_OCTETS, Keys, Octets, SECRET_OCTETS, Secret};
use crate::peer::{Peer, ServerId};
use crate::refused::{List, Place, Reason, Refused};
use crate::wire::{self, KEYS_ID, Phase, Standing};

/// The greatest number of a configuration: three bits, of which all ones are reserved.
const MAX_NUMBER: u8 = 6;

/// The fewest octets of a nonce.
const MIN_NONCE: u8 = 4;

/// Octets of server ID and nonce together, at least and at most: a connection ID has 8 to 20 octets here, of which the
/// first is the number's.
const PLAINTEXT: std::ops::RangeInclusive<u8> = 7..=19;

pub(super) fn admit(keys: wire::Keys) -> Result<Keys, Reason> {
    let wire::Keys { id, revision, configurations, hop, reset, tokens, tickets } = keys;
    if id != KEYS_ID {
        return Err(Reason::KeysId(id));
    }
    Ok(Keys {
        revision,
        configurations: admit_configurations(configurations)?,
        hop: admit_secrets(List::HopSecrets, hop)?,
        reset: admit_secret(reset)?,
        tokens: admit_secrets(List::TokenSecrets, tokens)?,
        tickets: admit_secrets(List::TicketSecrets, tickets)?,
    })
}

/// Numbers are unique, so that there are no more than numbers.
fn admit_configurations(configurations: Vec<wire::Configuration>) -> Result<Vec<Configuration>, Reason> {
    let mut admitted = Vec::new();
    let mut numbers = BTreeSet::new();
    for configuration in configurations {
        let number = configuration.number;
        if !numbers.insert(number) {
            return Err(Reason::ConfigurationTwice(number));
        }
        admitted.push(admit_configuration(configuration)?);
    }
    if admitted.iter().filter(|configuration| configuration.phase == Phase::Encoding).count() > 1 {
        return Err(Reason::TwoEncode);
    }
    admitted.sort_unstable_by_key(|configuration| configuration.number);
    Ok(admitted)
}

fn admit_configuration(configuration: wire::Configuration) -> Result<Configuration, Reason> {
    let wire::Configuration { number, phase, form, server_id_octets, nonce_octets, key } = configuration;
    if number > MAX_NUMBER {
        return Err(Reason::ConfigurationNumber(number));
    }
    let is_layout = server_id_octets >= 1
        && nonce_octets >= MIN_NONCE
        && PLAINTEXT.contains(&server_id_octets.saturating_add(nonce_octets));
    if !is_layout {
        return Err(Reason::ConfigurationLengths { number, server_id: server_id_octets, nonce: nonce_octets });
    }
    let key = admit_octets::<KEY_OCTETS>("a configuration's key", &key)?;
    Ok(Configuration { number, phase, form, server_id_octets, nonce_octets, key })
}

fn admit_secrets(list: List, secrets: Vec<wire::Secret>) -> Result<Vec<Secret>, Reason> {
    list.check(secrets.len())?;
    if secrets.is_empty() {
        return Err(Reason::NoSecret(list));
    }
    let mut ids = BTreeSet::new();
    secrets
        .into_iter()
        .map(|secret| match ids.insert(secret.id) {
            true => admit_secret(secret),
            false => Err(Reason::SecretTwice { list, id: secret.id }),
        })
        .collect()
}

fn admit_secret(secret: wire::Secret) -> Result<Secret, Reason> {
    Ok(Secret { id: secret.id, octets: admit_octets::<SECRET_OCTETS>("a secret", &secret.octets)? })
}

pub(super) fn admit_peers(peers: Vec<wire::Peer>) -> Result<Vec<Peer>, Refused> {
    let mut seen = Ids::new();
    let mut holders = BTreeMap::new();
    let mut admitted = Vec::with_capacity(peers.len());
    for peer in peers {
        let place = Place::Peer(peer.id.clone());
        admitted.push(admit_peer(&mut seen, &mut holders, peer).map_err(place.refuses())?);
    }
    admitted.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(admitted)
}

fn admit_peer(seen: &mut Ids, holders: &mut BTreeMap<ServerId, Arc<str>>, peer: wire::Peer) -> Result<Peer, Reason> {
    let wire::Peer { id, pod, server_id, allotment, hop, standing } = peer;
    let id: Arc<str> = id.into();
    admit_id(seen, &id)?;
    let (least, most) = (ServerId::MIN, ServerId::MAX);
    let server_id = octets(&server_id).filter(|octets| (least..=most).contains(&octets.len()));
    let server_id = ServerId::new(server_id.ok_or(Reason::Octets { what: "a server ID", least, most })?);
    if standing != Standing::Gone
        && let Some(holder) = holders.insert(server_id.clone(), Arc::clone(&id))
    {
        return Err(Reason::SharedServerId(holder.to_string()));
    }
    let hop = hop.map(admit_endpoint).transpose()?;
    Ok(Peer { id, pod: pod.into(), server_id, allotment, hop, standing })
}

fn admit_octets<const N: usize>(what: &'static str, text: &str) -> Result<Octets<N>, Reason> {
    let found = octets(text).and_then(|octets| <[u8; N]>::try_from(octets).ok());
    found.map(Octets::new).ok_or(Reason::Octets { what, least: N, most: N })
}

/// The octets of a text in hexadecimal, of either case.
fn octets(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
