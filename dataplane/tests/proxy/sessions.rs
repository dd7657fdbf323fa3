//! TLS sessions that clients come back to at another data plane (RFC 8446 section 4.6.1): good where the secrets are shared.

use std::sync::Arc;

use headrace_table::wire::{self, Keys, Secret};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::backend::Origin;
use crate::client::quic::Returning;
use crate::client::{Connection, get};
use crate::patience::{eventually, within};
use crate::stage::certificates::{client_tls, client_tls_of};
use crate::stage::table::{backend, forward};
use crate::stage::{HOST, Options, Stage};

/// Secrets of that number, the first of which is for what is made anew.
pub(crate) fn secrets(numbers: &[u32]) -> Vec<Secret> {
    numbers.iter().map(|id| Secret { id: *id, octets: format!("{id:064x}") }).collect()
}

/// What data planes share: these secrets of tokens and tickets.
pub(crate) fn keys(numbers: &[u32]) -> Keys {
    Keys {
        id: wire::KEYS_ID.to_owned(),
        revision: 1,
        configurations: Vec::new(),
        hop: secrets(&[100]),
        reset: secrets(&[101]).remove(0),
        tokens: secrets(numbers),
        tickets: secrets(numbers),
    }
}

async fn publish(stage: &Stage, origin: &Origin, keys: Option<Keys>) {
    let table = stage.table(vec![forward("/", "app")], vec![backend("app", &[origin.address])]);
    stage.publish(wire::Table { keys, ..table }).await;
}

/// How a handshake over TCP went, once the client has what it needs to come back.
async fn visit(stage: &Stage, tls: &Arc<ClientConfig>) -> HandshakeKind {
    within("a visit", async {
        let tcp = TcpStream::connect(stage.https_address()).await.unwrap();
        let name = ServerName::try_from(HOST).unwrap();
        let mut stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        stream.get_ref().1.handshake_kind().unwrap()
    })
    .await
}

fn is_resumed(kind: HandshakeKind) -> bool {
    kind == HandshakeKind::Resumed
}

#[tokio::test]
async fn a_ticket_of_one_data_plane_is_good_at_another_with_the_same_secrets() {
    let origin = Origin::http1("app").await;
    let (one, two) = (Stage::start(Options::default()), Stage::start(Options { workers: 2, ..Options::default() }));
    // The secrets of each, and whether what the first gave is good at the second.
    for (of_one, of_two, good) in [
        (Some(keys(&[1])), Some(keys(&[1])), true),
        (Some(keys(&[1])), Some(keys(&[2, 1])), true),
        (Some(keys(&[2, 1])), Some(keys(&[1, 2])), true),
        (Some(keys(&[2, 1])), Some(keys(&[3, 1])), false),
        (Some(keys(&[4])), Some(keys(&[5])), false),
    ] {
        publish(&one, &origin, of_one.clone()).await;
        publish(&two, &origin, of_two.clone()).await;
        for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
            let tls = Arc::new(client_tls_of(&["http/1.1"], versions));
            assert!(!is_resumed(visit(&one, &tls).await));
            assert!(is_resumed(visit(&one, &tls).await), "{versions:?}: at home");
            assert_eq!(is_resumed(visit(&two, &tls).await), good, "{versions:?}: {of_one:?} {of_two:?}");
        }
    }
}

#[tokio::test]
async fn without_shared_secrets_tickets_are_good_at_home_alone() {
    let origin = Origin::http1("app").await;
    let (one, two) = (Stage::start(Options::default()), Stage::start(Options::default()));
    publish(&one, &origin, None).await;
    publish(&two, &origin, None).await;
    let tls = Arc::new(client_tls(&["http/1.1"]));
    assert!(!is_resumed(visit(&one, &tls).await));
    assert!(is_resumed(visit(&one, &tls).await));
    assert!(!is_resumed(visit(&two, &tls).await));
    // They stay good when secrets come.
    let tls = Arc::new(client_tls(&["http/1.1"]));
    visit(&one, &tls).await;
    publish(&one, &origin, Some(keys(&[1]))).await;
    assert!(is_resumed(visit(&one, &tls).await));
    let known = "headrace_dataplane_resumptions_total{result=\"known\",transport=\"tcp\"}";
    assert_eq!(one.metric(known).await, 2.0);
}

#[tokio::test]
async fn quic_tickets_are_good_at_another_data_plane() {
    let origin = Origin::http1("app").await;
    let (one, two) = (Stage::start(Options::default()), Stage::start(Options::default()));
    publish(&one, &origin, Some(keys(&[1]))).await;
    publish(&two, &origin, Some(keys(&[2, 1]))).await;
    let known = "headrace_dataplane_resumptions_total{result=\"known\",transport=\"quic\"}";
    let client = Returning::new();
    eventually("a ticket of one to be used at two", async || {
        for stage in [&one, &two] {
            let mut connection = Connection::on(client.connect(stage.https_address()).await).await;
            assert_eq!(connection.fetch(get("/")).await.unwrap().status, 200);
        }
        (two.metric(known).await > 0.0).then_some(())
    })
    .await;
    publish(&two, &origin, Some(keys(&[3]))).await;
    let unknown = "headrace_dataplane_resumptions_total{result=\"unknown\",transport=\"quic\"}";
    eventually("a ticket of one to be refused at two", async || {
        for stage in [&one, &two] {
            let mut connection = Connection::on(client.connect(stage.https_address()).await).await;
            assert_eq!(connection.fetch(get("/")).await.unwrap().status, 200);
        }
        (two.metric(unknown).await > 0.0).then_some(())
    })
    .await;
}
