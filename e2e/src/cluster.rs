//! The cluster under test, as its user sees it: `kubectl`, and addresses outside of the node.
//!
//! `make e2e` brings the cluster up, installs the chart and runs the tests of `tests/cluster`, with `KUBECONFIG` set and
//! `kubectl` and `helm` on the path. Owns how objects are applied, looked at and waited for. Must not know what any test
//! makes of them.

pub mod edge;
pub mod namespace;
pub mod node;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

pub use edge::Edge;
pub use namespace::Namespace;

/// How often a wait looks again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The guard of whatever a cluster is to bring about: far above what it takes on a busy machine.
pub const GUARD: Duration = Duration::from_secs(120);

/// The namespace that the chart is installed in.
pub const SYSTEM_NAMESPACE: &str = "headrace-system";

/// Runs `kubectl` and returns what it wrote to standard output.
pub fn kubectl(arguments: &[&str]) -> Result<String> {
    text(arguments, run("kubectl", arguments, "")?)
}

/// Runs `helm` and returns what it wrote to standard output.
pub fn helm(arguments: &[&str]) -> Result<String> {
    text(arguments, run("helm", arguments, "")?)
}

/// Applies manifests.
pub fn apply(manifests: &str) -> Result<()> {
    let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    text(&arguments, run("kubectl", &arguments, manifests)?).map(drop)
}

/// Applies manifests that the API server is to refuse, and returns what it says.
pub fn refused(manifests: &str) -> Result<String> {
    let output = run("kubectl", &["apply", "--server-side", "-f", "-"], manifests)?;
    ensure!(!output.status.success(), "the API server takes\n{manifests}");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// An object as JSON; absent where there is none.
pub fn get(namespace: &str, kind: &str, name: &str) -> Result<Option<Value>> {
    let arguments = ["get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found"];
    let json = text(&arguments, run("kubectl", &arguments, "")?)?;
    if json.trim().is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&json)?)) }
}

/// The objects of a kind that a selector names.
pub fn list(namespace: &str, kind: &str, selector: &str) -> Result<Vec<Value>> {
    let json = kubectl(&["get", kind, "-n", namespace, "-l", selector, "-o", "json"])?;
    let list: Value = serde_json::from_str(&json)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// Waits until `look` finds something. What it fails with is an error at the deadline only.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + GUARD;
    loop {
        let last = match look() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if Instant::now() >= deadline {
            match last {
                Some(error) => return Err(error.context(format!("waited {GUARD:?} for {what}"))),
                None => bail!("waited {GUARD:?} for {what}"),
            }
        }
        sleep(LOOK_EVERY);
    }
}

/// Waits until a condition of an object has that status at the object's current generation, and returns it.
///
/// `conditions` is a JSON pointer to the list, such as `/status/conditions`.
pub fn wait_for_condition(
    namespace: &str,
    kind: &str,
    name: &str,
    conditions: &str,
    r#type: &str,
    status: &str,
) -> Result<Value> {
    let what = format!("{kind} {namespace}/{name} to be {type}={status}");
    wait_for(&what, || {
        let object = get(namespace, kind, name)?.context("it does not exist")?;
        let found =
            condition(&object, conditions, r#type).with_context(|| format!("it has no such condition: {object}"))?;
        let current = found["observedGeneration"] == object["metadata"]["generation"];
        ensure!(current && found["status"] == status, "it is {found}");
        Ok(Some(found.clone()))
    })
}

/// A condition of an object, at a JSON pointer to the list.
pub fn condition<'o>(object: &'o Value, conditions: &str, r#type: &str) -> Option<&'o Value> {
    object.pointer(conditions)?.as_array()?.iter().find(|condition| condition["type"] == r#type)
}

fn run(program: &str, arguments: &[&str], input: &str) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {program}; these tests need `make e2e`"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    // In a thread of its own: a child that writes before it has read everything would wait for us.
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    // A child that ends without reading has said why.
    let _ = writer.join();
    Ok(output)
}

fn text(arguments: &[&str], output: Output) -> Result<String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {}\n{stderr}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
