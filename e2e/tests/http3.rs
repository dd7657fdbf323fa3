//! Plain requests over HTTP/3 by h3 with h3-quinn, an implementation independent of Headrace's own.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, Bytes};
use h3::client::{RequestStream, SendRequest};
use h3::error::{Code, StreamError};
use h3_quinn::OpenStreams;
use headrace_e2e::{Site, trust};
use http::{HeaderMap, Method, Request, Response};
use quinn::crypto::rustls::QuicClientConfig;
use serde_json::{Value, json};

/// The guard of all requests together.
const GUARD: Duration = Duration::from_secs(120);

const DOWNLOAD_OCTETS: usize = 10_000_000;
const UPLOAD_OCTETS: usize = 5_000_000;
/// The piece in which the upload is sent.
const PIECE_OCTETS: usize = 100_000;
/// `/bytes/N` repeats this many octets, 0 to 250.
const PATTERN_OCTETS: usize = 251;
const CONCURRENT: usize = 20;

type Client = SendRequest<OpenStreams, Bytes>;

/// All on one connection, one after the other and then side by side.
#[tokio::test(flavor = "multi_thread")]
async fn plain_requests() -> Result<()> {
    let site = Site::start()?;
    let (_endpoint, client, driver) = connect(&site).await?;
    tokio::time::timeout(GUARD, requests(&site, client)).await?.with_context(|| site.tails())?;
    driver.abort();
    Ok(())
}

async fn requests(site: &Site, client: Client) -> Result<()> {
    let (response, body, _) = exchange(&client, site, Method::GET, "/bytes/10000000", None).await?;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-length"], DOWNLOAD_OCTETS.to_string());
    assert_eq!(body.len(), DOWNLOAD_OCTETS);
    assert!(body.iter().enumerate().all(|(index, octet)| usize::from(*octet) == index % PATTERN_OCTETS));

    let upload = Upload { octets: UPLOAD_OCTETS, trailers: [("x-checksum", "1234")].into() };
    let (response, body, _) = exchange(&client, site, Method::POST, "/upload", Some(upload)).await?;
    assert_eq!(response.status(), 200);
    assert_eq!(value(&body)?, json!({ "bytes": UPLOAD_OCTETS, "trailers": [["x-checksum", "1234"]] }));

    let (response, body, trailers) = exchange(&client, site, Method::GET, "/trailers", None).await?;
    assert_eq!((response.status().as_u16(), body.as_slice()), (200, b"one\ntwo\n".as_slice()));
    let trailers = trailers.context("no trailers")?;
    assert_eq!((&trailers["x-demo-pieces"], &trailers["x-demo-status"]), (&"2".parse()?, &"done".parse()?));

    let (response, body, _) = exchange(&client, site, Method::HEAD, "/bytes/12345", None).await?;
    assert_eq!((&response.headers()["content-length"], body.len()), (&"12345".parse()?, 0));
    for (path, status) in [("/status/418", 418), ("/status/204", 204), ("/nowhere", 404), ("/bytesome", 404)] {
        let (response, ..) = exchange(&client, site, Method::GET, path, None).await?;
        assert_eq!(response.status().as_u16(), status, "{path}");
    }

    let (_, body, _) = exchange(&client, site, Method::GET, "/headers?a=b&c", None).await?;
    let seen = value(&body)?;
    assert_eq!((&seen["method"], &seen["path"]), (&json!("GET"), &json!("/headers?a=b&c")));
    let header = |name: &str| seen["headers"].as_array()?.iter().find(|pair| pair[0] == name)?[1].as_str();
    assert_eq!(header("host"), Some(format!("localhost:{}", site.https).as_str()));
    assert_eq!(header("x-forwarded-proto"), Some("https"));
    assert!(header("x-forwarded-for").is_some_and(|value| value.contains("127.0.0.1")), "{seen}");

    let side_by_side = (0..CONCURRENT).map(|index| {
        let client = client.clone();
        async move {
            let size = 50_000 + index;
            let (_, body, _) = exchange(&client, site, Method::GET, &format!("/bytes/{size}"), None).await?;
            ensure!(body.len() == size, "{} octets rather than {size}", body.len());
            Ok(())
        }
    });
    futures::future::try_join_all(side_by_side).await?;
    Ok(())
}

/// A request's body: how many octets, and which trailers.
struct Upload {
    octets: usize,
    trailers: Vec<(&'static str, &'static str)>,
}

async fn connect(site: &Site) -> Result<(quinn::Endpoint, Client, tokio::task::JoinHandle<()>)> {
    let tls = trust::client(&site.headrace.ca(), "h3")?;
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse()?)?;
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)));
    let connection = endpoint.connect(([127, 0, 0, 1], site.https).into(), "localhost")?.await?;
    let (mut driver, client) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    let driver = tokio::spawn(async move {
        // Ends when the connection does, with whatever error that is.
        let _ = futures::future::poll_fn(|context| driver.poll_close(context)).await;
    });
    Ok((endpoint, client, driver))
}

async fn exchange(
    client: &Client,
    site: &Site,
    method: Method,
    path: &str,
    upload: Option<Upload>,
) -> Result<(Response<()>, Vec<u8>, Option<HeaderMap>)> {
    let mut request =
        Request::builder().method(method).uri(site.secure("https", path)).header("te", "trailers").body(())?;
    if let Some(upload) = &upload {
        // Which trailers will come (RFC 9110, section 6.6.2).
        let names: Vec<&str> = upload.trailers.iter().map(|(name, _)| *name).collect();
        request.headers_mut().insert("trailer", names.join(", ").parse()?);
    }
    let (mut send, mut receive) = client.clone().send_request(request).await?.split();
    let sending = async move {
        match send_body(&mut send, upload).await {
            // The response is whole, and no more of the request is wanted (RFC 9114, section 4.1).
            Err(StreamError::RemoteTerminate { code, .. }) if code == Code::H3_NO_ERROR => Ok(()),
            sent => sent.map_err(anyhow::Error::from),
        }
    };
    let receiving = async move {
        let response = receive.recv_response().await?;
        let mut body = Vec::new();
        while let Some(mut piece) = receive.recv_data().await? {
            while piece.has_remaining() {
                let chunk = piece.chunk();
                body.extend_from_slice(chunk);
                let length = chunk.len();
                piece.advance(length);
            }
        }
        Ok::<_, anyhow::Error>((response, body, receive.recv_trailers().await?))
    };
    let ((), received) = futures::try_join!(sending, receiving).with_context(|| path.to_owned())?;
    Ok(received)
}

async fn send_body(
    stream: &mut RequestStream<h3_quinn::SendStream<Bytes>, Bytes>,
    upload: Option<Upload>,
) -> Result<(), StreamError> {
    if let Some(upload) = upload {
        for start in (0..upload.octets).step_by(PIECE_OCTETS) {
            let length = PIECE_OCTETS.min(upload.octets - start);
            stream.send_data(Bytes::from(vec![7; length])).await?;
        }
        let trailers = upload.trailers.into_iter();
        let trailers = trailers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        stream.send_trailers(trailers.collect()).await?;
    }
    stream.finish().await
}

fn value(body: &[u8]) -> Result<Value> {
    serde_json::from_slice(body).with_context(|| String::from_utf8_lossy(body).into_owned())
}
