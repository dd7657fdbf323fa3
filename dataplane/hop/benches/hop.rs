//! How long it takes to seal and to open a packet, alone and in batches as the kernel cuts them, and to refuse one.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use headrace_cid::{ServerId, Workers};
use headrace_hop::{Boot, Ecn, Envelope, Kind, Membership, Pod, Receiver, Secret, Sender};

/// A datagram of QUIC before anything is known of the path.
const DATAGRAM: usize = 1200;

/// Pods of a large installation.
const PODS: u16 = 500;

fn pod(number: u16) -> Pod {
    let mut octets = [0; 8];
    octets[..2].copy_from_slice(&number.to_be_bytes());
    Pod { server: ServerId::try_from(&octets[..]).unwrap(), allotment: 0 }
}

fn membership(number: u16) -> Membership {
    let secrets = vec![Secret::new(1, [7; 32])];
    Membership { own: pod(number), secrets, peers: (0..PODS).map(pod).collect() }
}

fn sender(boot: u64) -> Sender {
    let worker = Workers::new(4).unwrap().worker(1).unwrap();
    let mut sender = Sender::new(Boot::new(0, boot, [0; 6]), worker);
    sender.adopt(&membership(0));
    sender
}

fn receiver() -> Receiver {
    let mut receiver = Receiver::default();
    receiver.adopt(&membership(PODS / 2));
    receiver
}

fn hop(criterion: &mut Criterion) {
    let to = pod(PODS / 2).server;
    let envelope = Envelope {
        kind: Kind::Forward,
        steering: 3,
        answer: 1,
        ecn: Ecn::from_bits(2),
        client: "192.0.2.1:50000".parse().unwrap(),
        local: Some("198.51.100.1".parse().unwrap()),
        port: 443,
    };
    let mut group = criterion.benchmark_group("hop");
    for batch in [1, 4, 16] {
        let datagrams = vec![0x5a; DATAGRAM * batch];
        group.throughput(Throughput::Bytes(datagrams.len() as u64));
        let (mut from, mut packets) = (sender(1), Vec::new());
        group.bench_function(BenchmarkId::new("seal", batch), |bencher| {
            bencher.iter(|| {
                packets.clear();
                from.seal(&to, &envelope, black_box(&datagrams), DATAGRAM, &mut packets).unwrap()
            });
        });
        let mut at = receiver();
        group.bench_function(BenchmarkId::new("open", batch), |bencher| {
            let sealed = || {
                let mut packets = Vec::new();
                let size = from.seal(&to, &envelope, &datagrams, DATAGRAM, &mut packets).unwrap();
                (packets, size)
            };
            let open = |(packets, size): (Vec<u8>, usize)| {
                packets.chunks(size).for_each(|packet| assert!(at.open(black_box(packet)).is_ok()));
            };
            bencher.iter_batched(sealed, open, BatchSize::PerIteration);
        });
    }
    group.throughput(Throughput::Elements(1));
    let (mut at, mut packets) = (receiver(), Vec::new());
    sender(2).seal(&to, &envelope, &[0x5a; DATAGRAM], DATAGRAM, &mut packets).unwrap();
    group.bench_function(BenchmarkId::new("open", "first-of-a-process"), |bencher| {
        bencher.iter_batched(receiver, |mut at| at.open(black_box(&packets)).is_ok(), BatchSize::SmallInput);
    });
    at.open(&packets).unwrap();
    group.bench_function(BenchmarkId::new("refuse", "replayed"), |bencher| {
        bencher.iter(|| at.open(black_box(&packets)).is_err());
    });
    let mut earlier = Vec::new();
    sender(1).seal(&to, &envelope, &[0x5a; DATAGRAM], DATAGRAM, &mut earlier).unwrap();
    group.bench_function(BenchmarkId::new("refuse", "earlier-boot"), |bencher| {
        bencher.iter(|| at.open(black_box(&earlier)).is_err());
    });
    let mut spoofed = Vec::new();
    sender(3).seal(&to, &envelope, &[0x5a; DATAGRAM], DATAGRAM, &mut spoofed).unwrap();
    *spoofed.last_mut().unwrap() ^= 1;
    group.bench_function(BenchmarkId::new("refuse", "claims-a-later-boot"), |bencher| {
        bencher.iter(|| at.open(black_box(&spoofed)).is_err());
    });
    let mut from = sender(1);
    group.bench_function("admit", |bencher| {
        bencher.iter(|| from.admit(black_box(&to), 1, Duration::from_secs(1)));
    });
    group.finish();
}

criterion_group!(benches, hop);
criterion_main!(benches);
