//! What `alt-svc` says of HTTP/3: the public port where QUIC serves, `clear` where it should and does not, and nothing in
//! clear text (RFC 7838).

use std::net::Ipv4Addr;

use crate::backend::Origin;
use crate::client::{Connection, Version, get};
use crate::stage::table::{backend, forward};
use crate::stage::{HTTPS, Options, PUBLIC_HTTPS, Stage};

async fn alt_svc(client: &mut Connection, path: &str) -> Option<String> {
    client.fetch(get(path)).await.unwrap().header("alt-svc").map(str::to_owned)
}

#[tokio::test]
async fn it_names_the_public_port() {
    let origin = Origin::http1("one").await;
    let stage = Stage::serving(vec![forward("/app", "app")], vec![backend("app", &[origin.address])]).await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        // Also on answers of our own.
        for path in ["/app", "/nowhere"] {
            let said = alt_svc(&mut client, path).await;
            assert_eq!(said.as_deref(), Some(&*format!("h3=\":{PUBLIC_HTTPS}\"; ma=3600")), "{version:?} {path}");
        }
    }
    for version in [Version::Http1, Version::Http2] {
        let mut client = Connection::open_clear(&stage, version).await;
        assert_eq!(alt_svc(&mut client, "/app").await, None, "{version:?}");
    }
}

#[tokio::test]
async fn a_backends_own_claim_is_not_passed_on() {
    let origin = Origin::http1("one").await;
    let stage = Stage::start(Options::default());
    let mut table = stage.table(vec![forward("/", "app")], vec![backend("app", &[origin.address])]);
    table.listeners.iter_mut().for_each(|listener| listener.http3 = false);
    stage.publish(table).await;
    for version in [Version::Http1, Version::Http2] {
        let mut client = Connection::open(&stage, version).await;
        let mut asked = get("/");
        asked.headers_mut().insert("x-answer", "alt-svc=h3=\":1\"".parse().unwrap());
        assert_eq!(client.fetch(asked).await.unwrap().header("alt-svc"), None, "{version:?}");
    }
}

#[tokio::test]
async fn it_is_withdrawn_while_quic_does_not_serve() {
    let origin = Origin::http1("one").await;
    let stage = Stage::start(Options { workers: 2, ..Options::default() });
    let table = || stage.table(vec![forward("/", "app")], vec![backend("app", &[origin.address])]);
    let taken = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, stage.https)).unwrap();
    let published = stage.publish(table()).await;
    let [failure] = &published.unbound[..] else { panic!("{published:?}") };
    assert_eq!((failure.address, failure.transport), (stage.https_address(), headrace_dataplane::Transport::Quic));
    let failed = r#"headrace_dataplane_listeners{state="failed",transport="quic"}"#;
    assert_eq!(stage.metric(failed).await, 1.0);
    for version in [Version::Http1, Version::Http2] {
        let mut client = Connection::open(&stage, version).await;
        assert_eq!(alt_svc(&mut client, "/").await.as_deref(), Some("clear"), "{version:?}");
    }

    // The next publication tries again.
    drop(taken);
    assert!(stage.publish(table()).await.unbound.is_empty());
    assert_eq!(stage.metric(failed).await, 0.0);
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        assert!(alt_svc(&mut client, "/").await.unwrap().starts_with("h3="), "{version:?}");
    }

    // And a listener that gives HTTP/3 up says nothing of it.
    let mut without = table();
    without.listeners.iter_mut().filter(|listener| listener.id == HTTPS).for_each(|listener| listener.http3 = false);
    stage.publish(without).await;
    let mut client = Connection::open(&stage, Version::Http2).await;
    assert_eq!(alt_svc(&mut client, "/").await, None);
}
