//! `headrace check`.

use std::fs;

use crate::program::{run, run_with};

const GOOD: &str = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: headrace}
spec: {controllerName: headrace.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: demo}
spec:
  gatewayClassName: headrace
  listeners:
  - {name: https, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: absent}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: demo}
spec:
  parentRefs: [{name: demo}]
  rules:
  - backendRefs:
    - name: demo
      port: 80
---
apiVersion: v1
kind: Service
metadata: {name: demo}
spec: {ports: [{port: 80}]}
"#;

#[test]
fn exit_codes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let not_accepted = GOOD.replace("- name: demo", "- name: nowhere");
    let wrong_type = GOOD.replace("port: 80\n---", "port: eighty\n---");
    let no_hostname = GOOD.replace("protocol: HTTPS,", "protocol: HTTPS, hostname: \"\u{fc}.test\",");
    let misspelt = GOOD.replace("metadata: {name: demo}", "metadata: {name: demo, lable: {}}");
    let files = [
        ("good", GOOD),
        ("refused", &not_accepted),
        ("type", &wrong_type),
        ("typo", &misspelt),
        ("host", &no_hostname),
        ("none", "# nothing\n"),
    ];
    for (file, text) in files {
        fs::write(path.join(format!("{file}.yaml")), text).unwrap();
    }
    for (args, code, line) in [
        (&["check", "-f", "good.yaml"][..], 0, "HTTPRoute     default/demo    default/demo  Accepted      True"),
        (&["check", "-f", "typo.yaml"], 0, "GatewayClass"),
        (
            &["check", "-f", "refused.yaml"],
            1,
            "refused.yaml:22: HTTPRoute default/demo: spec.rules[0].backendRefs[0].name: ",
        ),
        (&["check", "-f", "type.yaml"], 1, "type.yaml:23: HTTPRoute default/demo: spec.rules[0].backendRefs[0].port: "),
        // No certificate can be made for that name, and the route is judged all the same.
        (&["check", "-f", "host.yaml"], 1, "Secret default/absent: development CA: no certificate can be made"),
        (&["check", "-f", "host.yaml"], 1, "HTTPRoute     default/demo"),
        (&["standalone", "--check", "-f", "good.yaml"], 0, "GatewayClass  headrace"),
        (&["standalone", "--check", "-f", "refused.yaml"], 1, "BackendNotFound"),
        (&["check", "-f", "good.yaml", "absent.yaml"], 2, "absent.yaml: cannot be read"),
        (&["check", "-f", "none.yaml"], 2, ""),
        (&["check"], 2, ""),
        (&["check", "--no-such-flag"], 2, ""),
    ] {
        let (stdout, stderr, found) = run(path, args);
        assert_eq!(found, code, "{args:?}\n{stdout}{stderr}");
        assert!(stdout.contains(line), "{args:?}: no {line:?} in\n{stdout}{stderr}");
    }
    assert!(!path.join(".headrace").exists(), "a check writes nothing");
}

#[test]
fn json_and_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    let (stdout, _, code) = run_with(directory.path(), &["check", "-o", "json", "-f", "-"], GOOD);
    assert_eq!(code, 0);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["accepted"], true);
    assert_eq!(report["problems"][0]["severity"], "info");
    assert_eq!(report["problems"][0]["object"], "Secret default/absent");
    let class = &report["conditions"][0];
    assert_eq!(
        (&class["kind"], &class["name"], &class["type"], &class["status"]),
        (&"GatewayClass".into(), &"headrace".into(), &"Accepted".into(), &"True".into())
    );
}
