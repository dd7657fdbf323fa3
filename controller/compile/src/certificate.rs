//! Secrets as certificates: what a TLS listener can serve, and why not.
//!
//! Owns the checks on `kubernetes.io/tls` Secrets and the table's list of certificates. It must not know which listener
//! asks, nor whether it may.

use std::collections::BTreeMap;

use headrace_table::{SectionKind, wire};
use k8s_openapi::api::core::v1::Secret;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::options::Options;
use crate::world::{Key, World};

const TLS_SECRET_TYPE: &str = "kubernetes.io/tls";
const CHAIN_KEY: &str = "tls.crt";
const KEY_KEY: &str = "tls.key";

/// Certificates in a chain at most. Public chains have two to four; a bundle of a whole trust store is a mistake.
const MAX_CHAIN: usize = 16;

/// Why a Secret cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("Secret {0} does not exist")]
    NotFound(Key),
    #[error("Secret {0} is of type {1:?}: it must be of type kubernetes.io/tls")]
    WrongType(Key, String),
    #[error("Secret {0} has no {1}")]
    NoData(Key, &'static str),
    #[error("{1} of Secret {0} is not PEM: {2}")]
    NotPem(Key, &'static str, String),
    #[error("tls.crt of Secret {0} has {1} certificates: at most {MAX_CHAIN} are taken")]
    ChainTooLong(Key, usize),
    #[error("tls.crt of Secret {0} does not start with a certificate that can be used: {1}")]
    BadCertificate(Key, String),
    #[error("tls.key of Secret {0} is not a private key that can be used: {1}")]
    BadKey(Key, String),
    #[error("tls.key of Secret {0} is not the key of its certificate")]
    KeyMismatch(Key),
    #[error("Secret {0}: {1}")]
    Refused(Key, String),
}

/// Every Secret that was asked for, checked once.
pub(crate) struct Certificates<'w> {
    world: &'w World,
    options: &'w Options,
    provider: CryptoProvider,
    checked: BTreeMap<Key, Result<wire::Certificate, CertificateError>>,
    /// DNS names by the certificate's id.
    names: BTreeMap<String, Vec<String>>,
}

impl<'w> Certificates<'w> {
    pub(crate) fn of(world: &'w World, options: &'w Options) -> Self {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Certificates { world, options, provider, checked: BTreeMap::new(), names: BTreeMap::new() }
    }

    /// The certificate in that Secret, under its id in the table.
    pub(crate) fn get(&mut self, key: &Key) -> Result<String, CertificateError> {
        if let Some(checked) = self.checked.get(key) {
            return checked.as_ref().map(|certificate| certificate.id.clone()).map_err(Clone::clone);
        }
        let checked = check(self.world, &self.provider, key).and_then(|(certificate, names)| {
            match self.options.refusal(SectionKind::Certificate, &certificate.id) {
                Some(message) => Err(CertificateError::Refused(key.clone(), message)),
                None => Ok((certificate, names)),
            }
        });
        let checked = checked.map(|(certificate, names)| {
            self.names.insert(certificate.id.clone(), names);
            certificate
        });
        let id = checked.as_ref().map(|certificate| certificate.id.clone()).map_err(Clone::clone);
        self.checked.insert(key.clone(), checked);
        id
    }

    /// The names that a certificate of the table is good for.
    pub(crate) fn names(&self, id: &str) -> &[String] {
        self.names.get(id).map_or(&[], Vec::as_slice)
    }

    /// The certificates that can be served, sorted by id.
    pub(crate) fn into_table(self) -> impl Iterator<Item = wire::Certificate> {
        let served = self.checked.into_values().filter_map(Result::ok);
        let by_id: BTreeMap<String, wire::Certificate> =
            served.map(|certificate| (certificate.id.clone(), certificate)).collect();
        by_id.into_values()
    }
}

fn check(
    world: &World,
    provider: &CryptoProvider,
    key: &Key,
) -> Result<(wire::Certificate, Vec<String>), CertificateError> {
    let secret = world.secrets.get(key).ok_or_else(|| CertificateError::NotFound(key.clone()))?;
    let r#type = secret.type_.as_deref().unwrap_or("Opaque");
    if r#type != TLS_SECRET_TYPE {
        return Err(CertificateError::WrongType(key.clone(), r#type.to_owned()));
    }
    let chain_pem = text(secret, key, CHAIN_KEY)?;
    let key_pem = text(secret, key, KEY_KEY)?;
    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CertificateError::NotPem(key.clone(), CHAIN_KEY, error.to_string()))?;
    if chain.len() > MAX_CHAIN {
        return Err(CertificateError::ChainTooLong(key.clone(), chain.len()));
    }
    let Some(end_entity) = chain.first() else {
        return Err(CertificateError::NotPem(key.clone(), CHAIN_KEY, "it holds no CERTIFICATE".to_owned()));
    };
    let names = names(end_entity).map_err(|error| CertificateError::BadCertificate(key.clone(), error))?;
    let private_key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
        .map_err(|error| CertificateError::NotPem(key.clone(), KEY_KEY, error.to_string()))?;
    let certified = CertifiedKey::from_der(chain, private_key, provider);
    certified.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => CertificateError::KeyMismatch(key.clone()),
        rustls::Error::InvalidCertificate(_) => CertificateError::BadCertificate(key.clone(), error.to_string()),
        other => CertificateError::BadKey(key.clone(), other.to_string()),
    })?;
    Ok((wire::Certificate { id: key.id(), chain: chain_pem, key: key_pem }, names))
}

/// A value of the Secret; `stringData`, which an API server merges into `data`, goes first where no server did.
fn text(secret: &Secret, key: &Key, name: &'static str) -> Result<String, CertificateError> {
    if let Some(text) = secret.string_data.as_ref().and_then(|data| data.get(name)) {
        return Ok(text.clone());
    }
    let octets = secret.data.as_ref().and_then(|data| data.get(name));
    let octets = octets.ok_or_else(|| CertificateError::NoData(key.clone(), name))?;
    String::from_utf8(octets.0.clone()).map_err(|error| CertificateError::NotPem(key.clone(), name, error.to_string()))
}

fn names(end_entity: &CertificateDer<'_>) -> Result<Vec<String>, String> {
    use x509_parser::extensions::GeneralName;
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(end_entity).map_err(|error| error.to_string())?;
    let alternatives = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let mut names: Vec<String> = alternatives
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}
