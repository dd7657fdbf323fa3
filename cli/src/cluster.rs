//! A cluster, as the kubeconfig's current context names it: its objects, read once.
//!
//! Owns how objects are fetched, and what is said when some cannot be. It must not know what is made of them.

use std::collections::BTreeMap;

use anyhow::Context as _;
use headrace_compile::{Key, Kind, Object, Options, Reference, References, World};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Client, Config};
use serde_json::Value;

/// Objects in one answer of the API server: a large cluster is read in pages, as its server likes to be asked.
const PAGE: u32 = 500;

/// Pages of one kind. What is beyond is said to be missing.
const MAX_PAGES: usize = 1_000;

/// The definition that tells the Gateway API's version, and where.
const GATEWAY_DEFINITION: &str = "gateways.gateway.networking.k8s.io";
const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";

/// A cluster to ask.
pub(crate) struct Cluster {
    client: Client,
    /// Its name in the kubeconfig, or its URL.
    pub(crate) name: String,
}

/// What came of reading a cluster.
pub(crate) struct Read {
    pub(crate) world: World,
    /// Kinds that could not be read, and why: not installed, or not permitted.
    pub(crate) missing: Vec<(Kind, Missing)>,
    /// Objects that could not be understood.
    pub(crate) strange: Vec<String>,
    /// The version of the Gateway API that is installed, as its CRDs say.
    pub(crate) gateway_api_version: Option<String>,
}

/// Why a kind could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Missing {
    /// The API server does not know it.
    #[error("is not installed in the cluster")]
    NotInstalled,
    /// The user may not read it.
    #[error("cannot be read: {0}")]
    Refused(String),
}

impl Cluster {
    /// The cluster of the current context, or of the one that is named.
    ///
    /// # Errors
    /// When there is no such context, or its credentials cannot be used.
    pub(crate) async fn connect(context: Option<&str>) -> anyhow::Result<Self> {
        // Fails only when one was installed before, and then that one is used.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = match context {
            None => Config::infer().await.context("no cluster is configured")?,
            Some(context) => {
                let options =
                    kube::config::KubeConfigOptions { context: Some(context.to_owned()), ..Default::default() };
                Config::from_kubeconfig(&options).await.with_context(|| format!("context {context}"))?
            }
        };
        let name = config.cluster_url.to_string();
        let client = Client::try_from(config).context("the cluster's configuration cannot be used")?;
        Ok(Self { client, name })
    }

    /// For whoever has more to ask.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Reads every object that the compiler looks at; of Secrets and ConfigMaps only those that others refer to.
    ///
    /// # Errors
    /// When the cluster cannot be reached at all.
    pub(crate) async fn read(&self) -> anyhow::Result<Read> {
        let mut read =
            Read { world: World::default(), missing: Vec::new(), strange: Vec::new(), gateway_api_version: None };
        self.client.apiserver_version().await.with_context(|| format!("{} cannot be reached", self.name))?;
        for kind in Kind::ALL.iter().copied().filter(|kind| !Reference::is_kind(*kind)) {
            if let Err(missing) = self.list(kind, &mut read).await {
                read.missing.push((kind, missing));
            }
        }
        read.gateway_api_version = self.gateway_api_version().await;
        let references = headrace_compile::references(&read.world, &Options::default());
        self.fetch(&references, &mut read).await;
        Ok(read)
    }

    /// Not being permitted to look is no reason to fail: nothing is said of the version then.
    async fn gateway_api_version(&self) -> Option<String> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let definition = api.get_metadata_opt(GATEWAY_DEFINITION).await.ok()??;
        definition.metadata.annotations?.remove(BUNDLE_VERSION)
    }

    async fn list(&self, kind: Kind, read: &mut Read) -> Result<(), Missing> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource(kind));
        let mut page = ListParams::default().limit(PAGE);
        for _ in 0..MAX_PAGES {
            let list = api.list(&page).await.map_err(missing)?;
            list.items.into_iter().for_each(|object| insert(kind, object, read));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = ListParams::default().limit(PAGE).continue_token(&token),
                None => return Ok(()),
            }
        }
        Err(Missing::Refused(format!("there are more than {} objects", PAGE as usize * MAX_PAGES)))
    }

    async fn fetch(&self, references: &References, read: &mut Read) {
        let mut refused = BTreeMap::new();
        for Reference { kind, key } in references {
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &key.namespace, &resource(*kind));
            match api.get_opt(&key.name).await {
                Ok(Some(object)) => insert(*kind, object, read),
                Ok(None) => {}
                Err(error) => drop(refused.insert(*kind, missing(error))),
            }
        }
        read.missing.extend(refused);
    }
}

fn resource(kind: Kind) -> ApiResource {
    let (group, version) = kind.api_version().split_once('/').unwrap_or(("", kind.api_version()));
    let gvk = GroupVersionKind::gvk(group, version, kind.label());
    match kind {
        // Its plural is itself, which no rule of grammar tells.
        Kind::GatewayParameters => ApiResource::from_gvk_with_plural(&gvk, "gatewayparameters"),
        _ => ApiResource::from_gvk(&gvk),
    }
}

fn insert(kind: Kind, object: DynamicObject, read: &mut Read) {
    let name = format!(
        "{} {}",
        kind.label(),
        Key::new(
            object.metadata.namespace.clone().unwrap_or_default(),
            object.metadata.name.clone().unwrap_or_default()
        )
    );
    let parsed = serde_json::to_value(object).and_then(|value: Value| Object::deserialize(kind, value));
    match parsed {
        Ok(object) => read.world.insert(object),
        Err(error) => read.strange.push(format!("{name}: {error}")),
    }
}

fn missing(error: kube::Error) -> Missing {
    match error {
        kube::Error::Api(status) if status.code == 404 => Missing::NotInstalled,
        kube::Error::Api(status) => Missing::Refused(status.message.clone()),
        other => Missing::Refused(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_plural_that_servers_use() {
        let plurals: Vec<String> = Kind::ALL.iter().map(|kind| resource(*kind).plural).collect();
        for plural in
            ["gatewayclasses", "ingresses", "ingressclasses", "endpointslices", "backendtlspolicies", "edgepolicies"]
        {
            assert!(plurals.iter().any(|one| one == plural), "{plural} of {plurals:?}");
        }
        assert!(plurals.contains(&"gatewayparameters".to_owned()), "{plurals:?}");
    }
}
