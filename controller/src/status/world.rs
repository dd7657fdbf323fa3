//! What stands in an object's status now, by the World or by our own last write, whichever is newer.
//!
//! Owns which of the two counts. It must not know what is to be written.

use std::collections::HashMap;

use headrace_compile::{Kind, ObjectRef, World};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::Value;

use super::merge::Observed;

/// Answers to our own writes that the World has not caught up with. Bounded by what is in flight and by how late watches are.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    answers: HashMap<ObjectRef, Observed>,
}

impl Writes {
    /// Keeps an answer of the API server.
    pub(crate) fn insert(&mut self, object: &ObjectRef, answer: DynamicObject) {
        let DynamicObject { metadata, mut data, .. } = answer;
        let status = data.get_mut("status").map(Value::take).unwrap_or_default();
        self.answers.insert(object.clone(), observed(&metadata, status));
    }

    /// The object as it is now; none if there is none.
    pub(crate) fn observed(&self, object: &ObjectRef, world: &World) -> Option<Observed> {
        let (metadata, status) = in_world(object, world)?;
        let answer = self.answers.get(object).filter(|answer| is_newer(answer, metadata));
        match answer {
            Some(answer) => Some(answer.clone()),
            None => Some(observed(metadata, status.value())),
        }
    }

    /// Forgets what the World knows by now.
    pub(crate) fn prune(&mut self, world: &World) {
        self.answers
            .retain(|object, answer| in_world(object, world).is_some_and(|(metadata, _)| is_newer(answer, metadata)));
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.answers.len()
    }

    pub(crate) fn clear(&mut self) {
        self.answers.clear();
    }
}

fn observed(metadata: &ObjectMeta, status: Value) -> Observed {
    Observed {
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        status,
    }
}

/// Versions of one object compare as numbers; where they are something else, what a watch brought counts.
fn is_newer(answer: &Observed, metadata: &ObjectMeta) -> bool {
    let number = |version: &str| version.parse::<u128>().ok();
    let theirs = metadata.resource_version.as_deref().and_then(number);
    answer.uid == metadata.uid.as_deref().unwrap_or_default()
        && theirs.is_some_and(|theirs| number(&answer.resource_version).is_some_and(|ours| ours > theirs))
}

/// The version of an object, by which it is told whether it changed at all.
pub(crate) fn resource_version<'a>(object: &ObjectRef, world: &'a World) -> Option<&'a str> {
    let (metadata, _) = in_world(object, world)?;
    Some(metadata.resource_version.as_deref().unwrap_or_default())
}

/// A status that is not serialised before somebody wants it.
struct Status<'a>(Box<dyn Fn() -> Value + 'a>);

impl Status<'_> {
    fn of<T: Serialize>(status: Option<&T>) -> Status<'_> {
        // Our types write what they have read: a status holds nothing that JSON cannot say.
        Status(Box::new(move || serde_json::to_value(status).unwrap_or_default()))
    }

    fn value(&self) -> Value {
        (self.0)()
    }
}

/// The metadata and the status of an object of a kind whose status is ours to write.
fn in_world<'a>(object: &ObjectRef, world: &'a World) -> Option<(&'a ObjectMeta, Status<'a>)> {
    let key = object.key();
    macro_rules! find {
        ($field:ident) => {{
            let found = world.$field.get(&key)?;
            (&found.metadata, Status::of(found.status.as_ref()))
        }};
    }
    Some(match object.kind {
        Kind::GatewayClass => find!(gateway_classes),
        Kind::Gateway => find!(gateways),
        Kind::ListenerSet => find!(listener_sets),
        Kind::HttpRoute => find!(http_routes),
        Kind::WebSocketRoute => find!(websocket_routes),
        Kind::WebTransportRoute => find!(webtransport_routes),
        Kind::BackendTlsPolicy => find!(backend_tls_policies),
        Kind::EdgePolicy => find!(edge_policies),
        Kind::Ingress => find!(ingresses),
        _ => return None,
    })
}
