//! Interoperation with a balancer written from the draft's text, on random configurations.
//!
//! It shares nothing with the crate: it works on half octets and not on masks, always passes four times, keeps no state,
//! and its AES is that of aws-lc-rs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use headrace_cid::{Config, ConfigId, ConnectionId, Key, Layout, LowBits, Nonce, ServerId};
use proptest::prelude::*;

/// A balancer's configuration, as the draft's model has it.
#[derive(Clone, Debug)]
struct Balancer {
    config_rotation: u8,
    encodes_length: bool,
    server_id_length: usize,
    nonce_length: usize,
    key: Option<[u8; 16]>,
}

impl Balancer {
    /// "Load Balancer Actions": the server ID and the nonce of a connection ID.
    fn extract(&self, cid: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let length = self.server_id_length + self.nonce_length;
        let (first, rest) = cid.split_first()?;
        if first >> 5 != self.config_rotation || rest.len() < length {
            return None;
        }
        if self.encodes_length && usize::from(first & 31) < length {
            return None;
        }
        let plaintext = match self.key {
            None => rest[..length].to_vec(),
            Some(key) if length == 16 => decrypt_block(&key, &rest[..length]),
            Some(key) => four_passes(&key, &rest[..length]),
        };
        let (server_id, nonce) = plaintext.split_at(self.server_id_length);
        Some((server_id.to_vec(), nonce.to_vec()))
    }
}

fn decrypt_block(key: &[u8; 16], block: &[u8]) -> Vec<u8> {
    let key = DecryptingKey::ecb(UnboundCipherKey::new(&AES_128, key).unwrap()).unwrap();
    let mut block = block.to_vec();
    key.decrypt(&mut block, DecryptionContext::None).unwrap();
    block
}

fn encrypt_block(key: &[u8; 16], mut block: Vec<u8>) -> Vec<u8> {
    let key = EncryptingKey::ecb(UnboundCipherKey::new(&AES_128, key).unwrap()).unwrap();
    key.encrypt(&mut block).unwrap();
    block
}

fn to_digits(octets: &[u8]) -> Vec<u8> {
    octets.iter().flat_map(|octet| [octet / 16, octet % 16]).collect()
}

fn to_octets(digits: &[u8]) -> Vec<u8> {
    digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect()
}

/// "General Case: Four-Pass Encryption", from the cipher text to the plaintext. A half is a list of hexadecimal digits
/// without any that the draft would clear.
fn four_passes(key: &[u8; 16], ciphertext: &[u8]) -> Vec<u8> {
    let length = ciphertext.len();
    let digits = to_digits(ciphertext);
    let (left_2, right_2) = digits.split_at(length);
    let pass = |number: u8, source: &[u8], target: &[u8]| -> Vec<u8> {
        let is_from_left = number % 2 == 1;
        // Where the length is odd, the half is an odd number of digits, and a zero makes octets of them: after the left
        // one and before the right one.
        let mut whole = source.to_vec();
        match (length % 2, is_from_left) {
            (0, _) => {}
            (_, true) => whole.push(0),
            (_, false) => whole.insert(0, 0),
        }
        let mut input = to_octets(&whole);
        input.resize(14, 0);
        input.extend([length as u8, number]);
        let output = to_digits(&encrypt_block(key, input));
        let skipped = usize::from(length % 2 == 1 && is_from_left);
        target.iter().zip(&output[skipped..]).map(|(one, other)| one ^ other).collect()
    };
    let left_1 = pass(4, right_2, left_2);
    let right_1 = pass(3, &left_1, right_2);
    let left_0 = pass(2, &right_1, &left_1);
    let right_0 = pass(1, &left_0, &right_1);
    to_octets(&[left_0, right_0].concat())
}

/// A configuration, and a server ID and a nonce that it has room for.
fn cases() -> impl Strategy<Value = (Balancer, Vec<u8>, Vec<u8>)> {
    let lengths = (1..=15_usize, 4..=18_usize)
        .prop_filter("8 to 20 octets", |(server_id, nonce)| (7..=19).contains(&(server_id + nonce)));
    let balancer = (0..7_u8, any::<bool>(), lengths, any::<Option<[u8; 16]>>()).prop_map(
        |(config_rotation, encodes_length, (server_id_length, nonce_length), key)| Balancer {
            config_rotation,
            encodes_length,
            server_id_length,
            nonce_length,
            key,
        },
    );
    balancer.prop_flat_map(|balancer| {
        let server_id = prop::collection::vec(any::<u8>(), balancer.server_id_length);
        let nonce = prop::collection::vec(any::<u8>(), balancer.nonce_length);
        (Just(balancer), server_id, nonce)
    })
}

fn ours(balancer: &Balancer) -> Config {
    let id = ConfigId::try_from(balancer.config_rotation).unwrap();
    let layout = Layout::new(balancer.server_id_length, balancer.nonce_length).unwrap();
    let low_bits = if balancer.encodes_length { LowBits::Length } else { LowBits::Random };
    match balancer.key {
        Some(key) => Config::encrypted(id, layout, low_bits, Key::from(key)),
        None => Config::clear(id, layout, low_bits, Key::from([0; 16])),
    }
}

fn encode(config: &Config, server_id: &[u8], nonce: &[u8], drawn: u8) -> ConnectionId {
    let server_id = ServerId::try_from(server_id).unwrap();
    config.encode(&server_id, &Nonce::try_from(nonce).unwrap(), drawn).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_balancer_of_the_draft_reads_what_we_encode((balancer, server_id, nonce) in cases(), drawn: u8) {
        let config = ours(&balancer);
        let cid = encode(&config, &server_id, &nonce, drawn);
        prop_assert_eq!(cid.as_slice().len(), 1 + server_id.len() + nonce.len());
        prop_assert_eq!(balancer.extract(cid.as_slice()), Some((server_id.clone(), nonce.clone())));
        let decoded = config.decode(cid.as_slice()).unwrap();
        prop_assert_eq!(decoded.as_slice(), server_id);
        let (_, decoded) = config.decode_whole(cid.as_slice()).unwrap();
        prop_assert_eq!(decoded.as_slice(), nonce);
    }

    /// Octets that nobody encoded mean the same to both, and what they mean encodes to them again.
    #[test]
    fn octets_from_anywhere((balancer, ..) in cases(), mut octets in prop::collection::vec(any::<u8>(), 0..24),
                            shaped: bool) {
        let config = ours(&balancer);
        let length = config.layout().cid_len();
        if shaped {
            octets.resize(length, 0x33);
            octets[0] = balancer.config_rotation << 5 | (length - 1) as u8;
        }
        let Ok((server_id, nonce)) = config.decode_whole(&octets) else {
            prop_assert!(!shaped);
            prop_assert!(config.decode(&octets).is_err());
            return Ok(());
        };
        prop_assert_eq!(config.decode(&octets), Ok(server_id));
        let read = balancer.extract(&octets).unwrap();
        prop_assert_eq!((&read.0[..], &read.1[..]), (server_id.as_slice(), nonce.as_slice()));
        let again = config.encode(&server_id, &nonce, octets[0]).unwrap();
        prop_assert_eq!(again.as_slice(), octets);
    }
}
