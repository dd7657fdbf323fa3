//! A golden case's input: manifests, and what the compiler is told besides.
//!
//! Owns the reading of `in.yaml`. Shared by the golden runner and the robustness test.

#![allow(dead_code, reason = "each of the tests that share this file needs a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use headrace_compile::{Key, Kind, LocalEndpoints, Object, Options, PortOwner, Ports, World};
use headrace_table::{SectionId, SectionKind};
use serde::Deserialize;
use serde_yaml::Value;

/// One directory under `tests/golden/<kind>`.
pub(crate) struct Case {
    pub(crate) directory: PathBuf,
    /// As they were read.
    pub(crate) documents: Vec<(Kind, Value)>,
    pub(crate) objects: Vec<Object>,
    pub(crate) options: Options,
}

/// The document of kind `Options` that an input may have: what differs from the defaults.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OptionsDocument {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    http3: Option<bool>,
    local_endpoints: Option<bool>,
    ingress_ports: Option<(u16, u16)>,
    ingress_public_ports: Option<(u16, u16)>,
    /// `namespace/name`.
    ingress_service: Option<String>,
    gateway_api_version: Option<String>,
    /// The first and the last port that may be allotted. Ports are as listed where it is absent.
    allotted: Option<(u16, u16)>,
    /// By `namespace/gateway:port`.
    #[serde(default)]
    before: BTreeMap<String, u16>,
    /// By `kind id`.
    #[serde(default)]
    refused: BTreeMap<String, String>,
    #[serde(default)]
    pod_sets: Vec<String>,
}

impl OptionsDocument {
    fn apply(self, options: &mut Options) {
        options.http3 = self.http3.unwrap_or(options.http3);
        if self.local_endpoints == Some(true) {
            options.local_endpoints = LocalEndpoints::Allowed;
        }
        options.ingress_ports = self.ingress_ports.unwrap_or(options.ingress_ports);
        options.ingress_public_ports = self.ingress_public_ports;
        options.ingress_service = self.ingress_service.as_deref().map(key);
        options.gateway_api_version = self.gateway_api_version;
        if let Some((first, last)) = self.allotted {
            let before = self.before.iter().map(|(owner, port)| (port_owner(owner), *port)).collect();
            options.ports = Ports::Allotted { range: first..=last, before };
        }
        let refused = self.refused.into_iter();
        options.refused = refused.map(|(section, why)| (section_id(&section), why)).collect();
        options.pod_sets.extend(self.pod_sets);
    }
}

fn key(text: &str) -> Key {
    let (namespace, name) = text.split_once('/').unwrap();
    Key::new(namespace, name)
}

fn port_owner(text: &str) -> PortOwner {
    let (gateway, port) = text.split_once(':').unwrap();
    PortOwner { gateway: key(gateway), port: port.parse().unwrap() }
}

fn section_id(text: &str) -> SectionId {
    let (kind, id) = text.split_once(' ').unwrap();
    SectionId::new(*SectionKind::ALL.iter().find(|one| one.label() == kind).unwrap(), id)
}

impl Case {
    pub(crate) fn read(directory: &Path) -> Case {
        let path = directory.join("in.yaml");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.starts_with("# "), "{}: the first line must say why the case exists", path.display());
        let mut case = Case {
            directory: directory.to_owned(),
            documents: Vec::new(),
            objects: Vec::new(),
            options: Options::default(),
        };
        for (at, document) in serde_yaml::Deserializer::from_str(&text).enumerate() {
            let place = format!("{}, document {at}", path.display());
            let value = Value::deserialize(document).unwrap_or_else(|error| panic!("{place}: {error}"));
            case.take(&place, value);
        }
        case
    }

    fn take(&mut self, place: &str, value: Value) {
        let word = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (word("apiVersion"), word("kind"));
        if kind == "Options" {
            let document: OptionsDocument =
                serde_yaml::from_value(value).unwrap_or_else(|error| panic!("{place}: {error}"));
            document.apply(&mut self.options);
            return;
        }
        let kind = Kind::of(&api_version, &kind).unwrap_or_else(|| panic!("{place}: no kind {api_version} {kind}"));
        self.documents.push((kind, value.clone()));
        let mut track = serde_path_to_error::Track::new();
        let object = Object::deserialize(kind, serde_path_to_error::Deserializer::new(value, &mut track));
        self.objects.push(object.unwrap_or_else(|error| panic!("{place}: {}: {error}", track.path())));
    }

    pub(crate) fn world(&self) -> World {
        let mut world = World::default();
        for object in &self.objects {
            world.insert(object.clone());
        }
        world
    }
}

/// Every case, in the order of their names.
pub(crate) fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut directories: Vec<PathBuf> = children(&root).iter().flat_map(|kind| children(kind)).collect();
    directories.sort();
    directories.iter().map(|directory| Case::read(directory)).collect()
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
}
