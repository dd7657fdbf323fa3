//! How the octets of a connection ID are divided.
//!
//! Owns the limits that the draft and QUIC set to lengths. Knows nothing of ciphers.

/// The fewest octets of a connection ID here. A client may choose no shorter one for its first packets (RFC 9000 section
/// 7.2), so that the eighth octet of whatever arrives may be read.
pub const MIN_CID: usize = 8;

/// The most octets of a connection ID (RFC 9000 section 17.2).
pub const MAX_CID: usize = 20;

/// The fewest octets of a server ID (draft, "Configuration Agent Actions").
pub const MIN_SERVER_ID: usize = 1;

/// The most octets of a server ID: what the shortest nonce and the first octet leave of [`MAX_CID`].
pub const MAX_SERVER_ID: usize = MAX_CID - 1 - MIN_NONCE;

/// The fewest octets of a nonce (draft, "Configuration Agent Actions").
pub const MIN_NONCE: usize = 4;

/// The most octets of a nonce: what the shortest server ID and the first octet leave of [`MAX_CID`].
pub const MAX_NONCE: usize = MAX_CID - 1 - MIN_SERVER_ID;

/// What follows the first octet of a connection ID: a server ID, then a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    server_id: u8,
    nonce: u8,
}

/// Lengths that make no connection ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotALayout {
    /// No octet for the server ID.
    #[error("a server ID has at least 1 octet")]
    ServerId,
    /// Fewer octets than [`MIN_NONCE`] for the nonce.
    #[error("a nonce has at least 4 octets")]
    Nonce,
    /// Shorter than [`MIN_CID`].
    #[error("server ID and nonce have at least 7 octets together")]
    Short,
    /// Longer than [`MAX_CID`].
    #[error("server ID and nonce have at most 19 octets together")]
    Long,
}

impl Layout {
    /// 17 octets, which are encrypted as one block: 8 of server ID, so that few random IDs name a server that exists, and
    /// 8 of nonce, which no process exhausts.
    pub const SINGLE_BLOCK: Layout = Layout { server_id: 8, nonce: 8 };

    /// 16 octets, as the Network Load Balancer of AWS reads them in QUIC mode.
    pub const AWS_NLB: Layout = Layout { server_id: 8, nonce: 7 };

    /// A layout with these lengths in octets.
    pub fn new(server_id: usize, nonce: usize) -> Result<Self, NotALayout> {
        match server_id.saturating_add(nonce) {
            _ if server_id < MIN_SERVER_ID => Err(NotALayout::ServerId),
            _ if nonce < MIN_NONCE => Err(NotALayout::Nonce),
            sum if sum < MIN_CID - 1 => Err(NotALayout::Short),
            sum if sum > MAX_CID - 1 => Err(NotALayout::Long),
            _ => Ok(Self { server_id: server_id as u8, nonce: nonce as u8 }),
        }
    }

    /// Octets of the server ID.
    pub const fn server_id_len(self) -> usize {
        self.server_id as usize
    }

    /// Octets of the nonce.
    pub const fn nonce_len(self) -> usize {
        self.nonce as usize
    }

    /// Octets of server ID and nonce: what is encrypted.
    pub const fn plaintext_len(self) -> usize {
        self.server_id_len() + self.nonce_len()
    }

    /// Octets of the whole connection ID.
    pub const fn cid_len(self) -> usize {
        1 + self.plaintext_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_fit_and_that_do_not() {
        let cases = [
            (3, 4, Ok(8)),
            (1, 6, Ok(8)),
            (15, 4, Ok(20)),
            (1, 18, Ok(20)),
            (8, 8, Ok(17)),
            (0, 8, Err(NotALayout::ServerId)),
            (8, 3, Err(NotALayout::Nonce)),
            (2, 4, Err(NotALayout::Short)),
            (16, 4, Err(NotALayout::Long)),
            (2, 18, Err(NotALayout::Long)),
            (usize::MAX, 4, Err(NotALayout::Long)),
        ];
        for (server_id, nonce, expected) in cases {
            assert_eq!(Layout::new(server_id, nonce).map(Layout::cid_len), expected, "{server_id} + {nonce}");
        }
    }

    #[test]
    fn named_layouts_are_legal() {
        for layout in [Layout::SINGLE_BLOCK, Layout::AWS_NLB] {
            assert_eq!(Layout::new(layout.server_id_len(), layout.nonce_len()), Ok(layout));
        }
    }
}
