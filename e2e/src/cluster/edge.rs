//! A Gateway with the demo behind it, in a namespace of its own, as seen from outside of the cluster.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::{Namespace, apply, get, wait_for, wait_for_condition};
use crate::application::Application;
use crate::ca::CertificateAuthority;
use crate::client::Reached;

/// The image of the demo backend.
const DEMO_IMAGE: &str = "headrace.dev/demo:dev";

/// The host name of every edge; its addresses are in the certificate too.
pub const HOSTNAME: &str = "demo.headrace.test";

/// The Gateway of every edge.
pub const GATEWAY: &str = "edge";

/// The Secret with the certificate of every edge.
pub const CERTIFICATE: &str = "edge-tls";

/// A served Gateway.
pub struct Edge {
    /// Where everything is.
    pub namespace: Namespace,
    /// The Gateway's address.
    pub address: IpAddr,
    /// The CA of its certificate.
    pub authority: CertificateAuthority,
    directory: TempDir,
}

impl Edge {
    /// Applies everything, and waits until the Gateway has an address, is programmed and the demo answers.
    pub fn create(namespace: &str) -> Result<Self> {
        let directory = TempDir::with_prefix("headrace-e2e-")?;
        let authority = CertificateAuthority::create(directory.path())?;
        let namespace = Namespace::create(namespace)?;
        let secret = authority.secret(namespace.name(), CERTIFICATE, &[HOSTNAME])?;
        apply(&secret)?;
        apply(&fill(include_str!("edge.yaml"), namespace.name()))?;
        let address = address(namespace.name(), GATEWAY)?;
        wait_for_condition(namespace.name(), "gateway", GATEWAY, "/status/conditions", "Programmed", "True")?;
        let edge = Self { namespace, address, authority, directory };
        edge.wait_until_served("/headers")?;
        Ok(edge)
    }

    /// Applies manifests in which `NAMESPACE`, `GATEWAY` and `HOSTNAME` stand for this edge's.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        apply(&fill(manifests, self.namespace.name()))
    }

    /// Puts an application that runs on this machine behind a Service, and its routes on the Gateway.
    ///
    /// `host` is this machine's address as the cluster's pods see it.
    pub fn serve(&self, application: &Application, host: IpAddr) -> Result<()> {
        let text = include_str!("application.yaml")
            .replace("APPLICATION", application.name)
            .replace("HOST", &host.to_string())
            .replace("PORT", &application.port.to_string())
            .replace("PATH", application.path);
        self.apply(&text)
    }

    /// A URL at the Gateway's address.
    pub fn url(&self, scheme: &str, path: &str) -> String {
        match self.address {
            IpAddr::V4(address) => format!("{scheme}://{address}{path}"),
            IpAddr::V6(address) => format!("{scheme}://[{address}]{path}"),
        }
    }

    /// A URL by the host name, for clients that are told the address besides.
    pub fn named_url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{HOSTNAME}{path}")
    }

    /// Waits until a path is answered with 200.
    pub fn wait_until_served(&self, path: &str) -> Result<()> {
        wait_for(&format!("an answer to {path}"), || {
            let (status, body) = self.get(path)?;
            anyhow::ensure!(status == 200, "{status}: {body}");
            Ok(Some(()))
        })
    }

    /// Waits until a path is answered with a redirect.
    pub fn wait_until_redirected(&self, path: &str) -> Result<()> {
        wait_for(&format!("a redirect of {path}"), || Ok((self.get(path)?.0 == 302).then_some(())))
    }

    /// A request by curl over HTTP/1.1 with TLS: status and body.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        crate::client::curl(self, &["--http1.1"], &self.url("https", path))
    }
}

impl Reached for Edge {
    fn ca(&self) -> PathBuf {
        self.authority.certificate().to_owned()
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// Waits for a Gateway's first address.
pub fn address(namespace: &str, gateway: &str) -> Result<IpAddr> {
    wait_for(&format!("an address of Gateway {namespace}/{gateway}"), || {
        let object = get(namespace, "gateway", gateway)?.context("it does not exist")?;
        let address =
            object["status"]["addresses"][0]["value"].as_str().with_context(|| object["status"].to_string())?;
        Ok(Some(address.parse()?))
    })
}

fn fill(manifests: &str, namespace: &str) -> String {
    manifests
        .replace("NAMESPACE", namespace)
        .replace("GATEWAY", GATEWAY)
        .replace("HOSTNAME", HOSTNAME)
        .replace("IMAGE", DEMO_IMAGE)
        .replace("CERTIFICATE", CERTIFICATE)
}
