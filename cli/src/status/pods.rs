//! One request to one pod, through the API server.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

/// For a request and its whole answer: a pod that is well takes a fraction of it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Octets of an answer. The metrics of a large installation are well below a megabyte.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Why a pod gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("it has no port called admin")]
    NoPort,
    #[error("it cannot be reached through the API server: {0}")]
    Unreachable(String),
    #[error("it did not answer within {} s", TIMEOUT.as_secs())]
    Late,
    #[error("it answered {0}")]
    Refused(http::StatusCode),
}

/// The body at a path of a pod's admin port.
pub(super) async fn get(pods: &Api<Pod>, pod: &Pod, path: &str) -> Result<String, NoAnswer> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let port = admin_port(pod).ok_or(NoAnswer::NoPort)?;
    tokio::time::timeout(TIMEOUT, ask(pods, name, port, path)).await.map_err(|_| NoAnswer::Late)?
}

fn admin_port(pod: &Pod) -> Option<u16> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let admin = ports.find(|port| port.name.as_deref() == Some("admin"))?;
    u16::try_from(admin.container_port).ok()
}

async fn ask(pods: &Api<Pod>, name: &str, port: u16, path: &str) -> Result<String, NoAnswer> {
    let unreachable = |error: &dyn std::fmt::Display| NoAnswer::Unreachable(error.to_string());
    let mut forwarder = pods.portforward(name, &[port]).await.map_err(|error| unreachable(&error))?;
    let stream = forwarder.take_stream(port).ok_or(NoAnswer::NoPort)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    // It ends with the stream below, and an error of it is one of the request.
    tokio::spawn(connection);
    let request = http::Request::get(path).header(http::header::HOST, name).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| unreachable(&error))?;
    let response = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| unreachable(&error))?;
    forwarder.abort();
    if !status.is_success() {
        return Err(NoAnswer::Refused(status));
    }
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}
