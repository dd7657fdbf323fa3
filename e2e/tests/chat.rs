//! One chat room with members over all three HTTP versions at once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use headrace_e2e::{Reached as _, Site, client, port, room};
use serde_json::json;

/// The guard of the whole conversation.
const GUARD: Duration = Duration::from_secs(60);

const MEMBERS: [&str; 3] = ["over-h1", "over-h2", "over-h3"];

/// Each member waits until all are there, greets, and leaves when it has heard every greeting.
#[tokio::test]
async fn three_versions_in_one_room() -> Result<()> {
    let site = Site::start()?;
    let url = site.secure("https", "/chat");
    let ca = site.ca();
    let expect = MEMBERS.join(",");
    let start = |name: &str, script: &str| {
        let ca = ca.to_str().context("a strange name")?;
        client::start(&site, name, script, &["chat", "--url", &url, "--ca", ca, "--name", name, "--expect", &expect])
    };
    let over_h2 = start("over-h2", "ws_h2.mjs")?;
    let over_h3 = start("over-h3", "ws_h3.py")?;
    let tunnel = site.secure("wss", "/chat");
    let over_h1 = room::join(&site, &tunnel, port::on_loopback(site.https), "over-h1", &MEMBERS);
    let said = tokio::time::timeout(GUARD, over_h1).await?.with_context(|| site.tails())?;

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
