//! Changes while tunnels are open: how soon they take effect, that `Programmed` is never true too early, that a replaced
//! certificate is shown to new handshakes, and that no tunnel notices any of it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use headrace_e2e::cluster::edge::{CERTIFICATE, GATEWAY, HOSTNAME};
use headrace_e2e::cluster::{self, Edge, GUARD, apply, kubectl, wait_for};
use headrace_e2e::tunnels::Tunnels;
use headrace_e2e::{Reached as _, trust};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::json;

/// How many changes are timed.
const CHANGES: usize = 100;

/// How many Gateway changes are asked for in a row. Each must be served when its condition says so.
const LISTENERS: usize = 10;

/// Connections that are tried as soon as a listener says that it is programmed: some to every pod.
const TRIES: usize = 12;

/// Tunnels that are open meanwhile, unless `HEADRACE_E2E_TUNNELS` says otherwise.
const TUNNELS: usize = 300;

fn tunnels() -> usize {
    std::env::var("HEADRACE_E2E_TUNNELS").ok().and_then(|count| count.parse().ok()).unwrap_or(TUNNELS)
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_route_change_takes_effect_and_no_tunnel_notices() -> Result<()> {
    let edge = Edge::create("case-changes")?;
    let tunnels = Tunnels::open(&edge, &edge.url("wss", "/echo"), tunnels())?;
    let mut connection = Connection::open(edge.address)?;
    let (mut since_apply, mut since_accepted) = (Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let value = format!("change-{change}");
        let started = Instant::now();
        patch(edge.namespace.name(), &value)?;
        let accepted = Instant::now();
        while connection.header("x-change")?.as_deref() != Some(&value) {
            ensure!(accepted.elapsed() < GUARD, "{value} does not take effect");
        }
        since_apply.push(started.elapsed());
        since_accepted.push(accepted.elapsed());
    }
    report("kubectl patch to the first request that sees it", &mut since_apply);
    report("the API server's answer to the first request that sees it", &mut since_accepted);
    tunnels.close()
}

fn patch(namespace: &str, value: &str) -> Result<()> {
    let change = json!({ "spec": { "rules": [{
        "backendRefs": [{ "name": "demo", "port": 80 }],
        "filters": [{
            "type": "ResponseHeaderModifier",
            "responseHeaderModifier": { "set": [{ "name": "x-change", "value": value }] },
        }],
    }] } });
    kubectl(&["patch", "httproute", "demo", "-n", namespace, "--type", "merge", "-p", &change.to_string()]).map(drop)
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |quantile: usize| times[(times.len() * quantile / 100).min(times.len() - 1)].as_millis();
    eprintln!("{what}, {} changes: p50 {} ms, p99 {} ms, most {} ms", times.len(), at(50), at(99), at(100));
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn programmed_is_never_true_too_early() -> Result<()> {
    let edge = Edge::create("case-programmed")?;
    let namespace = edge.namespace.name();
    for index in 0..LISTENERS {
        let (hostname, secret) = (format!("host-{index}.headrace.test"), format!("host-{index}-tls"));
        apply(&edge.authority.secret(namespace, &secret, &[&hostname])?)?;
        // A wildcard route is there already, so that the listener serves as soon as it is there.
        let listener = json!([{ "op": "add", "path": "/spec/listeners/-", "value": {
            "name": format!("host-{index}"), "protocol": "HTTPS", "port": 443, "hostname": hostname,
            "tls": { "certificateRefs": [{ "name": secret }] },
        } }]);
        kubectl(&["patch", "gateway", GATEWAY, "-n", namespace, "--type", "json", "-p", &listener.to_string()])?;
        wait_for(&format!("{hostname} to be programmed"), || {
            let gateway = cluster::get(namespace, "gateway", GATEWAY)?.context("no Gateway")?;
            let status = gateway["status"]["listeners"].as_array().context("no listeners")?;
            let own = status.iter().find(|one| one["name"] == format!("host-{index}")).context("no such listener")?;
            let programmed = cluster::condition(own, "/conditions", "Programmed").context("no condition")?;
            let current = programmed["observedGeneration"] == gateway["metadata"]["generation"];
            Ok((current && programmed["status"] == "True").then_some(()))
        })?;
        for _ in 0..TRIES {
            let shown = certificate(&edge, &hostname)?;
            let valid = x509_parser::parse_x509_certificate(&shown)?.1;
            ensure!(valid.subject_alternative_name()?.is_some(), "no names");
            let names = format!("{:?}", valid.subject_alternative_name()?);
            ensure!(names.contains(&hostname), "Programmed, and {hostname} is shown the certificate of {names}");
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_replaced_certificate_is_shown_and_tunnels_live() -> Result<()> {
    let edge = Edge::create("case-certificate")?;
    let tunnels = Tunnels::open(&edge, &edge.url("wss", "/echo"), 50)?;
    let before = certificate(&edge, HOSTNAME)?;
    apply(&edge.authority.secret(edge.namespace.name(), CERTIFICATE, &[HOSTNAME, "another.headrace.test"])?)?;
    let replaced = Instant::now();
    wait_for("the new certificate", || Ok((certificate(&edge, HOSTNAME)? != before).then_some(())))?;
    eprintln!("a replaced certificate is shown after {} ms", replaced.elapsed().as_millis());

    // One whose key does not fit is told, and tunnels live through that as well.
    kubectl(&[
        "patch",
        "secret",
        CERTIFICATE,
        "-n",
        edge.namespace.name(),
        "--type",
        "merge",
        "-p",
        &json!({ "stringData": { "tls.key": foreign_key()? } }).to_string(),
    ])?;
    let listener = "/status/listeners/0/conditions";
    let namespace = edge.namespace.name();
    let told = cluster::wait_for_condition(namespace, "gateway", GATEWAY, listener, "ResolvedRefs", "False")?;
    ensure!(told["reason"] == "InvalidCertificateRef", "{told}");
    tunnels.close()
}

fn foreign_key() -> Result<String> {
    Ok(rcgen::KeyPair::generate()?.serialize_pem())
}

/// The certificate that a new handshake is shown for a server name.
fn certificate(edge: &Edge, hostname: &str) -> Result<Vec<u8>> {
    let config = Arc::new(trust::client(&edge.ca(), "http/1.1")?);
    let name = ServerName::try_from(hostname.to_owned())?;
    let tcp = TcpStream::connect_timeout(&SocketAddr::new(edge.address, 443), GUARD)?;
    let mut tls = StreamOwned::new(ClientConnection::new(config, name)?, tcp);
    write!(tls, "GET /headers HTTP/1.1\r\nHost: {hostname}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    // The end without close_notify is as good as any here.
    let _ = tls.read_to_string(&mut answer);
    ensure!(answer.starts_with("HTTP/1.1 200"), "{hostname}: {answer}");
    let shown = tls.conn.peer_certificates().context("no certificate")?;
    Ok(shown.first().context("no certificate")?.to_vec())
}

/// One kept connection in clear text, on which a header is looked at again and again.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: IpAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&SocketAddr::new(address, 80), GUARD)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(GUARD))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// A header of the answer to one more request.
    fn header(&mut self, name: &str) -> Result<Option<String>> {
        write!(self.0.get_mut(), "GET /bytes/1 HTTP/1.1\r\nHost: {HOSTNAME}\r\n\r\n")?;
        let (mut found, mut length) = (None, 0);
        let mut status = String::new();
        self.0.read_line(&mut status)?;
        ensure!(status.starts_with("HTTP/1.1 200"), "{status:?}");
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            let Some((field, value)) = line.trim_end().split_once(": ") else {
                if line == "\r\n" { break } else { bail!("not a header: {line:?}") }
            };
            if field.eq_ignore_ascii_case(name) {
                found = Some(value.to_owned());
            }
            if field.eq_ignore_ascii_case("content-length") {
                length = value.parse()?;
            }
        }
        self.0.read_exact(&mut vec![0; length])?;
        Ok(found)
    }
}
