//! Keys, which leave no trace.
//!
//! Owns the octets of a key for as long as it lives, and how others are derived. Knows nothing of what is encrypted.

use std::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use crate::WrongLength;

/// Octets of a key of AES-128.
pub const KEY_LEN: usize = 16;

/// A key of AES-128. Its memory is overwritten when it is dropped, and it is not printed.
#[derive(Clone)]
pub struct Key([u8; KEY_LEN]);

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Key {}

impl Key {
    /// The octets, for whoever carries keys to where they are used.
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// A key for another purpose, from which this one is not found: the start of a SHA-256 over a label of fixed length
    /// for each purpose, this key, and what the purpose is about.
    pub(crate) fn derive(&self, label: &[u8; 16], about: &[u8]) -> Key {
        let mut digest: [u8; 32] =
            Sha256::new().chain_update(label).chain_update(self.0).chain_update(about).finalize().into();
        let mut key = [0; KEY_LEN];
        key.copy_from_slice(&digest[..KEY_LEN]);
        digest.zeroize();
        Key(key)
    }
}

impl From<[u8; KEY_LEN]> for Key {
    fn from(mut octets: [u8; KEY_LEN]) -> Self {
        let key = Key(octets);
        octets.zeroize();
        key
    }
}

impl TryFrom<&[u8]> for Key {
    type Error = WrongLength;

    fn try_from(octets: &[u8]) -> Result<Self, WrongLength> {
        let wrong = WrongLength { found: octets.len(), least: KEY_LEN, most: KEY_LEN };
        octets.try_into().map(Key).map_err(|_| wrong)
    }
}

impl PartialEq for Key {
    /// Looks at every octet, wherever the first difference is.
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |differences, (own, other)| differences | (own ^ other)) == 0
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_printed() {
        let key = Key::from([0xab; KEY_LEN]);
        assert_eq!(format!("{key:?} {key:#?}"), "Key(..) Key(..)");
        let error = Key::try_from(&[0xab; 15][..]).unwrap_err();
        assert_eq!(error.to_string(), "it has 15 octets, and 16 to 16 are needed");
    }

    #[test]
    fn derived_keys_differ_by_label_and_by_subject() {
        let key = Key::from([1; KEY_LEN]);
        let derived = [
            key.derive(b"0123456789abcdef", b"a"),
            key.derive(b"0123456789abcdef", b"b"),
            key.derive(b"fedcba9876543210", b"a"),
            Key::from([2; KEY_LEN]).derive(b"0123456789abcdef", b"a"),
            key.clone(),
        ];
        for (at, one) in derived.iter().enumerate() {
            assert!(derived[..at].iter().all(|other| other != one));
        }
        assert_eq!(key.derive(b"0123456789abcdef", b"a"), derived[0]);
    }
}
