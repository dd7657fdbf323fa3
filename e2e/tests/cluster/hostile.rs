//! Objects of tenants who mean no good, or no harm: each is told what is wrong with its own, and everybody else is served.

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::cluster::edge::GATEWAY;
use headrace_e2e::cluster::{self, Edge, Namespace, apply, get, kubectl, refused, wait_for};
use headrace_e2e::tunnels::Tunnels;
use serde_json::json;

/// What an object may be annotated with: Kubernetes takes 256 KiB in all.
const ANNOTATION_OCTETS: usize = 64 * 1024;

/// Listeners of one ListenerSet, which is what the Gateway API allows.
const LISTENERS_IN_SET: usize = 64;

/// ListenerSets, so that there are a thousand listeners and a few.
const LISTENER_SETS: usize = 16;

/// Routes that come and go, and how often.
const FLAPPING: usize = 300;
const FLAPS: usize = 6;

#[test]
#[ignore = "needs a cluster: make e2e"]
fn annotations_of_64_kib() -> Result<()> {
    let edge = Edge::create("case-annotations")?;
    let annotation = "x".repeat(ANNOTATION_OCTETS);
    for kind in ["gateway", "httproute", "websocketroute", "service", "secret"] {
        let name = match kind {
            "gateway" => GATEWAY,
            "secret" => cluster::edge::CERTIFICATE,
            _ => "demo",
        };
        let patch = json!({ "metadata": { "annotations": { "tenant.test/large": annotation } } });
        kubectl(&["patch", kind, name, "-n", edge.namespace.name(), "--type", "merge", "-p", &patch.to_string()])?;
    }
    edge.apply(ROUTE)?;
    edge.wait_until_redirected("/late")
}

const ROUTE: &str = "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: late, namespace: \
    NAMESPACE}, spec: {parentRefs: [{name: GATEWAY}], rules: [{matches: [{path: {type: Exact, value: /late}}], filters: \
    [{type: RequestRedirect, requestRedirect: {statusCode: 302}}]}]}}";

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_thousand_listeners() -> Result<()> {
    let edge = Edge::create("case-listeners")?;
    let namespace = edge.namespace.name();
    kubectl(&[
        "patch",
        "gateway",
        GATEWAY,
        "-n",
        namespace,
        "--type",
        "merge",
        "-p",
        r#"{"spec":{"allowedListeners":{"namespaces":{"from":"Same"}}}}"#,
    ])?;
    for set in 0..LISTENER_SETS {
        let listeners: Vec<_> = (0..LISTENERS_IN_SET)
            .map(|index| {
                let hostname = format!("host-{index}.set-{set}.test");
                json!({ "name": format!("l{index}"), "protocol": "HTTP", "port": 80, "hostname": hostname })
            })
            .collect();
        apply(
            &json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ListenerSet",
                "metadata": { "name": format!("set-{set}"), "namespace": namespace },
                "spec": { "parentRef": { "name": GATEWAY }, "listeners": listeners },
            })
            .to_string(),
        )?;
    }
    wait_for("every set to be programmed", || {
        for set in 0..LISTENER_SETS {
            let object = get(namespace, "listenerset", &format!("set-{set}"))?.context("no such set")?;
            let programmed = cluster::condition(&object, "/status/conditions", "Programmed").context("no condition")?;
            ensure!(programmed["status"] == "True", "set {set}: {programmed}");
        }
        Ok(Some(()))
    })?;
    edge.apply(ROUTE)?;
    edge.wait_until_redirected("/late")
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn hostnames_that_overlap_in_every_way() -> Result<()> {
    let edge = Edge::create("case-overlaps")?;
    let namespace = edge.namespace.name();
    // The demo's own route would be the oldest on all of them.
    let patch = json!({ "spec": { "parentRefs": [{ "name": GATEWAY, "sectionName": "https" }] } }).to_string();
    kubectl(&["patch", "httproute", "demo", "-n", namespace, "--type", "merge", "-p", &patch])?;
    let names = [None, Some("*.test"), Some("*.headrace.test"), Some("a.headrace.test"), Some("*.a.headrace.test")];
    for (index, listener) in names.iter().enumerate() {
        let patch = json!([{ "op": "add", "path": "/spec/listeners/-", "value": {
            "name": format!("overlap-{index}"), "protocol": "HTTP", "port": 8080, "hostname": listener,
        } }]);
        kubectl(&["patch", "gateway", GATEWAY, "-n", namespace, "--type", "json", "-p", &patch.to_string()])?;
        for (other, route) in names.iter().enumerate() {
            let route: Vec<&str> = route.iter().copied().collect();
            apply(
                &json!({
                    "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                    "metadata": { "name": format!("overlap-{index}-{other}"), "namespace": namespace },
                    "spec": {
                        "parentRefs": [{ "name": GATEWAY, "sectionName": format!("overlap-{index}") }],
                        "hostnames": route,
                        "rules": [{ "filters": [{ "type": "ResponseHeaderModifier", "responseHeaderModifier": {
                            "set": [{ "name": "x-route", "value": format!("{index}-{other}") }] } }],
                            "backendRefs": [{ "name": "demo", "port": 80 }] }],
                    },
                })
                .to_string(),
            )?;
        }
    }
    // The listener with the most specific name that fits. Most of its routes come to the same hosts there, so the first wins.
    for (host, expected) in [
        ("a.headrace.test", "3-0"),
        ("b.headrace.test", "2-0"),
        ("b.a.headrace.test", "4-0"),
        ("b.test", "1-0"),
        ("b.example", "0-0"),
    ] {
        let url = format!("http://{}:8080/bytes/1", edge.address);
        let header = format!("Host: {host}");
        wait_for(&format!("{host} to reach {expected}"), || {
            let (_, answer) = headrace_e2e::client::curl(&edge, &["--head", "-H", &header], &url)?;
            ensure!(answer.contains(&format!("x-route: {expected}")), "{answer}");
            Ok(Some(()))
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn references_across_namespaces_without_a_grant() -> Result<()> {
    let edge = Edge::create("case-victim")?;
    let thief = Namespace::create("case-thief")?;
    // A route of another namespace on this Gateway, to a Service of this one; and a Gateway with this one's certificate.
    apply(
        &json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "name": "thief", "namespace": thief.name() },
            "spec": {
                "parentRefs": [{ "name": GATEWAY, "namespace": edge.namespace.name() }],
                "rules": [{ "backendRefs": [{ "name": "demo", "namespace": edge.namespace.name(), "port": 80 }] }],
            },
        })
        .to_string(),
    )?;
    let parents = "/status/parents/0/conditions";
    let told = cluster::wait_for_condition(thief.name(), "httproute", "thief", parents, "Accepted", "False")?;
    ensure!(told["reason"] == "NotAllowedByListeners", "{told}");

    apply(
        &json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": { "name": "thief", "namespace": thief.name() },
            "spec": { "gatewayClassName": "headrace", "listeners": [
                { "name": "stolen", "protocol": "HTTPS", "port": 443, "tls": { "certificateRefs": [
                    { "name": cluster::edge::CERTIFICATE, "namespace": edge.namespace.name() }] } },
                { "name": "own", "protocol": "HTTP", "port": 80 },
            ] },
        })
        .to_string(),
    )?;
    apply(
        &json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "name": "own", "namespace": thief.name() },
            "spec": {
                "parentRefs": [{ "name": "thief" }],
                "rules": [{ "backendRefs": [{ "name": "demo", "namespace": edge.namespace.name(), "port": 80 }] }],
            },
        })
        .to_string(),
    )?;
    let listener = "/status/listeners/0/conditions";
    let told = cluster::wait_for_condition(thief.name(), "gateway", "thief", listener, "ResolvedRefs", "False")?;
    ensure!(told["reason"] == "RefNotPermitted", "{told}");
    let told = cluster::wait_for_condition(thief.name(), "httproute", "own", parents, "ResolvedRefs", "False")?;
    ensure!(told["reason"] == "RefNotPermitted", "{told}");
    // A policy of the thief's own, with a bundle that is not there.
    apply(
        &json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "lost", "namespace": thief.name() },
            "spec": { "ports": [{ "port": 443 }] },
        })
        .to_string(),
    )?;
    apply(
        &json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy",
            "metadata": { "name": "lost", "namespace": thief.name() },
            "spec": {
                "targetRefs": [{ "group": "", "kind": "Service", "name": "lost" }],
                "validation": {
                    "hostname": "lost.test",
                    "caCertificateRefs": [{ "group": "", "kind": "ConfigMap", "name": "nowhere" }],
                },
            },
        })
        .to_string(),
    )?;
    apply(
        &json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "name": "lost", "namespace": thief.name() },
            "spec": { "parentRefs": [{ "name": "thief" }], "hostnames": ["lost.test"],
                "rules": [{ "backendRefs": [{ "name": "lost", "port": 443 }] }] },
        })
        .to_string(),
    )?;
    let ancestors = "/status/ancestors/0/conditions";
    let told =
        cluster::wait_for_condition(thief.name(), "backendtlspolicy", "lost", ancestors, "ResolvedRefs", "False")?;
    ensure!(told["reason"] == "InvalidCACertificateRef", "{told}");
    let address = cluster::edge::address(thief.name(), "thief")?;
    wait_for("500 for what may not be reached", || {
        let (status, _) = headrace_e2e::client::curl(&edge, &[], &format!("http://{address}/headers"))?;
        Ok((status == 500).then_some(()))
    })
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn broken_secrets() -> Result<()> {
    let edge = Edge::create("case-secrets")?;
    let namespace = edge.namespace.name();
    let (one, two) = (edge.authority.leaf(&["one.test"])?, rcgen::KeyPair::generate()?.serialize_pem());
    let broken = [
        ("not-pem", json!({ "tls.crt": "certificate", "tls.key": "key" })),
        ("mismatched", json!({ "tls.crt": one.certificate, "tls.key": two })),
        ("swapped", json!({ "tls.crt": one.key, "tls.key": one.certificate })),
        ("empty", json!({ "tls.crt": "", "tls.key": "" })),
    ];
    for (name, data) in broken {
        apply(
            &json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": { "name": name, "namespace": namespace }, "stringData": data,
            })
            .to_string(),
        )?;
        let patch = json!([{ "op": "add", "path": "/spec/listeners/-", "value": {
            "name": name, "protocol": "HTTPS", "port": 443, "hostname": format!("{name}.test"),
            "tls": { "certificateRefs": [{ "name": name }] },
        } }]);
        kubectl(&["patch", "gateway", GATEWAY, "-n", namespace, "--type", "json", "-p", &patch.to_string()])?;
        wait_for(&format!("listener {name} to be refused"), || {
            let gateway = get(namespace, "gateway", GATEWAY)?.context("no Gateway")?;
            let listeners = gateway["status"]["listeners"].as_array().context("no listeners")?;
            let own = listeners.iter().find(|one| one["name"] == name).context("no such listener")?;
            let refs = cluster::condition(own, "/conditions", "ResolvedRefs").context("no condition")?;
            ensure!(refs["status"] == "False" && refs["reason"] == "InvalidCertificateRef", "{refs}");
            ensure!(refs["message"].as_str().is_some_and(|message| message.contains(name)), "{refs}");
            Ok(Some(()))
        })?;
    }
    // The listener of before serves as before.
    edge.wait_until_served("/bytes/7")
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn routes_that_flap() -> Result<()> {
    let edge = Edge::create("case-flapping")?;
    let tunnels = Tunnels::open(&edge, &edge.url("wss", "/echo"), 20)?;
    let route = |index: usize| {
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: flap-{index}, namespace: \
             NAMESPACE, labels: {{flapping: yes}}}}, spec: {{parentRefs: [{{name: GATEWAY}}], hostnames: \
             [flap-{index}.test], rules: [{{backendRefs: [{{name: demo, port: 80}}]}}]}}}}\n---\n"
        )
    };
    let all: String = (0..FLAPPING).map(route).collect();
    for _ in 0..FLAPS {
        edge.apply(&all.replace("flapping: yes", "flapping: 'yes'"))?;
        let selector = ["delete", "httproute", "-n", edge.namespace.name(), "-l", "flapping=yes", "--wait=false"];
        kubectl(&selector)?;
    }
    edge.apply(ROUTE)?;
    edge.wait_until_redirected("/late")?;
    tunnels.close()
}

/// What no cluster state could make right is refused when it is applied, with a message that says what to change.
#[test]
#[ignore = "needs a cluster: make e2e"]
fn what_the_schema_refuses() -> Result<()> {
    let namespace = Namespace::create("case-schema")?;
    let head = format!(
        "apiVersion: headrace.dev/v1alpha1\nkind: WebSocketRoute\nmetadata: {{name: bad, namespace: {}}}\n",
        namespace.name()
    );
    for (spec, expected) in [
        ("{rules: [{matches: [{path: {type: PathPrefix, value: no-slash}}]}]}", "path"),
        ("{rules: [{backendRefs: [{name: x, port: 70000}]}]}", "port"),
        ("{hostnames: ['not a host']}", "hostnames"),
    ] {
        let said = refused(&format!("{head}spec: {spec}\n"))?;
        ensure!(said.contains(expected), "{spec}: {said}");
    }
    Ok(())
}

/// What only the table can tell: a pattern is no text, and no schema knows whether it compiles.
#[test]
#[ignore = "needs a cluster: make e2e"]
fn rules_that_the_table_refuses() -> Result<()> {
    let edge = Edge::create("case-refused")?;
    let namespace = edge.namespace.name();
    let tunnels = Tunnels::open(&edge, &edge.url("wss", "/echo"), 5)?;
    // The first is no expression, the second would be one of gigabytes.
    for (name, pattern) in [("broken", "/("), ("endless", "/(a{1000}){1000}")] {
        let late = format!("/of-{name}");
        let route = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "name": name, "namespace": namespace },
            "spec": { "parentRefs": [{ "name": GATEWAY }], "rules": [
                {
                    "matches": [{ "path": { "type": "RegularExpression", "value": pattern } }],
                    "backendRefs": [{ "name": "demo", "port": 80 }],
                },
                {
                    "matches": [{ "path": { "type": "Exact", "value": late } }],
                    "filters": [{ "type": "RequestRedirect", "requestRedirect": {
                        "path": { "type": "ReplaceFullPath", "replaceFullPath": "/headers" }, "statusCode": 302,
                    } }],
                },
            ] },
        });
        apply(&route.to_string())?;
        // The other rule of the same route is served, and so is everybody else.
        edge.wait_until_redirected(&late)?;
        edge.wait_until_served("/bytes/7")?;
        let said = wait_for(&format!("route {name} to be told"), || {
            let route = get(namespace, "httproute", name)?.context("no route")?;
            let condition = cluster::condition(&route, "/status/parents/0/conditions", "PartiallyInvalid");
            Ok(condition.map(ToString::to_string))
        })?;
        ensure!(said.contains("UnsupportedValue") && said.contains("rules[0].matches[0]"), "{said}");
    }
    tunnels.close()
}
