//! What lines look like, that they reach their file, and that a slow writer loses lines rather than time.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, Sender, channel};

use http::Method;

use super::entry::{CUT, MAX_TEXT};
use super::*;
use crate::metrics::Version;

const TIMEOUT: Duration = Duration::from_secs(20);

fn entry() -> Entry<'static> {
    Entry {
        client: "[2001:db8::1]:4711".parse().unwrap(),
        version: Version::Http2,
        method: &Method::GET,
        host: "a.example",
        path: "/x",
        status: 0,
        route: None,
        rule: None,
        backend: None,
        bytes_received: 0,
        bytes_sent: 0,
        duration: Duration::ZERO,
        tunnel: false,
        protocol: None,
        cause: None,
        user_agent: None,
    }
}

/// Counts lost lines.
fn losses() -> (impl Fn(u64) + Send + Sync + 'static, Arc<AtomicU64>) {
    let lost = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&lost);
    let on_loss = move |lines| {
        counted.fetch_add(lines, Ordering::Relaxed);
    };
    (on_loss, lost)
}

fn line(entry: &Entry<'_>) -> String {
    let ts = "2026-02-03T04:05:06.789999Z".parse().unwrap();
    serde_json::to_string(&Line { ts, entry }).unwrap()
}

#[test]
fn a_bare_entry_leaves_out_what_is_absent() {
    let expect = r#"{"ts":"2026-02-03T04:05:06.789Z","client":"[2001:db8::1]:4711","version":"http2","method":"GET",
        "host":"a.example","path":"/x","bytes_received":0,"bytes_sent":0,"duration_ms":0.0,"tunnel":false}"#;
    assert_eq!(line(&entry()), expect.replace("\n        ", ""));
}

#[test]
fn a_full_entry_says_everything() {
    let entry = Entry {
        path: "/chat",
        status: 101,
        route: Some("WebSocketRoute/demo/chat"),
        rule: Some("rooms"),
        backend: Some("10.0.0.7:8080".parse().unwrap()),
        bytes_received: 12,
        bytes_sent: 1 << 40,
        duration: Duration::from_micros(1_234_567),
        tunnel: true,
        protocol: Some("websocket"),
        cause: Some("idle_timeout"),
        user_agent: Some("curl/8"),
        ..entry()
    };
    let parsed: serde_json::Value = serde_json::from_str(&line(&entry)).unwrap();
    let expect = serde_json::json!({
        "ts": "2026-02-03T04:05:06.789Z", "client": "[2001:db8::1]:4711", "version": "http2", "method": "GET",
        "host": "a.example", "path": "/chat", "status": 101, "route": "WebSocketRoute/demo/chat", "rule": "rooms",
        "backend": "10.0.0.7:8080", "bytes_received": 12, "bytes_sent": 1_u64 << 40, "duration_ms": 1234.567,
        "tunnel": true, "protocol": "websocket", "cause": "idle_timeout", "user_agent": "curl/8",
    });
    assert_eq!(parsed, expect);
}

#[test]
fn the_time_is_that_of_the_arrival() {
    let hour = Duration::from_secs(3600);
    let (long, short) = (Entry { duration: hour, ..entry() }, entry());
    let before = jiff::Timestamp::now();
    let (long, short) = (Line::of(&long).ts, Line::of(&short).ts);
    let after = jiff::Timestamp::now();
    assert!((before..=after).contains(&short));
    assert!((before..=after).contains(&(long + hour)));
}

#[test]
fn hostile_text_stays_on_its_line() {
    let cases = ["a\"b\\c", "x\",\"status\":200,\"y\":\"", "a\r\nb\0\u{1b}[31m\u{7f}", "\u{fffd}\u{2028}\u{1f600}"];
    for agent in cases {
        let line = line(&Entry { user_agent: Some(agent), ..entry() });
        assert!(!line.bytes().any(|octet| octet < b' '), "{line:?}");
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["user_agent"], agent);
        assert!(parsed.get("status").is_none());
    }
}

#[test]
fn long_text_is_cut_between_characters() {
    // Two octets each after one of one, so that the bound falls within a character.
    let long = format!("/{}", "é".repeat(MAX_TEXT));
    let parsed: serde_json::Value = serde_json::from_str(&line(&Entry { path: &long, ..entry() })).unwrap();
    let path = parsed["path"].as_str().unwrap();
    assert_eq!(path.strip_suffix(CUT).unwrap(), &long[..MAX_TEXT - 1]);

    let fits = "a".repeat(MAX_TEXT);
    let parsed: serde_json::Value = serde_json::from_str(&line(&Entry { path: &fits, ..entry() })).unwrap();
    assert_eq!(parsed["path"], fits);
}

#[test]
fn off_takes_entries_and_writes_nothing() {
    let (on_loss, lost) = losses();
    let logger = AccessLogger::start_counting(AccessLog::Off, on_loss).unwrap();
    assert!(!logger.enabled());
    logger.log(&entry());
    logger.reopen();
    assert!(logger.flush(TIMEOUT));
    assert_eq!(lost.load(Ordering::Relaxed), 0);
}

#[test]
fn a_file_is_appended_to_and_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (path, rotated) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    std::fs::write(&path, "before\n").unwrap();

    let (on_loss, lost) = losses();
    let logger = AccessLogger::start_counting(AccessLog::File(path.clone()), on_loss).unwrap();
    let other_worker = logger.clone();
    assert!(logger.enabled());
    logger.log(&Entry { path: "/1", ..entry() });
    other_worker.log(&Entry { path: "/2", ..entry() });
    assert!(logger.flush(TIMEOUT));

    std::fs::rename(&path, &rotated).unwrap();
    logger.reopen();
    logger.log(&Entry { path: "/3", ..entry() });
    assert!(logger.flush(TIMEOUT));

    let paths = |file| {
        let text = std::fs::read_to_string(file).unwrap();
        let parse =
            |line: &str| Some(serde_json::from_str::<serde_json::Value>(line).ok()?["path"].as_str()?.to_owned());
        text.lines().map(|line| parse(line).unwrap_or(line.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(paths(&rotated), ["before", "/1", "/2"]);
    assert_eq!(paths(&path), ["/3"]);
    assert_eq!(lost.load(Ordering::Relaxed), 0);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(AccessLogger::start_counting(AccessLog::File(dir.path().to_owned()), |_| ()).is_err());
}

/// Writes once for every permit, and tells when it waits for one.
struct Slow {
    waiting: Sender<()>,
    permits: Receiver<()>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Slow {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        // An error means that the test has let go.
        let _ = self.waiting.send(());
        let _ = self.permits.recv();
        self.written.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_slow_writer_loses_lines_and_never_makes_a_worker_wait() {
    const QUEUED: usize = 4;
    const EXCESS: u64 = 100;
    let ((waiting, is_waiting), (permit, permits)) = (channel(), channel());
    let written = Arc::new(Mutex::new(Vec::new()));
    let output = Output::writer(Slow { waiting, permits, written: Arc::clone(&written) });
    let (on_loss, lost) = losses();
    let logger = AccessLogger::start_on(output, QUEUED, on_loss).unwrap();

    logger.log(&entry());
    is_waiting.recv_timeout(TIMEOUT).unwrap();
    for _ in 0..QUEUED as u64 + EXCESS {
        logger.log(&entry());
    }
    assert_eq!(lost.load(Ordering::Relaxed), EXCESS);
    assert!(!logger.flush(Duration::from_millis(5)), "nothing can be written yet");

    drop(permit);
    assert!(logger.flush(TIMEOUT));
    let lines = written.lock().unwrap().iter().filter(|&&octet| octet == b'\n').count();
    assert_eq!(lines, 1 + QUEUED, "every line is written or counted");
}

/// A full disk.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    let (on_loss, lost) = losses();
    let logger = AccessLogger::start_on(Output::writer(Full), 16, on_loss).unwrap();
    logger.log(&entry());
    logger.log(&entry());
    assert!(logger.flush(TIMEOUT));
    assert_eq!(lost.load(Ordering::Relaxed), 2);
}
