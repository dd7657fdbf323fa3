//! Authorities and the certificates that backends show: good ones, and every kind that a client must not take.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};

/// Somebody who issues certificates.
pub(crate) struct Authority {
    /// What its clients trust, as a policy has it.
    pub(crate) pem: String,
    /// What its certificates are sent with, so that their root is found.
    above: Vec<CertificateDer<'static>>,
    issuer: Issuer<'static, KeyPair>,
}

/// What is out of order with a certificate, if anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Valid {
    Now,
    NoLonger,
    NotYet,
}

/// A server's certificate with its key.
#[derive(Clone)]
pub(crate) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    /// The end-entity certificate.
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca(name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, above: Vec::new(), issuer: Issuer::new(params, key) }
    }

    /// One below this one, which clients do not know.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca(name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let above = vec![certificate.der().clone()];
        Self { pem: self.pem.clone(), above, issuer: Issuer::new(params, key) }
    }

    /// A certificate with these names: host names, and URIs where there is a `://`.
    pub(crate) fn issue(&self, names: &[&str]) -> Shown {
        self.issue_valid(names, Valid::Now)
    }

    pub(crate) fn issue_valid(&self, names: &[&str], valid: Valid) -> Shown {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names, valid).signed_by(&key, &self.issuer).unwrap();
        let chain = [certificate.der().clone()].into_iter().chain(self.above.iter().cloned()).collect();
        Shown { chain, key: Arc::new(key.into()), pem: certificate.pem() }
    }
}

/// A certificate that nobody but its holder has signed, marked as an authority's or not.
pub(crate) fn self_signed(names: &[&str], valid: Valid, is_ca: bool) -> Shown {
    let key = KeyPair::generate().unwrap();
    let mut params = params(names, valid);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let certificate = params.self_signed(&key).unwrap();
    Shown { chain: vec![certificate.der().clone()], key: Arc::new(key.into()), pem: certificate.pem() }
}

impl Shown {
    /// A server that shows it.
    pub(crate) fn server(&self, versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }
}

fn ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn params(names: &[&str], valid: Valid) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "a backend");
    let name = |name: &&str| {
        let text = (*name).try_into().unwrap();
        if name.contains("://") { SanType::URI(text) } else { SanType::DnsName(text) }
    };
    params.subject_alt_names = names.iter().map(name).collect();
    match valid {
        Valid::Now => {}
        Valid::NoLonger => params.not_after = date_time_ymd(2001, 1, 1),
        Valid::NotYet => params.not_before = date_time_ymd(4000, 1, 1),
    }
    params
}
