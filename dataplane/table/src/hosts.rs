//! Something for each host pattern, found from the most specific pattern to the least.
//!
//! Shared by ports (which listener) and listeners (which routes). Allocates nothing when asked.

use crate::hostname::{HostPattern, MAX_HOSTNAME};
use crate::keyed::{OctetMap, Seed};

/// A value for each of some host patterns.
#[derive(Debug)]
pub(crate) struct Hosts<T> {
    exact: OctetMap<T>,
    /// By suffix, without the `*.`.
    wildcard: OctetMap<T>,
    any: Option<T>,
}

impl<T> Hosts<T> {
    pub(crate) fn new(seed: Seed) -> Self {
        Hosts { exact: seed.map(), wildcard: seed.map(), any: None }
    }

    /// The value of this pattern, made where it is missing.
    pub(crate) fn entry(&mut self, pattern: &HostPattern, make: impl FnOnce() -> T) -> &mut T {
        match pattern {
            HostPattern::Any => self.any.get_or_insert_with(make),
            HostPattern::Wildcard(suffix) => self.wildcard.entry(octets(suffix.as_str())).or_insert_with(make),
            HostPattern::Exact(name) => self.exact.entry(octets(name.as_str())).or_insert_with(make),
        }
    }

    /// Every value, in no order.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.exact.values_mut().chain(self.wildcard.values_mut()).chain(self.any.as_mut())
    }

    /// The first answer of `ask` over the values whose pattern covers `host`: exact, then wildcards from the longest,
    /// then any.
    ///
    /// The case of `host` and one trailing dot are ignored. What is too long for a host name is covered by
    /// [`HostPattern::Any`] alone.
    pub(crate) fn find<'t, R>(&'t self, host: &str, mut ask: impl FnMut(&'t T) -> Option<R>) -> Option<R> {
        let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
        let mut buffer = [0; MAX_HOSTNAME];
        if let Some(lower) = buffer.get_mut(..host.len()) {
            lower.copy_from_slice(host);
            lower.make_ascii_lowercase();
            let lower = &*lower;
            let exact = self.exact.get(lower).and_then(&mut ask);
            if exact.is_some() {
                return exact;
            }
            let wildcard = self.wildcards(lower).find_map(&mut ask);
            if wildcard.is_some() {
                return wildcard;
            }
        }
        self.any.as_ref().and_then(ask)
    }

    /// The values of the wildcards that cover `host`, the longest suffix first. At most 126 dots fit a host name.
    fn wildcards<'t>(&'t self, host: &[u8]) -> impl Iterator<Item = &'t T> {
        let dots = host.iter().enumerate().skip(1).filter(|(_, octet)| **octet == b'.');
        let most = if self.wildcard.is_empty() { 0 } else { MAX_HOSTNAME };
        dots.take(most).filter_map(|(dot, _)| self.wildcard.get(&host[dot + 1..]))
    }
}

fn octets(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(patterns: &[&str]) -> Hosts<String> {
        let mut hosts = Hosts::new(Seed(0));
        for text in patterns {
            let pattern = if text.is_empty() { HostPattern::Any } else { HostPattern::try_from(*text).unwrap() };
            hosts.entry(&pattern, || (*text).to_owned());
        }
        hosts
    }

    #[test]
    fn patterns_are_asked_from_the_most_specific() {
        let hosts = hosts(&["", "*.com", "*.example.com", "*.a.example.com", "a.example.com", "example.com"]);
        let cases: &[(&str, &[&str])] = &[
            ("a.example.com", &["a.example.com", "*.example.com", "*.com", ""]),
            ("A.EXAMPLE.com.", &["a.example.com", "*.example.com", "*.com", ""]),
            ("b.a.example.com", &["*.a.example.com", "*.example.com", "*.com", ""]),
            ("c.b.a.example.com", &["*.a.example.com", "*.example.com", "*.com", ""]),
            ("example.com", &["example.com", "*.com", ""]),
            ("com", &[""]),
            (".com", &[""]),
            ("", &[""]),
            (".", &[""]),
            ("[::1]", &[""]),
            ("aexample.com", &["*.com", ""]),
            ("a.example.com..", &[""]),
            (&"a.".repeat(127)[..253], &[""]),
            (&format!("{}.com", "a".repeat(250)), &[""]),
        ];
        for (host, expected) in cases {
            let mut asked = Vec::new();
            hosts.find(host, |value| -> Option<()> {
                asked.push(value.as_str());
                None
            });
            assert_eq!(asked, *expected, "{host}");
        }
    }

    #[test]
    fn the_first_answer_ends_the_search() {
        let hosts = hosts(&["", "*.com", "a.com"]);
        assert_eq!(hosts.find("a.com", |value| value.starts_with('*').then_some(value.as_str())), Some("*.com"));
    }
}
