//! The table that the pods of a test share, in the JSON that travels.

use std::net::{Ipv4Addr, SocketAddr};

use headrace_e2e::ca::Leaf;
use serde_json::{Value, json};

use crate::push::{BACKEND, CERTIFICATE, KEYS, LISTENER, PEER, ROUTE, Section, SectionId};

/// The port on which pods serve.
pub(crate) const PORT: u16 = 443;

/// The port on which pods take packets of each other.
pub(crate) const HOP_PORT: u16 = 9444;

/// How it stands with a pod, in the words of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Live,
    Gone,
}

/// A pod of the table.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) uid: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) standing: Standing,
}

/// A table by which everything goes to one backend, with keys for these pods.
pub(crate) fn sections(leaf: &Leaf, backend: SocketAddr, peers: &[Peer]) -> Vec<Section> {
    let mut sections = vec![
        section(
            LISTENER,
            "test/edge/https",
            json!({
                "port": PORT, "public_port": PORT, "protocol": "Https", "http3": true, "certificates": ["test/edge"],
            }),
        ),
        section(
            ROUTE,
            "HTTPRoute/test/all",
            json!({
                "created": 0,
                "attachments": [{ "listener": "test/edge/https" }],
                "rules": [{
                    "matches": [{ "path": { "Prefix": "/" } }],
                    "action": { "Forward": { "backends": [{ "backend": "test/demo:80", "weight": 1 }] } },
                }],
            }),
        ),
        section(BACKEND, "test/demo:80", json!({ "endpoints": [backend] })),
        section(CERTIFICATE, "test/edge", json!({ "chain": leaf.certificate, "key": leaf.key })),
        section(KEYS, "quic", keys()),
    ];
    sections.extend(peers.iter().enumerate().map(|(place, peer)| {
        let value = json!({
            "pod": format!("pod-{place}"),
            "server_id": format!("{:016x}", 0xab00 + place),
            "allotment": 0,
            "hop": SocketAddr::from((peer.address, HOP_PORT)),
            "standing": format!("{:?}", peer.standing),
        });
        section(PEER, &peer.uid, value)
    }));
    sections
}

fn keys() -> Value {
    let secret = |id: u32| json!({ "id": id, "octets": format!("{id:064x}") });
    json!({
        "revision": 1,
        "configurations": [{
            "number": 0, "phase": "Encoding", "form": "Encrypted",
            "server_id_octets": 8, "nonce_octets": 8, "key": "8f95f09245765f80256934e50c66207f",
        }],
        "hop": [secret(1)], "reset": secret(2), "tokens": [secret(3)], "tickets": [secret(4)],
    })
}

fn section(kind: i32, id: &str, mut value: Value) -> Section {
    value["id"] = json!(id);
    Section { id: SectionId { kind, id: id.to_owned() }, octets: value.to_string().into_bytes() }
}
