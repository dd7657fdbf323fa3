//! What a tunnel through the data plane costs, beside the same octets straight to the backend: a round trip of a small
//! WebSocket message, and a megabyte echoed.
//!
//! One worker, loopback, and clients that know nothing of WebSocket but its handshake: they move octets.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and its macros make functions")]

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use headrace_dataplane::{Config, DataPlane};
use headrace_table::{Table, wire};
use http::{Method, Request};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// A short message with its frame header, as a client masks it (RFC 6455 section 5.2): 64 octets in all.
const MESSAGE_OCTETS: usize = 64;

/// What the throughput is measured with.
const MEGABYTE: usize = 1 << 20;

/// What one read takes at most.
const READ_BUFFER: usize = 64 << 10;

/// Credit of the HTTP/2 client, so that it is not what is measured.
const CLIENT_WINDOW: u32 = 4 << 20;

/// RFC 6455's own key.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Accepts every WebSocket handshake and echoes octets, a thread for each connection.
fn echo_backend() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || echo(stream.unwrap()));
        }
    });
    address
}

fn echo(mut stream: std::net::TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).unwrap();
        head.extend(octet);
    }
    let head = String::from_utf8(head).unwrap();
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let accept = STANDARD.encode(Sha1::new().chain_update(key.unwrap()).chain_update(guid).finalize());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).unwrap();
    let mut buffer = vec![0; READ_BUFFER];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

/// A data plane in front of the echo.
struct Stage {
    _plane: DataPlane,
    address: SocketAddr,
    certificate: CertificateDer<'static>,
}

impl Stage {
    async fn start(backend: SocketAddr) -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let address = free_address();
        let table = table(address.port(), backend, &certified);
        let plane =
            DataPlane::start(Config { workers: 1, bind: vec![Ipv4Addr::LOCALHOST.into()], ..Config::default() });
        let plane = plane.unwrap();
        let published = plane.publish(Table::try_from(table).unwrap()).await;
        assert!(published.unbound.is_empty() && published.certificates.is_empty(), "{published:?}");
        Self { _plane: plane, address, certificate: certified.cert.into() }
    }

    fn tls(&self, alpn: &str) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.into()];
        config
    }

    async fn connect(&self, alpn: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(self.tls(alpn)));
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    }
}

/// A port that nobody has on TCP or UDP.
fn free_address() -> SocketAddr {
    loop {
        let tcp = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = tcp.local_addr().unwrap();
        if std::net::UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

/// One HTTPS listener, all of which goes to one backend.
fn table(port: u16, backend: SocketAddr, certified: &rcgen::CertifiedKey<rcgen::KeyPair>) -> wire::Table {
    let weighted = wire::WeightedBackend {
        backend: Some("echo".to_owned()),
        weight: 1,
        request_headers: wire::HeaderChanges::default(),
        response_headers: wire::HeaderChanges::default(),
    };
    let everything = wire::Match {
        path: wire::PathMatch::Prefix("/".to_owned()),
        method: None,
        headers: Vec::new(),
        query: Vec::new(),
        opens: wire::Opens::Any,
        subprotocols: Vec::new(),
    };
    let rule = wire::Rule {
        name: None,
        matches: vec![everything],
        request_headers: wire::HeaderChanges::default(),
        response_headers: wire::HeaderChanges::default(),
        action: wire::Action::Forward(wire::Forward { backends: vec![weighted], ..wire::Forward::default() }),
    };
    wire::Table {
        listeners: vec![wire::Listener {
            id: "https".to_owned(),
            port,
            public_port: port,
            protocol: wire::Protocol::Https,
            http3: true,
            quic: wire::QuicOptions::default(),
            hostname: None,
            certificates: vec!["localhost".to_owned()],
        }],
        routes: vec![wire::Route {
            id: "HTTPRoute/bench/echo".to_owned(),
            created: 0,
            attachments: vec![wire::Attachment { listener: "https".to_owned(), hostnames: Vec::new() }],
            rules: vec![rule],
        }],
        backends: vec![wire::Backend {
            id: "echo".to_owned(),
            protocol: wire::BackendProtocol::Http1,
            endpoints: vec![backend.to_string()],
            tls: None,
        }],
        certificates: vec![wire::Certificate {
            id: "localhost".to_owned(),
            chain: certified.cert.pem(),
            key: certified.signing_key.serialize_pem(),
        }],
        ..wire::Table::default()
    }
}

/// The client's end: octets in, octets out, and whatever has to live as long.
struct Pipe {
    send: Sender,
    receive: Receiver,
    _held: Option<quinn::Endpoint>,
}

enum Sender {
    Octets(Box<dyn AsyncWrite + Unpin>),
    Http2(h2::SendStream<Bytes>),
}

enum Receiver {
    Octets(Box<dyn AsyncRead + Unpin>, Vec<u8>),
    Http2(h2::RecvStream),
}

impl Pipe {
    fn octets(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, held: Option<quinn::Endpoint>) -> Self {
        let (read, write) = tokio::io::split(stream);
        let receive = Receiver::Octets(Box::new(read), vec![0; READ_BUFFER]);
        Self { send: Sender::Octets(Box::new(write)), receive, _held: held }
    }

    async fn direct(backend: SocketAddr) -> Self {
        let stream = TcpStream::connect(backend).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::octets(upgrade(stream).await, None)
    }

    async fn http1(stage: &Stage) -> Self {
        Self::octets(upgrade(stage.connect("http/1.1").await).await, None)
    }

    async fn http2(stage: &Stage) -> Self {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(CLIENT_WINDOW).initial_connection_window_size(CLIENT_WINDOW);
        let (requests, mut connection) = builder.handshake(stage.connect("h2").await).await.unwrap();
        let mut settled = connection.ping_pong().unwrap();
        tokio::spawn(connection);
        // The server's SETTINGS, which allow extended CONNECT, come before its answer to a PING.
        settled.ping(h2::Ping::opaque()).await.unwrap();
        let mut request = handshake();
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        let (response, send) = requests.ready().await.unwrap().send_request(request, false).unwrap();
        let receive = response.await.unwrap();
        assert_eq!(receive.status(), 200);
        Self { send: Sender::Http2(send), receive: Receiver::Http2(receive.into_body()), _held: None }
    }

    async fn http3(stage: &Stage) -> Self {
        let mut endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let tls = QuicClientConfig::try_from(stage.tls("h3")).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
        let quic = endpoint.connect(stage.address, "localhost").unwrap().await.unwrap();
        let (mut connection, mut requests) = headrace_http3::client::connect(quic, &headrace_http3::Config::default());
        tokio::spawn(async move { connection.drive().await });
        let mut request = handshake();
        request.extensions_mut().insert(headrace_http3::Protocol::WEBSOCKET);
        let (send, mut receive) = requests.send_request(request).await.unwrap();
        assert_eq!(receive.response().await.unwrap().status(), 200);
        // Requests end with their sender.
        tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(requests);
        });
        Self::octets(headrace_http3::Tunnel::new(send, receive), Some(endpoint))
    }

    /// Sends octets and waits until as many have come back.
    async fn round_trip(&mut self, octets: &Bytes) {
        let Self { send, receive, .. } = self;
        tokio::join!(send.all(octets.clone()), receive.exactly(octets.len()));
    }
}

impl Sender {
    async fn all(&mut self, mut octets: Bytes) {
        match self {
            Self::Octets(stream) => {
                stream.write_all(&octets).await.unwrap();
                stream.flush().await.unwrap();
            }
            Self::Http2(stream) => {
                while !octets.is_empty() {
                    stream.reserve_capacity(octets.len());
                    while stream.capacity() == 0 {
                        poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
                    }
                    let granted = stream.capacity().min(octets.len());
                    stream.send_data(octets.split_to(granted), false).unwrap();
                }
            }
        }
    }
}

impl Receiver {
    async fn exactly(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            let got = match self {
                Self::Octets(stream, buffer) => stream.read(buffer).await.unwrap(),
                Self::Http2(stream) => {
                    let data = stream.data().await.unwrap().unwrap();
                    stream.flow_control().release_capacity(data.len()).unwrap();
                    data.len()
                }
            };
            assert!(got > 0, "the tunnel ended");
            left -= got;
        }
    }
}

/// A handshake as extended CONNECT (RFC 8441, RFC 9220).
fn handshake() -> Request<()> {
    let request = Request::builder().method(Method::CONNECT).uri("https://localhost/");
    request.header("sec-websocket-version", "13").body(()).unwrap()
}

/// A handshake on HTTP/1.1.
async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> S {
    let head = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    stream
}

fn relay(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let backend = echo_backend();
    let stage = runtime.block_on(Stage::start(backend));
    let mut message = vec![7; MESSAGE_OCTETS];
    message[..2].copy_from_slice(&[0x82, 0x80 | (MESSAGE_OCTETS - 6) as u8]);
    for (name, octets) in [("relay/64", Bytes::from(message)), ("relay/1MB", Bytes::from(vec![7; MEGABYTE]))] {
        let mut group = c.benchmark_group(name);
        group.throughput(match octets.len() {
            MEGABYTE => Throughput::Bytes(MEGABYTE as u64),
            _ => Throughput::Elements(1),
        });
        measure(&mut group, "direct", &runtime, runtime.block_on(Pipe::direct(backend)), &octets);
        measure(&mut group, "http1", &runtime, runtime.block_on(Pipe::http1(&stage)), &octets);
        measure(&mut group, "http2", &runtime, runtime.block_on(Pipe::http2(&stage)), &octets);
        measure(&mut group, "http3", &runtime, runtime.block_on(Pipe::http3(&stage)), &octets);
        group.finish();
    }
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, runtime: &Runtime, mut pipe: Pipe, octets: &Bytes) {
    group.bench_function(name, |b| b.iter(|| runtime.block_on(pipe.round_trip(octets))));
}

criterion_group!(benches, relay);
criterion_main!(benches);
