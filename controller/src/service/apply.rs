//! Carrying out one operation on Services and EndpointSlices.
//!
//! Owns the requests and what their answers mean. It must not know why an operation is due, nor when again.
//!
//! Server-side apply by force: every field that is applied is ours by the owner reference; what others add to the objects
//! (a cloud's annotations, node ports, finalizers) is theirs and stays.

use std::fmt::Debug;
use std::time::Duration;

use headrace_compile::Key;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::metrics::Outcome;
use super::operations::{Action, Target, TargetKind};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What the API server said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// It is done.
    Done,
    /// It is not.
    NotDone {
        /// What kind of trouble that is.
        outcome: Outcome,
        /// In words.
        reason: String,
    },
}

/// Sends requests.
#[derive(Clone)]
pub(crate) struct Applier {
    client: Client,
    parameters: PatchParams,
}

impl Applier {
    pub(crate) fn new(client: Client, controller_name: &str) -> Self {
        Applier { client, parameters: PatchParams::apply(controller_name).force() }
    }

    /// Carries out one operation.
    pub(crate) async fn carry_out(&self, target: &Target, action: &Action) -> Answer {
        let request = async {
            match action {
                Action::ApplyService(service) => self.apply(&target.key, &**service).await,
                Action::ApplySlice(slice) => self.apply(&target.key, &**slice).await,
                Action::Delete { uid } => match target.kind {
                    TargetKind::Service => self.delete::<Service>(&target.key, uid).await,
                    TargetKind::EndpointSlice => self.delete::<EndpointSlice>(&target.key, uid).await,
                },
            }
        };
        match timeout(TIMEOUT, request).await {
            Ok(Ok(())) => Answer::Done,
            Ok(Err(error)) => Answer::NotDone { outcome: outcome(&error), reason: in_words(&error) },
            Err(_) => Answer::NotDone { outcome: Outcome::Failed, reason: "no answer in time".to_owned() },
        }
    }

    async fn apply<K>(&self, key: &Key, object: &K) -> Result<(), kube::Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.namespace);
        api.patch(&key.name, &self.parameters, &Patch::Apply(object)).await.map(|_| ())
    }

    async fn delete<K>(&self, key: &Key, uid: &str) -> Result<(), kube::Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned + Clone + Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.namespace);
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match api.delete(&key.name, &parameters).await {
            Ok(_) => Ok(()),
            // It is gone, or another one has its name by now: that one is not meant.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn outcome(error: &kube::Error) -> Outcome {
    match error {
        kube::Error::Api(status) => match status.code {
            409 => Outcome::Conflict,
            408 | 429 | 500..=599 => Outcome::Failed,
            _ => Outcome::Refused,
        },
        _ => Outcome::Failed,
    }
}

/// The API server's own sentence, without what surrounds it.
fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
