//! What workers issue, over rotations, restarts and the end of their nonces.

use std::collections::BTreeSet;

use super::*;
use crate::{Allotment, ConfigId, Destination, Key, Layout, LiveServers, LowBits, Unroutable, Workers};

const ENTROPY: [u8; ENTROPY_LEN] = [0x5a; ENTROPY_LEN];

fn server(octet: u8, layout: Layout) -> ServerId {
    ServerId::try_from(&vec![octet; layout.server_id_len()][..]).unwrap()
}

fn config(id: u8, layout: Layout, key: u8) -> Arc<Config> {
    let (id, key) = (ConfigId::try_from(id).unwrap(), Key::from([key; 16]));
    Arc::new(Config::encrypted(id, layout, LowBits::Length, key))
}

fn configs(all: &[Arc<Config>], encoding: Option<u8>, cid_len: usize) -> Configs {
    let allotments = all.iter().map(|config| Allotment {
        config: Arc::clone(config),
        own: Some(server(1, config.layout())),
        live: LiveServers::default(),
    });
    Configs::new(cid_len, allotments, encoding.map(|id| ConfigId::try_from(id).unwrap())).unwrap()
}

fn issuer(cid_len: usize, workers: usize, worker: usize) -> Issuer {
    let workers = Workers::new(workers).unwrap();
    let steering = Steering::by_last_octet(cid_len, workers).unwrap();
    Issuer::new(Incarnation::ONLY, steering, workers.worker(worker).unwrap())
}

fn routable(issued: Issued) -> ConnectionId {
    match issued {
        Issued::Routable(cid) => cid,
        Issued::Unroutable(_, why) => panic!("{}", why.label()),
    }
}

/// A packet with that ID, as it would come in with each form of header.
fn packets(cid: &ConnectionId) -> [Vec<u8>; 2] {
    let cid = cid.as_slice();
    let long = [&[0xc0, 0, 0, 0, 1, cid.len() as u8][..], cid, &[0; 20]].concat();
    [[&[0x40][..], cid, &[0xff; 20]].concat(), long]
}

#[test]
fn every_worker_gets_what_it_issued() {
    let layouts =
        [Layout::SINGLE_BLOCK, Layout::new(3, 4).unwrap(), Layout::new(10, 5).unwrap(), Layout::new(9, 10).unwrap()];
    for layout in layouts {
        let key = || Key::from([7; 16]);
        let clear = Arc::new(Config::clear(ConfigId::FIRST, layout, LowBits::Random, key()));
        for config in [clear, config(2, layout, 7)] {
            let id = config.id().number();
            let configs = configs(&[config], Some(id), layout.cid_len());
            for workers in [1, 2, 3, 8, 128] {
                let mut seen = BTreeSet::new();
                for worker in 0..workers {
                    let mut issuer = issuer(layout.cid_len(), workers, worker);
                    issuer.adopt(&configs);
                    for _ in 0..20 {
                        let cid = routable(issuer.issue(&ENTROPY));
                        assert!(seen.insert(cid), "{cid} comes twice");
                        assert_eq!(configs.destination_of_cid(cid.as_slice()), Destination::Ours);
                        for packet in packets(&cid) {
                            assert_eq!(issuer.steering.worker_of(&packet), Some(worker));
                            assert_eq!(configs.destination_of(&packet), Destination::Ours);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn without_a_configuration_ids_are_unroutable() {
    for (workers, worker) in [(1, 0), (7, 6), (128, 127)] {
        let mut issuer = issuer(17, workers, worker);
        let nothing = configs(&[], None, 17);
        for drawn in 0..=u8::MAX {
            let issued = issuer.issue(&[drawn; ENTROPY_LEN]);
            let Issued::Unroutable(cid, Unissued::NoConfig) = issued else { panic!("{issued:?}") };
            assert_eq!(cid.as_slice()[0], 0xe0 | 16);
            assert_eq!(cid.as_slice()[1..16], [drawn; 15]);
            assert_eq!(nothing.destination_of_cid(cid.as_slice()), Destination::Unroutable(Unroutable::Reserved));
            for packet in packets(&cid) {
                assert_eq!(issuer.steering.worker_of(&packet), Some(worker));
            }
            issuer.adopt(&nothing);
            assert_eq!(issuer.nonces_left(), None);
        }
    }
}

#[test]
fn nonces_go_on_over_every_change_of_configuration() {
    let layout = Layout::SINGLE_BLOCK;
    let (a, b) = (config(0, layout, 1), config(1, layout, 2));
    // Another number for the same key is the same space of nonces.
    let a_again = config(2, layout, 1);
    let both = [a, b, a_again.clone()];
    let steps: Vec<(&[Arc<Config>], Option<u8>)> = vec![
        (&both, Some(0)),
        (&both, Some(0)),
        (&both, Some(1)),
        (&both, Some(0)),
        (&both, None),
        (&both[..1], Some(0)),
        (&both[1..2], Some(1)),
        (&both, Some(2)),
    ];
    let mut issuer = issuer(17, 2, 1);
    let mut seen = BTreeSet::new();
    for (all, encoding) in steps {
        issuer.adopt(&configs(all, encoding, 17));
        for _ in 0..50 {
            if let Issued::Routable(cid) = issuer.issue(&ENTROPY) {
                let config = all.iter().find(|config| Some(config.id()) == cid.config()).unwrap();
                let (server, nonce) = config.decode_whole(cid.as_slice()).unwrap();
                let key = if config.id().number() == 1 { 2 } else { 1 };
                assert!(seen.insert((key, server, nonce)), "{encoding:?}");
            }
        }
    }
    assert_eq!(seen.len(), 7 * 50);
}

#[test]
fn what_is_forgotten_is_not_used_again() {
    let layout = Layout::new(3, 4).unwrap();
    let mut issuer = issuer(8, 1, 0);
    let left = |issuer: &mut Issuer, key: u16, issue: usize| {
        let mut octets = [0; 16];
        octets[..2].copy_from_slice(&key.to_be_bytes());
        let config = Arc::new(Config::encrypted(ConfigId::FIRST, layout, LowBits::Length, Key::from(octets)));
        issuer.adopt(&configs(&[config], Some(0), 8));
        let left = issuer.nonces_left().unwrap();
        (0..issue).for_each(|_| assert!(matches!(issuer.issue(&ENTROPY), Issued::Routable(_))));
        left
    };
    let all = left(&mut issuer, 0, 5);
    for key in 1..=MAX_REMEMBERED as u16 {
        assert_eq!(left(&mut issuer, key, 10), all, "{key}");
    }
    // The first one had drawn the fewest and is forgotten now, so that everyone unknown begins where it ended.
    assert_eq!(left(&mut issuer, 1, 0), all - 10);
    assert_eq!(left(&mut issuer, 0, 0), all - 5);
    assert_eq!(issuer.spent.draws.len(), MAX_REMEMBERED);
}

#[test]
fn the_end_of_the_nonces() {
    let layout = Layout::new(3, 4).unwrap();
    let mut issuer = issuer(8, 1, 0);
    issuer.adopt(&configs(&[config(0, layout, 1)], Some(0), 8));
    let encoder = issuer.encoder.as_mut().unwrap();
    encoder.nonces.skip_to((1 << 20) - 2);
    assert_eq!(issuer.nonces_left(), Some(2));
    routable(issuer.issue(&ENTROPY));
    routable(issuer.issue(&ENTROPY));
    assert!(matches!(issuer.issue(&ENTROPY), Issued::Unroutable(_, Unissued::Exhausted)));
    // Another key has all of them.
    issuer.adopt(&configs(&[config(0, layout, 2)], Some(0), 8));
    assert_eq!(issuer.nonces_left(), Some(1 << 20));
    // And the old one still has none.
    issuer.adopt(&configs(&[config(0, layout, 1)], Some(0), 8));
    assert_eq!(issuer.nonces_left(), Some(0));
}

#[test]
fn what_cannot_be_issued_says_why() {
    let workers = Workers::new(4).unwrap();
    let worker = workers.worker(0).unwrap();
    let aws = || configs(&[Arc::new(Config::aws_nlb(Key::from([1; 16])))], Some(0), 16);
    let in_server_id = Steering::new(16, 8, workers).unwrap();
    let other_length = Steering::by_last_octet(17, workers).unwrap();
    let good = Steering::by_last_octet(16, workers).unwrap();
    let too_many = Incarnation::Counted { allotment: 0, restart: 1 << 14 };
    let cases = [
        (Incarnation::ONLY, in_server_id, Some(Unissued::Unsteerable)),
        (Incarnation::ONLY, other_length, Some(Unissued::Unsteerable)),
        (too_many, good, Some(Unissued::OutOfIncarnations)),
        (Incarnation::Counted { allotment: 127, restart: (1 << 14) - 1 }, good, None),
    ];
    for (incarnation, steering, expected) in cases {
        let mut issuer = Issuer::new(incarnation, steering, worker);
        issuer.adopt(&aws());
        let found = match issuer.issue(&ENTROPY) {
            Issued::Routable(_) => None,
            Issued::Unroutable(_, why) => Some(why),
        };
        assert_eq!(found, expected, "{incarnation:?} {steering:?}");
    }
}

/// An issuer is shared by a worker's endpoints, each of which owns its generator and may be anywhere.
#[test]
fn an_issuer_goes_between_threads_and_prints_no_secret() {
    fn is_send_and_sync<T: Send + Sync>(value: &T) -> &T {
        value
    }
    let mut issuer = issuer(17, 1, 0);
    for key in [0xab, 0xcd] {
        issuer.adopt(&configs(&[config(0, Layout::SINGLE_BLOCK, key)], Some(0), 17));
    }
    let text = format!("{:?}", is_send_and_sync(&issuer));
    assert!(text.contains("Domain(..)") && !text.contains("171") && !text.contains("205"), "{text}");
}
