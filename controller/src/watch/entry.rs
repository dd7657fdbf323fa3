//! An object as the API server sent it: read, or not readable by this version of Headrace.
//!
//! A list or a watch must not fail because one object says something that our types do not know (an enumeration's value of
//! a newer CRD, say): that object alone is set aside, with its name and what was wrong.

use std::borrow::Cow;

use headrace_compile::Key;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::kinds::Watched;

/// What `kubectl apply` keeps in an annotation: the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object of a kind, or what is known of one that could not be read.
#[derive(Clone, Debug)]
pub(crate) enum Entry<K> {
    /// As it is.
    Readable(K),
    /// It says something that we do not understand.
    Unreadable {
        /// Which one.
        metadata: Box<ObjectMeta>,
        /// What, and where in it.
        reason: String,
    },
}

impl<K: Watched> Entry<K> {
    /// Its namespace and name.
    pub(crate) fn key(&self) -> Key {
        let meta = self.meta();
        Key::new(meta.namespace.as_deref().unwrap_or(""), meta.name.as_deref().unwrap_or(""))
    }

    /// Its version at the API server.
    pub(crate) fn resource_version(&self) -> Option<&str> {
        self.meta().resource_version.as_deref()
    }
}

impl<'de, K: Watched> Deserialize<'de> for Entry<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        drop_ballast(&mut value);
        match serde_path_to_error::deserialize::<_, K>(&value) {
            Ok(object) => Ok(Entry::Readable(object)),
            Err(error) => {
                let metadata = value.get_mut("metadata").map(Value::take).unwrap_or_default();
                let metadata = ObjectMeta::deserialize(metadata).map_err(de::Error::custom)?;
                Ok(Entry::Unreadable { metadata: Box::new(metadata), reason: error.to_string() })
            }
        }
    }
}

/// Drops what nobody here reads and what is often the greater part of an object, before it is made into one.
fn drop_ballast(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    metadata.remove("managedFields");
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
}

/// The API by which it is reached is discovered: of some kinds more than one version has the same shape.
impl<K: Watched> Resource for Entry<K> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(api: &ApiResource) -> Cow<'_, str> {
        api.kind.as_str().into()
    }

    fn group(api: &ApiResource) -> Cow<'_, str> {
        api.group.as_str().into()
    }

    fn version(api: &ApiResource) -> Cow<'_, str> {
        api.version.as_str().into()
    }

    fn plural(api: &ApiResource) -> Cow<'_, str> {
        api.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Entry::Readable(object) => object.meta(),
            Entry::Unreadable { metadata, .. } => metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Entry::Readable(object) => object.meta_mut(),
            Entry::Unreadable { metadata, .. } => metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use gateway_api::httproutes::HttpRoute;
    use serde_json::json;

    use super::*;

    #[test]
    fn ballast_does_not_come_in() {
        let entry: Entry<HttpRoute> = serde_json::from_value(json!({
            "metadata": {
                "name": "a", "namespace": "shop", "resourceVersion": "7",
                "managedFields": [{"manager": "kubectl"}],
                "annotations": {LAST_APPLIED: "{}", "kept": "yes"},
            },
            "spec": {},
        }))
        .unwrap();
        let Entry::Readable(route) = &entry else { panic!("{entry:?}") };
        assert_eq!(route.metadata.managed_fields, None);
        assert_eq!(route.metadata.annotations.as_ref().unwrap().keys().collect::<Vec<_>>(), ["kept"]);
        assert_eq!(entry.key(), Key::new("shop", "a"));
        assert_eq!(entry.resource_version(), Some("7"));
    }

    #[test]
    fn an_unreadable_object_says_which_and_where() {
        let entry: Entry<HttpRoute> = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "shop", "resourceVersion": "7"},
            "spec": {"rules": [{"filters": [{"type": "OfTheFuture"}]}]},
        }))
        .unwrap();
        let Entry::Unreadable { reason, .. } = &entry else { panic!("{entry:?}") };
        assert!(reason.contains("spec.rules[0].filters[0]") && reason.contains("OfTheFuture"), "{reason}");
        assert_eq!(entry.key(), Key::new("shop", "a"));
    }
}
