//! Somebody who behaves, on a connection of its own, while others do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::task::AbortOnDropHandle;

use crate::backend::{Raw, switch};
use crate::client::{Tunnels, Version};
use crate::patience::eventually;
use crate::stage::Stage;
use crate::stage::table::{backend, forward};

use super::attacker::Attacker;

/// Echoes through a tunnel without pause.
pub(super) struct Neighbour {
    rounds: Arc<AtomicUsize>,
    echoing: AbortOnDropHandle<()>,
    _echo: Raw,
}

impl Neighbour {
    /// A data plane of one worker, so that who holds that worker up holds everybody up, with this backend under `/` and a
    /// neighbour that echoes.
    pub(super) async fn beside(address: std::net::SocketAddr) -> (Stage, Self) {
        let echo = Raw::start(|mut stream, _| async move {
            switch(&mut stream, "", b"").await;
            let (mut read, mut write) = stream.split();
            let _until_the_end = tokio::io::copy(&mut read, &mut write).await;
        })
        .await;
        let rules = vec![forward("/neighbour", "echo"), forward("/", "victim")];
        let stage = Stage::serving(rules, vec![backend("echo", &[echo.address]), backend("victim", &[address])]).await;
        let mut tunnels = Tunnels::connect(&stage, Version::Http2).await;
        let mut pipe = tunnels.open("/neighbour").await;
        let rounds = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&rounds);
        let echoing = tokio::spawn(async move {
            let _connection = tunnels;
            loop {
                let octets = [count.load(Ordering::Relaxed) as u8; 100];
                pipe.send(&octets).await;
                pipe.expect(&octets).await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        (stage, Self { rounds, echoing: AbortOnDropHandle::new(echoing), _echo: echo })
    }

    /// Echoes go on: some more are made, and none has failed.
    pub(super) async fn is_well(&self, after: &str) {
        const MORE: usize = 5;
        let before = self.rounds.load(Ordering::Relaxed);
        eventually(&format!("the neighbour echoes after {after}"), async || {
            assert!(!self.echoing.is_finished(), "the neighbour's tunnel broke: {after}");
            (self.rounds.load(Ordering::Relaxed) >= before + MORE).then_some(())
        })
        .await;
    }
}

/// How often a flood looks whether it was told to stop.
const BATCH_OCTETS: usize = 64 * 1024;

/// Sends a frame again and again until the server closes or so many octets have been taken; says how many were.
pub(super) async fn pour(attacker: &mut Attacker, frame: &[u8], most: usize) -> usize {
    let batch = frame.repeat(BATCH_OCTETS.div_ceil(frame.len()));
    let mut taken = 0;
    while taken < most && attacker.send(&batch).await {
        taken += batch.len();
    }
    taken
}
