//! Real applications outside of the cluster, behind Services of it: socket.io, graphql-ws and MQTT; and a chat room in a
//! pod whose members come over every version.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::application::Application;
use headrace_e2e::cluster::Edge;
use headrace_e2e::{Reached as _, client, room};
use serde_json::json;

/// The guard of the whole conversation.
const CONVERSATION: Duration = Duration::from_secs(60);

const MEMBERS: [&str; 3] = ["over-h1", "over-h2", "over-h3"];

/// This machine, as the pods of the cluster see it; of another cluster it is told by the environment.
fn host() -> Result<IpAddr> {
    match std::env::var("HEADRACE_E2E_HOST") {
        Ok(address) => Ok(address.parse()?),
        Err(_) => Ok(IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1))),
    }
}

fn serve(edge: &Edge, start: fn(IpAddr, &Path) -> Result<Application>) -> Result<Application> {
    let host = host()?;
    let application = start(host, edge.directory())?;
    edge.serve(&application, host)?;
    Ok(application)
}

/// Answers in a row that show that every pod has the route: each connection may go to another one.
const IN_A_ROW: usize = 10;

/// Until the route is there, the path is the demo's, which has no such page.
fn wait_until_routed(edge: &Edge, path: &str) -> Result<()> {
    let mut in_a_row = 0;
    headrace_e2e::cluster::wait_for(&format!("the route of {path}"), || {
        let (status, _) = edge.get(path)?;
        in_a_row = if status == 200 { in_a_row + 1 } else { 0 };
        Ok((in_a_row == IN_A_ROW).then_some(()))
    })
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn real_applications() -> Result<()> {
    let edge = Edge::create("case-applications")?;
    let _graphql = serve(&edge, Application::graphql_on)?;
    let _mqtt = serve(&edge, Application::mqtt_on)?;
    // The last one, and the only one that answers plain requests: where it is routed the others are.
    let _socketio = serve(&edge, Application::socketio_on)?;
    wait_until_routed(&edge, "/socket.io/?EIO=4&transport=polling")?;

    let seen = client::run(&edge, "socketio-client", "apps/socketio.mjs", &["use", "--url", &edge.url("https", "")])?;
    ensure!(seen["websocket"]["reversed"] == "ecardaeh" && seen["polling"]["upgrade"] == "websocket", "{seen}");

    let arguments = ["use", "--url", &edge.url("wss", "/graphql")];
    let seen = client::run(&edge, "graphql-client", "apps/graphql.mjs", &arguments)?;
    ensure!(seen["countdown"] == json!([5, 4, 3, 2, 1, 0]) && seen["hello"] == "hello, headrace", "{seen}");

    let seen = client::run(&edge, "mqtt-client", "apps/mqtt.mjs", &["--url", &edge.url("wss", "/mqtt")])?;
    let received = seen["received"].as_array().context("no list")?;
    ensure!(received.len() == 4 && seen["retained"]["payload"] == "still here", "{seen}");
    Ok(())
}

/// Members wait for one another, so the room works only if all are in it at once. The room is in the pod that the backend's
/// only endpoint is.
#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn one_chat_room_over_every_version() -> Result<()> {
    let edge = tokio::task::spawn_blocking(|| Edge::create("case-chat")).await??;
    let (url, address) = (edge.named_url("https", "/chat"), edge.address.to_string());
    let ca = edge.ca();
    let expect = MEMBERS.join(",");
    let start = |name: &str, script: &str| {
        let ca = ca.to_str().context("a strange name")?;
        let arguments = ["chat", "--url", &url, "--address", &address, "--ca", ca, "--name", name, "--expect", &expect];
        client::start(&edge, name, script, &arguments)
    };
    let scripts = [start("over-h2", "ws_h2.mjs")?, start("over-h3", "ws_h3.py")?];
    let tunnel = edge.named_url("wss", "/chat");
    let over_h1 = room::join(&edge, &tunnel, SocketAddr::new(edge.address, 443), "over-h1", &MEMBERS);
    let said = tokio::time::timeout(CONVERSATION, over_h1).await??;
    let greetings: BTreeMap<String, String> =
        MEMBERS.iter().map(|name| ((*name).to_owned(), format!("hello from {name}"))).collect();
    ensure!(said == greetings, "{said:?}");
    for member in scripts {
        let seen = tokio::task::spawn_blocking(|| member.finish()).await??;
        ensure!(seen["said"] == json!(greetings) && seen["closeCode"] == 1000, "{seen}");
    }
    Ok(())
}
