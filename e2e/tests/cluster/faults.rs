//! Things that break under traffic: none of them may break a tunnel, and afterwards a change takes effect as before.
//!
//! Each disturbs everybody, so they hold a lock, and `make e2e` runs all tests one after the other.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::cluster::edge::GATEWAY;
use headrace_e2e::cluster::node::{CONTROLLER, DATA_PLANE, leader, process, ready_pods, restarts, script, signal};
use headrace_e2e::cluster::{self, Edge, SYSTEM_NAMESPACE, get, kubectl, wait_for};
use headrace_e2e::tunnels::Tunnels;

/// Tunnels that are open while something breaks.
const TUNNELS: usize = 40;

/// How long there is no controller.
const ABSENCE: Duration = Duration::from_secs(60);

/// The Deployment of the controller.
const CONTROLLER_NAME: &str = "headrace-controller";

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An edge with tunnels, which must live through whatever comes.
struct Site {
    tunnels: Tunnels,
    edge: Edge,
    _alone: MutexGuard<'static, ()>,
}

impl Site {
    fn start(namespace: &str) -> Result<Self> {
        let alone = alone();
        let edge = Edge::create(namespace)?;
        let tunnels = Tunnels::open(&edge, &edge.url("wss", "/echo"), TUNNELS)?;
        Ok(Self { tunnels, edge, _alone: alone })
    }

    /// A change takes effect: a new path is served.
    fn change(&self, name: &str) -> Result<()> {
        self.ask_for_change(name)?;
        self.edge.wait_until_served(&format!("/bytes/7?{name}"))?;
        self.edge.wait_until_redirected(&format!("/{name}"))
    }

    fn ask_for_change(&self, name: &str) -> Result<()> {
        self.edge.apply(&format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: {name}, namespace: NAMESPACE}}, \
             spec: {{parentRefs: [{{name: GATEWAY}}], rules: [{{matches: [{{path: {{type: Exact, value: /{name}}}}}], \
             filters: [{{type: RequestRedirect, requestRedirect: {{path: {{type: ReplaceFullPath, replaceFullPath: /headers}}, \
             statusCode: 302}}}}]}}]}}}}"
        ))
    }

    /// Requests go on being answered, on new connections.
    fn serves(&self) -> Result<()> {
        for _ in 0..20 {
            let (status, body) = self.edge.get("/bytes/7")?;
            ensure!(status == 200, "{status}: {body}");
        }
        Ok(())
    }

    /// Every tunnel is still there.
    fn end(self) -> Result<()> {
        self.tunnels.close()
    }
}

fn scale(replicas: usize) -> Result<()> {
    kubectl(&["scale", "deployment", CONTROLLER_NAME, "-n", SYSTEM_NAMESPACE, &format!("--replicas={replicas}")])?;
    wait_for(&format!("{replicas} controllers"), || {
        let pods = cluster::list(SYSTEM_NAMESPACE, "pod", CONTROLLER)?;
        Ok((pods.len() == replicas && ready_pods(CONTROLLER)?.len() == replicas).then_some(()))
    })
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn the_leader_is_killed() -> Result<()> {
    let site = Site::start("case-leader")?;
    site.change("before")?;
    let first = leader()?;
    kubectl(&["delete", "pod", &first, "-n", SYSTEM_NAMESPACE, "--grace-period=0", "--force"])?;
    wait_for("another leader", || Ok((leader()? != first).then_some(())))?;
    site.change("after")?;
    site.end()
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn no_controller_runs_and_a_pod_restarts() -> Result<()> {
    let site = Site::start("case-absence")?;
    scale(0)?;
    let pod = ready_pods(DATA_PLANE)?.pop().context("no data-plane pod")?;
    let before = restarts(&pod)?;
    // This one's tunnels end with it, so the others are what is looked at: it must serve its last good table again.
    let survivors = ready_pods(DATA_PLANE)?.len() - 1;
    signal(process(&pod, "headrace-dataplane")?, "KILL")?;
    wait_for("the pod to be restarted and ready", || {
        Ok((restarts(&pod)? > before && ready_pods(DATA_PLANE)?.contains(&pod)).then_some(()))
    })?;
    std::thread::sleep(ABSENCE);
    site.serves()?;
    scale(2)?;
    site.change("after")?;
    let Site { mut tunnels, .. } = site;
    let (ended, why) = tunnels.ended();
    ensure!(survivors == 0 || ended < TUNNELS, "all {ended} tunnels ended: {why:?}");
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn the_api_server_and_etcd_are_restarted() -> Result<()> {
    let site = Site::start("case-api-server")?;
    script("restart-apiserver", &[])?;
    site.serves()?;
    site.change("after-api-server")?;
    script("restart-etcd", &[])?;
    site.serves()?;
    site.change("after-etcd")?;
    site.end()
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_kind_is_deleted_and_put_back() -> Result<()> {
    let site = Site::start("case-kind")?;
    let kind = "websocketroutes.headrace.dev";
    let definition = kubectl(&["get", "crd", kind, "-o", "json"])?;
    let mut definition: serde_json::Value = serde_json::from_str(&definition)?;
    for field in ["resourceVersion", "uid", "creationTimestamp", "generation", "managedFields"] {
        definition["metadata"].as_object_mut().context("no metadata")?.remove(field);
    }
    definition.as_object_mut().context("no object")?.remove("status");
    kubectl(&["delete", "crd", kind])?;
    site.change("without")?;
    site.serves()?;

    cluster::apply(&definition.to_string())?;
    kubectl(&["wait", "--for=condition=Established", "crd", kind, "--timeout=60s"])?;
    wait_for("the kind to be there again", || {
        site.edge.apply(
        "{apiVersion: headrace.dev/v1alpha1, kind: WebSocketRoute, metadata: {name: again, namespace: NAMESPACE}, spec: \
         {parentRefs: [{name: GATEWAY}], rules: [{matches: [{path: {type: PathPrefix, value: /echo}}], \
         backendRefs: [{name: demo, port: 80}]}]}}",
    ).map(Some)
    })?;
    let parents = "/status/parents/0/conditions";
    cluster::wait_for_condition(site.edge.namespace.name(), "websocketroute", "again", parents, "Accepted", "True")?;
    site.end()
}

/// A stopped process acknowledges nothing: what is new is not said to be programmed until it goes on.
#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_pod_cannot_acknowledge() -> Result<()> {
    let site = Site::start("case-stopped")?;
    let namespace = site.edge.namespace.name().to_owned();
    let pod = ready_pods(DATA_PLANE)?.pop().context("no data-plane pod")?;
    let stopped = process(&pod, "headrace-dataplane")?;
    signal(stopped, "STOP")?;
    let outcome = while_stopped(&namespace, &pod);
    signal(stopped, "CONT")?;
    outcome?;
    cluster::wait_for_condition(&namespace, "gateway", GATEWAY, "/status/conditions", "Programmed", "True")?;
    Ok(())
}

fn while_stopped(namespace: &str, pod: &str) -> Result<()> {
    ask_for_late(namespace)?;
    wait_for("the pod to be named", || {
        let late = late(namespace)?;
        let message = late["message"].as_str().unwrap_or_default();
        ensure!(late["status"] == "False" && message.contains(pod), "{late}");
        Ok(Some(()))
    })?;
    // It stays so until the pod is no longer ready: then no traffic comes to it, and it is not waited for.
    for _ in 0..100 {
        let programmed = late(namespace)?;
        if programmed["status"] == "True" {
            ensure!(!ready_pods(DATA_PLANE)?.iter().any(|ready| ready == pod), "{programmed}, and {pod} is ready");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Where the range that ports are allotted from begins; the lowest that is free is next.
const FIRST_ALLOTTED: u16 = 20_000;

/// A pod that cannot bind a listener's port says so: that listener is named with the pod, and everything else is served.
#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_port_cannot_be_bound() -> Result<()> {
    let site = Site::start("case-port")?;
    let pod = ready_pods(DATA_PLANE)?.pop().context("no data-plane pod")?;
    let port = next_port()?;
    // A pod keeps its ephemeral containers, so that a second run needs another name.
    let container = format!("--container=squatter-{}", std::process::id());
    kubectl(&[
        "debug",
        &pod,
        "-n",
        SYSTEM_NAMESPACE,
        "--image=headrace.dev/demo:dev",
        "--image-pull-policy=IfNotPresent",
        "--profile=restricted",
        &container,
        "--",
        "/headrace-demo",
        "--listen",
        &format!("0.0.0.0:{port}"),
    ])?;
    let squatter = wait_for("the port to be taken", || process(&pod, "headrace-demo").map(Some))?;
    let namespace = site.edge.namespace.name();
    ask_for_late(namespace)?;
    let told = wait_for("the pod to be named", || {
        let late = late(namespace)?;
        let message = late["message"].as_str().unwrap_or_default().to_owned();
        Ok((late["status"] == "False" && message.contains(&pod)).then_some(message))
    });
    signal(squatter, "KILL")?;
    told?;
    site.serves()?;
    // The port is free again, and is tried again.
    wait_for("the listener to be programmed", || Ok((late(namespace)?["status"] == "True").then_some(())))?;
    site.end()
}

/// Adds a listener to the Gateway, on a port of its own.
fn ask_for_late(namespace: &str) -> Result<()> {
    let listener = r#"[{"op": "add", "path": "/spec/listeners/-", "value":
        {"name": "late", "protocol": "HTTP", "port": 8090}}]"#;
    kubectl(&["patch", "gateway", GATEWAY, "-n", namespace, "--type", "json", "-p", listener]).map(drop)
}

/// What is said of that listener being programmed.
fn late(namespace: &str) -> Result<serde_json::Value> {
    let gateway = get(namespace, "gateway", GATEWAY)?.context("no Gateway")?;
    let status = gateway["status"]["listeners"].as_array().context("no listeners")?;
    let late = status.iter().find(|one| one["name"] == "late").context("no such listener")?;
    cluster::condition(late, "/conditions", "Programmed").cloned().context("no condition")
}

/// The port of the pods that the next listener is allotted.
fn next_port() -> Result<u16> {
    let services = kubectl(&["get", "service", "-A", "-l", "headrace.dev/controller", "-o", "json"])?;
    let services: serde_json::Value = serde_json::from_str(&services)?;
    let ports =
        services["items"].as_array().into_iter().flatten().flat_map(|service| service["spec"]["ports"].as_array());
    let taken: Vec<u64> = ports.flatten().filter_map(|port| port["targetPort"].as_u64()).collect();
    (FIRST_ALLOTTED..).find(|port| !taken.contains(&u64::from(*port))).context("no port is free")
}
