//! Chromium on the demo page, from outside of the cluster, over each HTTP version.

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::cluster::Edge;
use headrace_e2e::cluster::edge::HOSTNAME;
use headrace_e2e::{Reached as _, client};

#[test]
#[ignore = "needs a cluster: make e2e"]
fn the_demo_page_over_every_version() -> Result<()> {
    let edge = Edge::create("case-browser")?;
    let spki = edge.authority.spki_sha256();
    for (flag, protocol) in [("h1", "http/1.1"), ("h2", "h2"), ("h3", "h3")] {
        let directory = edge.directory().join(flag);
        std::fs::create_dir(&directory)?;
        let (url, address) = (format!("https://{HOSTNAME}/"), edge.address.to_string());
        let path = directory.to_str().context("the temporary directory has a strange name")?;
        let arguments = ["--url", &url, "--version", flag, "--spki", &spki, "--address", &address, "--directory", path];
        let name = format!("browser-{flag}");
        let seen = client::run(&edge, &name, "browser.mjs", &arguments)?;
        ensure!(seen["page"] == protocol && seen["fetched"]["protocol"] == protocol, "{flag}: {seen}");
        ensure!(seen["echo"]["closeCode"] == 4001 && seen["chat"]["text"] == "bye", "{flag}: {seen}");
        let handshakes = seen["handshakes"].as_array().context("no list of handshakes")?;
        ensure!(!handshakes.is_empty() && handshakes.iter().all(|one| one["version"] == protocol), "{flag}: {seen}");
    }
    Ok(())
}
