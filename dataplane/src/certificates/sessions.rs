//! TLS sessions that clients come back to: as tickets that the client keeps, or, where early data is taken, in this
//! process.
//!
//! Owns what a ticket looks like, how long one is good, and how many sessions are kept. A ticket says nothing about whether
//! it was used before, so early data that comes with one may be a replay without end; a session that is kept here is taken
//! out when it is used (RFC 8446 section 8.1), once and on one pod. It must not know sockets.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::Error;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};

use super::sealing::{Purpose, Ring, SALT, TAG};
use crate::metrics::{Resumption, Transport, WorkerMetrics};
use crate::quic::chance;

/// What clients are told of how long a ticket is worth keeping, in seconds: as long as rustls' own are good. Secrets that
/// are shared go when the controller says so, and a ticket of a secret that is gone costs its client a whole handshake.
const TICKET_LIFETIME: u32 = 12 * 60 * 60;

/// Sessions of this process that are kept for clients that may send early data, of all ports together: at some 300 octets
/// each, 10 MB. The oldest goes first, and its client makes a whole handshake.
const MAX_SESSIONS: usize = 32_768;

/// Tickets of one transport.
#[derive(Debug)]
pub(super) struct Tickets {
    transport: Transport,
    purpose: Purpose,
    /// Good in this process alone, with keys that change every six hours.
    own: Arc<dyn ProducesTickets>,
    /// Good at every pod that has the secrets; none before there are any.
    shared: ArcSwapOption<Ring>,
    metrics: Arc<WorkerMetrics>,
}

impl Tickets {
    pub(super) fn new(transport: Transport, metrics: Arc<WorkerMetrics>) -> Result<Self, Error> {
        let purpose = match transport {
            Transport::Tcp => Purpose::TcpTicket,
            Transport::Quic => Purpose::QuicTicket,
        };
        Ok(Self { transport, purpose, own: Ticketer::new()?, shared: ArcSwapOption::empty(), metrics })
    }

    /// Seals with the first of these from now on, and opens what any of them sealed.
    pub(super) fn share<'s>(&self, secrets: impl IntoIterator<Item = &'s [u8; 32]>) {
        let ring = Ring::own(self.purpose);
        ring.share(secrets);
        self.shared.store(Some(Arc::new(ring)));
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let shared = self.shared.load();
        let opened = shared.as_ref().and_then(|ring| {
            let (salt, sealed) = ticket.split_at_checked(SALT).filter(|(_, sealed)| sealed.len() >= TAG)?;
            ring.load().open(salt, sealed).ok()
        });
        // Tickets from before there were secrets to share.
        opened.or_else(|| self.own.decrypt(ticket))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TICKET_LIFETIME
    }

    /// Salt, then what is sealed with the key of that salt.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let shared = self.shared.load();
        let Some(ring) = shared.as_ref() else { return self.own.encrypt(plain) };
        let salt: [u8; SALT] = chance();
        let mut sealed = plain.to_vec();
        ring.load().seal(&salt, &mut sealed).ok()?;
        let mut ticket = Vec::with_capacity(SALT + sealed.len());
        ticket.extend_from_slice(&salt);
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        count(&self.metrics, self.transport, self.open(ticket))
    }
}

/// Sessions of QUIC that are kept in this process.
#[derive(Clone)]
pub(super) struct Sessions {
    kept: Arc<ServerSessionMemoryCache>,
    metrics: Arc<WorkerMetrics>,
}

impl Sessions {
    pub(super) fn new(metrics: Arc<WorkerMetrics>) -> Self {
        Self { kept: ServerSessionMemoryCache::new(MAX_SESSIONS), metrics }
    }

    /// Those of one port: a session of one is none of another's.
    pub(super) fn port(&self, port: u16) -> Arc<dyn StoresServerSessions> {
        Arc::new(PortSessions { sessions: self.clone(), port })
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct PortSessions {
    sessions: Sessions,
    port: u16,
}

impl PortSessions {
    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.port.to_be_bytes(), key].concat()
    }
}

impl StoresServerSessions for PortSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.sessions.kept.put(self.key(&key), value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions.kept.get(&self.key(key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        count(&self.sessions.metrics, Transport::Quic, self.sessions.kept.take(&self.key(key)))
    }

    fn can_cache(&self) -> bool {
        true
    }
}

fn count<T>(metrics: &WorkerMetrics, transport: Transport, found: Option<T>) -> Option<T> {
    let resumption = if found.is_some() { Resumption::Known } else { Resumption::Unknown };
    metrics.resumptions_total(transport, resumption).inc();
    found
}
