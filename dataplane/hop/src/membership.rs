//! Who takes part in the hop.
//!
//! Owns what a table says of it. Knows nothing of addresses.

use headrace_cid::ServerId;

use crate::Secret;

/// Hop secrets that are good at the same time, at most: the one in use, the one before, the one to come, and one more for
/// a rotation on demand in the middle of that. Those beyond are not looked at.
pub const MAX_SECRETS: usize = 4;

/// A pod, as its peers know it. A server ID may come back after a quarantine, and is another pod's then: the allotment
/// tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its server ID.
    pub server: ServerId,
    /// How often the server ID had been allotted before.
    pub allotment: u32,
}

/// Everybody who takes part, at one moment.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The pod itself.
    pub own: Pod,
    /// Secrets that are good. The first is the one to send with.
    pub secrets: Vec<Secret>,
    /// Those that are heard and may be sent to. The pod itself may be among them, and is left out.
    pub peers: Vec<Pod>,
}

impl Membership {
    /// The secrets that count.
    pub(crate) fn secrets(&self) -> &[Secret] {
        &self.secrets[..self.secrets.len().min(MAX_SECRETS)]
    }

    /// Everybody else.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Pod> {
        self.peers.iter().filter(|peer| peer.server != self.own.server)
    }
}
