//! What the pods of a pod set share for QUIC, in checked form.
//!
//! Octets and numbers only: how a connection ID is made of them is headrace-cid's to know. Nothing here prints a secret.

use std::fmt;

use crate::wire::{Form, Phase};

/// Octets of a configuration's key.
pub const KEY_OCTETS: usize = 16;

/// Octets of any other secret.
pub const SECRET_OCTETS: usize = 32;

/// What the pods of a pod set share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Grows with every change of a configuration's phase.
    pub revision: u64,
    /// How connection IDs are made and read, sorted by number, each number once. At most one is [`Phase::Encoding`].
    pub configurations: Vec<Configuration>,
    /// Of packets from pod to pod. In this list as in the others the first is for what is made anew, all are accepted, and
    /// there is at least one.
    pub hop: Vec<Secret>,
    /// Of stateless reset tokens.
    pub reset: Secret,
    /// Of Retry and NEW_TOKEN tokens.
    pub tokens: Vec<Secret>,
    /// Of TLS tickets.
    pub tickets: Vec<Secret>,
}

/// A configuration of connection IDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// 0 to 6.
    pub number: u8,
    /// Who makes IDs with it.
    pub phase: Phase,
    /// Whether who watches can read the server ID.
    pub form: Form,
    /// Octets of the server ID: 1 to 15.
    pub server_id_octets: u8,
    /// Octets of the nonce: 4 to 18, and 7 to 19 together with the server ID.
    pub nonce_octets: u8,
    /// The key.
    pub key: Octets<KEY_OCTETS>,
}

/// A secret with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Unique in its list; no secret.
    pub id: u32,
    /// The secret itself.
    pub octets: Octets<SECRET_OCTETS>,
}

/// Octets that are not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Octets<const N: usize>([u8; N]);

impl<const N: usize> Octets<N> {
    pub(crate) fn new(octets: [u8; N]) -> Self {
        Octets(octets)
    }

    /// The octets, for whoever carries them to where they are used.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> fmt::Debug for Octets<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Octets(..)")
    }
}
