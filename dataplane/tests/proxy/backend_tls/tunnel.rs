//! How tunnels to backends end over TLS, and that who does not read stops who writes there too.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{NAME, secured};
use crate::backend::authority::Authority;
use crate::backend::{Raw, switch};
use crate::client::{End, Tunnels, Version};
use crate::patience::within;
use crate::stage::Stage;
use crate::stage::table::{backend, forward};
use crate::tunnel_pressure::{FLOOD, UNDER_WAY, read_flood, settled, write_flood};

/// A data plane before a backend that hands every accepted tunnel to the test.
async fn handing_over() -> (Stage, Raw, mpsc::UnboundedReceiver<TlsStream<TcpStream>>) {
    let authority = Authority::new("ca");
    let acceptor = TlsAcceptor::from(Arc::new(authority.issue(&[NAME]).server(&[&TLS13, &TLS12], &["http/1.1"])));
    let (hand, handed) = mpsc::unbounded_channel();
    let raw = Raw::start(move |stream, _| {
        let (acceptor, hand) = (acceptor.clone(), hand.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            switch(&mut stream, "", b"early").await;
            let _test_is_over = hand.send(stream);
        }
    })
    .await;
    let backends = vec![secured(backend("raw", &[raw.address]), &authority.pem)];
    (Stage::serving(vec![forward("/", "raw")], backends).await, raw, handed)
}

fn cut(version: Version) -> End {
    match version {
        Version::Http1 => End::TcpReset,
        Version::Http2 => End::Reset(0x8),
        Version::Http3 => End::Reset(0x10c),
    }
}

fn linger_none(stream: &TlsStream<TcpStream>) {
    socket2::SockRef::from(stream.get_ref().0).set_linger(Some(Duration::ZERO)).unwrap();
}

#[tokio::test]
async fn ends_are_told_as_what_they_were() {
    let (stage, _raw, mut handed) = handing_over().await;
    for version in Version::ALL {
        let mut open = async || {
            let mut tunnels = Tunnels::connect(&stage, version).await;
            let mut client = tunnels.open("/").await;
            client.expect(b"early").await;
            (tunnels, client, within("a tunnel at the backend", handed.recv()).await.unwrap())
        };

        // The client first: close_notify, after which the other direction goes on.
        let (_tunnels, mut client, mut backend) = open().await;
        client.send(b"last words").await;
        client.finish().await;
        let mut words = Vec::new();
        within("an end at the backend", backend.read_to_end(&mut words)).await.unwrap();
        assert_eq!(words, b"last words", "{version:?}");
        backend.write_all(b"still here").await.unwrap();
        backend.flush().await.unwrap();
        client.expect(b"still here").await;
        backend.shutdown().await.unwrap();
        assert_eq!(client.end().await, (Vec::new(), End::Finished), "{version:?}");

        // The backend first, with its last octets and no close_notify.
        let (_tunnels, mut client, mut backend) = open().await;
        backend.write_all(b"last words").await.unwrap();
        backend.flush().await.unwrap();
        drop(backend);
        assert_eq!(client.end().await, (b"last words".to_vec(), End::Finished), "{version:?}");

        // Cut by the backend, and by the client.
        let (_tunnels, mut client, backend) = open().await;
        linger_none(&backend);
        drop(backend);
        assert_eq!(client.end().await, (Vec::new(), cut(version)), "{version:?}");
        let (_tunnels, client, mut backend) = open().await;
        client.reset();
        let error = within("an end at the backend", backend.read_u8()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{version:?}");
    }
}

#[tokio::test]
async fn who_does_not_read_stops_who_writes() {
    let (stage, _raw, mut handed) = handing_over().await;
    for version in Version::ALL {
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let mut client = tunnels.open("/").await;
        client.expect(b"early").await;
        let mut backend = within("a tunnel at the backend", handed.recv()).await.unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let flood = tokio::spawn(async move {
            write_flood(&mut client, &count).await;
            client.flush().await.unwrap();
            client
        });
        let stopped_at = settled(&sent).await;
        assert!(stopped_at < UNDER_WAY, "{version:?}: {stopped_at} octets were taken and nobody reads");
        assert_eq!(read_flood(&mut backend).await, FLOOD, "{version:?}");
        let mut client = within("the flood", flood).await.unwrap();

        // The other way round on the same tunnel.
        sent.store(0, Ordering::Relaxed);
        let count = Arc::clone(&sent);
        let flood = tokio::spawn(async move {
            write_flood(&mut backend, &count).await;
            backend.flush().await.unwrap();
            backend
        });
        let stopped_at = settled(&sent).await;
        assert!(stopped_at < UNDER_WAY, "{version:?}: {stopped_at} octets were taken and nobody reads");
        assert_eq!(read_flood(&mut client).await, FLOOD, "{version:?}");
        drop(within("the flood", flood).await.unwrap());
    }
}
