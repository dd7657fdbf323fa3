//! What a pod says of its QUIC connections: who it is by them, and what they still use.
//!
//! Owns the two values and their way from and to messages. It must not know what anybody concludes from them.

use crate::proto;
use crate::violation::Violation;

/// The most octets of a server ID, and of a connection ID (RFC 9000 section 17.2).
const MAX_SERVER_ID_OCTETS: usize = 15;
const MAX_CID_OCTETS: u8 = 20;

/// Configurations of connection IDs: as many bits.
const CONFIGURATIONS: u8 = 0b0111_1111;

/// What packets find a pod by, for as long as its process lives. Told with every Hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// The server ID that something else than the controller gave to the pod, 1 to 15 octets; `None` leaves it to the
    /// controller.
    pub server_id: Option<Vec<u8>>,
    /// Octets of every connection ID that the process issues.
    pub cid_octets: u8,
    /// The port on which it takes packets of other pods.
    pub hop_port: Option<u16>,
}

/// What a pod's connections use. Told when it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The revision of the keys by which the rest was found, and by which the pod goes.
    pub revision: u64,
    /// The configurations of connection IDs that clients may still send: bit n stands for number n.
    pub uses: u8,
    /// The pod's QUIC connections.
    pub connections: Connections,
}

/// QUIC connections by what they are at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// The handshake is under way.
    pub handshaking: u64,
    /// They carry requests and tunnels.
    pub open: u64,
    /// One side has closed, or the pod drains and takes no more requests on them.
    pub closing: u64,
}

impl From<&Member> for proto::Member {
    fn from(member: &Member) -> Self {
        proto::Member {
            server_id: member.server_id.clone().unwrap_or_default().into(),
            cid_octets: member.cid_octets.into(),
            hop_port: member.hop_port.unwrap_or_default().into(),
        }
    }
}

impl TryFrom<proto::Member> for Member {
    type Error = Violation;

    fn try_from(member: proto::Member) -> Result<Self, Violation> {
        let octets = member.server_id.len();
        if octets > MAX_SERVER_ID_OCTETS {
            return Err(Violation::OutOfRange { field: "server_id", value: octets as u64 });
        }
        let out_of_range = |field, value: u32| Violation::OutOfRange { field, value: value.into() };
        let cid_octets = u8::try_from(member.cid_octets).ok().filter(|octets| *octets <= MAX_CID_OCTETS);
        let hop_port = u16::try_from(member.hop_port).map_err(|_| out_of_range("hop_port", member.hop_port))?;
        Ok(Member {
            server_id: (octets > 0).then(|| member.server_id.to_vec()),
            cid_octets: cid_octets.ok_or(out_of_range("cid_octets", member.cid_octets))?,
            hop_port: (hop_port > 0).then_some(hop_port),
        })
    }
}

impl From<Report> for proto::Report {
    fn from(report: Report) -> Self {
        let Connections { handshaking, open, closing } = report.connections;
        proto::Report {
            revision: report.revision,
            uses: report.uses.into(),
            connections: Some(proto::Connections { handshaking, open, closing }),
        }
    }
}

impl From<proto::Report> for Report {
    /// Bits beyond the configurations that there are say nothing to us.
    fn from(report: proto::Report) -> Self {
        let proto::Connections { handshaking, open, closing } = report.connections.unwrap_or_default();
        Report {
            revision: report.revision,
            uses: report.uses.to_le_bytes()[0] & CONFIGURATIONS,
            connections: Connections { handshaking, open, closing },
        }
    }
}
