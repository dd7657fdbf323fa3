//! Owns a pair of QUIC endpoints that trust each other, and a server that answers by path.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use headrace_http3::{Code, Config, Protocol, RecvStream, SendStream, StreamError, server};
use http::{HeaderMap, Request, Response, StatusCode};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// No test waits longer for anything: a hang is a failure, not a stuck build.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const ALPN: &[u8] = b"h3";

/// Endpoints of both sides, on the loopback.
pub(crate) struct Endpoints {
    pub(crate) server: quinn::Endpoint,
    pub(crate) client: quinn::Endpoint,
    pub(crate) address: SocketAddr,
    /// What the client trusts, for clients that bring an endpoint of their own.
    #[allow(dead_code, reason = "only some of the tests that share this file have such clients")]
    pub(crate) client_config: quinn::ClientConfig,
}

/// Endpoints whose every stream and connection may have this many octets in flight to the receiver.
pub(crate) fn endpoints(window: u32) -> Endpoints {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(certified.cert);
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());

    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut server_config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    server_config.transport_config(transport(window));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut client_config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    client_config.transport_config(transport(window));

    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = quinn::Endpoint::server(server_config, any_port).unwrap();
    let mut client = quinn::Endpoint::client(any_port).unwrap();
    client.set_default_client_config(client_config.clone());
    let address = server.local_addr().unwrap();
    Endpoints { server, client, address, client_config }
}

fn transport(window: u32) -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(window.into());
    transport.receive_window((window * 4).into());
    transport.max_concurrent_uni_streams(64_u32.into());
    Arc::new(transport)
}

impl Endpoints {
    /// A QUIC connection, from both ends.
    pub(crate) async fn connect(&self) -> (quinn::Connection, quinn::Connection) {
        let connecting = self.client.connect(self.address, "localhost").unwrap();
        let accepting = async { self.server.accept().await.unwrap().await.unwrap() };
        let (client, server) = tokio::join!(connecting, accepting);
        (client.unwrap(), server)
    }

    /// The client's end of a connection that [`serve`] answers on, and the task that does.
    pub(crate) async fn served(&self) -> (quinn::Connection, tokio::task::JoinHandle<Served>) {
        let (client, quic) = self.connect().await;
        (client, tokio::spawn(serve(server::Connection::new(quic, &Config::default()))))
    }
}

/// How [`serve`] ended.
pub(crate) type Served = Result<(), headrace_http3::Error>;

/// Answers every request of a connection with [`answer`], each in a task of its own.
pub(crate) async fn serve(mut connection: server::Connection) -> Served {
    while let Some(incoming) = connection.accept().await? {
        tokio::spawn(async move {
            if let Ok((request, send, recv)) = incoming.resolve().await {
                // What goes wrong here, the client sees.
                let _ = answer(request, send, recv).await;
            }
        });
    }
    Ok(())
}

/// What the paths do: `/echo` sends the content back as it comes, with the trailers; `/bytes/N` sends N octets; `/reset`
/// resets with H3_REQUEST_CANCELLED after the head; `/stop` stops the request with H3_NO_ERROR and answers; `/silent`
/// answers and never reads. CONNECT with a protocol echoes, too.
pub(crate) async fn answer(
    request: Request<()>,
    mut send: SendStream,
    mut recv: RecvStream,
) -> Result<(), StreamError> {
    let path = request.uri().path().to_owned();
    if let Some(protocol) = request.extensions().get::<Protocol>() {
        if *protocol != Protocol::WEBSOCKET {
            return respond(&mut send, StatusCode::NOT_IMPLEMENTED).await;
        }
        send.send_response(Response::new(())).await?;
        if path == "/reset" {
            // A reset overtakes what was sent before: the client says when it has the head.
            recv.read_data(&mut [0; 8]).await?;
            send.reset(Code::H3_INTERNAL_ERROR);
            recv.stop_sending(Code::H3_VERSION_FALLBACK);
            return Ok(());
        }
        if path == "/silent" {
            return std::future::pending().await;
        }
        return echo(&mut send, &mut recv).await;
    }
    match path.as_str() {
        "/echo" => {
            send.send_response(Response::builder().header("x-from", "headrace").body(()).unwrap()).await?;
            echo(&mut send, &mut recv).await
        }
        "/interim" => {
            let interim = Response::builder().status(103).header("link", "</style.css>").body(()).unwrap();
            send.send_informational(interim).await?;
            respond(&mut send, StatusCode::OK).await
        }
        "/reset" => {
            send.send_response(Response::new(())).await?;
            send.reset(Code::H3_REQUEST_CANCELLED);
            Ok(())
        }
        "/stop" => {
            recv.stop_sending(Code::H3_NO_ERROR);
            respond(&mut send, StatusCode::OK).await
        }
        "/silent" => {
            send.send_response(Response::new(())).await?;
            std::future::pending().await
        }
        _ => match path.strip_prefix("/bytes/").and_then(|count| count.parse().ok()) {
            Some(count) => {
                let head = Response::builder().header("content-length", count).body(()).unwrap();
                send.send_response(head).await?;
                send.send_data(Bytes::from(vec![b'x'; count])).await?;
                send.finish()
            }
            None => respond(&mut send, StatusCode::NOT_FOUND).await,
        },
    }
}

async fn respond(send: &mut SendStream, status: StatusCode) -> Result<(), StreamError> {
    send.send_response(Response::builder().status(status).body(()).unwrap()).await?;
    send.finish()
}

async fn echo(send: &mut SendStream, recv: &mut RecvStream) -> Result<(), StreamError> {
    let mut buffer = vec![0; 10_000];
    loop {
        let size = match recv.read_data(&mut buffer).await {
            Ok(0) => break,
            Ok(size) => size,
            Err(error) => {
                send.reset(error.code());
                return Err(error);
            }
        };
        write_all(send, &buffer[..size]).await?;
    }
    if let Some(trailers) = recv.trailers() {
        send.send_trailers(trailers).await?;
    }
    send.finish()
}

/// Offers content until all of it is taken.
pub(crate) async fn write_all(send: &mut SendStream, mut content: &[u8]) -> Result<(), StreamError> {
    while !content.is_empty() {
        let taken = send.write_data(content).await?;
        content = &content[taken..];
    }
    Ok(())
}

/// Reads content to its end.
pub(crate) async fn read_all(recv: &mut RecvStream) -> Result<Vec<u8>, StreamError> {
    let (mut content, mut buffer) = (Vec::new(), vec![0; 5000]);
    loop {
        match recv.read_data(&mut buffer).await? {
            0 => return Ok(content),
            size => content.extend_from_slice(&buffer[..size]),
        }
    }
}

/// Trailers with one field.
pub(crate) fn trailers(name: &'static str, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static(name), http::HeaderValue::from_static(value))])
}

/// Octets that show when some are lost or moved.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}
