//! Who is who at one moment: all that connection IDs mean, our own place among the pods of the pod set, and what a packet
//! for each of them calls for.
//!
//! Owns how a table's keys and peers become that, and what stands in where a table has none. Knows neither packets nor
//! sockets. Immutable: a new table is a new membership.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::hmac;
use headrace_cid::{
    Allotment, Config, ConfigId, Configs, Destination, Incarnation, KEY_LEN, Key, Layout, LiveServers, LowBits,
    NotConfigs, ServerId, Unroutable,
};
use headrace_table::{Configuration, Form, Keys, Peer as TablePeer, Phase, Standing, Table};

use super::chance;
use crate::metrics::Owner;

/// Another pod of the pod set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its UID.
    pub(crate) id: Arc<str>,
    /// How often its server ID had been allotted before.
    pub(crate) allotment: u32,
    /// Where it takes packets of other pods. `None` is one that nothing can be forwarded to.
    pub(crate) hop: Option<SocketAddr>,
    pub(crate) standing: Standing,
}

/// What a process is known by where no table says so.
pub(super) struct Alone {
    key: [u8; KEY_LEN],
    reset: [u8; 32],
    server: [u8; 8],
}

impl Alone {
    /// Drawn anew, so that nothing of it was ever used.
    pub(super) fn draw() -> Self {
        Self { key: chance(), reset: chance(), server: chance() }
    }
}

/// What never changes about this process.
pub(super) struct Place {
    /// By what it finds itself among a table's peers.
    pub(super) uid: Option<Arc<str>>,
    /// How its IDs are divided: an endpoint cuts short headers at one length for as long as it lives.
    pub(super) layout: Layout,
    /// The server ID that the load balancer of AWS has given it.
    pub(super) aws: Option<ServerId>,
    /// How often the process had been started before in this pod.
    pub(super) restart: u32,
    pub(super) alone: Alone,
}

/// Who is who.
pub(crate) struct Membership {
    pub(crate) configs: Configs,
    /// Which of the processes with its server ID this is, and by whom it was allotted: `None` is nobody.
    pub(super) incarnation: Option<(Option<u32>, Incarnation)>,
    /// Our own server ID, in no ID of anybody else.
    pub(crate) own: Option<ServerId>,
    /// Every other pod of the pod set.
    pub(crate) peers: BTreeMap<ServerId, Peer>,
    pub(super) reset: hmac::Key,
    /// What the table says. `None` is a process on its own.
    pub(crate) keys: Option<Keys>,
    table_peers: Vec<TablePeer>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Membership")
            .field("own", &self.own)
            .field("configs", &self.configs)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

impl Membership {
    /// That of a process without peers.
    pub(super) fn alone(place: &Place) -> Self {
        let key = Key::from(place.alone.key);
        let server = ServerId::try_from(&place.alone.server[..]).expect("8 octets are a legal server ID");
        let (config, own) = match place.aws {
            Some(aws) => (Config::aws_nlb(key), aws),
            None => (Config::encrypted(ConfigId::FIRST, place.layout, LowBits::Random, key), server),
        };
        let allotment = Allotment { config: Arc::new(config), own: Some(own), live: LiveServers::default() };
        Self {
            configs: Configs::new(place.layout.cid_len(), [allotment], Some(ConfigId::FIRST))
                .expect("one configuration agrees with itself"),
            incarnation: Some((None, Incarnation::ONLY)),
            own: Some(own),
            peers: BTreeMap::new(),
            reset: hmac::Key::new(hmac::HMAC_SHA256, &place.alone.reset),
            keys: None,
            table_peers: Vec::new(),
        }
    }

    /// That which a table gives. Where the table says nothing, the process is on its own; where it contradicts itself or
    /// the process, IDs are issued that name nobody.
    pub(super) fn of(table: &Table, place: &Place) -> Self {
        let Some(keys) = table.keys() else { return Self::alone(place) };
        let own = place.uid.as_deref().and_then(|uid| table.peer(uid));
        let own_server = own.and_then(|own| server_id(own, place));
        if own_server.is_none() {
            tracing::warn!(uid = place.uid.as_deref(), "the table does not name this pod: connection IDs name nobody");
        }
        let peers = table
            .peers()
            .filter(|peer| own.is_none_or(|own| own.id != peer.id))
            .filter_map(|peer| {
                let (id, allotment) = (Arc::clone(&peer.id), peer.allotment);
                let entry = Peer { id, allotment, hop: peer.hop, standing: peer.standing };
                Some((server_id(peer, place)?, entry))
            })
            // A pod that is there has its server ID before one that is gone.
            .fold(BTreeMap::new(), |mut peers: BTreeMap<ServerId, Peer>, (server, peer)| {
                let is_free = peers.get(&server).is_none_or(|other| other.standing == Standing::Gone);
                if is_free && own_server != Some(server) {
                    peers.insert(server, peer);
                }
                peers
            });
        let configs = configs(keys, own_server, &peers, place).unwrap_or_else(|error| {
            tracing::error!(%error, "the table's configurations cannot be used: connection IDs name nobody");
            Configs::new(place.layout.cid_len(), [], None).expect("no configuration contradicts nothing")
        });
        let counted = |allotment| Incarnation::Counted { allotment, restart: place.restart };
        Self {
            configs,
            incarnation: own.map(|own| (Some(own.allotment), counted(own.allotment))),
            own: own_server,
            peers,
            reset: hmac::Key::new(hmac::HMAC_SHA256, keys.reset.octets.expose()),
            keys: Some(keys.clone()),
            table_peers: table.peers().cloned().collect(),
        }
    }

    /// Whether a table with these peers, and the same keys, would give the same.
    pub(super) fn is_of<'t>(&self, peers: impl Iterator<Item = &'t TablePeer>) -> bool {
        peers.eq(self.table_peers.iter())
    }

    /// Whether clients that are not known here may be told that their connection is over (RFC 9000 section 10.3): it was
    /// ours, or that of a pod that is gone. Of an ID that names nobody, somebody else may know whose it is.
    pub(super) fn may_reset(&self, cid: &[u8]) -> Option<Owner> {
        match self.configs.destination_of_cid(cid) {
            Destination::Ours => Some(Owner::Own),
            Destination::Unroutable(Unroutable::Server(server)) => {
                let is_gone = self.peers.get(&server).is_some_and(|peer| peer.standing == Standing::Gone);
                is_gone.then_some(Owner::Gone)
            }
            Destination::Peer(_) | Destination::Unroutable(_) => None,
        }
    }
}

/// A pod's server ID, where IDs as long as ours have room for it.
fn server_id(peer: &TablePeer, place: &Place) -> Option<ServerId> {
    let octets = peer.server_id.as_slice();
    if octets.len() != place.layout.server_id_len() {
        tracing::warn!(pod = %peer.pod, server_id = %peer.server_id, "a server ID is longer or shorter than ours");
        return None;
    }
    ServerId::try_from(octets).ok()
}

fn configs(
    keys: &Keys,
    own: Option<ServerId>,
    peers: &BTreeMap<ServerId, Peer>,
    place: &Place,
) -> Result<Configs, NotConfigs> {
    let there = peers.iter().filter(|(_, peer)| peer.standing != Standing::Gone);
    let live: LiveServers = there.map(|(server, _)| *server).collect();
    let usable: Vec<_> = keys.configurations.iter().filter_map(|one| Some((one, config(one, place)?))).collect();
    let encoding = usable
        .iter()
        .find(|(configuration, _)| own.is_some() && configuration.phase == Phase::Encoding)
        .map(|(_, config)| config.id());
    let allotments =
        usable.into_iter().map(|(_, config)| Allotment { config: Arc::new(config), own, live: live.clone() });
    Configs::new(place.layout.cid_len(), allotments, encoding)
}

/// A configuration, where it divides IDs as this process does.
fn config(configuration: &Configuration, place: &Place) -> Option<Config> {
    let lengths = (usize::from(configuration.server_id_octets), usize::from(configuration.nonce_octets));
    if lengths != (place.layout.server_id_len(), place.layout.nonce_len()) {
        tracing::warn!(
            number = configuration.number,
            "a configuration's connection IDs are divided otherwise than ours"
        );
        return None;
    }
    let (id, key) = (ConfigId::try_from(configuration.number).ok()?, Key::from(*configuration.key.expose()));
    Some(match configuration.form {
        Form::Encrypted => Config::encrypted(id, place.layout, LowBits::Random, key),
        Form::Clear => Config::clear(id, place.layout, LowBits::Random, key),
    })
}

#[cfg(test)]
mod tests;
