//! A new table under kept connections and sessions: a connection serves only the identity that it was verified under.

use futures::{SinkExt as _, StreamExt as _};
use headrace_table::wire::Backend;
use rustls::version::{TLS12, TLS13};
use tokio_tungstenite::tungstenite::Message;

use super::{NAME, cause, front, secured, status};
use crate::backend::authority::Authority;
use crate::backend::{EchoServer, Origin, TlsFront};
use crate::client::{Tunnels, Version};
use crate::patience::within;
use crate::stage::Stage;
use crate::stage::table::{backend, forward, h2c};

#[tokio::test]
async fn a_changed_policy_uses_no_connection_that_was_verified_under_another() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    type Kind = fn(&str, &[std::net::SocketAddr]) -> Backend;
    for (kind, origin) in [(backend as Kind, Origin::http1("one").await), (h2c, Origin::h2c("two").await)] {
        let mut front = front(&ca, &["h2", "http/1.1"], origin.address).await;
        let plain = kind("app", &[front.address]);
        let serve = async |stage: &Stage, backend: Backend| stage.serve(vec![forward("/", "app")], vec![backend]).await;
        let good = secured(plain.clone(), &ca.pem);
        let stage = Stage::serving(vec![forward("/", "app")], vec![good.clone()]).await;
        for _ in 0..3 {
            assert_eq!(status(&stage, "/").await, 200);
        }
        assert_eq!(front.more_handshakes(), 1, "the connection is kept");
        serve(&stage, good.clone()).await;
        assert_eq!(status(&stage, "/").await, 200);
        assert_eq!(front.more_handshakes(), 0, "and used on under the same policy in another table");

        serve(&stage, secured(plain.clone(), &other.pem)).await;
        assert_eq!(status(&stage, "/trust").await, 502, "the endpoint cannot prove what is asked for now");
        assert_eq!(cause(&stage, "/trust").await, "backend_certificate");

        let mut renamed = good.clone();
        renamed.tls.as_mut().unwrap().server_name = "c.test".to_owned();
        serve(&stage, renamed).await;
        assert_eq!(status(&stage, "/name").await, 502);
        assert_eq!(cause(&stage, "/name").await, "backend_certificate");

        serve(&stage, plain).await;
        assert_eq!(status(&stage, "/clear").await, 502, "a connection over TLS is not used for clear text");
        assert_eq!(cause(&stage, "/clear").await, "backend_protocol");
        assert_eq!(front.more_handshakes(), 0);

        serve(&stage, good).await;
        assert_eq!(status(&stage, "/").await, 200);
        assert!(!front.handshake().await.resumed, "nor is a session: who was asked in between is not known any more");
    }
}

#[tokio::test]
async fn two_policies_for_one_endpoint_share_no_connection() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let origin = Origin::http1("one").await;
    let mut front = front(&ca, &["http/1.1"], origin.address).await;
    let at = [front.address];
    let backends = vec![
        secured(backend("good", &at), &ca.pem),
        secured(backend("same", &at), &ca.pem),
        secured(backend("wrong", &at), &other.pem),
    ];
    let rules = ["good", "same", "wrong"].map(|name| forward(&format!("/{name}"), name)).into();
    let stage = Stage::serving(rules, backends).await;
    for _ in 0..3 {
        assert_eq!(status(&stage, "/good").await, 200);
        assert_eq!(status(&stage, "/wrong").await, 502);
        assert_eq!(status(&stage, "/same").await, 200);
    }
    assert_eq!(front.more_handshakes(), 1, "equal policies are one identity");
}

#[tokio::test]
async fn sessions_are_resumed_within_an_identity() {
    let ca = Authority::new("ca");
    let echo = EchoServer::start("one").await;
    for version in [&TLS12, &TLS13] {
        let mut front = TlsFront::start(ca.issue(&[NAME]).server(&[version], &["http/1.1"]), echo.address).await;
        let good = secured(backend("echo", &[front.address]), &ca.pem);
        let stage = Stage::serving(vec![forward("/", "echo")], vec![good.clone()]).await;
        let mut tunnel = async |expected: bool| {
            let mut tunnels = Tunnels::connect(&stage, Version::Http2).await;
            let mut socket = tunnels.open("/").await.websocket().await;
            // An echo has come back, and with it the tickets that were sent before.
            socket.send(Message::text("hello")).await.unwrap();
            within("an echo", socket.next()).await.unwrap().unwrap();
            assert_eq!(front.handshake().await.resumed, expected, "{version:?}");
        };
        tunnel(false).await;
        tunnel(true).await;
        stage.serve(vec![forward("/", "echo")], vec![good.clone()]).await;
        tunnel(true).await;
        let mut other = good;
        other.tls.as_mut().unwrap().subject_alt_names =
            vec![headrace_table::wire::SubjectAltName::Hostname(NAME.to_owned())];
        stage.serve(vec![forward("/", "echo")], vec![other]).await;
        tunnel(false).await;
        tunnel(true).await;
    }
}
