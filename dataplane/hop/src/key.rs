//! The hop's secrets, and the keys that follow from them.
//!
//! Owns their octets, their derivation and the tag. Knows nothing of what is in a packet.

use std::fmt;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use crate::header::TAG_LEN;
use crate::{Boot, Pod};

/// Octets of a secret.
pub const SECRET_LEN: usize = 32;

/// What keeps these keys apart from all others that might ever follow from the same secret. It has the packet's version.
const SALT: &[u8] = b"headrace hop 1";

/// A secret that all pods of a pod set have. Its memory is overwritten when it is dropped, and it is not printed.
#[derive(Clone)]
pub struct Secret {
    id: u32,
    octets: [u8; SECRET_LEN],
}

impl Secret {
    /// With the number by which packets name it.
    pub fn new(id: u32, mut octets: [u8; SECRET_LEN]) -> Self {
        let secret = Self { id, octets };
        octets.zeroize();
        secret
    }

    /// The number by which packets name it.
    pub const fn id(&self) -> u32 {
        self.id
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.octets.zeroize();
    }
}

impl ZeroizeOnDrop for Secret {}

impl PartialEq for Secret {
    /// Looks at every octet, wherever the first difference is.
    fn eq(&self, other: &Self) -> bool {
        let differences = self.octets.iter().zip(other.octets).fold(0, |all, (own, other)| all | (own ^ other));
        self.id == other.id && differences == 0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The key of all packets from one process of one pod to another pod, under one secret.
pub(crate) struct MacKey(LessSafeKey);

impl MacKey {
    pub(crate) fn derive(secret: &Secret, from: &Pod, to: &Pod, boot: &Boot) -> Self {
        // Each part has a length of its own or says it, so that no two choices give the same octets.
        let (from_allotment, to_allotment) = (from.allotment.to_be_bytes(), to.allotment.to_be_bytes());
        let (from_id, to_id) = (from.server.as_slice(), to.server.as_slice());
        let (from_length, to_length) = ([from_id.len() as u8], [to_id.len() as u8]);
        let info =
            [&from_length[..], from_id, &from_allotment, &to_length[..], to_id, &to_allotment, &boot.octets()[..]];
        let extracted = Salt::new(HKDF_SHA256, SALT).extract(&secret.octets);
        let expanded = extracted.expand(&info, &AES_128_GCM).expect("16 octets are less than HKDF's most");
        Self(LessSafeKey::new(UnboundKey::from(expanded)))
    }

    /// The tag of a packet with a number that no other packet under this key has.
    pub(crate) fn tag(&self, number: u64, packet: &[u8]) -> [u8; TAG_LEN] {
        let sealed = self.0.seal_in_place_separate_tag(nonce(number), Aad::from(packet), &mut []);
        let tag = sealed.expect("a packet is far shorter than what GCM can authenticate");
        tag.as_ref().try_into().expect("a tag of GCM has 16 octets")
    }

    /// Whether a tag is right, found out in the same time wherever it is not.
    pub(crate) fn verifies(&self, number: u64, packet: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        self.0.open_separate_gather(nonce(number), Aad::from(packet), &[], tag, &mut []).is_ok()
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}

fn nonce(number: u64) -> Nonce {
    let mut octets = [0; NONCE_LEN];
    octets[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(octets)
}

#[cfg(test)]
mod tests {
    use headrace_cid::ServerId;

    use super::*;

    fn pod(server: &[u8], allotment: u32) -> Pod {
        Pod { server: ServerId::try_from(server).unwrap(), allotment }
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = Secret::new(7, [0xab; SECRET_LEN]);
        assert_eq!(format!("{secret:?}"), "Secret { id: 7, .. }");
        let key = MacKey::derive(&secret, &pod(&[1], 0), &pod(&[2], 0), &Boot::new(0, 0, [0; 6]));
        assert_eq!(format!("{key:?}"), "MacKey(..)");
    }

    #[test]
    fn every_part_makes_another_key() {
        let secret = Secret::new(1, [1; SECRET_LEN]);
        let boot = Boot::new(0, 5, [0; 6]);
        let keys = [
            MacKey::derive(&secret, &pod(&[1], 0), &pod(&[2], 0), &boot),
            MacKey::derive(&Secret::new(1, [2; SECRET_LEN]), &pod(&[1], 0), &pod(&[2], 0), &boot),
            MacKey::derive(&secret, &pod(&[2], 0), &pod(&[1], 0), &boot),
            MacKey::derive(&secret, &pod(&[1], 1), &pod(&[2], 0), &boot),
            MacKey::derive(&secret, &pod(&[1], 0), &pod(&[2], 1), &boot),
            MacKey::derive(&secret, &pod(&[1, 0], 0), &pod(&[2], 0), &boot),
            MacKey::derive(&secret, &pod(&[1], 0), &pod(&[2, 0], 0), &boot),
            MacKey::derive(&secret, &pod(&[1], 0), &pod(&[2], 0), &Boot::new(0, 6, [0; 6])),
            MacKey::derive(&secret, &pod(&[1], 0), &pod(&[2], 0), &Boot::new(0, 5, [1; 6])),
        ];
        let packet = b"a packet";
        let tags = keys.each_ref().map(|key| key.tag(9, packet));
        for (at, key) in keys.iter().enumerate() {
            for (other, tag) in tags.iter().enumerate() {
                assert_eq!(key.verifies(9, packet, tag), at == other, "key {at} and tag {other}");
                assert!(!key.verifies(10, packet, tag) && !key.verifies(9, b"a packe7", tag));
            }
        }
    }

    /// GMAC is GCM's tag over additional data alone. The second test case of the specification's revised text (McGrew and
    /// Viega, test case 1) has no data at all: a key of zeroes, a nonce of zeroes.
    #[test]
    fn the_tag_is_that_of_gcm() {
        let unbound = UnboundKey::new(&AES_128_GCM, &[0; 16]).unwrap();
        let tag = MacKey(LessSafeKey::new(unbound)).tag(0, &[]);
        assert_eq!(u128::from_be_bytes(tag), 0x58e2_fcce_fa7e_3061_367f_1d57_a4e7_455a);
    }
}
