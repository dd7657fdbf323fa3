//! Owns QUIC variable-length integers (RFC 9000 section 16): how they are read from and written to octets.

/// The largest value.
pub const MAX: u64 = (1 << 62) - 1;

/// The most octets that one integer takes.
pub const MAX_SIZE: usize = 8;

/// How many octets an integer takes whose first octet is `first`.
pub const fn size_from_first(first: u8) -> usize {
    1 << (first >> 6)
}

/// How many octets `value` takes in its shortest form. Values over [`MAX`] have none, and count as the longest.
pub const fn size(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

/// Reads one integer from the front of `input` and says how many octets it took; `None` when some are missing.
pub fn decode(input: &[u8]) -> Option<(u64, usize)> {
    let first = *input.first()?;
    let size = size_from_first(first);
    let rest = input.get(1..size)?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, octet| value << 8 | u64::from(*octet));
    Some((value, size))
}

/// Reads one integer that must fill `input` exactly.
pub fn decode_exact(input: &[u8]) -> Option<u64> {
    decode(input).and_then(|(value, size)| (size == input.len()).then_some(value))
}

/// Writes `value` in its shortest form to the front of `out` and says how many octets that took.
///
/// # Panics
/// When `value` is over [`MAX`] or `out` is too short.
pub fn encode(value: u64, out: &mut [u8]) -> usize {
    assert!(value <= MAX, "a QUIC integer has 62 bits");
    match size(value) {
        1 => out[0] = value as u8,
        2 => out[..2].copy_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        4 => out[..4].copy_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out[..8].copy_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
    size(value)
}

/// Appends `value` in its shortest form.
///
/// # Panics
/// When `value` is over [`MAX`].
pub fn append(value: u64, out: &mut Vec<u8>) {
    let mut octets = [0; MAX_SIZE];
    let size = encode(value, &mut octets);
    out.extend_from_slice(&octets[..size]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 9000 appendix A.1.
    #[test]
    fn vectors() {
        let cases: &[(&[u8], u64)] = &[
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x40, 0x25], 37),
            (&[0x25], 37),
        ];
        for (octets, value) in cases {
            assert_eq!(decode(octets), Some((*value, octets.len())));
            for cut in 0..octets.len() {
                assert_eq!(decode(&octets[..cut]), None);
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip(value in 0..=MAX, shift in 0u32..62) {
            let value = value >> shift;
            let mut out = Vec::new();
            append(value, &mut out);
            prop_assert_eq!(out.len(), size(value));
            prop_assert_eq!(decode_exact(&out), Some(value));
        }
    }
}
