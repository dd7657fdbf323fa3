//! What the pods of a pod set share, as sections beside those of a compiled table.
//!
//! Owns that keys and peers can be put to a table's sections without encoding, or even having, the table again.

use std::sync::Arc;

use headrace_table::{SectionId, SectionKind, wire};

use crate::section::{Entry, Section, decode};
use crate::sections::Sections;

impl Sections {
    /// These sections with other keys and peers. `previous` is any table of which those that did not change are taken.
    pub fn with_shared(&self, keys: Option<&wire::Keys>, peers: &[wire::Peer], previous: Option<&Sections>) -> Self {
        let is_shared = |kind| matches!(kind, SectionKind::Keys | SectionKind::Peer);
        let mut list: Vec<Arc<Section>> = self.iter().filter(|one| !is_shared(one.id().kind)).map(Arc::clone).collect();
        list.extend(keys.map(|keys| section(keys, previous)));
        list.extend(peers.iter().map(|peer| section(peer, previous)));
        list.sort_by(|a, b| a.id().cmp(b.id()));
        list.dedup_by(|later, earlier| later.id() == earlier.id());
        Sections::from_sorted(list)
    }

    /// The revision of the keys that are among them. `None` without keys that are understood.
    pub fn keys_revision(&self) -> Option<u64> {
        let keys = self.get(&SectionId::new(SectionKind::Keys, wire::KEYS_ID))?;
        Some(decode::<wire::Keys>(keys).ok()?.revision)
    }
}

/// An entry as it travels: the previous section where it is the same, which is shared by all tables that have it.
fn section<E: Entry>(entry: &E, previous: Option<&Sections>) -> Arc<Section> {
    let section = entry.section();
    match previous.and_then(|previous| previous.get(section.id())) {
        Some(known) if known.digest() == section.digest() => Arc::clone(known),
        _ => section,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(revision: u64) -> wire::Keys {
        let secret = |id| wire::Secret { id, octets: "00".repeat(32) };
        wire::Keys {
            id: wire::KEYS_ID.to_owned(),
            revision,
            configurations: Vec::new(),
            hop: vec![secret(1)],
            reset: secret(1),
            tokens: vec![secret(1)],
            tickets: vec![secret(1)],
        }
    }

    fn peer(id: &str, allotment: u32) -> wire::Peer {
        wire::Peer {
            id: id.to_owned(),
            pod: id.to_owned(),
            server_id: "00".to_owned(),
            allotment,
            hop: None,
            standing: wire::Standing::Live,
        }
    }

    fn table() -> wire::Table {
        let backend = wire::Backend {
            id: "a/b:1".to_owned(),
            protocol: wire::BackendProtocol::Http1,
            endpoints: Vec::new(),
            tls: None,
        };
        wire::Table { backends: vec![backend], ..wire::Table::default() }
    }

    #[test]
    fn it_is_as_if_they_had_been_in_the_table() {
        let plain = Sections::of(&table(), None);
        let peers = [peer("b", 0), peer("a", 0)];
        let shared = plain.with_shared(Some(&keys(3)), &peers, None);
        let whole = wire::Table { keys: Some(keys(3)), peers: peers.to_vec(), ..table() };
        assert_eq!(shared.digest(), Sections::of(&whole, None).digest());
        assert_eq!((plain.keys_revision(), shared.keys_revision()), (None, Some(3)));
        assert_eq!(shared.with_shared(None, &[], None).digest(), plain.digest());
        let back = shared.table().expect("it decodes");
        assert_eq!((back.keys, back.peers.len()), (Some(keys(3)), 2));
    }

    #[test]
    fn what_did_not_change_is_shared() {
        let plain = Sections::of(&table(), None);
        let before = plain.with_shared(Some(&keys(3)), &[peer("a", 0), peer("b", 0)], None);
        let after = plain.with_shared(Some(&keys(3)), &[peer("a", 0), peer("b", 1)], Some(&before));
        let shared = after.iter().filter(|one| before.iter().any(|other| Arc::ptr_eq(one, other)));
        let shared: Vec<_> = shared.map(|one| one.id().to_string()).collect();
        assert_eq!(shared, ["backend a/b:1", "keys quic", "peer a"]);
    }
}
