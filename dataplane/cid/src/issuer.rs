//! Connection IDs as a worker issues them.
//!
//! Owns the worker's nonces for as long as its process lives, and the draws until an ID fits the worker. Knows nothing of
//! packets and nothing of chance: the octets that must be drawn come as an argument.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::id::RESERVED;
use crate::layout::MAX_CID;
use crate::nonces::{Incarnation, NonceSource};
use crate::{Config, Configs, ConnectionId, KEY_LEN, ServerId, Steering, Worker};

/// Octets of chance that an ID takes.
pub const ENTROPY_LEN: usize = MAX_CID;

/// How many configurations an issuer remembers after they were replaced: one a day for most of a year.
const MAX_REMEMBERED: usize = 256;

/// Tries for each that is expected, at most. An ID fits one worker of W in every W-th draw or so, and not at all in this
/// many with a probability of e^-48.
const DRAWS_PER_EXPECTED: usize = 48;

/// An ID for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issued {
    /// One that says whose it is.
    Routable(ConnectionId),
    /// One that cannot: all of it is drawn. The draft wants a connection to have no other one ("Configuration Failover"),
    /// and the client to stay where it is (`disable_active_migration`).
    Unroutable(ConnectionId, Unissued),
}

impl Issued {
    /// The ID, of whichever kind.
    pub const fn cid(&self) -> &ConnectionId {
        match self {
            Issued::Routable(cid) | Issued::Unroutable(cid, _) => cid,
        }
    }
}

/// Why no routable ID was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unissued {
    /// No configuration encodes.
    NoConfig,
    /// The configuration's IDs have another length, or the same octet in all of them: they cannot be steered.
    Unsteerable,
    /// There is no room for the incarnation.
    OutOfIncarnations,
    /// All nonces are used up.
    Exhausted,
    /// No ID fitted the worker in as many draws as are allowed.
    NoFit,
}

impl Unissued {
    /// For metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Unissued::NoConfig => "no_config",
            Unissued::Unsteerable => "unsteerable",
            Unissued::OutOfIncarnations => "out_of_incarnations",
            Unissued::Exhausted => "exhausted",
            Unissued::NoFit => "no_fit",
        }
    }
}

/// What a worker issues IDs with. A worker has one from its start to its end, for all of its endpoints: two would draw the
/// same nonces.
#[derive(Debug)]
pub struct Issuer {
    incarnation: Incarnation,
    steering: Steering,
    worker: Worker,
    encoder: Result<Encoder, Unissued>,
    spent: Spent,
}

/// The configuration that encodes, with what is left of its nonces.
#[derive(Debug)]
struct Encoder {
    config: Arc<Config>,
    server: ServerId,
    nonces: NonceSource,
    domain: Domain,
}

/// Which nonces a source draws from, whatever its configuration is called. It follows from a secret, and is not printed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Domain([u8; KEY_LEN]);

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Domain(..)")
    }
}

/// How many nonces were drawn of sources that are not in use any more, in case that they come again: after a rotation
/// that was taken back, for one.
#[derive(Debug, Default)]
struct Spent {
    draws: BTreeMap<Domain, u64>,
    /// No source that was forgotten had more draws, so that whoever leaves out this many repeats none.
    forgotten: u64,
}

impl Spent {
    fn remember(&mut self, domain: Domain, draws: u64) {
        self.draws.insert(domain, draws);
        if self.draws.len() > MAX_REMEMBERED {
            let fewest = self.draws.iter().min_by_key(|(_, draws)| **draws).map(|(domain, _)| *domain);
            let draws = fewest.and_then(|domain| self.draws.remove(&domain)).unwrap_or_default();
            self.forgotten = self.forgotten.max(draws);
        }
    }

    fn of(&self, domain: &Domain) -> u64 {
        self.draws.get(domain).copied().unwrap_or(self.forgotten)
    }
}

impl Issuer {
    /// An issuer of a worker. It has no configuration yet.
    ///
    /// # Panics
    ///
    /// If the worker is one of another number of workers than those that are steered to.
    pub fn new(incarnation: Incarnation, steering: Steering, worker: Worker) -> Self {
        assert_eq!(worker.workers(), steering.workers(), "a worker is one of those that are steered to");
        let (encoder, spent) = (Err(Unissued::NoConfig), Spent::default());
        Self { incarnation, steering, worker, encoder, spent }
    }

    /// Encodes as is said from now on. Nonces go on where they were.
    pub fn adopt(&mut self, configs: &Configs) {
        let encoding = configs.encoding().ok_or(Unissued::NoConfig);
        if let Ok(last) = &self.encoder {
            self.spent.remember(last.domain, last.nonces.draws());
        }
        self.encoder = encoding.and_then(|(config, server)| self.encoder(Arc::clone(config), server));
    }

    fn encoder(&self, config: Arc<Config>, server: ServerId) -> Result<Encoder, Unissued> {
        if !self.steering.suits(&config) {
            return Err(Unissued::Unsteerable);
        }
        let mut nonces = NonceSource::new(&config, &server, self.incarnation, self.worker)
            .map_err(|_| Unissued::OutOfIncarnations)?;
        let domain = Domain(*NonceSource::domain(&config, &server).expose());
        nonces.skip_to(self.spent.of(&domain));
        Ok(Encoder { config, server, nonces, domain })
    }

    /// How many nonces the configuration that encodes has left, each of them a draw. When few are left, it has to be
    /// replaced (draft, "Connection ID Entropy"). `None` without a configuration.
    pub fn nonces_left(&self) -> Option<u64> {
        self.encoder.as_ref().ok().map(|encoder| encoder.nonces.left())
    }

    /// A new ID. The octets are drawn by the caller, for each ID anew, from a source that nobody can predict.
    pub fn issue(&mut self, entropy: &[u8; ENTROPY_LEN]) -> Issued {
        let cid = match &mut self.encoder {
            Ok(encoder) => encoder.draw(&self.steering, self.worker, entropy[0]),
            Err(unissued) => Err(*unissued),
        };
        match cid {
            Ok(cid) => Issued::Routable(cid),
            Err(unissued) => Issued::Unroutable(self.unroutable(entropy), unissued),
        }
    }

    /// The draft's ID for who has no configuration: 0b111, the length, and chance, of which steering takes a part.
    fn unroutable(&self, entropy: &[u8; ENTROPY_LEN]) -> ConnectionId {
        let mut octets = *entropy;
        let octets = &mut octets[..self.steering.cid_len()];
        octets[0] = RESERVED | (octets.len() - 1) as u8;
        self.steering.bend(&mut octets[self.steering.octet()], self.worker);
        ConnectionId::try_from(&*octets).expect("steering knows legal lengths only")
    }
}

impl Encoder {
    fn draw(&mut self, steering: &Steering, worker: Worker, low_bits: u8) -> Result<ConnectionId, Unissued> {
        for _ in 0..most_draws(steering) {
            let nonce = self.nonces.draw().map_err(|_| Unissued::Exhausted)?;
            let cid = self.config.encode(&self.server, &nonce, low_bits);
            let cid = cid.expect("server ID and nonce are as long as the layout says");
            if steering.worker_of_cid(&cid) == worker.index() {
                return Ok(cid);
            }
        }
        Err(Unissued::NoFit)
    }
}

/// Tries for one ID. A worker's share of an octet's values is rounded down.
fn most_draws(steering: &Steering) -> usize {
    let values = u8::MAX as usize + 1;
    let share = values / steering.workers().get();
    DRAWS_PER_EXPECTED * values.div_ceil(share)
}

#[cfg(test)]
mod tests;
