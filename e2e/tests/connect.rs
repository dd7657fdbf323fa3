//! Headrace's own client, `headrace connect`, through the whole chain over each HTTP version.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::{Headrace, Process, Reached as _, Site};

/// The guard of one conversation.
const GUARD: Duration = Duration::from_secs(60);

#[test]
fn every_version_echoes_lines() -> Result<()> {
    let site = Site::start()?;
    let secure = site.secure("wss", "/echo");
    let clear = site.clear("ws", "/echo");
    // Where to, how, and what the client must say of it.
    let cases = [
        (&secure, None, "HTTP/3"),
        (&secure, Some("--http3"), "HTTP/3"),
        (&secure, Some("--http2"), "HTTP/2"),
        (&secure, Some("--http1"), "HTTP/1.1"),
        (&clear, Some("--http2"), "HTTP/2"),
        (&clear, Some("--http1"), "HTTP/1.1"),
    ];
    for (url, flag, version) in cases {
        converse(&site, url, flag, version).with_context(|| format!("{url} {flag:?}"))?;
    }
    Ok(())
}

fn converse(site: &Site, url: &str, flag: Option<&str>, version: &str) -> Result<()> {
    let mut command = Command::new(Headrace::binary()?);
    command.arg("connect").arg(url).args(flag).args(["--subprotocol", "echo.v1"]);
    command.arg("--ca").arg(site.headrace.ca()).current_dir(site.directory());
    let mut client = Process::start_with_input("connect", &mut command, site.directory(), "hello\ngrüße\n")?;
    let status = client.wait(GUARD)?;
    ensure!(status.success(), "{status}\n{}", client.tail());
    ensure!(client.stdout() == "hello\ngrüße\n", "other lines came back\n{}", client.tail());
    let said = client.stderr();
    ensure!(said.contains(&format!("connected over {version} ")), "{said}");
    ensure!(said.contains("subprotocol echo.v1") && said.contains("closed with 1000"), "{said}");
    Ok(())
}
