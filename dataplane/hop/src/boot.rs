//! Which process of a pod a packet comes from, and which of two is the later one.
//!
//! Owns that order. Knows no clock and draws nothing: both come in.

use std::fmt;

/// Octets of a boot in a packet.
pub const BOOT_LEN: usize = 16;

/// Octets that are drawn.
const DRAWN_LEN: usize = 6;

/// Bits of the time: milliseconds until the year 10889.
const TIME_BITS: u32 = 48;

/// One life of a pod's process. What is greater is later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot([u8; BOOT_LEN]);

impl Boot {
    /// Of a process that has been started so often before, at a time since 1970, and with octets that nobody can predict:
    /// they keep two processes apart that were told the same number and time.
    pub fn new(restarts: u32, started_ms: u64, drawn: [u8; DRAWN_LEN]) -> Self {
        let mut octets = [0; BOOT_LEN];
        let time = started_ms.min((1 << TIME_BITS) - 1).to_be_bytes();
        octets[..4].copy_from_slice(&restarts.to_be_bytes());
        octets[4..10].copy_from_slice(&time[2..]);
        octets[10..].copy_from_slice(&drawn);
        Self(octets)
    }

    /// As it is in a packet.
    pub const fn octets(&self) -> &[u8; BOOT_LEN] {
        &self.0
    }
}

impl From<[u8; BOOT_LEN]> for Boot {
    fn from(octets: [u8; BOOT_LEN]) -> Self {
        Self(octets)
    }
}

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Boot(")?;
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_is_greater() {
        let ascending = [
            Boot::new(0, 0, [0; 6]),
            Boot::new(0, 0, [1; 6]),
            Boot::new(0, 1, [0; 6]),
            Boot::new(0, 1_795_000_000_000, [0xff; 6]),
            Boot::new(0, 1_795_000_000_001, [0; 6]),
            // Far beyond what fits.
            Boot::new(0, u64::MAX, [0; 6]),
            // The clock was set back and the count goes on.
            Boot::new(1, 1, [0; 6]),
            Boot::new(256, 0, [0; 6]),
            Boot::new(u32::MAX, 0, [0; 6]),
        ];
        assert!(ascending.is_sorted_by(|earlier, later| earlier < later));
        for boot in ascending {
            assert_eq!(Boot::from(*boot.octets()), boot);
        }
    }
}
