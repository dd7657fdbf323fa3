//! wtransport at either end: drafts 02 and 07, one session for a connection, and codes as they are on the wire.

use std::net::SocketAddr;
use std::pin::Pin;

use headrace_http3::StreamError;
use headrace_http3::webtransport::{Ended, codes};
use tokio::sync::mpsc;
use wtransport::config::{DnsLookupFuture, DnsResolver, IpBindConfig};
use wtransport::endpoint::IncomingSessionFuture;
use wtransport::{ClientConfig, Connection, Endpoint, VarInt};

use crate::authority::Authority;
use crate::backend::{echo, endpoint};
use crate::client::{Client, HOST, pattern, quic_config, read_all};
use crate::patience::within;
use crate::relay::stage;
use crate::stage::{Stage, http3, session};

/// Knows where the data plane is.
#[derive(Debug)]
struct Resolver(SocketAddr);

impl DnsResolver for Resolver {
    fn resolve(&self, _: &str) -> Pin<Box<dyn DnsLookupFuture>> {
        let address = self.0;
        Box::pin(async move { Ok(Some(address)) })
    }
}

/// Its client at a data plane.
async fn client_of(stage: &Stage) -> Connection {
    let builder = ClientConfig::builder().with_bind_config(IpBindConfig::LocalV4);
    let mut config = builder.build_with_quic_config(quic_config());
    config.set_dns_resolver(Resolver(stage.address));
    let endpoint = Endpoint::client(config).unwrap();
    let connecting = endpoint.connect(format!("https://{HOST}:{}/", stage.address.port()));
    within("a session", connecting).await.unwrap()
}

/// Its server, which hands every session to the test.
struct Server {
    address: SocketAddr,
    authority: Authority,
    sessions: mpsc::UnboundedReceiver<Connection>,
}

impl Server {
    fn start() -> Self {
        let authority = Authority::new("wtransport");
        let endpoint = endpoint(&authority, 256 << 10);
        let address = endpoint.local_addr().unwrap();
        let (found, sessions) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let found = found.clone();
                tokio::spawn(async move {
                    let asked = IncomingSessionFuture::with_quic_incoming(incoming).await.unwrap();
                    let _nobody_waits = found.send(asked.accept().await.unwrap());
                });
            }
        });
        Self { address, authority, sessions }
    }

    async fn session(&mut self) -> Connection {
        within("a session", self.sessions.recv()).await.unwrap()
    }

    async fn stage(&self) -> Stage {
        Stage::serving(vec![session("/", "wt")], vec![http3("wt", &[self.address], &self.authority)]).await
    }
}

/// Sends everything back.
async fn echo_theirs(connection: Connection) {
    let bidi = async {
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            tokio::spawn(async move {
                let mut octets = vec![0; 5000];
                while let Ok(Some(size)) = recv.read(&mut octets).await {
                    send.write_all(&octets[..size]).await.unwrap();
                }
                let _gone = send.finish().await;
            });
        }
    };
    let uni = async {
        while let Ok(mut recv) = connection.accept_uni().await {
            let Ok(opening) = connection.open_uni().await else { return };
            let mut send = opening.await.unwrap();
            let mut octets = vec![0; 5000];
            while let Ok(Some(size)) = recv.read(&mut octets).await {
                send.write_all(&octets[..size]).await.unwrap();
            }
            let _gone = send.finish().await;
        }
    };
    let datagrams = async {
        while let Ok(datagram) = connection.receive_datagram().await {
            let _lost = connection.send_datagram(&datagram[..]);
        }
    };
    tokio::join!(bidi, uni, datagrams);
}

async fn exercise(connection: &Connection) {
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(within("a stream", async { connection.open_bi().await.unwrap().await.unwrap() }).await);
    }
    for (n, (send, recv)) in streams.iter_mut().enumerate() {
        let content = pattern(n * 300 + 1);
        send.write_all(&content).await.unwrap();
        send.finish().await.unwrap();
        let mut got = vec![0; content.len()];
        within("an echo", recv.read_exact(&mut got)).await.unwrap();
        assert!(got == content);
    }
    for n in 1..10 {
        let mut send = connection.open_uni().await.unwrap().await.unwrap();
        send.write_all(&pattern(n * 100)).await.unwrap();
        send.finish().await.unwrap();
        let mut recv = within("a stream", connection.accept_uni()).await.unwrap();
        let mut got = vec![0; n * 100];
        within("octets", recv.read_exact(&mut got)).await.unwrap();
        assert!(got == pattern(n * 100));
    }
    connection.send_datagram(b"datagram").unwrap();
    assert_eq!(&within("a datagram", connection.receive_datagram()).await.unwrap()[..], b"datagram");
}

#[tokio::test]
async fn its_client_and_our_backend() {
    let (stage, mut backend) = stage().await;
    let client = client_of(&stage).await;
    let behind = backend.session().await;
    echo(behind.clone());
    exercise(&client).await;
    // It closes by closing the connection.
    client.close(VarInt::from_u32(0x100), b"");
    let ended = within("the end", behind.closed()).await;
    assert!(matches!(ended, Ended::Reset(_)), "{ended:?}");
}

#[tokio::test]
async fn its_client_and_its_backend() {
    let mut server = Server::start();
    let stage = server.stage().await;
    let client = client_of(&stage).await;
    tokio::spawn(echo_theirs(server.session().await));
    exercise(&client).await;
}

#[tokio::test]
async fn our_client_and_its_backend() {
    let mut server = Server::start();
    let stage = server.stage().await;
    let mut client = Client::connect(&stage).await;
    let session = client.session("/").await;
    tokio::spawn(echo_theirs(server.session().await));
    for n in 0..20 {
        let (mut send, mut recv) = within("a stream", session.open_bi()).await.unwrap();
        send.write_all(&pattern(n * 1000)).await.unwrap();
        send.finish().unwrap();
        assert!(read_all(&mut recv).await.unwrap() == pattern(n * 1000));
    }
}

#[tokio::test]
async fn codes_and_streams_of_the_server() {
    let (stage, mut backend) = stage().await;
    let client = client_of(&stage).await;
    let behind = backend.session().await;
    let (mut send, _recv) = client.open_bi().await.unwrap().await.unwrap();
    send.write_all(b"x").await.unwrap();
    let (_back, mut there) = within("a stream", behind.accept_bi()).await.unwrap();
    assert_eq!(there.read_data(&mut [0; 9]).await.unwrap(), 1);
    let code = codes::from_application(77);
    send.reset(VarInt::try_from_u64(code.value()).unwrap()).unwrap();
    let read = within("a reset", there.read_data(&mut [0; 9])).await;
    assert!(matches!(read, Err(StreamError::Reset(got)) if got == code), "{read:?}");

    let (mut send, _recv) = behind.open_bi().await.unwrap();
    send.write_all(b"from the server").await.unwrap();
    let (_back, mut there) = within("a stream", client.accept_bi()).await.unwrap();
    let mut got = [0; 15];
    within("octets", there.read_exact(&mut got)).await.unwrap();
    assert_eq!(&got, b"from the server");
    behind.close(9, "enough");
    // Which code it makes of it is its own affair: it ends.
    within("the end", client.closed()).await;
}
