//! That the kernel and its twin say the same, and that the sockets of a group stay in their order.

use std::collections::HashMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use super::*;
use crate::quic::chance;

/// No wait is longer: what takes longer than this is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Packets of each steering: they are few enough for the sockets' buffers on any machine.
const PACKETS: usize = 400;

/// A user who has no privileges.
const NOBODY: u32 = 65534;

/// This test alone, for a process that runs it again.
const AGREEMENT: &str = "quic::group::tests::the_kernel_and_its_twin_agree";

fn steering(cid_len: usize, workers: usize) -> Steering {
    Steering::by_last_octet(cid_len, Workers::new(workers).unwrap()).unwrap()
}

/// A group on a port that nobody has.
fn group(steering: &Steering) -> Group {
    let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = probe.local_addr().unwrap();
    drop(probe);
    Group::bind(address, steering.workers(), Some(steering)).unwrap()
}

/// A packet of which all is drawn; the first octets say, half of the time, what would make the rest matter.
fn packet(number: u32, cid_len: usize) -> Vec<u8> {
    let drawn: [u8; 64] = chance();
    let mut packet = drawn[..8 + usize::from(drawn[63]) % 40].to_vec();
    match drawn[62] % 4 {
        0 => packet[0] &= 0x7f,
        1 => (packet[0], packet[5]) = (packet[0] | 0x80, cid_len as u8),
        2 => (packet[0], packet[5]) = (packet[0] | 0x80, 8 + drawn[61] % 13),
        _ => packet.truncate(1 + usize::from(drawn[60]) % 8),
    }
    // By its last octets, it is found again.
    packet.extend_from_slice(&number.to_be_bytes());
    packet
}

/// Which socket has got each packet.
fn received(sockets: &[&UdpSocket], count: usize) -> HashMap<u32, usize> {
    let mut found = HashMap::new();
    let give_up = std::time::Instant::now() + PATIENCE;
    let mut buffer = [0; 128];
    while found.len() < count && std::time::Instant::now() < give_up {
        for (place, socket) in sockets.iter().enumerate() {
            while let Ok(length) = socket.recv(&mut buffer) {
                let number = u32::from_be_bytes(buffer[length - 4..length].try_into().unwrap());
                assert_eq!(found.insert(number, place), None, "packet {number} came twice");
            }
        }
    }
    found
}

fn check(steering: &Steering, group: &Group) {
    let sockets: Vec<_> = group.members.iter().map(|member| &member.socket).collect();
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let packets: Vec<_> = (0..PACKETS).map(|number| packet(number as u32, steering.cid_len())).collect();
    for packet in &packets {
        sender.send_to(packet, group.address()).unwrap();
    }
    let found = received(&sockets, PACKETS);
    assert_eq!(found.len(), PACKETS, "all of them came");
    let mut steered = 0;
    for (number, packet) in (0..).zip(&packets) {
        if let Some(worker) = steering.worker_of(packet) {
            assert_eq!(found[&number], worker, "{packet:02x?} with {steering:?}");
            steered += 1;
        }
    }
    assert!(steered > PACKETS / 2, "most say whose they are");
}

#[test]
fn the_kernel_and_its_twin_agree() {
    for (cid_len, workers) in [(17, 1), (17, 2), (17, 3), (16, 4), (20, 7), (8, 16)] {
        let steering = steering(cid_len, workers);
        check(&steering, &group(&steering));
    }
}

#[test]
fn an_ordinary_user_may_steer() {
    if !rustix::process::geteuid().is_root() {
        // Then the test above has shown it.
        return;
    }
    // Where this program was built, perhaps only its builder may look.
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new(program).args(["--exact", AGREEMENT]).uid(NOBODY).gid(NOBODY).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn workers_that_come_and_go_keep_their_places() {
    let steering = steering(17, 4);
    let workers = steering.workers();
    let groups = Groups::new(Some(steering), workers);
    let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = probe.local_addr().unwrap();
    drop(probe);
    let group = groups.open(address).unwrap();
    // As endpoints do: they hold sockets of their own, and let go of them in any order.
    let mut held: Vec<_> = (0..4).map(|worker| Some(group.socket(worker).unwrap())).collect();
    for worker in [2, 0, 3] {
        held[worker] = None;
    }
    for worker in [3, 0, 2] {
        held[worker] = Some(groups.open(address).unwrap().socket(worker).unwrap());
    }
    assert!(Arc::ptr_eq(&groups.open(address).unwrap(), &group));
    check(&steering, &group);
}

#[test]
fn a_group_ends_with_its_last_holder_and_only_when_all_let_go() {
    let steering = steering(17, 3);
    let groups = Groups::new(Some(steering), steering.workers());
    let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = probe.local_addr().unwrap();
    drop(probe);
    let group = groups.open(address).unwrap();
    for worker in 0..3 {
        group.wanted_by(worker);
    }
    assert!(!group.may_be_left(1) && !group.may_be_left(2), "another serves");
    assert!(group.may_be_left(0));
    group.wanted_by(2);
    assert!(!group.may_be_left(0), "one came back");
    assert!(groups.of(address.port(), false).is_some());
    assert!(groups.of(address.port(), true).is_none() && groups.of(address.port() ^ 1, false).is_none());
    drop(group);
    assert!(groups.of(address.port(), false).is_none());
    assert!(UdpSocket::bind(address).is_ok(), "nobody has the address any more");
}

#[test]
fn an_address_that_cannot_be_had_leaves_nothing() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let steering = steering(17, 3);
    let groups = Groups::new(Some(steering), steering.workers());
    let error = groups.open(taken.local_addr().unwrap()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(groups.groups.load().is_empty());
}
