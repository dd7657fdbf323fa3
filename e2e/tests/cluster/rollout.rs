//! Pods that come and go under QUIC connections: a rolling restart, a pod that is killed, keys that are replaced. Where the
//! packets of a client land is kube-proxy's to decide, and it decides anew whenever a pod leaves the Service.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::cluster::edge::HOSTNAME;
use headrace_e2e::cluster::node::{DATA_PLANE, admin, leader, process, ready_pods, signal};
use headrace_e2e::cluster::{Edge, SYSTEM_NAMESPACE, kubectl, wait_for};
use headrace_e2e::tunnels::Tunnels;
use headrace_e2e::{Reached as _, client, probe, trust};
use quinn::crypto::rustls::QuicClientConfig;
use serde_json::{Value, json};

/// The Deployment of the default pod set.
const DEPLOYMENT: &str = "deployment/headrace-dataplane";

/// The Secret with its keys.
const SECRET: &str = "headrace-quic-default";

/// Pods while they are restarted.
const PODS: usize = 3;

/// How long tunnels may go on at a pod that leaves: longer than a restart of all pods takes on a busy machine.
const DRAIN: Duration = Duration::from_secs(100);

/// QUIC connections, and tunnels on each.
const CONNECTIONS: usize = 20;
const TUNNELS: usize = 10;

/// Tunnels over TCP beside them.
const TCP_TUNNELS: usize = 50;

/// Gives the pods of the Deployment back what they were, whatever happens.
struct Resized {
    replicas: String,
}

impl Resized {
    /// As many pods, each of which drains for [`DRAIN`].
    fn to(pods: usize) -> Result<Self> {
        let replicas = kubectl(&["get", DEPLOYMENT, "-n", SYSTEM_NAMESPACE, "-o", "jsonpath={.spec.replicas}"])?;
        let resized = Self { replicas };
        patch(&pods.to_string(), DRAIN)?;
        Ok(resized)
    }
}

impl Drop for Resized {
    fn drop(&mut self) {
        // What the chart says.
        let _ = patch(&self.replicas, Duration::from_secs(30));
    }
}

fn patch(replicas: &str, drain: Duration) -> Result<()> {
    let pods = kubectl(&["get", DEPLOYMENT, "-n", SYSTEM_NAMESPACE, "-o", "json"])?;
    let pods: Value = serde_json::from_str(&pods)?;
    let arguments = pods["spec"]["template"]["spec"]["containers"][0]["args"].as_array().context("no arguments")?;
    let limit = format!("--drain-timeout-seconds={}", drain.as_secs());
    let arguments: Vec<_> = arguments
        .iter()
        .filter_map(Value::as_str)
        .map(|one| if one.starts_with("--drain-timeout-seconds=") { &limit } else { one })
        .collect();
    let change = json!({ "spec": { "replicas": replicas.parse::<u32>()?, "template": { "spec": {
        "terminationGracePeriodSeconds": drain.as_secs() + 10,
        "containers": [{ "name": "dataplane", "args": arguments }],
    } } } });
    kubectl(&["patch", DEPLOYMENT, "-n", SYSTEM_NAMESPACE, "-p", &change.to_string()])?;
    rolled_out()
}

fn rolled_out() -> Result<()> {
    kubectl(&["rollout", "status", DEPLOYMENT, "-n", SYSTEM_NAMESPACE, "--timeout=180s"]).map(drop)
}

/// A counter of all pods that are ready.
fn counted_everywhere(family: &str) -> Result<f64> {
    ready_pods(DATA_PLANE)?.iter().map(|pod| probe::metric(admin(pod)?, family, &[])).sum()
}

fn holds(edge: &Edge, name: &str) -> Result<client::Running> {
    let (address, ca) = (edge.address.to_string(), edge.ca());
    let (connections, tunnels) = (CONNECTIONS.to_string(), TUNNELS.to_string());
    let arguments = [
        ["--url", &edge.named_url("https", "/echo")],
        ["--address", &address],
        ["--ca", ca.to_str().context("a strange name")?],
        ["--connections", &connections],
        ["--tunnels", &tunnels],
    ];
    let mut running = client::start(edge, name, "holds.py", &arguments.concat())?;
    running.wait_until_it_says("open")?;
    Ok(running)
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_rolling_restart_under_tunnels() -> Result<()> {
    let _resized = Resized::to(PODS)?;
    let edge = Edge::create("case-rollout")?;
    let (held, cut) = (holds(&edge, "held")?, holds(&edge, "cut")?);
    let tcp = Tunnels::open(&edge, &edge.url("wss", "/echo"), TCP_TUNNELS)?;
    let before = ready_pods(DATA_PLANE)?;
    ensure!(before.len() == PODS, "{before:?}");

    let started = Instant::now();
    kubectl(&["rollout", "restart", DEPLOYMENT, "-n", SYSTEM_NAMESPACE])?;
    rolled_out()?;
    let restarted = started.elapsed();
    let after = ready_pods(DATA_PLANE)?;
    ensure!(after.iter().all(|pod| !before.contains(pod)), "{before:?}, {after:?}");
    // A while on new pods only, with nothing but the hop to take packets where they belong.
    std::thread::sleep(Duration::from_secs(10));
    let forwarded = counted_everywhere("headrace_dataplane_hop_sent_total")?;
    ensure!(started.elapsed() < DRAIN, "the restart took {restarted:?}, longer than the drain");
    tcp.close()?;
    held.stop()?;
    let held = held.finish()?;
    eprintln!("rolling restart of {PODS} pods in {restarted:?}; {forwarded} packets from pod to pod; {held}");
    assert_eq!(held["ends"], json!({ "held": CONNECTIONS * TUNNELS }), "{held}");
    ensure!(forwarded > 0.0, "no packet came to another pod");

    // The deadline of the drain ends the others, and says so.
    let cut = cut.finish()?;
    eprintln!("at the deadline, {:?} after the restart began: {cut}", started.elapsed());
    ensure!(cut["ends"].get("held").is_none(), "{cut}");
    Ok(())
}

/// A QUIC connection that does nothing but stay.
struct Staying {
    runtime: tokio::runtime::Runtime,
    connections: Vec<quinn::Connection>,
    /// One for each, since a balancer looks at the port.
    _endpoints: Vec<quinn::Endpoint>,
}

impl Staying {
    fn open(edge: &Edge, count: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let tls = QuicClientConfig::try_from(trust::client(&edge.ca(), "h3")?)?;
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        let mut transport = quinn::TransportConfig::default();
        transport.keep_alive_interval(Some(Duration::from_millis(200)));
        transport.max_idle_timeout(Some(IDLE.try_into()?));
        config.transport_config(Arc::new(transport));
        let (address, any) = (SocketAddr::new(edge.address, 443), SocketAddr::new(any(edge.address), 0));
        let (endpoints, connections) = runtime.block_on(async {
            let (mut endpoints, mut connections) = (Vec::new(), Vec::new());
            for _ in 0..count {
                let endpoint = quinn::Endpoint::client(any)?;
                connections.push(endpoint.connect_with(config.clone(), address, HOSTNAME)?.await?);
                endpoints.push(endpoint);
            }
            anyhow::Ok((endpoints, connections))
        })?;
        Ok(Self { runtime, connections, _endpoints: endpoints })
    }

    /// When each that ends has ended, and of what, until a while after the first.
    fn ends(&self, since: Instant) -> Vec<(Duration, String)> {
        self.runtime.block_on(async {
            let mut ends = tokio::task::JoinSet::new();
            for connection in self.connections.clone() {
                ends.spawn(async move {
                    let why = connection.closed().await.to_string();
                    (since.elapsed(), why)
                });
            }
            let mut seen = Vec::new();
            while let Ok(Some(end)) = tokio::time::timeout(QUIET, ends.join_next()).await {
                seen.extend(end.ok());
            }
            seen
        })
    }
}

fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// How long a client waits for a server that is silent.
const IDLE: Duration = Duration::from_secs(30);

/// After which nothing more is expected. Beyond the idle timeout, so that what was not told is seen as well.
const QUIET: Duration = Duration::from_secs(40);

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_pod_is_killed_and_its_clients_know() -> Result<()> {
    let edge = Edge::create("case-killed")?;
    for (what, with) in
        [("a container that is killed", Killed::Container), ("a pod that is deleted by force", Killed::Pod)]
    {
        let staying = Staying::open(&edge, 16)?;
        let pod = ready_pods(DATA_PLANE)?.pop().context("no data-plane pod")?;
        let id = process(&pod, "headrace-dataplane")?;
        let killed = Instant::now();
        match with {
            Killed::Container => signal(id, "KILL")?,
            Killed::Pod => {
                kubectl(&[
                    "delete",
                    "pod",
                    &pod,
                    "-n",
                    SYSTEM_NAMESPACE,
                    "--grace-period=0",
                    "--force",
                    "--wait=false",
                ])?;
                // The kubelet would ask it first.
                signal(id, "KILL")?;
            }
        }
        let mut ends = staying.ends(killed);
        ends.sort_unstable();
        ensure!(!ends.is_empty(), "none of the clients was at {pod}");
        let latest = ends.last().map(|end| end.0).unwrap_or_default();
        let text = ends.iter().map(|(at, why)| format!("{} ms: {why}", at.as_millis())).collect::<Vec<_>>().join(", ");
        eprintln!(
            "{what}: {} of 16 clients were there, and know after {text}; without a word it is {IDLE:?}",
            ends.len()
        );
        ensure!(latest < IDLE && ends.iter().all(|(_, why)| why.contains("reset")), "{text}");
        rolled_out()?;
    }
    Ok(())
}

enum Killed {
    Container,
    Pod,
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn keys_are_replaced_twice_under_traffic() -> Result<()> {
    let edge = Edge::create("case-keys")?;
    let pods = ready_pods(DATA_PLANE)?;
    let undecodable = counted_everywhere("headrace_dataplane_quic_undecodable_total")?;
    let holds = holds(&edge, "held")?;
    let (address, ca) = (edge.address.to_string(), edge.ca());
    let arguments = [
        ["--url", &edge.named_url("https", "/")],
        ["--address", &address],
        ["--ca", ca.to_str().context("a strange name")?],
        ["--tunnels", "10"],
        ["--moves", "80"],
        ["--interval-ms", "500"],
    ];
    let moves = client::start(&edge, "moves", "moves.py", &arguments.concat())?;
    let first = encoding()?;
    // One is slow: it says nothing for a while, and nobody may use the new key before it has.
    let slow = pods.last().context("no pod")?;
    for turn in 0..2 {
        // Nothing new is published while a pod is awaited, and it would be awaited for as long as it stands still.
        wait_for("every pod to go by the newest keys", || {
            let revision = held_by_all()?;
            std::thread::sleep(SETTLED);
            Ok((revision.is_some() && held_by_all()? == revision).then_some(()))
        })?;
        let before = encoding()?;
        let since = Instant::now();
        let stopped = Stopped::stop(process(slow, "headrace-dataplane")?)?;
        let value = format!("headrace.dev/rotate=turn-{turn}-{}", std::process::id());
        kubectl(&["annotate", "--overwrite", "secret", SECRET, "-n", SYSTEM_NAMESPACE, &value])?;
        wait_for("the new configuration to be published", || {
            Ok((phases()?.iter().any(|(_, phase)| phase == "published")).then_some(()))
        })?;
        let published = since.elapsed();
        std::thread::sleep(SLOW);
        ensure!(encoding()? == before, "the new key is used though {slow} does not know it");
        drop(stopped);
        let went_on = since.elapsed();
        wait_for("the new key to be used", || Ok((encoding()? != before).then_some(())))?;
        let used = since.elapsed();
        eprintln!(
            "{slow} stopped: a key published after {published:?}, the pod went on after {went_on:?}, the key used after {used:?}"
        );
        std::thread::sleep(CALM);
    }
    ensure!(encoding()? != first, "{:?}", phases()?);
    let moved = moves.finish()?;
    holds.stop()?;
    let held = holds.finish()?;
    let after = counted_everywhere("headrace_dataplane_quic_undecodable_total")?;
    let forwarded = counted_everywhere("headrace_dataplane_hop_sent_total")?;
    eprintln!("two rotations: {:?}; {held}; {moved}; {forwarded} packets from pod to pod", phases()?);
    assert_eq!(held["ends"], json!({ "held": CONNECTIONS * TUNNELS }), "{held}");
    assert_eq!((&moved["wrong"], &moved["connectionLost"]), (&json!([]), &json!(false)), "{moved}");
    ensure!(after == undecodable, "{} packets could not be decoded", after - undecodable);
    Ok(())
}

/// How long a pod does not answer. With the time until the wish for new keys is noticed it is well below a client's patience.
const SLOW: Duration = Duration::from_secs(2);

/// After a rotation: for clients to take up what stood still.
const CALM: Duration = Duration::from_secs(5);

/// One step of a rotation follows the other, as soon as all pods hold what the one before has published.
const SETTLED: Duration = Duration::from_secs(1);

/// A process that stands still until this is dropped.
struct Stopped(u32);

impl Stopped {
    fn stop(id: u32) -> Result<Self> {
        signal(id, "STOP")?;
        Ok(Self(id))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = signal(self.0, "CONT");
    }
}

/// What the leader says of the pod set's keys.
fn keys() -> Result<Value> {
    let (code, status) = probe::get(admin(&leader()?)?, "/status")?;
    ensure!(code == 200, "{code}: {status}");
    let status: Value = serde_json::from_str(&status)?;
    Ok(status["quic"]["podSets"]["default"].clone())
}

/// The revision of the keys, once every pod that is there goes by it.
fn held_by_all() -> Result<Option<u64>> {
    let keys = keys()?;
    let revision = keys["revision"].as_u64();
    let pods = keys["pods"].as_array().with_context(|| keys.to_string())?;
    let mut live = pods.iter().filter(|pod| pod["standing"] == "live");
    Ok(revision.filter(|_| live.all(|pod| pod["holds"].as_u64() == revision)))
}

/// The configurations of the pod set by their numbers, with their phases.
fn phases() -> Result<Vec<(u64, String)>> {
    let keys = keys()?;
    let configurations = keys["configurations"].as_array().with_context(|| keys.to_string())?;
    configurations
        .iter()
        .map(|one| {
            let phase = one["phase"].as_str().context("no phase")?.to_lowercase();
            Ok((one["number"].as_u64().context("no number")?, phase))
        })
        .collect()
}

/// The number of the configuration that encodes.
fn encoding() -> Result<Option<u64>> {
    Ok(phases()?.into_iter().find(|(_, phase)| phase == "encoding").map(|(number, _)| number))
}
