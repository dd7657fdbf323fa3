//! What the fuzz target of connection IDs does with its input. An ordinary test of the crate calls it too.
//!
//! The input's first octets choose a configuration, and the rest is a packet from anywhere. What decodes has to encode to
//! the same ID again, and everybody has to agree on whose the packet is and which worker gets it.

use std::sync::Arc;

use headrace_cid::{
    Allotment, Config, ConfigId, Configs, Destination, Header, Key, Layout, LowBits, ServerId, Steering, Unroutable,
    Workers,
};

/// Octets before the packet: number, lengths, flags, workers, octet that steers.
const HEAD: usize = 6;

/// Whose a packet is, by a configuration that the input chooses.
pub fn cid(data: &[u8]) {
    let Some((&[number, server_id, nonce, flags, workers, octet], packet)) = data.split_first_chunk::<HEAD>() else {
        return;
    };
    let Ok(layout) = Layout::new(server_id.into(), nonce.into()) else { return };
    let Ok(id) = ConfigId::try_from(number) else { return };
    let low_bits = if flags & 1 == 0 { LowBits::Length } else { LowBits::Random };
    let config = Arc::new(match flags & 2 {
        0 => Config::clear(id, layout, low_bits, Key::from([flags; 16])),
        _ => Config::encrypted(id, layout, low_bits, Key::from([flags; 16])),
    });
    let own = ServerId::try_from(&vec![flags; layout.server_id_len()][..]).expect("as long as the layout says");
    let allotment = |live: Option<ServerId>| {
        let live = live.into_iter().collect();
        Allotment { config: Arc::clone(&config), own: Some(own), live }
    };
    let configs = |live| Configs::new(layout.cid_len(), [allotment(live)], Some(id)).expect("one goes with itself");

    let destination = configs(None).destination_of(packet);
    if let Some(found) = decodes_and_encodes_again(&config, packet) {
        match destination {
            Destination::Ours => assert_eq!(found, own),
            Destination::Unroutable(Unroutable::Server(server)) => {
                assert_eq!(found, server);
                assert_eq!(configs(Some(server)).destination_of(packet), Destination::Peer(server));
            }
            _ => panic!("{destination:?} and {found}"),
        }
    } else {
        assert!(matches!(destination, Destination::Unroutable(_)), "{destination:?}");
    }

    let Some(workers) = Workers::new(workers.into()) else { return };
    let Ok(steering) = Steering::new(layout.cid_len(), octet.into(), workers) else { return };
    assert!(steering.worker_of(packet).is_none_or(|worker| worker < workers.get()));
    if let Some(own) = cid_of(packet, layout.cid_len()).and_then(|cid| cid.try_into().ok()) {
        assert_eq!(steering.worker_of(packet), Some(steering.worker_of_cid(&own)));
    }
}

/// The ID of a packet, where it is as long as ours are.
fn cid_of(packet: &[u8], cid_len: usize) -> Option<&[u8]> {
    match Header::of(packet)? {
        Header::Long { cid, .. } => Some(cid).filter(|cid| cid.len() == cid_len),
        Header::Short { rest } => rest.get(..cid_len),
    }
}

fn decodes_and_encodes_again(config: &Config, packet: &[u8]) -> Option<ServerId> {
    let cid = cid_of(packet, config.layout().cid_len())?;
    let (server, nonce) = config.decode_whole(cid).ok()?;
    assert_eq!(config.decode(cid), Ok(server));
    let again = config.encode(&server, &nonce, cid[0]).expect("as long as the layout says");
    assert_eq!(again.as_slice(), cid);
    Some(server)
}
