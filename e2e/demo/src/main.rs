//! The demo backend: what stands behind the demo manifests, and what the black-box tests talk to.
//!
//! Owns its command line, its sockets and its end. It must not know Headrace: it is an ordinary, strict HTTP/1.1 server,
//! and a WebTransport server beside it, so that what works through Headrace works because Headrace forwarded it rightly.

mod answer;
mod certificate;
mod chat;
mod echo;
mod handshake;
mod plain;
mod server;
mod webtransport;

use std::io::Write as _;
use std::net::UdpSocket;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// A page, a WebSocket echo, a chat room and bodies of any size, over HTTP/1.1; a WebTransport echo over HTTP/3.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The address to listen on; port 0 takes a free one, which the first line of output names.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: String,
    /// The address of the WebTransport echo, which is not served without one.
    #[arg(long, value_name = "ADDRESS", requires_all = ["certificate", "key"])]
    webtransport: Option<String>,
    /// Its certificate, as PEM. It is waited for, and read again when it changes.
    #[arg(long, value_name = "FILE", requires = "webtransport")]
    certificate: Option<PathBuf>,
    /// The certificate's key, as PEM.
    #[arg(long, value_name = "FILE", requires = "webtransport")]
    key: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let listener =
        TcpListener::bind(&arguments.listen).await.with_context(|| format!("cannot listen on {}", arguments.listen))?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;

    let sessions = match (arguments.webtransport, arguments.certificate, arguments.key) {
        (Some(address), Some(certificate), Some(key)) => {
            let socket = UdpSocket::bind(&address).with_context(|| format!("cannot listen on {address} (UDP)"))?;
            writeln!(std::io::stdout(), "listening for WebTransport on https://{}", socket.local_addr()?)?;
            Some((socket, certificate::Files { certificate, key }))
        }
        _ => None,
    };

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
    let sessions = {
        let stopping = stopping.clone();
        async move {
            match sessions {
                Some((socket, files)) => webtransport::serve(socket, files, stopping).await,
                None => Ok(()),
            }
        }
    };
    let ((), served) = tokio::join!(server::serve(listener, stopping), sessions);
    served
}
