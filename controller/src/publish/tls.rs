//! TLS of the push server: one configuration for its whole life, whose certificate is issued anew beneath it.
//!
//! Owns when a server certificate is due. Where the CA comes from is [`super::authority`]'s business.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};

use super::authority::{Authority, AuthorityError};

/// gRPC is HTTP/2 and nothing else (RFC 9113 section 3.2).
const ALPN: [&[u8]; 1] = [b"h2"];

/// The certificate that new handshakes see.
#[derive(Debug)]
pub(crate) struct PresentedCertificate {
    /// What it is for: the name under which pods dial.
    name: String,
    presented: ArcSwapOption<CertifiedKey>,
    issued: Mutex<Option<Issued>>,
}

#[derive(Debug)]
struct Issued {
    by: Authority,
    renewed_at: Timestamp,
}

impl PresentedCertificate {
    /// None yet: every handshake fails until [`renew`](Self::renew).
    pub(crate) fn new(name: String) -> Arc<Self> {
        Arc::new(Self { name, presented: ArcSwapOption::empty(), issued: Mutex::new(None) })
    }

    /// Has a certificate of that authority from now on, a new one if it is due. Says whether it was.
    pub(crate) fn renew(&self, authority: &Authority, now: Timestamp) -> Result<bool, AuthorityError> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if issued.as_ref().is_some_and(|issued| issued.by == *authority && now < issued.renewed_at) {
            return Ok(false);
        }
        let certificate = authority.issue(&self.name, now)?;
        let key = aws_lc_rs::sign::any_ecdsa_type(&certificate.key).map_err(|_| AuthorityError::Key)?;
        self.presented.store(Some(Arc::new(CertifiedKey::new(certificate.chain, key))));
        *issued = Some(Issued { by: authority.clone(), renewed_at: certificate.renewed_at });
        Ok(true)
    }

    /// The configuration of every connection.
    pub(crate) fn server_config(self: &Arc<Self>) -> Arc<ServerConfig> {
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            // Both ends are ours.
            .with_protocol_versions(&[&version::TLS13])
            .expect("the provider has cipher suites for TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        // Pods hold one connection for hours: resumption would save nothing, and keep a replaced CA's handshakes alive.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Arc::new(config)
    }
}

impl ResolvesServerCert for PresentedCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // One name, one certificate: who dials by another name finds out by verifying.
        self.presented.load_full()
    }
}

#[cfg(test)]
mod tests;
