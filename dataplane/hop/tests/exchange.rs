//! Senders and receivers together: what is taken, what is refused and why, and that nothing is taken twice whatever the
//! network does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::time::Duration;

use headrace_cid::{ServerId, Workers};
use headrace_hop::{
    Boot, Ecn, Envelope, FORWARDS_BURST, Kind, MAX_DATAGRAM, MAX_SECRETS, Malformed, Membership, OVERHEAD, Pod,
    Receiver, Refused, Secret, Sender, Unsealed, WINDOW,
};
use proptest::prelude::*;

fn pod(number: u8) -> Pod {
    Pod { server: ServerId::try_from(&[number; 8][..]).unwrap(), allotment: 0 }
}

fn secret(id: u32) -> Secret {
    Secret::new(id, [id as u8; 32])
}

/// Of three pods, as one of them sees it.
fn membership(own: u8, secrets: &[u32]) -> Membership {
    let secrets = secrets.iter().map(|id| secret(*id)).collect();
    Membership { own: pod(own), secrets, peers: (1..=3).map(pod).collect() }
}

fn boot(started_ms: u64) -> Boot {
    Boot::new(0, started_ms, [0xd; 6])
}

fn sender_of(own: u8, started_ms: u64, worker: usize, secrets: &[u32]) -> Sender {
    let mut sender = Sender::new(boot(started_ms), Workers::new(8).unwrap().worker(worker).unwrap());
    sender.adopt(&membership(own, secrets));
    sender
}

fn sender(own: u8) -> Sender {
    sender_of(own, 1, 0, &[1])
}

fn receiver(own: u8) -> Receiver {
    let mut receiver = Receiver::default();
    receiver.adopt(&membership(own, &[1]));
    receiver
}

fn envelope() -> Envelope {
    Envelope {
        kind: Kind::Forward,
        steering: 7,
        answer: 2,
        ecn: Ecn::from_bits(1),
        client: "192.0.2.1:40000".parse().unwrap(),
        local: Some("198.51.100.2".parse().unwrap()),
        port: 443,
    }
}

fn packet(sender: &mut Sender, to: u8) -> Vec<u8> {
    let mut packets = Vec::new();
    assert_eq!(sender.seal(&pod(to).server, &envelope(), b"datagram", 8, &mut packets), Ok(8 + OVERHEAD));
    packets
}

fn refused(receiver: &mut Receiver, packet: &[u8]) -> Option<Refused> {
    receiver.open(packet).err()
}

#[test]
fn a_batch_arrives_as_it_was() {
    let (mut from, mut at) = (sender_of(1, 1, 5, &[1]), receiver(2));
    let datagrams: Vec<u8> = (0..2_500_u16).map(|octet| octet as u8).collect();
    let mut packets = Vec::new();
    let length = from.seal(&pod(2).server, &envelope(), &datagrams, 1_200, &mut packets).unwrap();
    assert_eq!(length, 1_300);
    let mut taken = Vec::new();
    for (count, packet) in packets.chunks(length).enumerate() {
        let opened = at.open(packet).unwrap();
        let header = opened.header;
        assert_eq!(header.envelope, envelope());
        assert_eq!((header.sender, header.worker, header.count), (pod(1).server, 5, count as u64));
        taken.extend_from_slice(opened.datagram);
    }
    assert_eq!(taken, datagrams);
    assert_eq!(packets.len(), datagrams.len() + 3 * OVERHEAD);
}

#[test]
fn who_is_not_meant_takes_nothing() {
    let packet = packet(&mut sender(1), 2);
    assert_eq!(refused(&mut receiver(2), &packet), None);
    assert_eq!(refused(&mut receiver(3), &packet), Some(Refused::Tag));
    // Somebody sends it back to where it came from.
    assert_eq!(refused(&mut receiver(1), &packet), Some(Refused::Sender));
    assert_eq!(refused(&mut Receiver::default(), &packet), Some(Refused::Sender));
    assert_eq!(refused(&mut receiver(2), &packet[..OVERHEAD]), Some(Refused::Malformed(Malformed::Short)));
    // Another who has the server ID since.
    let (mut other, mut at) = (membership(2, &[1]), Receiver::default());
    other.peers[0].allotment = 1;
    at.adopt(&other);
    assert_eq!(refused(&mut at, &packet), Some(Refused::Tag));
}

#[test]
fn every_changed_bit_is_found() {
    let (mut at, packet) = (receiver(2), packet(&mut sender(1), 2));
    for bit in 0..packet.len() * 8 {
        let mut changed = packet.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(at.open(&changed).is_err(), "bit {bit}");
    }
    for length in 0..packet.len() {
        assert!(at.open(&packet[..length]).is_err(), "{length} octets");
    }
    assert!(at.open(&packet).is_ok(), "what was refused left nothing behind");
}

#[test]
fn once_and_in_any_order_within_the_window() {
    let (mut from, mut at) = (sender(1), receiver(2));
    let packets: Vec<_> = (0..=WINDOW).map(|_| packet(&mut from, 2)).collect();
    let (last, rest) = packets.split_last().unwrap();
    assert_eq!(refused(&mut at, last), None);
    assert_eq!(refused(&mut at, &rest[0]), Some(Refused::Replayed), "it is too old to tell");
    for packet in rest[1..].iter().rev() {
        assert_eq!(refused(&mut at, packet), None);
    }
    for packet in &packets {
        assert_eq!(refused(&mut at, packet), Some(Refused::Replayed));
    }
}

#[test]
fn workers_of_a_sender_have_windows_of_their_own() {
    let mut at = receiver(2);
    for worker in 0..8 {
        let mut from = sender_of(1, 1, worker, &[1]);
        for _ in 0..worker {
            packet(&mut from, 3);
        }
        let packet = packet(&mut from, 2);
        assert_eq!(refused(&mut at, &packet), None, "worker {worker}");
        assert_eq!(refused(&mut at, &packet), Some(Refused::Replayed), "worker {worker}");
    }
}

#[test]
fn looking_is_not_taking() {
    let (mut at, packet) = (receiver(2), packet(&mut sender(1), 2));
    for _ in 0..3 {
        assert_eq!(at.authenticate(&packet).unwrap().envelope, envelope());
    }
    assert_eq!(refused(&mut at, &packet), None);
    assert!(at.authenticate(&packet).is_ok(), "whose window knows it is another's business");
    assert_eq!(refused(&mut at, &packet), Some(Refused::Replayed));
}

#[test]
fn a_restart_is_believed_when_it_is_proved() {
    let mut at = receiver(2);
    let (mut first, mut second) = (sender_of(1, 10, 0, &[1]), sender_of(1, 11, 0, &[1]));
    let (early, late, later) = (packet(&mut first, 2), packet(&mut first, 2), packet(&mut second, 2));
    assert_eq!(refused(&mut at, &early), None);
    // Who only claims it, changes nothing.
    let mut forged = later.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&mut at, &forged), Some(Refused::Tag));
    assert_eq!(refused(&mut at, &late), None);
    // The count begins anew.
    assert_eq!(refused(&mut at, &later), None);
    assert_eq!(refused(&mut at, &later), Some(Refused::Replayed));
    for packet in [packet(&mut first, 2), early, late] {
        assert_eq!(refused(&mut at, &packet), Some(Refused::Boot));
    }
}

#[test]
fn secrets_change_without_loss_and_without_repetition() {
    let (mut from, mut at) = (sender(1), receiver(2));
    let first = packet(&mut from, 2);
    assert_eq!(refused(&mut at, &first), None);
    // The receiver knows the next one before the sender uses it, and the sender's count goes on.
    at.adopt(&membership(2, &[1, 2]));
    from.adopt(&membership(1, &[2, 1]));
    let second = packet(&mut from, 2);
    assert_eq!(refused(&mut at, &second), None);
    assert_eq!(at.authenticate(&second).unwrap().secret, 2);
    assert_eq!(at.authenticate(&second).unwrap().count, 1);
    assert_eq!(refused(&mut at, &first), Some(Refused::Replayed));
    at.adopt(&membership(2, &[2]));
    assert_eq!(refused(&mut at, &first), Some(Refused::Secret));
    assert_eq!(refused(&mut at, &second), Some(Refused::Replayed), "windows outlive secrets");
    // Other octets under the number of before are another secret.
    let mut other = membership(2, &[2]);
    other.secrets = vec![Secret::new(2, [0xee; 32])];
    at.adopt(&other);
    assert_eq!(refused(&mut at, &packet(&mut from, 2)), Some(Refused::Tag));
    // Only so many are looked at.
    let many: Vec<u32> = (10..11 + MAX_SECRETS as u32).collect();
    at.adopt(&membership(2, &many));
    let last = packet(&mut sender_of(1, 2, 0, &many[MAX_SECRETS..]), 2);
    assert_eq!(refused(&mut at, &last), Some(Refused::Secret));
    let within = packet(&mut sender_of(1, 2, 0, &many[MAX_SECRETS - 1..]), 2);
    assert_eq!(refused(&mut at, &within), None);
}

#[test]
fn peers_come_and_go() {
    let (mut from, mut at) = (sender(1), receiver(2));
    let first = packet(&mut from, 2);
    assert_eq!(refused(&mut at, &first), None);
    let mut alone = membership(2, &[1]);
    alone.peers.retain(|peer| *peer != pod(1));
    at.adopt(&alone);
    assert_eq!(refused(&mut at, &packet(&mut from, 2)), Some(Refused::Sender));

    let mut without = membership(1, &[1]);
    without.peers.retain(|peer| *peer != pod(2));
    from.adopt(&without);
    let (to, mut packets) = (pod(2).server, Vec::new());
    assert!(!from.reaches(&to) && from.reaches(&pod(3).server));
    assert_eq!(from.seal(&to, &envelope(), b"datagram", 8, &mut packets), Err(Unsealed::NoPeer));
    // A number is not used again for who comes back.
    from.adopt(&membership(1, &[1]));
    let again = packet(&mut from, 2);
    assert_eq!(receiver(2).open(&again).unwrap().header.count, 2);
}

#[test]
fn what_is_not_sealed() {
    let (to, mut packets) = (pod(2).server, vec![1, 2, 3]);
    let long = vec![0; MAX_DATAGRAM + 1];
    let mut without = sender_of(1, 1, 0, &[]);
    let cases: [(&mut Sender, Pod, &[u8], usize, Unsealed); 6] = [
        (&mut sender(1), pod(2), b"", 8, Unsealed::Length),
        (&mut sender(1), pod(2), b"datagram", 0, Unsealed::Length),
        (&mut sender(1), pod(2), &long, usize::MAX, Unsealed::Length),
        (&mut sender(1), pod(9), b"datagram", 8, Unsealed::NoPeer),
        (&mut sender(1), pod(1), b"datagram", 8, Unsealed::NoPeer),
        (&mut without, pod(2), b"datagram", 8, Unsealed::NoPeer),
    ];
    for (sender, to, datagrams, segment, expected) in cases {
        assert_eq!(sender.seal(&to.server, &envelope(), datagrams, segment, &mut packets), Err(expected));
        assert_eq!(packets, [1, 2, 3]);
    }
    let whole = sender(1).seal(&to, &envelope(), &long[1..], usize::MAX, &mut packets);
    assert_eq!(whole, Ok(MAX_DATAGRAM + OVERHEAD));
}

#[test]
fn a_flood_to_one_peer_leaves_the_others_alone() {
    let mut from = sender(1);
    let (burst, now) = (FORWARDS_BURST as usize, Duration::from_secs(9));
    assert_eq!(from.admit(&pod(2).server, burst + 5, now), burst);
    assert_eq!(from.admit(&pod(2).server, 1, now), 0);
    assert_eq!(from.admit(&pod(3).server, 1, now), 1);
    assert_eq!(from.admit(&pod(9).server, 1, now), 0);
    // A new table fills nothing up.
    from.adopt(&membership(1, &[1, 2]));
    assert_eq!(from.admit(&pod(2).server, 1, now), 0);
    assert_eq!(from.admit(&pod(2).server, 1, now + Duration::from_millis(1)), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A network that delays, drops, repeats and reorders; a sender that restarts and changes its secret.
    #[test]
    fn nothing_is_taken_twice(steps in prop::collection::vec((0..100_u8, any::<prop::sample::Index>()), 1..400)) {
        let (mut started, mut secrets) = (1, [1, 2]);
        let (mut from, mut at) = (sender_of(1, started, 0, &secrets), receiver(2));
        at.adopt(&membership(2, &[1, 2]));
        let (mut sent, mut taken) = (Vec::<(u64, Vec<u8>)>::new(), HashSet::new());
        for (step, which) in steps {
            match step {
                0 => {
                    started += 1;
                    from = sender_of(1, started, 0, &secrets);
                }
                1..10 => {
                    secrets.reverse();
                    from.adopt(&membership(1, &secrets));
                }
                10..60 => sent.push((started, packet(&mut from, 2))),
                _ if sent.is_empty() => {}
                _ => {
                    let at_index = which.index(sent.len());
                    let (of, packet) = &sent[at_index];
                    if at.open(packet).is_ok() {
                        prop_assert!(taken.insert(at_index), "{} was taken twice", at_index);
                        prop_assert!(sent.iter().zip(0..).all(|((other, _), at)| other <= of || !taken.contains(&at)),
                            "of an earlier process than one that was heard");
                    }
                }
            }
        }
    }
}
