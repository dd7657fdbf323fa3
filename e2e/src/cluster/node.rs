//! What is done to the node of the cluster under test from below: processes killed and stopped, the API server restarted.
//!
//! Only where the cluster is our own (`e2e/cluster`), whose processes are this machine's.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{SYSTEM_NAMESPACE, get, kubectl, list, wait_for};
use crate::manifest;

/// The labels of the data plane's pods.
pub const DATA_PLANE: &str = "app.kubernetes.io/name=headrace,app.kubernetes.io/component=dataplane";

/// The labels of the controller's pods.
pub const CONTROLLER: &str = "app.kubernetes.io/name=headrace,app.kubernetes.io/component=controller";

/// Runs a script of `e2e/cluster`.
pub fn script(name: &str, arguments: &[&str]) -> Result<String> {
    let path: PathBuf = manifest::source_root().join("e2e/cluster").join(name);
    let output = Command::new(&path).args(arguments).output().with_context(|| path.display().to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {}\n{said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Names of the pods with these labels that are ready.
pub fn ready_pods(selector: &str) -> Result<Vec<String>> {
    let pods = list(SYSTEM_NAMESPACE, "pod", selector)?;
    Ok(pods
        .iter()
        .filter(|pod| is_ready(pod))
        .filter_map(|pod| pod["metadata"]["name"].as_str())
        .map(str::to_owned)
        .collect())
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let ready = |one: &Value| one["type"] == "Ready" && one["status"] == "True";
    pod["metadata"]["deletionTimestamp"].is_null() && conditions.is_some_and(|all| all.iter().any(ready))
}

/// Where a pod's metrics and health are.
pub fn admin(pod: &str) -> Result<SocketAddr> {
    let object = kubectl(&["get", "pod", pod, "-n", SYSTEM_NAMESPACE, "-o", "json"])?;
    let object: Value = serde_json::from_str(&object)?;
    let address: IpAddr = object["status"]["podIP"].as_str().context("no address")?.parse()?;
    let ports = object["spec"]["containers"][0]["ports"].as_array().context("no ports")?;
    let port = ports.iter().find(|port| port["name"] == "admin").context("no port is called admin")?;
    Ok(SocketAddr::new(address, port["containerPort"].as_u64().context("no port")?.try_into()?))
}

/// The pod that holds the controllers' Lease.
pub fn leader() -> Result<String> {
    wait_for("a leader", || {
        let lease = get(SYSTEM_NAMESPACE, "lease", "headrace-controller")?.context("no Lease")?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        Ok(ready_pods(CONTROLLER)?.into_iter().find(|pod| holder.starts_with(pod.as_str())))
    })
}

/// How often the containers of a pod were restarted.
pub fn restarts(pod: &str) -> Result<u64> {
    let count = "jsonpath={.status.containerStatuses[0].restartCount}";
    Ok(kubectl(&["get", "pod", pod, "-n", SYSTEM_NAMESPACE, "-o", count])?.trim().parse()?)
}

/// The process of a pod's program, as this machine numbers it.
pub fn process(pod: &str, program: &str) -> Result<u32> {
    let uid = kubectl(&["get", "pod", pod, "-n", SYSTEM_NAMESPACE, "-o", "jsonpath={.metadata.uid}"])?;
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(id) = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else { continue };
        // A process may be gone by the time that it is looked at.
        let read = |file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
        if read("cgroup").contains(&uid)
            && read("cmdline").split('\0').next().is_some_and(|first| first.ends_with(program))
        {
            return Ok(id);
        }
    }
    anyhow::bail!("no process of {program} in pod {pod} ({uid})")
}

/// Sends a signal to a process, by the signal's name without `SIG`.
pub fn signal(process: u32, signal: &str) -> Result<()> {
    let status = Command::new("kill").arg(format!("-{signal}")).arg(process.to_string()).status()?;
    ensure!(status.success(), "cannot signal {process}");
    Ok(())
}
