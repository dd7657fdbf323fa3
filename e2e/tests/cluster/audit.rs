//! The API server's audit log of everything that ran before: nothing that Headrace asked for was forbidden, and nothing that
//! it is granted is left unused.
//!
//! Last in `make e2e`, since it looks back at the whole run.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::cluster::{SYSTEM_NAMESPACE, kubectl};
use serde_json::Value;

/// One thing that may be asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    verb: String,
    group: String,
    resource: String,
}

/// Grants that a run of these tests does not happen to use, or that a log does not show: verb, group, resource (`*` is any),
/// and why each is needed all the same.
const SELDOM: &[(&str, &str, &str, &str)] = &[
    ("list", "*", "*", "a server without streaming lists is read in pages"),
    ("create", "", "services", "server-side apply creates, and is logged as patch"),
    ("create", "discovery.k8s.io", "endpointslices", "server-side apply creates, and is logged as patch"),
    ("patch", "events.k8s.io", "events", "an event that comes again is counted on the one that is there"),
    ("update", "", "secrets", "the CA of the push is rotated once in months"),
    ("update", "", "configmaps", "the CA of the push is rotated once in months"),
];

#[test]
#[ignore = "needs a cluster: make e2e"]
fn no_call_is_forbidden_and_no_grant_is_unused() -> Result<()> {
    let path = std::env::var("HEADRACE_AUDIT_LOG").context("HEADRACE_AUDIT_LOG does not name the audit log")?;
    let log = std::fs::read_to_string(path)?;
    let us = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:headrace");
    let mut made: BTreeSet<Call> = BTreeSet::new();
    let mut forbidden: BTreeMap<String, usize> = BTreeMap::new();
    for event in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let user = event["user"]["username"].as_str().unwrap_or_default();
        if !user.starts_with(&us) {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let reference = &event["objectRef"];
        let resource = match reference["subresource"].as_str() {
            Some(subresource) => format!("{}/{subresource}", text(&reference["resource"])),
            None => text(&reference["resource"]),
        };
        let call = Call { verb: text(&event["verb"]), group: text(&reference["apiGroup"]), resource };
        // The roles' refusal alone. A namespace that is ending refuses what is new in it with the same code.
        if event["annotations"]["authorization.k8s.io/decision"] == "forbid" {
            *forbidden.entry(format!("{user}: {call:?}: {}", text(&event["requestURI"]))).or_default() += 1;
        }
        made.insert(call);
    }
    ensure!(!made.is_empty(), "the log knows nothing of {us}");
    ensure!(forbidden.is_empty(), "forbidden: {forbidden:#?}");
    let unused: Vec<Call> = granted()?.into_iter().filter(|call| !made.contains(call) && !is_seldom(call)).collect();
    ensure!(unused.is_empty(), "granted and not used: {unused:#?}");
    Ok(())
}

fn is_seldom(call: &Call) -> bool {
    let is = |pattern: &str, text: &str| pattern == "*" || pattern == text;
    SELDOM.iter().any(|(verb, group, resource, _)| {
        is(verb, &call.verb) && is(group, &call.group) && is(resource, &call.resource)
    })
}

/// What the chart's roles for the two programs grant. Roles that are for people to be given are not looked at.
fn granted() -> Result<BTreeSet<Call>> {
    let mut calls = BTreeSet::new();
    for kind in ["clusterrole", "role"] {
        let selector = "app.kubernetes.io/name=headrace,app.kubernetes.io/component=controller";
        let list = kubectl(&["get", kind, "-n", SYSTEM_NAMESPACE, "-l", selector, "-o", "json"])?;
        let list: Value = serde_json::from_str(&list)?;
        for role in list["items"].as_array().context("no list")? {
            for rule in role["rules"].as_array().into_iter().flatten() {
                let each = |field: &str| -> Vec<String> {
                    let all = rule[field].as_array().into_iter().flatten();
                    all.filter_map(|one| one.as_str().map(str::to_owned)).collect()
                };
                for (group, resource) in each("apiGroups")
                    .iter()
                    .flat_map(|group| each("resources").into_iter().map(move |one| (group.clone(), one)))
                {
                    for verb in each("verbs") {
                        calls.insert(Call { verb, group: group.clone(), resource: resource.clone() });
                    }
                }
            }
        }
    }
    ensure!(!calls.is_empty(), "the chart has no roles with the label of the controller");
    Ok(calls)
}
