//! Whom a client trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Where systems keep the roots they trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Where trust comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// A PEM file.
    File(PathBuf),
    /// Whatever the system trusts.
    System,
    /// Everybody.
    Anybody,
}

/// Why there are no roots.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootsError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("{}: holds no certificate", path.display())]
    Empty { path: PathBuf },
    #[error("the system has no list of trusted roots: give one with --ca")]
    NoSystemRoots,
}

/// What handshakes are made with.
#[derive(Clone, Debug)]
pub(crate) struct TlsSettings {
    provider: Arc<CryptoProvider>,
    verifier: Verifier,
}

#[derive(Clone, Debug)]
enum Verifier {
    Roots(Arc<RootCertStore>),
    Anybody,
}

impl TlsSettings {
    /// Reads the roots.
    pub(crate) fn new(roots: &Roots) -> Result<Self, RootsError> {
        let verifier = match roots {
            Roots::File(path) => Verifier::Roots(Arc::new(read(path)?)),
            Roots::System => {
                let path = SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
                Verifier::Roots(Arc::new(read(path.ok_or(RootsError::NoSystemRoots)?)?))
            }
            Roots::Anybody => Verifier::Anybody,
        };
        Ok(Self { provider: Arc::new(aws_lc_rs::default_provider()), verifier })
    }

    /// A configuration that offers these protocols.
    pub(super) fn config(&self, alpn: &[&[u8]]) -> Result<ClientConfig, rustls::Error> {
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&self.provider)).with_safe_default_protocol_versions()?;
        let mut config = match &self.verifier {
            Verifier::Roots(roots) => builder.with_root_certificates(Arc::clone(roots)).with_no_client_auth(),
            Verifier::Anybody => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(TrustAnybody(Arc::clone(&self.provider))))
                .with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }
}

fn read(path: &Path) -> Result<RootCertStore, RootsError> {
    let error = |source| RootsError::File { path: path.to_owned(), source };
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(error)?.collect::<Result<Vec<_>, _>>().map_err(error)?;
    let mut roots = RootCertStore::empty();
    // Systems carry roots that no longer parse: they are as good as absent.
    let (added, _) = roots.add_parsable_certificates(certificates);
    match added {
        0 => Err(RootsError::Empty { path: path.to_owned() }),
        _ => Ok(roots),
    }
}

/// For `--insecure`: takes any certificate, but still has the server prove that it holds the key.
#[derive(Debug)]
struct TrustAnybody(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
