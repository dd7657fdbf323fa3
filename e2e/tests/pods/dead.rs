//! A pod that dies without a word: its clients learn it from a peer, as soon as that one is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::{Reached as _, trust};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, SendStream, TransportConfig};

use crate::network::{self, inside};
use crate::stage::{HOST, Stage};

/// What a client goes by that nobody tells anything.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two octets that the client sends. It is a packet that calls for a reset.
const SAY_EVERY: Duration = Duration::from_millis(50);

/// How long a peer that has not been told is watched. It must say nothing, since the pod may come back to life.
const SUSPICION: Duration = Duration::from_secs(1);

/// The guard of a wait.
const GUARD: Duration = Duration::from_secs(20);

#[test]
fn clients_learn_it_when_peers_do() -> Result<()> {
    inside("dead::clients_learn_it_when_peers_do", || {
        let mut stage = Stage::start(2)?;
        let relay = stage.relay(&[0])?;
        let connection = connect(&stage, relay.address).context("quinn")?;
        let talking = stage.runtime.spawn(talk(connection.clone()));
        // A client does not move before its handshake is confirmed (RFC 9000 section 9).
        let begun = Instant::now();
        while connection.stats().frame_rx.handshake_done == 0 {
            ensure!(begun.elapsed() < GUARD, "the handshake is not confirmed");
            std::thread::sleep(Duration::from_millis(1));
        }
        // By the other pod from now on.
        relay.turn_to(stage.addresses(&[1]));
        stage.pods[1].wait_for("hop_received_total", &["kind=\"return\""], |count| count > 0.0)?;

        let killed = Instant::now();
        stage.pods[0].process.signal("KILL")?;
        std::thread::sleep(SUSPICION);
        ensure!(connection.close_reason().is_none(), "who only suspects says nothing: {:?}", connection.close_reason());

        let told = Instant::now();
        stage.bury(0)?;
        let closed = async { tokio::time::timeout(GUARD, connection.closed()).await };
        let reason = stage.runtime.block_on(closed).context("the client is not told")?;
        let (since_told, since_killed) = (told.elapsed(), killed.elapsed());
        assert_eq!(reason, ConnectionError::Reset);
        talking.abort();
        println!(
            "kill -9 of a pod: its client knows {since_told:.1?} after the peers were told ({since_killed:.1?} after the \
             kill, {SUSPICION:?} of which nobody was told); without that, {IDLE_TIMEOUT:?} after its last packet",
        );
        Ok(())
    })
}

/// A client that accepts stateless resets, with an idle timeout of its own.
fn connect(stage: &Stage, to: std::net::SocketAddr) -> Result<quinn::Connection> {
    let tls = QuicClientConfig::try_from(trust::client(&stage.ca(), "h3")?)?;
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(IDLE_TIMEOUT.try_into()?));
    config.transport_config(Arc::new(transport));
    let _context = stage.runtime.enter();
    let mut endpoint = quinn::Endpoint::client((network::TEST, 0).into())?;
    endpoint.set_default_client_config(config);
    Ok(stage.runtime.block_on(endpoint.connect(to, HOST)?)?)
}

/// Opens request streams, and sends an octet on each with which no request has begun: a frame's type without its length
/// (RFC 9114 section 7.1).
async fn talk(connection: quinn::Connection) {
    let mut streams: Vec<SendStream> = Vec::new();
    while let Ok((mut send, _)) = connection.open_bi().await {
        if send.write_all(&[0x01]).await.is_err() {
            return;
        }
        streams.push(send);
        tokio::time::sleep(SAY_EVERY).await;
    }
}
