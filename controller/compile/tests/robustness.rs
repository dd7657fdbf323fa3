//! Worlds that nobody would write: golden inputs mixed, cut and filled with odd values.
//!
//! Whatever comes of it, the compiler must not panic, the table must be one that the data plane takes, and the same world
//! must give the same output. Bounded and seeded; a failure prints its seed.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "golden/case.rs"]
mod case;

use case::{Case, cases};
use headrace_compile::{LocalEndpoints, Object, Options, World, compile};
use headrace_table::Table;
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
        let (world, options) = odd_world(&cases, seed);
        let compiled = compile(&world, &options);
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
    let options = Options {
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
