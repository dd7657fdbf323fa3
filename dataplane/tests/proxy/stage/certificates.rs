//! Certificates that the tests' clients trust: all are issued by one CA, made once for a run.

use std::sync::{Arc, LazyLock};

use headrace_table::wire;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;

struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().der().clone();
    Authority { certificate, issuer: Issuer::new(params, key) }
});

static COMMON: LazyLock<Credential> =
    LazyLock::new(|| Credential::new("test/common", &["example.com", "*.example.com", "localhost"]));

/// An end-entity certificate with its key.
#[derive(Clone)]
pub(crate) struct Credential {
    /// Its id in the table.
    pub(crate) id: String,
    pub(crate) der: CertificateDer<'static>,
    chain: String,
    key: String,
}

impl Credential {
    pub(crate) fn new(id: &str, names: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &AUTHORITY.issuer).unwrap();
        Self { id: id.to_owned(), der: certificate.der().clone(), chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// One for every host of `example.com`.
    pub(crate) fn common() -> &'static Self {
        &COMMON
    }

    pub(crate) fn wire(&self) -> wire::Certificate {
        wire::Certificate { id: self.id.clone(), chain: self.chain.clone(), key: self.key.clone() }
    }
}

/// A client's TLS with this ALPN, which trusts what is made here.
pub(crate) fn client_tls(alpn: &[&str]) -> rustls::ClientConfig {
    client_tls_of(alpn, rustls::DEFAULT_VERSIONS)
}

/// The same of these versions alone.
pub(crate) fn client_tls_of(
    alpn: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(AUTHORITY.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}
