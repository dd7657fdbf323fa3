//! The demo backend: what stands behind the demo manifests, and what the black-box tests talk to.
//!
//! Owns its command line, its socket and its end. It must not know Headrace: it is an ordinary, strict HTTP/1.1 server,
//! so that what works through Headrace works because Headrace forwarded it rightly.

mod answer;
mod chat;
mod echo;
mod handshake;
mod plain;
mod server;

use std::io::Write as _;

use anyhow::Context as _;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// A page, a WebSocket echo, a chat room and bodies of any size, over HTTP/1.1.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The address to listen on; port 0 takes a free one, which the first line of output names.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let listener =
        TcpListener::bind(&arguments.listen).await.with_context(|| format!("cannot listen on {}", arguments.listen))?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;

    let (stop, stopping) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Fails only when the server is gone already, and then there is nobody to tell.
        let _ = stop.send(true);
    });
    server::serve(listener, stopping).await;
    Ok(())
}
