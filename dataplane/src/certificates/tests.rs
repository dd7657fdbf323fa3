//! Real handshakes, in memory with a rustls client and over loopback with a quinn client, against every rule of which
//! certificate is used; and what is said of a bad one.

use std::net::SocketAddr;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, ServerConfig, ServerConnection,
    SignatureScheme, SupportedProtocolVersion, version,
};

use super::*;
use crate::metrics::{HandshakeResult, Metrics};

const PORT: u16 = 8443;

/// A certificate with its key, as PEM.
struct Pem {
    chain: String,
    key: String,
}

fn issue(algorithm: &'static rcgen::SignatureAlgorithm, names: &[&str]) -> Pem {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    Pem { chain: certificate.pem(), key: key.serialize_pem() }
}

fn ecdsa(names: &[&str]) -> Arc<CertifiedKey> {
    let pem = issue(&PKCS_ECDSA_P256_SHA256, names);
    parse(&pem.chain, &pem.key, None).unwrap()
}

fn rsa(names: &[&str]) -> Arc<CertifiedKey> {
    let pem = issue(&PKCS_RSA_SHA256, names);
    parse(&pem.chain, &pem.key, None).unwrap()
}

fn listener<'a>(hostname: Option<&'a str>, keys: &[&Arc<CertifiedKey>]) -> ListenerCertificates<'a> {
    ListenerCertificates { port: PORT, hostname, keys: keys.iter().map(|&key| Arc::clone(key)).collect() }
}

fn server_tls<'a>(listeners: impl IntoIterator<Item = ListenerCertificates<'a>>) -> ServerTls {
    let tls = ServerTls::new(&Metrics::new().worker()).unwrap();
    tls.swap(CertificateIndex::new(listeners));
    tls
}

/// Takes every certificate, and can verify these schemes only.
#[derive(Debug)]
struct AnyCertificate(Vec<SignatureScheme>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

const ALL_SCHEMES: [SignatureScheme; 3] =
    [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256];

const BOTH_VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

fn client_with(
    versions: &[&'static SupportedProtocolVersion],
    schemes: &[SignatureScheme],
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(schemes.to_vec())))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

fn client() -> Arc<ClientConfig> {
    client_with(&BOTH_VERSIONS, &ALL_SCHEMES, &[b"h2", b"http/1.1"])
}

/// A handshake in memory; the server's error if it fails.
fn connect(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    // Once more after the handshake, so that tickets arrive.
    let mut rest = 1;
    while client.is_handshaking() || server.is_handshaking() || rest > 0 {
        rest -= i32::from(!client.is_handshaking() && !server.is_handshaking());
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).unwrap();
        }
        deliver(&flight, |octets| server.read_tls(octets));
        server.process_new_packets()?;
        flight.clear();
        while server.wants_write() {
            server.write_tls(&mut flight).unwrap();
        }
        deliver(&flight, |octets| client.read_tls(octets));
        client.process_new_packets().unwrap();
    }
    Ok((client, server))
}

fn deliver(mut flight: &[u8], mut read: impl FnMut(&mut dyn std::io::Read) -> std::io::Result<usize>) {
    while !flight.is_empty() {
        read(&mut flight).unwrap();
    }
}

/// The result that the server's error is counted as, as it arrives from tokio-rustls.
fn counted(error: Error) -> HandshakeResult {
    tcp_handshake_result(&std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}

fn served(client: &ClientConnection) -> &CertificateDer<'static> {
    &client.peer_certificates().unwrap()[0]
}

#[test]
fn the_most_specific_listener_gives_the_certificate() {
    let keys = ["exact", "wildcard", "longer", "any"].map(|name| (name, ecdsa(&["certificate.test"])));
    let [(_, exact), (_, wildcard), (_, longer), (_, any)] = &keys;
    let tls = server_tls([
        listener(None, &[any]),
        listener(Some("*.example.com"), &[wildcard]),
        listener(Some("*.Sub.example.com"), &[longer]),
        listener(Some("a.example.com"), &[exact]),
    ]);
    let config = tls.tcp_config(tls.port(PORT));
    let cases = [
        ("a.example.com", "exact"),
        ("A.Example.COM", "exact"),
        ("b.example.com", "wildcard"),
        ("x.a.example.com", "wildcard"),
        ("B.EXAMPLE.com", "wildcard"),
        ("sub.example.com", "wildcard"),
        ("x.sub.example.com", "longer"),
        ("x.y.sub.example.com", "longer"),
        ("example.com", "any"),
        ("notexample.com", "any"),
        ("a.example.com.evil.test", "any"),
        ("127.0.0.1", "any"),
    ];
    for (name, expect) in cases {
        let (client, _) = connect(&config, &client(), name).unwrap();
        let found = keys.iter().find(|(_, key)| &key.cert[0] == served(&client)).unwrap().0;
        assert_eq!(found, expect, "{name}");
    }
}

#[test]
fn without_a_certificate_for_the_name_the_handshake_fails() {
    let key = ecdsa(&["certificate.test"]);
    let tls = server_tls([
        listener(Some("*.example.com"), &[&key]),
        // The listener owns the name though none of its certificates could be loaded.
        listener(Some("broken.example.com"), &[]),
    ]);
    let cases = [
        (PORT, "a.example.com", true),
        (PORT, "example.com", false),
        (PORT, "broken.example.com", false),
        (PORT, "127.0.0.1", false),
        (PORT + 1, "a.example.com", false),
    ];
    for (port, name, expect) in cases {
        let outcome = connect(&tls.tcp_config(tls.port(port)), &client(), name);
        let counted = outcome.map_or_else(counted, |_| HandshakeResult::Ok);
        assert_eq!(counted == HandshakeResult::Ok, expect, "{port} {name}");
        assert!(expect || counted == HandshakeResult::NoCertificate, "{port} {name}: {counted:?}");
    }
}

#[test]
fn the_key_is_one_that_the_client_can_verify() {
    let (rsa_key, ecdsa_key) = (rsa(&["a.example.com"]), ecdsa(&["a.example.com"]));
    let tls = server_tls([listener(Some("a.example.com"), &[&rsa_key, &ecdsa_key])]);
    let config = tls.tcp_config(tls.port(PORT));
    let rsa_only = &ALL_SCHEMES[1..];
    let cases = [(&ALL_SCHEMES[..], &ecdsa_key), (rsa_only, &rsa_key), (&ALL_SCHEMES[..1], &ecdsa_key)];
    for tls_version in BOTH_VERSIONS {
        for (schemes, expect) in cases {
            let (client, _) = connect(&config, &client_with(&[tls_version], schemes, &[]), "a.example.com").unwrap();
            assert_eq!(served(&client), &expect.cert[0], "{tls_version:?} {schemes:?}");
        }
    }

    let ecdsa_alone = server_tls([listener(None, &[&ecdsa_key])]);
    let config = ecdsa_alone.tcp_config(ecdsa_alone.port(PORT));
    let error = connect(&config, &client_with(&BOTH_VERSIONS, rsa_only, &[]), "a.example.com").unwrap_err();
    assert_eq!(counted(error), HandshakeResult::Failed, "there is a certificate, but no common scheme");
}

#[test]
fn of_a_listener_with_many_certificates_the_one_that_names_the_host_is_used() {
    let (first, wildcard, exact) = (ecdsa(&["first.test"]), ecdsa(&["*.b.test"]), ecdsa(&["a.b.test", "A.B.test"]));
    let tls = server_tls([listener(None, &[&first]), listener(None, &[&wildcard, &exact])]);
    let config = tls.tcp_config(tls.port(PORT));
    let cases = [
        ("first.test", &first),
        ("a.b.test", &exact),
        ("c.b.test", &wildcard),
        // Beyond a certificate's wildcard, and without a name: the listener's first.
        ("d.c.b.test", &first),
        ("127.0.0.1", &first),
    ];
    for (name, expect) in cases {
        let (client, _) = connect(&config, &client(), name).unwrap();
        assert_eq!(served(&client), &expect.cert[0], "{name}");
    }
}

#[test]
fn certificates_are_swapped_under_a_live_configuration() {
    use std::io::{Read, Write};
    let (old, new) = (ecdsa(&["a.example.com"]), ecdsa(&["a.example.com"]));
    let tls = server_tls([listener(Some("a.example.com"), &[&old])]);
    let config = tls.tcp_config(tls.port(PORT));
    let (mut early_client, mut early_server) = connect(&config, &client(), "a.example.com").unwrap();
    assert_eq!(served(&early_client), &old.cert[0]);

    tls.swap(CertificateIndex::new([listener(Some("a.example.com"), &[&new])]));
    let (late, _) = connect(&config, &client(), "a.example.com").unwrap();
    assert_eq!(served(&late), &new.cert[0]);

    let mut flight = Vec::new();
    early_client.writer().write_all(b"still here").unwrap();
    early_client.write_tls(&mut flight).unwrap();
    deliver(&flight, |octets| early_server.read_tls(octets));
    early_server.process_new_packets().unwrap();
    let mut text = [0; 10];
    early_server.reader().read_exact(&mut text).unwrap();
    assert_eq!(&text, b"still here");
}

#[test]
fn sessions_are_resumed_by_ticket_while_the_name_is_served() {
    let key = ecdsa(&["a.example.com"]);
    let tls = server_tls([listener(Some("*.example.com"), &[&key])]);
    let configs = [tls.tcp_config(tls.port(PORT)), tls.tcp_config(tls.port(PORT))];
    for tls_version in BOTH_VERSIONS {
        tls.swap(CertificateIndex::new([listener(Some("*.example.com"), &[&key])]));
        let client = client_with(&[tls_version], &ALL_SCHEMES, &[b"h2"]);
        let (first, server) = connect(&configs[0], &client, "a.example.com").unwrap();
        assert_ne!(first.handshake_kind(), Some(HandshakeKind::Resumed), "{tls_version:?}");
        assert_eq!(server.server_name(), Some("a.example.com"));
        if tls_version == &version::TLS13 {
            assert_eq!(first.tls13_tickets_received(), 1);
        }
        let (second, server) = connect(&configs[1], &client, "a.example.com").unwrap();
        assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed), "{tls_version:?}");
        assert_eq!(server.alpn_protocol(), Some(&b"h2"[..]));
        assert!(!second.is_early_data_accepted());

        tls.swap(CertificateIndex::default());
        let error = connect(&configs[0], &client, "a.example.com").unwrap_err();
        assert_eq!(counted(error), HandshakeResult::NoCertificate, "a ticket is no way around the certificates");
    }
}

#[test]
fn protocols_are_chosen_in_our_order() {
    let key = ecdsa(&["a.example.com"]);
    let tls = server_tls([listener(None, &[&key])]);
    let config = tls.tcp_config(tls.port(PORT));
    let cases = [
        ("http/1.1 h2", Some("h2")),
        ("http/1.1", Some("http/1.1")),
        ("spdy/3 http/1.1", Some("http/1.1")),
        ("", None),
    ];
    for (offered, expect) in cases {
        let protocols: Vec<&[u8]> = offered.split_terminator(' ').map(str::as_bytes).collect();
        let (client, _) =
            connect(&config, &client_with(&BOTH_VERSIONS, &ALL_SCHEMES, &protocols), "a.example.com").unwrap();
        assert_eq!(client.alpn_protocol(), expect.map(str::as_bytes), "{offered}");
    }
    // RFC 7301 section 3.2: no_application_protocol.
    let no_common = client_with(&BOTH_VERSIONS, &ALL_SCHEMES, &[b"h3"]);
    assert!(matches!(connect(&config, &no_common, "a.example.com"), Err(Error::NoApplicationProtocol)));
}

#[test]
fn failed_handshakes_are_told_apart() {
    use std::io::{Error as IoError, ErrorKind};
    let alert = Error::AlertReceived(rustls::AlertDescription::UnknownCA);
    let cases = [
        (IoError::new(ErrorKind::InvalidData, alert), HandshakeResult::Alert),
        (IoError::new(ErrorKind::InvalidData, Error::NoApplicationProtocol), HandshakeResult::Failed),
        (ErrorKind::TimedOut.into(), HandshakeResult::Timeout),
        (ErrorKind::UnexpectedEof.into(), HandshakeResult::Failed),
    ];
    for (error, expect) in cases {
        assert_eq!(tcp_handshake_result(&error), expect, "{error}");
    }
}

#[test]
fn bad_certificates_are_told_apart() {
    let good = issue(&PKCS_ECDSA_P256_SHA256, &["a.example.com"]);
    let other = issue(&PKCS_RSA_SHA256, &["a.example.com"]);
    let garbage = |label| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    let broken_base64 = good.chain.replacen('M', "!", 1);
    let cases = [
        ("", &*good.key, "the certificate chain holds no certificate"),
        ("plain text", &good.key, "the certificate chain holds no certificate"),
        (&good.key, &good.key, "the certificate chain holds no certificate"),
        (&broken_base64, &good.key, "the certificate chain is not PEM"),
        (&good.chain.repeat(MAX_CHAIN + 1), &good.key, "the certificate chain holds more than 16 certificates"),
        (&garbage("CERTIFICATE"), &good.key, "the first certificate of the chain is broken"),
        (&good.chain, "", "the private key is not PEM of PKCS#8, PKCS#1 or SEC1"),
        (&good.chain, &good.chain, "the private key is not PEM of PKCS#8, PKCS#1 or SEC1"),
        (&good.chain, &garbage("PRIVATE KEY"), "the private key is broken, or its algorithm or size"),
        (&good.chain, &garbage("ENCRYPTED PRIVATE KEY"), "the private key is encrypted"),
        (&good.chain, &other.key, "the private key does not belong to the first certificate"),
    ];
    for (chain, key, expect) in cases {
        let error = parse(chain, key, None).unwrap_err().to_string();
        assert!(error.starts_with(expect), "{error}, not {expect}");
    }
}

#[test]
fn a_certificate_that_has_not_changed_is_not_loaded_again() {
    let (one, two) = (issue(&PKCS_ECDSA_P256_SHA256, &["a.test"]), issue(&PKCS_ECDSA_P256_SHA256, &["a.test"]));
    let first = parse(&one.chain, &one.key, None).unwrap();
    let again = parse(&format!("# a comment\n{}", one.chain), &one.key, Some(&first)).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let changed = parse(&two.chain, &two.key, Some(&first)).unwrap();
    assert_ne!(changed.cert, first.cert);
}

/// A server that handshakes with whoever comes, and what each handshake came to.
fn quic_server(tls: &ServerTls) -> (SocketAddr, tokio::sync::mpsc::Receiver<HandshakeResult>) {
    let config = tls.quic_config(tls.port(PORT), EarlyData::Refused);
    let config: quinn::crypto::rustls::QuicServerConfig = config.try_into().unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(config));
    let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = endpoint.local_addr().unwrap();
    let (results, heard) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let result = match incoming.await {
                Ok(connection) => {
                    connection.closed().await;
                    HandshakeResult::Ok
                }
                Err(error) => quic_handshake_result(&error),
            };
            results.send(result).await.unwrap();
        }
    });
    (addr, heard)
}

async fn quic_connect(
    addr: SocketAddr,
    client: Arc<ClientConfig>,
    name: &str,
) -> Result<quinn::Connection, quinn::ConnectionError> {
    let config: quinn::crypto::rustls::QuicClientConfig = client.try_into().unwrap();
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
    endpoint.connect(addr, name).unwrap().await
}

#[tokio::test]
async fn quic_has_the_same_certificates() {
    let (exact, wildcard) = (ecdsa(&["a.example.com"]), ecdsa(&["*.example.com"]));
    let tls = server_tls([listener(Some("a.example.com"), &[&exact]), listener(Some("*.example.com"), &[&wildcard])]);
    let (addr, mut results) = quic_server(&tls);
    let h3 = || client_with(&[&version::TLS13], &ALL_SCHEMES, &[b"h3"]);

    for (name, expect) in [("A.example.com", &exact), ("b.example.com", &wildcard)] {
        let connection = quic_connect(addr, h3(), name).await.unwrap();
        let chain = connection.peer_identity().unwrap().downcast::<Vec<CertificateDer<'static>>>().unwrap();
        assert_eq!(chain[0], expect.cert[0], "{name}");
        connection.close(0_u32.into(), b"");
        assert_eq!(results.recv().await, Some(HandshakeResult::Ok));
    }

    quic_connect(addr, h3(), "other.test").await.unwrap_err();
    assert_eq!(results.recv().await, Some(HandshakeResult::NoCertificate));

    let wrong_protocol = client_with(&[&version::TLS13], &ALL_SCHEMES, &[b"h2"]);
    quic_connect(addr, wrong_protocol, "a.example.com").await.unwrap_err();
    assert_eq!(results.recv().await, Some(HandshakeResult::Failed));

    let mut distrusting = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    distrusting.alpn_protocols = vec![b"h3".to_vec()];
    quic_connect(addr, Arc::new(distrusting), "a.example.com").await.unwrap_err();
    assert_eq!(results.recv().await, Some(HandshakeResult::Alert));
}
