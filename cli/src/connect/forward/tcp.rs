//! A local TCP listener: each connection becomes a stream of the session that all share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headrace_http3::webtransport::{RecvStream, SendStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::link::Linked;
use super::pump::{Local, pump};
use super::shared::Current;
use crate::output::complain;

/// Connections of a listener at once; more wait in the listen queue. Far more than a server allows streams by default.
const MAX_CONNECTIONS: usize = 512;
/// How long a connection waits for a session, and for the server to allow it a stream. Then it is reset: whoever made it
/// may try again, and a terminal should not look dead.
const STREAM_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after an accept failed, which happens when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves for ever. Connections end with it.
pub(super) async fn serve(listener: TcpListener, sessions: watch::Receiver<Current>, verbose: bool) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        while connections.try_join_next().is_some() {}
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                complain(&format!("tcp: a connection was not accepted: {error}"));
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let sessions = sessions.clone();
        connections.spawn(async move {
            connection(stream, from, sessions, verbose).await;
            drop(slot);
        });
    }
}

async fn connection(tcp: TcpStream, from: SocketAddr, sessions: watch::Receiver<Current>, verbose: bool) {
    let local = Local::new(tcp);
    let Ok((linked, send, recv)) = timeout(STREAM_TIMEOUT, open(sessions)).await else {
        complain(&format!("tcp {from}: no stream within {} s: reset", STREAM_TIMEOUT.as_secs()));
        return;
    };
    let id = send.id();
    if verbose {
        complain(&format!("tcp {from}: stream {id}"));
    }
    let (carried, done) = pump(local, send, recv).await;
    // Until here: the last one who has it closes the session.
    drop(linked);
    match done {
        Ok(()) if !verbose => {}
        Ok(()) => complain(&format!("tcp {from}: ended, {} octets up, {} down", carried.up, carried.down)),
        Err(broken) => complain(&format!("tcp {from}: {broken}")),
    }
}

/// A stream of the session of the moment, whichever that turns out to be.
async fn open(mut sessions: watch::Receiver<Current>) -> (Arc<Linked>, SendStream, RecvStream) {
    loop {
        let linked = sessions.borrow_and_update().clone().filter(|linked| linked.session.ended().is_none());
        match linked {
            Some(linked) => {
                if let Ok((send, recv)) = linked.session.open_bi().await {
                    return (linked, send, recv);
                }
            }
            None => {
                if sessions.changed().await.is_err() {
                    // The process stops, and this with it.
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}
