//! What makes a backend's certificate good (Gateway API, BackendTLSPolicy): who issued it, and which names it has.
//!
//! The chain is rustls-webpki's to judge. What is added: names that a policy gives in place of the server name, and a
//! certificate that is itself among the roots.

use std::sync::{Arc, LazyLock};

use headrace_table::{BackendTls, HostPattern, SubjectAltName, Trust};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::certificates::provider;

/// The public certification authorities, as Mozilla has them. Compiled in: an image from scratch has no files of a system.
static PUBLIC: LazyLock<Arc<RootCertStore>> =
    LazyLock::new(|| Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }));

/// Certificates among a backend's roots at most. Public bundles hold some 150.
const MAX_ROOTS: usize = 4_096;

/// Why there is nothing to verify with.
#[derive(Debug, thiserror::Error)]
pub(super) enum VerifierError {
    /// A host name, and still no name for TLS: its last label is a number, for example.
    #[error("the server name cannot be a TLS server name")]
    ServerName,
    /// The roots' text is broken.
    #[error("the roots are not PEM: {0}")]
    Pem(pem::Error),
    /// There are too many.
    #[error("the roots hold more than {MAX_ROOTS} certificates")]
    TooMany,
    /// No certificate in the roots' text can be one.
    #[error("the roots hold no certificate that can be used: {0}")]
    Unusable(Error),
    /// There is none.
    #[error("the roots hold no certificate")]
    Empty,
}

/// Judges the certificates of one identity.
#[derive(Debug)]
pub(super) struct Verifier {
    roots: Arc<RootCertStore>,
    /// The roots themselves, where a policy gives them.
    given: Vec<CertificateDer<'static>>,
    names: Vec<Name>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// A name, any of which makes a certificate good.
#[derive(Debug)]
enum Name {
    /// A DNS name that the certificate must be for, by itself or by a wildcard of its own (RFC 9525 section 6.3).
    Host(ServerName<'static>),
    /// One label and this suffix, or a wildcard for them.
    Below(String),
    /// A URI, octet for octet.
    Uri(String),
}

/// The certificate is somebody else's.
#[derive(Debug, thiserror::Error)]
#[error("the certificate has none of the subject alternative names that are asked for")]
struct NoSuchName;

impl Verifier {
    pub(super) fn new(tls: &BackendTls, server_name: &ServerName<'static>) -> Result<Self, VerifierError> {
        let (roots, given) = match &tls.trust {
            Trust::System => (Arc::clone(&PUBLIC), Vec::new()),
            Trust::Roots(text) => read_roots(text)?,
        };
        let names = match &tls.subject_alt_names[..] {
            [] => vec![Name::Host(server_name.clone())],
            names => names.iter().map(Name::of).collect::<Result<_, _>>()?,
        };
        Ok(Self { roots, given, names, algorithms: provider().signature_verification_algorithms })
    }

    fn verify_chain(
        &self,
        certificate: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        // A self-signed certificate is mostly marked as a CA's, which webpki does not take for a server's. Whoever gives
        // it as a root trusts that very certificate.
        if self.given.iter().any(|given| given.as_ref() == certificate.as_ref()) {
            return verify_validity(certificate, now);
        }
        verify_server_cert_signed_by_trust_anchor(parsed, &self.roots, intermediates, now, self.algorithms.all)
    }

    fn verify_names(&self, certificate: &CertificateDer<'_>, parsed: &ParsedCertificate<'_>) -> Result<(), Error> {
        if let [Name::Host(only)] = &self.names[..] {
            // Its error names what the certificate has.
            return verify_server_name(parsed, only);
        }
        let parse = || X509Certificate::from_der(certificate).map(|(_, certificate)| certificate);
        let parsed_names = LazyLock::new(parse);
        let has = |name: &Name| match name {
            Name::Host(host) => verify_server_name(parsed, host).is_ok(),
            other => parsed_names.as_ref().is_ok_and(|certificate| other.is_among(certificate)),
        };
        match self.names.iter().any(has) {
            true => Ok(()),
            false => Err(CertificateError::Other(OtherError(Arc::new(NoSuchName))).into()),
        }
    }
}

impl Name {
    fn of(name: &SubjectAltName) -> Result<Self, VerifierError> {
        match name {
            SubjectAltName::Hostname(HostPattern::Wildcard(suffix)) => Ok(Self::Below(suffix.to_string())),
            SubjectAltName::Hostname(host) => {
                ServerName::try_from(host.to_string()).map(Self::Host).map_err(|_| VerifierError::ServerName)
            }
            SubjectAltName::Uri(uri) => Ok(Self::Uri(uri.clone())),
        }
    }

    fn is_among(&self, certificate: &X509Certificate<'_>) -> bool {
        let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
        names.value.general_names.iter().any(|name| match (self, name) {
            (Self::Uri(uri), GeneralName::URI(has)) => uri == has,
            (Self::Below(suffix), GeneralName::DNSName(has)) => {
                has.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(suffix))
            }
            _ => false,
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        self.verify_chain(end_entity, &parsed, intermediates, now)?;
        self.verify_names(end_entity, &parsed)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The certificates of a policy, as far as they can be roots: one that cannot is trusted by nobody, and hurts nobody.
fn read_roots(text: &str) -> Result<(Arc<RootCertStore>, Vec<CertificateDer<'static>>), VerifierError> {
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes()).take(MAX_ROOTS + 1);
    let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(VerifierError::Pem)?;
    if certificates.len() > MAX_ROOTS {
        return Err(VerifierError::TooMany);
    }
    let mut roots = RootCertStore::empty();
    let mut given = Vec::new();
    let mut fault = None;
    for certificate in certificates {
        match roots.add(certificate.clone()) {
            Ok(()) => given.push(certificate),
            Err(error) => fault = Some(error),
        }
    }
    match fault {
        Some(error) if given.is_empty() => Err(VerifierError::Unusable(error)),
        None if given.is_empty() => Err(VerifierError::Empty),
        _ => Ok((Arc::new(roots), given)),
    }
}

/// RFC 5280 section 4.1.2.5.
fn verify_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let broken = || Error::from(CertificateError::BadEncoding);
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| broken())?;
    let now = i64::try_from(now.as_secs()).map_err(|_| broken())?;
    let now = ASN1Time::from_timestamp(now).map_err(|_| broken())?;
    let validity = certificate.validity();
    if now < validity.not_before {
        Err(CertificateError::NotValidYet.into())
    } else if now > validity.not_after {
        Err(CertificateError::Expired.into())
    } else {
        Ok(())
    }
}
