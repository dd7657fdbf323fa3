//! One chat room with members over all three HTTP versions at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::{SinkExt as _, StreamExt as _};
use headrace_e2e::{Site, client, trust};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// The guard of the whole conversation.
const GUARD: Duration = Duration::from_secs(60);

const MEMBERS: [&str; 3] = ["over-h1", "over-h2", "over-h3"];

/// Each member waits until all are there, greets, and leaves when it has heard every greeting.
#[tokio::test]
async fn three_versions_in_one_room() -> Result<()> {
    let site = Site::start()?;
    let url = site.secure("https", "/chat");
    let ca = site.headrace.ca();
    let expect = MEMBERS.join(",");
    let start = |name: &str, script: &str| {
        let ca = ca.to_str().context("a strange name")?;
        client::start(&site, name, script, &["chat", "--url", &url, "--ca", ca, "--name", name, "--expect", &expect])
    };
    let over_h2 = start("over-h2", "ws_h2.mjs")?;
    let over_h3 = start("over-h3", "ws_h3.py")?;
    let said = tokio::time::timeout(GUARD, over_h1(&site)).await?.with_context(|| site.tails())?;

    let greetings: BTreeMap<&str, String> = MEMBERS.map(|name| (name, format!("hello from {name}"))).into();
    assert_eq!(json!(said), json!(greetings));
    for member in [over_h2, over_h3] {
        let seen = tokio::task::spawn_blocking(|| member.finish()).await?.with_context(|| site.tails())?;
        let expect = json!({
            "status": "200", "subprotocol": "chat.v1", "forbidden": [], "welcomed": true, "said": greetings,
            "closeCode": 1000, "end": "fin",
        });
        assert_eq!(seen, expect);
    }
    Ok(())
}

async fn over_h1(site: &Site) -> Result<BTreeMap<String, String>> {
    let config = trust::client(&site.headrace.ca(), "http/1.1")?;
    let tcp = TcpStream::connect(("127.0.0.1", site.https)).await?;
    let tls = TlsConnector::from(Arc::new(config)).connect("localhost".try_into()?, tcp).await?;
    let mut request = site.secure("wss", "/chat?name=over-h1").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "chat.v0, chat.v1".parse()?);
    let (mut tunnel, response) = client_async(request, tls).await?;
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat.v1");

    let mut present = BTreeSet::new();
    let mut said = BTreeMap::new();
    let mut greeted = false;
    while said.len() < MEMBERS.len() {
        let Message::Text(text) = tunnel.next().await.context("the chat ended")?? else { bail!("not a text") };
        let event: Value = serde_json::from_str(&text)?;
        let name = event["name"].as_str().context("an event without a name")?.to_owned();
        match event["event"].as_str() {
            Some("welcome") => {
                let there = event["present"].as_array().context("nobody told who is there")?;
                present.extend(there.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            Some("join") => {
                present.insert(name);
            }
            Some("say") => {
                said.insert(name, event["text"].as_str().context("said nothing")?.to_owned());
            }
            _ => {}
        }
        if !greeted && MEMBERS.iter().all(|member| present.contains(*member)) {
            tunnel.send(Message::text("hello from over-h1")).await?;
            greeted = true;
        }
    }
    tunnel.close(Some(CloseFrame { code: 1000.into(), reason: "bye".into() })).await?;
    Ok(said)
}
