//! One Ingress: its rules by host, its default backend, its certificates.
//!
//! Owns the checks that need no other Ingress. It must not know on which listeners the rules end up.

use std::collections::BTreeMap;

use headrace_crds::condition::IngressReason;
use headrace_table::HostPattern;
use headrace_table::wire::{self, Action, Forward, HeaderChanges, Match, Opens, PathMatch, Rule, WeightedBackend};
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend, IngressRule, IngressTLS};

use crate::age::created;
use crate::backend::{BackendError, Backends, PortRef, Purpose};
use crate::certificate::Certificates;
use crate::diagnosis::Fault;
use crate::route::probe;
use crate::status::ObjectRef;
use crate::world::{Key, Kind};
use crate::{hostname, path};

/// An Ingress of ours.
pub(super) struct Parsed {
    pub(super) object: ObjectRef,
    pub(super) generation: Option<i64>,
    pub(super) created: i64,
    /// Rules of each host, in the object's order. A host may have none of its own and be left to the default backend.
    pub(super) hosts: BTreeMap<HostPattern, Vec<Rule>>,
    pub(super) default: Option<Rule>,
    pub(super) tls: Vec<Tls>,
    /// Why parts of it are not served.
    pub(super) refused: Vec<Fault>,
    /// References that cannot be used.
    pub(super) refs: Vec<Fault>,
}

/// A certificate for hosts.
pub(super) struct Tls {
    /// `spec.tls[i]`.
    pub(super) field: String,
    pub(super) hosts: Vec<HostPattern>,
    pub(super) certificate: String,
}

pub(super) fn read(
    key: &Key,
    ingress: &Ingress,
    backends: &mut Backends<'_>,
    certificates: &mut Certificates<'_>,
) -> Parsed {
    let mut parsed = Parsed {
        object: ObjectRef::new(Kind::Ingress, key),
        generation: ingress.metadata.generation,
        created: created(&ingress.metadata),
        hosts: BTreeMap::new(),
        default: None,
        tls: Vec::new(),
        refused: Vec::new(),
        refs: Vec::new(),
    };
    let spec = ingress.spec.clone().unwrap_or_default();
    parsed.default = spec.default_backend.as_ref().map(|backend| {
        let backend = parsed.backend(key, "spec.defaultBackend", backend, backends);
        forward(PathMatch::Prefix("/".to_owned()), backend)
    });
    let rules = spec.rules.unwrap_or_default();
    if rules.is_empty() && parsed.default.is_none() {
        parsed.refuse("spec", "an Ingress needs rules or a defaultBackend");
    }
    for (index, rule) in rules.iter().enumerate() {
        parsed.read_rule(key, &format!("spec.rules[{index}]"), rule, backends);
    }
    for (index, tls) in spec.tls.unwrap_or_default().iter().enumerate() {
        parsed.read_tls(key, format!("spec.tls[{index}]"), tls, certificates);
    }
    parsed
}

impl Parsed {
    pub(super) fn refuse(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.refused.push(Fault::new(field, IngressReason::UnsupportedValue, message));
    }

    fn read_rule(&mut self, key: &Key, field: &str, rule: &IngressRule, backends: &mut Backends<'_>) {
        let host = match hostname::parse_optional(rule.host.as_deref()) {
            Ok(host) => host,
            Err(message) => return self.refuse(format!("{field}.host"), message),
        };
        let paths = rule.http.as_ref().map(|http| http.paths.as_slice()).unwrap_or_default();
        if paths.is_empty() && self.default.is_none() {
            return self.refuse(field, "a rule without paths needs a defaultBackend to go to");
        }
        let mut rules = Vec::with_capacity(paths.len());
        for (index, path) in paths.iter().enumerate() {
            let field = format!("{field}.http.paths[{index}]");
            match read_path(path) {
                Ok(found) => {
                    let backend = self.backend(key, &format!("{field}.backend"), &path.backend, backends);
                    let rule = forward(found, backend);
                    match probe::object_to(&rule) {
                        None => rules.push(rule),
                        Some(objection) => self.refuse(field, objection.message),
                    }
                }
                Err(fault) => self.refused.push(fault.under(&field)),
            }
        }
        self.hosts.entry(host).or_default().extend(rules);
    }

    /// The backend's id, or nothing where it cannot be used; then requests get 500.
    fn backend(
        &mut self,
        key: &Key,
        field: &str,
        backend: &IngressBackend,
        backends: &mut Backends<'_>,
    ) -> Option<String> {
        resolve(&key.namespace, backend, backends).map_err(|fault| self.refs.push(fault.under(field))).ok()
    }

    fn read_tls(&mut self, key: &Key, field: String, tls: &IngressTLS, certificates: &mut Certificates<'_>) {
        let Some(name) = tls.secret_name.as_deref().filter(|name| !name.is_empty()) else {
            let message = "a certificate is needed: name a Secret of type kubernetes.io/tls";
            let field = format!("{field}.secretName");
            return self.refs.push(Fault::new(field, IngressReason::InvalidCertificateRef, message));
        };
        let mut hosts = Vec::new();
        for (index, text) in tls.hosts.iter().flatten().enumerate() {
            match hostname::parse(text) {
                Ok(host) => hosts.push(host),
                Err(message) => self.refuse(format!("{field}.hosts[{index}]"), message),
            }
        }
        if tls.hosts.as_ref().is_none_or(Vec::is_empty) {
            hosts.push(HostPattern::Any);
        }
        match certificates.get(&Key::new(&*key.namespace, name)) {
            Ok(certificate) => self.tls.push(Tls { field, hosts, certificate }),
            Err(error) => {
                let field = format!("{field}.secretName");
                self.refs.push(Fault::new(field, IngressReason::InvalidCertificateRef, error.to_string()));
            }
        }
    }
}

fn read_path(found: &HTTPIngressPath) -> Result<PathMatch, Fault> {
    let text = found.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let read = match found.path_type.as_str() {
        "Exact" => path::exact(text),
        // We take ImplementationSpecific as Prefix, as the type's documentation allows.
        "Prefix" | "ImplementationSpecific" => path::prefix(text),
        other => {
            let message = format!("{other:?} is not a type of path: use Exact or Prefix");
            return Err(Fault::new("pathType", IngressReason::UnsupportedValue, message));
        }
    };
    read.map_err(|message| Fault::new("path", IngressReason::UnsupportedValue, message))
}

fn resolve(namespace: &str, backend: &IngressBackend, backends: &mut Backends<'_>) -> Result<String, Fault> {
    let Some(service) = &backend.service else {
        let message = "only a service can be a backend: remove resource, and name a service";
        return Err(Fault::new("resource", IngressReason::InvalidKind, message));
    };
    let port = service.port.as_ref();
    let by_name = port.and_then(|port| port.name.as_deref()).filter(|name| !name.is_empty()).map(PortRef::Name);
    let by_number = port.and_then(|port| port.number).filter(|number| *number != 0).map(PortRef::Number);
    let Some(port) = by_name.or(by_number) else {
        let message = "a service needs a port: give its name or its number";
        return Err(Fault::new("service.port", IngressReason::BackendNotFound, message));
    };
    backends.get(&Key::new(namespace, &*service.name), port, Purpose::Requests).map_err(|error| {
        let (field, reason) = match error {
            BackendError::NoService(_) => ("service.name", IngressReason::BackendNotFound),
            BackendError::NoPort(..) => ("service.port", IngressReason::BackendNotFound),
            BackendError::TableFull(_) => ("", IngressReason::BackendNotFound),
            BackendError::ExternalName(_) => ("service.name", IngressReason::InvalidKind),
            BackendError::Refused(..) | BackendError::Policy(..) => ("", IngressReason::UnsupportedProtocol),
            BackendError::Transport(..)
            | BackendError::AppProtocol(..)
            | BackendError::NotHttp3(..)
            | BackendError::PolicyOnOctets(..)
            | BackendError::NoPolicy(..) => ("service.port", IngressReason::UnsupportedProtocol),
        };
        Fault::new(field, reason, error.to_string())
    })
}

fn forward(path: PathMatch, backend: Option<String>) -> Rule {
    let backend = WeightedBackend {
        backend,
        weight: 1,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
    };
    Rule {
        name: None,
        matches: vec![Match {
            path,
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
            opens: Opens::Any,
            subprotocols: Vec::new(),
        }],
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        action: Action::Forward(wire::Forward { backends: vec![backend], ..Forward::default() }),
    }
}
