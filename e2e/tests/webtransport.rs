//! WebTransport by clients and a backend that know nothing of Headrace: Chromium's, Firefox's, aioquic's and
//! `headrace connect`'s own sessions to the demo's echo.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::{Headrace, Process, Reached as _, Site, client};
use serde_json::{Value, json};

/// The guard of each wait.
const GUARD: Duration = Duration::from_secs(30);

#[test]
fn chromium_by_default() -> Result<()> {
    chromium("02")
}

#[test]
fn chromium_with_draft_07() -> Result<()> {
    chromium("07")
}

fn chromium(draft: &str) -> Result<()> {
    let mut site = Site::start()?;
    let spki = site.headrace.spki()?;
    let directory = site.directory().join("browser");
    std::fs::create_dir(&directory)?;
    let url = site.secure("https", "/");
    let path = directory.to_str().context("the temporary directory has a strange name")?;
    let arguments = ["--url", &url, "--draft", draft, "--spki", &spki, "--directory", path];
    let seen = client::run(&site, "browser", "wt_browser.mjs", &arguments).with_context(|| site.tails())?;

    check_page(&seen);
    assert_eq!(seen["session"]["reset"], 77);
    check_screenshot(&directory)
}

#[test]
fn firefox() -> Result<()> {
    let site = Site::start()?;
    let directory = site.directory().join("browser");
    std::fs::create_dir(&directory)?;
    let (url, ca) = (site.secure("https", "/"), site.ca());
    let [ca, path] = [&ca, &directory].map(|path| path.to_str());
    let path = path.context("the temporary directory has a strange name")?;
    let arguments = ["--url", &url, "--ca", ca.context("the CA's file has a strange name")?, "--directory", path];
    let seen = client::run(&site, "firefox", "wt_firefox.mjs", &arguments).with_context(|| site.tails())?;
    check_page(&seen);
    // A stream that is reset ends in an error, whose code Firefox tells on a busy machine and not on a quick one.
    let reset = &seen["session"]["reset"];
    ensure!(*reset == 77 || reset.is_null(), "{reset}");
    check_screenshot(&directory)
}

/// What every browser should have seen on the demo's page.
fn check_page(seen: &Value) {
    assert_eq!(seen["supported"], true);
    let session = &seen["session"];
    assert_eq!(session["greetings"]["unidirectional"], json!(["greeting 1", "greeting 2", "greeting 3"]));
    let answered = json!(["greeting 1, hello", "greeting 2, hello", "greeting 3, hello"]);
    assert_eq!(session["greetings"]["bidirectional"], answered);
    assert_eq!(session["streams"], json!(vec![true; 100]));
    assert_eq!(session["oneWay"], json!(vec![true; 5]));
    assert_eq!(session["datagrams"], json!((1..=5).map(|n| format!("datagram {n}")).collect::<Vec<_>>()));
    assert_eq!((&session["closeCode"], &session["closeReason"]), (&json!(4001), &json!("done")));
    let together = |code| json!({ "streams": 5, "whole": true, "closeCode": code });
    assert_eq!(seen["together"], json!([together(1), together(2), together(3)]));
    assert_eq!(seen["closedByServer"], json!({ "closeCode": 4321, "reason": "as asked" }));
    assert_eq!(seen["refused"], "refused");
    assert_eq!((&seen["state"], &seen["rowsLeft"]), (&json!("closed with 0: done"), &json!(0)));
    assert_eq!(seen["errors"], json!([]));
}

fn check_screenshot(directory: &Path) -> Result<()> {
    let screenshot = std::fs::read(directory.join("page.png"))?;
    assert!(screenshot.starts_with(b"\x89PNG\r\n\x1a\n") && screenshot.len() > 20_000);
    Ok(())
}

#[test]
fn aioquic() -> Result<()> {
    let site = Site::start()?;
    let (url, ca) = (site.secure("https", "/webtransport"), site.ca());
    let arguments = ["--url", &url, "--ca", ca.to_str().context("the directory has a strange name")?];
    let seen = client::run(&site, "aioquic", "wt_h3.py", &arguments).with_context(|| site.tails())?;
    let expected: Value = json!({
        "status": "200",
        "greetings": ["greeting 1", "greeting 2"],
        "answers": ["greeting 1, hello", "greeting 2, hello"],
        "streams": 100,
        "oneWay": "one way",
        "datagram": true,
        "reset": true,
        "neighbourStatus": "200",
        "closeAnswer": "fin",
        "neighbour": "still here",
        "closedByServer": [[4321, "as asked"]],
        "elsewhere": "404",
        "connectionLost": false,
    });
    assert_eq!(seen, expected);
    Ok(())
}

/// Runs `headrace connect` in the site's directory, where it finds the development CA.
fn connect(site: &Site, path: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(Headrace::binary()?);
    command.current_dir(site.directory()).arg("connect").arg(site.secure("https", path)).args(arguments);
    command.arg("--resolve").arg(format!("localhost:{}:127.0.0.1", site.https));
    Ok(command)
}

#[test]
fn a_terminal() -> Result<()> {
    let site = Site::start()?;
    for (arguments, path, input, stdout, stderr, code) in [
        (&["--webtransport"][..], "/webtransport", "one\ntwo\n", "one\ntwo\n", "closed with 0", 0),
        (&["--webtransport", "--datagrams"], "/webtransport", "one\n", "one\n", "closed with 0", 0),
        (&["--webtransport"], "/webtransport?close=7", "", "", "closed with 7: as asked", 3),
        (&["--webtransport"], "/nowhere", "", "", "the answer is 404", 1),
    ] {
        let mut command = connect(&site, path, arguments)?;
        let mut process = Process::start_with_input("connect", &mut command, site.directory(), input)?;
        let status = process.wait(GUARD).with_context(|| site.tails())?;
        ensure!(status.code() == Some(code), "{arguments:?} {path}: {status}\n{}", process.tail());
        assert_eq!(process.stdout(), stdout, "{arguments:?} {path}");
        assert!(process.stderr().contains(stderr), "{arguments:?} {path}: {}", process.stderr());
    }
    Ok(())
}

/// A TCP echo that says at FIN that it has seen it, for ever.
fn tcp_echo() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut reader, mut writer) = (&stream, &stream);
                std::io::copy(&mut reader, &mut writer)?;
                writer.write_all(b"<end>")
            });
        }
    });
    Ok(port)
}

/// A UDP echo, for ever.
fn udp_echo() -> Result<u16> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let port = socket.local_addr()?.port();
    std::thread::spawn(move || {
        let mut octets = [0; 2000];
        while let Ok((size, from)) = socket.recv_from(&mut octets) {
            let _ = socket.send_to(&octets[..size], from);
        }
    });
    Ok(port)
}

/// A Service whose endpoints are this machine's ports, and a route to it in mode Streams.
fn streams_manifest(tcp: u16, udp: u16) -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: applications, namespace: headrace-demo}}
spec:
  ports:
  - {{name: tcp, port: 22, protocol: TCP}}
  - {{name: udp, port: 53, protocol: UDP}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: applications, namespace: headrace-demo, labels: {{kubernetes.io/service-name: applications}}}}
addressType: FQDN
endpoints: [{{addresses: [applications.localhost], conditions: {{ready: true}}}}]
ports:
- {{name: tcp, port: {tcp}, protocol: TCP}}
- {{name: udp, port: {udp}, protocol: UDP}}
---
apiVersion: headrace.dev/v1alpha1
kind: WebTransportRoute
metadata: {{name: applications, namespace: headrace-demo}}
spec:
  parentRefs: [{{name: demo}}]
  rules:
  - matches: [{{path: {{type: Exact, value: /mesh}}}}]
    mode: Streams
    streamBackendRefs: [{{name: applications, port: 22}}]
    datagramBackendRefs: [{{name: applications, port: 53}}]
"#
    )
}

/// Where `headrace connect -L` listens, by what it says.
fn listening(process: &mut Process, transport: &str) -> Result<u16> {
    let wanted = format!("listening on {transport}:127.0.0.1:");
    process.wait_until(GUARD, |process| {
        let said = process.stderr();
        let (_, rest) = said.split_once(&wanted)?;
        rest.split_once(':')?.0.parse().ok()
    })
}

/// Fifty TCP connections and two UDP flows of this machine reach TCP and UDP Services behind one Headrace.
#[test]
fn a_mesh() -> Result<()> {
    let mut site = Site::start()?;
    let manifest = streams_manifest(tcp_echo()?, udp_echo()?);
    std::fs::write(site.manifests().join("applications.yaml"), manifest)?;
    site.headrace.process.wait_until(GUARD, |process| {
        let said = [process.stdout(), process.stderr()].concat();
        said.contains("headrace-demo/applications").then_some(())
    })?;
    let mut command = connect(&site, "/mesh", &["-L", "tcp:127.0.0.1:0", "-L", "udp:127.0.0.1:0"])?;
    let mut process = Process::start("connect", &mut command, site.directory())?;
    let (tcp, udp) = (listening(&mut process, "tcp")?, listening(&mut process, "udp")?);

    let streams = (0..50).map(|_| TcpStream::connect(("127.0.0.1", tcp))).collect::<Result<Vec<_>, _>>()?;
    for mut stream in &streams {
        stream.set_read_timeout(Some(GUARD))?;
        stream.write_all(b"hello")?;
    }
    for mut stream in &streams {
        stream.shutdown(Shutdown::Write)?;
        let mut got = String::new();
        stream.read_to_string(&mut got).with_context(|| format!("{}\n{}", process.tail(), site.tails()))?;
        assert_eq!(got, "hello<end>");
    }
    let clients = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0"));
    for (number, client) in clients.into_iter().enumerate() {
        let (client, question) = (client?, format!("question {number}"));
        client.connect(("127.0.0.1", udp))?;
        client.set_read_timeout(Some(Duration::from_millis(300)))?;
        let mut octets = [0; 100];
        // Datagrams may be lost.
        let answered = (0..100).any(|_| {
            client.send(question.as_bytes()).is_ok()
                && client.recv(&mut octets).is_ok_and(|size| size == question.len())
        });
        ensure!(answered, "no answer\n{}\n{}", process.tail(), site.tails());
        assert_eq!(&octets[..question.len()], question.as_bytes());
    }
    process.signal("TERM")?;
    ensure!(process.wait(GUARD)?.success(), "{}", process.tail());
    Ok(())
}
