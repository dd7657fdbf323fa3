//! A million IDs under each of several configurations, over workers and restarts: none comes twice.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use headrace_cid::{
    Allotment, Config, ConfigId, Configs, Incarnation, Issued, Issuer, Key, Layout, LiveServers, LowBits, ServerId,
    Steering, Workers,
};

/// IDs of one worker of one process. Two workers of two servers' sixteen processes each make a million together.
const IDS: usize = 1_000_000 / (2 * 2 * 16);
const WORKERS: usize = 2;
const SERVERS: u8 = 2;
const RESTARTS: u32 = 4;
const ALLOTMENTS: u32 = 4;

/// All IDs of all processes with two server IDs. The low bits of the first octet are left out, since they are chance.
fn no_id_comes_twice(config: Config) {
    let config = std::sync::Arc::new(config);
    let (layout, id) = (config.layout(), config.id());
    let steering = Steering::by_last_octet(layout.cid_len(), Workers::new(WORKERS).unwrap()).unwrap();
    let mut issued: Vec<[u8; 20]> = Vec::with_capacity(1_000_000);
    for server in 0..SERVERS {
        let own = Some(ServerId::try_from(&vec![server; layout.server_id_len()][..]).unwrap());
        let allotment = Allotment { config: config.clone(), own, live: LiveServers::default() };
        let configs = Configs::new(layout.cid_len(), [allotment], Some(id)).unwrap();
        for (allotment, restart) in (0..ALLOTMENTS).flat_map(|one| (0..RESTARTS).map(move |other| (one, other))) {
            for worker in steering.workers().all() {
                let mut issuer = Issuer::new(Incarnation::Counted { allotment, restart }, steering, worker);
                issuer.adopt(&configs);
                for _ in 0..IDS {
                    let Issued::Routable(cid) = issuer.issue(&[0; 20]) else { panic!("no ID") };
                    let mut octets = [0; 20];
                    octets[..cid.as_slice().len()].copy_from_slice(cid.as_slice());
                    issued.push(octets);
                }
            }
        }
    }
    assert_eq!(issued.len(), 1_000_000);
    issued.sort_unstable();
    let twice = issued.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None);
}

#[test]
fn single_block() {
    let key = Key::from([1; 16]);
    no_id_comes_twice(Config::encrypted(ConfigId::FIRST, Layout::SINGLE_BLOCK, LowBits::Length, key));
}

#[test]
fn the_shortest_nonce_in_four_passes() {
    let layout = Layout::new(3, 4).unwrap();
    no_id_comes_twice(Config::encrypted(ConfigId::FIRST, layout, LowBits::Length, Key::from([2; 16])));
}

#[test]
fn clear_text_of_aws() {
    no_id_comes_twice(Config::aws_nlb(Key::from([3; 16])));
}

#[test]
fn the_shortest_nonce_in_clear_text() {
    let layout = Layout::new(12, 4).unwrap();
    no_id_comes_twice(Config::clear(ConfigId::FIRST, layout, LowBits::Random, Key::from([4; 16])));
}
