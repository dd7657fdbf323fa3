//! QUIC handshakes: from a client that was let in to a connection that is served.
//!
//! Owns when serving begins: with the handshake's end, or, where early data is taken, as soon as the client has named its
//! server. Counts how handshakes end. Whether a client is let in at all is `quic`'s.

use std::any::Any;
use std::sync::Arc;

use headrace_http3::server::Connection;
use headrace_table::QuicOptions;
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connecting, ConnectionError, VarInt};
use tokio::time::{Instant, timeout_at};

use super::half_open::UnderWay;
use super::tcp::HANDSHAKE_TIMEOUT;
use crate::certificates::{EarlyData, quic_handshake_result};
use crate::downstream::early_data::Handshake;
use crate::downstream::{self, Arrival, Version, http3};
use crate::metrics::{HandshakeResult, Transport};
use crate::session;
use crate::worker::Worker;

/// The connection is closed without a word of HTTP/3: there may be nobody to hear it.
const NO_ERROR: VarInt = VarInt::from_u32(0);

/// Does the handshake and serves what comes of it.
pub(super) async fn serve(
    worker: Arc<Worker>,
    connecting: Connecting,
    port: u16,
    early_data: EarlyData,
    options: QuicOptions,
    under_way: UnderWay,
) {
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    let established = match early_data {
        EarlyData::Refused => establish(&worker, connecting, (port, &options), deadline).await,
        EarlyData::Taken => establish_early(&worker, connecting, (port, &options), deadline).await,
    };
    drop(under_way);
    let result = match &established {
        Ok(()) => HandshakeResult::Ok,
        Err(Failed::Connection(error)) => {
            tracing::debug!(%error, "a QUIC handshake failed");
            quic_handshake_result(error)
        }
        Err(Failed::TooLong) => HandshakeResult::Timeout,
    };
    worker.metrics.handshakes_total(Transport::Quic, result).inc();
}

/// Why a handshake came to nothing.
enum Failed {
    Connection(ConnectionError),
    TooLong,
}

impl From<ConnectionError> for Failed {
    fn from(error: ConnectionError) -> Self {
        Self::Connection(error)
    }
}

async fn establish(
    worker: &Arc<Worker>,
    connecting: Connecting,
    port: (u16, &QuicOptions),
    deadline: Instant,
) -> Result<(), Failed> {
    let quic = timeout_at(deadline, connecting).await.map_err(|_| Failed::TooLong)??;
    let server_name = server_name(quic.handshake_data());
    begin(worker, quic, port, server_name, Handshake::complete());
    Ok(())
}

/// What the client sends before its end of the handshake is served meanwhile.
async fn establish_early(
    worker: &Arc<Worker>,
    mut connecting: Connecting,
    port: (u16, &QuicOptions),
    deadline: Instant,
) -> Result<(), Failed> {
    let named = timeout_at(deadline, connecting.handshake_data()).await.map_err(|_| Failed::TooLong)?;
    let server_name = server_name(Some(named?));
    let (quic, complete) = match connecting.into_0rtt() {
        Ok(early) => early,
        // Never on a server, as quinn has it; without early data it is a handshake all the same.
        Err(connecting) => return establish(worker, connecting, port, deadline).await,
    };
    let (completion, handshake) = Handshake::pending();
    begin(worker, quic.clone(), port, server_name, handshake);
    // What quinn says then means nothing on a server; whether the connection lives does.
    if timeout_at(deadline, complete).await.is_err() {
        quic.close(NO_ERROR, b"");
        return Err(Failed::TooLong);
    }
    match quic.close_reason() {
        None => {
            completion.complete();
            Ok(())
        }
        Some(error) => Err(error.into()),
    }
}

fn server_name(data: Option<Box<dyn Any>>) -> Option<Box<str>> {
    let data = data.and_then(|data| data.downcast::<HandshakeData>().ok());
    data.and_then(|data| data.server_name.map(String::into_boxed_str))
}

fn begin(
    worker: &Arc<Worker>,
    quic: quinn::Connection,
    (port, options): (u16, &QuicOptions),
    server_name: Option<Box<str>>,
    handshake: Handshake,
) {
    let peer = quic.remote_address();
    let (transport, version) = (Transport::Quic, Version::Http3);
    let downstream = worker.admit(Arrival { transport, peer, port, tls: true, server_name, version });
    let watched = worker.quic.paths.watch(quic.clone(), Arc::clone(&worker.metrics));
    let config = session::http3_config(options.webtransport);
    let sessions = config.webtransport.is_some();
    let connection = Connection::new(quic, &config);
    let worker = Arc::clone(worker);
    // On a task of its own: what the handshake needed is let go of.
    downstream::spawn(async move {
        http3::serve(worker, downstream, connection, handshake, sessions).await;
        drop(watched);
    });
}
