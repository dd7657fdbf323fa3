//! Worlds in YAML, and what they refer to.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde::Deserialize as _;
use serde_yaml::Value;

use super::*;
use crate::world::Object;

const CLASSES: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: headrace}
spec: {controllerName: headrace.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: other}
spec: {controllerName: example.com/other}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: headrace}
spec: {controller: headrace.dev/ingress-controller}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: other}
spec: {controller: example.com/other}
";

fn found(manifests: &str) -> Vec<String> {
    let mut world = World::default();
    for document in serde_yaml::Deserializer::from_str(&format!("{CLASSES}---\n{manifests}")) {
        let value = Value::deserialize(document).unwrap();
        let kind = Kind::of(value["apiVersion"].as_str().unwrap(), value["kind"].as_str().unwrap()).unwrap();
        world.insert(Object::deserialize(kind, value).unwrap());
    }
    references(&world, &Options::default())
        .iter()
        .map(|found| format!("{} {}", found.kind.label(), found.key))
        .collect()
}

fn gateway(class: &str, tls: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge, namespace: infra}}
spec:
  gatewayClassName: {class}
  listeners:
  - {{name: a, port: 443, protocol: HTTPS, tls: {tls}}}
"
    )
}

const GRANT: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: grant, namespace: vault}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: infra}]
  to: [{group: '', kind: Secret, name: wildcard}]
";

#[test]
fn of_gateways() {
    let own = "{certificateRefs: [{name: one}, {kind: Secret, group: '', name: two}, {group: x.io, kind: V, name: v}]}";
    let across = "{certificateRefs: [{name: wildcard, namespace: vault}, {name: other, namespace: vault}]}";
    for (manifests, expect) in [
        (gateway("headrace", own), vec!["Secret infra/one", "Secret infra/two"]),
        (gateway("other", own), vec![]),
        (gateway("headrace", across), vec![]),
        (gateway("headrace", across) + GRANT, vec!["Secret vault/wildcard"]),
    ] {
        assert_eq!(found(&manifests), expect, "{manifests}");
    }
}

#[test]
fn of_a_gateways_own_tls_and_of_listener_sets() {
    let manifests = gateway("headrace", "{}")
        + "
  tls:
    backend: {clientCertificateRef: {name: client}}
    frontend:
      default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: roots}]}}
      perPort:
      - {port: 443, tls: {validation: {caCertificateRefs: [{group: '', kind: Secret, name: port-roots}]}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more, namespace: shop}
spec:
  parentRef: {name: edge, namespace: infra}
  listeners:
  - {name: b, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: shop-tls}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: orphan, namespace: shop}
spec:
  parentRef: {name: nowhere}
  listeners:
  - {name: b, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: orphan-tls}]}}
";
    let expect = ["Secret infra/client", "Secret infra/port-roots", "Secret shop/shop-tls", "ConfigMap infra/roots"];
    assert_eq!(found(&manifests), expect);
}

#[test]
fn of_backend_tls_policies() {
    let manifests = "
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: a, namespace: shop}
spec:
  targetRefs: [{group: '', kind: Service, name: chat}]
  validation:
    hostname: chat.example
    caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]
";
    assert_eq!(found(manifests), ["ConfigMap shop/ca"]);
}

#[test]
fn of_ingresses() {
    let ingress = |class: &str| {
        format!(
            "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: a, namespace: shop}}
spec: {{ {class} tls: [{{secretName: shop-tls}}, {{hosts: [a.example]}}] }}
"
        )
    };
    assert_eq!(found(&ingress("ingressClassName: headrace,")), ["Secret shop/shop-tls"]);
    assert_eq!(found(&ingress("ingressClassName: other,")), Vec::<String>::new());
    assert_eq!(found(&ingress("ingressClassName: nobodys,")), Vec::<String>::new());
    assert_eq!(found(&ingress("")), ["Secret shop/shop-tls"]);
}
