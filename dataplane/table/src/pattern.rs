//! Patterns for values and paths: equality, or a regular expression over the whole text.
//!
//! Owns the bounds on what an expression may cost. The engine takes time linear in the text, whatever the pattern; what
//! it allocates are caches of its own, once for each thread, and not a part of each lookup.

use regex::bytes::{Regex, RegexBuilder};

use crate::query;
use crate::wire;

/// Octets of a compiled expression at most. `\w{100}` (all of Unicode, a hundred times) is over it, and what people write
/// to match paths and values is below a tenth of it.
pub const MAX_REGEX_SIZE: usize = 1 << 20;

/// Octets of a thread's cache for one expression at most. Beyond it the engine starts its cache anew and, where that does
/// not help, searches without one: slower by a constant factor and never wrong.
const MAX_REGEX_CACHE: usize = 1 << 18;

/// Octets of an encoded query value that are decoded on the stack for a regular expression. Longer ones, which are rare
/// and bounded by what the data plane takes as a request target, are decoded on the heap.
const DECODED_ON_STACK: usize = 1024;

/// How a value is matched.
#[derive(Clone, Debug)]
pub(crate) enum ValuePattern {
    Exact(Box<[u8]>),
    Regex(Regex),
}

impl TryFrom<&wire::ValuePattern> for ValuePattern {
    type Error = regex::Error;

    fn try_from(pattern: &wire::ValuePattern) -> Result<Self, regex::Error> {
        Ok(match pattern {
            wire::ValuePattern::Exact(value) => ValuePattern::Exact(value.as_bytes().into()),
            wire::ValuePattern::Regex(pattern) => ValuePattern::Regex(whole(pattern)?),
        })
    }
}

impl ValuePattern {
    /// Whether a value matches as it stands.
    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        match self {
            ValuePattern::Exact(expected) => **expected == *value,
            ValuePattern::Regex(regex) => regex.is_match(value),
        }
    }

    /// Whether a raw query value matches once it is decoded.
    pub(crate) fn matches_encoded(&self, raw: &str) -> bool {
        if !query::is_encoded(raw) {
            return self.matches(raw.as_bytes());
        }
        match self {
            ValuePattern::Exact(expected) => query::decoded(raw).eq(expected.iter().copied()),
            ValuePattern::Regex(regex) => {
                let mut buffer = [0; DECODED_ON_STACK];
                if raw.len() > buffer.len() {
                    return regex.is_match(&query::decoded(raw).collect::<Vec<_>>());
                }
                let mut len = 0;
                for octet in query::decoded(raw) {
                    buffer[len] = octet;
                    len += 1;
                }
                regex.is_match(&buffer[..len])
            }
        }
    }
}

/// An expression that matches whole texts only.
///
/// The pattern is compiled by itself first: `a)|(b` is no expression, though it would be one inside the group that
/// anchors it.
pub(crate) fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    limited(pattern)?;
    limited(&format!(r"\A(?:{pattern})\z"))
}

fn limited(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(MAX_REGEX_SIZE).dfa_size_limit(MAX_REGEX_CACHE).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_whole_texts() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a", "ba", false),
            ("a|ab", "ab", true),
            ("a|b", "b", true),
            ("", "", true),
            ("", "a", false),
            ("(?i)a", "A", true),
            ("a.*", "a\n", false),
            ("a$", "a\n", false),
        ] {
            assert_eq!(whole(pattern).unwrap().is_match(text.as_bytes()), expected, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for pattern in ["(", "a)|(b", "[", "a{2", r"(?=a)", r"(a)\1", "(?x)a #", r"\w{100}"] {
            assert!(whole(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn encoded_values_are_decoded_before_they_are_matched() {
        let exact = ValuePattern::Exact(b"a b".as_slice().into());
        let regex = ValuePattern::Regex(whole("a b+").unwrap());
        for (raw, expected) in [("a+b", true), ("a%20b", true), ("a b", true), ("a%2Bb", false), ("a+b+", false)] {
            assert_eq!(exact.matches_encoded(raw), expected, "exact {raw}");
            assert_eq!(regex.matches_encoded(raw), expected, "regex {raw}");
        }
        assert!(regex.matches_encoded(&format!("a+{}", "%62".repeat(DECODED_ON_STACK))));
        assert!(!regex.matches_encoded(&format!("a+{}c", "%62".repeat(DECODED_ON_STACK))));
    }
}
