//! Clients whose address and port change twenty times, under load and in the middle of transfers.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::manifest::source_root;
use headrace_e2e::{Reached as _, client};
use serde_json::{Value, json};

use crate::network::inside;
use crate::stage::{HOST, Stage};

/// How often a client moves.
const MOVES: usize = 20;

const TUNNELS: usize = 20;

/// How often the NAT before Chromium forgets. A visit takes a few seconds, and some of its connections less.
const FORGET_EVERY: Duration = Duration::from_millis(100);

/// Where the program of the client in Go is built.
const GO_CLIENT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/quic_go");

/// aioquic binds new sockets: its own address and port are others, and so is the pod.
#[test]
fn aioquic_between_three_pods() -> Result<()> {
    inside("moves::aioquic_between_three_pods", || moving(3, By::Aioquic))
}

#[test]
fn aioquic_between_two_pods() -> Result<()> {
    inside("moves::aioquic_between_two_pods", || moving(2, By::Aioquic))
}

/// quic-go migrates: it probes a path before it uses it, and has another connection ID there.
#[test]
fn quic_go_between_three_pods() -> Result<()> {
    // Before the network is one without a way out, since its modules come from far away the first time.
    build_go_client()?;
    inside("moves::quic_go_between_three_pods", || moving(3, By::QuicGo))
}

/// Chromium does not know that it moves: the NAT forgets it, again and again, while the demo page is used.
#[test]
fn chromium_behind_a_nat_that_forgets() -> Result<()> {
    inside("moves::chromium_behind_a_nat_that_forgets", || {
        let stage = Stage::start(3)?;
        let relay = stage.relay(&[0, 1, 2])?;
        let directory = stage.directory().join("browser");
        std::fs::create_dir(&directory)?;
        let url = format!("https://{HOST}:{}/", relay.address.port());
        let (address, spki) = (relay.address.ip().to_string(), stage.spki_sha256());
        let path = directory.to_str().context("a strange name")?;
        let arguments = ["--url", &url, "--version", "h3", "--spki", &spki, "--directory", path, "--address", &address];
        let is_done = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    std::thread::sleep(FORGET_EVERY);
                    relay.forget();
                }
            });
            let seen = client::run(&stage, "browser", "browser.mjs", &arguments);
            is_done.store(true, Ordering::Relaxed);
            seen
        });
        let seen = seen.with_context(|| stage.tails())?;
        assert_eq!((&seen["page"], &seen["udp"]), (&json!("h3"), &json!(["h3", "h3"])), "{seen}");
        assert_eq!(seen["fetched"]["length"], 65536);
        assert_eq!(seen["echo"]["messages"], json!(["hello", "grüße", { "binary": [0, 1, 127, 128, 255] }, 100_000]));
        assert_eq!((&seen["echo"]["closeCode"], &seen["echo"]["wasClean"]), (&json!(4001), &json!(true)), "{seen}");
        assert_eq!(seen["chat"], json!({ "subprotocol": "chat.v1", "text": "bye", "code": 4002 }));
        let handshakes = seen["handshakes"].as_array().context("no handshakes")?;
        ensure!(handshakes.iter().all(|one| one["version"] == "h3"), "{handshakes:?}");

        let ((flows, to), (sent, received)) = (relay.flows(), stage.forwarded()?);
        ensure!(
            flows > MOVES / 4 && to.len() > 1 && sent.iter().sum::<f64>() > 0.0,
            "{flows} addresses, {to:?}, {sent:?}"
        );
        println!("Chromium, 3 pods: {flows} addresses; forwarded {sent:?}, taken {received:?}");
        stage.nothing_refused()
    })
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Aioquic,
    QuicGo,
}

fn moving(pods: usize, by: By) -> Result<()> {
    let stage = Stage::start(pods)?;
    let relay = stage.relay(&(0..pods).collect::<Vec<_>>())?;
    let url = format!("https://{HOST}:{}", relay.address.port());
    let (address, ca) = (relay.address.ip().to_string(), stage.ca());
    let (moves, tunnels) = (MOVES.to_string(), TUNNELS.to_string());
    let arguments = ["--url", &url, "--address", &address, "--ca", ca.to_str().context("a strange name")?];
    let arguments = [&arguments[..], &["--moves", &moves, "--tunnels", &tunnels]].concat();
    let seen = match by {
        By::Aioquic => client::run(&stage, "moves", "moves.py", &arguments),
        By::QuicGo => client::command(stage.directory(), "moves", Command::new(GO_CLIENT).args(&arguments))
            .and_then(|said| Ok(serde_json::from_str::<Value>(&said)?)),
    };
    let seen = seen.with_context(|| stage.tails())?;

    assert_eq!(seen["moves"], MOVES, "{seen}");
    assert_eq!(seen["wrong"], json!([]), "every octet once, and in its place");
    assert_eq!(seen["ends"], json!(vec!["1000 fin"; TUNNELS]), "no tunnel closed before it was told to");
    ensure!(seen["movesAmidTransfer"].as_u64() >= Some(MOVES as u64 / 2), "{seen}");

    let (flows, to) = relay.flows();
    let (sent, received) = stage.forwarded()?;
    ensure!(flows > MOVES && to.len() == pods, "{flows} addresses, {to:?}");
    ensure!(sent.iter().sum::<f64>() > 0.0 && received.iter().sum::<f64>() > 0.0, "{sent:?} {received:?}");
    stage.nothing_refused()?;
    println!(
        "{by:?}, {pods} pods: {flows} addresses, {} echoes, {} octets downloaded; forwarded {sent:?}, taken {received:?}",
        seen["echoes"], seen["downloaded"],
    );
    Ok(())
}

fn build_go_client() -> Result<()> {
    let source = source_root().join("e2e/clients/quic_go");
    let mut go = Command::new("go");
    let built = go.arg("build").arg("-C").arg(source).args(["-o", GO_CLIENT, "."]).output().context("no go")?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Ok(())
}
