//! Where the peers meet: a Headrace with a certificate of the test's own CA, a route to each backend and to each service.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use headrace_e2e::ca::CertificateAuthority;
use headrace_e2e::{Headrace, Reached, port};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where everything but the classes lives.
const NAMESPACE: &str = "peers";

/// Whom the backends' certificates name.
const BACKEND_NAME: &str = "backend.peers.test";

/// A directory with a CA, in which backends are started before Headrace is.
pub(crate) struct Ground {
    ca: CertificateAuthority,
    /// The certificate of all backends, and its key.
    pub(crate) certificate: (PathBuf, PathBuf),
    directory: TempDir,
}

/// What a route's path leads to. The path is the name.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) to: To,
}

pub(crate) enum To {
    /// A backend for sessions.
    Session(u16),
    /// The ports of TCP and of UDP that streams and datagrams go to.
    Streams { tcp: Option<u16>, udp: Option<u16> },
}

/// A Headrace in front of its targets.
pub(crate) struct Stage {
    pub(crate) headrace: Headrace,
    pub(crate) https: u16,
    ground: Ground,
}

impl Ground {
    pub(crate) fn new() -> Result<Self> {
        let directory = TempDir::with_prefix("headrace-peers-")?;
        let ca = CertificateAuthority::create(directory.path())?;
        let leaf = ca.leaf(&[BACKEND_NAME])?;
        let certificate = (directory.path().join("backend.pem"), directory.path().join("backend.key"));
        std::fs::write(&certificate.0, leaf.certificate)?;
        std::fs::write(&certificate.1, leaf.key)?;
        Ok(Self { ca, certificate, directory })
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn serve(self, targets: &[Target]) -> Result<Stage> {
        let https = port::free()?;
        let manifests = self.directory().join("manifests");
        std::fs::create_dir(&manifests)?;
        // What begins with a brace is read as JSON, of which there is one object in a file.
        let mut text = format!("---\n{}", self.ca.secret(NAMESPACE, "edge", &["localhost"])?);
        let ca = std::fs::read_to_string(self.ca.certificate())?;
        for object in edge(https, &ca).into_iter().chain(targets.iter().flat_map(Target::objects)) {
            write!(text, "\n---\n{object}")?;
        }
        std::fs::write(manifests.join("peers.yaml"), text)?;
        let headrace = Headrace::start(self.directory(), &manifests)?;
        Ok(Stage { headrace, https, ground: self })
    }
}

impl Stage {
    pub(crate) fn url(&self, target: &str) -> String {
        format!("https://localhost:{}/{target}", self.https)
    }
}

impl Reached for Stage {
    fn ca(&self) -> PathBuf {
        self.ground.ca.certificate().to_owned()
    }

    fn directory(&self) -> &Path {
        self.ground.directory()
    }
}

impl Target {
    fn objects(&self) -> Vec<Value> {
        let name = self.name;
        let (ports, rule) = match self.to {
            To::Session(port) => {
                (vec![("UDP", port)], json!({ "mode": "Session", "backendRefs": [{ "name": name, "port": 7 }] }))
            }
            To::Streams { tcp, udp } => {
                let mut rule = json!({ "mode": "Streams" });
                for (field, port) in [("streamBackendRefs", tcp), ("datagramBackendRefs", udp)] {
                    if port.is_some() {
                        rule[field] = json!([{ "name": name, "port": 7 }]);
                    }
                }
                (tcp.map(|port| ("TCP", port)).into_iter().chain(udp.map(|port| ("UDP", port))).collect(), rule)
            }
        };
        let mut rule = rule;
        rule["matches"] = json!([{ "path": { "type": "Exact", "value": format!("/{name}") } }]);
        let session = matches!(self.to, To::Session(_));
        let service_port = |protocol: &str| {
            let mut port = json!({ "name": protocol.to_lowercase(), "port": 7, "protocol": protocol });
            if session {
                port["appProtocol"] = json!("headrace.dev/h3");
            }
            port
        };
        let endpoint_port = |(protocol, port): &(&str, u16)| json!({ "name": protocol.to_lowercase(), "port": port, "protocol": protocol });
        let mut objects = vec![
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": metadata(name),
                "spec": { "ports": ports.iter().map(|(protocol, _)| service_port(protocol)).collect::<Vec<_>>() },
            }),
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": name, "namespace": NAMESPACE, "labels": { "kubernetes.io/service-name": name },
                },
                // Names under .localhost are loopback (RFC 6761, section 6.3).
                "addressType": "FQDN",
                "endpoints": [{ "addresses": [format!("{name}.localhost")], "conditions": { "ready": true } }],
                "ports": ports.iter().map(endpoint_port).collect::<Vec<_>>(),
            }),
            json!({
                "apiVersion": "headrace.dev/v1alpha1", "kind": "WebTransportRoute", "metadata": metadata(name),
                "spec": { "parentRefs": [{ "name": "edge" }], "rules": [rule] },
            }),
        ];
        if session {
            objects.push(json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy", "metadata": metadata(name),
                "spec": {
                    "targetRefs": [{ "group": "", "kind": "Service", "name": name }],
                    "validation": {
                        "hostname": BACKEND_NAME,
                        "caCertificateRefs": [{ "group": "", "kind": "ConfigMap", "name": "ca" }],
                    },
                },
            }));
        }
        objects
    }
}

fn metadata(name: &str) -> Value {
    json!({ "name": name, "namespace": NAMESPACE })
}

fn edge(https: u16, ca: &str) -> Vec<Value> {
    vec![
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }),
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("ca"), "data": { "ca.crt": ca } }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": { "name": "headrace" },
            "spec": { "controllerName": "headrace.dev/gateway-controller" },
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": metadata("edge"),
            "spec": {
                "gatewayClassName": "headrace",
                "listeners": [{
                    "name": "https", "protocol": "HTTPS", "port": https,
                    "tls": { "mode": "Terminate", "certificateRefs": [{ "kind": "Secret", "name": "edge" }] },
                }],
            },
        }),
    ]
}

/// What everybody has said, for a failure's message.
pub(crate) trait Said<T> {
    fn said(self, stage: &Stage) -> Result<T>;
}

impl<T> Said<T> for Result<T> {
    fn said(self, stage: &Stage) -> Result<T> {
        self.with_context(|| format!("=== headrace ===\n{}", stage.headrace.process.tail()))
    }
}
