//! Certificates: from the PEM text of the routing table to the key that a TLS handshake uses.
//!
//! [`parse`] judges one certificate, [`CertificateIndex`] says which one a port and a name get, and [`ServerTls`] makes
//! TLS configurations that look into the newest index, so that certificates change under open listeners. Knows nothing
//! of sockets, nor of the routing table beyond names and PEM.

mod index;
pub(crate) mod sealing;
mod server;
mod sessions;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

pub(crate) use index::{CertificateIndex, ListenerCertificates};
pub(crate) use server::{EarlyData, ServerTls, quic_handshake_result, tcp_handshake_result};

/// Certificates in one chain: real ones have two to four, and all of them are sent in every full handshake.
const MAX_CHAIN: usize = 16;

/// Why a certificate cannot be used. Never quotes the key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// The chain's text is broken.
    #[error("the certificate chain is not PEM: {0}")]
    Chain(pem::Error),
    /// The chain's text holds no certificate.
    #[error("the certificate chain holds no certificate")]
    EmptyChain,
    /// The chain is too long.
    #[error("the certificate chain holds more than {MAX_CHAIN} certificates")]
    LongChain,
    /// The key's text holds no key that is known.
    #[error("the private key is not PEM of PKCS#8, PKCS#1 or SEC1")]
    Key,
    /// The key needs a passphrase.
    #[error("the private key is encrypted")]
    EncryptedKey,
    /// The key's algorithm or size is not supported, or its encoding is broken.
    #[error("the private key is broken, or its algorithm or size is not supported")]
    UnsupportedKey,
    /// The end-entity certificate is broken.
    #[error("the first certificate of the chain is broken: {0}")]
    Certificate(Error),
    /// The key is another's.
    #[error("the private key does not belong to the first certificate of the chain")]
    Mismatch,
}

/// The key for a certificate chain and a private key, both PEM, if they belong together.
///
/// Loading a key is costly (an RSA key is checked), and a new table mostly has the certificates of the one before: if
/// the chain is the same as that of `previous`, so is the key, and `previous` is given back.
pub(crate) fn parse(
    chain: &str,
    key: &str,
    previous: Option<&Arc<CertifiedKey>>,
) -> Result<Arc<CertifiedKey>, CertificateError> {
    let chain = parse_chain(chain)?;
    if let Some(previous) = previous.filter(|previous| previous.cert == chain) {
        return Ok(Arc::clone(previous));
    }
    let key = parse_key(key)?;
    let key = provider().key_provider.load_private_key(key).map_err(|_| CertificateError::UnsupportedKey)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // A key that does not tell its public half cannot be compared; those of our provider do.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(certified)),
        Err(Error::InconsistentKeys(_)) => Err(CertificateError::Mismatch),
        Err(error) => Err(CertificateError::Certificate(error)),
    }
}

fn parse_chain(text: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes()).take(MAX_CHAIN + 1);
    let chain = certificates.collect::<Result<Vec<_>, _>>().map_err(CertificateError::Chain)?;
    match chain.len() {
        0 => Err(CertificateError::EmptyChain),
        1..=MAX_CHAIN => Ok(chain),
        _ => Err(CertificateError::LongChain),
    }
}

fn parse_key(text: &str) -> Result<PrivateKeyDer<'static>, CertificateError> {
    // RFC 7468 section 11.
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") {
        return Err(CertificateError::EncryptedKey);
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| CertificateError::Key)
}

/// The cryptography that all TLS of this process uses.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> =
        std::sync::LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

#[cfg(test)]
mod tests;
