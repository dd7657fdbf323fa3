//! Query parameters, read as `application/x-www-form-urlencoded` (WHATWG URL, section 5.1) without a copy.
//!
//! Knows the encoding and nothing of routes. An escape that is not one stands for itself.

/// The raw value of the first parameter of this (decoded) name, which is not empty. A parameter without `=` has the empty
/// value.
pub(crate) fn first<'q>(query: &'q str, name: &[u8]) -> Option<&'q str> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(raw, _)| decoded(raw).eq(name.iter().copied()))
        .map(|(_, value)| value)
}

/// Whether a raw text holds anything that decoding changes.
pub(crate) fn is_encoded(raw: &str) -> bool {
    raw.bytes().any(|octet| matches!(octet, b'%' | b'+'))
}

/// The octets that a raw name or value stands for.
pub(crate) fn decoded(raw: &str) -> Decoded<'_> {
    Decoded { rest: raw.as_bytes() }
}

/// See [`decoded`].
#[derive(Clone, Debug)]
pub(crate) struct Decoded<'q> {
    rest: &'q [u8],
}

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (octet, rest) = match *self.rest {
            [b'%', high, low, ref rest @ ..] if let (Some(high), Some(low)) = (nibble(high), nibble(low)) => {
                (high << 4 | low, rest)
            }
            [b'+', ref rest @ ..] => (b' ', rest),
            [octet, ref rest @ ..] => (octet, rest),
            [] => return None,
        };
        self.rest = rest;
        Some(octet)
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_decoded() {
        let cases: &[(&str, &[u8])] = &[
            ("", b""),
            ("abc", b"abc"),
            ("a+b", b"a b"),
            ("%41%2b%2B", b"A++"),
            ("%00%ff", b"\x00\xff"),
            ("%", b"%"),
            ("%4", b"%4"),
            ("%4g", b"%4g"),
            ("%%41", b"%A"),
            ("100%", b"100%"),
        ];
        for (raw, expected) in cases {
            assert_eq!(decoded(raw).collect::<Vec<_>>(), *expected, "{raw}");
        }
    }

    #[test]
    fn the_first_of_a_name_decides() {
        for (query, name, expected) in [
            ("", "a", None),
            ("a", "a", Some("")),
            ("a=", "a", Some("")),
            ("a=1&a=2", "a", Some("1")),
            ("&&b=1&a=2", "a", Some("2")),
            ("a=b=c", "a", Some("b=c")),
            ("%61=1", "a", Some("1")),
            ("a+b=1", "a b", Some("1")),
            ("A=1", "a", None),
            ("ab=1", "a", None),
            ("x=a", "a", None),
        ] {
            assert_eq!(first(query, name.as_bytes()), expected, "{query}");
        }
    }
}
