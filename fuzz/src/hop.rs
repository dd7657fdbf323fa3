//! What the fuzz targets of the hop between pods do with their input. Ordinary tests of the crate call them too.
//!
//! What parses encodes to the same octets. What a peer sealed opens once, whatever it says, and never after a change; what
//! nobody sealed never opens.

use std::net::{IpAddr, SocketAddr};

use headrace_cid::{ServerId, Workers};
use headrace_hop::{
    Boot, Ecn, Envelope, HEADER_LEN, Header, Kind, Membership, OVERHEAD, Pod, Receiver, Refused, Secret, Sender,
};

fn pod(number: u8) -> Pod {
    Pod { server: ServerId::try_from(&[number; 8][..]).expect("8 octets"), allotment: 0 }
}

fn membership(own: u8) -> Membership {
    let secrets = vec![Secret::new(1, [0x11; 32]), Secret::new(2, [0x22; 32])];
    Membership { own: pod(own), secrets, peers: (1..=3).map(pod).collect() }
}

fn receiver(own: u8) -> Receiver {
    let mut receiver = Receiver::default();
    receiver.adopt(&membership(own));
    receiver
}

/// Packets from anywhere.
pub fn hop(data: &[u8]) {
    if let Ok(parsed) = Header::parse(data) {
        assert_eq!(parsed.header.encode(), data[..HEADER_LEN]);
        assert_eq!(parsed.datagram.len() + OVERHEAD, data.len());
    }
    let mut receiver = receiver(1);
    assert!(receiver.open(data).is_err() && receiver.authenticate(data).is_err());
}

/// Octets before the datagrams: what is said, how long each datagram is, and what is changed on the way.
const HEAD: usize = 48;

/// Packets of a peer that says anything, and changes on their way.
pub fn hop_sealed(data: &[u8]) {
    let Some((head, datagrams)) = data.split_first_chunk::<HEAD>() else { return };
    let part = |at: usize| <[u8; 16]>::try_from(&head[at..at + 16]).expect("16 octets");
    let envelope = Envelope {
        kind: if head[0] % 2 == 0 { Kind::Forward } else { Kind::Return },
        steering: head[1],
        answer: head[2],
        ecn: Ecn::from_bits(head[3]),
        client: SocketAddr::new(IpAddr::V6(part(4).into()).to_canonical(), u16::from_be_bytes([head[36], head[37]])),
        local: Some(IpAddr::V6(part(20).into()).to_canonical()).filter(|ip| !ip.is_ipv6() || !ip.is_unspecified()),
        port: u16::from_be_bytes([head[38], head[39]]),
    };
    let worker = Workers::new(128).and_then(|workers| workers.worker((head[40] % 128).into()));
    let mut sender = Sender::new(Boot::from(part(20)), worker.expect("it is less than 128"));
    sender.adopt(&membership(2));
    let (segment, mut packets) = (usize::from(head[41]), Vec::new());
    let Ok(length) = sender.seal(&pod(1).server, &envelope, datagrams, segment, &mut packets) else {
        assert!(segment == 0 || datagrams.is_empty());
        return assert!(packets.is_empty());
    };

    let mut receiver = receiver(1);
    let mut taken = Vec::new();
    for packet in packets.chunks(length) {
        let mut changed = packet.to_vec();
        let at = usize::from(u16::from_be_bytes([head[42], head[43]])) % packet.len();
        changed[at] ^= head[44].max(1);
        assert!(receiver.open(&changed).is_err(), "octet {at}");
        assert_eq!(self::receiver(3).open(packet).err(), Some(Refused::Tag), "it is for another");
        let opened = receiver.open(packet).expect("a peer sealed it");
        assert_eq!(opened.header.envelope, envelope);
        taken.extend_from_slice(opened.datagram);
        assert_eq!(receiver.open(packet).err(), Some(Refused::Replayed));
    }
    assert_eq!(taken, datagrams);
}
