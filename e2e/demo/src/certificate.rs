//! The certificate of the WebTransport echo: two files, which somebody else makes, and makes anew now and then.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How often files are looked for that are not there yet. Whoever makes them may start later than this process.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often files that were read are looked at again: certificates last for months, and are renewed long before they end.
const LOOK_AGAIN_EVERY: Duration = Duration::from_secs(60);

/// Where they are.
#[derive(Debug)]
pub(crate) struct Files {
    /// The chain, as PEM.
    pub(crate) certificate: PathBuf,
    /// The key, as PEM.
    pub(crate) key: PathBuf,
}

/// What the files held.
#[derive(PartialEq, Eq)]
pub(crate) struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    /// Waits until there is a certificate that is another than the last one.
    pub(crate) async fn next(&self, last: Option<&Pair>) -> (Pair, quinn::ServerConfig) {
        let look_every = if last.is_some() { LOOK_AGAIN_EVERY } else { LOOK_EVERY };
        loop {
            // Half written, or one of them older than the other: the next look sees more.
            if let Ok(pair) = self.read()
                && last != Some(&pair)
                && let Ok(config) = pair.config()
            {
                return (pair, config);
            }
            tokio::time::sleep(look_every).await;
        }
    }

    fn read(&self) -> std::io::Result<Pair> {
        Ok(Pair { certificate: std::fs::read(&self.certificate)?, key: std::fs::read(&self.key)? })
    }
}

impl Pair {
    /// What a server needs, if it is a certificate with its key.
    fn config(&self) -> anyhow::Result<quinn::ServerConfig> {
        let chain = CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        tls.alpn_protocols = vec![web_transport_quinn::ALPN.as_bytes().to_vec()];
        let tls = QuicServerConfig::try_from(tls).context("TLS without the cipher suite of QUIC's handshake")?;
        Ok(quinn::ServerConfig::with_crypto(Arc::new(tls)))
    }
}
