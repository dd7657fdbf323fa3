//! This crate's client against this crate's server.

use bytes::Bytes;
use headrace_http3::{Code, Config, Protocol, RecvStream, SendStream, StreamError, Tunnel, client, server};
use http::{Method, Request, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::endpoints::{Endpoints, PATIENCE, endpoints, pattern, read_all, serve, trailers, write_all};

const WINDOW: u32 = 256 << 10;

/// A client of a served connection. Its connection is driven by a task of its own.
async fn client_of(endpoints: &Endpoints) -> client::SendRequest {
    let (quic, _) = endpoints.served().await;
    drive(quic)
}

fn drive(quic: quinn::Connection) -> client::SendRequest {
    let (mut connection, requests) = client::connect(quic, &Config::default());
    tokio::spawn(async move { connection.drive().await });
    requests
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("https://localhost{path}")).body(()).unwrap()
}

fn websocket(path: &str) -> Request<()> {
    let mut request = request(Method::CONNECT, path);
    request.extensions_mut().insert(Protocol::WEBSOCKET);
    request
}

async fn open(requests: &mut client::SendRequest, request: Request<()>) -> (SendStream, RecvStream, StatusCode) {
    let (send, mut recv) = requests.send_request(request).await.unwrap();
    let response = recv.response().await.unwrap();
    (send, recv, response.status())
}

#[tokio::test]
async fn content_and_trailers_both_ways() {
    let endpoints = endpoints(WINDOW);
    let mut requests = client_of(&endpoints).await;
    for len in [0, 1, 63, 64, 4095, 4096, 16_384, 100_000] {
        let (mut send, mut recv) = requests.send_request(request(Method::POST, "/echo")).await.unwrap();
        let content = pattern(len);
        let sending = async {
            write_all(&mut send, &content).await.unwrap();
            send.send_trailers(trailers("x-end", "yes")).await.unwrap();
            assert!(matches!(send.write_data(b"late").await, Err(StreamError::Closed)));
            send.finish().unwrap();
        };
        let receiving = async {
            let response = recv.response().await.unwrap();
            assert_eq!(response.headers()["x-from"], "headrace");
            assert_eq!(read_all(&mut recv).await.unwrap(), content);
            assert_eq!(recv.trailers().unwrap()["x-end"], "yes");
            assert!(recv.is_end());
        };
        timeout(PATIENCE, async { tokio::join!(sending, receiving) }).await.unwrap();
    }
}

#[tokio::test]
async fn content_in_pieces() {
    let endpoints = endpoints(WINDOW);
    let mut requests = client_of(&endpoints).await;
    let (mut send, mut recv, _) = open(&mut requests, request(Method::POST, "/echo")).await;
    send.send_data(Bytes::from_static(b"one ")).await.unwrap();
    send.send_data(Bytes::from_static(b"two")).await.unwrap();
    send.finish().unwrap();
    let mut got = Vec::new();
    while let Some(piece) = recv.data().await.unwrap() {
        got.extend_from_slice(&piece);
    }
    assert_eq!(got, b"one two");
    assert!(recv.trailers().is_none());
}

#[tokio::test]
async fn ten_megabytes_on_several_streams() {
    let endpoints = endpoints(WINDOW);
    let requests = client_of(&endpoints).await;
    let streams = (0..4).map(|_| {
        let mut requests = requests.clone();
        tokio::spawn(async move {
            let (_send, mut recv, _) = open(&mut requests, request(Method::GET, "/bytes/10485760")).await;
            assert_eq!(recv.content_left(), Some(10 << 20));
            read_all(&mut recv).await.unwrap().len()
        })
    });
    for stream in streams.collect::<Vec<_>>() {
        assert_eq!(timeout(PATIENCE, stream).await.unwrap().unwrap(), 10 << 20);
    }
}

#[tokio::test]
async fn interim_responses() {
    let endpoints = endpoints(WINDOW);
    let mut requests = client_of(&endpoints).await;
    let (_send, mut recv) = requests.send_request(request(Method::GET, "/interim")).await.unwrap();
    let interim = recv.response_or_interim().await.unwrap();
    assert_eq!((interim.status().as_u16(), &interim.headers()["link"]), (103, &"</style.css>".parse().unwrap()));
    assert_eq!(recv.response_or_interim().await.unwrap().status(), StatusCode::OK);
    assert!(recv.response_or_interim().await.is_err());
    // The other method passes them over.
    let (.., status) = open(&mut requests, request(Method::GET, "/interim")).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_tunnel_echoes_and_closes_by_halves() {
    let endpoints = endpoints(WINDOW);
    let mut requests = client_of(&endpoints).await;
    assert!(requests.peer_settings().await.unwrap().enable_connect_protocol);
    let (send, recv, status) = open(&mut requests, websocket("/chat")).await;
    assert_eq!(status, StatusCode::OK);
    let mut tunnel = Tunnel::new(send, recv);
    let mut buffer = [0; 64];
    for message in ["hello", "a second one", "x"] {
        tunnel.write_all(message.as_bytes()).await.unwrap();
        tunnel.read_exact(&mut buffer[..message.len()]).await.unwrap();
        assert_eq!(&buffer[..message.len()], message.as_bytes());
    }
    tunnel.write_all(b"last").await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, tunnel.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, b"last");
}

#[tokio::test]
async fn other_protocols_reach_the_application() {
    let endpoints = endpoints(WINDOW);
    let mut requests = client_of(&endpoints).await;
    let mut other = websocket("/");
    other.extensions_mut().insert(Protocol::try_from("webtransport-h3").unwrap());
    let (_, mut recv, status) = open(&mut requests, other).await;
    assert_eq!(status, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(recv.read_data(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn extended_connect_must_be_offered() {
    let endpoints = endpoints(WINDOW);
    let (quic, server_quic) = endpoints.connect().await;
    let config = Config { extended_connect: false, ..Config::default() };
    tokio::spawn(serve(server::Connection::new(server_quic, &config)));
    let mut requests = drive(quic);
    let error = timeout(PATIENCE, requests.send_request(websocket("/"))).await.unwrap().unwrap_err();
    assert!(matches!(error, StreamError::Unsendable(_)), "{error}");
}

#[tokio::test]
async fn extended_connect_that_was_not_offered_is_malformed() {
    let endpoints = endpoints(WINDOW);
    let (quic, server_quic) = endpoints.connect().await;
    let config = Config { extended_connect: false, ..Config::default() };
    tokio::spawn(serve(server::Connection::new(server_quic, &config)));
    let (mut send, mut recv) = quic.open_bi().await.unwrap();
    send.write_all(&crate::raw::websocket()).await.unwrap();
    assert_eq!(crate::raw::reset_code(&mut recv).await, Code::H3_MESSAGE_ERROR);
}

#[tokio::test]
async fn resets_carry_their_codes_from_the_server() {
    let endpoints = endpoints(WINDOW);
    let mut requests = client_of(&endpoints).await;
    let (mut send, mut recv, _) = open(&mut requests, websocket("/reset")).await;
    send.write_data(b"go").await.unwrap();
    let error = recv.read_data(&mut [0; 8]).await.unwrap_err();
    assert!(matches!(error, StreamError::Reset(Code::H3_INTERNAL_ERROR)), "{error}");
    let stopped = timeout(PATIENCE, send.stopped()).await.unwrap().unwrap();
    assert_eq!(stopped, Some(Code::H3_VERSION_FALLBACK));
    let error = send.write_data(b"more").await.unwrap_err();
    assert!(matches!(error, StreamError::Stopped(Code::H3_VERSION_FALLBACK)), "{error}");
    // The neighbour does not notice.
    let (.., status) = open(&mut requests, request(Method::GET, "/bytes/10")).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn resets_carry_their_codes_from_the_client() {
    let endpoints = endpoints(WINDOW);
    let (quic, server_quic) = endpoints.connect().await;
    let mut requests = drive(quic);
    let mut connection = server::Connection::new(server_quic, &Config::default());
    let client = async {
        let (mut send, mut recv, _) = open(&mut requests, websocket("/")).await;
        send.reset(Code::new(0x1234).unwrap());
        recv.stop_sending(Code::new(0x5678).unwrap());
        // Kept until the server has seen both.
        (send, recv)
    };
    let server = async {
        let incoming = connection.accept().await.unwrap().unwrap();
        let (_, mut send, mut recv) = incoming.resolve().await.unwrap();
        send.send_response(http::Response::new(())).await.unwrap();
        let drive = async { connection.accept().await.map(|_| ()) };
        let streams = async {
            let error = recv.read_data(&mut [0; 8]).await.unwrap_err();
            assert!(matches!(error, StreamError::Reset(code) if code.value() == 0x1234), "{error}");
            assert_eq!(send.stopped().await.unwrap().map(Code::value), Some(0x5678));
        };
        tokio::select! { _ = drive => panic!("the connection ended"), () = streams => {} }
    };
    timeout(PATIENCE, async { tokio::join!(client, server) }).await.unwrap();
}

#[tokio::test]
async fn dropping_a_stream_never_looks_like_its_end() {
    let endpoints = endpoints(WINDOW);
    let (quic, server_quic) = endpoints.connect().await;
    let mut requests = drive(quic);
    let mut connection = server::Connection::new(server_quic, &Config::default());
    let client = async {
        let (mut send, _recv, _) = open(&mut requests, request(Method::POST, "/echo")).await;
        write_all(&mut send, b"cut off").await.unwrap();
        drop(send);
        std::future::pending::<()>().await
    };
    let server = async {
        let incoming = connection.accept().await.unwrap().unwrap();
        let (_, mut send, mut recv) = incoming.resolve().await.unwrap();
        send.send_response(http::Response::new(())).await.unwrap();
        let drive = async { connection.accept().await.map(|_| ()) };
        let error = async { read_all(&mut recv).await.unwrap_err() };
        tokio::select! { _ = drive => panic!("the connection ended"), error = error => error }
    };
    let error = timeout(PATIENCE, async {
        tokio::select! { error = server => error, () = client => unreachable!() }
    });
    assert!(matches!(error.await.unwrap(), StreamError::Reset(Code::H3_REQUEST_CANCELLED)));
}

#[tokio::test]
async fn a_writer_stops_when_nobody_reads() {
    let endpoints = endpoints(16 << 10);
    let mut requests = client_of(&endpoints).await;
    let (mut send, mut recv, _) = open(&mut requests, websocket("/silent")).await;
    let block = vec![7; 100_000];
    let mut taken = 0;
    // Ends when the writer has been refused for as long as anything could still be on its way.
    while let Ok(more) = timeout(std::time::Duration::from_millis(300), send.write_data(&block)).await {
        taken += more.unwrap();
        assert!(taken <= 64 << 10, "{taken} octets were taken and nobody reads");
    }
    assert!(taken >= 15 << 10, "{taken}");
    assert!(send.finish().is_err(), "a frame was begun and not completed");
    recv.stop_sending(Code::H3_REQUEST_CANCELLED);
}

#[tokio::test]
async fn goaway_lets_requests_finish_and_refuses_more() {
    let endpoints = endpoints(WINDOW);
    let (quic, server_quic) = endpoints.connect().await;
    let mut requests = drive(quic);
    let mut connection = server::Connection::new(server_quic, &Config::default());
    let (told, mut tell) = tokio::sync::mpsc::channel::<()>(1);

    let server = tokio::spawn(async move {
        let mut answers = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                incoming = connection.accept() => match incoming.unwrap() {
                    Some(incoming) => {
                        answers.spawn(async move {
                            let (request, send, recv) = incoming.resolve().await.unwrap();
                            crate::endpoints::answer(request, send, recv).await.unwrap();
                        });
                    }
                    None => break,
                },
                Some(()) = tell.recv() => connection.shutdown(),
            }
        }
        // The client closes once it needs the connection no more.
        connection.closed().await
    });

    let (send, recv, _) = open(&mut requests, websocket("/chat")).await;
    let mut tunnel = Tunnel::new(send, recv);
    told.send(()).await.unwrap();
    while requests.is_open() {
        tokio::task::yield_now().await;
    }
    let refused = requests.send_request(request(Method::GET, "/bytes/1")).await.unwrap_err();
    assert!(refused.is_unprocessed(), "{refused}");
    // The tunnel goes on.
    tunnel.write_all(b"still here").await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut got = Vec::new();
    timeout(PATIENCE, tunnel.read_to_end(&mut got)).await.unwrap().unwrap();
    assert_eq!(got, b"still here");
    drop((tunnel, requests));
    let reason = timeout(PATIENCE, server).await.unwrap().unwrap();
    assert!(matches!(reason, headrace_http3::Error::Peer(Code::H3_NO_ERROR)), "{reason}");
}

#[tokio::test]
async fn requests_after_goaway_are_rejected() {
    let endpoints = endpoints(WINDOW);
    let (quic, server_quic) = endpoints.connect().await;
    let mut requests = drive(quic);
    let mut connection = server::Connection::new(server_quic, &Config::default());
    connection.shutdown();
    // Sent before GOAWAY can have arrived.
    let (_send, mut recv) = requests.send_request(request(Method::GET, "/bytes/1")).await.unwrap();
    let server = async {
        // The connection is unused from the beginning, so that this ends once GOAWAY is said; the stream may come later.
        loop {
            assert!(connection.accept().await.unwrap().is_none());
            tokio::task::yield_now().await;
        }
    };
    let error = tokio::select! { error = recv.response() => error.unwrap_err(), () = server => unreachable!() };
    assert!(error.is_unprocessed(), "{error}");
}

#[tokio::test]
async fn large_fields_are_answered_with_431() {
    let endpoints = endpoints(WINDOW);
    let mut requests = client_of(&endpoints).await;
    let mut large = request(Method::GET, "/bytes/1");
    large.headers_mut().insert("x-large", "v".repeat(40_000).parse().unwrap());
    // Before the server's settings have come, the client cannot know better.
    let (_send, mut recv) = requests.send_request(large.clone()).await.unwrap();
    assert_eq!(recv.response().await.unwrap().status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    requests.peer_settings().await.unwrap();
    let error = requests.send_request(large).await.unwrap_err();
    assert!(matches!(error, StreamError::Unsendable(_)), "{error}");
    let (.., status) = open(&mut requests, request(Method::GET, "/bytes/1")).await;
    assert_eq!(status, StatusCode::OK);
}

/// A frame that was begun goes on with whatever is offered next, however it is cut, and `send_data` continues it too.
#[tokio::test]
async fn a_begun_frame_goes_on() {
    let endpoints = endpoints(4 << 10);
    let mut requests = client_of(&endpoints).await;
    let (mut send, mut recv, _) = open(&mut requests, websocket("/chat")).await;
    let content = pattern(120_000);
    let sending = async {
        let (mut sent, mut offer) = (0, 50_000);
        while sent < 100_000 {
            let end = content.len().min(sent + offer);
            sent += send.write_data(&content[sent..end]).await.unwrap();
            // Sometimes less than is left of the frame, sometimes more.
            offer = if offer == 50_000 { 7 } else { 50_000 };
        }
        send.send_data(Bytes::copy_from_slice(&content[sent..])).await.unwrap();
        send.finish()
    };
    let receiving = async {
        let (mut got, mut size) = (Vec::new(), 1);
        loop {
            // Buffers of every size, down to one octet.
            let mut buffer = vec![0; size];
            match recv.read_data(&mut buffer).await.unwrap() {
                0 => return got,
                read => got.extend_from_slice(&buffer[..read]),
            }
            size = size % 97 + 1;
        }
    };
    let (finished, got) = timeout(PATIENCE, async { tokio::join!(sending, receiving) }).await.unwrap();
    assert!(got == content[..got.len()]);
    // `send_data` after a begun frame may offer more than the frame declared; all of it arrives.
    finished.unwrap();
    assert_eq!(got.len(), content.len());
}

#[tokio::test]
async fn ninety_tunnels_on_one_connection() {
    let endpoints = endpoints(WINDOW);
    let requests = client_of(&endpoints).await;
    let mut tunnels = Vec::new();
    for n in 0..90 {
        let mut requests = requests.clone();
        tunnels.push(tokio::spawn(async move {
            let (send, recv, _) = open(&mut requests, websocket("/chat")).await;
            let mut tunnel = Tunnel::new(send, recv);
            for round in 0..20 {
                let message = pattern(n + round + 1);
                let mut echoed = vec![0; message.len()];
                tunnel.write_all(&message).await.unwrap();
                tunnel.read_exact(&mut echoed).await.unwrap();
                assert_eq!(echoed, message);
                if n % 7 == 3 && round == 10 {
                    // Dropped in the middle of its life: nobody else is to notice.
                    return;
                }
            }
            tunnel.shutdown().await.unwrap();
            assert_eq!(tunnel.read(&mut [0; 8]).await.unwrap(), 0);
        }));
    }
    for tunnel in tunnels {
        timeout(PATIENCE, tunnel).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_client_that_is_done_closes_without_an_error() {
    let endpoints = endpoints(WINDOW);
    let (quic, served) = endpoints.served().await;
    let mut requests = drive(quic);
    let (send, mut recv, _) = open(&mut requests, request(Method::GET, "/bytes/5")).await;
    assert_eq!(read_all(&mut recv).await.unwrap(), b"xxxxx");
    drop((send, recv, requests));
    timeout(PATIENCE, served).await.unwrap().unwrap().unwrap();
}
