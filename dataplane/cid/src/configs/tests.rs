//! Whose packets are, and which configurations go together.

use super::*;
use crate::{Key, Layout, LowBits, Nonce};

fn id(number: u8) -> ConfigId {
    ConfigId::try_from(number).unwrap()
}

fn server(octet: u8, length: usize) -> ServerId {
    ServerId::try_from(&vec![octet; length][..]).unwrap()
}

fn config(number: u8, form: Form, layout: Layout) -> Arc<Config> {
    let key = Key::from([number; 16]);
    Arc::new(match form {
        Form::Clear => Config::clear(id(number), layout, LowBits::Length, key),
        Form::Encrypted => Config::encrypted(id(number), layout, LowBits::Length, key),
    })
}

fn allotment(config: Arc<Config>, own: Option<u8>, live: &[u8]) -> Allotment {
    let length = config.layout().server_id_len();
    let live = live.iter().map(|octet| server(*octet, length)).collect();
    Allotment { config, own: own.map(|octet| server(octet, length)), live }
}

/// Two encrypted configurations of different layout and the same length, and one in clear text.
fn configs() -> Configs {
    let layout = |server, nonce| Layout::new(server, nonce).unwrap();
    let all = [
        allotment(config(1, Form::Encrypted, layout(8, 8)), Some(1), &[1, 2, 3]),
        allotment(config(2, Form::Encrypted, layout(4, 12)), Some(4), &[5]),
        allotment(config(5, Form::Clear, layout(9, 7)), None, &[7]),
    ];
    Configs::new(17, all, Some(id(2))).unwrap()
}

fn cid(configs: &Configs, number: u8, octet: u8) -> Vec<u8> {
    let config = &configs.get(id(number)).unwrap().config;
    let nonce = Nonce::try_from(&vec![9; config.layout().nonce_len()][..]).unwrap();
    config.encode(&server(octet, config.layout().server_id_len()), &nonce, 0).unwrap().as_slice().to_vec()
}

#[test]
fn whose_an_id_is() {
    use Destination::{Ours, Peer};
    let configs = configs();
    let unroutable = Destination::Unroutable;
    let of = |number, octet| cid(&configs, number, octet);
    let with_first = |first: u8, mut cid: Vec<u8>| {
        cid[0] = first;
        cid
    };
    let cases = [
        ("our own", of(1, 1), Ours),
        ("a peer's", of(1, 2), Peer(server(2, 8))),
        ("another peer's", of(1, 3), Peer(server(3, 8))),
        ("of nobody", of(1, 4), unroutable(Unroutable::Server(server(4, 8)))),
        ("our own of the other configuration", of(2, 4), Ours),
        ("a peer's of the other configuration", of(2, 5), Peer(server(5, 4))),
        ("live under the first alone", of(2, 2), unroutable(Unroutable::Server(server(2, 4)))),
        ("a peer's in clear text", of(5, 7), Peer(server(7, 9))),
        ("unknown configuration", with_first(0x10, of(1, 1)), unroutable(Unroutable::Config(id(0)))),
        ("reserved", with_first(0xf0, of(1, 1)), unroutable(Unroutable::Reserved)),
        ("another length by its own word", with_first(0x2f, of(1, 1)), unroutable(Unroutable::Length)),
        ("cut off", of(1, 1)[..16].to_vec(), unroutable(Unroutable::Length)),
        ("longer", [&of(1, 1)[..], &[0]].concat(), unroutable(Unroutable::Length)),
        ("none", Vec::new(), unroutable(Unroutable::Missing)),
    ];
    for (name, cid, expected) in cases {
        assert_eq!(configs.destination_of_cid(&cid), expected, "{name}");
        let long = [&[0xc0, 0, 0, 0, 1, cid.len() as u8][..], &cid, &[0; 30]].concat();
        assert_eq!(configs.destination_of(&long), expected, "{name}, in a long header");
        let short = [&[0x40][..], &cid, &[0xaa; 30]].concat();
        if cid.len() == 17 {
            assert_eq!(configs.destination_of(&short), expected, "{name}, in a short header");
        }
    }
}

#[test]
fn packets_without_a_whole_id() {
    let configs = configs();
    let cid = cid(&configs, 1, 1);
    let short = [&[0x40][..], &cid].concat();
    let long = [&[0xc0, 0, 0, 0, 1, 17][..], &cid].concat();
    for packet in [short, long] {
        assert_eq!(configs.destination_of(&packet), Destination::Ours);
        for length in 0..packet.len() {
            let found = configs.destination_of(&packet[..length]);
            assert_eq!(found, Destination::Unroutable(Unroutable::Missing), "{length}");
        }
    }
}

#[test]
fn without_configurations_nothing_is_routable() {
    let none = Configs::new(17, [], None).unwrap();
    assert!(none.encoding().is_none());
    for first in 0..=u8::MAX {
        let found = none.destination_of_cid(&[first; 17]);
        let expected = match ConfigId::of_first_octet(first) {
            Some(id) => Unroutable::Config(id),
            None => Unroutable::Reserved,
        };
        assert_eq!(found, Destination::Unroutable(expected));
    }
}

#[test]
fn what_encodes() {
    let configs = configs();
    let (config, own) = configs.encoding().unwrap();
    assert_eq!((config.id(), own), (id(2), server(4, 4)));
    assert_eq!(configs.allotments().map(|allotment| allotment.config.id().number()).collect::<Vec<_>>(), [1, 2, 5]);
}

#[test]
fn what_does_not_go_together() {
    let block = Layout::SINGLE_BLOCK;
    let encrypted = |number, own, live: &[u8]| allotment(config(number, Form::Encrypted, block), own, live);
    let clear = |number, own, live: &[u8]| allotment(config(number, Form::Clear, block), own, live);
    let shorter = || allotment(Arc::new(Config::aws_nlb(Key::from([1; 16]))), None, &[]);
    let of_other_length = |own: Option<usize>, live: Option<usize>| Allotment {
        config: config(1, Form::Encrypted, block),
        own: own.map(|length| server(1, length)),
        live: live.map(|length| server(1, length)).into_iter().collect(),
    };
    let shared = |octet| Some(NotConfigs::InClearAndEncrypted(server(octet, 8)));
    let cases = [
        (vec![encrypted(1, Some(1), &[]), encrypted(2, Some(1), &[1])], Some(1), None),
        (vec![encrypted(1, Some(1), &[2]), clear(2, Some(3), &[4])], None, None),
        (vec![encrypted(1, None, &[]), encrypted(1, None, &[])], None, Some(NotConfigs::Twice(id(1)))),
        (vec![encrypted(1, None, &[]), shorter()], None, Some(NotConfigs::Length(id(0)))),
        (vec![of_other_length(Some(7), None)], None, Some(NotConfigs::ServerId(id(1)))),
        (vec![of_other_length(None, Some(9))], None, Some(NotConfigs::ServerId(id(1)))),
        (vec![encrypted(1, Some(1), &[2]), clear(2, None, &[2])], None, shared(2)),
        (vec![encrypted(1, Some(1), &[]), clear(2, Some(1), &[])], None, shared(1)),
        (vec![encrypted(1, Some(1), &[]), clear(2, None, &[1])], None, shared(1)),
        (vec![encrypted(1, Some(1), &[])], Some(2), Some(NotConfigs::NoSuchConfig(id(2)))),
        (vec![encrypted(1, None, &[])], Some(1), Some(NotConfigs::NoServerId(id(1)))),
    ];
    for (all, encoding, expected) in cases {
        let text = format!("{all:?}");
        assert_eq!(Configs::new(17, all, encoding.map(id)).err(), expected, "{text}");
    }
    for length in [0, 7, 21] {
        assert_eq!(Configs::new(length, [], None), Err(NotConfigs::CidLength(length)));
    }
}
