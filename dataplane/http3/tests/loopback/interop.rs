//! Against the h3 crate with h3-quinn, which shares no code with this one: its client on our server, and ours on its.

use std::future::poll_fn;

use bytes::{Buf, Bytes};
use headrace_http3::{Config, client};
use http::{Method, Request, Response, StatusCode};
use tokio::time::timeout;

use crate::endpoints::{Endpoints, PATIENCE, endpoints, pattern, read_all, trailers, write_all};

const WINDOW: u32 = 256 << 10;

type Sender = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;

async fn h3_client(endpoints: &Endpoints) -> Sender {
    let (quic, _) = endpoints.served().await;
    let (mut connection, requests) =
        h3::client::builder().build::<_, _, Bytes>(h3_quinn::Connection::new(quic)).await.unwrap();
    tokio::spawn(async move { poll_fn(|cx| connection.poll_close(cx)).await });
    requests
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("https://localhost{path}")).header("cookie", "a=b").body(()).unwrap()
}

/// Sends content and trailers with h3, and gives what came back.
async fn h3_exchange(mut requests: Sender, request: Request<()>, content: Vec<u8>) -> (StatusCode, Vec<u8>, bool) {
    let stream = requests.send_request(request).await.unwrap();
    let (mut send, mut recv) = stream.split();
    let sending = async {
        for piece in content.chunks(30_000) {
            send.send_data(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        send.send_trailers(trailers("x-end", "yes")).await.unwrap();
        send.finish().await.unwrap();
    };
    let receiving = async {
        let response = recv.recv_response().await.unwrap();
        let mut got = Vec::new();
        while let Some(mut piece) = recv.recv_data().await.unwrap() {
            while piece.has_remaining() {
                let chunk = piece.chunk().len();
                got.extend_from_slice(&piece.copy_to_bytes(chunk));
            }
        }
        let ended = recv.recv_trailers().await.unwrap().is_some_and(|trailers| trailers["x-end"] == "yes");
        (response.status(), got, ended)
    };
    timeout(PATIENCE, async { tokio::join!(sending, receiving) }).await.unwrap().1
}

#[tokio::test]
async fn h3_asks_us() {
    let endpoints = endpoints(WINDOW);
    let requests = h3_client(&endpoints).await;
    for len in [0, 1, 16_383, 200_000] {
        let content = pattern(len);
        let got = h3_exchange(requests.clone(), request(Method::POST, "/echo"), content.clone()).await;
        assert_eq!(got, (StatusCode::OK, content, true));
    }
    let exchanges: Vec<_> = (1..8)
        .map(|n| tokio::spawn(h3_exchange(requests.clone(), request(Method::POST, "/echo"), pattern(n * 100_000))))
        .collect();
    for (n, exchange) in exchanges.into_iter().enumerate() {
        assert_eq!(exchange.await.unwrap().1, pattern((n + 1) * 100_000));
    }
}

#[tokio::test]
async fn h3_takes_ten_megabytes_from_us() {
    let endpoints = endpoints(WINDOW);
    let requests = h3_client(&endpoints).await;
    let (status, content, _) = h3_exchange(requests, request(Method::GET, "/bytes/10485760"), Vec::new()).await;
    assert_eq!((status, content.len()), (StatusCode::OK, 10 << 20));
}

/// An h3 server that sends back what it gets, with its trailers.
async fn h3_echo(quic: quinn::Connection) {
    let mut connection = h3::server::builder().build::<_, Bytes>(h3_quinn::Connection::new(quic)).await.unwrap();
    while let Ok(Some(resolver)) = connection.accept().await {
        tokio::spawn(async move {
            let (request, mut stream) = resolver.resolve_request().await.unwrap();
            assert_eq!(request.headers()["cookie"], "a=b");
            let response = Response::builder().header("x-path", request.uri().path()).body(()).unwrap();
            stream.send_response(response).await.unwrap();
            while let Some(mut piece) = stream.recv_data().await.unwrap() {
                let piece = piece.copy_to_bytes(piece.remaining());
                stream.send_data(piece).await.unwrap();
            }
            if let Some(trailers) = stream.recv_trailers().await.unwrap() {
                stream.send_trailers(trailers).await.unwrap();
            }
            stream.finish().await.unwrap();
        });
    }
}

#[tokio::test]
async fn we_ask_h3() {
    let endpoints = endpoints(WINDOW);
    let (quic, server) = endpoints.connect().await;
    tokio::spawn(h3_echo(server));
    let (mut connection, requests) = client::connect(quic, &Config::default());
    let driving = tokio::spawn(async move { connection.drive().await });

    let exchanges: Vec<_> = [0, 1, 5000, 200_000, 10 << 20]
        .into_iter()
        .map(|len| {
            let mut requests = requests.clone();
            tokio::spawn(async move {
                let content = pattern(len);
                let (mut send, mut recv) = requests.send_request(request(Method::POST, "/up")).await.unwrap();
                let sending = async {
                    write_all(&mut send, &content).await.unwrap();
                    send.send_trailers(trailers("x-end", "yes")).await.unwrap();
                    send.finish().unwrap();
                };
                let receiving = async {
                    let response = recv.response().await.unwrap();
                    assert_eq!(response.headers()["x-path"], "/up");
                    let got = read_all(&mut recv).await.unwrap();
                    (got, recv.trailers().unwrap())
                };
                let ((), (got, trailers)) = tokio::join!(sending, receiving);
                assert!(got == content);
                assert_eq!(trailers["x-end"], "yes");
            })
        })
        .collect();
    for exchange in exchanges {
        timeout(PATIENCE, exchange).await.unwrap().unwrap();
    }
    assert!(!requests.clone().peer_settings().await.unwrap().enable_connect_protocol);
    // The last user gone, the connection ends well.
    drop(requests);
    timeout(PATIENCE, driving).await.unwrap().unwrap().unwrap();
}
