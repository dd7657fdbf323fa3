//! Who takes part in the hop, by the pod's membership.
//!
//! Owns who is left out: who is gone is neither heard nor sent to, and who has no address for the hop is only heard.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use headrace_cid::ServerId;
use headrace_hop::{Membership as Roster, Pod, Secret};
use headrace_table::Standing;

use crate::quic::Membership;

/// What the hop goes by. `None` is a pod on its own, or one that its peers do not know yet: then there is nobody.
pub(super) fn roster(membership: &Membership) -> Option<Roster> {
    let (keys, server) = (membership.keys.as_ref()?, membership.own?);
    let (allotment, _) = membership.incarnation?;
    let secrets = keys.hop.iter().map(|secret| Secret::new(secret.id, *secret.octets.expose())).collect();
    let there = membership.peers.iter().filter(|(_, peer)| peer.standing != Standing::Gone);
    let peers = there.map(|(server, peer)| Pod { server: *server, allotment: peer.allotment }).collect();
    Some(Roster { own: Pod { server, allotment: allotment? }, secrets, peers })
}

/// The roster of who has nobody.
pub(super) fn nobody() -> Roster {
    let nobody = ServerId::try_from(&[0; 8][..]).expect("8 octets are a legal server ID");
    Roster { own: Pod { server: nobody, allotment: 0 }, secrets: Vec::new(), peers: Vec::new() }
}

/// Where each peer takes packets, as far as a socket of this family reaches.
pub(super) fn ways(membership: &Membership, is_ipv6: bool) -> BTreeMap<ServerId, SocketAddr> {
    let there = membership.peers.iter().filter(|(_, peer)| peer.standing != Standing::Gone);
    let ways = there.filter_map(|(server, peer)| Some((*server, peer.hop?)));
    ways.filter(|(_, address)| address.is_ipv6() == is_ipv6).collect()
}
