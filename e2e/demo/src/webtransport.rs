//! `/webtransport`: streams and datagrams come back as they were.
//!
//! A bidirectional stream comes back on itself, octet by octet, with its end, its reset and their codes; a unidirectional
//! one on a unidirectional stream of this side's; datagrams as datagrams. `?greet=N` has this side open N streams of each
//! kind that say `greeting 1` and so on, and send that many datagrams. `?close=CODE` has it close the session with that
//! code, and the reason `as asked`, when the first bidirectional stream has ended.
//!
//! Built on web-transport-quinn, which has one session on a connection.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::StatusCode;
use tokio::sync::{Semaphore, watch};
use web_transport_quinn::proto::ConnectResponse;
use web_transport_quinn::{ReadError, RecvStream, Request, SendStream, Session, WriteError};

use crate::certificate::Files;
use crate::server::stopped;

const PATH: &str = "/webtransport";

/// How many sessions are served at once; more are refused.
const MAX_SESSIONS: usize = 1000;

/// How many streams of each kind a client may have open in a session. Their echoes are this side's tasks.
const MAX_STREAMS: u32 = 200;

/// How many streams and datagrams greet at most.
const MAX_GREETINGS: u32 = 100;

/// What is read of a stream at once: an echo holds no more.
const PIECE_OCTETS: usize = 16 << 10;

/// A client that has gone without a word is missed after this long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long connections may take to hear of the end.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// The code that sessions are closed with when the process stops, as WebSocket has it (RFC 6455, section 7.4.1).
const GOING_AWAY: u32 = 1001;

/// The code of a stream that cannot go on for a reason that has none.
const BROKEN: u32 = 1;

/// Serves until told to stop. Before there is a certificate, nobody is answered.
pub(crate) async fn serve(socket: UdpSocket, files: Files, stopping: watch::Receiver<bool>) -> anyhow::Result<()> {
    let (mut pair, config) = tokio::select! {
        next = files.next(None) => next,
        () = stopped(stopping.clone()) => return Ok(()),
    };
    let endpoint_config = quinn::EndpointConfig::default();
    let runtime = Arc::new(quinn::TokioRuntime);
    let endpoint = quinn::Endpoint::new(endpoint_config, Some(with_limits(config)), socket, runtime)
        .context("cannot serve WebTransport")?;
    let renewal = async {
        loop {
            let (next, config) = files.next(Some(&pair)).await;
            pair = next;
            endpoint.set_server_config(Some(with_limits(config)));
        }
    };
    tokio::select! {
        () = accept(&endpoint, &stopping) => {}
        () = renewal => {}
        () = stopped(stopping.clone()) => {}
    }
    // Sessions say their own farewell, and their connections end with it.
    endpoint.set_server_config(None);
    let _ = tokio::time::timeout(STOP_DEADLINE, endpoint.wait_idle()).await;
    Ok(())
}

fn with_limits(mut config: quinn::ServerConfig) -> quinn::ServerConfig {
    let mut transport = quinn::TransportConfig::default();
    transport.max_concurrent_bidi_streams(MAX_STREAMS.into()).max_concurrent_uni_streams(MAX_STREAMS.into());
    transport.max_idle_timeout(Some(IDLE_TIMEOUT.try_into().expect("QUIC can say half a minute")));
    transport.keep_alive_interval(Some(IDLE_TIMEOUT / 3));
    config.transport_config(Arc::new(transport));
    config
}

async fn accept(endpoint: &quinn::Endpoint, stopping: &watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(MAX_SESSIONS));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let stopping = stopping.clone();
        tokio::spawn(async move {
            // What went wrong before there is a session is the client's to see; this process has no log.
            if let Ok(connection) = incoming.await
                && let Ok(request) = Request::accept(connection).await
            {
                begin(request, stopping).await;
            }
            drop(slot);
        });
    }
}

async fn begin(request: Request, stopping: watch::Receiver<bool>) {
    if request.url.path() != PATH {
        let connection = request.conn().clone();
        if request.reject(StatusCode::NOT_FOUND).await.is_ok() {
            // The answer is lost with the connection, which ends when nobody has it.
            let _ = tokio::time::timeout(STOP_DEADLINE, connection.closed()).await;
        }
        return;
    }
    let number = |name: &str| {
        let mut pairs = request.url.query_pairs();
        pairs.find(|(key, _)| key == name).and_then(|(_, value)| value.parse::<u32>().ok())
    };
    let (greet, close) = (number("greet").unwrap_or(0).min(MAX_GREETINGS), number("close"));
    let response = match request.protocols.first() {
        Some(first) => ConnectResponse::OK.with_protocol(first.clone()),
        None => ConnectResponse::OK,
    };
    let Ok(session) = request.respond(response).await else { return };
    tokio::select! {
        _ = session.closed() => {}
        () = serve_session(&session, greet, close) => {}
        () = stopped(stopping) => {
            session.close(GOING_AWAY, b"the demo stops");
            session.closed().await;
        }
    }
}

async fn serve_session(session: &Session, greet: u32, close: Option<u32>) {
    let bidirectional = async {
        while let Ok((send, recv)) = session.accept_bi().await {
            let session = session.clone();
            tokio::spawn(async move {
                echo(send, recv).await;
                if let Some(code) = close {
                    session.close(code, b"as asked");
                }
            });
        }
    };
    let unidirectional = async {
        while let Ok(recv) = session.accept_uni().await {
            let session = session.clone();
            tokio::spawn(async move {
                if let Ok(send) = session.open_uni().await {
                    echo(send, recv).await;
                }
            });
        }
    };
    let datagrams = async {
        while let Ok(datagram) = session.read_datagram().await {
            // One that is too large for the way back is lost, as datagrams may be.
            let _ = session.send_datagram(datagram);
        }
    };
    // Greetings that nobody takes are nobody's loss.
    let greetings = async { drop(greet_with(session, greet).await) };
    tokio::join!(bidirectional, unidirectional, datagrams, greetings);
}

/// Nothing is read while an echo cannot be written: a client that does not read stops being read.
async fn echo(mut send: SendStream, mut recv: RecvStream) {
    let mut octets = vec![0; PIECE_OCTETS];
    loop {
        match recv.read(&mut octets).await {
            Ok(Some(size)) => {
                if let Err(error) = send.write_all(&octets[..size]).await {
                    let code = if let WriteError::Stopped(code) = error { code } else { BROKEN };
                    // A stream that has ended meanwhile needs no stopping.
                    let _ = recv.stop(code);
                    return;
                }
            }
            Ok(None) => {
                // A client that stopped this direction does not wait for its end.
                let _ = send.finish();
                let _ = send.stopped().await;
                return;
            }
            Err(error) => {
                let code = if let ReadError::Reset(code) = error { code } else { BROKEN };
                let _ = send.reset(code);
                return;
            }
        }
    }
}

async fn greet_with(session: &Session, greet: u32) -> anyhow::Result<()> {
    for number in 1..=greet {
        let greeting = format!("greeting {number}");
        let mut uni = session.open_uni().await?;
        uni.write_all(greeting.as_bytes()).await?;
        uni.finish()?;
        let (mut send, recv) = session.open_bi().await?;
        send.write_all(greeting.as_bytes()).await?;
        // What is answered comes back behind the greeting.
        tokio::spawn(echo(send, recv));
        session.send_datagram(Bytes::from(greeting))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use web_transport_quinn::proto::ConnectRequest;
    use web_transport_quinn::{ReadError, SessionError, WebTransportError};

    use super::*;

    /// No wait is longer when all is well.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// The echo on a port of its own, whose certificate comes when it already listens. It ends when the sender does.
    async fn start(directory: &std::path::Path) -> (quinn::Endpoint, std::net::SocketAddr, watch::Sender<bool>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let files = Files { certificate: directory.join("tls.crt"), key: directory.join("tls.key") };
        let (certificate, key) = (files.certificate.clone(), files.key.clone());
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(serve(socket, files, stopping));
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(certificate, certified.cert.pem()).unwrap();
        std::fs::write(key, certified.signing_key.serialize_pem()).unwrap();

        let mut roots = rustls::RootCertStore::empty();
        roots.add(certified.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![web_transport_quinn::ALPN.as_bytes().to_vec()];
        let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        let mut client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        client.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
        (client, address, stop)
    }

    async fn open(client: &quinn::Endpoint, address: std::net::SocketAddr, path: &str) -> anyhow::Result<Session> {
        let connection = client.connect(address, "localhost")?.await?;
        let url: url::Url = format!("https://localhost{path}").parse()?;
        let request = ConnectRequest::new(url).with_protocol("echo.v1");
        Ok(tokio::time::timeout(PATIENCE, Session::connect(connection, request)).await??)
    }

    #[tokio::test]
    async fn what_comes_goes_back() {
        let directory = tempfile::tempdir().unwrap();
        let (client, address, stop) = start(directory.path()).await;
        let session = open(&client, address, "/webtransport?greet=2").await.unwrap();
        assert_eq!(session.protocol(), Some("echo.v1"));
        for number in 1..=2 {
            let mut uni = session.accept_uni().await.unwrap();
            assert_eq!(uni.read_to_end(100).await.unwrap(), format!("greeting {number}").as_bytes());
            let (mut send, mut recv) = session.accept_bi().await.unwrap();
            send.write_all(b" to you").await.unwrap();
            send.finish().unwrap();
            assert_eq!(recv.read_to_end(100).await.unwrap(), format!("greeting {number} to you").as_bytes());
        }

        let content: Vec<u8> = (0..100_000_u32).map(|index| (index % 251) as u8).collect();
        let (mut send, mut recv) = session.open_bi().await.unwrap();
        let sending = async {
            send.write_all(&content).await.unwrap();
            send.finish().unwrap();
        };
        let ((), got) = tokio::join!(sending, recv.read_to_end(1 << 20));
        assert!(got.unwrap() == content);

        let mut send = session.open_uni().await.unwrap();
        send.write_all(b"one way").await.unwrap();
        send.finish().unwrap();
        let mut recv = session.accept_uni().await.unwrap();
        assert_eq!(recv.read_to_end(100).await.unwrap(), b"one way");

        let (mut send, mut recv) = session.open_bi().await.unwrap();
        send.write_all(b"x").await.unwrap();
        recv.read_exact(&mut [0]).await.unwrap();
        send.reset(77).unwrap();
        assert!(matches!(recv.read(&mut [0]).await, Err(ReadError::Reset(77))));

        // Datagrams are as good as never lost on the loopback, and the greetings came before.
        let echoed = async {
            loop {
                session.send_datagram(Bytes::from_static(b"datagram")).unwrap();
                let got = tokio::time::timeout(Duration::from_millis(200), session.read_datagram()).await;
                if got.is_ok_and(|got| got.unwrap() == "datagram") {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, echoed).await.unwrap();

        stop.send(true).unwrap();
        let ended = tokio::time::timeout(PATIENCE, session.closed()).await.unwrap();
        let going = matches!(&ended, SessionError::WebTransportError(WebTransportError::Closed(1001, _)));
        assert!(going, "{ended:?}");
    }

    #[tokio::test]
    async fn closes_as_asked_and_refuses_other_paths() {
        let directory = tempfile::tempdir().unwrap();
        let (client, address, _stop) = start(directory.path()).await;
        assert!(open(&client, address, "/elsewhere").await.is_err());
        let session = open(&client, address, "/webtransport?close=4001").await.unwrap();
        let (mut send, _recv) = session.open_bi().await.unwrap();
        send.finish().unwrap();
        let ended = tokio::time::timeout(PATIENCE, session.closed()).await.unwrap();
        let closed = matches!(&ended, SessionError::WebTransportError(WebTransportError::Closed(4001, reason)) if reason == "as asked");
        assert!(closed, "{ended:?}");
    }
}
