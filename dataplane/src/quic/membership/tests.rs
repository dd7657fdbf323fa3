//! What a table's keys and peers come to, and what stands in for them.

use headrace_cid::{ENTROPY_LEN, Issued, Issuer, Steering, Unissued, Workers};
use headrace_table::wire;

use super::*;
use crate::quic::scene::{configuration, peer, server, table};

const UID: &str = "own";

fn place(uid: Option<&str>, aws: Option<ServerId>) -> Place {
    let layout = if aws.is_some() { Layout::AWS_NLB } else { Layout::SINGLE_BLOCK };
    Place { uid: uid.map(Arc::from), layout, aws, restart: 3, alone: Alone::draw() }
}

/// Whether IDs are issued that say whose they are.
fn is_routable(membership: &Membership) -> bool {
    membership.configs.encoding().is_some()
}

/// An ID as a pod with this server ID would issue it.
fn id_of(table: &Table, uid: &str) -> Issued {
    let membership = Membership::of(table, &place(Some(uid), None));
    let workers = Workers::new(1).unwrap();
    let steering = Steering::by_last_octet(membership.configs.cid_len(), workers).unwrap();
    let (_, incarnation) = membership.incarnation.unwrap();
    let mut issuer = Issuer::new(incarnation, steering, workers.worker(0).unwrap());
    issuer.adopt(&membership.configs);
    issuer.issue(&[0x5a; ENTROPY_LEN])
}

fn pods() -> Vec<wire::Peer> {
    vec![
        peer(UID, 1, Standing::Live),
        peer("live", 2, Standing::Live),
        peer("draining", 3, Standing::Draining),
        peer("gone", 4, Standing::Gone),
    ]
}

#[test]
fn whose_ids_are_and_who_may_be_reset() {
    let table = table(vec![configuration(0, Phase::Encoding)], pods());
    let membership = Membership::of(&table, &place(Some(UID), None));
    let cases = [
        (UID, Destination::Ours, Some(Owner::Own)),
        ("live", Destination::Peer(server(2)), None),
        ("draining", Destination::Peer(server(3)), None),
        ("gone", Destination::Unroutable(Unroutable::Server(server(4))), Some(Owner::Gone)),
    ];
    for (pod, destination, may_reset) in cases {
        let issued = id_of(&table, pod);
        assert!(matches!(issued, Issued::Routable(_)), "{pod}");
        let cid = issued.cid().as_slice();
        assert_eq!(membership.configs.destination_of_cid(cid), destination, "{pod}");
        assert_eq!(membership.may_reset(cid), may_reset, "{pod}");
    }
    assert_eq!(membership.may_reset(&[0xf0; 17]), None, "nobody knows whose an unroutable ID is");
    assert_eq!(membership.may_reset(&[0x20; 17]), None, "nor one of an unknown configuration");
    assert_eq!(membership.own, Some(server(1)));
    assert_eq!(membership.peers.len(), 3, "we are no peer of ours");
    assert!(is_routable(&membership));
}

#[test]
fn phases() {
    let pods = || vec![peer(UID, 1, Standing::Live)];
    let cases: [(&[wire::Configuration], Option<u8>); 5] = [
        (&[], None),
        (&[configuration(0, Phase::Published)], None),
        (&[configuration(0, Phase::Encoding)], Some(0)),
        (&[configuration(0, Phase::Draining), configuration(1, Phase::Encoding)], Some(1)),
        (&[configuration(4, Phase::Encoding), configuration(5, Phase::Published)], Some(4)),
    ];
    for (configurations, encodes) in cases {
        let table = table(configurations.to_vec(), pods());
        let membership = Membership::of(&table, &place(Some(UID), None));
        let encoding = membership.configs.encoding().map(|(config, _)| config.id().number());
        assert_eq!(encoding, encodes, "{configurations:?}");
        assert_eq!(membership.configs.allotments().count(), configurations.len(), "all of them decode");
        assert_eq!(is_routable(&membership), encodes.is_some());
    }
}

#[test]
fn who_is_not_named_encodes_nothing_and_decodes_everything() {
    let table = table(vec![configuration(0, Phase::Encoding)], pods());
    for uid in [None, Some("somebody else")] {
        let membership = Membership::of(&table, &place(uid, None));
        assert!(!is_routable(&membership) && membership.incarnation.is_none());
        let of_live = id_of(&table, "live");
        let destination = membership.configs.destination_of_cid(of_live.cid().as_slice());
        assert_eq!(destination, Destination::Peer(server(2)));
    }
}

#[test]
fn what_does_not_fit_this_process_is_left_out() {
    let mut odd = configuration(1, Phase::Published);
    odd.nonce_octets = 7;
    let mut short = peer("short", 9, Standing::Live);
    short.server_id = "0102".to_owned();
    let table = table(vec![configuration(0, Phase::Encoding), odd], [pods(), vec![short]].concat());
    let membership = Membership::of(&table, &place(Some(UID), None));
    assert!(is_routable(&membership));
    assert_eq!(membership.configs.allotments().count(), 1);
    assert!(membership.peers.values().all(|peer| &*peer.id != "short"));

    // Behind the load balancer of AWS, IDs of another length are of no use.
    let aws = place(Some(UID), Some(server(1)));
    assert!(!is_routable(&Membership::of(&table, &aws)));
}

#[test]
fn a_server_id_that_came_back_is_who_has_it_now() {
    let reused = vec![peer(UID, 1, Standing::Live), peer("a", 2, Standing::Gone), peer("b", 2, Standing::Live)];
    let table = table(vec![configuration(0, Phase::Encoding)], reused);
    let membership = Membership::of(&table, &place(Some(UID), None));
    assert_eq!(&*membership.peers[&server(2)].id, "b");
    assert_eq!(membership.may_reset(id_of(&table, "b").cid().as_slice()), None);
}

#[test]
fn a_process_on_its_own() {
    for (aws, length) in [(None, 17), (Some(server(0x2d65)), 16)] {
        let place = place(None, aws);
        let table = Table::try_from(wire::Table::default()).unwrap();
        let membership = Membership::of(&table, &place);
        assert!(is_routable(&membership) && membership.peers.is_empty() && membership.keys.is_none());
        assert_eq!(membership.configs.cid_len(), length);
        if aws.is_some() {
            assert_eq!(membership.own, aws, "the balancer's server ID and no other");
        }
    }
}

#[test]
fn too_many_restarts_are_told() {
    let table = table(vec![configuration(0, Phase::Encoding)], vec![peer(UID, 1, Standing::Live)]);
    let place = Place { restart: u32::MAX, ..place(Some(UID), None) };
    let membership = Membership::of(&table, &place);
    let workers = Workers::new(1).unwrap();
    let steering = Steering::by_last_octet(17, workers).unwrap();
    let (_, incarnation) = membership.incarnation.unwrap();
    let mut issuer = Issuer::new(incarnation, steering, workers.worker(0).unwrap());
    issuer.adopt(&membership.configs);
    assert!(matches!(issuer.issue(&[0; ENTROPY_LEN]), Issued::Unroutable(_, Unissued::OutOfIncarnations)));
}
