//! WebTransport in a real cluster: sessions to a pod that speaks it, and local TCP connections to a Service that does not, on a
//! listener with an EdgePolicy.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::cluster::{Edge, apply, kubectl, wait_for, wait_for_condition};
use headrace_e2e::{Headrace, Process, Reached as _, client};
use serde_json::json;

/// The guard of each wait.
const GUARD: Duration = Duration::from_secs(60);

/// By which host name the pods' certificate is known to Headrace alone.
const BACKEND: &str = "echo.internal";

/// Parts of the answer that do not depend on where the session goes.
const EXPECTED: [(&str, &str); 4] =
    [("status", "200"), ("oneWay", "one way"), ("neighbour", "still here"), ("closeAnswer", "fin")];

fn accepted(edge: &Edge, route: &str) -> Result<()> {
    for r#type in ["Accepted", "ResolvedRefs"] {
        let path = "/status/parents/0/conditions";
        wait_for_condition(edge.namespace.name(), "webtransportroute", route, path, r#type, "True")?;
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn sessions_to_a_pod_and_connections_to_a_service() -> Result<()> {
    let edge = Edge::create("case-sessions")?;
    let namespace = edge.namespace.name();
    apply(&edge.authority.secret(namespace, "echo-tls", &[BACKEND])?)?;
    let ca = std::fs::read_to_string(edge.ca())?;
    let ca = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "namespace": namespace, "name": "echo-ca" },
        "data": { "ca.crt": ca } });
    apply(&ca.to_string())?;
    edge.apply(&include_str!("sessions.yaml").replace("BACKEND", BACKEND))?;
    accepted(&edge, "echo")?;
    accepted(&edge, "mesh")?;
    let path = "/status/ancestors/0/conditions";
    wait_for_condition(namespace, "edgepolicies.headrace.dev", "edge", path, "Accepted", "True")?;
    let columns = kubectl(&["get", "wtr", "-n", namespace])?;
    ensure!(columns.contains("Session") && columns.contains("Streams") && columns.contains("Accepted"), "{columns}");
    kubectl(&["rollout", "status", "deployment/echo", "-n", namespace, "--timeout=120s"])?;
    to_a_pod(&edge)?;
    to_a_service(&edge)
}

/// Every stream and datagram, by aioquic.
fn to_a_pod(edge: &Edge) -> Result<()> {
    let (url, address, ca) = (edge.named_url("https", "/webtransport"), edge.address.to_string(), edge.ca());
    let ca = ca.to_str().context("the directory has a strange name")?;
    let arguments = ["--url", &url, "--address", &address, "--ca", ca];
    // Until every pod knows the endpoint.
    let seen = wait_for("a session", || client::run(edge, "aioquic", "wt_h3.py", &arguments).map(Some))?;
    for (what, wanted) in EXPECTED {
        assert_eq!(seen[what], wanted, "{seen}");
    }
    assert_eq!((&seen["streams"], &seen["connectionLost"]), (&json!(100), &json!(false)), "{seen}");
    assert_eq!(seen["closedByServer"], json!([[4321, "as asked"]]), "{seen}");
    Ok(())
}

/// A request over a local TCP connection that is a stream of a session in between.
fn to_a_service(edge: &Edge) -> Result<()> {
    let mut command = Command::new(Headrace::binary()?);
    command.arg("connect").arg(edge.url("https", "/mesh")).args(["-L", "tcp:127.0.0.1:0"]);
    command.arg("--ca").arg(edge.ca()).current_dir(edge.directory());
    let mut process = Process::start("connect", &mut command, edge.directory())?;
    let port: u16 = process.wait_until(GUARD, |process| {
        let said = process.stderr();
        let (_, rest) = said.split_once("listening on tcp:127.0.0.1:")?;
        rest.split_once(':')?.0.parse().ok()
    })?;
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(GUARD))?;
    stream.write_all(b"GET /headers HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| process.tail())?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}\n{}", process.tail());
    // Nobody in between has touched it.
    ensure!(!answer.to_lowercase().contains("forwarded"), "{answer}");
    Ok(())
}
