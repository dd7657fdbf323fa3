//! What a packet says beside the datagram that it carries.
//!
//! Owns the octets, both ways. Knows nothing of keys: what is parsed here is not yet to be believed.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use headrace_cid::{MAX_WORKERS, ServerId};

use crate::boot::{BOOT_LEN, Boot};

/// Octets before the datagram.
pub const HEADER_LEN: usize = 84;

/// Octets of the tag behind it.
pub const TAG_LEN: usize = 16;

/// By how much a packet is longer than the datagram in it.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;

/// The longest datagram that fits into a packet: UDP's most over IPv4, less the overhead.
pub const MAX_DATAGRAM: usize = 65_507 - OVERHEAD;

/// Of the packet, in the upper half of the first octet.
const VERSION: u8 = 1;

/// Where the parts are.
const STEERING: usize = crate::steering::OCTET;
const ANSWER: usize = 2;
const ECN: usize = 3;
const SECRET: usize = 4;
const SENDER: usize = 8;
const BOOT: usize = 24;
const WORKER: usize = 40;
const CLIENT: usize = 48;
const LOCAL: usize = 64;
const CLIENT_PORT: usize = 80;
const PORT: usize = 82;

/// Octets of an address.
const ADDRESS_LEN: usize = 16;

/// Bits of a number below the worker.
pub(crate) const COUNT_BITS: u32 = 56;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From the pod where a client's datagram arrived to the one whose connection it belongs to.
    Forward,
    /// From that one to the pod by which the client's datagrams come, which sends it to the client.
    Return,
}

impl Kind {
    /// For metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Kind::Forward => "forward",
            Kind::Return => "return",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Kind::Forward => 1,
            Kind::Return => 2,
        }
    }
}

/// The two bits of the IP header (RFC 3168 section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ecn(u8);

impl Ecn {
    /// From the lower two of these bits.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0b11)
    }

    /// The two bits.
    pub const fn bits(self) -> u8 {
        self.0
    }
}

/// What the sender's caller knows of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Which way it goes.
    pub kind: Kind,
    /// The octet by which the receiver steers.
    pub steering: u8,
    /// The octet by which an answer is to be steered. Means nothing in a Return.
    pub answer: u8,
    /// Of the client's packet, or for it.
    pub ecn: Ecn,
    /// Whom the datagram is from or for. Flow label and zone of an IPv6 address do not travel.
    pub client: SocketAddr,
    /// The address of the entry that the client knows, where the entry's system tells it.
    pub local: Option<IpAddr>,
    /// The port of the entry that the client knows.
    pub port: u16,
}

/// All that stands before the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the sender's caller knew.
    pub envelope: Envelope,
    /// The number of the secret.
    pub secret: u32,
    /// Who sends.
    pub sender: ServerId,
    /// Which process of the sender.
    pub boot: Boot,
    /// Which worker of the process.
    pub worker: u8,
    /// How many packets the worker had sent.
    pub count: u64,
}

/// A packet in its parts.
#[derive(Clone, Copy, Debug)]
pub struct Parsed<'a> {
    /// What stands before the datagram.
    pub header: Header,
    /// The datagram.
    pub datagram: &'a [u8],
    /// All that the tag is over.
    pub authenticated: &'a [u8],
    /// The tag.
    pub tag: &'a [u8; TAG_LEN],
}

/// Why something is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is too short to carry an octet.
    #[error("it is too short")]
    Short,
    /// It is of a version that we do not speak.
    #[error("its version is {0}")]
    Version(u8),
    /// It is neither a Forward nor a Return.
    #[error("its kind is {0}")]
    Kind(u8),
    /// A part has a value that is not sent.
    #[error("a part of it has no meaning")]
    Part,
}

impl Header {
    /// The number of the packet, which no other of its sender's boot has.
    pub(crate) const fn number(&self) -> u64 {
        (self.worker as u64) << COUNT_BITS | self.count
    }

    /// The octets.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let Self { envelope, secret, sender, boot, .. } = self;
        let mut octets = [0; HEADER_LEN];
        octets[0] = VERSION << 4 | envelope.kind.number();
        octets[STEERING] = envelope.steering;
        octets[ANSWER] = envelope.answer;
        octets[ECN] = envelope.ecn.bits();
        octets[SECRET..SENDER].copy_from_slice(&secret.to_be_bytes());
        let sender = sender.as_slice();
        octets[SENDER] = sender.len() as u8;
        octets[SENDER + 1..][..sender.len()].copy_from_slice(sender);
        octets[BOOT..WORKER].copy_from_slice(boot.octets());
        octets[WORKER..CLIENT].copy_from_slice(&self.number().to_be_bytes());
        octets[CLIENT..LOCAL].copy_from_slice(&mapped(envelope.client.ip()));
        let local = envelope.local.unwrap_or(Ipv6Addr::UNSPECIFIED.into());
        octets[LOCAL..CLIENT_PORT].copy_from_slice(&mapped(local));
        octets[CLIENT_PORT..PORT].copy_from_slice(&envelope.client.port().to_be_bytes());
        octets[PORT..].copy_from_slice(&envelope.port.to_be_bytes());
        octets
    }

    /// Takes a packet apart. What is taken encodes to the same octets: there is one way to say a thing.
    ///
    /// # Errors
    /// It is no packet.
    pub fn parse(packet: &[u8]) -> Result<Parsed<'_>, Malformed> {
        let (authenticated, tag) = packet.split_last_chunk::<TAG_LEN>().ok_or(Malformed::Short)?;
        let (octets, datagram) = authenticated.split_first_chunk::<HEADER_LEN>().ok_or(Malformed::Short)?;
        if datagram.is_empty() {
            return Err(Malformed::Short);
        }
        Ok(Parsed { header: Self::decode(octets)?, datagram, authenticated, tag })
    }

    fn decode(octets: &[u8; HEADER_LEN]) -> Result<Self, Malformed> {
        let kind = match (octets[0] >> 4, octets[0] & 0x0f) {
            (VERSION, 1) => Kind::Forward,
            (VERSION, 2) => Kind::Return,
            (VERSION, kind) => return Err(Malformed::Kind(kind)),
            (version, _) => return Err(Malformed::Version(version)),
        };
        let worker = octets[WORKER];
        if octets[ECN] > 0b11 || usize::from(worker) >= MAX_WORKERS {
            return Err(Malformed::Part);
        }
        let local = Some(address(part(octets, LOCAL))).filter(|local| *local != IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let port = |at| u16::from_be_bytes(part(octets, at));
        let envelope = Envelope {
            kind,
            steering: octets[STEERING],
            answer: octets[ANSWER],
            ecn: Ecn::from_bits(octets[ECN]),
            client: SocketAddr::new(address(part(octets, CLIENT)), port(CLIENT_PORT)),
            local,
            port: port(PORT),
        };
        Ok(Self {
            envelope,
            secret: u32::from_be_bytes(part(octets, SECRET)),
            sender: sender(&octets[SENDER..BOOT])?,
            boot: Boot::from(part::<BOOT_LEN>(octets, BOOT)),
            worker,
            count: u64::from_be_bytes(part(octets, WORKER)) & ((1 << COUNT_BITS) - 1),
        })
    }
}

fn part<const LEN: usize>(octets: &[u8; HEADER_LEN], at: usize) -> [u8; LEN] {
    octets[at..at + LEN].try_into().expect("a part lies within the header")
}

/// A server ID with its length before it and zeroes behind it.
fn sender(octets: &[u8]) -> Result<ServerId, Malformed> {
    let (length, octets) = octets.split_first().ok_or(Malformed::Part)?;
    let (sender, rest) = octets.split_at_checked((*length).into()).ok_or(Malformed::Part)?;
    if rest.iter().any(|octet| *octet != 0) {
        return Err(Malformed::Part);
    }
    ServerId::try_from(sender).map_err(|_| Malformed::Part)
}

fn mapped(address: IpAddr) -> [u8; ADDRESS_LEN] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn address(octets: [u8; ADDRESS_LEN]) -> IpAddr {
    IpAddr::V6(octets.into()).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            envelope: Envelope {
                kind: Kind::Forward,
                steering: 0xa5,
                answer: 3,
                ecn: Ecn::from_bits(2),
                client: "192.0.2.7:50000".parse().unwrap(),
                local: Some("198.51.100.1".parse().unwrap()),
                port: 443,
            },
            secret: 0x0102_0304,
            sender: ServerId::try_from(&[9; 8][..]).unwrap(),
            boot: Boot::new(5, 0x0000_a1a2_a3a4_a5a6, [0xb0; 6]),
            worker: 6,
            count: 0x0011_2233_4455_6677 & ((1 << COUNT_BITS) - 1),
        }
    }

    fn packet(header: &Header) -> Vec<u8> {
        [&header.encode()[..], b"datagram", &[0xee; TAG_LEN]].concat()
    }

    #[test]
    fn the_octets_are_where_the_diagram_has_them() {
        let expected = concat!(
            "11a50302",
            "01020304",
            "0809090909090909",
            "0900000000000000",
            "00000005a1a2a3a4",
            "a5a6b0b0b0b0b0b0",
            "0611223344556677",
            "00000000000000000000ffffc0000207",
            "00000000000000000000ffffc6336401",
            "c350",
            "01bb",
        );
        let octets = header().encode();
        let found: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_said_is_heard() {
        let plain = header();
        let with = |change: fn(&mut Header)| {
            let mut header = plain;
            change(&mut header);
            header
        };
        let headers = [
            plain,
            with(|h| h.envelope.kind = Kind::Return),
            with(|h| h.envelope.client = "[2001:db8::1]:1".parse().unwrap()),
            with(|h| h.envelope.local = None),
            with(|h| h.envelope.local = Some("2001:db8::2".parse().unwrap())),
            with(|h| h.envelope.local = Some("0.0.0.0".parse().unwrap())),
            with(|h| h.sender = ServerId::try_from(&[1][..]).unwrap()),
            with(|h| h.sender = ServerId::try_from(&[0; 15][..]).unwrap()),
            with(|h| h.worker = 127),
            with(|h| h.count = (1 << COUNT_BITS) - 1),
        ];
        for header in headers {
            let packet = packet(&header);
            let parsed = Header::parse(&packet).unwrap();
            assert_eq!(parsed.header, header);
            assert_eq!((parsed.datagram, parsed.tag), (&b"datagram"[..], &[0xee; TAG_LEN]));
            assert_eq!(parsed.authenticated, &packet[..packet.len() - TAG_LEN]);
        }
        // An IPv4 address that somebody wrote as IPv6 is an IPv4 address.
        let mapped = with(|h| h.envelope.client = "[::ffff:192.0.2.7]:50000".parse().unwrap());
        assert_eq!(Header::parse(&packet(&mapped)).unwrap().header, plain);
    }

    #[test]
    fn what_is_no_packet() {
        let whole = packet(&header());
        for length in 0..=OVERHEAD {
            assert_eq!(Header::parse(&whole[..length]).unwrap_err(), Malformed::Short, "{length}");
        }
        assert!(Header::parse(&whole[..=OVERHEAD]).is_ok());
        let cases = [
            (0, 0x21, Malformed::Version(2)),
            (0, 0x10, Malformed::Kind(0)),
            (0, 0x13, Malformed::Kind(3)),
            (ECN, 4, Malformed::Part),
            (SENDER, 0, Malformed::Part),
            (SENDER, 7, Malformed::Part),
            (SENDER, 16, Malformed::Part),
            (SENDER, 255, Malformed::Part),
            (BOOT - 1, 1, Malformed::Part),
            (WORKER, 128, Malformed::Part),
        ];
        for (at, octet, expected) in cases {
            let mut packet = whole.clone();
            packet[at] = octet;
            assert_eq!(Header::parse(&packet).unwrap_err(), expected, "octet {at} is {octet}");
        }
    }
}
