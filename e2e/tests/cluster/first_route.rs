//! The first thing a user does: a Gateway, an HTTPRoute and a WebSocketRoute, and then an address, conditions that say so,
//! and requests and tunnels on every version.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::cluster::edge::{GATEWAY, HOSTNAME};
use headrace_e2e::cluster::{self, Edge, kubectl, wait_for};
use headrace_e2e::{Headrace, Process, Reached as _, client};
use serde_json::json;

/// The guard of one conversation.
const CONVERSATION: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_gateway_serves_every_version() -> Result<()> {
    let edge = Edge::create("case-first-route")?;
    plain_requests(&edge)?;
    aioquic(&edge)?;
    connect(&edge)?;
    conditions(&edge)?;
    columns(&edge)
}

/// Over TLS in both versions by name, and in clear text.
fn plain_requests(edge: &Edge) -> Result<()> {
    let resolve = format!("{HOSTNAME}:443:{}", edge.address);
    let by_name = format!("https://{HOSTNAME}/bytes/100000");
    for (flag, url) in [
        ("--http1.1", by_name.clone()),
        ("--http2", by_name),
        ("--http1.1", edge.url("http", "/bytes/100000")),
        ("--http2-prior-knowledge", edge.url("http", "/bytes/100000")),
    ] {
        // The body is not text, so curl counts it.
        let counted = ["--output", "/dev/null", "--write-out", "%{size_download}\n%{http_code}"];
        let (status, size) = client::curl(edge, &[&[flag, "--resolve", &resolve], &counted[..]].concat(), &url)?;
        ensure!(status == 200 && size == "100000", "{flag} {url}: {status}, {size} octets");
    }
    // alt-svc tells the port that clients see, not the one that pods bind.
    let told = client::curl(edge, &["--http2", "--head", "--resolve", &resolve], &format!("https://{HOSTNAME}/"))?.1;
    ensure!(told.contains("h3=\":443\""), "{told}");
    Ok(())
}

fn aioquic(edge: &Edge) -> Result<()> {
    let ca = edge.ca();
    let (url, address) = (edge.named_url("https", "/echo"), edge.address.to_string());
    let ca = ca.to_str().context("a strange name")?;
    let arguments = ["echo", "--url", &url, "--address", &address, "--ca", ca];
    let seen = client::run(edge, "ws_h3", "ws_h3.py", &arguments)?;
    ensure!(seen["tunnel"]["status"] == "200" && seen["tunnel"]["closeCode"] == 4001, "{seen}");
    ensure!(seen["neighbour"]["end"] == "fin" && seen["connectionLost"] == false, "{seen}");
    Ok(())
}

fn connect(edge: &Edge) -> Result<()> {
    for (flag, version) in
        [(None, "HTTP/3"), (Some("--http3"), "HTTP/3"), (Some("--http2"), "HTTP/2"), (Some("--http1"), "HTTP/1.1")]
    {
        let mut command = Command::new(Headrace::binary()?);
        command.arg("connect").arg(edge.url("wss", "/echo")).args(flag).args(["--subprotocol", "echo.v1"]);
        command.arg("--ca").arg(edge.ca()).current_dir(edge.directory());
        let mut process = Process::start_with_input("connect", &mut command, edge.directory(), "hello\n")?;
        let status = process.wait(CONVERSATION)?;
        ensure!(status.success() && process.stdout() == "hello\n", "{flag:?}: {status}\n{}", process.tail());
        let said = process.stderr();
        ensure!(said.contains(&format!("connected over {version} ")), "{flag:?}: {said}");
    }
    Ok(())
}

/// Everything is said of every object, at its current generation.
fn conditions(edge: &Edge) -> Result<()> {
    let namespace = edge.namespace.name();
    for (r#type, status) in [("Accepted", "True"), ("Programmed", "True"), ("ResolvedRefs", "True")] {
        cluster::wait_for_condition(namespace, "gateway", GATEWAY, "/status/conditions", r#type, status)?;
    }
    let gateway = cluster::get(namespace, "gateway", GATEWAY)?.context("no Gateway")?;
    for listener in gateway["status"]["listeners"].as_array().context("no listeners")? {
        ensure!(listener["attachedRoutes"] == json!(2), "{listener}");
        let programmed = listener["conditions"].as_array().context("no conditions")?;
        ensure!(programmed.iter().any(|one| one["type"] == "Programmed" && one["status"] == "True"), "{listener}");
    }
    for kind in ["httproute", "websocketroute"] {
        for r#type in ["Accepted", "ResolvedRefs"] {
            cluster::wait_for_condition(namespace, kind, "demo", "/status/parents/0/conditions", r#type, "True")?;
        }
    }
    Ok(())
}

/// `kubectl get` alone shows what is wrong, and the message says what to change.
fn columns(edge: &Edge) -> Result<()> {
    let namespace = edge.namespace.name();
    let table = kubectl(&["get", "gateway,httproute,wsr", "-n", namespace])?;
    ensure!(table.contains(&edge.address.to_string()) && table.contains("True"), "{table}");

    edge.apply(
        "{apiVersion: headrace.dev/v1alpha1, kind: WebSocketRoute, metadata: {name: lost, namespace: NAMESPACE}, spec: \
         {parentRefs: [{name: GATEWAY}], rules: [{backendRefs: [{name: nowhere, port: 80}]}]}}",
    )?;
    wait_for("the lost route to show", || {
        let table = kubectl(&["get", "wsr", "lost", "-n", namespace])?;
        ensure!(table.contains("BackendNotFound") || table.contains("False"), "{table}");
        Ok(Some(()))
    })?;
    let lost = "/status/parents/0/conditions";
    let found = cluster::wait_for_condition(namespace, "websocketroute", "lost", lost, "ResolvedRefs", "False")?;
    ensure!(found["reason"] == "BackendNotFound", "{found}");
    ensure!(found["message"].as_str().is_some_and(|message| message.contains("nowhere")), "{found}");
    Ok(())
}
