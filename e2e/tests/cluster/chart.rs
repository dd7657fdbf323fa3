//! The chart through its life: a second installation beside the first, with a pod set of its own, is installed, upgraded,
//! rolled back and uninstalled. Neither notices the other.

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::cluster::{self, Edge, get, helm, kubectl, list, wait_for};
use headrace_e2e::{client, manifest};
use serde_json::json;

const RELEASE: &str = "second";
const NAMESPACE: &str = "headrace-second";
const CLASS: &str = "second";

/// How long helm waits for pods.
const TIMEOUT: &str = "--timeout=180s";

fn release(action: &[&str], values: &[&str]) -> Result<String> {
    let chart = manifest::source_root().join("charts/headrace");
    let chart = chart.to_str().context("a strange name")?;
    let common = [
        // The first installation has the CRDs.
        "crds.install=false",
        "controller.gatewayControllerName=second.test/gateway-controller",
        "controller.ingressControllerName=second.test/ingress-controller",
        "gatewayClass.name=second",
        "ingressClass.name=second",
        "controller.replicas=1",
        "dataplane.replicas=1",
        "podSets.edge.replicas=1",
        "controller.image.tag=dev",
        "dataplane.image.tag=dev",
        "controller.resources.requests.cpu=10m",
        "dataplane.resources.requests.cpu=10m",
    ];
    let mut arguments = action.to_vec();
    arguments.extend([chart, "--namespace", NAMESPACE, "--wait", TIMEOUT]);
    common.iter().chain(values).for_each(|value| arguments.extend(["--set", *value]));
    helm(&arguments)
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_second_installation_comes_and_goes() -> Result<()> {
    let outcome = lifecycle();
    // Whatever happened: later cases are not to find it.
    let _ = helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait"]);
    let _ = kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false"]);
    outcome
}

fn lifecycle() -> Result<()> {
    let edge = Edge::create("case-chart")?;
    release(&["install", RELEASE, "--create-namespace"], &[])?;
    // A Gateway of the second class, on the pod set that only the second installation has.
    edge.apply(&format!(
        "{{apiVersion: headrace.dev/v1alpha1, kind: GatewayParameters, metadata: {{name: own, namespace: NAMESPACE}}, \
         spec: {{podSet: edge, service: {{annotations: {{tenant.test/owner: chart}}}}}}}}\n---\n\
         {{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: second, namespace: NAMESPACE}}, spec: \
         {{gatewayClassName: {CLASS}, infrastructure: {{parametersRef: {{group: headrace.dev, kind: GatewayParameters, \
         name: own}}}}, listeners: [{{name: http, protocol: HTTP, port: 80}}]}}}}\n---\n\
         {{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: second, namespace: NAMESPACE}}, spec: \
         {{parentRefs: [{{name: second}}], rules: [{{backendRefs: [{{name: demo, port: 80}}]}}]}}}}"
    ))?;
    let namespace = edge.namespace.name();
    serves(&edge)?;
    let services = list(namespace, "service", "gateway.networking.k8s.io/gateway-name=second")?;
    ensure!(
        services.len() == 1 && services[0]["metadata"]["annotations"]["tenant.test/owner"] == "chart",
        "{services:?}"
    );
    let slices = list(namespace, "endpointslice", "gateway.networking.k8s.io/gateway-name=second").unwrap_or_default();
    let pods = list(NAMESPACE, "pod", "app.kubernetes.io/component=dataplane,headrace.dev/pod-set=edge")?;
    let address = pods.first().context("the pod set has no pod")?["status"]["podIP"].to_string();
    ensure!(
        slices.is_empty() || format!("{slices:?}").contains(address.trim_matches('"')),
        "{slices:?}, not {address}"
    );

    release(&["upgrade", RELEASE], &["dataplane.logFormat=text", "podSets.edge.accessLog=true"])?;
    let arguments = || -> Result<String> {
        let deployment = get(NAMESPACE, "deployment", "second-headrace-dataplane-edge")?.context("no Deployment")?;
        Ok(deployment["spec"]["template"]["spec"]["containers"][0]["args"].to_string())
    };
    ensure!(arguments()?.contains("--access-log=stdout"), "{}", arguments()?);
    serves(&edge)?;
    // The Gateway moves to the first installation, which makes it a Service; the second one takes its own away.
    move_to_class(&edge, "headrace")?;
    move_to_class(&edge, CLASS)?;
    helm(&["rollback", RELEASE, "1", "--namespace", NAMESPACE, "--wait", TIMEOUT])?;
    ensure!(arguments()?.contains("--access-log=off"), "{}", arguments()?);
    serves(&edge)?;

    helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", TIMEOUT])?;
    let left = kubectl(&["get", "deployment,service,role,serviceaccount", "-n", NAMESPACE, "-o", "name"])?;
    let left: Vec<&str> = left.lines().filter(|name| name.contains("headrace")).collect();
    ensure!(left.is_empty(), "{left:?} is left");
    let cluster_wide = kubectl(&["get", "clusterrole,clusterrolebinding,gatewayclass,ingressclass", "-o", "name"])?;
    ensure!(!cluster_wide.contains("/second"), "{cluster_wide}");
    // The first one served all the time, and its kinds are still there.
    ensure!(
        cluster::get(namespace, "gatewayparameters", "own")?.is_some(),
        "the CRDs went with the second installation"
    );
    edge.wait_until_served("/bytes/7")
}

fn move_to_class(edge: &Edge, class: &str) -> Result<()> {
    let namespace = edge.namespace.name();
    // The pod set is one that only the second installation has.
    let infrastructure = match class {
        CLASS => json!({ "parametersRef": { "group": "headrace.dev", "kind": "GatewayParameters", "name": "own" } }),
        _ => json!(null),
    };
    let patch = json!({ "spec": { "gatewayClassName": class, "infrastructure": infrastructure } }).to_string();
    kubectl(&["patch", "gateway", "second", "-n", namespace, "--type", "merge", "-p", &patch])?;
    wait_for("the Service of the other class to be the only one", || {
        let services = list(namespace, "service", "gateway.networking.k8s.io/gateway-name=second")?;
        let names: Vec<_> = services.iter().map(|service| service["metadata"]["name"].to_string()).collect();
        Ok((names == [format!("\"second-{class}\"")]).then_some(()))
    })?;
    serves(edge)
}

fn serves(edge: &Edge) -> Result<()> {
    let address = cluster::edge::address(edge.namespace.name(), "second")?;
    wait_for("the second installation's Gateway to serve", || {
        let (status, _) = client::curl(edge, &[], &format!("http://{address}/headers"))?;
        Ok((status == 200).then_some(()))
    })
}
