//! Which port of the pods each port of each Gateway has.
//!
//! Owns the allotment: pure, and the same whatever the order of the input. It must not know Services or listeners.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::options::PortOwner;

/// An owner that is to have a port, and the one that its Service says it has.
pub(super) struct Wanted {
    pub(super) owner: PortOwner,
    pub(super) claimed: Option<u16>,
}

/// Gives every owner a port: the one it had before; else the one that its Service says, so that a new leader finds what
/// the last one gave out; else the lowest that is free. Owners come in the order in which they are served. Those for whom
/// nothing is left are not in what is returned.
pub(super) fn allot(
    wanted: &[Wanted],
    range: &RangeInclusive<u16>,
    before: &BTreeMap<PortOwner, u16>,
    taken: &[u16],
) -> BTreeMap<PortOwner, u16> {
    let mut allotted: BTreeMap<PortOwner, u16> = BTreeMap::new();
    let mut used: BTreeSet<u16> = taken.iter().copied().collect();
    let had_before = |one: &Wanted| before.get(&one.owner).copied();
    let claims = |one: &Wanted| one.claimed;
    for candidate in [&had_before as &dyn Fn(&Wanted) -> Option<u16>, &claims] {
        for one in wanted {
            let Some(port) = candidate(one).filter(|port| range.contains(port)) else { continue };
            if !allotted.contains_key(&one.owner) && used.insert(port) {
                allotted.insert(one.owner.clone(), port);
            }
        }
    }
    // What nobody has, in the order of the numbers: `used` gains only what comes out of here from now on.
    let mut free = range.clone().filter(|port| !used.contains(port));
    for one in wanted {
        if !allotted.contains_key(&one.owner) {
            let Some(port) = free.next() else { break };
            allotted.insert(one.owner.clone(), port);
        }
    }
    allotted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Key;

    fn owner(text: &str) -> PortOwner {
        let (gateway, port) = text.split_once(':').unwrap();
        PortOwner { gateway: Key::new("edge", gateway), port: port.parse().unwrap() }
    }

    /// `owner` or `owner=claimed`, and what each comes to.
    fn check(wanted: &[&str], before: &[(&str, u16)], expected: &[(&str, u16)]) {
        let wanted: Vec<Wanted> = wanted
            .iter()
            .map(|text| match text.split_once('=') {
                Some((name, claimed)) => Wanted { owner: owner(name), claimed: Some(claimed.parse().unwrap()) },
                None => Wanted { owner: owner(text), claimed: None },
            })
            .collect();
        let map = |pairs: &[(&str, u16)]| pairs.iter().map(|(name, port)| (owner(name), *port)).collect();
        let before: BTreeMap<PortOwner, u16> = map(before);
        let expected: BTreeMap<PortOwner, u16> = map(expected);
        assert_eq!(allot(&wanted, &(20_000..=20_003), &before, &[20_001]), expected);
    }

    #[test]
    fn the_lowest_free_port_is_given_out() {
        check(&["a:80", "a:443", "b:80"], &[], &[("a:80", 20_000), ("a:443", 20_002), ("b:80", 20_003)]);
    }

    #[test]
    fn what_was_given_out_stays() {
        check(&["a:80", "b:80"], &[("b:80", 20_000), ("gone:80", 20_002)], &[("a:80", 20_002), ("b:80", 20_000)]);
        // Not what has left the range, or is needed for something else.
        check(&["a:80"], &[("a:80", 30_000)], &[("a:80", 20_000)]);
        check(&["a:80"], &[("a:80", 20_001)], &[("a:80", 20_000)]);
    }

    #[test]
    fn a_service_is_believed_after_what_is_known() {
        check(&["a:80=20003", "b:80=20003"], &[], &[("a:80", 20_003), ("b:80", 20_000)]);
        check(&["a:80=20003", "b:80"], &[("b:80", 20_003)], &[("a:80", 20_000), ("b:80", 20_003)]);
        check(&["a:80=80"], &[], &[("a:80", 20_000)]);
    }

    #[test]
    fn nothing_is_left_for_the_last() {
        check(&["a:1", "a:2", "a:3", "a:4"], &[], &[("a:1", 20_000), ("a:2", 20_002), ("a:3", 20_003)]);
    }
}
