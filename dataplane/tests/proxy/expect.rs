//! `Expect: 100-continue` (RFC 9110 section 10.1.1): answered here, before the content is sent; never passed on.

use crate::backend::Origin;
use crate::client::{Connection, Version, Wire, quic, request};
use crate::patience::within;
use crate::stage::table::{backend, forward, h2c};
use crate::stage::{HOST, Stage};
use http::Method;

async fn stage_with_origins() -> (Stage, Origin, Origin) {
    let (h1, h2) = (Origin::http1("http1").await, Origin::h2c("h2c").await);
    let rules = vec![forward("/http1", "http1"), forward("/h2c", "h2c"), forward("/nobody", "nobody")];
    let backends = vec![backend("http1", &[h1.address]), h2c("h2c", &[h2.address]), backend("nobody", &[])];
    let stage = Stage::serving(rules, backends).await;
    (stage, h1, h2)
}

#[tokio::test]
async fn over_http_1() {
    let (stage, mut h1, mut h2) = stage_with_origins().await;
    for (path, origin) in [("/http1", &mut h1), ("/h2c", &mut h2)] {
        let mut wire = Wire::tls(&stage).await;
        wire.send(format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n"))
            .await;
        assert_eq!(wire.head().await, "HTTP/1.1 100 Continue\r\n\r\n", "{path}");
        wire.send("content").await;
        assert_eq!(wire.response().await.status, 200, "{path}");
        let seen = origin.seen().await;
        assert_eq!((&*seen.body, seen.headers.get("expect")), (&b"content"[..], None), "{path}");
    }
}

#[tokio::test]
async fn over_http_2() {
    let (stage, mut h1, mut h2) = stage_with_origins().await;
    for (path, origin) in [("/http1", &mut h1), ("/h2c", &mut h2)] {
        let tls = crate::client::tls(&stage, HOST, "h2").await.unwrap();
        let (sender, connection) = h2::client::handshake(tls).await.unwrap();
        let driver = tokio::spawn(connection);
        let mut sender = sender.ready().await.unwrap();
        let asked = request(Method::POST, path, &[("expect", "100-continue")], b"").map(|_| ());
        let (mut response, mut content) = sender.send_request(asked, false).unwrap();
        let interim = std::future::poll_fn(|cx| response.poll_informational(cx));
        assert_eq!(within("100", interim).await.unwrap().unwrap().status(), 100, "{path}");
        content.send_data("content".into(), true).unwrap();
        assert_eq!(within("the answer", response).await.unwrap().status(), 200, "{path}");
        let seen = origin.seen().await;
        assert_eq!((&*seen.body, seen.headers.get("expect")), (&b"content"[..], None), "{path}");
        driver.abort();
    }
}

#[tokio::test]
async fn over_http_3() {
    let (stage, mut h1, mut h2) = stage_with_origins().await;
    for (path, origin) in [("/http1", &mut h1), ("/h2c", &mut h2)] {
        let quic = quic::Client::connect(&stage, HOST).await;
        let (mut connection, mut sender) =
            h3::client::new(h3_quinn::Connection::new(quic.connection.clone())).await.unwrap();
        let driver = tokio::spawn(async move { connection.wait_idle().await });
        let asked = request(Method::POST, path, &[("expect", "100-continue")], b"").map(|_| ());
        let mut stream = sender.send_request(asked).await.unwrap();
        assert_eq!(within("100", stream.recv_response()).await.unwrap().status(), 100, "{path}");
        stream.send_data(bytes::Bytes::from_static(b"content")).await.unwrap();
        stream.finish().await.unwrap();
        assert_eq!(within("the answer", stream.recv_response()).await.unwrap().status(), 200, "{path}");
        let seen = origin.seen().await;
        assert_eq!((&*seen.body, seen.headers.get("expect")), (&b"content"[..], None), "{path}");
        driver.abort();
    }
}

#[tokio::test]
async fn a_refusal_comes_instead() {
    let (stage, ..) = stage_with_origins().await;
    for (path, status) in [("/nowhere", 404), ("/nobody", 503)] {
        let mut wire = Wire::tls(&stage).await;
        wire.send(format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n"))
            .await;
        let answer = wire.response().await;
        assert_eq!(answer.status, status, "{}", answer.head);
        for version in Version::ALL {
            let mut client = Connection::open(&stage, version).await;
            let asked = request(Method::POST, path, &[("expect", "100-continue")], b"").map(|_| ());
            let mut exchange = client.begin(asked, true).await.unwrap();
            assert_eq!(exchange.incoming.whole().await.unwrap().status.as_u16(), status, "{version:?}");
        }
    }
}
