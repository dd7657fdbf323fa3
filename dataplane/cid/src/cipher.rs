//! The draft's ciphers over the octets after the first: one block of AES-128, or a Feistel network of it.
//!
//! Owns how a server ID and a nonce are sealed and opened. Knows nothing of what the first octet says.
//!
//! A network's halves are kept at the left of 128 bits, since that is where the draft's `expand` puts them: what is
//! expanded is the half with two octets at the other end, and what is truncated is a mask. Where the number of octets is
//! odd, the octet in the middle belongs to both halves, four bits to each, and the masks leave out the other four.

use std::fmt;

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};

use crate::key::Key;
use crate::layout::MAX_CID;

/// Octets of a block.
const BLOCK: usize = 16;

/// How often the draft's network passes over an ID.
const PASSES: u8 = 4;

/// How often our own permutation passes. The draft says of twelve passes that they would surely withstand the attacks by
/// which four are told from chance, and leaves them out for the sake of balancers, which never see this permutation.
const PERMUTATION_PASSES: u8 = 12;

/// AES-128 under one key. The aes crate overwrites the key schedule when it is dropped.
#[derive(Clone)]
pub(crate) struct Cipher(Aes128);

impl Cipher {
    pub(crate) fn new(key: &Key) -> Self {
        Self(Aes128::new(key.expose().into()))
    }

    fn encrypt(&self, block: u128) -> u128 {
        let mut block = block.to_be_bytes().into();
        self.0.encrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    }

    /// Encrypts the concatenation of a server ID and a nonce in place.
    pub(crate) fn seal(&self, octets: &mut [u8]) {
        match <&mut [u8; BLOCK]>::try_from(&mut *octets) {
            Ok(block) => self.0.encrypt_block(block.into()),
            Err(_) => self.network(octets, 1..=PASSES),
        }
    }

    /// Decrypts in place. `wanted` says how many octets from the start matter: where they all lie in the left half, the
    /// last pass of the network is left out, and the octets after them are undefined.
    pub(crate) fn open(&self, octets: &mut [u8], wanted: usize) {
        let is_left = wanted <= octets.len() / 2;
        match <&mut [u8; BLOCK]>::try_from(&mut *octets) {
            Ok(block) => self.0.decrypt_block(block.into()),
            Err(_) if is_left => self.network(octets, (2..=PASSES).rev()),
            Err(_) => self.network(octets, (1..=PASSES).rev()),
        }
    }

    /// A permutation of all strings of this length, for our own use.
    pub(crate) fn permute(&self, octets: &mut [u8]) {
        self.network(octets, 1..=PERMUTATION_PASSES);
    }

    /// Odd passes change the right half and even ones the left. The inverse is the same passes in the other order.
    fn network(&self, octets: &mut [u8], passes: impl Iterator<Item = u8>) {
        let mut halves = Halves::of(octets);
        let length = octets.len() as u128;
        for pass in passes {
            let (source, target, mask) = match pass % 2 {
                1 => (halves.left, &mut halves.right, halves.right_mask),
                _ => (halves.right, &mut halves.left, halves.left_mask),
            };
            *target ^= self.encrypt(source | length << 8 | u128::from(pass)) & mask;
        }
        halves.write(octets);
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(..)")
    }
}

/// A string of octets, cut in the middle.
struct Halves {
    left: u128,
    right: u128,
    left_mask: u128,
    right_mask: u128,
}

impl Halves {
    fn of(octets: &[u8]) -> Self {
        debug_assert!((4..MAX_CID).contains(&octets.len()), "a half leaves two octets of a block free");
        let half = octets.len().div_ceil(2);
        let mask = u128::MAX << (128 - 8 * half);
        let (left_mask, right_mask) = match octets.len() % 2 {
            0 => (mask, mask),
            _ => (mask << 4, mask & u128::MAX >> 4),
        };
        let left = at_left(&octets[..half]) & left_mask;
        let right = at_left(&octets[octets.len() - half..]) & right_mask;
        Self { left, right, left_mask, right_mask }
    }

    fn write(&self, octets: &mut [u8]) {
        let half = octets.len().div_ceil(2);
        let right_at = octets.len() - half;
        octets[..half].copy_from_slice(&self.left.to_be_bytes()[..half]);
        // The octet in the middle has one half of its bits already.
        let middle = if right_at < half { octets[right_at] } else { 0 };
        octets[right_at..].copy_from_slice(&self.right.to_be_bytes()[..half]);
        octets[right_at] |= middle;
    }
}

fn at_left(octets: &[u8]) -> u128 {
    let mut block = [0; BLOCK];
    block[..octets.len()].copy_from_slice(octets);
    u128::from_be_bytes(block)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The example that the draft writes out step by step.
    #[test]
    fn the_example_of_the_draft() {
        let key = 0xfdf7_26a9_893e_c05c_0632_d395_6680_baf0_u128.to_be_bytes();
        let cipher = Cipher::new(&Key::from(key));
        let mut octets = [0x31, 0x44, 0x1a, 0x9c, 0x69, 0xc2, 0x75];
        cipher.seal(&mut octets);
        assert_eq!(octets, [0x67, 0x94, 0x7d, 0x29, 0xbe, 0x05, 0x4a]);
        cipher.open(&mut octets, 7);
        assert_eq!(octets, [0x31, 0x44, 0x1a, 0x9c, 0x69, 0xc2, 0x75]);
    }

    #[test]
    fn halves_are_put_together_again() {
        for length in 5..=19_u8 {
            let octets: Vec<u8> = (1..=length).map(|at| at * 13).collect();
            let mut copy = vec![0xff; octets.len()];
            Halves::of(&octets).write(&mut copy);
            assert_eq!(copy, octets);
        }
    }

    #[test]
    fn what_is_wanted_is_right_after_three_passes_or_four() {
        let cipher = Cipher::new(&Key::from([9; 16]));
        for length in 5..=19 {
            let octets: Vec<u8> = (1..=length).map(|at| at * 11).collect();
            for wanted in 1..=octets.len() {
                let mut copy = octets.clone();
                cipher.seal(&mut copy);
                assert_ne!(copy, octets);
                cipher.open(&mut copy, wanted);
                assert_eq!(copy[..wanted], octets[..wanted], "{wanted} of {length}");
            }
        }
    }

    #[test]
    fn permuting_is_one_to_one() {
        let cipher = Cipher::new(&Key::from([3; 16]));
        for length in [4, 7, 18] {
            let mut seen = HashSet::new();
            for number in 0..=u16::MAX {
                let mut octets = vec![0; length];
                octets[length - 2..].copy_from_slice(&number.to_be_bytes());
                cipher.permute(&mut octets);
                assert!(seen.insert(octets), "{number} with {length} octets");
            }
        }
    }

    #[test]
    fn a_cipher_is_not_printed() {
        assert_eq!(format!("{:?}", Cipher::new(&Key::from([3; 16]))), "Cipher(..)");
    }
}
