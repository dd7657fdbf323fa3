//! `headrace standalone`: the whole chain, from manifests to a backend.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use rustix::process::Signal;

use crate::echo_server;
use crate::program::{Running, free_port, run_with};

/// Manifests for an echo behind `https://localhost:port/echo`.
pub(crate) fn manifests(port: u16, backend_port: u16) -> String {
    format!(
        r#"
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: headrace}}
spec: {{controllerName: headrace.dev/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: demo}}
spec:
  gatewayClassName: headrace
  listeners:
  - {{name: https, port: {port}, protocol: HTTPS, tls: {{certificateRefs: [{{name: demo-tls}}]}}}}
---
apiVersion: headrace.dev/v1alpha1
kind: WebSocketRoute
metadata: {{name: echo}}
spec:
  parentRefs: [{{name: demo}}]
  rules:
  - matches: [{{path: {{value: /echo}}}}]
    backendRefs: [{{name: echo, port: 80}}]
---
apiVersion: v1
kind: Service
metadata: {{name: echo}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: echo, labels: {{kubernetes.io/service-name: echo}}}}
addressType: IPv4
endpoints: [{{addresses: [127.0.0.1]}}]
ports: [{{name: "", port: {backend_port}}}]
"#
    )
}

pub(crate) fn start(directory: &Path, port: u16) -> Running {
    let backend = echo_server::start();
    fs::write(directory.join("demo.yaml"), manifests(port, backend.port())).unwrap();
    let args = ["standalone", "-f", "demo.yaml", "--admin", "off", "--workers", "1", "--bind", "127.0.0.1"];
    let mut standalone = Running::start(directory, &args);
    standalone.line_with(&format!("open https://localhost:{port}/"));
    standalone
}

#[test]
fn serves_every_version() {
    let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut standalone = start(directory.path(), port);
    let url = format!("wss://localhost:{port}/echo");
    for (flag, version) in [("--http1", "HTTP/1.1"), ("--http2", "HTTP/2"), ("--http3", "HTTP/3"), ("-v", "HTTP/3")] {
        let args = ["connect", &url, flag, "--subprotocol", "chat.v1"];
        let (stdout, stderr, code) = run_with(directory.path(), &args, "hello\nbye\n");
        assert_eq!((stdout.as_str(), code), ("hello\n", 3), "{flag}\n{stderr}");
        for part in [
            "trusting .headrace/ca.pem for localhost",
            &format!("connected over {version} "),
            "subprotocol chat.v1",
            "closed with 4001: so long",
        ] {
            assert!(stderr.contains(part), "{flag}: no {part:?} in\n{stderr}");
        }
    }
    // An answer is an answer: nothing older is tried.
    let nowhere = format!("wss://localhost:{port}/nowhere");
    let (_, stderr, code) = run_with(directory.path(), &["connect", &nowhere], "");
    assert_eq!(code, 1);
    assert!(stderr.contains("HTTP/3: the answer is 404 Not Found"), "{stderr}");
    standalone.signal(Signal::TERM);
    assert_eq!(standalone.wait().code(), Some(0));
}

#[test]
fn a_reload_drops_no_tunnel() {
    let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
    let file = directory.path().join("demo.yaml");
    let mut standalone = start(directory.path(), port);
    let good = fs::read_to_string(&file).unwrap();
    let url = format!("wss://localhost:{port}/echo");
    let mut tunnel = Running::start(directory.path(), &["connect", &url]);
    tunnel.line_with("connected over HTTP/3");
    writeln!(tunnel.stdin(), "before").unwrap();
    tunnel.line_with("before");

    fs::write(&file, good.replace("/echo}", "/other}")).unwrap();
    standalone.line_with("reloaded: ");
    let (_, stderr, _) = run_with(directory.path(), &["connect", &url, "--http2"], "");
    assert!(stderr.contains("404"), "{stderr}");

    // A bad object keeps its last good version, and is named with its place.
    fs::write(&file, good.replace("/echo}", "other}")).unwrap();
    let line = standalone.line_with("demo.yaml:");
    let expected = "demo.yaml:21: WebSocketRoute default/echo: spec.rules[0].matches[0].path: value must start with '/' \
                    (what was loaded before stays)";
    assert_eq!(line, expected);
    let other = format!("wss://localhost:{port}/other");
    let (stdout, stderr, _) = run_with(directory.path(), &["connect", &other, "--http2"], "hello\n");
    assert_eq!(stdout, "hello\n", "{stderr}");

    fs::write(&file, &good).unwrap();
    standalone.line_with("reloaded: ");
    writeln!(tunnel.stdin(), "after").unwrap();
    tunnel.line_with("after");
    tunnel.close_stdin();
    assert_eq!(tunnel.wait().code(), Some(0));
}

#[test]
fn a_drain_has_a_deadline_and_a_second_signal_has_none() {
    for (timeout, impatient, code) in [("100ms", false, 0), ("1h", true, 1)] {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let backend = echo_server::start();
        fs::write(directory.path().join("demo.yaml"), manifests(port, backend.port())).unwrap();
        let args = ["standalone", "-f", "demo.yaml", "--admin", "off", "--workers", "1", "--drain-timeout", timeout];
        let mut standalone = Running::start(directory.path(), &args);
        standalone.line_with("open https://");
        let url = format!("wss://localhost:{port}/echo");
        let mut tunnel = Running::start(directory.path(), &["connect", &url, "--http1"]);
        tunnel.line_with("connected over HTTP/1.1");
        standalone.signal(Signal::TERM);
        standalone.line_with("draining");
        if impatient {
            standalone.signal(Signal::INT);
        }
        assert_eq!(standalone.wait().code(), Some(code), "{timeout}");
        assert_eq!(tunnel.wait().code(), Some(3));
    }
}

#[test]
fn a_port_in_use_is_told_and_the_rest_serves() {
    let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken_port = taken.local_addr().unwrap().port();
    let backend = echo_server::start();
    let two_listeners = manifests(port, backend.port())
        .replace("  listeners:\n", &format!("  listeners:\n  - {{name: taken, port: {taken_port}, protocol: HTTP}}\n"));
    fs::write(directory.path().join("demo.yaml"), two_listeners).unwrap();
    let args = ["standalone", "-f", "demo.yaml", "--admin", "off", "--workers", "1", "--bind", "127.0.0.1"];
    let mut standalone = Running::start(directory.path(), &args);
    standalone.line_with(&format!("cannot listen on 127.0.0.1:{taken_port} (TCP)"));
    let row = standalone.line_with("PortUnavailable");
    assert!(row.contains("taken") && row.contains("False"), "{row}");
    standalone.line_with(&format!("open https://localhost:{port}/"));
    let url = format!("wss://localhost:{port}/echo");
    let (stdout, stderr, _) = run_with(directory.path(), &["connect", &url], "hello\n");
    assert_eq!(stdout, "hello\n", "{stderr}");
    drop(taken);
    standalone.line_with(&format!("now listening on 127.0.0.1:{taken_port} (TCP)"));
    standalone.line_with(&format!("open http://localhost:{taken_port}/"));
}

#[test]
fn files_that_cannot_be_read_stop_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut standalone = Running::start(directory.path(), &["standalone", "-f", "absent", "--admin", "off"]);
    standalone.line_with("absent: cannot be read");
    assert_eq!(standalone.wait().code(), Some(2));
}
