//! 0-RTT where an EdgePolicy asks for it, by aioquic.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::{Site, client};
use serde_json::{Value, json};

const POLICY: &str = "{apiVersion: headrace.dev/v1alpha1, kind: EdgePolicy, \
     metadata: {name: returning-clients, namespace: headrace-demo}, spec: {targetRefs: [{group: gateway.networking.k8s.io, \
     kind: Gateway, name: demo}], quic: {zeroRTT: SafeMethods}}}";

fn visit(site: &Site, name: &str) -> Result<Value> {
    let (url, tunnel, ca) = (site.secure("https", "/headers"), site.secure("https", "/echo"), site.headrace.ca());
    let arguments = ["--url", &url, "--tunnel", &tunnel, "--ca", ca.to_str().context("a strange name")?];
    client::run(site, name, "early_data.py", &arguments).with_context(|| site.tails())
}

#[test]
fn a_policy_turns_it_on_and_off() -> Result<()> {
    let mut site = Site::start()?;
    let seen = visit(&site, "without")?;
    assert_eq!((&seen["resumed"], &seen["accepted"]), (&json!(true), &json!(false)), "{seen}");

    let version = site.headrace.metric("headrace_dataplane_table_version", &[])?;
    let policy = site.manifests().join("edge-policy.yaml");
    fs::write(&policy, POLICY)?;
    site.headrace.wait_for_metric("headrace_dataplane_table_version", &[], |now| now > version)?;
    let seen = visit(&site, "with")?;
    assert_eq!((&seen["resumed"], &seen["accepted"]), (&json!(true), &json!(true)), "{seen}");
    for (which, method) in [("before", "GET"), ("safe", "GET"), ("other", "POST")] {
        assert_eq!((&seen[which]["status"], &seen[which]["method"]), (&json!("200"), &json!(method)), "{seen}");
    }
    assert_eq!(seen["tunnel"], "200", "{seen}");
    // Whether the handshake was faster than the GET is chance; the others waited for it.
    let early = &seen["safe"]["earlyData"];
    ensure!(*early == json!(["1"]) || *early == json!([]), "{seen}");
    assert_eq!((&seen["before"]["earlyData"], &seen["other"]["earlyData"]), (&json!([]), &json!([])), "{seen}");

    let version = site.headrace.metric("headrace_dataplane_table_version", &[])?;
    fs::remove_file(&policy)?;
    site.headrace.wait_for_metric("headrace_dataplane_table_version", &[], |now| now > version)?;
    assert_eq!(visit(&site, "without-again")?["accepted"], false);
    Ok(())
}
