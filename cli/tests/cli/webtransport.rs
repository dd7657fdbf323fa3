//! `headrace connect --webtransport`, towards a server that is not Headrace's.

use std::fs;

use tempfile::TempDir;

use crate::echo_server;
use crate::program::{free_port, run_with};
use crate::webtransport_server::{Behind, Identity, Server, start_without};

fn echo() -> (Server, TempDir) {
    let identity = Identity::new();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("server.pem"), &identity.pem).unwrap();
    (Server::start(&identity, 0, Behind::nothing()), directory)
}

#[test]
fn talks() {
    let (server, directory) = echo();
    let (url, resolve) = (server.url("/echo"), server.resolve());
    for (args, input, stdout, stderr, code) in [
        (&[][..], "one\ntwo\n", "one\ntwo\n", "connected over HTTP/3 (WebTransport, draft07)\nclosed with 0\n", 0),
        (&[], "no line feed", "no line feed\n", "closed with 0\n", 0),
        (&["--datagrams"], "one\ntwo\n", "one\ntwo\n", "closed with 0\n", 0),
        (&["--subprotocol", "b.1", "--subprotocol", "a.1"], "", "", "draft07), subprotocol b.1\n", 0),
        (&["-v", "--origin", "https://x.test", "--http3"], "", "", "status: 200 OK\n", 0),
        (&[], "bye\n", "", "closed with 7: so long\n", 3),
        (&[], "reset\n", "", "the stream ended: the peer reset the stream", 3),
    ] {
        let base = ["connect", &url, "--webtransport", "--ca", "server.pem", "--resolve", &resolve];
        let args = [&base[..], args].concat();
        let (found_stdout, found_stderr, found) = run_with(directory.path(), &args, input);
        assert_eq!(found, code, "{args:?} {input:?}\n{found_stderr}");
        assert!(found_stderr.contains(stderr), "{args:?}: no {stderr:?} in\n{found_stderr}");
        // What the server said of its own accord comes when it comes.
        let talk: String =
            found_stdout.lines().filter(|line| !line.starts_with('[')).map(|l| format!("{l}\n")).collect();
        assert_eq!(talk, stdout, "{args:?} {input:?}");
    }
}

#[test]
fn shows_what_the_server_opens() {
    let (server, directory) = echo();
    let url = server.url("/echo");
    let args = ["connect", &url, "--webtransport", "--insecure", "--resolve", &server.resolve()];
    let mut program = crate::program::Running::start(directory.path(), &args);
    for line in ["] welcome", "] to the echo", "] what do you think?"] {
        assert!(program.line_with(line).starts_with("[stream "));
    }
    program.close_stdin();
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn says_why_there_is_no_session() {
    let (server, directory) = echo();
    let nobody = free_port();
    let without = start_without(&Identity::new());
    let (tcp_only, _) = echo_server::start_tls(&["http/1.1"]);
    for (url, args, stderr) in [
        (server.url("/elsewhere"), &["--ca", "server.pem"][..], "WebTransport: the answer is 403 Forbidden\n"),
        (server.url("/elsewhere"), &["--ca", "server.pem", "-v"], "status: 403 Forbidden\n"),
        (server.url("/echo"), &[], "WebTransport: QUIC: "),
        (
            format!("https://localhost:{}/", without.port()),
            &["--insecure"],
            "the server does not offer WebTransport: the peer shows no draft",
        ),
        (format!("https://localhost:{nobody}/"), &["--insecure"], "WebTransport: no answer to UDP within 3 s"),
        (format!("https://localhost:{}/", tcp_only.port()), &["--insecure"], "WebTransport: no answer to UDP within"),
    ] {
        let port = url.split(':').nth(2).unwrap().split('/').next().unwrap();
        let resolve = format!("localhost:{port}:127.0.0.1");
        let args = [&["connect", &url, "--webtransport", "--resolve", &resolve][..], args].concat();
        // Nobody's roots but the system's, which do not have the server's.
        let (stdout, found, code) = run_with(directory.path(), &args, "hello\n");
        assert_eq!((stdout.as_str(), code), ("", 1), "{args:?}: {found}");
        assert!(found.contains(stderr), "{args:?}: {found}");
    }
}

#[test]
fn wrong_usage() {
    let directory = tempfile::tempdir().unwrap();
    for (args, why) in [
        (&["https://x.test/"][..], "is for --webtransport"),
        (&["wss://x.test/", "--webtransport"], "is at an https:// URL"),
        (&["wss://x.test/", "-L", "tcp:1"], "is at an https:// URL"),
        (&["https://x.test/", "--webtransport", "--binary"], "cannot be used with"),
        (&["https://x.test/", "--webtransport", "--http2"], "cannot be used with"),
        (&["https://x.test/", "-L", "tcp:1", "--datagrams"], "--datagrams"),
        (&["https://x.test/", "--datagrams"], "--webtransport"),
        (&["https://x.test/", "-L", "2222"], "expected tcp:ADDRESS:PORT"),
        (&["https://x.test/", "--webtransport", "--header", "WT-Available-Protocols: x"], "belongs to the handshake"),
    ] {
        let args = [&["connect"], args].concat();
        let (_, stderr, code) = run_with(directory.path(), &args, "");
        assert_eq!(code, 2, "{args:?}: {stderr}");
        assert!(stderr.contains(why), "{args:?}: {stderr}");
    }
}
