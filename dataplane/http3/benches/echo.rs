//! What a message through a tunnel costs, beside the same message on a bare QUIC stream: the difference is this crate.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and its macros make functions")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use headrace_http3::{Config, Protocol, RecvStream, SendStream, client, server};
use http::{Method, Request, Response};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::runtime::Runtime;

/// Two ends of a QUIC connection on the loopback. The endpoints live as long as their connections do.
async fn connection() -> (quinn::Connection, quinn::Connection) {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(certified.cert);
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let server_config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client_config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));

    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = quinn::Endpoint::server(server_config, any_port).unwrap();
    let mut client = quinn::Endpoint::client(any_port).unwrap();
    client.set_default_client_config(client_config);
    let connecting = client.connect(server.local_addr().unwrap(), "localhost").unwrap();
    let (client, server) = tokio::join!(connecting, async { server.accept().await.unwrap().await.unwrap() });
    (client.unwrap(), server)
}

async fn bare() -> (quinn::SendStream, quinn::RecvStream) {
    let (client, server) = connection().await;
    tokio::spawn(async move {
        let (mut send, mut recv) = server.accept_bi().await.unwrap();
        let mut buffer = vec![0; 16 << 10];
        while let Ok(Some(size)) = recv.read(&mut buffer).await {
            send.write_all(&buffer[..size]).await.unwrap();
        }
    });
    client.open_bi().await.unwrap()
}

async fn tunnel() -> (SendStream, RecvStream) {
    let (client, server) = connection().await;
    tokio::spawn(async move {
        let mut connection = server::Connection::new(server, &Config::default());
        while let Ok(Some(incoming)) = connection.accept().await {
            tokio::spawn(async move {
                let (_, mut send, mut recv) = incoming.resolve().await.unwrap();
                send.send_response(Response::new(())).await.unwrap();
                let mut buffer = vec![0; 16 << 10];
                while let Ok(size @ 1..) = recv.read_data(&mut buffer).await {
                    let mut rest = &buffer[..size];
                    while !rest.is_empty() {
                        rest = &rest[send.write_data(rest).await.unwrap()..];
                    }
                }
            });
        }
    });
    let (mut connection, mut requests) = client::connect(client, &Config::default());
    tokio::spawn(async move { connection.drive().await });
    let mut request = Request::builder().method(Method::CONNECT).uri("https://localhost/").body(()).unwrap();
    request.extensions_mut().insert(Protocol::WEBSOCKET);
    let (send, mut recv) = requests.send_request(request).await.unwrap();
    recv.response().await.unwrap();
    (send, recv)
}

fn echoes(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for len in [64, 4000] {
        let mut group = c.benchmark_group(format!("echo/{len}"));
        group.throughput(Throughput::Elements(1));
        group.bench_function("bare", |b| bare_echo(b, &runtime, len));
        group.bench_function("tunnel", |b| tunnel_echo(b, &runtime, len));
        group.finish();
    }
}

fn bare_echo(b: &mut criterion::Bencher<'_>, runtime: &Runtime, len: usize) {
    let (mut send, mut recv) = runtime.block_on(bare());
    let (message, mut buffer) = (vec![7; len], vec![0; 16 << 10]);
    b.iter(|| {
        runtime.block_on(async {
            send.write_all(&message).await.unwrap();
            let mut got = 0;
            while got < len {
                got += recv.read(&mut buffer).await.unwrap().unwrap();
            }
        });
    });
}

fn tunnel_echo(b: &mut criterion::Bencher<'_>, runtime: &Runtime, len: usize) {
    let (mut send, mut recv) = runtime.block_on(tunnel());
    let (message, mut buffer) = (vec![7; len], vec![0; 16 << 10]);
    b.iter(|| {
        runtime.block_on(async {
            let mut rest = &message[..];
            while !rest.is_empty() {
                rest = &rest[send.write_data(rest).await.unwrap()..];
            }
            let mut got = 0;
            while got < len {
                got += recv.read_data(&mut buffer).await.unwrap();
            }
        });
    });
}

criterion_group!(benches, echoes);
criterion_main!(benches);
