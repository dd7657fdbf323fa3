//! Peers that break the protocol on one side, and what the other side and a neighbour notice. What each octet is answered
//! with is tested where WebTransport is spoken (dataplane/http3/tests/webtransport/hostile.rs); here it passes through.

#![allow(clippy::print_stdout, reason = "figures are for whoever runs the tests")]

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::{Process, Reached as _, client};
use serde_json::{Value, json};

use crate::peers::{GUARD, Peer};
use crate::stage::{Ground, Said as _, Stage, Target, To};

/// H3_MESSAGE_ERROR (RFC 9114, section 8.1), which the draft asks for.
const MESSAGE_ERROR: &str = "0x10e";
/// H3_DATAGRAM_ERROR (RFC 9297, section 5.2), also of a capsule that is cut off.
const DATAGRAM_ERROR: &str = "0x33";

/// H3_SETTINGS_ERROR (RFC 9114, section 8.1) ends the connection.
const SETTINGS_ERROR: &str = "connection 0x109";

/// What twenty million octets of capsules may cost that nobody keeps.
const FLOOD_COSTS: u64 = 8 << 20;

fn stage(peer: Peer) -> Result<(Stage, Process)> {
    let ground = Ground::new()?;
    let (backend, port) = peer.stand(&ground)?;
    Ok((ground.serve(&[Target { name: "backend", to: To::Session(port) }])?, backend))
}

fn run(stage: &Stage, what: &str) -> Result<Value> {
    let (url, ca) = (stage.url("backend"), stage.ca());
    let arguments = [what, "--url", &url, "--ca", ca.to_str().context("the directory has a strange name")?];
    client::run(stage, what, "wt_hostile.py", &arguments).said(stage)
}

/// The most memory that a process ever had, in octets.
fn resident(process: &Process) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}

#[test]
fn capsules_of_a_client() -> Result<()> {
    let (stage, mut backend) = stage(Peer::GoDialer)?;
    // A session that is like every other, so that what the first one costs is not taken for the flood's.
    Peer::Aioquic.visit(&stage, "backend", &[])?;
    let before = resident(&stage.headrace.process)?;
    let seen = run(&stage, "capsules")?;
    let expected = json!({
        "closes": {
            "a reason of 1024 octets": "fin",
            "a reason of 1025 octets": MESSAGE_ERROR,
            "a close of 2^62 octets": MESSAGE_ERROR,
            "a reason that is not UTF-8": MESSAGE_ERROR,
            "a close without a code": MESSAGE_ERROR,
            "octets after the close": MESSAGE_ERROR,
            "a capsule cut off": DATAGRAM_ERROR,
        },
        "afterTheFlood": "both echo",
    });
    assert_eq!(seen, expected);
    let grown = resident(&stage.headrace.process)?.saturating_sub(before);
    println!("a flood of capsules took {grown} octets of memory");
    ensure!(grown < FLOOD_COSTS, "{grown} octets for a flood of capsules");

    // The backend hears of the one that is right, and loses the others.
    let whole = "x".repeat(1024);
    backend.wait_for_line(GUARD, |line| {
        let said: Value = serde_json::from_str(line).ok()?;
        (said["closed"] == 0 && said["reason"] == whole.as_str()).then_some(())
    })?;
    let lost = |process: &Process| process.stdout().lines().filter(|line| line.contains("\"lost\"")).count();
    backend.wait_until(GUARD, |process| (lost(process) >= 5).then_some(()))?;
    ensure!(!backend.stdout().contains(&"x".repeat(1025)), "more than 1024 octets of a reason");
    Ok(())
}

#[test]
fn capsules_of_a_backend() -> Result<()> {
    let (stage, _backend) = stage(Peer::Aioquic)?;
    Peer::Aioquic.visit(&stage, "backend", &[])?;
    let before = resident(&stage.headrace.process)?;
    let seen = run(&stage, "backend")?;
    let expected = json!({
        "reason": MESSAGE_ERROR,
        "utf8": MESSAGE_ERROR,
        "code": MESSAGE_ERROR,
        // The close itself was right, and went to the client before the rest came.
        "after": "fin",
        "flood": "taken",
    });
    assert_eq!(seen, expected);
    let grown = resident(&stage.headrace.process)?.saturating_sub(before);
    println!("a flood of capsules took {grown} octets of memory");
    ensure!(grown < FLOOD_COSTS, "{grown} octets for a flood of capsules");
    Ok(())
}

#[test]
fn settings_that_contradict_each_other() -> Result<()> {
    let (stage, _backend) = stage(Peer::GoDialer)?;
    let seen = run(&stage, "settings")?;
    let expected = json!({
        "as they are": "200",
        "WebTransport without datagrams": format!("reset {MESSAGE_ERROR}"),
        "datagrams neither on nor off": SETTINGS_ERROR,
        "extended CONNECT neither on nor off": SETTINGS_ERROR,
        "the same one twice": SETTINGS_ERROR,
        "every draft off": format!("reset {MESSAGE_ERROR}"),
        "no draft": format!("reset {MESSAGE_ERROR}"),
        // The request shows a draft in which nothing has to be said in settings by a client.
        "every draft off, and a request of draft 02": "200",
        "drafts 02, 07 and 15 at once": "200",
    });
    assert_eq!(seen, expected);
    Ok(())
}
