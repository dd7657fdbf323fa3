//! What one worker takes from its peers.
//!
//! Owns what has to be remembered of each peer so that nothing is taken twice. Knows nothing of where packets came from:
//! an address proves nothing.

use std::collections::BTreeMap;

use headrace_cid::ServerId;

use crate::header::{Header, Malformed, Parsed};
use crate::key::MacKey;
use crate::window::Window;
use crate::{Boot, Membership, Pod, Secret};

/// Opens a worker's packets.
#[derive(Debug, Default)]
pub struct Receiver {
    own: Option<Pod>,
    secrets: Vec<Secret>,
    peers: BTreeMap<ServerId, Correspondent>,
}

/// A peer of the table. What is of variable size exists once a tag of the peer was right.
#[derive(Debug)]
struct Correspondent {
    peer: Pod,
    life: Option<Life>,
}

/// What there is of a peer's process.
#[derive(Debug)]
struct Life {
    boot: Boot,
    /// One for each secret that the process has used: as many as there are secrets, at most.
    keys: Vec<(u32, MacKey)>,
    /// One for each worker that was heard: 128 at most.
    windows: Vec<(u8, Box<Window>)>,
}

/// What a packet carried.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// Who sent it and for whom it is. All of it is true, as far as the sender is honest.
    pub header: Header,
    /// The datagram.
    pub datagram: &'a [u8],
}

/// Why a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no packet.
    #[error("it is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// Nobody of that server ID is a peer.
    #[error("its sender is no peer")]
    Sender,
    /// There is no such secret.
    #[error("its secret is not known")]
    Secret,
    /// A later process of its sender has been heard.
    #[error("its sender has restarted since")]
    Boot,
    /// It is not from its sender, or not for us, or was changed.
    #[error("its tag is wrong")]
    Tag,
    /// It was there before, or is too old to tell.
    #[error("it was there before")]
    Replayed,
}

impl Refused {
    /// For metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Refused::Malformed(_) => "malformed",
            Refused::Sender => "unknown_sender",
            Refused::Secret => "unknown_secret",
            Refused::Boot => "earlier_boot",
            Refused::Tag => "wrong_tag",
            Refused::Replayed => "replayed",
        }
    }
}

impl Receiver {
    /// From here on, from these. What is remembered of those that were there before is kept.
    pub fn adopt(&mut self, membership: &Membership) {
        let stays = |id: u32| {
            let of = |secrets: &[Secret]| secrets.iter().find(|secret| secret.id() == id).cloned();
            let after = of(membership.secrets());
            after.is_some() && after == of(&self.secrets)
        };
        let is_same = self.own == Some(membership.own);
        let mut before = std::mem::take(&mut self.peers);
        let peers = membership.others().map(|peer| {
            let kept = before.remove(&peer.server).filter(|known| known.peer == *peer);
            let mut known = kept.unwrap_or(Correspondent { peer: *peer, life: None });
            if let Some(life) = &mut known.life {
                life.keys.retain(|(id, _)| is_same && stays(*id));
            }
            (peer.server, known)
        });
        self.peers = peers.collect();
        self.own = Some(membership.own);
        self.secrets = membership.secrets().to_vec();
    }

    /// Takes a packet that is for this worker: once.
    ///
    /// # Errors
    /// It is dropped.
    pub fn open<'a>(&mut self, packet: &'a [u8]) -> Result<Opened<'a>, Refused> {
        let (parsed, life) = self.prove(packet)?;
        let header = parsed.header;
        if life.window(header.worker).accept(header.count) {
            Ok(Opened { header, datagram: parsed.datagram })
        } else {
            Err(Refused::Replayed)
        }
    }

    /// Whether a packet that is for another worker is a peer's, so that it is worth handing over. It may be a replay.
    ///
    /// # Errors
    /// It is dropped.
    pub fn authenticate(&mut self, packet: &[u8]) -> Result<Header, Refused> {
        self.prove(packet).map(|(parsed, _)| parsed.header)
    }

    /// What a packet says, if its tag is right, and what is known of who sent it.
    fn prove<'a>(&mut self, packet: &'a [u8]) -> Result<(Parsed<'a>, &mut Life), Refused> {
        let parsed = Header::parse(packet)?;
        let Header { sender, secret, boot, .. } = parsed.header;
        let own = self.own.as_ref().ok_or(Refused::Sender)?;
        let Correspondent { peer, life } = self.peers.get_mut(&sender).ok_or(Refused::Sender)?;
        let secret = self.secrets.iter().find(|known| known.id() == secret).ok_or(Refused::Secret)?;
        let known = life.as_ref().filter(|life| life.boot == boot).and_then(|life| life.key(secret.id()));
        if let Some(key) = known {
            if !is_right(key, &parsed) {
                return Err(Refused::Tag);
            }
        } else {
            if life.as_ref().is_some_and(|life| boot < life.boot) {
                return Err(Refused::Boot);
            }
            let key = MacKey::derive(secret, peer, own, &boot);
            if !is_right(&key, &parsed) {
                return Err(Refused::Tag);
            }
            match life.as_mut().filter(|life| life.boot == boot) {
                Some(life) => life.keys.push((secret.id(), key)),
                None => *life = Some(Life { boot, keys: vec![(secret.id(), key)], windows: Vec::new() }),
            }
        }
        Ok((parsed, life.as_mut().expect("a right tag leaves what is known of its sender")))
    }
}

impl Life {
    fn key(&self, secret: u32) -> Option<&MacKey> {
        self.keys.iter().find(|(id, _)| *id == secret).map(|(_, key)| key)
    }

    fn window(&mut self, worker: u8) -> &mut Window {
        let at = self.windows.iter().position(|(of, _)| *of == worker).unwrap_or_else(|| {
            self.windows.push((worker, Box::new(Window::new())));
            self.windows.len() - 1
        });
        &mut self.windows[at].1
    }
}

fn is_right(key: &MacKey, parsed: &Parsed<'_>) -> bool {
    key.verifies(parsed.header.number(), parsed.authenticated, parsed.tag)
}
