//! TLS towards backends: one configuration for each identity that a table asks for, made off the path of requests and kept
//! for as long as tables ask for it.
//!
//! Knows nothing of connections; what makes a certificate good is in [`super::verify`].

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use headrace_table::{Backend, BackendId, BackendTls, Table};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, version};

use super::verify::{Verifier, VerifierError};
use crate::certificates::provider;
use crate::failure::Failure;

/// TLS 1.3 tickets that are kept of one endpoint; each is used once (RFC 8446 appendix C.4). What rustls keeps of one
/// server name at most: fewer are not to be had.
const MAX_TICKETS: usize = 8;

/// The identity under which a connection was verified. Never used again for another one within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TlsId(NonZeroU64);

impl TlsId {
    fn fresh() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        Self(NonZeroU64::new(number).expect("2^64 tables take longer than the universe"))
    }
}

/// How the endpoints of one identity are spoken to.
#[derive(Debug)]
pub(crate) struct ClientTls {
    id: TlsId,
    server_name: ServerName<'static>,
    config: ClientConfig,
}

impl ClientTls {
    fn new(tls: &BackendTls) -> Result<Self, VerifierError> {
        let server_name = ServerName::try_from(tls.server_name.as_str().to_owned());
        let server_name = server_name.map_err(|_| VerifierError::ServerName)?;
        let verifier = Verifier::new(tls, &server_name)?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .expect("the provider has cipher suites of TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self { id: TlsId::fresh(), server_name, config })
    }

    pub(crate) fn id(&self) -> TlsId {
        self.id
    }

    pub(super) fn server_name(&self) -> &ServerName<'static> {
        &self.server_name
    }

    /// A configuration with sessions of its own to resume. An endpoint cannot resume what another one began, and workers
    /// share no lock, so there is one for each endpoint and worker.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        let mut config = self.config.clone();
        config.resumption = Resumption::in_memory_sessions(MAX_TICKETS);
        Arc::new(config)
    }
}

/// The TLS of a whole table's backends.
#[derive(Debug, Default)]
pub(crate) struct UpstreamTls {
    by_backend: HashMap<BackendId, Arc<ClientTls>>,
    by_identity: HashMap<Arc<BackendTls>, Arc<ClientTls>>,
}

/// A backend whose TLS cannot be set up: its requests are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendFailure {
    /// Its id in the table.
    pub id: String,
    /// Why not.
    pub reason: String,
}

impl UpstreamTls {
    /// What the table asks for. An identity that was there before stays the same one, with its connections and sessions.
    pub(crate) fn load(table: &Table, before: Option<&Self>) -> (Self, Vec<BackendFailure>) {
        let mut loaded = Self::default();
        let mut unusable = HashMap::<&Arc<BackendTls>, String>::new();
        let mut failures = Vec::new();
        for (backend, asked) in table.backends().filter_map(|backend| Some((backend, backend.tls.as_ref()?))) {
            let known = loaded.by_identity.get(asked).or_else(|| before?.by_identity.get(asked)).cloned();
            let made = match (known, unusable.get(asked)) {
                (Some(known), _) => Ok(known),
                (None, Some(reason)) => Err(reason.clone()),
                (None, None) => ClientTls::new(asked).map(Arc::new).map_err(|error| error.to_string()),
            };
            match made {
                Ok(tls) => {
                    loaded.by_identity.entry(Arc::clone(asked)).or_insert_with(|| Arc::clone(&tls));
                    loaded.by_backend.insert(Arc::clone(&backend.id), tls);
                }
                Err(reason) => {
                    failures.push(BackendFailure { id: backend.id.to_string(), reason: reason.clone() });
                    unusable.insert(asked, reason);
                }
            }
        }
        (loaded, failures)
    }

    /// How a backend is spoken to: `None` in clear text.
    ///
    /// # Errors
    /// Over TLS, which could not be set up.
    pub(crate) fn of(&self, backend: &Backend) -> Result<Option<&ClientTls>, Failure> {
        if backend.tls.is_none() {
            return Ok(None);
        }
        self.by_backend.get(&backend.id).map(|tls| Some(&**tls)).ok_or(Failure::BackendTls)
    }
}

#[cfg(test)]
mod tests;
