//! The parts of a connection ID, as types that cannot be wrong.
//!
//! Owns what a server ID, a nonce, a configuration's number and a connection ID are. Knows nothing of how one is made of
//! the others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::layout::{Layout, MAX_CID, MAX_NONCE, MAX_SERVER_ID, MIN_CID, MIN_NONCE, MIN_SERVER_ID};
use crate::octets::octets;

octets! {
    /// Which server issued a connection ID: opaque octets, with no order of their own.
    ServerId, MIN_SERVER_ID, MAX_SERVER_ID
}

octets! {
    /// What tells two connection IDs of one server apart.
    Nonce, MIN_NONCE, MAX_NONCE
}

octets! {
    /// A connection ID that a server issues: between [`MIN_CID`] and [`MAX_CID`] octets.
    ///
    /// IDs from outside are octets and no values of this type, since clients may choose others.
    ConnectionId, MIN_CID, MAX_CID
}

impl ConnectionId {
    /// The configuration that its first octet names. `None` is the reserved number of unroutable IDs.
    pub fn config(&self) -> Option<ConfigId> {
        ConfigId::of_first_octet(self.as_slice()[0])
    }
}

/// A text that is not the server ID of a target of the Network Load Balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAwsServerId {
    /// It does not decode.
    #[error("it is not base64")]
    NotBase64,
    /// It decodes to more or fewer octets.
    #[error("it has {0} octets, and 8 are needed")]
    Length(usize),
}

impl ServerId {
    /// From the value of `AWS_LBC_QUIC_SERVER_ID`, which the AWS Load Balancer Controller puts into a pod: the base64 of
    /// 8 octets.
    pub fn from_aws(text: &str) -> Result<Self, NotAnAwsServerId> {
        let octets = STANDARD.decode(text.trim()).map_err(|_| NotAnAwsServerId::NotBase64)?;
        if octets.len() != Layout::AWS_NLB.server_id_len() {
            return Err(NotAnAwsServerId::Length(octets.len()));
        }
        Self::try_from(octets.as_slice()).map_err(|wrong| NotAnAwsServerId::Length(wrong.found))
    }
}

/// Bits of the first octet that say a configuration's number: the three most significant ones.
const CONFIG_SHIFT: u32 = 5;

/// The bits of the first octet below those: the length, or anything.
pub(crate) const LOW_BITS: u8 = 0b0001_1111;

/// The first octet of an unroutable ID, without the length.
pub(crate) const RESERVED: u8 = 0b111 << CONFIG_SHIFT;

/// The number of a configuration: 0 to 6. The draft reserves 0b111 for IDs that no balancer can decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigId(u8);

/// A number that no configuration can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a configuration's number is 0 to 6, and {0} is not")]
pub struct NotAConfigId(pub u8);

impl ConfigId {
    /// The number 0.
    pub const FIRST: ConfigId = ConfigId(0);

    /// How many there are.
    pub const COUNT: usize = 7;

    /// Every one, in order.
    pub fn all() -> impl Iterator<Item = ConfigId> {
        (0..Self::COUNT as u8).map(ConfigId)
    }

    /// What a connection ID's first octet names.
    pub const fn of_first_octet(octet: u8) -> Option<Self> {
        let number = octet >> CONFIG_SHIFT;
        if (number as usize) < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self.0
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The first octet with these low bits.
    pub(crate) const fn first_octet(self, low_bits: u8) -> u8 {
        self.0 << CONFIG_SHIFT | low_bits & LOW_BITS
    }
}

impl TryFrom<u8> for ConfigId {
    type Error = NotAConfigId;

    fn try_from(number: u8) -> Result<Self, NotAConfigId> {
        if usize::from(number) < Self::COUNT { Ok(Self(number)) } else { Err(NotAConfigId(number)) }
    }
}

impl std::fmt::Display for ConfigId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_bounded() {
        let octets = [7; 32];
        for length in 0..octets.len() {
            let octets = &octets[..length];
            assert_eq!(ServerId::try_from(octets).is_ok(), (1..=15).contains(&length), "server ID of {length}");
            assert_eq!(Nonce::try_from(octets).is_ok(), (4..=18).contains(&length), "nonce of {length}");
            assert_eq!(ConnectionId::try_from(octets).is_ok(), (8..=20).contains(&length), "ID of {length}");
        }
        assert_eq!(
            ConnectionId::try_from(&octets[..7]).unwrap_err().to_string(),
            "it has 7 octets, and 8 to 20 are needed"
        );
    }

    #[test]
    fn numbers_of_configurations() {
        for number in 0..=u8::MAX {
            assert_eq!(ConfigId::try_from(number).is_ok(), number <= 6, "{number}");
            assert_eq!(ConfigId::of_first_octet(number).map(ConfigId::number), (number < 0xe0).then_some(number >> 5));
        }
        for id in ConfigId::all() {
            assert_eq!(ConfigId::of_first_octet(id.first_octet(0xff)), Some(id));
        }
    }

    #[test]
    fn server_ids_of_aws() {
        let cases = [
            ("LWV1oW+gjqQ=", Ok("2d6575a16fa08ea4")),
            (" LWV1oW+gjqQ=\n", Ok("2d6575a16fa08ea4")),
            ("", Err(NotAnAwsServerId::Length(0))),
            ("LWV1oW8=", Err(NotAnAwsServerId::Length(5))),
            ("LWV1oW+gjqQBAgM=", Err(NotAnAwsServerId::Length(11))),
            ("0x2d6575a16fa08ea4", Err(NotAnAwsServerId::NotBase64)),
            ("LWV1oW-gjqQ=", Err(NotAnAwsServerId::NotBase64)),
        ];
        for (text, expected) in cases {
            let found = ServerId::from_aws(text).map(|id| id.to_string());
            assert_eq!(found, expected.map(str::to_owned), "{text:?}");
        }
    }
}
