//! The lean backend: HTTP/1.1 as far as a WebSocket handshake goes, and then frames by hand.
//!
//! Owns the accept loop, which path does what, and the counts. A backend that benchmarks measure through must not be
//! what they measure, so there is no HTTP library here, and no message is put together.

mod echo;
mod flood;
mod frame;
mod handshake;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use handshake::Head;

/// The pause after an accept failed, which happens when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What has come about so far.
#[derive(Default)]
struct Counters {
    /// Tunnels that are open.
    tunnels: Cell<u64>,
    /// Octets that all floods together have handed to the kernel.
    written: Cell<u64>,
}

impl Counters {
    fn json(&self) -> String {
        serde_json::json!({ "tunnels": self.tunnels.get(), "written": self.written.get() }).to_string()
    }
}

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let counters = Rc::new(Counters::default());
    LocalSet::new()
        .run_until(async {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let counters = Rc::clone(&counters);
                tokio::task::spawn_local(async move {
                    // How a connection ends is its client's to see.
                    let _ = connection(stream, &counters).await;
                });
            }
        })
        .await
}

async fn connection(mut stream: TcpStream, counters: &Counters) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(Head { path, key, rest }) = handshake::read(&mut stream).await? else {
        return answer(stream, "400 Bad Request", "").await;
    };
    match (path.as_str(), key) {
        ("/counters", None) => answer(stream, "200 OK", &counters.json()).await,
        ("/echo" | "/flood", None) => answer(stream, "426 Upgrade Required", "").await,
        ("/echo" | "/flood", Some(key)) => {
            stream.write_all(handshake::accept(&key).as_bytes()).await?;
            counters.tunnels.set(counters.tunnels.get() + 1);
            let result = match path.as_str() {
                "/echo" => echo::run(&mut stream, rest).await,
                _ => flood::run(stream, &counters.written).await,
            };
            counters.tunnels.set(counters.tunnels.get() - 1);
            result
        }
        _ => answer(stream, "404 Not Found", "").await,
    }
}

/// Answers a request that opens no tunnel, and ends the connection.
async fn answer(mut stream: TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).await
}
