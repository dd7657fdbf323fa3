//! The door for TLS towards backends.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::{MAX_TEXT, admit_host_pattern};
use crate::backend_tls::{BackendTls, SubjectAltName, Trust};
use crate::hostname::Hostname;
use crate::refused::{List, Reason};
use crate::wire;

/// Octets of a backend's roots at most: eight references, which is what a BackendTLSPolicy may have, to ConfigMaps of
/// 1 MiB, which is what one may hold.
pub const MAX_ROOTS: usize = 8 * 1024 * 1024;

/// Where a certificate begins in PEM (RFC 7468 section 5.1).
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// What the backends of a table ask for. Many ask for the same, and its roots are long: it is kept once.
#[derive(Default)]
pub(super) struct Identities(HashSet<Arc<BackendTls>>);

impl Identities {
    pub(super) fn admit(&mut self, tls: wire::BackendTls) -> Result<Arc<BackendTls>, Reason> {
        let tls = admit(tls)?;
        if let Some(known) = self.0.get(&tls) {
            return Ok(Arc::clone(known));
        }
        let tls = Arc::new(tls);
        self.0.insert(Arc::clone(&tls));
        Ok(tls)
    }
}

fn admit(tls: wire::BackendTls) -> Result<BackendTls, Reason> {
    List::SubjectAltNames.check(tls.subject_alt_names.len())?;
    let names = tls.subject_alt_names.into_iter().map(admit_name);
    Ok(BackendTls {
        server_name: admit_server_name(tls.server_name)?,
        trust: admit_trust(tls.trust)?,
        subject_alt_names: names.collect::<Result<_, _>>()?,
    })
}

fn admit_server_name(text: String) -> Result<Hostname, Reason> {
    if text.parse::<IpAddr>().is_ok() {
        return Err(Reason::ServerNameIsAddress(text));
    }
    Hostname::try_from(&*text).map_err(|fault| Reason::Hostname { host: text, fault })
}

fn admit_trust(trust: wire::Trust) -> Result<Trust, Reason> {
    match trust {
        wire::Trust::System => Ok(Trust::System),
        wire::Trust::Roots(roots) if roots.len() > MAX_ROOTS => Err(Reason::RootsTooLong(roots.len())),
        wire::Trust::Roots(roots) if !roots.contains(CERTIFICATE) => Err(Reason::NoRoots),
        wire::Trust::Roots(roots) => Ok(Trust::Roots(roots)),
    }
}

fn admit_name(name: wire::SubjectAltName) -> Result<SubjectAltName, Reason> {
    match name {
        wire::SubjectAltName::Hostname(host) => Ok(SubjectAltName::Hostname(admit_host_pattern(&host)?)),
        wire::SubjectAltName::Uri(uri) if uri.len() > MAX_TEXT => Err(Reason::TooLong(uri.len())),
        wire::SubjectAltName::Uri(uri) if !is_uri(&uri) => Err(Reason::Uri(uri)),
        wire::SubjectAltName::Uri(uri) => Ok(SubjectAltName::Uri(uri)),
    }
}

/// RFC 3986 section 3, as far as it matters for comparing octet for octet: a scheme, a colon, and something in visible
/// ASCII (RFC 5280 section 4.2.1.6: an IA5String that is absolute).
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet))
        && !rest.is_empty()
        && rest.bytes().all(|octet| octet.is_ascii_graphic())
}
