//! Octets through a tunnel to the echo, each of which is looked at when it comes back.

use headrace_http3::Tunnel;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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
