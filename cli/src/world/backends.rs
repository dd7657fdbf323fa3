//! Backends that speak TLS, on a laptop: a ConfigMap without a CA gets the development CA's, and a certificate of that CA
//! waits for the backends.

use std::collections::BTreeMap;
use std::path::PathBuf;

use headrace_compile::{Key, Kind, ObjectRef, World};

use crate::development_ca::{DevelopmentCa, DevelopmentCaError};

/// The key under which a BackendTLSPolicy expects CAs in a ConfigMap.
const CA_CERTIFICATES: &str = "ca.crt";

/// A ConfigMap without a CA, and what it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trusted {
    pub(crate) config_map: ObjectRef,
    /// The policies that trust it, each with the certificate that backends can take, if it is kept.
    pub(crate) policies: Vec<(ObjectRef, Option<PathBuf>)>,
}

/// Fills the ConfigMaps whose `ca.crt` is there and empty. Unlike a Secret, one that is not there stays so: a certificate
/// that nobody uses does not make a backend trusted.
pub(super) fn trust(
    world: &mut World,
    ca: &mut DevelopmentCa,
    left_empty: &mut Vec<(ObjectRef, DevelopmentCaError)>,
) -> Vec<Trusted> {
    let mut trusted = Vec::new();
    for (key, policies) in wanted(world) {
        let Some(config_map) = world.config_maps.get(&key) else { continue };
        let mut config_map = (**config_map).clone();
        let Some(empty) = config_map.data.as_mut().and_then(|data| data.get_mut(CA_CERTIFICATES)) else { continue };
        if !empty.trim().is_empty() {
            continue;
        }
        let object = ObjectRef::new(Kind::ConfigMap, &key);
        match certify(ca, &policies) {
            Ok((certificate, policies)) => {
                *empty = certificate;
                world.insert(config_map);
                trusted.push(Trusted { config_map: object, policies });
            }
            Err(error) => left_empty.push((object, error)),
        }
    }
    trusted
}

/// The ConfigMaps that policies name, each with the policies and the host names by which those reach their backends.
fn wanted(world: &World) -> BTreeMap<Key, Vec<(Key, String)>> {
    let mut wanted: BTreeMap<Key, Vec<(Key, String)>> = BTreeMap::new();
    for (policy, object) in &world.backend_tls_policies {
        let validation = &object.spec.validation;
        for reference in validation.ca_certificate_refs.iter().flatten() {
            if reference.group.is_empty() && reference.kind == "ConfigMap" {
                let config_map = Key::new(&*policy.namespace, &*reference.name);
                wanted.entry(config_map).or_default().push((policy.clone(), validation.hostname.clone()));
            }
        }
    }
    wanted
}

type Certified = (String, Vec<(ObjectRef, Option<PathBuf>)>);

fn certify(ca: &mut DevelopmentCa, policies: &[(Key, String)]) -> Result<Certified, DevelopmentCaError> {
    let certificate = ca.certificate()?;
    let certified = policies.iter().map(|(policy, hostname)| {
        let file = ca.backend_leaf(&policy.namespace, &policy.name, hostname)?;
        Ok((ObjectRef::new(Kind::BackendTlsPolicy, policy), file))
    });
    Ok((certificate, certified.collect::<Result<_, DevelopmentCaError>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifests;
    use crate::world::prepare;

    const MANIFESTS: &str = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: filled, namespace: x}
spec:
  targetRefs: [{group: "", kind: Service, name: a}]
  validation: {hostname: a.x.svc, caCertificateRefs: [{group: "", kind: ConfigMap, name: empty}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: others, namespace: x}
spec:
  targetRefs: [{group: "", kind: Service, name: b}]
  validation:
    hostname: b.x.svc
    caCertificateRefs:
    - {group: "", kind: ConfigMap, name: given}
    - {group: "", kind: ConfigMap, name: absent}
    - {group: "", kind: ConfigMap, name: without}
    - {group: "", kind: Secret, name: empty}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: empty, namespace: x}, data: {ca.crt: "", other: kept}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: given, namespace: x}, data: {ca.crt: "somebody's"}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: without, namespace: x}, data: {other: kept}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: empty, namespace: y}, data: {ca.crt: ""}}
"#;

    #[test]
    fn only_what_is_empty_is_filled() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("all.yaml");
        std::fs::write(&file, MANIFESTS).unwrap();
        let home = directory.path().join("home");
        let manifests = Manifests::load(&[file], None);
        let prepared = prepare(&manifests, &mut DevelopmentCa::at(&home));
        let certificate = home.join("backends/x.filled.pem");
        let policy = ObjectRef::new(Kind::BackendTlsPolicy, &Key::new("x", "filled"));
        let config_map = ObjectRef::new(Kind::ConfigMap, &Key::new("x", "empty"));
        let policies = vec![(policy, Some(certificate.clone()))];
        assert_eq!(prepared.trusted, [Trusted { config_map, policies }]);
        assert!(certificate.exists());
        let content = |namespace, name, key| {
            prepared.world.config_maps[&Key::new(namespace, name)].data.as_ref().unwrap().get(key).cloned()
        };
        assert_eq!(content("x", "empty", "ca.crt"), std::fs::read_to_string(home.join("ca.pem")).ok());
        assert_eq!(content("x", "empty", "other").as_deref(), Some("kept"));
        assert_eq!(content("x", "given", "ca.crt").as_deref(), Some("somebody's"));
        assert_eq!(content("x", "without", "ca.crt"), None);
        assert_eq!(content("y", "empty", "ca.crt").as_deref(), Some(""));
    }
}
