//! A certificate authority of a test's own, and the Secrets that it fills.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// How many load-balancer addresses are in every certificate: the cluster of these tests hands out low ones.
const ADDRESSES: u8 = 100;

/// A certificate authority that lives as long as a test.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
    /// One key for every certificate, so that a browser can be told to trust it once.
    key: KeyPair,
}

impl CertificateAuthority {
    /// Makes one, with its certificate in a file of the directory.
    pub fn create(directory: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "Headrace tests");
        let certificate = params.self_signed(&key)?;
        let file = directory.join("ca.pem");
        std::fs::write(&file, certificate.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), file, key: KeyPair::generate()? })
    }

    /// The file of its certificate, as PEM.
    pub fn certificate(&self) -> &Path {
        &self.file
    }

    /// A Secret of type `kubernetes.io/tls`, as a manifest: for these host names and every load-balancer address.
    pub fn secret(&self, namespace: &str, name: &str, hostnames: &[&str]) -> Result<String> {
        let leaf = self.leaf(hostnames)?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": { "namespace": namespace, "name": name },
            "stringData": { "tls.crt": leaf.certificate, "tls.key": leaf.key },
        });
        Ok(secret.to_string())
    }

    /// The hash of the key of every certificate, by which Chromium is told to trust them.
    pub fn spki_sha256(&self) -> String {
        let hash = Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&self.key));
        BASE64_STANDARD.encode(hash)
    }

    /// A new certificate for these host names and every load-balancer address.
    pub fn leaf(&self, hostnames: &[&str]) -> Result<Leaf> {
        let mut params = CertificateParams::new(hostnames.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        let addresses = (1..=ADDRESSES).map(|last| SanType::IpAddress(IpAddr::V4(Ipv4Addr::new(198, 18, 1, last))));
        params.subject_alt_names.extend(addresses);
        params.distinguished_name.push(DnType::CommonName, "Headrace test edge");
        let certificate = params.signed_by(&self.key, &self.issuer)?;
        Ok(Leaf { certificate: certificate.pem(), key: self.key.serialize_pem(), der: certificate.der().to_vec() })
    }
}

/// A certificate with its key.
pub struct Leaf {
    /// PEM.
    pub certificate: String,
    /// PEM, PKCS#8.
    pub key: String,
    /// The certificate in DER, to know it again.
    pub der: Vec<u8>,
}
