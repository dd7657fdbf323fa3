//! The generated YAML: that it is up to date, and that it says what an API server and a conformance suite look for.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::path::Path;
use std::process::Command;

use headrace_crds::crd::generated_files;
use headrace_crds::websocketroute::{PathMatchType, WebSocketRoute};
use headrace_crds::webtransportroute::{WebTransportMode, WebTransportRoute};
use serde_json::Value;

/// The kinds, each with its short name and whether it has a status.
const KINDS: &[(&str, &str, bool)] = &[
    ("websocketroutes", "wsr", true),
    ("webtransportroutes", "wtr", true),
    ("gatewayparameters", "gwp", false),
    ("edgepolicies", "ep", true),
];

fn yaml(plural: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("yaml/{plural}.yaml"));
    serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every map in a tree.
fn maps<'v>(value: &'v Value, found: &mut Vec<&'v serde_json::Map<String, Value>>) {
    match value {
        Value::Object(map) => {
            found.push(map);
            map.values().for_each(|value| maps(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| maps(value, found)),
        _ => {}
    }
}

#[test]
fn files_are_up_to_date() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    for file in generated_files() {
        let current = std::fs::read_to_string(directory.join(file.name)).unwrap();
        assert_eq!(current, file.contents, "run `cargo run -p headrace-crds --bin crdgen`");
    }
    let check = Command::new(env!("CARGO_BIN_EXE_crdgen")).arg("--check").status().unwrap();
    assert!(check.success());
}

#[test]
fn unknown_arguments_are_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_crdgen")).arg("--chekc").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn names_are_those_of_the_kind() {
    for (plural, short, has_status) in KINDS {
        let crd = yaml(plural);
        assert_eq!(crd["metadata"]["name"], format!("{plural}.headrace.dev"));
        assert_eq!(crd["spec"]["scope"], "Namespaced");
        assert_eq!(crd["spec"]["names"]["shortNames"], serde_json::json!([short]));
        assert_eq!(crd["spec"]["names"]["categories"], serde_json::json!(["gateway-api"]));
        let subresources = &crd["spec"]["versions"][0]["subresources"];
        assert_eq!(subresources.get("status").is_some(), *has_status, "{plural}");
        // The conformance suite takes whatever carries these for Gateway API's own CRDs.
        let annotations = crd["metadata"]["annotations"].as_object();
        assert!(annotations.is_none_or(|all| all.keys().all(|key| !key.starts_with("gateway.networking.k8s.io/"))));
    }
    assert_eq!(generated_files().len(), KINDS.len());
}

#[test]
fn everything_is_bounded() {
    let crds = KINDS.iter().map(|(plural, ..)| yaml(plural)).collect::<Vec<_>>();
    let mut found = Vec::new();
    for crd in &crds {
        maps(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"], &mut found);
    }
    for schema in found {
        match schema.get("type").and_then(Value::as_str) {
            Some("array") => assert!(schema.contains_key("maxItems"), "{schema:?}"),
            Some("string") => {
                assert!(schema.contains_key("maxLength") || schema.contains_key("enum"), "{schema:?}");
            }
            Some("object") if schema.contains_key("additionalProperties") => {
                assert!(schema.contains_key("maxProperties"), "{schema:?}");
            }
            Some("integer") => assert!(schema.contains_key("maximum"), "{schema:?}"),
            _ => {}
        }
        assert!(!schema.contains_key("nullable"), "{schema:?}");
    }
}

#[test]
fn absent_fields_have_the_defaults_of_the_schema() {
    let route: WebSocketRoute = serde_yaml::from_str(
        "metadata: { name: a }\nspec: { rules: [ { matches: [ { path: {} } ], backendRefs: [ { name: web, port: 80 } ] } ] }",
    )
    .unwrap();
    let path = route.spec.rules[0].matches[0].path.as_ref().unwrap();
    assert_eq!((path.r#type, path.value.as_str()), (PathMatchType::PathPrefix, "/"));
    let crd = yaml("websocketroutes");
    let rules = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["rules"];
    let path = &rules["items"]["properties"]["matches"]["items"]["properties"]["path"]["properties"];
    assert_eq!((&path["type"]["default"], &path["value"]["default"]), (&"PathPrefix".into(), &"/".into()));
}

#[test]
fn sessions_end_with_a_backend_unless_a_rule_says_otherwise() {
    let route: WebTransportRoute = serde_yaml::from_str(
        "metadata: { name: a }\nspec: { rules: [ { backendRefs: [ { name: game, port: 443 } ] }, \
         { mode: Streams, streamBackendRefs: [ { name: ssh, port: 22 } ] } ] }",
    )
    .unwrap();
    let modes: Vec<_> = route.spec.rules.iter().map(|rule| rule.mode).collect();
    assert_eq!(modes, [WebTransportMode::Session, WebTransportMode::Streams]);
    let crd = yaml("webtransportroutes");
    let version = &crd["spec"]["versions"][0];
    let rule = &version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["rules"]["items"];
    assert_eq!(rule["properties"]["mode"]["default"], "Session", "CEL rules rely on it");
    let columns = version["additionalPrinterColumns"].as_array().unwrap();
    let columns: Vec<_> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Hostnames", "Mode", "Accepted", "ResolvedRefs", "Message", "Age"]);
}
