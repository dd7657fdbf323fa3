//! What this pod tells the controller of its QUIC connections: what packets find it by, and which keys are still in use.
//!
//! Owns for how long a configuration of connection IDs counts as used. It does not look at connections: what was issued is
//! asked back after a while ([`CID_LIFETIME`]), so that it is enough to know when the last of it can have been issued.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use headrace_push::{Connections, Member, Report};
use headrace_table::{Keys, Phase};

use super::Pod;
use super::issuing::CID_LIFETIME;

/// For clients to take the IDs that they are given in place of those that are over: round trips of those who answer, and
/// nothing for those who do not, whose connections end by their idle timeout. Tokens of Retry packets live shorter.
const RETIREMENT: Duration = Duration::from_secs(10 * 60);

/// Which configurations clients of this process may still use.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    revision: u64,
    /// By number: until when, or as long as it encodes. A process that starts has no connections of what drains already.
    until: BTreeMap<u8, Option<Instant>>,
}

impl Uses {
    /// Another table is served.
    pub(crate) fn adopt(&mut self, keys: Option<&Keys>, now: Instant) {
        self.revision = keys.map_or(0, |keys| keys.revision);
        let configurations = keys.map_or(&[][..], |keys| &keys.configurations);
        self.until.retain(|number, _| configurations.iter().any(|one| one.number == *number));
        for one in configurations {
            match (one.phase, self.until.get_mut(&one.number)) {
                (Phase::Encoding, _) => drop(self.until.insert(one.number, None)),
                (_, Some(until @ None)) => *until = Some(now + CID_LIFETIME + RETIREMENT),
                _ => {}
            }
        }
    }

    /// What is so now, with so many connections open.
    pub(crate) fn report(&self, open: u64, now: Instant) -> Report {
        let used = self.until.iter().filter(|(_, until)| until.is_none_or(|until| now < until));
        Report {
            revision: self.revision,
            uses: used.fold(0, |uses, (number, _)| uses | 1 << number),
            connections: Connections { open, ..Connections::default() },
        }
    }
}

impl Pod {
    /// What packets find this pod by.
    pub(crate) fn member(&self) -> Member {
        Member {
            server_id: self.place.aws.map(|server| server.as_slice().to_vec()),
            cid_octets: u8::try_from(self.place.layout.cid_len()).expect("a connection ID has at most 20 octets"),
            hop_port: self.hop_address.map(|address| address.port()),
        }
    }
}

#[cfg(test)]
mod tests {
    use headrace_table::{Table, wire};

    use super::*;

    fn keys(revision: u64, configurations: &[(u8, wire::Phase)]) -> Keys {
        let secret = |id| wire::Secret { id, octets: "00".repeat(32) };
        let configurations = configurations.iter().map(|(number, phase)| wire::Configuration {
            number: *number,
            phase: *phase,
            form: wire::Form::Encrypted,
            server_id_octets: 8,
            nonce_octets: 8,
            key: "00".repeat(16),
        });
        let keys = wire::Keys {
            id: wire::KEYS_ID.to_owned(),
            revision,
            configurations: configurations.collect(),
            hop: vec![secret(1)],
            reset: secret(1),
            tokens: vec![secret(1)],
            tickets: vec![secret(1)],
        };
        let table = Table::try_from(wire::Table { keys: Some(keys), ..wire::Table::default() }).unwrap();
        table.keys().unwrap().clone()
    }

    #[test]
    fn a_configuration_is_used_until_all_that_was_issued_with_it_is_over() {
        use wire::Phase::{Draining, Encoding, Published};

        let start = Instant::now();
        let mut uses = Uses::default();
        let reported = |uses: &Uses, now| {
            let report = uses.report(3, now);
            assert_eq!(report.connections.open, 3);
            (report.revision, report.uses)
        };
        assert_eq!(reported(&uses, start), (0, 0));
        uses.adopt(Some(&keys(4, &[(0, Draining), (1, Encoding), (2, Published)])), start);
        assert_eq!(reported(&uses, start), (4, 0b010), "this process never issued anything with 0");
        let later = start + Duration::from_secs(5);
        uses.adopt(Some(&keys(5, &[(1, Draining), (2, Encoding)])), later);
        assert_eq!(reported(&uses, later), (5, 0b110));
        let over = later + CID_LIFETIME + RETIREMENT;
        // Tables that come meanwhile change nothing.
        uses.adopt(Some(&keys(6, &[(1, Draining), (2, Encoding), (3, Published)])), over - Duration::from_secs(2));
        assert_eq!(reported(&uses, over - Duration::from_secs(1)), (6, 0b110));
        assert_eq!(reported(&uses, over), (6, 0b100));
        uses.adopt(None, over);
        assert_eq!(reported(&uses, over), (0, 0));
    }
}
