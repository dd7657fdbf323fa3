//! A client changes its address, again and again, and nothing on its tunnels is lost or repeated: with the kernel steering
//! packets to their worker, and with workers handing them over.

use headrace_table::wire::{Phase, Standing};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::patience::{eventually, within};
use crate::plane::{Options, Plane, UID, keys_with, peer};
use crate::transfer::{moves_with_tunnels, transfer};

/// Tunnels of a client.
const TUNNELS: u8 = 8;

/// Octets of the transfer that goes on while it moves: some round trips of a whole window.
const TRANSFER: usize = 4 * 1024 * 1024;

#[tokio::test]
async fn a_client_moves_between_and_amid_transfers() {
    for kernel_steering in [true, false] {
        let plane = Plane::serving(Options { kernel_steering, ..Options::default() }).await;
        let mut client = Client::connect(plane.address()).await;
        moves_with_tunnels(&mut client, TUNNELS, TRANSFER).await;

        let (taken, dropped) = plane.handed_over().await;
        assert_eq!(taken > 0.0, !kernel_steering, "{taken} handed over, with the kernel steering: {kernel_steering}");
        assert_eq!(dropped, 0.0);
        // Each connection is looked at once in a while, and for the last time at its end.
        drop(client);
        eventually("the change is seen", async || {
            (plane.metric("quic_address_changes_total{change=\"port\"}").await > 0.0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn keys_are_replaced_under_clients() {
    let plane = Plane::start(Options::default()).await;
    let mut clients = Vec::new();
    // Two rotations, step by step: what a table says of each number.
    let steps: [&[(u8, Phase)]; 7] = [
        &[(0, Phase::Encoding)],
        &[(0, Phase::Encoding), (1, Phase::Published)],
        &[(0, Phase::Draining), (1, Phase::Encoding)],
        &[(0, Phase::Draining), (1, Phase::Encoding), (2, Phase::Published)],
        &[(0, Phase::Draining), (1, Phase::Draining), (2, Phase::Encoding)],
        &[(1, Phase::Draining), (2, Phase::Encoding)],
        &[(2, Phase::Encoding)],
    ];
    for (revision, phases) in (1..).zip(steps) {
        let mut table = plane.table();
        table.keys = Some(keys_with(revision, phases));
        table.peers = vec![peer(UID, "0000000000000001", Standing::Live)];
        plane.publish(table).await;
        let mut client = Client::connect(plane.address()).await;
        let tunnel = client.tunnel().await;
        clients.push((client, tunnel));
        for (client, tunnel) in &mut clients {
            client.moves();
            within("an echo", transfer(tunnel, 1, 3000)).await;
        }
    }
    assert_eq!(plane.handed_over().await, (0.0, 0.0));
    assert_eq!(plane.metric("quic_unroutable_issued_total{reason=\"no_config\"}").await, 0.0);
}

#[tokio::test]
async fn many_clients_are_spread_and_stay() {
    let plane = Plane::serving(Options::default()).await;
    let mut clients = JoinSet::new();
    for _ in 0..24 {
        let address = plane.address();
        clients.spawn(async move {
            let mut client = Client::connect(address).await;
            let mut tunnel = client.tunnel().await;
            for number in 0..5 {
                client.moves();
                within("an echo", transfer(&mut tunnel, number, 3000)).await;
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let mut used = 0;
    for worker in 0..4 {
        used += usize::from(plane.metric(&format!("quic_datagrams_total{{worker=\"{worker}\"}}")).await > 0.0);
    }
    assert!(used > 1, "24 clients at one of four workers are one in 2^46");
    assert_eq!(plane.handed_over().await, (0.0, 0.0));
}
