//! A namespace of one test's own, gone with it.

use anyhow::Result;

use super::{apply, kubectl};

/// A namespace that exists as long as this does.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes it. The restricted pod-security standard holds in it, as it should wherever Headrace is used.
    pub fn create(name: &str) -> Result<Self> {
        apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: \
             {{pod-security.kubernetes.io/enforce: restricted}}}}}}"
        ))?;
        Ok(Self { name: name.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Not waited for, and left alone where somebody wants to look at what failed.
        if std::env::var_os("KEEP").is_none() {
            let _ = kubectl(&["delete", "namespace", &self.name, "--wait=false", "--ignore-not-found"]);
        }
    }
}
