//! The draft's own vectors: what it encodes to, and what it decodes to.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use headrace_cid::{Config, ConfigId, Key, Layout, LowBits, Nonce, ServerId};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    clear: Vec<Vector>,
    encrypted: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    config: u8,
    key: Option<String>,
    server_id: String,
    nonce: String,
    cid: String,
}

fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn vectors_of_the_draft() {
    let vectors: Vectors = serde_json::from_str(include_str!("quic-lb-vectors.json")).unwrap();
    assert_eq!((vectors.clear.len(), vectors.encrypted.len()), (1, 5));
    assert!(vectors.clear.iter().all(|vector| vector.key.is_none()));
    assert!(vectors.encrypted.iter().all(|vector| vector.key.is_some()));

    for vector in vectors.clear.iter().chain(&vectors.encrypted) {
        let (server, nonce, cid) = (octets(&vector.server_id), octets(&vector.nonce), octets(&vector.cid));
        let layout = Layout::new(server.len(), nonce.len()).unwrap();
        let id = ConfigId::try_from(vector.config).unwrap();
        let server = ServerId::try_from(&server[..]).unwrap();
        let nonce = Nonce::try_from(&nonce[..]).unwrap();
        let with = |low_bits| match &vector.key {
            Some(key) => Config::encrypted(id, layout, low_bits, Key::try_from(&octets(key)[..]).unwrap()),
            None => Config::clear(id, layout, low_bits, Key::from([0; 16])),
        };

        // Every vector says its length, which is as good as having drawn it.
        let says_length = with(LowBits::Length);
        assert_eq!(says_length.encode(&server, &nonce, 0xff).unwrap().as_slice(), cid, "{}", vector.cid);
        let drawn = with(LowBits::Random);
        assert_eq!(drawn.encode(&server, &nonce, cid[0]).unwrap().as_slice(), cid, "{}", vector.cid);

        for config in [says_length, drawn] {
            assert_eq!(config.decode(&cid), Ok(server), "{}", vector.cid);
            assert_eq!(config.decode_whole(&cid), Ok((server, nonce)), "{}", vector.cid);
        }
    }
}
