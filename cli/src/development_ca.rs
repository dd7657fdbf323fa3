//! A certificate authority for one laptop: made once, kept, and asked for a certificate wherever manifests have none.
//!
//! Owns its keys, what its certificates say and when they are renewed. Keys outlive certificates, so that a browser that
//! was told a key's hash goes on knowing it. It must not know what a Secret is.

mod store;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

use store::{Kept, Store};

/// The CA's certificate, for `--cacert` and trust stores.
pub(crate) const CA_CERTIFICATE_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key";
const LEAF_DIRECTORY: &str = "certificates";
const BACKEND_DIRECTORY: &str = "backends";

/// Long enough never to be met on the laptop that it was made on.
const CA_LIFETIME_DAYS: i64 = 3650;
/// Browsers refuse more than 398 (CA/Browser Forum, Ballot SC31), and some round down.
const LEAF_LIFETIME_DAYS: i64 = 397;
/// A process that runs for a month without a restart still has a valid certificate.
const RENEWED_BEFORE_DAYS: i64 = 30;
/// Yesterday: clocks differ, and so do time zones.
const BACKDATED_DAYS: i64 = 1;

/// Names under which a laptop reaches itself.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevelopmentCaError {
    /// A file of the data directory.
    #[error("development CA: {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A file is there and does not hold what it should.
    #[error("development CA: {} cannot be used: {source} (remove it and a new one is made)", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: rcgen::Error,
    },
    /// A host name that no certificate can hold.
    #[error("development CA: no certificate can be made: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// The authority, opened or made when the first certificate is asked for.
#[derive(Debug)]
pub(crate) struct DevelopmentCa {
    store: Store,
    today: Date,
    authority: Option<Authority>,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The CA's subject key identifier, which its certificates name.
    key_identifier: Vec<u8>,
    certificate_pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) chain_pem: String,
    pub(crate) key_pem: String,
    /// SHA-256 of the SubjectPublicKeyInfo, in Base64.
    pub(crate) spki_sha256: String,
}

impl DevelopmentCa {
    /// The authority that is kept in a directory, which is made when it is needed.
    pub(crate) fn at(directory: &Path) -> Self {
        Self { store: Store::at(directory), today: today(), authority: None }
    }

    /// An authority that nobody is to remember.
    pub(crate) fn throwaway() -> Self {
        Self { store: Store::nowhere(), today: today(), authority: None }
    }

    /// Where it is kept.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.store.directory()
    }

    /// A certificate for the host names and this machine, kept under `namespace` and `name`.
    pub(crate) fn leaf(
        &mut self,
        namespace: &str,
        name: &str,
        hostnames: &[String],
    ) -> Result<Leaf, DevelopmentCaError> {
        // A namespace has no dot, so that no two Secrets share a file.
        self.leaf_at(&format!("{LEAF_DIRECTORY}/{namespace}.{name}"), hostnames)
    }

    /// A certificate for backends that are reached by this host name, kept for them to take. The certificate's file, the
    /// key beside it, and none when nothing is kept.
    pub(crate) fn backend_leaf(
        &mut self,
        namespace: &str,
        name: &str,
        hostname: &str,
    ) -> Result<Option<PathBuf>, DevelopmentCaError> {
        let file = format!("{BACKEND_DIRECTORY}/{namespace}.{name}");
        self.leaf_at(&file, &[hostname.to_owned()])?;
        Ok(self.directory().map(|directory| directory.join(format!("{file}.pem"))))
    }

    /// The CA's own certificate.
    pub(crate) fn certificate(&mut self) -> Result<String, DevelopmentCaError> {
        Ok(self.authority()?.certificate_pem.clone())
    }

    fn leaf_at(&mut self, file: &str, hostnames: &[String]) -> Result<Leaf, DevelopmentCaError> {
        let (today, names) = (self.today, subject_names(hostnames));
        let authority = self.authority()?;
        let key_identifier = authority.key_identifier.clone();
        let (certificate_file, key_file) = (format!("{file}.pem"), format!("{file}.key"));
        let key = self.key(&key_file)?;
        if let Kept::Text(chain_pem) = self.store.read(&certificate_file)?
            && is_current(&chain_pem, &key, &key_identifier, &names, today)
        {
            return Ok(leaf(chain_pem, &key));
        }
        let params = leaf_params(&names, today)?;
        let certificate = params.signed_by(&key, &self.authority()?.issuer)?;
        self.store.write_public(&certificate_file, &certificate.pem())?;
        Ok(leaf(certificate.pem(), &key))
    }

    fn key(&self, file: &str) -> Result<KeyPair, DevelopmentCaError> {
        match self.store.read(file)? {
            Kept::Text(pem) => KeyPair::from_pem(&pem).map_err(|error| self.store.unusable(file, error)),
            Kept::Nothing => {
                let key = KeyPair::generate()?;
                self.store.write_secret(file, &key.serialize_pem())?;
                Ok(key)
            }
        }
    }

    fn authority(&mut self) -> Result<&Authority, DevelopmentCaError> {
        let authority = match self.authority.take() {
            Some(authority) => authority,
            None => self.open()?,
        };
        Ok(self.authority.insert(authority))
    }

    fn open(&self) -> Result<Authority, DevelopmentCaError> {
        let key = self.key(CA_KEY_FILE)?;
        let kept = match self.store.read(CA_CERTIFICATE_FILE)? {
            Kept::Text(pem) if is_fresh(&pem, self.today) => Some(pem),
            _ => None,
        };
        let pem = match kept {
            Some(pem) => pem,
            None => {
                let pem = ca_params(self.today).self_signed(&key)?.pem();
                self.store.write_public(CA_CERTIFICATE_FILE, &pem)?;
                pem
            }
        };
        let issuer =
            Issuer::from_ca_cert_pem(&pem, key).map_err(|error| self.store.unusable(CA_CERTIFICATE_FILE, error))?;
        let key_identifier = with_certificate(&pem, subject_key_identifier).flatten().unwrap_or_default();
        Ok(Authority { issuer, key_identifier, certificate_pem: pem })
    }
}

fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

/// Every name of the certificate, once, in order.
fn subject_names(hostnames: &[String]) -> Vec<String> {
    let mut names: Vec<String> = LOCAL_NAMES.iter().map(|name| (*name).to_owned()).collect();
    names.extend(hostnames.iter().filter(|name| !LOCAL_NAMES.contains(&name.as_str())).cloned());
    names[LOCAL_NAMES.len()..].sort();
    names.dedup();
    names
}

fn leaf(chain_pem: String, key: &KeyPair) -> Leaf {
    let digest = Sha256::digest(key.subject_public_key_info());
    Leaf { chain_pem, key_pem: key.serialize_pem(), spki_sha256: STANDARD.encode(digest) }
}

fn ca_params(today: Date) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name("Headrace development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, today, CA_LIFETIME_DAYS);
    params
}

fn leaf_params(names: &[String], today: Date) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = distinguished_name("Headrace development");
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    set_validity(&mut params, today, LEAF_LIFETIME_DAYS);
    Ok(params)
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn set_validity(params: &mut CertificateParams, today: Date, days: i64) {
    let first = today.saturating_sub(BACKDATED_DAYS.days());
    let last = first.saturating_add(days.days());
    let midnight = |date: Date| {
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        rcgen::date_time_ymd(i32::from(date.year()), month, day)
    };
    (params.not_before, params.not_after) = (midnight(first), midnight(last));
}

/// Looks into the first certificate of a PEM text.
fn with_certificate<T>(pem: &str, look: impl FnOnce(&X509Certificate<'_>) -> T) -> Option<T> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
    Some(look(&certificate))
}

fn is_fresh(pem: &str, today: Date) -> bool {
    with_certificate(pem, |certificate| outlasts(certificate, today)).unwrap_or(false)
}

fn outlasts(certificate: &X509Certificate<'_>, today: Date) -> bool {
    let Ok(end) = Timestamp::from_second(certificate.validity().not_after.timestamp()) else { return false };
    today.saturating_add(RENEWED_BEFORE_DAYS.days()) < end.to_zoned(TimeZone::UTC).date()
}

/// Whether a kept certificate is the one that would be made now, but for its dates.
fn is_current(pem: &str, key: &KeyPair, ca_key_identifier: &[u8], names: &[String], today: Date) -> bool {
    let judge = |certificate: &X509Certificate<'_>| {
        certificate.public_key().raw == key.subject_public_key_info()
            && authority_key_identifier(certificate).as_deref() == Some(ca_key_identifier)
            && alternative_names(certificate) == names
            && outlasts(certificate, today)
    };
    with_certificate(pem, judge).unwrap_or(false)
}

fn subject_key_identifier(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
        _ => None,
    })
}

fn authority_key_identifier(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(identifier) => Some(identifier.key_identifier.as_ref()?.0.to_vec()),
        _ => None,
    })
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(octets) => match (<[u8; 4]>::try_from(*octets), <[u8; 16]>::try_from(*octets)) {
            (Ok(v4), _) => std::net::Ipv4Addr::from(v4).to_string(),
            (_, Ok(v6)) => std::net::Ipv6Addr::from(v6).to_string(),
            _ => String::new(),
        },
        _ => String::new(),
    };
    names.value.general_names.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn at(directory: &Path, today: Date) -> DevelopmentCa {
        DevelopmentCa { today, ..DevelopmentCa::at(directory) }
    }

    fn day(year: i16, month: i8, day: i8) -> Date {
        Date::constant(year, month, day)
    }

    fn hosts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_restart_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("not/yet/there");
        let first = at(&home, day(2026, 11, 21)).leaf("default", "demo.tls", &hosts(&["*.example.com"])).unwrap();
        let ca = fs::read_to_string(home.join("ca.pem")).unwrap();
        let second = at(&home, day(2026, 12, 1)).leaf("default", "demo.tls", &hosts(&["*.example.com"])).unwrap();
        assert!(first == second);
        assert_eq!(fs::read_to_string(home.join("ca.pem")).unwrap(), ca);
        for secret in ["ca.key", "certificates/default.demo.tls.key"] {
            let mode = fs::metadata(home.join(secret)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{secret}");
        }
        let names = with_certificate(&first.chain_pem, alternative_names).unwrap();
        assert_eq!(names, ["localhost", "127.0.0.1", "::1", "*.example.com"]);
    }

    #[test]
    fn a_certificate_is_renewed_and_its_key_stays() {
        let directory = tempfile::tempdir().unwrap();
        let first = at(directory.path(), day(2026, 1, 1)).leaf("a", "b", &[]).unwrap();
        for (today, names, same) in [
            (day(2026, 12, 1), &[][..], true),
            // Near its end.
            (day(2027, 1, 15), &[], false),
            // Another name.
            (day(2026, 1, 1), &["x.test"], false),
        ] {
            let home = tempfile::tempdir().unwrap();
            for file in ["ca.pem", "ca.key", "certificates/a.b.pem", "certificates/a.b.key"] {
                fs::create_dir_all(home.path().join(file).parent().unwrap()).unwrap();
                fs::copy(directory.path().join(file), home.path().join(file)).unwrap();
            }
            let next = at(home.path(), today).leaf("a", "b", &hosts(names)).unwrap();
            assert_eq!(next.chain_pem == first.chain_pem, same, "{today} {names:?}");
            assert_eq!(next.spki_sha256, first.spki_sha256);
        }
        // A new authority.
        fs::remove_file(directory.path().join("ca.pem")).unwrap();
        fs::remove_file(directory.path().join("ca.key")).unwrap();
        let next = at(directory.path(), day(2026, 1, 1)).leaf("a", "b", &[]).unwrap();
        assert!(next.chain_pem != first.chain_pem);
        assert_eq!(next.spki_sha256, first.spki_sha256);
    }

    #[test]
    fn backends_get_a_certificate_of_the_same_authority() {
        let directory = tempfile::tempdir().unwrap();
        let mut ca = at(directory.path(), day(2026, 11, 21));
        let file = ca.backend_leaf("x", "echo", "echo.x.svc").unwrap().unwrap();
        assert_eq!(file, directory.path().join("backends/x.echo.pem"));
        assert!(file.with_extension("key").exists());
        assert_eq!(ca.certificate().unwrap(), fs::read_to_string(directory.path().join("ca.pem")).unwrap());
        let names = with_certificate(&fs::read_to_string(file).unwrap(), alternative_names).unwrap();
        assert_eq!(names, ["localhost", "127.0.0.1", "::1", "echo.x.svc"]);
        assert_eq!(DevelopmentCa::throwaway().backend_leaf("x", "echo", "echo.x.svc").unwrap(), None);
    }

    #[test]
    fn no_certificate_lives_longer_than_browsers_allow() {
        let directory = tempfile::tempdir().unwrap();
        let leaf = at(directory.path(), day(2026, 11, 21)).leaf("a", "b", &[]).unwrap();
        let seconds = with_certificate(&leaf.chain_pem, |certificate| {
            certificate.validity().not_after.timestamp() - certificate.validity().not_before.timestamp()
        });
        assert!(seconds.unwrap() <= 397 * 86_400);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca.key"), "nonsense").unwrap();
        let error = DevelopmentCa::at(directory.path()).leaf("a", "b", &[]).err().unwrap().to_string();
        assert!(error.contains("ca.key"), "{error}");
        assert!(DevelopmentCa::throwaway().leaf("a", "b", &hosts(&["ü.test"])).is_err());
    }
}
