//! The client's endpoint and its connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{ALPN, KEEP_ALIVE, provider, transport};

/// The name on the benchmark's certificate.
const SERVER_NAME: &str = "localhost";

/// An endpoint that trusts one CA.
pub(crate) fn endpoint(ca: &Path) -> anyhow::Result<Endpoint> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).with_context(|| format!("cannot read {}", ca.display()))? {
        roots.add(certificate?)?;
    }
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport(Some(KEEP_ALIVE)));
    let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

/// A connection.
pub(crate) async fn connect(endpoint: &Endpoint, server: SocketAddr) -> anyhow::Result<Connection> {
    endpoint.connect(server, SERVER_NAME)?.await.with_context(|| format!("cannot connect to {server}"))
}
