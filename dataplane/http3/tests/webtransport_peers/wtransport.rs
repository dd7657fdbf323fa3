//! wtransport, which announces drafts 02 and 07 and takes only the older token.

use std::{net::SocketAddr, pin::Pin};

use headrace_http3::{
    StreamError, client,
    webtransport::{self, Draft, Ended, codes},
};
use tokio::time::timeout;
use wtransport::{
    ClientConfig, Connection, Endpoint, VarInt,
    config::{DnsLookupFuture, DnsResolver, IpBindConfig},
    endpoint::IncomingSessionFuture,
};

use crate::{
    endpoints::{PATIENCE, endpoints, pattern},
    site::{Site, read_all, request},
};

const WINDOW: u32 = 256 << 10;

/// Knows where the server is.
#[derive(Debug)]
struct Resolver(SocketAddr);

impl DnsResolver for Resolver {
    fn resolve(&self, _: &str) -> Pin<Box<dyn DnsLookupFuture>> {
        let address = self.0;
        Box::pin(async move { Ok(Some(address)) })
    }
}

/// Its client at a path of our server.
async fn client_of(site: &Site, path: &str) -> Connection {
    let builder = ClientConfig::builder().with_bind_config(IpBindConfig::LocalV4);
    let mut config = builder.build_with_quic_config(site.endpoints.client_config.clone());
    config.set_dns_resolver(Resolver(site.endpoints.address));
    let endpoint = Endpoint::client(config).unwrap();
    let connecting = endpoint.connect(format!("https://localhost:{}{path}", site.endpoints.address.port()));
    let (connection, _) = timeout(PATIENCE, async { tokio::join!(connecting, site.accept()) }).await.unwrap();
    connection.unwrap()
}

fn site() -> Site {
    Site::new(webtransport::Config { max_streams_bidi: 150, max_streams_uni: 150, ..Default::default() })
}

#[tokio::test]
async fn its_client_on_our_echo() {
    let connection = client_of(&site(), "/echo").await;
    let mut streams = Vec::new();
    for _ in 0..90 {
        streams.push(timeout(PATIENCE, async { connection.open_bi().await.unwrap().await.unwrap() }).await.unwrap());
    }
    for (n, (send, recv)) in streams.iter_mut().enumerate() {
        let content = pattern(n * 300 + 1);
        send.write_all(&content).await.unwrap();
        send.finish().await.unwrap();
        let mut got = vec![0; content.len()];
        timeout(PATIENCE, recv.read_exact(&mut got)).await.unwrap().unwrap();
        assert!(got == content);
    }
    for n in 1..10 {
        let mut send = connection.open_uni().await.unwrap().await.unwrap();
        send.write_all(&pattern(n * 100)).await.unwrap();
        send.finish().await.unwrap();
        let mut recv = timeout(PATIENCE, connection.accept_uni()).await.unwrap().unwrap();
        let mut got = vec![0; n * 100];
        timeout(PATIENCE, recv.read_exact(&mut got)).await.unwrap().unwrap();
        assert!(got == pattern(n * 100));
    }
    let got = timeout(PATIENCE, async {
        loop {
            connection.send_datagram(b"datagram").unwrap();
            tokio::select! {
                got = connection.receive_datagram() => return got.unwrap(),
                () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
            }
        }
    });
    assert_eq!(&got.await.unwrap()[..], b"datagram");
}

/// It hands codes on as they are on the wire.
#[tokio::test]
async fn its_client_and_codes() {
    let mut site = site();
    let client = client_of(&site, "/mine").await;
    let server = site.mine().await;
    assert_eq!((server.draft(), server.is_flow_controlled()), (Draft::Draft07, false));

    let (mut send, _recv) = client.open_bi().await.unwrap().await.unwrap();
    send.write_all(b"x").await.unwrap();
    let (_back, mut there) = timeout(PATIENCE, server.accept_bi()).await.unwrap().unwrap();
    assert_eq!(there.read_data(&mut [0; 9]).await.unwrap(), 1);
    let code = codes::from_application(77);
    send.reset(VarInt::try_from_u64(code.value()).unwrap()).unwrap();
    let read = timeout(PATIENCE, there.read_data(&mut [0; 9])).await.unwrap();
    assert!(matches!(read, Err(StreamError::Reset(got)) if got == code), "{read:?}");

    let (mut send, _recv) = server.open_bi().await.unwrap();
    send.write_all(b"from the server").await.unwrap();
    let (_back, mut there) = timeout(PATIENCE, client.accept_bi()).await.unwrap().unwrap();
    let mut got = [0; 15];
    there.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"from the server");

    // It closes by closing the connection.
    client.close(VarInt::from_u32(0x100), b"");
    let ended = timeout(PATIENCE, server.closed()).await.unwrap();
    assert!(matches!(ended, Ended::Connection(_)), "{ended:?}");
}

#[tokio::test]
async fn our_server_closes() {
    let mut site = site();
    let client = client_of(&site, "/mine").await;
    let server = site.mine().await;
    server.close(9, "enough");
    // Which code it says is its own affair: it ends.
    timeout(PATIENCE, client.closed()).await.unwrap();
}

async fn serve(incoming: quinn::Incoming) {
    let session = IncomingSessionFuture::with_quic_incoming(incoming).await.unwrap();
    let connection = session.accept().await.unwrap();
    let mut hello = connection.open_uni().await.unwrap().await.unwrap();
    hello.write_all(b"hello").await.unwrap();
    hello.finish().await.unwrap();
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        tokio::spawn(async move {
            let mut octets = vec![0; 5000];
            while let Ok(Some(size)) = recv.read(&mut octets).await {
                send.write_all(&octets[..size]).await.unwrap();
            }
            let _ = send.finish().await;
        });
    }
}

#[tokio::test]
async fn our_client_on_its_server() {
    let endpoints = endpoints(WINDOW);
    let accepting = endpoints.server.clone();
    let serving = tokio::spawn(async move { serve(accepting.accept().await.unwrap()).await });
    let quic = endpoints.client.connect(endpoints.address, "localhost").unwrap().await.unwrap();
    let (mut connection, mut requests) = client::connect(quic, &site().config);
    tokio::spawn(async move { connection.drive().await });
    let connecting = webtransport::connect::<_, &str>(&mut requests, request("/any"), &[]);
    let session = timeout(PATIENCE, connecting).await.unwrap().unwrap().0;
    assert_eq!(session.draft(), Draft::Draft07);
    let mut hello = timeout(PATIENCE, session.accept_uni()).await.unwrap().unwrap();
    assert_eq!(read_all(&mut hello).await.unwrap(), b"hello");
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let session = session.clone();
            tokio::spawn(async move {
                let (mut send, mut recv) = session.open_bi().await.unwrap();
                let content = pattern(n * 300);
                send.write_all(&content).await.unwrap();
                send.finish().unwrap();
                assert!(read_all(&mut recv).await.unwrap() == content);
            })
        })
        .collect();
    for task in tasks {
        timeout(PATIENCE, task).await.unwrap().unwrap();
    }
    session.close(5, "bye");
    timeout(PATIENCE, serving).await.unwrap().unwrap();
}
