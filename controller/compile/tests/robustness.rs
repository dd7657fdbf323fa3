//! Worlds that nobody would write: golden inputs mixed, cut and filled with odd values.
//!
//! Whatever comes of it, the compiler must not panic, the table must be one that the data plane takes, and the same world
//! must give the same output. Bounded and seeded; a failure prints its seed.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "golden/case.rs"]
mod case;

use std::collections::{BTreeMap, BTreeSet};

use case::{Case, cases};
use headrace_compile::{Compiled, LocalEndpoints, Object, Options, PortOwner, Ports, World, compile};
use headrace_table::{SectionId, SectionKind, Table};
use serde_yaml::Value;

/// Worlds tried.
const WORLDS: u64 = 1_500;

/// Objects in a world, at most.
const OBJECTS: usize = 24;

/// Changes made to an object, at most.
const CHANGES: usize = 4;

/// Values that break things: empty, huge, negative, with octets that no field takes, or with a meaning of their own.
const STRINGS: &[&str] = &[
    "",
    " ",
    "*",
    "*.",
    "*.example.com",
    "a.example.com",
    "A.EXAMPLE.COM",
    "10.0.0.1",
    "::1",
    "/",
    "//",
    "/a",
    "a/b",
    "(",
    "[a-z]+",
    "\u{0}",
    "\r\n",
    "é",
    "0s",
    "99999h99999h99999h99999h",
    "-1s",
    "https://*.example.com",
    "null",
    "default",
    "infra",
    "shop",
    "edge",
    "web",
    "http",
    "HTTP",
    "HTTPS",
    "All",
    "Service",
    "Gateway",
    "headrace",
    "Prefix",
    "Exact",
    "kubernetes.io/h2c",
    "FQDN",
    "localhost",
    "127.0.0.1",
];
const NUMBERS: &[i64] = &[0, 1, 80, 443, 65_535, 65_536, -1, 1_000_001, i32::MAX as i64, i32::MIN as i64, i64::MAX];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

#[test]
fn odd_worlds_give_good_tables() {
    let cases = cases();
    let mut served = 0;
    for seed in 0..WORLDS {
        let (world, mut options) = odd_world(&cases, seed);
        let mut random = Random(!seed);
        let mut compiled = compile(&world, &options);
        if random.below(2) == 0 {
            refuse_some(&compiled, &mut options, &mut random);
            compiled = compile(&world, &options);
            let left = options.refused.keys().filter(|section| holds(&compiled, section)).count();
            assert_eq!(left, 0, "seed {seed}: a section is there that was refused");
        }
        check_allotments(seed, &compiled, &options);
        let again = compile(&world.clone(), &options);
        assert!(compiled == again, "seed {seed}: two runs differ");
        served += usize::from(!compiled.table.routes.is_empty());
        if let Err(refused) = Table::try_from(compiled.table) {
            panic!("seed {seed}: the table is refused: {refused}");
        }
    }
    // Else the worlds were so odd that nothing was tried.
    assert!(served > usize::try_from(WORLDS).unwrap() / 4, "only {served} worlds had a route that is served");
}

/// What a data plane might refuse: anything that is in the table.
fn refuse_some(compiled: &Compiled, options: &mut Options, random: &mut Random) {
    for section in sections(compiled) {
        if random.below(4) == 0 {
            options.refused.insert(section, "seen to be odd".to_owned());
        }
    }
}

fn sections(compiled: &Compiled) -> Vec<SectionId> {
    let table = &compiled.table;
    let listeners = table.listeners.iter().map(|one| SectionId::new(SectionKind::Listener, &*one.id));
    let routes = table.routes.iter().map(|one| SectionId::new(SectionKind::Route, &*one.id));
    let backends = table.backends.iter().map(|one| SectionId::new(SectionKind::Backend, &*one.id));
    let certificates = table.certificates.iter().map(|one| SectionId::new(SectionKind::Certificate, &*one.id));
    listeners.chain(routes).chain(backends).chain(certificates).collect()
}

fn holds(compiled: &Compiled, section: &SectionId) -> bool {
    sections(compiled).contains(section)
}

/// Every port of the pods has one owner, and a Service leads to what its Gateway was allotted.
fn check_allotments(seed: u64, compiled: &Compiled, options: &Options) {
    let Ports::Allotted { range, .. } = &options.ports else {
        assert!(compiled.allotments.is_empty() && compiled.services.is_empty(), "seed {seed}");
        return;
    };
    let ports: BTreeSet<u16> = compiled.allotments.values().copied().collect();
    assert_eq!(ports.len(), compiled.allotments.len(), "seed {seed}: a port is allotted twice");
    assert!(ports.iter().all(|port| range.contains(port)), "seed {seed}: {ports:?}");
    for service in &compiled.services {
        assert!(!service.ports.is_empty() && !compiled.held.contains(&service.gateway), "seed {seed}");
        for port in &service.ports {
            let owner = PortOwner { gateway: service.gateway.clone(), port: port.port };
            assert_eq!(compiled.allotments.get(&owner), Some(&port.target_port), "seed {seed}");
        }
    }
}

fn odd_world(cases: &[Case], seed: u64) -> (World, Options) {
    let mut random = Random(seed);
    let mut world = World::default();
    // Mostly from two cases, so that objects refer to one another.
    let sources = [random.pick(cases), random.pick(cases)];
    for source in sources {
        for (kind, document) in source.documents.iter().take(OBJECTS) {
            let mut document = document.clone();
            if random.below(3) == 0 {
                for _ in 0..=random.below(CHANGES) {
                    change(&mut document, &mut random);
                }
            }
            if let Ok(object) = Object::deserialize(*kind, document) {
                world.insert(object);
            }
        }
    }
    let ports = [0, 80, 443, 8443];
    let allotted = Ports::Allotted { range: 20_000..=20_002, before: BTreeMap::new() };
    let options = Options {
        ports: random.pick(&[Ports::AsListed, allotted]).clone(),
        http3: random.below(2) == 0,
        local_endpoints: *random.pick(&[LocalEndpoints::Refused, LocalEndpoints::Allowed]),
        ingress_ports: (*random.pick(&ports), *random.pick(&ports)),
        gateway_api_version: random.pick(&[None, Some("v1.6.0".to_owned()), Some("?".to_owned())]).clone(),
        ..Options::default()
    };
    (world, options)
}

/// Walks to a random place and changes what is there.
fn change(value: &mut Value, random: &mut Random) {
    match value {
        Value::Mapping(map) if !map.is_empty() => {
            let at = random.below(map.len());
            let key = map.keys().nth(at).unwrap().clone();
            if random.below(12) == 0 {
                map.remove(&key);
            } else {
                change(map.get_mut(&key).unwrap(), random);
            }
        }
        Value::Sequence(list) if !list.is_empty() => {
            let at = random.below(list.len());
            match random.below(8) {
                0 => {
                    list.remove(at);
                }
                1 => list.push(list[at].clone()),
                2 => list.clear(),
                // Past every bound that an API server would hold it to.
                3 => {
                    let item = list[at].clone();
                    list.extend(std::iter::repeat_n(item, 70));
                }
                _ => change(&mut list[at], random),
            }
        }
        Value::String(_) => *value = Value::from(*random.pick(STRINGS)),
        Value::Number(_) => *value = Value::from(*random.pick(NUMBERS)),
        Value::Bool(truth) => *truth = !*truth,
        Value::Mapping(_) | Value::Sequence(_) | Value::Null | Value::Tagged(_) => *value = Value::Null,
    }
}
