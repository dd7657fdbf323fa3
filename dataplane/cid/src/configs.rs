//! All that connection IDs mean at one moment: every live configuration, which of them encodes, and whose each server ID is.
//!
//! Owns the decision whose a packet is. Knows nothing of how to reach anybody.

use std::sync::Arc;

use crate::config::NotOfConfig;
use crate::layout::{MAX_CID, MIN_CID};
use crate::packet::Header;
use crate::{Config, ConfigId, Form, ServerId};

/// The server IDs that somebody answers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveServers(Arc<[ServerId]>);

impl LiveServers {
    /// Whether somebody answers to this one.
    pub fn contains(&self, server: &ServerId) -> bool {
        self.0.binary_search(server).is_ok()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &ServerId> {
        self.0.iter()
    }
}

impl FromIterator<ServerId> for LiveServers {
    fn from_iter<I: IntoIterator<Item = ServerId>>(servers: I) -> Self {
        let mut servers: Vec<ServerId> = servers.into_iter().collect();
        servers.sort();
        servers.dedup();
        Self(servers.into())
    }
}

/// A configuration, and who has which server ID under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allotment {
    /// The configuration.
    pub config: Arc<Config>,
    /// Our own server ID. Who has none, decodes and does not encode.
    pub own: Option<ServerId>,
    /// The peers' server IDs. Our own may be among them.
    pub live: LiveServers,
}

/// Whose a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Our own.
    Ours,
    /// That of the live peer with this server ID.
    Peer(ServerId),
    /// Nobody's, as far as its ID says. A balancer then goes by addresses, and a server answers for itself: a client's
    /// first packets have an ID of its own choice.
    Unroutable(Unroutable),
}

/// Why an ID names nobody (draft, "Unroutable Connection IDs").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unroutable {
    /// There is no ID, or none that is whole.
    Missing,
    /// Its first octet says so.
    Reserved,
    /// No live configuration has this number.
    Config(ConfigId),
    /// It is not as long as its configuration's IDs are.
    Length,
    /// Nobody answers to this server ID.
    Server(ServerId),
}

impl Unroutable {
    /// For metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Unroutable::Missing => "missing",
            Unroutable::Reserved => "reserved",
            Unroutable::Config(_) => "unknown_config",
            Unroutable::Length => "length",
            Unroutable::Server(_) => "inactive_server",
        }
    }
}

/// Configurations that do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotConfigs {
    /// IDs are never this long.
    #[error("connection IDs have 8 to 20 octets, and {0} are no such number")]
    CidLength(usize),
    /// Two have one number.
    #[error("two configurations have the number {0}")]
    Twice(ConfigId),
    /// One makes longer or shorter IDs than the others. An endpoint cuts short headers at one length.
    #[error("configuration {0} has another length than the others")]
    Length(ConfigId),
    /// A server ID is longer or shorter than its configuration says.
    #[error("a server ID has another length than configuration {0}")]
    ServerId(ConfigId),
    /// A server ID is in use in clear text and encrypted, which would give plaintexts away (draft, "Distinguishing
    /// Attacks").
    #[error("server ID {0} is in use in clear text and encrypted")]
    InClearAndEncrypted(ServerId),
    /// The one that should encode is not there.
    #[error("configuration {0} should encode and is not there")]
    NoSuchConfig(ConfigId),
    /// The one that should encode has no server ID for us.
    #[error("configuration {0} should encode and we have no server ID under it")]
    NoServerId(ConfigId),
}

/// Every live configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configs {
    cid_len: usize,
    allotments: [Option<Allotment>; ConfigId::COUNT],
    encoding: Option<ConfigId>,
}

impl Configs {
    /// Those that are live, where all IDs have this length. Without one that encodes, unroutable IDs are issued.
    pub fn new(
        cid_len: usize,
        allotments: impl IntoIterator<Item = Allotment>,
        encoding: Option<ConfigId>,
    ) -> Result<Self, NotConfigs> {
        if !(MIN_CID..=MAX_CID).contains(&cid_len) {
            return Err(NotConfigs::CidLength(cid_len));
        }
        let mut configs = Self { cid_len, allotments: Default::default(), encoding };
        for allotment in allotments {
            configs.add(allotment)?;
        }
        configs.server_ids_are_of_one_form()?;
        if let Some(id) = encoding {
            let allotment = configs.allotments[id.index()].as_ref().ok_or(NotConfigs::NoSuchConfig(id))?;
            allotment.own.ok_or(NotConfigs::NoServerId(id))?;
        }
        Ok(configs)
    }

    fn add(&mut self, allotment: Allotment) -> Result<(), NotConfigs> {
        let (id, layout) = (allotment.config.id(), allotment.config.layout());
        if layout.cid_len() != self.cid_len {
            return Err(NotConfigs::Length(id));
        }
        let fits = |server: &ServerId| server.as_slice().len() == layout.server_id_len();
        if !allotment.live.iter().chain(&allotment.own).all(fits) {
            return Err(NotConfigs::ServerId(id));
        }
        match self.allotments[id.index()].replace(allotment) {
            Some(_) => Err(NotConfigs::Twice(id)),
            None => Ok(()),
        }
    }

    fn server_ids_are_of_one_form(&self) -> Result<(), NotConfigs> {
        let of = |form| self.allotments().filter(move |allotment| allotment.config.form() == form);
        for clear in of(Form::Clear) {
            for encrypted in of(Form::Encrypted) {
                let mut servers = clear.live.iter().chain(&clear.own);
                let both = servers.find(|&server| encrypted.live.contains(server) || encrypted.own == Some(*server));
                if let Some(server) = both {
                    return Err(NotConfigs::InClearAndEncrypted(*server));
                }
            }
        }
        Ok(())
    }

    /// Octets of every ID.
    pub const fn cid_len(&self) -> usize {
        self.cid_len
    }

    /// All of them, by number.
    pub fn allotments(&self) -> impl Iterator<Item = &Allotment> {
        self.allotments.iter().flatten()
    }

    /// The one with this number.
    pub fn get(&self, id: ConfigId) -> Option<&Allotment> {
        self.allotments[id.index()].as_ref()
    }

    /// The configuration that encodes, and our server ID under it.
    pub fn encoding(&self) -> Option<(&Arc<Config>, ServerId)> {
        let allotment = self.get(self.encoding?)?;
        Some((&allotment.config, allotment.own?))
    }

    /// Whose an ID is, where its length is known: from a long header, or because it was issued here.
    pub fn destination_of_cid(&self, cid: &[u8]) -> Destination {
        self.locate(cid).unwrap_or_else(Destination::Unroutable)
    }

    /// Whose a datagram is, by its first packet.
    pub fn destination_of(&self, packet: &[u8]) -> Destination {
        let cid = match Header::of(packet) {
            Some(Header::Long { cid, .. }) => cid,
            Some(Header::Short { rest }) => rest.get(..self.cid_len).unwrap_or_default(),
            None => &[],
        };
        self.destination_of_cid(cid)
    }

    fn locate(&self, cid: &[u8]) -> Result<Destination, Unroutable> {
        let first = *cid.first().ok_or(Unroutable::Missing)?;
        let id = ConfigId::of_first_octet(first).ok_or(Unroutable::Reserved)?;
        let Allotment { config, own, live } = self.get(id).ok_or(Unroutable::Config(id))?;
        let server = config.decode(cid).map_err(|wrong| match wrong {
            NotOfConfig::Length => Unroutable::Length,
            NotOfConfig::Config => Unroutable::Config(id),
        })?;
        match server {
            _ if *own == Some(server) => Ok(Destination::Ours),
            _ if live.contains(&server) => Ok(Destination::Peer(server)),
            _ => Err(Unroutable::Server(server)),
        }
    }
}

#[cfg(test)]
mod tests;
