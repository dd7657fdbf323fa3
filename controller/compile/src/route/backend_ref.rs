//! A route's backend reference, resolved.
//!
//! Owns the reasons by which a route calls what went wrong.

use headrace_crds::condition::RouteReason;

use super::rule::Surroundings;
use super::shape::BackendShape;
use crate::backend::{BackendError, PortRef, Purpose};
use crate::diagnosis::Fault;
use crate::grant::Referent;
use crate::world::Key;

/// The backend's id in the table, or why there is none. Fields are relative to the reference.
pub(super) fn resolve(
    shape: &BackendShape,
    purpose: Purpose,
    around: &mut Surroundings<'_, '_>,
) -> Result<String, Fault> {
    let group = shape.group.as_deref().unwrap_or("");
    let kind = shape.kind.as_deref().unwrap_or("Service");
    if (group, kind) != ("", "Service") {
        let separator = if group.is_empty() { "" } else { "/" };
        let message = format!("{group}{separator}{kind} is not a kind of backend: use a Service");
        return Err(Fault::new("kind", RouteReason::InvalidKind, message));
    }
    let namespace = shape.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let key = Key::new(namespace.unwrap_or(around.route.namespace), &*shape.name);
    if !around.grants.permit(around.route, Referent { group, kind, namespace: &key.namespace, name: &key.name }) {
        let message = format!(
            "Service {key} is in another namespace: a ReferenceGrant in {} must permit it to {} objects of {}",
            key.namespace, around.route.kind, around.route.namespace
        );
        return Err(Fault::new("", RouteReason::RefNotPermitted, message));
    }
    let Some(port) = shape.port else {
        return Err(Fault::new("port", RouteReason::BackendNotFound, "port is required for a Service: add its number"));
    };
    around.backends.get(&key, PortRef::Number(port), purpose).map_err(|error| {
        let (field, reason) = match error {
            BackendError::NoService(_) => ("name", RouteReason::BackendNotFound),
            BackendError::NoPort(..) => ("port", RouteReason::BackendNotFound),
            BackendError::TableFull(_) => ("", RouteReason::BackendNotFound),
            BackendError::ExternalName(_) => ("name", RouteReason::InvalidKind),
            BackendError::Refused(..) | BackendError::Policy(..) => ("", RouteReason::UnsupportedProtocol),
            BackendError::Transport(..)
            | BackendError::AppProtocol(..)
            | BackendError::NotHttp3(..)
            | BackendError::PolicyOnOctets(..)
            | BackendError::NoPolicy(..) => ("port", RouteReason::UnsupportedProtocol),
        };
        Fault::new(field, reason, error.to_string())
    })
}
