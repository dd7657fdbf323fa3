//! A golden case's input: manifests, and what the compiler is told besides.
//!
//! Owns the reading of `in.yaml`. Shared by the golden runner and the robustness test.

#![allow(dead_code, reason = "each of the tests that share this file needs a part of it")]

use std::path::{Path, PathBuf};

use headrace_compile::{Kind, LocalEndpoints, Object, Options, World};
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
    gateway_api_version: Option<String>,
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
            self.options.http3 = document.http3.unwrap_or(self.options.http3);
            if document.local_endpoints == Some(true) {
                self.options.local_endpoints = LocalEndpoints::Allowed;
            }
            self.options.ingress_ports = document.ingress_ports.unwrap_or(self.options.ingress_ports);
            self.options.gateway_api_version = document.gateway_api_version;
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
