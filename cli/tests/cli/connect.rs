//! `headrace connect`, towards a server that is not Headrace's.

use std::fs;

use crate::echo_server;
use crate::program::run_with;

#[test]
fn talks_in_clear_text() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("ws://{}/", echo_server::start());
    for (args, input, stdout, stderr, code) in [
        (&[][..], "one\ntwo\n", "one\ntwo\n", "connected over HTTP/1.1 (Upgrade, RFC 6455), in clear text", 0),
        (&["--binary"], "hi\n", "[2 octets] 6869\n", "closed with 1000", 0),
        (&["--subprotocol", "a", "--subprotocol", "b"], "", "", "subprotocol a", 0),
        (&["-v", "--header", "Origin: https://x.test"], "", "", "status: 101 Switching Protocols", 0),
        (&[], "bye\n", "", "closed with 4001: so long", 3),
        (&[], "drop\n", "", "ended without a Close", 3),
        (&["--http3"], "", "", "HTTP/3: needs TLS", 1),
    ] {
        let args = [&["connect", &url], args].concat();
        let (found_stdout, found_stderr, found) = run_with(directory.path(), &args, input);
        assert_eq!((found_stdout.as_str(), found), (stdout, code), "{args:?} {input:?}\n{found_stderr}");
        assert!(found_stderr.contains(stderr), "{args:?}: no {stderr:?} in\n{found_stderr}");
    }
}

#[test]
fn says_why_it_fell_back() {
    for (alpn, reason) in [
        (&["http/1.1"][..], "ALPN chose http/1.1"),
        (&["h2", "http/1.1"], "the server does not offer SETTINGS_ENABLE_CONNECT_PROTOCOL"),
        (&[], "ALPN chose nothing"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (address, certificate) = echo_server::start_tls(alpn);
        fs::write(directory.path().join("server.pem"), certificate).unwrap();
        let url = format!("wss://localhost:{}/", address.port());
        let resolve = format!("localhost:{}:127.0.0.1", address.port());
        let args = ["connect", &url, "--ca", "server.pem", "--resolve", &resolve];
        let (stdout, stderr, code) = run_with(directory.path(), &args, "hello\n");
        assert_eq!((stdout.as_str(), code), ("hello\n", 0), "{stderr}");
        let expected = [
            "HTTP/3: no answer to UDP within 3 s; trying HTTP/2".to_owned(),
            format!("HTTP/2: {reason}; trying HTTP/1.1"),
            "connected over HTTP/1.1 (Upgrade, RFC 6455)".to_owned(),
            "closed with 1000".to_owned(),
        ];
        assert_eq!(stderr.lines().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn trusts_nobody_without_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let (address, certificate) = echo_server::start_tls(&["http/1.1"]);
    let (_, another) = echo_server::start_tls(&["http/1.1"]);
    fs::write(directory.path().join("server.pem"), certificate).unwrap();
    fs::write(directory.path().join("another.pem"), another).unwrap();
    let url = format!("wss://localhost:{}/", address.port());
    let resolve = format!("localhost:{}:127.0.0.1", address.port());
    for (args, code, stderr) in [
        (&["--ca", "server.pem"][..], 0, "connected"),
        (&["--insecure"], 0, "connected"),
        (&["--ca", "another.pem"], 1, "HTTP/1.1: TLS: "),
        (&["--ca", "absent.pem"], 1, "absent.pem"),
    ] {
        let args = [&["connect", &url, "--http1", "--resolve", &resolve][..], args].concat();
        let (_, found, found_code) = run_with(directory.path(), &args, "");
        assert_eq!(found_code, code, "{args:?}: {found}");
        assert!(found.contains(stderr), "{args:?}: {found}");
    }
}

#[test]
fn wrong_usage() {
    let directory = tempfile::tempdir().unwrap();
    for args in [
        &["connect", "https://x.test/"][..],
        &["connect"],
        &["connect", "ws://x.test/", "--http1", "--http2"],
        &["connect", "ws://x.test/", "--header", "Sec-WebSocket-Key: x"],
        &["connect", "ws://x.test/", "--header", "nonsense"],
        &["connect", "ws://x.test/", "--header", "Host: y.test"],
    ] {
        assert_eq!(run_with(directory.path(), args, "").2, 2, "{args:?}");
    }
}
