//! What the admin server answers over real sockets, and that it lets nobody hold it up.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A server on loopback; dropped with the runtime.
async fn start() -> (SocketAddr, Readiness) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let readiness = Readiness::new();
    let admin = Admin { metrics: Arc::new(Metrics::new()), readiness: readiness.clone() };
    tokio::spawn(admin.serve(listener));
    (addr, readiness)
}

/// Everything that comes back until the server closes.
async fn send(addr: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is an end as well: the server need not read what it refuses.
    let _ = tokio::time::timeout(TIMEOUT, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    let answer = send(addr, format!("GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n").as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn readiness_follows_the_table_and_the_drain() {
    let (addr, readiness) = start().await;
    assert_eq!(get(addr, "/readyz").await, (503, "starting: no routing table yet\n".to_owned()));
    readiness.starting("listeners[0]: port 0");
    assert_eq!(get(addr, "/readyz").await, (503, "starting: listeners[0]: port 0\n".to_owned()));
    readiness.serving(3);
    assert_eq!(get(addr, "/readyz").await, (200, "serving table 3\n".to_owned()));
    readiness.starting("a later table was refused");
    assert_eq!(get(addr, "/readyz").await, (200, "serving table 3\n".to_owned()), "the last good one is served");
    readiness.draining();
    readiness.serving(4);
    assert_eq!(get(addr, "/readyz").await, (503, "draining\n".to_owned()));
    assert_eq!(get(addr, "/healthz").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn pages() {
    let (addr, _) = start().await;
    let cases = [
        ("/", 200, "/metrics"),
        ("/healthz?verbose", 200, "ok"),
        ("/metrics", 200, "# TYPE headrace_dataplane_table_version gauge"),
        ("/metrics/", 404, "not found"),
        ("/etc/passwd", 404, "not found"),
    ];
    for (path, status, part) in cases {
        let (found, body) = get(addr, path).await;
        assert_eq!(found, status, "{path}");
        assert!(body.contains(part), "{path}: {body}");
    }
}

#[tokio::test]
async fn methods_and_header_bounds() {
    let (addr, _) = start().await;
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(MAX_HEADERS));
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(2 * MAX_HEADER_SIZE));
    let cases: [(&[u8], &str, &str); 5] = [
        (b"HEAD /healthz HTTP/1.1\r\nhost: a\r\n\r\n", "HTTP/1.1 200 ", "content-length: 3\r\n"),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello", "HTTP/1.1 405 ", "allow: GET, HEAD\r\n"),
        (b"nonsense\r\n\r\n", "HTTP/1.1 400 ", ""),
        (many.as_bytes(), "HTTP/1.1 431 ", ""),
        (large.as_bytes(), "HTTP/1.1 431 ", ""),
    ];
    for (request, start, part) in cases {
        let answer = send(addr, request).await;
        let request = String::from_utf8_lossy(&request[..20.min(request.len())]).into_owned();
        assert!(answer.starts_with(start) && answer.contains(part), "{request}: {answer}");
    }
    assert!(send(addr, cases[0].0).await.ends_with("\r\n\r\n"), "no body for HEAD");
}

#[tokio::test]
async fn a_connection_carries_one_request() {
    let (addr, _) = start().await;
    let answer = send(addr, &b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n".repeat(3)).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn silent_connections_are_closed_and_make_room() {
    let (addr, _) = start().await;
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        silent.push(TcpStream::connect(addr).await.unwrap());
    }
    let mut waiting = TcpStream::connect(addr).await.unwrap();
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // Virtual time runs while nothing else can, and only a timeout of the server ends these.
    for mut stream in silent {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    tokio::time::resume();
    let mut answer = String::new();
    tokio::time::timeout(TIMEOUT, waiting.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
