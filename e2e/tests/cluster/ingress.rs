//! Ingresses: of our class by name and by being the default, with an address in their status, and told apart by host and path.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::client;
use headrace_e2e::cluster::edge::CERTIFICATE;
use headrace_e2e::cluster::{Edge, get, kubectl, wait_for};

const INGRESSES: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: named, namespace: NAMESPACE }
spec:
  ingressClassName: headrace
  tls: [{ hosts: [ingress.headrace.test], secretName: CERTIFICATE }]
  rules:
    - host: ingress.headrace.test
      http:
        paths:
          - { path: /headers, pathType: Exact, backend: { service: { name: demo, port: { number: 80 } } } }
          - { path: /bytes, pathType: Prefix, backend: { service: { name: demo, port: { name: http } } } }
          - { path: /gone, pathType: Prefix, backend: { service: { name: nowhere, port: { number: 80 } } } }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: unnamed, namespace: NAMESPACE }
spec:
  rules:
    - host: unnamed.headrace.test
      http:
        paths:
          - { path: /, pathType: Prefix, backend: { service: { name: demo, port: { number: 80 } } } }
";

#[test]
#[ignore = "needs a cluster: make e2e"]
fn ingresses_of_our_class() -> Result<()> {
    let edge = Edge::create("case-ingress")?;
    let secret = edge.authority.secret(edge.namespace.name(), CERTIFICATE, &["ingress.headrace.test"])?;
    headrace_e2e::cluster::apply(&secret)?;
    edge.apply(INGRESSES)?;
    let address = address(&edge, "named")?;
    let host = |name: &str, path: &str| -> Result<u16> {
        let resolve = [format!("{name}:443:{address}"), format!("{name}:80:{address}")];
        let scheme = if name.starts_with("ingress") { "https" } else { "http" };
        let flags = ["--resolve", &resolve[0], "--resolve", &resolve[1]];
        Ok(client::curl(
            &edge,
            &[&flags[..], &["--output", "/dev/null", "--write-out", "\\n%{http_code}"]].concat(),
            &format!("{scheme}://{name}{path}"),
        )?
        .0)
    };
    for (path, expected) in [("/headers", 200), ("/bytes/7", 200), ("/headers/more", 404), ("/gone", 500)] {
        wait_for(&format!("{path} to answer {expected}"), || {
            let status = host("ingress.headrace.test", path)?;
            ensure!(status == expected, "{status}");
            Ok(Some(()))
        })?;
    }
    // Without a class it is nobody's, and everybody's when the class becomes the default.
    ensure!(host("unnamed.headrace.test", "/headers")? == 404, "an Ingress without a class is served");
    default_class(Some("true"))?;
    let served = wait_for("the Ingress without a class", || {
        Ok((host("unnamed.headrace.test", "/headers")? == 200).then_some(()))
    });
    default_class(None)?;
    served
}

fn default_class(value: Option<&str>) -> Result<()> {
    let annotation = "ingressclass.kubernetes.io/is-default-class";
    let change = value.map_or_else(|| format!("{annotation}-"), |value| format!("{annotation}={value}"));
    kubectl(&["annotate", "--overwrite", "ingressclass", "headrace", &change]).map(drop)
}

fn address(edge: &Edge, name: &str) -> Result<IpAddr> {
    wait_for(&format!("an address of Ingress {name}"), || {
        let ingress = get(edge.namespace.name(), "ingress", name)?.context("it does not exist")?;
        let address = ingress["status"]["loadBalancer"]["ingress"][0]["ip"].as_str();
        Ok(Some(address.with_context(|| ingress["status"].to_string())?.parse()?))
    })
}
