//! The pods that serve a table together, in checked form.
//!
//! Each of them is in the table, the one that reads it too: it finds itself by its pod's UID.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::wire::Standing;

/// A pod that serves the table, or did until a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The pod's UID.
    pub id: Arc<str>,
    /// The pod's name.
    pub pod: Arc<str>,
    /// What connection IDs name it by. No two that are not [`Standing::Gone`] have the same.
    pub server_id: ServerId,
    /// How often the server ID had been allotted before.
    pub allotment: u32,
    /// Where it takes packets of other pods.
    pub hop: Option<SocketAddr>,
    /// Whether it is there.
    pub standing: Standing,
}

/// The octets by which connection IDs name a pod: 1 to 15.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(Box<[u8]>);

impl ServerId {
    /// The fewest octets.
    pub const MIN: usize = 1;

    /// The most octets: what the shortest nonce and the first octet leave of a connection ID of 20.
    pub const MAX: usize = 15;

    pub(crate) fn new(octets: Vec<u8>) -> Self {
        debug_assert!((Self::MIN..=Self::MAX).contains(&octets.len()), "the door has checked");
        ServerId(octets.into())
    }

    /// The octets.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerId({self})")
    }
}
