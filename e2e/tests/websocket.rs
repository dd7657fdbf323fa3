//! WebSocket echoes through the whole chain, by an independent client of each HTTP version.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{SinkExt as _, StreamExt as _};
use headrace_e2e::{Site, client, trust};
use http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// The guard of one tunnel's life.
const GUARD: Duration = Duration::from_secs(60);

const LARGE_OCTETS: usize = 300_000;

/// aioquic: RFC 9220.
#[test]
fn http3() -> Result<()> {
    let mut site = Site::start()?;
    let (url, ca) = (site.secure("https", "/echo"), site.headrace.ca());
    let arguments = ["echo", "--url", &url, "--ca", ca.to_str().context("a strange name")?];
    let seen = client::run(&site, "ws_h3", "ws_h3.py", &arguments).with_context(|| site.tails())?;
    check_multiplexed(&seen);
    check_told(&mut site, "http3", 4)
}

/// Node: RFC 8441 over TLS.
#[test]
fn http2() -> Result<()> {
    let mut site = Site::start()?;
    let (url, ca) = (site.secure("https", "/echo"), site.headrace.ca());
    let arguments = ["echo", "--url", &url, "--ca", ca.to_str().context("a strange name")?];
    let seen = client::run(&site, "ws_h2", "ws_h2.mjs", &arguments).with_context(|| site.tails())?;
    check_multiplexed(&seen);
    check_told(&mut site, "http2", 4)
}

/// Node: RFC 8441 in clear text, with prior knowledge.
#[test]
fn http2_in_clear_text() -> Result<()> {
    let mut site = Site::start()?;
    let arguments = ["echo", "--url", &site.clear("http", "/echo")];
    let seen = client::run(&site, "ws_h2c", "ws_h2.mjs", &arguments).with_context(|| site.tails())?;
    check_multiplexed(&seen);
    check_told(&mut site, "http2", 4)
}

/// What Headrace says itself: how many tunnels it opened over which version, and that none is left.
fn check_told(site: &mut Site, version: &str, tunnels: u32) -> Result<()> {
    let label = format!("version=\"{version}\"");
    let metric = |name: &str, labels: &[&str]| site.headrace.metric(name, labels);
    assert_eq!(metric("headrace_dataplane_tunnels_total", &[&label])?, f64::from(tunnels));
    assert_eq!(metric("headrace_dataplane_tunnels_total", &[])?, f64::from(tunnels), "over other versions too");
    // The access log has a line for each, once it is over.
    site.headrace.process.wait_until(GUARD, |process| {
        let output = process.stdout();
        let lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let told = lines.filter(|line| line["tunnel"] == true && line["version"] == version && line["path"] == "/echo");
        (told.count() == tunnels as usize).then_some(())
    })?;
    site.headrace.wait_for_metric("headrace_dataplane_tunnels_open", &[], |open| open == 0.0)
}

/// What a client of a multiplexed version must have seen.
fn check_multiplexed(seen: &Value) {
    assert_eq!(seen["enableConnectProtocol"], 1);
    let expect = json!({
        "status": "200", "subprotocol": "echo.v1", "forbidden": [], "echoes": ["hello", "grüße"], "binary": true,
        "closeCode": 4001, "end": "fin",
    });
    assert_eq!(seen["tunnel"], expect);
    let expect = json!({
        "before": ["doomed", "neighbour"], "after": ["after 0", "after 1", "after 2"], "later": "later",
        "status": "200", "subprotocol": "next", "forbidden": [], "closeCode": 1000, "end": "fin", "laterClose": 1000,
    });
    assert_eq!(seen["neighbour"], expect);
    assert_eq!(seen["unknownProtocol"], "501", "RFC 9220, section 3");
    assert_eq!(seen["connectionLost"], false);
}

/// tokio-tungstenite: RFC 6455 over TLS.
#[tokio::test]
async fn http1() -> Result<()> {
    let mut site = Site::start()?;
    let config = trust::client(&site.headrace.ca(), "http/1.1")?;
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    for path in ["/echo", "/echo?with=a&query"] {
        let tcp = TcpStream::connect(("127.0.0.1", site.https)).await?;
        let tls = connector.connect("localhost".try_into()?, tcp).await?;
        ensure!(tls.get_ref().1.alpn_protocol() == Some(b"http/1.1"), "ALPN chose another protocol");
        tokio::time::timeout(GUARD, echo(tls, &site.secure("wss", path))).await?.with_context(|| site.tails())?;
    }
    check_told(&mut site, "http1", 2)
}

/// tokio-tungstenite: RFC 6455 in clear text.
#[tokio::test]
async fn http1_in_clear_text() -> Result<()> {
    let site = Site::start()?;
    let tcp = TcpStream::connect(("127.0.0.1", site.http)).await?;
    tokio::time::timeout(GUARD, echo(tcp, &site.clear("ws", "/echo"))).await?.with_context(|| site.tails())
}

/// A handshake that the route does not want finds none, and one that the backend refuses says what the backend said.
#[tokio::test]
async fn refusals_pass_through() -> Result<()> {
    let site = Site::start()?;
    // Path, a header, and the status: no route, no route for these subprotocols, no route on this path.
    for (path, subprotocol, status) in [("/nowhere", "a", 404), ("/chat", "chat.v2", 404), ("/echo/deeper", "a", 404)] {
        let tcp = TcpStream::connect(("127.0.0.1", site.http)).await?;
        let mut request = site.clear("ws", path).into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse()?);
        match client_async(request, tcp).await {
            Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), status, "{path}"),
            other => anyhow::bail!("{path}: {other:?}"),
        }
    }
    Ok(())
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: S, url: &str) -> Result<()> {
    let mut request: Request<()> = url.into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "echo.v1, echo.v2".parse()?);
    let (mut tunnel, response) = client_async(request, stream).await?;
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-protocol"], "echo.v1");

    let large: Vec<u8> = (0..LARGE_OCTETS).map(|index| (index % 251) as u8).collect();
    for message in [Message::text("hello"), Message::text("grüße"), Message::binary(large), Message::binary(vec![])] {
        tunnel.send(message.clone()).await?;
        ensure!(next(&mut tunnel).await? == message, "another message came back");
    }
    tunnel.send(Message::Ping("are you there".into())).await?;
    ensure!(next(&mut tunnel).await? == Message::Pong("are you there".into()), "no pong");

    let close = CloseFrame { code: 4001.into(), reason: "done".into() };
    tunnel.send(Message::Close(Some(close))).await?;
    match next(&mut tunnel).await? {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 4001),
        other => anyhow::bail!("not a close frame: {other:?}"),
    }
    // Then the connection ends, and cleanly: anything else is an error here (RFC 6455, section 7.1.1).
    ensure!(tunnel.next().await.is_none(), "something came after the close frame");
    Ok(())
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(tunnel: &mut WebSocketStream<S>) -> Result<Message> {
    Ok(tunnel.next().await.context("the tunnel ended")??)
}
