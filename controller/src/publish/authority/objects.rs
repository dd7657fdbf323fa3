//! How the authority is written down: a Secret with the keys, and a ConfigMap with what pods should trust.
//!
//! Owns the keys and annotations of both. What others wrote into either stays as it is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::{Authorities, Authority, AuthorityError, Previous};

/// On the Secret, with any value: rotate now. Taken away when the rotation has begun.
pub(crate) const ROTATE: &str = "headrace.dev/rotate";

/// On the Secret: when the current CA took over, in RFC 3339.
const REPLACED: &str = "headrace.dev/replaced";

/// On the ConfigMap: since when its bundle stands there, in RFC 3339.
const PUBLISHED: &str = "headrace.dev/published";

const CURRENT_CERTIFICATE: &str = "ca.crt";
const CURRENT_KEY: &str = "ca.key";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const PREVIOUS_CERTIFICATE: &str = "previous.crt";

/// The key of the bundle, and the name of the file that pods see.
const BUNDLE: &str = "ca.crt";

/// The authorities that a Secret holds. `None` if it holds none yet: a chart may make the Secret and leave it empty.
pub(crate) fn read_secret(secret: &Secret) -> Result<Option<Authorities>, AuthorityError> {
    let empty = BTreeMap::new();
    let data = secret.data.as_ref().unwrap_or(&empty);
    let text = |key: &str| data.get(key).and_then(|octets| std::str::from_utf8(&octets.0).ok());
    if !data.contains_key(CURRENT_CERTIFICATE) && !data.contains_key(CURRENT_KEY) {
        return Ok(None);
    }
    let certificate = text(CURRENT_CERTIFICATE).ok_or(AuthorityError::Certificate)?;
    let current = Authority::parse(certificate, text(CURRENT_KEY).ok_or(AuthorityError::Key)?)?;
    // A next CA that cannot be used is as good as none: another is made when it is time.
    let next = text(NEXT_CERTIFICATE).zip(text(NEXT_KEY));
    let next = next.and_then(|(certificate, key)| Authority::parse(certificate, key).ok());
    let previous = text(PREVIOUS_CERTIFICATE).map(|certificate| Previous {
        certificate_pem: certificate.to_owned(),
        // Without the annotation it is as old as can be, and goes.
        replaced: annotated_time(secret.metadata.annotations.as_ref(), REPLACED).unwrap_or(Timestamp::UNIX_EPOCH),
    });
    Ok(Some(Authorities { current, next, previous }))
}

/// Whether somebody asked for a rotation.
pub(crate) fn asks_for_rotation(secret: &Secret) -> bool {
    secret.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(ROTATE))
}

/// Writes the authorities into a Secret.
pub(crate) fn write_secret(secret: &mut Secret, authorities: &Authorities) {
    let data = secret.data.get_or_insert_default();
    let mut set = |key: &str, value: Option<&str>| match value {
        Some(value) => drop(data.insert(key.to_owned(), ByteString(value.as_bytes().to_vec()))),
        None => drop(data.remove(key)),
    };
    let Authorities { current, next, previous } = authorities;
    set(CURRENT_CERTIFICATE, Some(current.certificate_pem()));
    set(CURRENT_KEY, Some(current.key_pem()));
    set(NEXT_CERTIFICATE, next.as_ref().map(Authority::certificate_pem));
    set(NEXT_KEY, next.as_ref().map(Authority::key_pem));
    set(PREVIOUS_CERTIFICATE, previous.as_ref().map(|previous| previous.certificate_pem.as_str()));
    let annotations = secret.metadata.annotations.get_or_insert_default();
    annotations.remove(ROTATE);
    match previous {
        Some(previous) => drop(annotations.insert(REPLACED.to_owned(), previous.replaced.to_string())),
        None => drop(annotations.remove(REPLACED)),
    }
}

/// Since when the ConfigMap holds exactly this bundle. `None` if it holds another, or none.
pub(crate) fn published(config_map: &ConfigMap, bundle: &str) -> Option<Timestamp> {
    let held = config_map.data.as_ref()?.get(BUNDLE)?;
    if held != bundle {
        return None;
    }
    annotated_time(config_map.metadata.annotations.as_ref(), PUBLISHED)
}

/// Writes the bundle into a ConfigMap.
pub(crate) fn write_config_map(config_map: &mut ConfigMap, bundle: &str, now: Timestamp) {
    config_map.data.get_or_insert_default().insert(BUNDLE.to_owned(), bundle.to_owned());
    config_map.metadata.annotations.get_or_insert_default().insert(PUBLISHED.to_owned(), now.to_string());
}

fn annotated_time(annotations: Option<&BTreeMap<String, String>>, name: &str) -> Option<Timestamp> {
    annotations?.get(name)?.parse().ok()
}
