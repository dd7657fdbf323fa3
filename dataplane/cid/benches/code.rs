//! How long it takes to make an ID, to read one, and to say which worker a packet is for.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use headrace_cid::{
    Allotment, Config, ConfigId, Configs, Incarnation, Issuer, Key, Layout, LiveServers, LowBits, Nonce, ServerId,
    Steering, Workers,
};

/// Pods of a large installation.
const PEERS: u16 = 500;

fn configs() -> Vec<(&'static str, Config)> {
    let key = || Key::from([7; 16]);
    let network =
        |server, nonce| Config::encrypted(ConfigId::FIRST, Layout::new(server, nonce).unwrap(), LowBits::Length, key());
    vec![
        ("clear", Config::aws_nlb(key())),
        ("block", Config::encrypted(ConfigId::FIRST, Layout::SINGLE_BLOCK, LowBits::Length, key())),
        ("three-passes", network(4, 6)),
        ("four-passes", network(9, 6)),
    ]
}

fn server(config: &Config, number: u16) -> ServerId {
    let mut octets = [0; 15];
    octets[..2].copy_from_slice(&number.to_be_bytes());
    ServerId::try_from(&octets[..config.layout().server_id_len()]).unwrap()
}

fn live(config: Config) -> Configs {
    let own = Some(server(&config, 0));
    let live: LiveServers = (1..=PEERS).map(|number| server(&config, number)).collect();
    let (cid_len, id) = (config.layout().cid_len(), config.id());
    Configs::new(cid_len, [Allotment { config: Arc::new(config), own, live }], Some(id)).unwrap()
}

fn code(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cid");
    for (name, config) in configs() {
        let nonce = Nonce::try_from(&[0x5a; 18][..config.layout().nonce_len()]).unwrap();
        let peer = server(&config, PEERS / 2);
        let cid = config.encode(&peer, &nonce, 0).unwrap();
        group.bench_function(BenchmarkId::new("encode", name), |bencher| {
            bencher.iter(|| config.encode(black_box(&peer), black_box(&nonce), 0));
        });
        let configs = live(config);
        let packet = [&[0x40][..], cid.as_slice(), &[0; 1200]].concat();
        group.bench_function(BenchmarkId::new("destination", name), |bencher| {
            bencher.iter(|| configs.destination_of(black_box(&packet)));
        });
        for workers in [1, 8, 64] {
            let workers = Workers::new(workers).unwrap();
            let steering = Steering::by_last_octet(configs.cid_len(), workers).unwrap();
            let mut issuer = Issuer::new(Incarnation::ONLY, steering, workers.worker(0).unwrap());
            issuer.adopt(&configs);
            group.bench_function(BenchmarkId::new(format!("issue-{}-workers", workers.get()), name), |bencher| {
                bencher.iter(|| issuer.issue(black_box(&[0x5a; 20])));
            });
        }
    }
    let steering = Steering::by_last_octet(17, Workers::new(8).unwrap()).unwrap();
    let packet = [0x40; 1200];
    group.bench_function("worker", |bencher| bencher.iter(|| steering.worker_of(black_box(&packet))));
    group.finish();
}

criterion_group!(benches, code);
criterion_main!(benches);
