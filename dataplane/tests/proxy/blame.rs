//! A client whose content is not what its head says fails its own request: the answer does not blame the backend.

use http::Method;

use crate::backend::Origin;
use crate::client::{Connection, Version, Wire, request};
use crate::stage::table::{backend, forward};
use crate::stage::{HOST, Stage};

#[tokio::test]
async fn content_that_is_not_as_long_as_its_head_says_is_the_clients_fault() {
    let mut origin = Origin::http1("one").await;
    let stage = Stage::serving(vec![forward("/", "app")], vec![backend("app", &[origin.address])]).await;
    // RFC 9114 section 4.1.2. h2 resets such a stream by itself, and HTTP/1.1 cannot say it.
    for (length, content) in [("5", "some"), ("3", "some"), ("5", "")] {
        let mut client = Connection::open(&stage, Version::Http3).await;
        let fields = [("content-length", length)];
        let answer = client.fetch(request(Method::POST, "/", &fields, content.as_bytes())).await.unwrap();
        assert_eq!(answer.status, 400, "{length}: {content:?}");
        let answer = client.fetch(request(Method::POST, "/good", &[], b"some")).await.unwrap();
        assert_eq!(answer.status, 200, "the connection goes on");
    }
    while origin.seen().await.target != "/good" {}
    let causes: Vec<_> = stage.drain().await.1.into_iter().map(|line| line["cause"].clone()).collect();
    assert!(!causes.iter().any(|cause| cause == "backend_protocol"), "{causes:?}");
}

#[tokio::test]
async fn a_broken_chunk_is_the_clients_fault() {
    let origin = Origin::http1("one").await;
    let stage = Stage::serving(vec![forward("/", "app")], vec![backend("app", &[origin.address])]).await;
    let mut wire = Wire::tls(&stage).await;
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n");
    wire.send(format!("{head}zz\r\n")).await;
    let answer = wire.response().await;
    assert_eq!(answer.status, 400, "{}", answer.head);
}
