//! `headrace bench` and `connect --bench`: that they measure what they say, not how fast anything is.

use crate::program::{free_port, run};
use crate::standalone;

#[test]
fn measures_through_a_proxy() {
    let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
    let standalone = standalone::start(directory.path(), port);
    let url = format!("wss://localhost:{port}/echo");
    let pid = standalone.pid();
    for (version, label) in [("--http1", "HTTP/1.1"), ("--http2", "HTTP/2"), ("--http3", "HTTP/3")] {
        let load = ["--connections", "2", "--tunnels", "3", "--messages", "100", "--concurrency", "2", "--size", "300"];
        let args = [&["bench", "--url", &url, version, "--pid", &pid, "-o", "json"][..], &load].concat();
        let (stdout, stderr, code) = run(directory.path(), &args);
        assert_eq!(code, 0, "{stderr}");
        let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((&report["http"], &report["messages"]), (&label.into(), &100.into()));
        assert!(report["cpu_seconds_per_million"].is_number(), "{report}");
        assert!(report["p50_us"].as_u64() <= report["p99_us"].as_u64(), "{report}");

        for mode in [&["--idle", "--hold", "0"][..], &["--slow-reader", "0", "--push"]] {
            let args = [&["bench", "--url", &url, version, "--pid", &pid, "-o", "json"][..], mode].concat();
            let (stdout, stderr, code) = run(directory.path(), &args);
            assert_eq!(code, 0, "{stderr}");
            let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
            assert!(report["before"]["rss_octets"].as_u64() > Some(0), "{report}");
        }
    }
    let (stdout, stderr, code) = run(directory.path(), &["connect", &url, "--bench", "--messages", "10"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("HTTP/3: 10 echoes of 64 octets on 1 x 1 tunnels"), "{stdout}");
    let (_, _, code) = run(directory.path(), &["bench", "--url", &url, "--idle"]);
    assert_eq!(code, 2, "--idle needs --pid");
}
