//! Which certificate a port and a name get.
//!
//! First the listener with the most specific host name that covers the name (exact, then the longest wildcard, then any
//! host), then among that listener's certificates one that names it. Lookups allocate nothing for names in lower case.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// The certificates of one listener.
#[derive(Debug)]
pub(crate) struct ListenerCertificates<'a> {
    /// The port.
    pub(crate) port: u16,
    /// A host name, a wildcard (`*.example.com`), or absent for any host.
    pub(crate) hostname: Option<&'a str>,
    /// The preferred one first. None means that handshakes for the listener's names fail.
    pub(crate) keys: Vec<Arc<CertifiedKey>>,
}

/// The certificates of all listeners. Never changes: a new table makes a new one.
#[derive(Debug, Default)]
pub(crate) struct CertificateIndex {
    ports: HashMap<u16, PortIndex>,
}

#[derive(Debug, Default)]
struct PortIndex {
    named: NameMap<KeySet>,
    any: KeySet,
}

impl CertificateIndex {
    /// The index of these listeners. Of listeners with the same port and host name the certificates are joined.
    pub(crate) fn new<'a>(listeners: impl IntoIterator<Item = ListenerCertificates<'a>>) -> Self {
        let mut index = Self::default();
        for listener in listeners {
            let port = index.ports.entry(listener.port).or_default();
            let set = match listener.hostname {
                Some(hostname) => port.named.entry(hostname),
                None => &mut port.any,
            };
            for key in listener.keys {
                set.add(key);
            }
        }
        for port in index.ports.values_mut() {
            port.named.values_mut().chain([&mut port.any]).for_each(KeySet::order);
        }
        index
    }

    /// The key for a handshake on a port that asks for `name` (without one: for any host) and can verify `schemes`.
    pub(super) fn find(&self, port: u16, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let port = self.ports.get(&port)?;
        let name = name.map(lower_case);
        let name = name.as_deref();
        // Gateway API: a listener's wildcard covers one or more labels.
        let set = name.and_then(|name| port.named.find(name, Labels::OneOrMore)).unwrap_or(&port.any);
        set.choose(name, schemes).cloned()
    }
}

/// Certificates of which one is chosen.
#[derive(Debug, Default)]
struct KeySet {
    /// In the listener's order.
    keys: Vec<Arc<CertifiedKey>>,
    /// Places in `keys` by what the certificates name, RSA last.
    by_name: NameMap<Vec<usize>>,
}

impl KeySet {
    fn add(&mut self, key: Arc<CertifiedKey>) {
        for name in certificate_names(&key) {
            let places = self.by_name.entry(&name);
            if places.last() != Some(&self.keys.len()) {
                places.push(self.keys.len());
            }
        }
        self.keys.push(key);
    }

    /// Puts RSA last where certificates share a name: an ECDSA signature is a tenth of the work and a quarter of the
    /// octets, and most clients can verify either.
    fn order(&mut self) {
        let keys = &self.keys;
        for places in self.by_name.values_mut() {
            places.sort_by_key(|&place| keys[place].key.algorithm() == SignatureAlgorithm::RSA);
        }
    }

    /// The first certificate that names `name`, else the first of all, with a key that the client can verify. If there
    /// is none with such a key, one that it cannot: the handshake then fails for the right reason.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        // RFC 9525 section 6.3: a certificate's wildcard covers one label.
        let Some(places) = name.and_then(|name| self.by_name.find(name, Labels::One)) else {
            return usable(self.keys.iter(), schemes);
        };
        usable(places.iter().filter_map(|&place| self.keys.get(place)), schemes)
    }
}

fn usable<'a>(
    mut keys: impl Iterator<Item = &'a Arc<CertifiedKey>> + Clone,
    schemes: &[SignatureScheme],
) -> Option<&'a Arc<CertifiedKey>> {
    let first = keys.clone().next();
    keys.find(|key| key.key.choose_scheme(schemes).is_some()).or(first)
}

/// The DNS names of a certificate (RFC 5280 section 4.2.1.6). None where it cannot be read: it is then found by its
/// place only.
fn certificate_names(key: &CertifiedKey) -> Vec<String> {
    let Some((_, certificate)) = key.cert.first().and_then(|der| X509Certificate::from_der(der).ok()) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    dns.collect()
}

/// How many labels a wildcard stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Labels {
    One,
    OneOrMore,
}

/// Values by host name, exact or with `*` as its first label.
#[derive(Debug)]
struct NameMap<T> {
    exact: HashMap<Box<str>, T>,
    /// By what follows the `*`: `.example.com`.
    wildcard: HashMap<Box<str>, T>,
}

// Derived, it would ask for `T: Default`.
impl<T> Default for NameMap<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new() }
    }
}

impl<T: Default> NameMap<T> {
    fn entry(&mut self, name: &str) -> &mut T {
        let name = lower_case(name);
        match name.strip_prefix('*') {
            Some(suffix) => self.wildcard.entry(suffix.into()).or_default(),
            None => self.exact.entry(name.into()).or_default(),
        }
    }
}

impl<T> NameMap<T> {
    /// The value for a name in lower case: the exact one, else that of the longest wildcard.
    fn find(&self, name: &str, labels: Labels) -> Option<&T> {
        if let Some(value) = self.exact.get(name) {
            return Some(value);
        }
        // Bounded by the 127 labels of a DNS name (RFC 1035 section 2.3.4), which rustls has checked.
        let mut suffixes = name.match_indices('.').filter(|(at, _)| *at > 0).map(|(at, _)| &name[at..]);
        match labels {
            Labels::One => self.wildcard.get(suffixes.next()?),
            Labels::OneOrMore => suffixes.find_map(|suffix| self.wildcard.get(suffix)),
        }
    }

    fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.exact.values_mut().chain(self.wildcard.values_mut())
    }
}

fn lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|octet| octet.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}
