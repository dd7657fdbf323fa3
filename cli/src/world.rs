//! The World of a laptop: the manifests' objects, and what a cluster would have had besides.
//!
//! A cluster has a Namespace for every object and somebody who makes certificates (cert-manager, say). Owns what stands
//! in for those; knows nothing of files or sockets.

mod backends;

use std::collections::{BTreeMap, BTreeSet};

use headrace_compile::{Key, Kind, LocalEndpoints, ObjectRef, Options, World};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::development_ca::{DevelopmentCa, DevelopmentCaError};
use crate::manifest::Manifests;

pub(crate) use backends::Trusted;

/// The label by which every cluster names its Namespaces.
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// The keys of a Secret of type `kubernetes.io/tls`.
const TLS_CERTIFICATE: &str = "tls.crt";
const TLS_KEY: &str = "tls.key";
const TLS_SECRET_TYPE: &str = "kubernetes.io/tls";

/// A World that is ready to be compiled.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) world: World,
    /// The Secrets that got a development certificate, with the hash of its public key.
    pub(crate) filled_in: Vec<FilledIn>,
    /// The ConfigMaps that got the development CA's certificate, for backends.
    pub(crate) trusted: Vec<Trusted>,
    /// The objects that should have got something.
    pub(crate) left_empty: Vec<(ObjectRef, DevelopmentCaError)>,
}

impl Prepared {
    /// A World in which nothing is made up.
    pub(crate) fn as_it_is(world: World) -> Self {
        Prepared { world, filled_in: Vec::new(), trusted: Vec::new(), left_empty: Vec::new() }
    }
}

/// A Secret without a certificate, and the one that it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilledIn {
    pub(crate) secret: ObjectRef,
    /// The host names in the certificate, besides those of this machine.
    pub(crate) hostnames: Vec<String>,
    /// SHA-256 of the SubjectPublicKeyInfo, in Base64, as browsers and RFC 7469 have it.
    pub(crate) spki_sha256: String,
}

/// How manifests are compiled on a laptop.
pub(crate) fn options() -> Options {
    Options { local_endpoints: LocalEndpoints::Allowed, ingress_ports: INGRESS_PORTS, ..Options::default() }
}

/// Where Ingresses are served: the demo's ports, since those of a cluster need privileges.
const INGRESS_PORTS: (u16, u16) = (8080, 8443);

/// Makes the World of the manifests. A certificate that cannot be made leaves everything else as it is.
pub(crate) fn prepare(manifests: &Manifests, ca: &mut DevelopmentCa) -> Prepared {
    let mut world = World::default();
    manifests.objects().for_each(|object| world.insert(object.clone()));
    add_namespaces(&mut world);
    let (mut filled_in, mut left_empty) = (Vec::new(), Vec::new());
    for (key, hostnames) in wanted_certificates(&world) {
        let secret = world.secrets.get(&key);
        if secret.is_some_and(|secret| !lacks_certificate(secret)) {
            continue;
        }
        let hostnames: Vec<String> = hostnames.into_iter().collect();
        let object = ObjectRef::new(Kind::Secret, &key);
        let leaf = match ca.leaf(&key.namespace, &key.name, &hostnames) {
            Ok(leaf) => leaf,
            Err(error) => {
                left_empty.push((object, error));
                continue;
            }
        };
        let secret = with_certificate(secret.map(|secret| (**secret).clone()), &key, &leaf.chain_pem, &leaf.key_pem);
        world.insert(secret);
        filled_in.push(FilledIn { secret: object, hostnames, spki_sha256: leaf.spki_sha256 });
    }
    let trusted = backends::trust(&mut world, ca, &mut left_empty);
    Prepared { world, filled_in, trusted, left_empty }
}

/// A cluster has no object without its Namespace.
fn add_namespaces(world: &mut World) {
    let namespaces: BTreeSet<String> = world.objects().map(|object| object.key().namespace).collect();
    for name in namespaces.into_iter().filter(|name| !name.is_empty()) {
        if !world.namespaces.contains_key(&Key::new("", &*name)) {
            let labels = BTreeMap::from([(NAMESPACE_NAME_LABEL.to_owned(), name.clone())]);
            let metadata = ObjectMeta { name: Some(name), labels: Some(labels), ..ObjectMeta::default() };
            world.insert(Namespace { metadata, ..Namespace::default() });
        }
    }
}

/// The Secrets that our listeners and Ingresses name, each with the host names it is to serve.
fn wanted_certificates(world: &World) -> BTreeMap<Key, BTreeSet<String>> {
    let mut wanted: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
    let is_ours = |class: &str| {
        let class = world.gateway_classes.get(&Key::new("", class));
        class.is_some_and(|class| class.spec.controller_name == options().controller_name)
    };
    let gateways = world.gateways.iter().filter(|(_, object)| is_ours(&object.spec.gateway_class_name));
    for (gateway, object) in gateways {
        for listener in object.spec.listeners.iter().filter(|listener| listener.protocol == "HTTPS") {
            let references = listener.tls.iter().flat_map(|tls| tls.certificate_refs.iter().flatten());
            for reference in references {
                let reference = (&reference.group, &reference.kind, &reference.namespace, &*reference.name);
                want(&mut wanted, &gateway.namespace, reference, listener.hostname.as_ref());
            }
        }
    }
    // Of sets of all Gateways, ours or not: those of others are never served.
    for (set, object) in &world.listener_sets {
        for listener in object.spec.listeners.iter().filter(|listener| listener.protocol == "HTTPS") {
            let references = listener.tls.iter().flat_map(|tls| tls.certificate_refs.iter().flatten());
            for reference in references {
                let reference = (&reference.group, &reference.kind, &reference.namespace, &*reference.name);
                want(&mut wanted, &set.namespace, reference, listener.hostname.as_ref());
            }
        }
    }
    for (ingress, object) in &world.ingresses {
        let entries = object.spec.iter().flat_map(|spec| spec.tls.iter().flatten());
        for entry in entries {
            if let Some(secret) = entry.secret_name.as_ref().filter(|name| !name.is_empty()) {
                let hostnames = wanted.entry(Key::new(&*ingress.namespace, &**secret)).or_default();
                hostnames.extend(entry.hosts.iter().flatten().cloned());
            }
        }
    }
    wanted
}

/// Group, kind, namespace and name, as a listener refers to a Secret.
type CertificateRef<'a> = (&'a Option<String>, &'a Option<String>, &'a Option<String>, &'a str);

fn want(
    wanted: &mut BTreeMap<Key, BTreeSet<String>>,
    own_namespace: &str,
    (group, kind, namespace, name): CertificateRef<'_>,
    hostname: Option<&String>,
) {
    if !group.as_deref().unwrap_or_default().is_empty() || kind.as_deref().unwrap_or("Secret") != "Secret" {
        return;
    }
    let hostnames = wanted.entry(Key::new(namespace.as_deref().unwrap_or(own_namespace), name)).or_default();
    hostnames.extend(hostname.filter(|hostname| !hostname.is_empty()).cloned());
}

fn lacks_certificate(secret: &Secret) -> bool {
    let is_empty = |key| secret.data.as_ref().and_then(|data| data.get(key)).is_none_or(|value| value.0.is_empty());
    // Half of one is a mistake to be told of, not one to be papered over.
    is_empty(TLS_CERTIFICATE) && is_empty(TLS_KEY)
}

fn with_certificate(secret: Option<Secret>, key: &Key, chain_pem: &str, key_pem: &str) -> Secret {
    let mut secret = secret.unwrap_or_else(|| Secret {
        metadata: ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            generation: Some(1),
            ..ObjectMeta::default()
        },
        type_: Some(TLS_SECRET_TYPE.to_owned()),
        ..Secret::default()
    });
    let data = secret.data.get_or_insert_default();
    data.insert(TLS_CERTIFICATE.to_owned(), ByteString(chain_pem.as_bytes().to_vec()));
    data.insert(TLS_KEY.to_owned(), ByteString(key_pem.as_bytes().to_vec()));
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFESTS: &str = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: ours}
spec: {controllerName: headrace.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: a, namespace: x}
spec:
  gatewayClassName: ours
  listeners:
  - {name: a, port: 1, protocol: HTTPS, hostname: a.test, tls: {certificateRefs: [{name: shared}, {name: given}]}}
  - {name: b, port: 1, protocol: HTTPS, hostname: b.test, tls: {certificateRefs: [{name: shared}, {name: half}]}}
  - {name: c, port: 1, protocol: HTTPS, tls: {certificateRefs: [{name: far, namespace: y}, {name: z, kind: ConfigMap}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: foreign, namespace: x}
spec:
  gatewayClassName: theirs
  listeners: [{name: a, port: 1, protocol: HTTPS, tls: {certificateRefs: [{name: theirs}]}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more, namespace: y}
spec:
  parentRef: {name: a, namespace: x}
  listeners: [{name: a, port: 1, protocol: HTTPS, hostname: set.test, tls: {certificateRefs: [{name: of-set}]}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i, namespace: x}
spec: {tls: [{hosts: [i.test], secretName: ingress}, {hosts: [j.test]}]}
---
apiVersion: v1
kind: Secret
metadata: {name: given, namespace: x}
data: {tls.crt: YQ==, tls.key: YQ==}
---
apiVersion: v1
kind: Secret
metadata: {name: half, namespace: x}
data: {tls.crt: YQ==, tls.key: ""}
---
apiVersion: v1
kind: Secret
metadata: {name: far, namespace: y}
type: kubernetes.io/tls
stringData: {tls.crt: "", tls.key: "", other: kept}
"#;

    #[test]
    fn stands_in_for_a_cluster() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("all.yaml");
        std::fs::write(&file, MANIFESTS).unwrap();
        let manifests = Manifests::load(&[file], None);
        let prepared = prepare(&manifests, &mut DevelopmentCa::throwaway());
        let filled_in: Vec<_> = prepared
            .filled_in
            .iter()
            .map(|filled_in| format!("{} {}", filled_in.secret.key(), filled_in.hostnames.join(" ")))
            .collect();
        assert_eq!(filled_in, ["x/ingress i.test", "x/shared a.test b.test", "y/far ", "y/of-set set.test"]);
        let far = &prepared.world.secrets[&Key::new("y", "far")];
        assert_eq!(far.data.as_ref().unwrap()["other"].0, b"kept");
        assert!(!lacks_certificate(far));
        let namespaces: Vec<_> = prepared.world.namespaces.keys().map(|key| key.name.as_str()).collect();
        assert_eq!(namespaces, ["x", "y"]);
        let namespace = &prepared.world.namespaces[&Key::new("", "x")];
        assert_eq!(namespace.metadata.labels.as_ref().unwrap()[NAMESPACE_NAME_LABEL], "x");
    }
}
