//! How Headrace does with 10,000 HTTPRoutes over 1,000 Services with 5,000 endpoints on a real API server: `make scale`.
//!
//! Prints figures and judges only what must hold whatever the machine: a change is acknowledged by every pod, and what is
//! pushed for it does not grow with the table.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::cluster::edge::GATEWAY;
use headrace_e2e::cluster::node::{DATA_PLANE, admin, leader, process, ready_pods};
use headrace_e2e::cluster::{Edge, SYSTEM_NAMESPACE, apply, kubectl, wait_for};
use headrace_e2e::probe::metric;
use serde_json::json;

/// The size, unless `HEADRACE_E2E_ROUTES` and its like say otherwise.
const ROUTES: usize = 10_000;
const SERVICES: usize = 1_000;
const ENDPOINTS_OF_EACH: usize = 5;
const PODS: usize = 5;

/// Objects in one call of kubectl.
const BATCH: usize = 500;

/// How many changes are timed.
const CHANGES: usize = 20;

/// What a change may push to one pod: one route's entry of the table is under a kilobyte, with all that goes around it.
const MAX_PUSHED_OCTETS: f64 = 4_096.0;

fn routes() -> usize {
    std::env::var("HEADRACE_E2E_ROUTES").ok().and_then(|count| count.parse().ok()).unwrap_or(ROUTES)
}

#[test]
#[ignore = "takes long and needs a cluster: make scale"]
fn ten_thousand_routes() -> Result<()> {
    let edge = Edge::create("case-scale")?;
    kubectl(&["scale", "deployment", "headrace-dataplane", "-n", SYSTEM_NAMESPACE, &format!("--replicas={PODS}")])?;
    wait_for("five pods", || Ok((ready_pods(DATA_PLANE)?.len() == PODS).then_some(())))?;
    let leader = Leader::find()?;
    let at_rest = leader.figures()?;
    eprintln!("before: {at_rest}");

    let started = Instant::now();
    in_batches(SERVICES, |index| service(edge.namespace.name(), index))?;
    in_batches(SERVICES, |index| slice(edge.namespace.name(), index, 0))?;
    in_batches(routes(), |index| route(edge.namespace.name(), index, "first"))?;
    eprintln!("{} routes over {SERVICES} Services applied in {:.0} s", routes(), started.elapsed().as_secs_f64());
    settle(&leader)?;
    let full = leader.figures()?;
    eprintln!("after: {full}");
    eprintln!(
        "status writes for {} routes: {}; bytes pushed to a pod: {:.0}",
        routes(),
        full.status_writes - at_rest.status_writes,
        (full.pushed - at_rest.pushed) / PODS as f64
    );

    let mut times = Vec::new();
    let mut pushed = Vec::new();
    for change in 0..CHANGES {
        let before = leader.figures()?;
        let text = route(edge.namespace.name(), change, &format!("change-{change}")).to_string();
        let started = Instant::now();
        apply(&text)?;
        let accepted = Instant::now();
        wait_for("five acknowledgements", || Ok((leader.figures()?.acks >= before.acks + PODS as f64).then_some(())))?;
        times.push((accepted.elapsed(), started.elapsed()));
        settle(&leader)?;
        let after = leader.figures()?;
        pushed.push((after.pushed - before.pushed) / PODS as f64);
    }
    let end = leader.figures()?;
    let compiled = (end.compile_sum - full.compile_sum) / (end.compiles - full.compiles).max(1.0);
    eprintln!("a compile of all of it: {:.0} ms on average", compiled * 1000.0);
    report("one route changed, until five pods have acknowledged", &times);
    let most = pushed.iter().copied().fold(0.0, f64::max);
    eprintln!("bytes pushed to a pod for one route: {most:.0} at most");
    ensure!(most <= MAX_PUSHED_OCTETS, "{most} bytes for one route");

    let before = leader.figures()?;
    apply(&slice(edge.namespace.name(), 0, 77).to_string())?;
    settle(&leader)?;
    let after = leader.figures()?;
    let endpoint = (after.pushed - before.pushed) / PODS as f64;
    eprintln!(
        "bytes pushed to a pod for one endpoint: {endpoint:.0}; status writes for it: {}",
        after.status_writes - before.status_writes
    );
    ensure!(endpoint > 0.0 && endpoint <= MAX_PUSHED_OCTETS, "{endpoint} bytes for one endpoint");
    eprintln!("at the end: {}", leader.figures()?);

    kubectl(&["scale", "deployment", "headrace-dataplane", "-n", SYSTEM_NAMESPACE, "--replicas=2"])?;
    Ok(())
}

/// Until nothing has been pushed or written for a while.
fn settle(leader: &Leader) -> Result<()> {
    let mut last = leader.figures()?;
    let mut since = Instant::now();
    wait_for("the controller to come to rest", || {
        let now = leader.figures()?;
        if (now.pushed, now.status_writes, now.acks) != (last.pushed, last.status_writes, last.acks) {
            since = Instant::now();
        }
        last = now;
        Ok((since.elapsed() > Duration::from_secs(2)).then_some(()))
    })
}

fn in_batches(count: usize, one: impl Fn(usize) -> serde_json::Value) -> Result<()> {
    for start in (0..count).step_by(BATCH) {
        let items: Vec<_> = (start..count.min(start + BATCH)).map(&one).collect();
        apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string())?;
    }
    Ok(())
}

fn service(namespace: &str, index: usize) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": format!("s-{index}"), "namespace": namespace },
        "spec": { "ports": [{ "name": "http", "port": 80 }] },
    })
}

fn slice(namespace: &str, index: usize, salt: usize) -> serde_json::Value {
    let address = |endpoint: usize| {
        let number = index * ENDPOINTS_OF_EACH + endpoint + salt;
        format!("198.51.{}.{}", number / 250 % 250 + 1, number % 250 + 1)
    };
    let endpoints: Vec<_> = (0..ENDPOINTS_OF_EACH)
        .map(|endpoint| json!({ "addresses": [address(endpoint)], "conditions": { "ready": true } }))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("s-{index}-outside"), "namespace": namespace,
            "labels": { "kubernetes.io/service-name": format!("s-{index}") },
        },
        "endpoints": endpoints, "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    })
}

fn route(namespace: &str, index: usize, value: &str) -> serde_json::Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": format!("r-{index}"), "namespace": namespace },
        "spec": {
            "parentRefs": [{ "name": GATEWAY }],
            "hostnames": [format!("host-{}.scale.test", index / 10)],
            "rules": [{
                "matches": [{ "path": { "type": "PathPrefix", "value": format!("/part-{index}") } }],
                "filters": [{ "type": "ResponseHeaderModifier",
                    "responseHeaderModifier": { "set": [{ "name": "x-value", "value": value }] } }],
                "backendRefs": [{ "name": format!("s-{}", index % SERVICES), "port": 80 }],
            }],
        },
    })
}

fn report(what: &str, times: &[(Duration, Duration)]) {
    let mut sorted: BTreeMap<&str, Vec<u128>> = BTreeMap::new();
    for (since_accepted, since_apply) in times {
        sorted.entry("from the API server's answer").or_default().push(since_accepted.as_millis());
        sorted.entry("from kubectl's start").or_default().push(since_apply.as_millis());
    }
    for (from, mut times) in sorted {
        times.sort_unstable();
        let median = times[times.len() / 2];
        let most = times[times.len() - 1];
        eprintln!("{what}, {from}: median {median} ms, most {most} ms of {}", times.len());
    }
}

/// What the leader says of itself.
struct Figures {
    acks: f64,
    pushed: f64,
    status_writes: f64,
    table: f64,
    compile: f64,
    compile_sum: f64,
    compiles: f64,
    resident_mib: f64,
}

/// The pod that leads, which does not change here: asked for once, since kubectl takes longer than what is measured.
struct Leader {
    address: SocketAddr,
    process: u32,
}

impl Leader {
    fn find() -> Result<Self> {
        let pod = leader()?;
        Ok(Self { address: admin(&pod)?, process: process(&pod, "headrace-controller")? })
    }

    fn figures(&self) -> Result<Figures> {
        let sum = |name: &str| metric(self.address, &format!("headrace_controller_{name}"), &[]);
        let compiles = sum("compile_duration_seconds_count")?.max(1.0);
        Ok(Figures {
            acks: sum("push_acks_total")?,
            pushed: sum("push_sent_bytes_total")?,
            status_writes: sum("status_writes_total")?,
            table: sum("push_table_bytes")?,
            compile: sum("compile_duration_seconds_sum")? / compiles,
            compile_sum: sum("compile_duration_seconds_sum")?,
            compiles,
            resident_mib: resident(self.process)?,
        })
    }
}

fn resident(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? / 1024.0)
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "table {:.0} bytes, compile {:.0} ms on average, controller {:.0} MiB, {} status writes",
            self.table,
            self.compile * 1000.0,
            self.resident_mib,
            self.status_writes
        )
    }
}
