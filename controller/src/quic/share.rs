//! What of a pod set's state its tables say, in their wire form.
//!
//! Owns which part of the state travels. Withdrawn configurations do not, nor does anything of the future.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use headrace_cid::{Form, Layout, Phase};
use headrace_table::wire;

use super::kept::{Allotted, Kept};
use super::ring::{Named, Ring};

/// What the pods of a set share: published as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// What they have in common.
    pub keys: wire::Keys,
    /// Who they are, sorted by UID.
    pub peers: Vec<wire::Peer>,
}

impl Share {
    pub(crate) fn of(kept: &Kept) -> Self {
        let peers = kept.pods.iter().map(|(uid, pod)| peer(uid, pod)).collect();
        Share { keys: keys(kept), peers }
    }
}

fn keys(kept: &Kept) -> wire::Keys {
    let configurations = kept.configurations.iter().filter_map(|(number, one)| {
        let phase = match Phase::from(one.phase) {
            Phase::Published => wire::Phase::Published,
            Phase::Encoding => wire::Phase::Encoding,
            Phase::Draining => wire::Phase::Draining,
            Phase::Withdrawn => return None,
        };
        let (form, layout) = match one.form() {
            Form::Clear => (wire::Form::Clear, Layout::AWS_NLB),
            Form::Encrypted => (wire::Form::Encrypted, Layout::SINGLE_BLOCK),
        };
        let octets = |count: usize| u8::try_from(count).expect("a connection ID has at most 20 octets");
        Some(wire::Configuration {
            number: *number,
            phase,
            form,
            server_id_octets: octets(layout.server_id_len()),
            nonce_octets: octets(layout.nonce_len()),
            key: one.key.clone(),
        })
    });
    wire::Keys {
        id: wire::KEYS_ID.to_owned(),
        revision: kept.revision,
        configurations: configurations.collect(),
        hop: secrets(&kept.hop),
        reset: secret(&kept.reset),
        tokens: secrets(&kept.tokens),
        tickets: secrets(&kept.tickets),
    }
}

fn secrets(ring: &Ring) -> Vec<wire::Secret> {
    ring.secrets().map(secret).collect()
}

fn secret(named: &Named) -> wire::Secret {
    wire::Secret { id: named.id, octets: named.octets.clone() }
}

fn peer(uid: &str, pod: &Allotted) -> wire::Peer {
    let standing = match (pod.gone, pod.is_terminating) {
        (Some(_), _) => wire::Standing::Gone,
        (None, true) => wire::Standing::Draining,
        (None, false) => wire::Standing::Live,
    };
    let hop = pod.address.zip(pod.hop_port).map(|(address, port)| SocketAddr::new(address, port).to_string());
    wire::Peer {
        id: uid.to_owned(),
        pod: pod.name.clone(),
        server_id: pod.server_id.clone(),
        allotment: pod.allotment,
        // Its address may be another pod's by now.
        hop: hop.filter(|_| pod.gone.is_none()),
        standing,
    }
}

/// What there is to publish beside compiled tables.
#[derive(Clone, Debug, Default)]
pub enum Shares {
    /// Nothing may be published yet.
    #[default]
    Awaited,
    /// There are none: tables are published as they were compiled.
    None,
    /// Those of pod sets, as they were written down in this leadership. One that is not there is awaited.
    Of {
        /// The leader's.
        epoch: u64,
        /// By name. `None` is one with pods that would not understand any.
        pod_sets: BTreeMap<String, Option<Arc<Share>>>,
    },
}

impl Shares {
    /// What the tables of a pod set are to have, for the leader of that epoch. `None` is to be awaited, `Some(None)` none.
    pub(crate) fn of(&self, pod_set: &str, epoch: u64) -> Option<Option<Arc<Share>>> {
        match self {
            Shares::Awaited => None,
            Shares::None => Some(None),
            Shares::Of { epoch: written, pod_sets } if *written == epoch => pod_sets.get(pod_set).cloned(),
            Shares::Of { .. } => None,
        }
    }
}
