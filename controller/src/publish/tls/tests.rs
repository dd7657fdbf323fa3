//! Handshakes before and after the certificate is another.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

const NAME: &str = "headrace-controller-push.headrace-system.svc";

/// What a handshake of a peer with these trusted CAs and this ALPN comes to.
async fn handshake(config: &Arc<ServerConfig>, trusted: &Authority, alpn: &[u8]) -> Result<ProtocolVersion, ()> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.certificate_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![alpn.to_vec()];
    let (near, far) = tokio::io::duplex(16 * 1024);
    let name = ServerName::try_from(NAME).unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let acceptor = TlsAcceptor::from(Arc::clone(config));
    let (client, server) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
    server.map_err(drop)?;
    client.map_err(drop)?.get_ref().1.protocol_version().ok_or(())
}

#[tokio::test]
async fn a_new_certificate_needs_no_new_configuration() {
    let now = Timestamp::now();
    let (old, new) = (Authority::make(now).unwrap(), Authority::make(now).unwrap());
    let presented = PresentedCertificate::new(NAME.to_owned());
    let config = presented.server_config();
    assert!(handshake(&config, &old, b"h2").await.is_err(), "there is no certificate yet");

    presented.renew(&old, now).unwrap();
    assert_eq!(handshake(&config, &old, b"h2").await, Ok(ProtocolVersion::TLSv1_3));
    assert!(handshake(&config, &new, b"h2").await.is_err());
    assert!(handshake(&config, &old, b"http/1.1").await.is_err(), "gRPC is HTTP/2");

    presented.renew(&new, now).unwrap();
    assert_eq!(handshake(&config, &new, b"h2").await, Ok(ProtocolVersion::TLSv1_3));
    assert!(handshake(&config, &old, b"h2").await.is_err());
}
