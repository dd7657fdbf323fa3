//! Chromium on the demo page, over each HTTP version. Its own net log tells what carried each tunnel.

use anyhow::{Context as _, Result};
use headrace_e2e::{Reached as _, Site, client};
use serde_json::{Value, json};

/// What Chromium calls a version, and what the page should make of it.
struct Expected {
    flag: &'static str,
    protocol: &'static str,
    shown: &'static str,
    /// What the page says of HTTP/3 when it is loaded first, and again.
    udp: [&'static str; 2],
    notice: &'static str,
}

const BLOCKED: &str = "HTTP/3 was advertised but not used: UDP may be blocked, or the browser does not trust the \
                       certificate for QUIC.";

#[test]
fn http1() -> Result<()> {
    check(&Expected {
        flag: "h1",
        protocol: "http/1.1",
        shown: "This page came over HTTP/1.1",
        udp: ["reload", "blocked"],
        notice: BLOCKED,
    })
}

#[test]
fn http2() -> Result<()> {
    check(&Expected {
        flag: "h2",
        protocol: "h2",
        shown: "This page came over HTTP/2",
        udp: ["reload", "blocked"],
        notice: BLOCKED,
    })
}

#[test]
fn http3() -> Result<()> {
    check(&Expected {
        flag: "h3",
        protocol: "h3",
        shown: "This page came over HTTP/3",
        udp: ["h3", "h3"],
        notice: "HTTP/3 is in use: this page and its requests travel over QUIC.",
    })
}

fn check(expected: &Expected) -> Result<()> {
    let mut site = Site::start()?;
    let spki = site.headrace.spki()?;
    let directory = site.directory().join("browser");
    std::fs::create_dir(&directory)?;
    let url = site.secure("https", "/");
    let path = directory.to_str().context("the temporary directory has a strange name")?;
    let arguments = ["--url", &url, "--version", expected.flag, "--spki", &spki, "--directory", path];
    let seen = client::run(&site, "browser", "browser.mjs", &arguments).with_context(|| site.tails())?;

    assert_eq!(seen["page"], expected.protocol);
    assert_eq!(seen["versionShown"], expected.shown);
    assert_eq!(seen["udp"], json!(expected.udp));
    assert_eq!(seen["notice"], expected.notice);
    assert_eq!(seen["fetched"]["protocol"], expected.protocol);
    assert_eq!(seen["fetched"]["length"], 65536);
    let advertised = seen["fetched"]["advertised"].as_str().context("no alt-svc")?;
    assert!(advertised.contains(&format!("h3=\":{}\"", site.https)), "{advertised}");

    let echo = &seen["echo"];
    assert_eq!(echo["subprotocol"], "echo.v1");
    assert_eq!(echo["messages"], json!(["hello", "grüße", { "binary": [0, 1, 127, 128, 255] }, 100_000]));
    assert_eq!((&echo["closeCode"], &echo["closeReason"]), (&json!(4001), &json!("done")));
    assert_eq!(echo["wasClean"], true);
    assert_eq!(seen["refused"], "Error: the tunnel did not open");
    assert_eq!(seen["chat"], json!({ "subprotocol": "chat.v1", "text": "bye", "code": 4002 }));

    // The refused tunnel is all that the console may complain of.
    let errors = seen["errors"].as_array().context("no list of errors")?;
    assert!(errors.iter().all(|error| error.as_str().is_some_and(|error| error.contains("/nowhere"))), "{errors:?}");

    let handshakes = seen["handshakes"].as_array().context("no list of handshakes")?;
    let other: Vec<&Value> = handshakes.iter().filter(|one| one["version"] != expected.protocol).collect();
    assert!(other.is_empty(), "{other:?}");
    let to = |path: &str| handshakes.iter().filter(|one| one["path"] == path).count();
    assert_eq!((to("/echo"), to("/nowhere"), to("/chat?name=ann"), to("/chat?name=bob")), (7, 1, 1, 1));

    // PNG, section 5.2; and far more than an empty page's.
    let screenshot = std::fs::read(directory.join("page.png"))?;
    assert!(screenshot.starts_with(b"\x89PNG\r\n\x1a\n") && screenshot.len() > 20_000);
    Ok(())
}
