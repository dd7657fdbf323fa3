//! Who may have the table, which holds private keys: a pod of the data plane, and nobody else.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::cluster::{SYSTEM_NAMESPACE, apply, get, kubectl, node, wait_for};
use headrace_e2e::probe::metric;
use headrace_e2e::{Reached, client};
use tempfile::TempDir;

/// The name in the push server's certificate, and its port.
const PUSH_NAME: &str = "headrace-controller-push.headrace-system.svc";
const PUSH_PORT: u16 = 9443;

/// The audience that a token must be for.
const AUDIENCE: &str = "push.headrace.dev";

/// gRPC's codes for who is not known, and who may not.
const UNAUTHENTICATED: &str = "16";
const PERMISSION_DENIED: &str = "7";

struct Leader {
    admin: SocketAddr,
    directory: TempDir,
}

impl Leader {
    fn find() -> Result<Self> {
        let admin = node::admin(&node::leader()?)?;
        let bundle = get(SYSTEM_NAMESPACE, "configmap", "headrace-push-ca")?.context("no trust bundle")?;
        let directory = TempDir::with_prefix("headrace-push-")?;
        std::fs::write(directory.path().join("ca.pem"), bundle["data"]["ca.crt"].as_str().context("no ca.crt")?)?;
        Ok(Self { admin, directory })
    }

    /// Subscribes with that token, and returns the status that the server gives.
    fn subscribe(&self, token: Option<&str>) -> Result<String> {
        let (address, ca) = (self.admin.ip().to_string(), self.ca());
        let mut arguments = vec!["--address", &address, "--name", PUSH_NAME];
        arguments.extend(["--ca", ca.to_str().context("a strange name")?]);
        arguments.extend(token.iter().flat_map(|token| ["--token", *token]));
        let seen = client::run(self, "subscribe", "subscribe.mjs", &arguments)?;
        seen["status"].as_str().map(str::to_owned).with_context(|| format!("no grpc-status: {seen}"))
    }

    /// The streams that were refused and the connections that came to nothing, over all reasons.
    fn refused(&self) -> Result<f64> {
        let streams = metric(self.admin, "headrace_controller_push_streams_refused_total", &[])?;
        let connections = "headrace_controller_push_connections_total";
        let began = metric(self.admin, connections, &["result=\"accepted\""])?;
        Ok(streams + metric(self.admin, connections, &[])? - began)
    }
}

impl Reached for Leader {
    fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }
}

fn token(arguments: &[&str]) -> Result<String> {
    let arguments = [&["create", "token", "-n", SYSTEM_NAMESPACE], arguments].concat();
    Ok(kubectl(&arguments)?.trim().to_owned())
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn only_pods_of_the_data_plane_may_subscribe() -> Result<()> {
    let leader = Leader::find()?;
    let audience = format!("--audience={AUDIENCE}");
    let cases = [
        ("no token", None),
        ("no token at all", Some("not.a.token".to_owned())),
        ("another audience", Some(token(&["headrace-dataplane", "--audience=another"])?)),
        ("the API server's audience", Some(token(&["headrace-dataplane"])?)),
        ("another ServiceAccount", Some(token(&["default", &audience])?)),
        ("the controller's ServiceAccount", Some(token(&["headrace-controller", &audience])?)),
        ("bound to no pod", Some(token(&["headrace-dataplane", &audience])?)),
        ("bound to a pod that is gone", Some(of_a_deleted_pod(&audience)?)),
    ];
    for (case, token) in cases {
        let before = leader.refused()?;
        let status = leader.subscribe(token.as_deref()).context(case)?;
        ensure!([UNAUTHENTICATED, PERMISSION_DENIED].contains(&status.as_str()), "{case}: grpc-status {status}");
        ensure!(leader.refused()? > before, "{case} is not counted");
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn clear_text_is_refused_and_counted() -> Result<()> {
    let leader = Leader::find()?;
    let before = leader.refused()?;
    let mut stream = TcpStream::connect((leader.admin.ip(), PUSH_PORT))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
    let mut answer = Vec::new();
    // A reset is as good an answer as an alert.
    let _ = stream.read_to_end(&mut answer);
    ensure!(!answer.windows(4).any(|window| window == b"\0\0\0\x04"), "HTTP/2 is answered in clear text: {answer:?}");
    wait_for("the dial to be counted", || Ok((leader.refused()? > before).then_some(())))
}

fn of_a_deleted_pod(audience: &str) -> Result<String> {
    apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: short-lived, namespace: {SYSTEM_NAMESPACE}}}, spec: \
         {{serviceAccountName: headrace-dataplane, automountServiceAccountToken: false, terminationGracePeriodSeconds: 0, \
         securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}, \
         containers: [{{name: demo, image: 'headrace.dev/demo:dev', imagePullPolicy: IfNotPresent, \
         args: ['--listen', '0.0.0.0:9000'], \
         securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}}}]}}}}"
    ))?;
    let bound = ["headrace-dataplane", audience, "--bound-object-kind=Pod", "--bound-object-name=short-lived"];
    let token = token(&bound)?;
    kubectl(&["delete", "pod", "short-lived", "-n", SYSTEM_NAMESPACE, "--grace-period=0", "--force", "--wait=true"])?;
    Ok(token)
}
