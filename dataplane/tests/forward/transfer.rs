//! Octets through a tunnel to the echo, each of which is looked at when it comes back; and clients that move meanwhile.

use headrace_http3::Tunnel;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::patience::within;

/// The octet at a place of a tunnel's transfer: two that are mixed up, repeated or left out are found.
fn octet(tunnel: u8, at: usize) -> u8 {
    (at.wrapping_mul(31) ^ (at >> 8) ^ (at >> 16)) as u8 ^ tunnel
}

/// Sends so much, and takes back the same.
pub(crate) async fn transfer(tunnel: &mut Tunnel, number: u8, length: usize) {
    let (mut from, mut to) = tokio::io::split(tunnel);
    let sending = async {
        let mut at = 0;
        while at < length {
            let piece: Vec<u8> = (at..length.min(at + 16 * 1024)).map(|at| octet(number, at)).collect();
            to.write_all(&piece).await.unwrap();
            at += piece.len();
        }
        to.flush().await.unwrap();
    };
    let receiving = async {
        let (mut at, mut buffer) = (0, vec![0; 64 * 1024]);
        while at < length {
            let count = from.read(&mut buffer).await.unwrap();
            assert!(count > 0, "the tunnel ended at {at}");
            for (place, found) in buffer[..count].iter().enumerate() {
                assert_eq!(*found, octet(number, at + place), "tunnel {number} at {}", at + place);
            }
            at += count;
        }
        assert_eq!(at, length);
    };
    tokio::join!(sending, receiving);
}

/// How often a client moves between transfers, and at most amid one.
const MOVES: usize = 20;

/// Opens tunnels, and changes the client's address between transfers and amid one of `length` octets. How often it moved.
pub(crate) async fn moves_with_tunnels(client: &mut Client, tunnels: u8, length: usize) -> usize {
    let mut open = Vec::new();
    for _ in 0..tunnels {
        open.push(client.tunnel().await);
    }
    // Between transfers: each tunnel is used once after each move.
    for _ in 0..MOVES {
        client.moves();
        for (number, tunnel) in (0..).zip(&mut open) {
            within("an echo", transfer(tunnel, number, 1000)).await;
        }
    }
    // Amid one: a tunnel carries it, and the client moves while it does.
    let mut busy = open.pop().unwrap();
    let mut transfers = JoinSet::new();
    transfers.spawn(async move { transfer(&mut busy, 99, length).await });
    let mut moved = 0;
    within("the transfer", async {
        while transfers.try_join_next().map(Result::unwrap).is_none() {
            if moved < MOVES {
                client.moves();
                moved += 1;
            }
            for (number, tunnel) in (0..).zip(&mut open) {
                transfer(tunnel, number, 1000).await;
            }
        }
    })
    .await;
    assert!(moved > 1, "it moved while the transfer went on");
    assert!(client.connection.close_reason().is_none());
    MOVES + moved
}
