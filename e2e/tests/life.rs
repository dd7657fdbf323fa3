//! The life of a running Headrace: manifests that change under open tunnels, bad ones, and the end by SIGTERM.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{SinkExt as _, StreamExt as _};
use headrace_e2e::{Headrace, Site, client, manifest, port, probe};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// The guard of a change taking hold, and of the end.
const GUARD: Duration = Duration::from_secs(60);

const ADDED: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: added
  namespace: headrace-demo
spec:
  parentRefs:
    - name: demo
  rules:
    - matches:
        - path: { type: Exact, value: /added }
      filters:
        - type: URLRewrite
          urlRewrite:
            path: { type: ReplaceFullPath, replaceFullPath: /headers }
      backendRefs:
        - name: demo
          port: 80
";

type Tunnel = WebSocketStream<TcpStream>;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_takes_hold_and_drops_no_tunnel() -> Result<()> {
    let mut site = Site::start()?;
    let mut tunnel = open(&site).await?;
    echo(&mut tunnel, "before").await?;

    let file = site.manifests().join("added.yaml");
    assert_eq!(probe::get(port::on_loopback(site.http), "/added")?.0, 404);
    std::fs::write(&file, ADDED)?;
    until_status(&mut site, "/added", 200)?;
    ensure!(
        probe::get(port::on_loopback(site.http), "/added")?.1.contains("\"/headers\""),
        "the path was not rewritten"
    );
    echo(&mut tunnel, "with the route").await?;

    // A field that cannot be read: the object is named with file, line and field, and its last good version serves on,
    // as it would in a cluster, where nothing else gets in.
    std::fs::write(&file, ADDED.replace("port: 80", "port: eighty"))?;
    site.headrace.process.wait_until(GUARD, |process| {
        let said = [process.stdout(), process.stderr()].concat();
        let parts = ["added.yaml:18", "headrace-demo/added", "spec.rules[0].backendRefs[0].port"];
        said.lines().any(|line| parts.iter().all(|part| line.contains(part))).then_some(())
    })?;
    assert_eq!(
        (
            probe::get(port::on_loopback(site.http), "/headers")?.0,
            probe::get(port::on_loopback(site.http), "/added")?.0
        ),
        (200, 200)
    );
    echo(&mut tunnel, "with a bad object").await?;

    std::fs::remove_file(&file)?;
    until_status(&mut site, "/added", 404)?;
    echo(&mut tunnel, "without the file").await?;
    tunnel.close(None).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_finish_what_is_under_way() -> Result<()> {
    let mut site = Site::start()?;
    let mut tunnel = open(&site).await?;
    echo(&mut tunnel, "before").await?;
    let port = site.http;
    let slow = tokio::task::spawn_blocking(move || probe::get(port::on_loopback(port), "/slow?ms=3000"));
    // The request must be on its way before the signal is: the tunnel has one connection to the backend, it has another.
    site.headrace.wait_for_metric("headrace_dataplane_upstream_connects_total", &[], |connects| connects >= 2.0)?;
    assert_eq!(site.headrace.metric("headrace_dataplane_tunnels_open", &[])?, 1.0);

    site.headrace.process.signal("TERM")?;
    assert_eq!(slow.await??.0, 200);
    echo(&mut tunnel, "while it drains").await?;
    ensure!(
        probe::get(port::on_loopback(site.http), "/headers").is_err(),
        "a new connection is served during the drain"
    );
    tunnel.close(None).await?;
    while let Some(Ok(_)) = tokio::time::timeout(GUARD, tunnel.next()).await? {}
    drop(tunnel);
    let status = site.headrace.process.wait(GUARD)?;
    ensure!(status.success(), "{status}\n{}", site.tails());
    Ok(())
}

/// Every manifest that the project hands out is accepted as it is.
#[test]
fn manifests_are_accepted() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for manifests in ["manifests/demo", "manifests/examples"] {
        let mut command = Command::new(Headrace::binary()?);
        command.current_dir(directory.path()).args(["check", "-f"]).arg(manifest::source_root().join(manifests));
        let report = client::command(directory.path(), "check", &mut command)?;
        ensure!(report.contains("Accepted") && !report.contains("False   Invalid"), "{report}");
    }
    Ok(())
}

async fn open(site: &Site) -> Result<Tunnel> {
    let tcp = TcpStream::connect(("127.0.0.1", site.http)).await?;
    let (tunnel, _) = client_async(site.clear("ws", "/echo"), tcp).await.with_context(|| site.tails())?;
    Ok(tunnel)
}

async fn echo(tunnel: &mut Tunnel, text: &str) -> Result<()> {
    tunnel.send(Message::text(text)).await?;
    let message = tokio::time::timeout(GUARD, tunnel.next()).await?.context("the tunnel ended")??;
    ensure!(message == Message::text(text), "another message came back");
    Ok(())
}

fn until_status(site: &mut Site, path: &str, status: u16) -> Result<()> {
    let port = site.http;
    let looked = site
        .headrace
        .process
        .wait_until(GUARD, |_| (probe::get(port::on_loopback(port), path).ok()?.0 == status).then_some(()));
    looked.with_context(|| format!("{path} does not answer {status}"))
}
