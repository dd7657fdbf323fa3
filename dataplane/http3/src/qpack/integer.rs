//! Owns prefixed integers (RFC 9204 section 4.1.1, RFC 7541 section 5.1).

use super::DecodeError;

/// The largest integer taken: RFC 9204 asks for 62 bits.
const MAX: u64 = (1 << 62) - 1;

/// Reads an integer whose first `prefix` bits share the first octet of `input`, and moves `input` past it.
pub fn decode(prefix: u32, input: &mut &[u8]) -> Result<u64, DecodeError> {
    let (&first, mut rest) = input.split_first().ok_or(DecodeError::Truncated)?;
    let mask = (1u64 << prefix) - 1;
    let mut value = u64::from(first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (&octet, after) = rest.split_first().ok_or(DecodeError::Truncated)?;
            rest = after;
            // Nine octets hold 63 bits: more are either too large or padded without end.
            if shift > 56 {
                return Err(DecodeError::Integer);
            }
            value += u64::from(octet & 0x7f) << shift;
            if value > MAX {
                return Err(DecodeError::Integer);
            }
            shift += 7;
            if octet & 0x80 == 0 {
                break;
            }
        }
    }
    *input = rest;
    Ok(value)
}

/// Appends `value` with the given prefix; `flags` are the bits above the prefix.
pub fn encode(prefix: u32, flags: u8, value: u64, out: &mut Vec<u8>) {
    let mask = (1u64 << prefix) - 1;
    if value < mask {
        out.push(flags | value as u8);
        return;
    }
    out.push(flags | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// An integer that comes octet by octet, for the instruction streams, which are not kept.
#[derive(Clone, Copy, Debug)]
pub struct Partial {
    value: u64,
    shift: u32,
}

impl Partial {
    /// Begins with the first octet. Returns the whole integer when it fits its prefix.
    pub fn begin(prefix: u32, first: u8) -> Result<u64, Self> {
        let mask = (1u64 << prefix) - 1;
        let value = u64::from(first) & mask;
        if value < mask { Ok(value) } else { Err(Self { value, shift: 0 }) }
    }

    /// Takes one more octet. Returns the integer when this was the last.
    pub fn octet(&mut self, octet: u8) -> Result<Option<u64>, DecodeError> {
        if self.shift > 56 {
            return Err(DecodeError::Integer);
        }
        self.value += u64::from(octet & 0x7f) << self.shift;
        if self.value > MAX {
            return Err(DecodeError::Integer);
        }
        self.shift += 7;
        Ok((octet & 0x80 == 0).then_some(self.value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 7541 appendix C.1.
    #[test]
    fn vectors() {
        let cases: &[(u32, u64, &[u8])] =
            &[(5, 10, &[10]), (5, 1337, &[31, 154, 10]), (8, 42, &[42]), (7, 127, &[127, 0])];
        for (prefix, value, octets) in cases {
            let mut out = Vec::new();
            encode(*prefix, 0, *value, &mut out);
            assert_eq!(out, *octets);
            assert_eq!(decode(*prefix, &mut &out[..]), Ok(*value));
        }
    }

    #[test]
    fn bounds() {
        let endless = [&[0x1f][..], &[0x80; 20]].concat();
        let large = [&[0x1f][..], &[0xff; 8], &[0x7f]].concat();
        for (octets, error) in [
            (&endless, DecodeError::Integer),
            (&large, DecodeError::Integer),
            (&vec![0x1f, 0x80], DecodeError::Truncated),
        ] {
            assert_eq!(decode(5, &mut &octets[..]), Err(error));
        }
        assert_eq!(decode(5, &mut &[][..]), Err(DecodeError::Truncated));
    }

    proptest! {
        #[test]
        fn round_trip(value in 0..=MAX, shift in 0u32..62, prefix in 3u32..=8) {
            let value = value >> shift;
            let mut out = Vec::new();
            encode(prefix, 0, value, &mut out);
            let mut input = &out[..];
            prop_assert_eq!(decode(prefix, &mut input), Ok(value));
            prop_assert!(input.is_empty());
            let whole = match Partial::begin(prefix, out[0]) {
                Ok(value) => value,
                Err(mut partial) => out[1..].iter().find_map(|octet| partial.octet(*octet).unwrap()).unwrap(),
            };
            prop_assert_eq!(whole, value);
        }
    }
}
