//! Owns the Huffman code of RFC 7541 appendix B, which QPACK uses for strings (RFC 9204 section 4.1.2).
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their symbols, and shorter codes
//! come first. The lengths are therefore the whole table, and the rest is computed when the crate is compiled.

use bytes::BufMut;

use super::DecodeError;

/// The end-of-string symbol, which must not occur in a string.
const EOS: usize = 256;

/// The shortest and the longest code.
const MIN_BITS: usize = 5;
const MAX_BITS: usize = 30;

/// Codes of up to this many bits in all, one or two, are found by one look into a table. What header fields commonly have
/// takes 5 to 8 bits an octet, so that most looks find two, and the table's 16 KiB fit the first-level cache.
const FAST_BITS: usize = 12;

/// Bits of each symbol's code.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// How many symbols have a code of each length.
const COUNTS: [u32; MAX_BITS + 1] = {
    let mut counts = [0; MAX_BITS + 1];
    let mut symbol = 0;
    while symbol <= EOS {
        counts[LENGTHS[symbol] as usize] += 1;
        symbol += 1;
    }
    counts
};

/// The first code of each length.
const FIRST_CODES: [u32; MAX_BITS + 2] = {
    let mut first = [0; MAX_BITS + 2];
    let mut bits = 1;
    while bits <= MAX_BITS {
        first[bits + 1] = (first[bits] + COUNTS[bits]) << 1;
        bits += 1;
    }
    first
};

/// Each symbol's code.
const CODES: [u32; 257] = {
    let mut next = FIRST_CODES;
    let mut codes = [0; 257];
    let mut symbol = 0;
    while symbol <= EOS {
        let bits = LENGTHS[symbol] as usize;
        codes[symbol] = next[bits];
        next[bits] += 1;
        symbol += 1;
    }
    codes
};

/// The symbols by length of code, then by symbol.
const ORDERED: [u16; 257] = {
    let mut ordered = [0; 257];
    let (mut at, mut bits) = (0, MIN_BITS);
    while bits <= MAX_BITS {
        let mut symbol = 0;
        while symbol <= EOS {
            if LENGTHS[symbol] as usize == bits {
                ordered[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        bits += 1;
    }
    ordered
};

/// For codes over [`FAST_BITS`]: one past the last code of a length, at the top of 32 bits, and what to add to a code of
/// this length to get its place in [`ORDERED`].
const LONG: [(u32, i32); MAX_BITS + 1] = {
    let mut long = [(0, 0); MAX_BITS + 1];
    let (mut at, mut bits) = (0, MIN_BITS);
    while bits <= MAX_BITS {
        let end = FIRST_CODES[bits] as u64 + COUNTS[bits] as u64;
        let aligned = end << (32 - bits);
        // The code is complete: the 30-bit codes end where the numbers do.
        long[bits] = (if aligned > u32::MAX as u64 { u32::MAX } else { aligned as u32 }, at - FIRST_CODES[bits] as i32);
        at += COUNTS[bits] as i32;
        bits += 1;
    }
    long
};

/// What the next [`FAST_BITS`] bits begin with.
#[derive(Clone, Copy)]
struct Fast {
    /// One symbol, and one more where both codes fit.
    symbols: [u8; 2],
    /// Bits of the first code; 0 means that it is longer than [`FAST_BITS`].
    first_bits: u8,
    /// Bits of both codes, or of the only one.
    bits: u8,
}

static FAST: [Fast; 1 << FAST_BITS] = {
    let mut single = [(0u8, 0u8); 1 << FAST_BITS];
    let mut symbol = 0;
    while symbol < EOS {
        let bits = LENGTHS[symbol] as usize;
        if bits <= FAST_BITS {
            let mut at = (CODES[symbol] as usize) << (FAST_BITS - bits);
            let end = at + (1 << (FAST_BITS - bits));
            while at < end {
                single[at] = (symbol as u8, bits as u8);
                at += 1;
            }
        }
        symbol += 1;
    }
    let mut fast = [Fast { symbols: [0; 2], first_bits: 0, bits: 0 }; 1 << FAST_BITS];
    let mut at = 0;
    while at < 1 << FAST_BITS {
        let (first, first_bits) = single[at];
        // What follows the first code, with zeros behind it: a code that needs more bits than are there does not count.
        let (second, second_bits) = single[(at << first_bits) & ((1 << FAST_BITS) - 1)];
        let both = first_bits > 0 && second_bits > 0 && (first_bits + second_bits) as usize <= FAST_BITS;
        let bits = if both { first_bits + second_bits } else { first_bits };
        fast[at] = Fast { symbols: [first, second], first_bits, bits };
        at += 1;
    }
    fast
};

/// Why a string was not decoded whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is malformed.
    Malformed,
    /// It is longer than was allowed.
    TooLong,
}

impl From<Stop> for DecodeError {
    fn from(_: Stop) -> Self {
        Self::Huffman
    }
}

/// Decoded octets are handed on in runs of about this many, so that the receiver checks its capacity once a run.
const RUN: usize = 64;

/// How many looks into the table 56 bits are enough for.
const LOOKS: usize = 56 / FAST_BITS;

/// Appends the decoded string to `out`, of at most `limit` octets. On an error, `out` has some of it.
pub fn decode(input: &[u8], limit: usize, out: &mut impl BufMut) -> Result<usize, Stop> {
    let mut reader = Reader { rest: input, window: 0, bits: 0, run: [0; RUN + 2 * LOOKS], filled: 0 };
    let mut total = 0;
    loop {
        let more = reader.run()?;
        total += reader.filled;
        if total > limit {
            return Err(Stop::TooLong);
        }
        out.put_slice(&reader.run[..reader.filled]);
        reader.filled = 0;
        if !more {
            return Ok(total);
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// Bits that are not decoded yet, from the top.
    window: u64,
    /// How many of them count.
    bits: usize,
    run: [u8; RUN + 2 * LOOKS],
    filled: usize,
}

impl Reader<'_> {
    /// Decodes about a run. False when it was the last.
    fn run(&mut self) -> Result<bool, Stop> {
        while let Some(word) = self.rest.first_chunk() {
            if self.filled >= RUN {
                return Ok(true);
            }
            // As many whole octets as there is room for. The bits beyond them come again, unchanged, next time.
            self.window |= u64::from_be_bytes(*word) >> self.bits;
            let octets = (63 - self.bits) / 8;
            self.rest = &self.rest[octets..];
            self.bits += octets * 8;
            for _ in 0..LOOKS {
                let Fast { symbols, first_bits, bits } = self.look();
                if first_bits == 0 {
                    if self.bits >= MAX_BITS {
                        let (symbol, bits) = long_code((self.window >> 32) as u32).ok_or(Stop::Malformed)?;
                        self.take([symbol, 0], bits, 1);
                    }
                    // The bits that are left may not be enough for the remaining looks.
                    break;
                }
                self.take(symbols, bits, 1 + usize::from(bits > first_bits));
            }
        }
        self.last()
    }

    /// Decodes the end of the string, of which every bit counts.
    fn last(&mut self) -> Result<bool, Stop> {
        // Below the bits that count there are zeros from here on.
        self.window &= !u64::MAX.checked_shr(self.bits as u32).unwrap_or(0);
        loop {
            if self.filled >= RUN {
                return Ok(true);
            }
            while self.bits <= 56
                && let Some((octet, rest)) = self.rest.split_first()
            {
                self.window |= u64::from(*octet) << (56 - self.bits);
                self.bits += 8;
                self.rest = rest;
            }
            let Fast { symbols, first_bits, bits } = self.look();
            let count = 1 + usize::from(bits > first_bits);
            if first_bits > 0 && usize::from(bits) <= self.bits {
                self.take(symbols, bits, count);
            } else if first_bits > 0 && usize::from(first_bits) <= self.bits {
                // The zeros looked like a second code.
                self.take(symbols, first_bits, 1);
            } else if first_bits == 0
                && let Some((symbol, bits)) = long_code((self.window >> 32) as u32)
                && usize::from(bits) <= self.bits
            {
                self.take([symbol, 0], bits, 1);
            } else {
                break;
            }
        }
        // What remains is padding: fewer than 8 bits, all ones (RFC 7541 section 5.2).
        let padding = self.bits == 0 || (self.bits < 8 && self.window >> (64 - self.bits) == (1 << self.bits) - 1);
        if padding { Ok(false) } else { Err(Stop::Malformed) }
    }

    fn look(&self) -> Fast {
        FAST[(self.window >> (64 - FAST_BITS)) as usize]
    }

    fn take(&mut self, symbols: [u8; 2], bits: u8, count: usize) {
        self.run[self.filled..self.filled + 2].copy_from_slice(&symbols);
        self.filled += count;
        self.window <<= bits;
        self.bits -= usize::from(bits);
    }
}

/// The symbol at the top of `window` when its code is longer than [`FAST_BITS`]; `None` for the end of string.
fn long_code(window: u32) -> Option<(u8, u8)> {
    let bits = (FAST_BITS + 1..=MAX_BITS).find(|bits| window < LONG[*bits].0)?;
    let code = (window >> (32 - bits)) as i32;
    let symbol = ORDERED[(code + LONG[bits].1) as usize];
    u8::try_from(symbol).ok().map(|symbol| (symbol, bits as u8))
}

/// How many octets the Huffman code of `input` takes.
pub fn encoded_len(input: &[u8]) -> usize {
    input.iter().map(|octet| usize::from(LENGTHS[usize::from(*octet)])).sum::<usize>().div_ceil(8)
}

/// Appends the Huffman code of `input`, padded with ones.
pub fn encode(input: &[u8], out: &mut Vec<u8>) {
    let (mut window, mut bits) = (0u64, 0u32);
    for octet in input {
        let symbol = usize::from(*octet);
        let length = u32::from(LENGTHS[symbol]);
        window = window << length | u64::from(CODES[symbol]);
        bits += length;
        if bits >= 32 {
            bits -= 32;
            out.extend_from_slice(&((window >> bits) as u32).to_be_bytes());
        }
    }
    while bits >= 8 {
        bits -= 8;
        out.push((window >> bits) as u8);
    }
    if bits > 0 {
        out.push((window << (8 - bits)) as u8 | (0xff >> bits));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(input: &[u8]) -> Result<Vec<u8>, Stop> {
        let mut out = Vec::new();
        decode(input, usize::MAX, &mut out).map(|_| out)
    }

    /// RFC 7541 appendices C.4 and C.6.
    #[test]
    fn vectors() {
        let cases: &[(&str, &[u8])] = &[
            ("www.example.com", &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff]),
            ("no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
            ("custom-key", &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f]),
            ("custom-value", &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf]),
            ("302", &[0x64, 0x02]),
            ("private", &[0xae, 0xc3, 0x77, 0x1a, 0x4b]),
            (
                "Mon, 21 Oct 2013 20:13:21 GMT",
                &[
                    0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66,
                    0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
                ],
            ),
            (
                "https://www.example.com",
                &[0x9d, 0x29, 0xad, 0x17, 0x18, 0x63, 0xc7, 0x8f, 0x0b, 0x97, 0xc8, 0xe9, 0xae, 0x82, 0xae, 0x43, 0xd3],
            ),
            ("307", &[0x64, 0x0e, 0xff]),
            ("gzip", &[0x9b, 0xd9, 0xab]),
            (
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
                &[
                    0x94, 0xe7, 0x82, 0x1d, 0xd7, 0xf2, 0xe6, 0xc7, 0xb3, 0x35, 0xdf, 0xdf, 0xcd, 0x5b, 0x39, 0x60,
                    0xd5, 0xaf, 0x27, 0x08, 0x7f, 0x36, 0x72, 0xc1, 0xab, 0x27, 0x0f, 0xb5, 0x29, 0x1f, 0x95, 0x87,
                    0x31, 0x60, 0x65, 0xc0, 0x03, 0xed, 0x4e, 0xe5, 0xb1, 0x06, 0x3d, 0x50, 0x07,
                ],
            ),
        ];
        for (text, octets) in cases {
            let mut out = Vec::new();
            encode(text.as_bytes(), &mut out);
            assert_eq!(out, *octets, "{text}");
            assert_eq!(encoded_len(text.as_bytes()), octets.len());
            assert_eq!(decoded(octets).as_deref(), Ok(text.as_bytes()));
        }
    }

    #[test]
    fn every_symbol() {
        let all: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        encode(&all, &mut out);
        assert_eq!(decoded(&out), Ok(all));
        assert_eq!(CODES[EOS], 0x3fff_ffff);
    }

    #[test]
    fn malformed() {
        // EOS itself; 8 bits of padding; padding that is not ones; a code cut off.
        for octets in
            [&[0xff, 0xff, 0xff, 0xff][..], &[0x07, 0xff], &[0x00], &[0xff], &[0xff, 0xce], &[0xff, 0xff, 0xff, 0xfc]]
        {
            assert_eq!(decoded(octets), Err(Stop::Malformed), "{octets:02x?}");
        }
        assert_eq!(decoded(&[]), Ok(vec![]));
        // '0' is five zero bits, here with three bits of padding.
        assert_eq!(decoded(&[0x07]), Ok(b"0".to_vec()));
    }

    #[test]
    fn stops_at_the_limit() {
        let mut code = Vec::new();
        encode(&[b'a'; 300], &mut code);
        let mut out = Vec::new();
        assert_eq!(decode(&code, 299, &mut out), Err(Stop::TooLong));
        assert!(out.len() <= 299);
        assert_eq!(decode(&code, 300, &mut Vec::new()), Ok(300));
    }

    proptest! {
        #[test]
        fn round_trip(input: Vec<u8>) {
            let mut out = Vec::new();
            encode(&input, &mut out);
            prop_assert_eq!(out.len(), encoded_len(&input));
            prop_assert_eq!(decoded(&out), Ok(input));
        }

        /// Whatever decodes is the only code of its string.
        #[test]
        fn one_code_a_string(input in proptest::collection::vec(any::<u8>(), 0..8)) {
            if let Ok(text) = decoded(&input) {
                let mut out = Vec::new();
                encode(&text, &mut out);
                prop_assert_eq!(out, input);
            }
        }
    }
}
