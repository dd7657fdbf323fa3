//! A WebSocket echo for tests, in clear text or with TLS, over HTTP/1.1 and nothing newer.
//!
//! It takes the first subprotocol on offer. The message `bye` makes it close with 4001, and `drop` without a word.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::{SinkExt as _, StreamExt as _};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Serves until the process ends.
pub(crate) fn start() -> SocketAddr {
    serve(None)
}

/// Serves with TLS; gives the certificate in PEM as well. Over HTTP/2, where ALPN has it, there is no extended CONNECT.
pub(crate) fn start_tls(alpn: &[&str]) -> (SocketAddr, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    (serve(Some(TlsAcceptor::from(Arc::new(config)))), cert.pem())
}

fn serve(tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => echo(stream).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => http2(stream).await,
                            Ok(stream) => echo(stream).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
    });
    address
}

/// Speaks HTTP/2 and takes nothing.
async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
    let mut connection = h2::server::handshake(stream).await.ok()?;
    while let Some(Ok(_)) = connection.accept().await {}
    Some(())
}

#[allow(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
async fn echo(stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
    let choose = |request: &Request, mut response: Response| {
        if let Some(offered) = request.headers().get("sec-websocket-protocol") {
            let first = offered.to_str().unwrap().split(',').next().unwrap().trim().to_owned();
            response.headers_mut().insert("sec-websocket-protocol", first.parse().unwrap());
        }
        Ok(response)
    };
    let mut websocket = accept_hdr_async(stream, choose).await.ok()?;
    while let Some(Ok(message)) = websocket.next().await {
        match message {
            Message::Text(text) if text == "bye" => {
                websocket.close(Some(CloseFrame { code: 4001.into(), reason: "so long".into() })).await.ok()?;
            }
            Message::Text(text) if text == "drop" => return None,
            Message::Text(_) | Message::Binary(_) => websocket.send(message).await.ok()?,
            _ => {}
        }
    }
    Some(())
}
