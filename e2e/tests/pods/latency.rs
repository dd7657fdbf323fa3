//! What the hop adds to a round trip. It is reported, and not asserted: machines differ.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::{Headrace, Process, Reached as _};
use serde_json::Value;

use crate::network::inside;
use crate::stage::{HOST, Stage};

/// Echoes of one run.
const MESSAGES: u32 = 4_000;

/// The guard of one run.
const GUARD: Duration = Duration::from_secs(120);

#[test]
fn of_an_echo_over_the_hop() -> Result<()> {
    inside("latency::of_an_echo_over_the_hop", || {
        let mut stage = Stage::start(2)?;
        let direct = echoes(&mut stage, false)?;
        let over = echoes(&mut stage, true)?;
        let (_, received) = stage.forwarded()?;
        ensure!(received[0] > f64::from(MESSAGES) / 2.0, "{received:?} of {MESSAGES} echoes came by the hop");
        println!(
            "an echo of 64 octets through the relay: p50 {} us and p99 {} us direct, {} us and {} us over the hop",
            direct["p50_us"], direct["p99_us"], over["p50_us"], over["p99_us"],
        );
        stage.nothing_refused()
    })
}

/// Echoes one by one, on one tunnel at the first pod: all its packets come there, or to the other pod once it is open.
fn echoes(stage: &mut Stage, over_the_hop: bool) -> Result<Value> {
    let relay = stage.relay(&[0])?;
    let url = format!("wss://{HOST}:{}/echo", relay.address.port());
    let mut command = Command::new(Headrace::binary()?);
    command.args(["bench", "--http3", "--output", "json", "--size", "64", "--messages", &MESSAGES.to_string()]);
    command.args(["--url", &url, "--resolve", &format!("{HOST}:{}:{}", relay.address.port(), relay.address.ip())]);
    command.arg("--ca").arg(stage.ca());
    let name = if over_the_hop { "over" } else { "direct" };
    let mut process = Process::start(name, &mut command, stage.directory())?;
    if over_the_hop {
        stage.pods[0].wait_for("tunnels_open", &[], |open| open > 0.0)?;
        relay.turn_to(stage.addresses(&[1]));
    }
    let status = process.wait(GUARD)?;
    ensure!(status.success(), "{status}\n{}\n{}", process.tail(), stage.tails());
    let said = process.stdout();
    let last = said.trim().lines().last().context("the load says nothing")?;
    serde_json::from_str(last).with_context(|| said.clone())
}
