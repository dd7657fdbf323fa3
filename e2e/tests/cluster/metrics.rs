//! What Prometheus scrapes of both programs: names and help that its own tool accepts, and values that tell of what is there.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::cluster::Edge;
use headrace_e2e::cluster::node::{CONTROLLER, DATA_PLANE, admin, leader, ready_pods};
use headrace_e2e::probe::{get, metric};
use headrace_e2e::tunnels::Tunnels;

#[test]
#[ignore = "needs a cluster: make e2e"]
fn promtool_accepts_every_name() -> Result<()> {
    for pod in [ready_pods(CONTROLLER)?, ready_pods(DATA_PLANE)?].concat() {
        let (status, text) = get(admin(&pod)?, "/metrics")?;
        ensure!(status == 200, "{pod}: {status}");
        let mut promtool = Command::new("promtool");
        promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut promtool = promtool.spawn().context("promtool is not on the path; `make e2e` builds it")?;
        promtool.stdin.take().context("no standard input")?.write_all(text.as_bytes())?;
        let output = promtool.wait_with_output()?;
        let said = [output.stdout, output.stderr].concat();
        ensure!(output.status.success() && said.is_empty(), "{pod}: {}", String::from_utf8_lossy(&said));
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn figures_tell_of_what_is_there() -> Result<()> {
    let edge = Edge::create("case-metrics")?;
    let tunnels = Tunnels::open(&edge, &edge.url("wss", "/echo"), 10)?;
    let mut open = 0.0;
    for pod in ready_pods(DATA_PLANE)? {
        open += metric(admin(&pod)?, "headrace_dataplane_tunnels_open", &[])?;
    }
    ensure!(open >= 10.0, "{open} tunnels are counted");
    let leader = admin(&leader()?)?;
    ensure!(metric(leader, "headrace_controller_leader", &[])? == 1.0, "the leader does not say that it leads");
    ensure!(metric(leader, "headrace_controller_objects", &["kind=\"Gateway\""])? >= 1.0, "no Gateway is counted");
    let pods = ready_pods(DATA_PLANE)?.len() as f64;
    let subscribed = metric(leader, "headrace_controller_push_subscribers", &[])?;
    ensure!(subscribed >= pods, "{subscribed} subscribers of {pods} pods");
    tunnels.close()
}
