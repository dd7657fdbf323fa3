//! Which clients' packets come through which peer, so that replies go back the way that the packets came.
//!
//! A client whose packets a balancer sends to another pod knows that pod's address only, and so does every NAT on the way.
//! Owns the newest answer for each client within a bound. Knows nothing of connections: what counts is the address.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::outlet::Entrance;

/// Clients in each of the two halves. Of some 80 octets each: 5 MB for both when they are full.
const HALF: usize = 32 * 1024;

/// The way back to each client, forgetting those that were not heard of for longest.
///
/// Two halves stand for an order of age: who is heard of moves to the younger one, and when that is full the older one is
/// let go.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    young: HashMap<SocketAddr, Entrance>,
    old: HashMap<SocketAddr, Entrance>,
}

impl Returns {
    /// Whether there is nothing to look for.
    pub(crate) fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    /// Where replies to a client leave, unless it is here.
    pub(crate) fn of(&self, client: &SocketAddr) -> Option<Entrance> {
        self.young.get(client).or_else(|| self.old.get(client)).copied()
    }

    /// The client's packets come through this peer from now on.
    pub(crate) fn note(&mut self, client: SocketAddr, entrance: Entrance) {
        self.old.remove(&client);
        if self.young.len() >= HALF && !self.young.contains_key(&client) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(client, entrance);
    }

    /// The client's packets come here.
    pub(crate) fn forget(&mut self, client: &SocketAddr) {
        self.young.remove(client);
        self.old.remove(client);
    }
}

#[cfg(test)]
mod tests {
    use headrace_cid::ServerId;

    use super::*;

    fn client(number: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, (number >> 16) as u8, 1], number as u16))
    }

    fn entrance(number: u8) -> Entrance {
        Entrance { peer: ServerId::try_from(&[number; 8][..]).unwrap(), steer: number, local_ip: None }
    }

    #[test]
    fn the_newest_counts() {
        let mut returns = Returns::default();
        assert!(returns.is_empty());
        returns.note(client(1), entrance(1));
        returns.note(client(2), entrance(1));
        returns.note(client(1), entrance(2));
        assert_eq!(returns.of(&client(1)), Some(entrance(2)));
        assert_eq!(returns.of(&client(2)), Some(entrance(1)));
        assert_eq!(returns.of(&client(3)), None);
        returns.forget(&client(1));
        assert_eq!(returns.of(&client(1)), None);
        returns.forget(&client(2));
        assert!(returns.is_empty());
    }

    #[test]
    fn who_is_heard_of_stays_and_the_rest_is_bounded() {
        let mut returns = Returns::default();
        for number in 1..=5 * HALF {
            returns.note(client(0), entrance(9));
            returns.note(client(number), entrance(1));
            assert!(returns.young.len() <= HALF && returns.old.len() <= HALF);
        }
        assert_eq!(returns.of(&client(0)), Some(entrance(9)));
        assert_eq!(returns.of(&client(1)), None, "one that was never heard of again");
        assert_eq!(returns.of(&client(5 * HALF)), Some(entrance(1)));
    }
}
