//! ConfigMaps as certificate authorities.
//!
//! Owns what of them can be trusted in. It must not know what for.

use std::fmt::Write as _;

use gateway_api::backendtlspolicies::BackendTlsPolicyValidationCaCertificateRefs;
use headrace_crds::condition::PolicyReason;
use headrace_table::MAX_ROOTS;
use k8s_openapi::api::core::v1::ConfigMap;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::diagnosis::Fault;
use crate::world::{Key, World};

/// Where a ConfigMap holds its certificates (BackendTLSPolicy, caCertificateRefs).
const ROOTS_KEY: &str = "ca.crt";

/// Certificates of one policy at most. The public authorities together are some hundred and fifty.
const MAX_CERTIFICATES: usize = 256;

/// The certificates of every reference that can be used, as PEM. Faults of references come with their fields from the
/// object's root, the one that is returned relative to the list's parent.
pub(super) fn roots(
    world: &World,
    policy: &Key,
    references: &[BackendTlsPolicyValidationCaCertificateRefs],
    refs: &mut Vec<Fault>,
) -> Result<String, Fault> {
    let (mut pem, mut left) = (String::new(), MAX_CERTIFICATES);
    for (index, reference) in references.iter().enumerate() {
        match read(world, policy, reference, &mut left) {
            Ok(text) if pem.len().saturating_add(text.len()) >= MAX_ROOTS => {
                let field = format!("spec.validation.caCertificateRefs[{index}]");
                let message = format!("ConfigMap {}: {} octets are too many", reference.name, text.len());
                refs.push(Fault::new(field, PolicyReason::InvalidCACertificateRef, message));
            }
            Ok(text) => {
                // A file without a newline at its end must not join with the next.
                let _ = writeln!(pem, "{}", text.trim_end());
            }
            Err((reason, message)) => {
                let field = format!("spec.validation.caCertificateRefs[{index}]");
                refs.push(Fault::new(field, reason, message));
            }
        }
    }
    if !pem.is_empty() {
        return Ok(pem);
    }
    let why = refs.first().map_or_else(String::new, |fault| format!(": {}", fault.message));
    let message = format!("there is no certificate authority that can be used{why}");
    Err(Fault::new("caCertificateRefs", PolicyReason::NoValidCACertificate, message))
}

fn read<'w>(
    world: &'w World,
    policy: &Key,
    reference: &BackendTlsPolicyValidationCaCertificateRefs,
    left: &mut usize,
) -> Result<&'w str, (PolicyReason, String)> {
    let (group, kind) = (reference.group.as_str(), reference.kind.as_str());
    if (group, kind) != ("", "ConfigMap") {
        let message = format!("{kind} is not a kind of certificate authority: name a ConfigMap");
        return Err((PolicyReason::InvalidKind, message));
    }
    let key = Key::new(&*policy.namespace, &*reference.name);
    let wrong = |message: String| (PolicyReason::InvalidCACertificateRef, message);
    let map = world.config_maps.get(&key).ok_or_else(|| wrong(format!("ConfigMap {key} does not exist")))?;
    let (text, count) = certificates(map).map_err(|message| wrong(format!("ConfigMap {key}: {message}")))?;
    *left = left.checked_sub(count).ok_or_else(|| {
        wrong(format!("ConfigMap {key}: more than {MAX_CERTIFICATES} certificates in all: remove some"))
    })?;
    Ok(text)
}

/// The text, and how many certificates are in it.
fn certificates(map: &ConfigMap) -> Result<(&str, usize), String> {
    let text =
        map.data.as_ref().and_then(|data| data.get(ROOTS_KEY)).ok_or_else(|| format!("it has no {ROOTS_KEY}"))?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let parsed = parsed.map_err(|error| format!("{ROOTS_KEY} is not PEM: {error}"))?;
    if parsed.is_empty() {
        return Err(format!("{ROOTS_KEY} holds no CERTIFICATE"));
    }
    let (mut store, count) = (RootCertStore::empty(), parsed.len());
    for certificate in parsed.into_iter().take(MAX_CERTIFICATES) {
        store.add(certificate).map_err(|error| format!("{ROOTS_KEY} holds no certificate to trust in: {error}"))?;
    }
    Ok((text, count))
}
