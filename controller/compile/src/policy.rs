//! BackendTLSPolicies: which Services are reached over TLS, and who has to be there.
//!
//! Owns which policy has a target, whether it can be held to, and its status. A target whose policy cannot be held to is not
//! reached at all: clear text is not what was asked for. It must not know routes; they tell through which Gateways a
//! Service is reached.

mod authority;

use std::collections::{BTreeMap, BTreeSet};

use gateway_api::backendtlspolicies::{
    BackendTlsPolicy, BackendTlsPolicyValidation, BackendTlsPolicyValidationSubjectAltNames,
    BackendTlsPolicyValidationSubjectAltNamesType,
};
use headrace_crds::condition::{ConditionType, PolicyReason};
use headrace_table::wire::{BackendTls, SubjectAltName, Trust};
use headrace_table::{HostPattern, MAX_TEXT};

use crate::age::Age;
use crate::diagnosis::{ConditionWriter, Fault};
use crate::hostname;
use crate::status::{AncestorStatus, ObjectRef, PolicyStatus, Statuses};
use crate::world::{Key, Kind, World};

/// The bound of the Gateway API's own schema.
const MAX_ANCESTORS: usize = 16;

/// Names that a certificate may have at most (the bound of the Gateway API's own schema).
const MAX_NAMES: usize = 5;

/// TLS options under this domain are ours. Those of others are not for us to judge.
const OUR_OPTIONS: &str = "headrace.dev/";

/// Every policy, by what it targets.
pub(crate) struct Policies {
    by_key: BTreeMap<Key, Policy>,
    /// By Service and the name of its port, or none for all of its ports; the oldest policy first.
    by_target: BTreeMap<Key, BTreeMap<Option<String>, Vec<Key>>>,
}

struct Policy {
    object: ObjectRef,
    age: Age,
    generation: Option<i64>,
    tls: Result<BackendTls, Fault>,
    /// References that cannot be used.
    refs: Vec<Fault>,
    /// Targets that another policy has, by index.
    lost: BTreeMap<usize, Key>,
    targets: usize,
    /// Gateways through which a target is reached.
    ancestors: BTreeSet<Key>,
}

impl Policies {
    pub(crate) fn of(world: &World) -> Self {
        let mut policies = Policies { by_key: BTreeMap::new(), by_target: BTreeMap::new() };
        for (key, policy) in &world.backend_tls_policies {
            policies.by_key.insert(key.clone(), read(world, key, policy));
        }
        let mut by_age: Vec<(&Age, &Key)> = policies.by_key.iter().map(|(key, policy)| (&policy.age, key)).collect();
        by_age.sort();
        let mut lost = Vec::new();
        for (_, key) in by_age {
            let Some(policy) = world.backend_tls_policies.get(key) else { continue };
            for (index, target) in policy.spec.target_refs.iter().enumerate() {
                if (&*target.group, &*target.kind) != ("", "Service") {
                    continue;
                }
                let section = target.section_name.clone().filter(|section| !section.is_empty());
                let service = Key::new(&*key.namespace, &*target.name);
                let having = policies.by_target.entry(service).or_default().entry(section).or_default();
                if let Some(first) = having.first().filter(|first| *first != key) {
                    lost.push((key.clone(), index, first.clone()));
                }
                if !having.contains(key) {
                    having.push(key.clone());
                }
            }
        }
        for (key, index, winner) in lost {
            if let Some(policy) = policies.by_key.get_mut(&key) {
                policy.lost.insert(index, winner);
            }
        }
        policies
    }

    /// What holds for that port of that Service: TLS, nothing, or why it cannot be reached.
    pub(crate) fn tls(&self, service: &Key, port_name: &str) -> Result<Option<BackendTls>, String> {
        let Some(sections) = self.by_target.get(service) else { return Ok(None) };
        // A policy for the port goes before one for the whole Service.
        let of_port = sections.get(&Some(port_name.to_owned()));
        let first = of_port.or_else(|| sections.get(&None)).and_then(|having| having.first());
        let Some(policy) = first.and_then(|key| self.by_key.get(key)) else { return Ok(None) };
        match &policy.tls {
            Ok(tls) => Ok(Some(tls.clone())),
            Err(fault) => Err(format!("{} cannot be held to: {}", policy.object, fault.message)),
        }
    }

    /// Whether any policy targets the Service.
    pub(crate) fn target(&self, service: &Key) -> bool {
        self.by_target.contains_key(service)
    }

    /// Takes note that the Service is reached through these Gateways.
    pub(crate) fn reached(&mut self, service: &Key, gateways: &BTreeSet<Key>) {
        let keys = self.by_target.get(service).into_iter().flat_map(|sections| sections.values().flatten());
        for key in keys {
            if let Some(policy) = self.by_key.get_mut(key) {
                policy.ancestors.extend(gateways.iter().cloned());
            }
        }
    }

    /// Writes what became of every policy.
    pub(crate) fn write(&self, world: &World, controller_name: &str, statuses: &mut Statuses) {
        for (key, policy) in &self.by_key {
            let targets = world.backend_tls_policies.get(key).map(|policy| policy.spec.target_refs.iter().enumerate());
            for (index, target) in targets.into_iter().flatten() {
                let service = Key::new(&*key.namespace, &*target.name);
                let is_service = (&*target.group, &*target.kind) == ("", "Service");
                if is_service && !world.services.contains_key(&service) {
                    let message = format!("Service {service} does not exist: create it, or name one that does");
                    let field = format!("spec.targetRefs[{index}].name");
                    let fault = Fault::new(field, PolicyReason::TargetNotFound, message);
                    statuses.problems.push(fault.problem(&policy.object, ConditionType::Accepted));
                }
            }
            policy.write(controller_name, statuses);
        }
    }
}

impl Policy {
    fn write(&self, controller_name: &str, statuses: &mut Statuses) {
        let conflicts: Vec<Fault> = self
            .lost
            .iter()
            .map(|(index, winner)| {
                let message = format!("BackendTLSPolicy {winner} is older and has the target: remove one");
                Fault::new(format!("spec.targetRefs[{index}]"), PolicyReason::Conflicted, message)
            })
            .collect();
        // One that has a target of its own left is held to there.
        let lost_all = !self.lost.is_empty() && self.lost.len() == self.targets;
        let mut refused: Vec<Fault> = self.tls.as_ref().err().cloned().into_iter().collect();
        statuses.problems.extend(refused.iter().map(|fault| fault.problem(&self.object, ConditionType::Accepted)));
        statuses.problems.extend(conflicts.iter().map(|fault| fault.problem(&self.object, ConditionType::Accepted)));
        statuses
            .problems
            .extend(self.refs.iter().map(|fault| fault.problem(&self.object, ConditionType::ResolvedRefs)));
        if lost_all {
            refused.splice(0..0, conflicts);
        }
        let mut writer = ConditionWriter::new(self.generation);
        writer.set_by(ConditionType::Accepted, &refused, PolicyReason::Accepted, "The policy is held to.");
        let message = "Every reference was found.";
        writer.set_by(ConditionType::ResolvedRefs, &self.refs, PolicyReason::ResolvedRefs, message);
        let ancestors = self.ancestors.iter().take(MAX_ANCESTORS).map(|gateway| AncestorStatus {
            ancestor: ObjectRef::new(Kind::Gateway, gateway),
            section: None,
            controller_name: controller_name.to_owned(),
            conditions: writer.conditions.clone(),
        });
        let ancestors: Vec<AncestorStatus> = ancestors.collect();
        if !ancestors.is_empty() {
            statuses.policies.push(PolicyStatus { object: self.object.clone(), ancestors });
        }
    }
}

fn read(world: &World, key: &Key, policy: &BackendTlsPolicy) -> Policy {
    let mut refs = Vec::new();
    let is_service = |target: &&gateway_api::backendtlspolicies::BackendTlsPolicyTargetRefs| {
        (&*target.group, &*target.kind) == ("", "Service")
    };
    let ours = policy.spec.options.iter().flatten().map(|(name, _)| name).find(|name| name.starts_with(OUR_OPTIONS));
    let tls = match ours {
        Some(option) => {
            let message = format!("there is no TLS option {option}: remove it");
            Err(Fault::new("spec.options", PolicyReason::Invalid, message))
        }
        None => {
            validation(world, key, &policy.spec.validation, &mut refs).map_err(|fault| fault.under("spec.validation"))
        }
    };
    Policy {
        object: ObjectRef::new(Kind::BackendTlsPolicy, key),
        age: Age::of(key, &policy.metadata),
        generation: policy.metadata.generation,
        tls,
        refs,
        lost: BTreeMap::new(),
        targets: policy.spec.target_refs.iter().filter(is_service).count(),
        ancestors: BTreeSet::new(),
    }
}

fn validation(
    world: &World,
    key: &Key,
    validation: &BackendTlsPolicyValidation,
    refs: &mut Vec<Fault>,
) -> Result<BackendTls, Fault> {
    let invalid = |field: &str, message: String| Fault::new(field, PolicyReason::Invalid, message);
    let server_name = match hostname::parse(&validation.hostname) {
        Ok(HostPattern::Exact(name)) => name.as_str().to_owned(),
        Ok(_) => {
            return Err(invalid("hostname", format!("{} is a wildcard: write one host name", validation.hostname)));
        }
        Err(message) => return Err(invalid("hostname", message)),
    };
    let references = validation.ca_certificate_refs.as_deref().unwrap_or_default();
    let trust = match (references, validation.well_known_ca_certificates.as_deref()) {
        ([], Some("System")) => Trust::System,
        ([], Some(other)) => {
            let message = format!("{other} is not a set of authorities that is known here: use System");
            return Err(invalid("wellKnownCACertificates", message));
        }
        ([], None) => {
            let message = "authorities are needed: set caCertificateRefs, or wellKnownCACertificates to System";
            return Err(invalid("", message.to_owned()));
        }
        (references, _) => Trust::Roots(authority::roots(world, key, references, refs)?),
    };
    let names = validation.subject_alt_names.as_deref().unwrap_or_default();
    if names.len() > MAX_NAMES {
        return Err(invalid(
            "subjectAltNames",
            format!("{} names, of which at most {MAX_NAMES} are allowed", names.len()),
        ));
    }
    let names = names.iter().enumerate().map(|(index, name)| {
        subject_alt_name(name).map_err(|message| invalid(&format!("subjectAltNames[{index}]"), message))
    });
    Ok(BackendTls { server_name, trust, subject_alt_names: names.collect::<Result<_, _>>()? })
}

fn subject_alt_name(name: &BackendTlsPolicyValidationSubjectAltNames) -> Result<SubjectAltName, String> {
    match (&name.r#type, name.hostname.as_deref(), name.uri.as_deref()) {
        (BackendTlsPolicyValidationSubjectAltNamesType::Hostname, Some(host), _) => match hostname::parse(host)? {
            HostPattern::Any => Err("a host name is needed".to_owned()),
            host => Ok(SubjectAltName::Hostname(host.to_string())),
        },
        (BackendTlsPolicyValidationSubjectAltNamesType::Uri, _, Some(uri))
            if uri.contains(':') && uri.len() <= MAX_TEXT =>
        {
            Ok(SubjectAltName::Uri(uri.to_owned()))
        }
        (BackendTlsPolicyValidationSubjectAltNamesType::Uri, _, Some(uri)) => {
            Err(format!("{uri:?} is not a URI that can be compared"))
        }
        (BackendTlsPolicyValidationSubjectAltNamesType::Hostname, None, _) => Err("hostname must be set".to_owned()),
        (BackendTlsPolicyValidationSubjectAltNamesType::Uri, _, None) => Err("uri must be set".to_owned()),
    }
}
