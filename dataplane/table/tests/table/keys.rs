//! What pods share for QUIC: what of it is taken, and every reason to refuse it.

use headrace_table::wire::*;
use headrace_table::{List, Place, Reason, Refused};

fn secret(id: u32) -> Secret {
    Secret { id, octets: format!("{id:02x}").repeat(32) }
}

fn configuration(number: u8, phase: Phase) -> Configuration {
    let key = format!("A{number}").repeat(16);
    Configuration { number, phase, form: Form::Encrypted, server_id_octets: 8, nonce_octets: 8, key }
}

fn peer(id: &str, server_id: &str, standing: Standing) -> Peer {
    Peer {
        id: id.to_owned(),
        pod: format!("headrace-{id}"),
        server_id: server_id.to_owned(),
        allotment: 0,
        hop: Some("10.0.0.1:9444".to_owned()),
        standing,
    }
}

fn good() -> Table {
    let keys = Keys {
        id: KEYS_ID.to_owned(),
        revision: 7,
        configurations: vec![
            configuration(6, Phase::Published),
            configuration(0, Phase::Draining),
            configuration(2, Phase::Encoding),
        ],
        hop: vec![secret(2), secret(1)],
        reset: secret(1),
        tokens: vec![secret(1)],
        tickets: vec![secret(3)],
    };
    let peers = vec![
        peer("b", "0102030405060708", Standing::Live),
        peer("a", "FF", Standing::Draining),
        peer("c", "ff", Standing::Gone),
    ];
    Table { keys: Some(keys), peers, ..Table::default() }
}

fn keys(table: &mut Table) -> &mut Keys {
    table.keys.as_mut().unwrap()
}

#[test]
fn what_is_taken() {
    let table = headrace_table::Table::try_from(good()).unwrap();
    let keys = table.keys().unwrap();
    let numbers: Vec<_> = keys.configurations.iter().map(|one| (one.number, one.phase)).collect();
    assert_eq!(numbers, [(0, Phase::Draining), (2, Phase::Encoding), (6, Phase::Published)]);
    assert_eq!(keys.configurations[1].key.expose(), &[0xa2; 16]);
    assert_eq!((keys.revision, keys.hop[0].id, keys.hop[0].octets.expose()), (7, 2, &[2; 32]), "the first stays first");
    let peers: Vec<_> = table.peers().map(|peer| (&*peer.id, peer.server_id.to_string(), peer.standing)).collect();
    let expected =
        [("a", "ff", Standing::Draining), ("b", "0102030405060708", Standing::Live), ("c", "ff", Standing::Gone)];
    assert_eq!(peers.iter().map(|(id, server, standing)| (*id, &**server, *standing)).collect::<Vec<_>>(), expected);
    assert_eq!(table.peer("b").unwrap().hop.unwrap().to_string(), "10.0.0.1:9444");
    assert!(table.peer("d").is_none());
    assert!(headrace_table::Table::try_from(Table::default()).unwrap().keys().is_none());
}

#[test]
fn secrets_are_not_printed() {
    let wire = good();
    let printed = format!("{wire:?} {:?}", headrace_table::Table::try_from(wire.clone()).unwrap());
    for octets in ["a2a2", "A2A2", "0202", "162, 162", "2, 2"] {
        assert!(!printed.contains(octets), "{octets} in {printed}");
    }
    let mut wire = wire;
    keys(&mut wire).reset.octets = "deadbeef".to_owned();
    let refused = headrace_table::Table::try_from(wire).unwrap_err().to_string();
    assert_eq!(refused, "keys: a secret needs 32 to 32 octets in hexadecimal");
}

#[test]
fn the_wire_form_survives_json() {
    let json = serde_json::to_vec(&good()).unwrap();
    assert_eq!(serde_json::from_slice::<Table>(&json).unwrap(), good());
    assert_eq!(serde_json::to_string(&Table::default()).unwrap(), "{}", "a table of a compiler says nothing of keys");
}

#[test]
fn what_is_refused() {
    let octets = |what, least, most| Reason::Octets { what, least, most };
    let lengths = |server_id, nonce| Reason::ConfigurationLengths { number: 6, server_id, nonce };
    let key = || octets("a configuration's key", 16, 16);
    let server_id = || octets("a server ID", 1, 15);
    let peer_place = || Place::Peer("b".to_owned());
    type Case = (fn(&mut Table), Place, Reason);
    let cases: Vec<Case> = vec![
        (|t| keys(t).id = "x".to_owned(), Place::Keys, Reason::KeysId("x".to_owned())),
        (|t| keys(t).configurations[0].number = 7, Place::Keys, Reason::ConfigurationNumber(7)),
        (|t| keys(t).configurations[0].number = 2, Place::Keys, Reason::ConfigurationTwice(2)),
        (|t| keys(t).configurations[0].phase = Phase::Encoding, Place::Keys, Reason::TwoEncode),
        (|t| keys(t).configurations[0].nonce_octets = 3, Place::Keys, lengths(8, 3)),
        (|t| keys(t).configurations[0].nonce_octets = 12, Place::Keys, lengths(8, 12)),
        (|t| keys(t).configurations[0].nonce_octets = 255, Place::Keys, lengths(8, 255)),
        (|t| keys(t).configurations[0].server_id_octets = 0, Place::Keys, lengths(0, 8)),
        (|t| keys(t).configurations[0].key.clear(), Place::Keys, key()),
        (|t| keys(t).configurations[0].key.push('0'), Place::Keys, key()),
        (|t| keys(t).configurations[0].key.replace_range(..1, "g"), Place::Keys, key()),
        (|t| keys(t).hop.clear(), Place::Keys, Reason::NoSecret(List::HopSecrets)),
        (|t| keys(t).tokens.clear(), Place::Keys, Reason::NoSecret(List::TokenSecrets)),
        (|t| keys(t).tickets.clear(), Place::Keys, Reason::NoSecret(List::TicketSecrets)),
        (|t| keys(t).hop[0].id = 1, Place::Keys, Reason::SecretTwice { list: List::HopSecrets, id: 1 }),
        (|t| keys(t).hop[0].octets.clear(), Place::Keys, octets("a secret", 32, 32)),
        (
            |t| keys(t).tickets = (0..9).map(secret).collect(),
            Place::Keys,
            Reason::TooMany { list: List::TicketSecrets, count: 9 },
        ),
        (|t| t.peers.push(t.peers[0].clone()), peer_place(), Reason::DuplicateId),
        (|t| t.peers[0].id.clear(), Place::Peer(String::new()), Reason::EmptyId),
        (|t| t.peers[0].server_id.clear(), peer_place(), server_id()),
        (|t| t.peers[0].server_id = "0".to_owned(), peer_place(), server_id()),
        (|t| t.peers[0].server_id = "00".repeat(16), peer_place(), server_id()),
        (|t| t.peers[0].server_id = "\u{e9}0".to_owned(), peer_place(), server_id()),
        (|t| t.peers[0].hop = Some("10.0.0.1:0".to_owned()), peer_place(), Reason::PortZero),
        (|t| t.peers[2].standing = Standing::Live, Place::Peer("c".to_owned()), Reason::SharedServerId("a".to_owned())),
        (
            |t| t.peers = vec![t.peers[0].clone(); 4097],
            Place::Table,
            Reason::TooMany { list: List::Peers, count: 4097 },
        ),
    ];
    for (at, (change, place, reason)) in cases.into_iter().enumerate() {
        let mut table = good();
        change(&mut table);
        let refused = headrace_table::Table::try_from(table).err();
        assert_eq!(refused, Some(Refused { place, reason }), "case {at}");
    }
}
