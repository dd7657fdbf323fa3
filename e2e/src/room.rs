//! A member of the demo's chat room over HTTP/1.1, by tungstenite; members over the other versions are scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::{Reached, trust};

/// Waits until all members are there, greets, and leaves when every greeting was heard. Returns what each has said.
///
/// `url` is that of the room, without a query; `address` is where its host is.
pub async fn join(
    reached: &impl Reached,
    url: &str,
    address: SocketAddr,
    name: &str,
    members: &[&str],
) -> Result<BTreeMap<String, String>> {
    let mut request = format!("{url}?name={name}").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "chat.v0, chat.v1".parse()?);
    let host = request.uri().host().context("a URL without a host")?.to_owned();
    let config = trust::client(&reached.ca(), "http/1.1")?;
    let tcp = TcpStream::connect(address).await?;
    let tls = TlsConnector::from(Arc::new(config)).connect(host.try_into()?, tcp).await?;
    let (mut tunnel, response) = client_async(request, tls).await?;
    ensure!(response.headers()["sec-websocket-protocol"] == "chat.v1", "{response:?}");

    let mut present = BTreeSet::new();
    let mut said = BTreeMap::new();
    let mut greeted = false;
    while said.len() < members.len() {
        let Message::Text(text) = tunnel.next().await.context("the chat ended")?? else { bail!("not a text") };
        let event: Value = serde_json::from_str(&text)?;
        let who = event["name"].as_str().context("an event without a name")?.to_owned();
        match event["event"].as_str() {
            Some("welcome") => {
                let there = event["present"].as_array().context("nobody told who is there")?;
                present.extend(there.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            Some("join") => {
                present.insert(who);
            }
            Some("say") => {
                said.insert(who, event["text"].as_str().context("said nothing")?.to_owned());
            }
            _ => {}
        }
        if !greeted && members.iter().all(|member| present.contains(*member)) {
            tunnel.send(Message::text(format!("hello from {name}"))).await?;
            greeted = true;
        }
    }
    tunnel.close(Some(CloseFrame { code: 1000.into(), reason: "bye".into() })).await?;
    Ok(said)
}
