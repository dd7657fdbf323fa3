//! Plain requests by curl, over HTTP/1.1 and HTTP/2, in TLS and in clear text.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::{Reached as _, Site, client};
use serde_json::{Value, json};

const UPLOAD_OCTETS: usize = 3_000_000;
/// `/bytes/N` repeats this many octets, 0 to 250.
const PATTERN_OCTETS: usize = 251;

/// How curl speaks, on which listener.
struct Way {
    flags: &'static [&'static str],
    secure: bool,
    version: &'static str,
}

/// One answer that curl got.
struct Answer {
    status: u16,
    version: String,
    /// Header lines in lower case up to the colon, and trailers.
    head: String,
    body: Vec<u8>,
}

#[test]
fn http1_over_tls() -> Result<()> {
    check(&Way { flags: &["--http1.1"], secure: true, version: "1.1" })
}

#[test]
fn http2_over_tls() -> Result<()> {
    check(&Way { flags: &["--http2"], secure: true, version: "2" })
}

#[test]
fn http1_in_clear_text() -> Result<()> {
    check(&Way { flags: &["--http1.1"], secure: false, version: "1.1" })
}

#[test]
fn http2_in_clear_text() -> Result<()> {
    check(&Way { flags: &["--http2-prior-knowledge"], secure: false, version: "2" })
}

fn check(way: &Way) -> Result<()> {
    let site = Site::start()?;
    requests(&site, way).with_context(|| site.tails())
}

fn requests(site: &Site, way: &Way) -> Result<()> {
    let get = |path: &str, more: &[&str]| curl(site, way, path, more);

    let page = get("/", &[])?;
    assert_eq!((page.status, page.version.as_str()), (200, way.version));
    assert!(page.body.starts_with(b"<!doctype html>"));
    let advertised = page.head.contains(&format!("alt-svc: h3=\":{}\"", site.https));
    assert_eq!(advertised, way.secure, "alt-svc belongs to TLS, where HTTP/3 is: {}", page.head);

    let body = get("/bytes/1000003", &[])?.body;
    assert_eq!(body.len(), 1_000_003);
    assert!(body.iter().enumerate().all(|(index, octet)| usize::from(*octet) == index % PATTERN_OCTETS));

    let file = upload(site)?;
    let file = format!("@{}", file.display());
    let counted = json!({ "bytes": UPLOAD_OCTETS, "trailers": [] });
    let whole = ["--data-binary", file.as_str()];
    // The first two are how curl sends a large body: it asks by `Expect: 100-continue`, or it is told not to.
    for more in [&[][..], &["-H", "Expect:"], &["-H", "Transfer-Encoding: chunked"]] {
        if way.version == "2" && more.iter().any(|word| word.starts_with("Transfer")) {
            continue;
        }
        let answer = get("/upload", &[&whole, more].concat())?;
        assert_eq!(answer.json()?, counted, "{more:?}");
    }
    let expected = get("/upload", &["--data-binary", "hello", "-H", "Expect: 100-continue"])?;
    assert_eq!(expected.json()?["bytes"], 5);

    let te: &[&str] =
        if way.version == "2" { &["-H", "TE: trailers"] } else { &["-H", "TE: trailers", "-H", "Connection: TE"] };
    let trailers = get("/trailers", te)?;
    assert_eq!(trailers.body, b"one\ntwo\n");
    assert!(trailers.head.contains("x-demo-status: done"), "{}", trailers.head);

    let head = get("/bytes/12345", &["--head"])?;
    assert!(head.head.contains("content-length: 12345"), "{}", head.head);
    for (path, status) in
        [("/status/418", 418), ("/status/204", 204), ("/nowhere", 404), ("/bytesome", 404), ("/slow?ms=300", 200)]
    {
        assert_eq!(get(path, &[])?.status, status, "{path}");
    }
    headers(site, way)
}

/// What the backend sees of a request.
fn headers(site: &Site, way: &Way) -> Result<()> {
    let mut more = vec!["-H", "X-Own: kept", "-H", "Cookie: a=b"];
    if way.version == "1.1" {
        // Both are for this hop only (RFC 9110, section 7.6.1).
        more.extend(["-H", "Connection: keep-alive, X-Hop", "-H", "X-Hop: gone", "-H", "Keep-Alive: timeout=5"]);
    }
    let answer = curl(site, way, "/headers?a=b&c", &more)?;
    let seen = answer.json()?;
    assert_eq!((&seen["method"], &seen["path"]), (&json!("GET"), &json!("/headers?a=b&c")));
    let header = |name: &str| seen["headers"].as_array()?.iter().find(|pair| pair[0] == name)?[1].as_str();
    let port = if way.secure { site.https } else { site.http };
    assert_eq!(header("host"), Some(format!("localhost:{port}").as_str()));
    assert_eq!((header("x-own"), header("cookie")), (Some("kept"), Some("a=b")));
    assert_eq!((header("x-hop"), header("keep-alive")), (None, None), "{seen}");
    assert_eq!(header("x-forwarded-proto"), Some(if way.secure { "https" } else { "http" }));
    assert!(header("x-forwarded-for").is_some_and(|value| value.contains("127.0.0.1")), "{seen}");
    Ok(())
}

fn upload(site: &Site) -> Result<PathBuf> {
    let file = site.directory().join("upload");
    std::fs::write(&file, vec![b'u'; UPLOAD_OCTETS])?;
    Ok(file)
}

fn curl(site: &Site, way: &Way, path: &str, more: &[&str]) -> Result<Answer> {
    let (head, body) = (site.directory().join("curl.head"), site.directory().join("curl.body"));
    let _ = std::fs::remove_file(&body);
    let port = if way.secure { site.https } else { site.http };
    let url = if way.secure { site.secure("https", path) } else { site.clear("http", path) };
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*"]);
    command.arg("--cacert").arg(site.headrace.ca()).arg("--resolve").arg(format!("localhost:{port}:127.0.0.1"));
    command.arg("--dump-header").arg(&head).arg("--output").arg(&body);
    command.args(["--write-out", "%{http_code} %{http_version}"]).args(way.flags).args(more).arg(url);
    let told = client::command(site.directory(), "curl", &mut command).with_context(|| path.to_owned())?;
    let (status, version) = told.split_once(' ').context("curl did not say what it got")?;
    ensure!(version == way.version, "{path} came over HTTP/{version}");
    let head = std::fs::read_to_string(head)?.lines().map(lower_name).collect::<Vec<_>>().join("\n");
    // Without a body curl writes no file.
    Ok(Answer {
        status: status.parse()?,
        version: version.to_owned(),
        head,
        body: std::fs::read(body).unwrap_or_default(),
    })
}

fn lower_name(line: &str) -> String {
    match line.split_once(':') {
        Some((name, value)) => format!("{}:{value}", name.to_ascii_lowercase()),
        None => line.to_owned(),
    }
}

impl Answer {
    fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("status {}\n{}\n{}", self.status, self.head, String::from_utf8_lossy(&self.body)))
    }
}
