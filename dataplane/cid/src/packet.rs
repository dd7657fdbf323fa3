//! Where a QUIC packet says whom it is for.
//!
//! Owns what every version of QUIC has in common (RFC 8999 section 5). Knows nothing of what is inside.

/// The bit of the first octet that a long header has (RFC 8999 section 5.1).
pub(crate) const LONG_FORM: u8 = 0x80;

/// Where the destination ID of a short header begins (RFC 8999 section 5.2).
pub(crate) const SHORT_CID: usize = 1;

/// Where a long header has the length of the destination ID, after the version.
pub(crate) const LONG_LENGTH: usize = 5;

/// Where the destination ID of a long header begins.
pub(crate) const LONG_CID: usize = 6;

/// The destination of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header<'a> {
    /// A long header, which says how long the ID is.
    Long {
        /// 0 asks for another version (RFC 8999 section 6).
        version: u32,
        /// The destination ID.
        cid: &'a [u8],
    },
    /// A short header, which does not.
    Short {
        /// The destination ID and all that follows on it.
        rest: &'a [u8],
    },
}

impl<'a> Header<'a> {
    /// The header of a datagram's first packet. `None` where it is cut off.
    pub fn of(packet: &'a [u8]) -> Option<Self> {
        if packet.first()? & LONG_FORM == 0 {
            return Some(Header::Short { rest: &packet[SHORT_CID..] });
        }
        let version = u32::from_be_bytes(*packet.get(1..LONG_LENGTH)?.as_array()?);
        let length = usize::from(*packet.get(LONG_LENGTH)?);
        let cid = packet.get(LONG_CID..LONG_CID + length)?;
        Some(Header::Long { version, cid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let cases: [(&[u8], Option<Header<'_>>); 8] = [
            (&[], None),
            (&[0x40], Some(Header::Short { rest: &[] })),
            (&[0x7f, 1, 2], Some(Header::Short { rest: &[1, 2] })),
            (&[0xc0, 0, 0, 0, 1], None),
            (&[0xc0, 0, 0, 0, 1, 0], Some(Header::Long { version: 1, cid: &[] })),
            (&[0xc0, 0, 0, 0, 1, 2, 8], None),
            (&[0xc0, 0, 0, 0, 1, 2, 8, 9, 10], Some(Header::Long { version: 1, cid: &[8, 9] })),
            (&[0x80, 0x6b, 0x33, 0x43, 0xcf, 1, 8], Some(Header::Long { version: 0x6b33_43cf, cid: &[8] })),
        ];
        for (packet, expected) in cases {
            assert_eq!(Header::of(packet), expected, "{packet:02x?}");
        }
    }
}
