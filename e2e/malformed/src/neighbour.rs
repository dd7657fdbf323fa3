//! Somebody who behaves, on an HTTP/3 connection of its own, while others do not.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::Duration;

use h3i::actions::h3::{StreamEventType, WaitType};

use crate::octets::{DATA, echoed, frame, message};
use crate::{REQUEST, bytes, close, content, handshake, run, settings, status, wait};

/// Echoes of one neighbour.
const ROUNDS: usize = 60;

/// Time between two of them, so that they go on while other connections misbehave.
const PAUSE: Duration = Duration::from_millis(50);

const TEXT: &[u8] = b"all is well";

/// A tunnel on which echoes are made one after the other, in a thread.
pub struct Neighbour(JoinHandle<()>);

impl Neighbour {
    /// Starts echoing.
    pub fn beside(port: u16) -> Self {
        Self(std::thread::spawn(move || echoes(port, ROUNDS, PAUSE)))
    }

    /// Waits for its last echo, and then for one of a newcomer.
    ///
    /// # Panics
    /// Where an echo did not come.
    pub fn is_well(self, port: u16) {
        self.0.join().expect("the neighbour's echoes all came");
        echoes(port, 1, Duration::ZERO);
        let tcp = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        std::net::TcpStream::connect(tcp).expect("TCP is served as well");
    }
}

fn echoes(port: u16, rounds: usize, pause: Duration) {
    let mut actions = vec![settings(), handshake(port, REQUEST), wait(REQUEST, StreamEventType::Headers)];
    for _ in 0..rounds {
        actions.push(bytes(REQUEST, frame(DATA, &message(TEXT)), false));
        actions.push(wait(REQUEST, StreamEventType::Data));
        actions.push(WaitType::WaitDuration(pause).into());
    }
    actions.push(close());
    let summary = run(port, actions);
    assert_eq!(summary.conn_close_details.peer_error(), None, "the neighbour's connection lives");
    assert_eq!(status(&summary, REQUEST), Some(200));
    assert_eq!(content(&summary, REQUEST), echoed(TEXT).repeat(rounds));
}
