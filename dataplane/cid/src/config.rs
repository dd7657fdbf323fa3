//! One configuration: how a server ID and a nonce become a connection ID, and how the server ID is found again.
//!
//! Owns the draft's encoding and decoding. Knows neither which servers there are nor which nonces were used.

use std::fmt;

use crate::cipher::Cipher;
use crate::id::LOW_BITS;
use crate::key::Key;
use crate::layout::{Layout, MAX_CID};
use crate::{ConfigId, ConnectionId, Nonce, ServerId, WrongLength};

/// What the five low bits of the first octet say (draft, "Length Self-Description").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LowBits {
    /// The length of the ID without the first octet.
    Length,
    /// Nothing: they are drawn for each ID.
    Random,
}

/// Whether who watches can read the server ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Everybody can.
    Clear,
    /// Who has the key can.
    Encrypted,
}

impl Form {
    /// For metrics and status.
    pub const fn label(self) -> &'static str {
        match self {
            Form::Clear => "clear",
            Form::Encrypted => "encrypted",
        }
    }
}

/// A configuration. It holds a secret, which it does not print.
#[derive(Clone)]
pub struct Config {
    id: ConfigId,
    layout: Layout,
    low_bits: LowBits,
    /// Of the connection ID where there is a cipher, and of its nonces in any case.
    secret: Key,
    cipher: Option<Cipher>,
}

/// Octets that are no connection ID of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOfConfig {
    /// The first octet names another configuration.
    #[error("it is of another configuration")]
    Config,
    /// It is longer or shorter than the layout, or says so of itself.
    #[error("it is not as long as the layout says")]
    Length,
}

impl Config {
    /// One whose IDs are encrypted: as one block where the layout has 16 octets, and by the four-pass network otherwise.
    pub fn encrypted(id: ConfigId, layout: Layout, low_bits: LowBits, key: Key) -> Self {
        let cipher = Some(Cipher::new(&key));
        Self { id, layout, low_bits, secret: key, cipher }
    }

    /// One whose IDs are in clear text. The secret hides how nonces follow on each other; only servers have it.
    pub fn clear(id: ConfigId, layout: Layout, low_bits: LowBits, nonce_secret: Key) -> Self {
        Self { id, layout, low_bits, secret: nonce_secret, cipher: None }
    }

    /// What the Network Load Balancer of AWS reads in QUIC mode: number 0, clear text, 8 octets of server ID, 7 of nonce.
    pub fn aws_nlb(nonce_secret: Key) -> Self {
        Self::clear(ConfigId::FIRST, Layout::AWS_NLB, LowBits::Random, nonce_secret)
    }

    /// Its number.
    pub const fn id(&self) -> ConfigId {
        self.id
    }

    /// How long server ID and nonce are.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Clear text or not.
    pub const fn form(&self) -> Form {
        if self.cipher.is_some() { Form::Encrypted } else { Form::Clear }
    }

    /// What the low bits of the first octet say.
    pub const fn low_bits(&self) -> LowBits {
        self.low_bits
    }

    pub(crate) const fn secret(&self) -> &Key {
        &self.secret
    }

    /// Whether every octet after the first is the output of AES, which tells nothing of what went in.
    pub(crate) const fn is_single_block(&self) -> bool {
        self.cipher.is_some() && self.layout.plaintext_len() == 16
    }

    /// The connection ID of a server with a nonce. The low bits of `drawn` are used where the first octet does not say the
    /// length; the caller draws them for each ID.
    pub fn encode(&self, server: &ServerId, nonce: &Nonce, drawn: u8) -> Result<ConnectionId, WrongLength> {
        fits(server.as_slice(), self.layout.server_id_len())?;
        fits(nonce.as_slice(), self.layout.nonce_len())?;
        let mut octets = [0; MAX_CID];
        let octets = &mut octets[..self.layout.cid_len()];
        let low_bits = match self.low_bits {
            LowBits::Length => self.layout.plaintext_len() as u8,
            LowBits::Random => drawn,
        };
        octets[0] = self.id.first_octet(low_bits);
        let nonce_at = 1 + self.layout.server_id_len();
        octets[1..nonce_at].copy_from_slice(server.as_slice());
        octets[nonce_at..].copy_from_slice(nonce.as_slice());
        if let Some(cipher) = &self.cipher {
            cipher.seal(&mut octets[1..]);
        }
        ConnectionId::try_from(&*octets)
    }

    /// The server ID in a connection ID.
    pub fn decode(&self, cid: &[u8]) -> Result<ServerId, NotOfConfig> {
        let wanted = self.layout.server_id_len();
        let plaintext = self.open(cid, wanted)?;
        Ok(ServerId::try_from(&plaintext[1..=wanted]).expect("a layout has a legal server ID"))
    }

    /// The server ID and the nonce. A balancer needs no nonce; this is for tests and for people who look for a fault.
    pub fn decode_whole(&self, cid: &[u8]) -> Result<(ServerId, Nonce), NotOfConfig> {
        let plaintext = self.open(cid, self.layout.plaintext_len())?;
        let (server, nonce) = plaintext[1..self.layout.cid_len()].split_at(self.layout.server_id_len());
        let server = ServerId::try_from(server).expect("a layout has a legal server ID");
        let nonce = Nonce::try_from(nonce).expect("a layout has a legal nonce");
        Ok((server, nonce))
    }

    fn open(&self, cid: &[u8], wanted: usize) -> Result<[u8; MAX_CID], NotOfConfig> {
        let first = *cid.first().ok_or(NotOfConfig::Length)?;
        if ConfigId::of_first_octet(first) != Some(self.id) {
            return Err(NotOfConfig::Config);
        }
        // The draft lets servers append octets of their own. No server of ours does, so that other lengths are no ID of
        // theirs.
        let says_otherwise =
            self.low_bits == LowBits::Length && usize::from(first & LOW_BITS) != self.layout.plaintext_len();
        if cid.len() != self.layout.cid_len() || says_otherwise {
            return Err(NotOfConfig::Length);
        }
        let mut octets = [0; MAX_CID];
        octets[..cid.len()].copy_from_slice(cid);
        if let Some(cipher) = &self.cipher {
            cipher.open(&mut octets[1..cid.len()], wanted);
        }
        Ok(octets)
    }
}

fn fits(octets: &[u8], needed: usize) -> Result<(), WrongLength> {
    match octets.len() {
        found if found == needed => Ok(()),
        found => Err(WrongLength { found, least: needed, most: needed }),
    }
}

impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        // The cipher follows from the rest.
        (self.id, self.layout, self.low_bits, self.form()) == (other.id, other.layout, other.low_bits, other.form())
            && self.secret == other.secret
    }
}

impl Eq for Config {}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("id", &self.id.number())
            .field("layout", &self.layout)
            .field("low_bits", &self.low_bits)
            .field("form", &self.form())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(low_bits: LowBits) -> Config {
        Config::encrypted(ConfigId::try_from(3).unwrap(), Layout::SINGLE_BLOCK, low_bits, Key::from([0xcd; 16]))
    }

    fn encoded(low_bits: LowBits, drawn: u8) -> ConnectionId {
        let server = ServerId::try_from(&[1; 8][..]).unwrap();
        config(low_bits).encode(&server, &Nonce::try_from(&[2; 8][..]).unwrap(), drawn).unwrap()
    }

    #[test]
    fn the_first_octet() {
        assert_eq!(encoded(LowBits::Length, 0xff).as_slice()[0], 0x60 | 16);
        assert_eq!(encoded(LowBits::Random, 0xff).as_slice()[0], 0x7f);
        assert_eq!(encoded(LowBits::Random, 0x40).as_slice()[0], 0x60);
        assert_eq!(encoded(LowBits::Random, 0).config(), ConfigId::try_from(3).ok());
    }

    #[test]
    fn what_is_not_of_a_configuration() {
        let good = encoded(LowBits::Length, 0);
        let (good, mut longer) = (good.as_slice(), good.as_slice().to_vec());
        longer.push(0);
        let with_first = |first: u8| [&[first][..], &good[1..]].concat();
        let cases = [
            (good.to_vec(), None),
            (Vec::new(), Some(NotOfConfig::Length)),
            (good[..16].to_vec(), Some(NotOfConfig::Length)),
            (longer, Some(NotOfConfig::Length)),
            (with_first(0x60 | 15), Some(NotOfConfig::Length)),
            (with_first(0x40 | 16), Some(NotOfConfig::Config)),
            (with_first(0xe0 | 16), Some(NotOfConfig::Config)),
        ];
        for (octets, expected) in cases {
            assert_eq!(config(LowBits::Length).decode(&octets).err(), expected, "{octets:02x?}");
        }
        // Where the bits say nothing, any will do.
        assert!(config(LowBits::Random).decode(&with_first(0x60 | 15)).is_ok());
    }

    #[test]
    fn other_lengths_are_refused() {
        let server = ServerId::try_from(&[1; 7][..]).unwrap();
        let nonce = Nonce::try_from(&[1; 9][..]).unwrap();
        let refused = config(LowBits::Random).encode(&server, &nonce, 0).unwrap_err();
        assert_eq!(refused, WrongLength { found: 7, least: 8, most: 8 });
    }

    #[test]
    fn a_configuration_prints_no_key() {
        let text = format!("{:?}", config(LowBits::Random));
        assert!(text.contains("Encrypted") && !text.contains("205") && !text.contains("cd"), "{text}");
    }
}
