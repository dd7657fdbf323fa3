//! Sending one patch to the status subresource.
//!
//! Owns what is sent and what an answer means. It must not know why, nor when again.

use std::time::Duration;

use headrace_compile::{Kind, ObjectRef};
use kube::api::{Api, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;
use tokio::time::timeout;

use super::merge::Change;
use super::metrics::WriteOutcome;

/// How long one request may take. The API server's own limit is a minute; a write that is that slow is better tried again
/// later.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A change that is being sent.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// The object's uid, for events.
    pub uid: String,
    /// The change.
    pub change: Change,
}

/// What the API server said.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The object as it is now.
    Written(Box<DynamicObject>),
    /// There is no such object.
    Gone,
    /// It was not written.
    NotWritten {
        /// What kind of trouble that is.
        outcome: WriteOutcome,
        /// In words.
        reason: String,
    },
}

impl Answer {
    pub(crate) const fn outcome(&self) -> WriteOutcome {
        match self {
            Answer::Written(_) => WriteOutcome::Written,
            Answer::Gone => WriteOutcome::Gone,
            Answer::NotWritten { outcome, .. } => *outcome,
        }
    }
}

/// Sends patches.
#[derive(Clone)]
pub(crate) struct Writer {
    client: kube::Client,
    parameters: PatchParams,
}

impl Writer {
    pub(crate) fn new(client: kube::Client, controller_name: String) -> Self {
        Writer { client, parameters: PatchParams { field_manager: Some(controller_name), ..PatchParams::default() } }
    }

    /// Sends one.
    pub(crate) async fn send(&self, object: &ObjectRef, write: &Write) -> Answer {
        let resource = api_resource(object.kind);
        let api: Api<DynamicObject> = match object.kind.is_namespaced() {
            true => Api::namespaced_with(self.client.clone(), &object.namespace, &resource),
            false => Api::all_with(self.client.clone(), &resource),
        };
        let operations = Value::Array(write.change.operations.clone());
        let patch = match serde_json::from_value(operations) {
            Ok(patch) => Patch::<()>::Json(patch),
            Err(error) => {
                return Answer::NotWritten { outcome: WriteOutcome::Refused, reason: error.to_string() };
            }
        };
        match timeout(TIMEOUT, api.patch_status(&object.name, &self.parameters, &patch)).await {
            Ok(Ok(object)) => Answer::Written(Box::new(object)),
            Ok(Err(error)) => answer(&error),
            Err(_) => Answer::NotWritten { outcome: WriteOutcome::Failed, reason: "no answer in time".to_owned() },
        }
    }
}

fn answer(error: &kube::Error) -> Answer {
    let outcome = match error {
        kube::Error::Api(status) => match status.code {
            404 => return Answer::Gone,
            409 => WriteOutcome::Conflict,
            // Too many requests, and timeouts of the API server's own.
            408 | 429 | 500..=599 => WriteOutcome::Failed,
            _ => WriteOutcome::Refused,
        },
        _ => WriteOutcome::Failed,
    };
    Answer::NotWritten { outcome, reason: error.to_string() }
}

/// The kind as the API server's paths have it.
pub(crate) fn api_resource(kind: Kind) -> ApiResource {
    let (group, version) = kind.api_version().split_once('/').unwrap_or(("", kind.api_version()));
    let kind_name = GroupVersionKind::gvk(group, version, kind.label());
    // What kube would guess of these words is not what their CRDs have.
    match kind {
        Kind::GatewayClass => ApiResource::from_gvk_with_plural(&kind_name, "gatewayclasses"),
        Kind::BackendTlsPolicy => ApiResource::from_gvk_with_plural(&kind_name, "backendtlspolicies"),
        Kind::EdgePolicy => ApiResource::from_gvk_with_plural(&kind_name, "edgepolicies"),
        Kind::Ingress => ApiResource::from_gvk_with_plural(&kind_name, "ingresses"),
        _ => ApiResource::from_gvk(&kind_name),
    }
}

#[cfg(test)]
mod tests;
