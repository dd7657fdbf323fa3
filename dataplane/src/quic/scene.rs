//! Tables with pods, for tests of what becomes of them.

use headrace_cid::{Config, ConfigId, ConnectionId, Key, Layout, LowBits, Nonce, ServerId};
use headrace_table::Table;
use headrace_table::wire::{self, Standing};

fn secret(id: u32) -> wire::Secret {
    wire::Secret { id, octets: format!("{id:064x}") }
}

pub(crate) fn configuration(number: u8, phase: wire::Phase) -> wire::Configuration {
    let key = format!("{number:032x}");
    let form = wire::Form::Encrypted;
    wire::Configuration { number, phase, form, server_id_octets: 8, nonce_octets: 8, key }
}

pub(crate) fn peer(id: &str, server: u64, standing: Standing) -> wire::Peer {
    let hop = Some("10.0.0.1:9444".to_owned());
    let server_id = format!("{server:016x}");
    wire::Peer { id: id.to_owned(), pod: id.to_owned(), server_id, allotment: 7, hop, standing }
}

pub(crate) fn table(configurations: Vec<wire::Configuration>, mut peers: Vec<wire::Peer>) -> Table {
    peers.sort_by(|a, b| a.id.cmp(&b.id));
    let keys = wire::Keys {
        id: wire::KEYS_ID.to_owned(),
        revision: 1,
        configurations,
        hop: vec![secret(1)],
        reset: secret(2),
        tokens: vec![secret(3)],
        tickets: vec![secret(4)],
    };
    Table::try_from(wire::Table { keys: Some(keys), peers, ..wire::Table::default() }).unwrap()
}

pub(crate) fn server(number: u64) -> ServerId {
    ServerId::try_from(&number.to_be_bytes()[..]).unwrap()
}

/// An ID of the server with this number under the configuration of number 0, by a nonce.
pub(crate) fn cid(number: u64, nonce: u64) -> ConnectionId {
    let config = Config::encrypted(ConfigId::FIRST, Layout::SINGLE_BLOCK, LowBits::Random, Key::from([0; 16]));
    let nonce = Nonce::try_from(&nonce.to_be_bytes()[..]).unwrap();
    config.encode(&server(number), &nonce, 0).unwrap()
}
