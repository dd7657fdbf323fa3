//! Owns the little that a connection's task and its streams share: limits, the peer's word, and how it all ends.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use tokio::sync::Notify;

use crate::{
    code::Code,
    config::{Config, MAX_UNANSWERED},
    control::Role,
    error::{Error, to_varint},
    qpack::Limits,
    settings::Settings,
    webtransport::Hub,
};

/// No GOAWAY has come.
const NO_GOAWAY: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) quic: quinn::Connection,
    pub(crate) role: Role,
    pub(crate) limits: Limits,
    /// Whether this side, a server, announced extended CONNECT.
    pub(crate) extended_connect: bool,
    /// The sessions of a connection that offers them. Boxed: most have none.
    pub(crate) webtransport: Option<Box<Hub>>,
    peer_settings: OnceLock<Settings>,
    /// Told when the peer's settings have come, or the connection failed.
    settled: Notify,
    /// Why this side closed the connection. The first reason stays.
    failure: OnceLock<Error>,
    /// Handles that keep the connection wanted: halves of streams, and a client's request senders.
    users: AtomicUsize,
    /// The connection's task, told when the last user goes.
    unused: AtomicWaker,
    /// The ID of the peer's last GOAWAY.
    goaway: AtomicU64,
    /// Requests that were given up before their answer, less those that were answered.
    unanswered: AtomicU32,
}

impl Shared {
    pub(crate) fn new(quic: quinn::Connection, role: Role, config: &Config) -> Self {
        Self {
            quic,
            role,
            limits: config.limits(),
            extended_connect: config.extended_connect,
            webtransport: config.webtransport.clone().map(|config| Box::new(Hub::new(config))),
            peer_settings: OnceLock::new(),
            settled: Notify::new(),
            failure: OnceLock::new(),
            users: AtomicUsize::new(0),
            unused: AtomicWaker::new(),
            goaway: AtomicU64::new(NO_GOAWAY),
            unanswered: AtomicU32::new(0),
        }
    }

    /// Closes the connection because of what the peer did, unless it is closing already. Returns why it is.
    pub(crate) fn fail(&self, code: Code, reason: &'static str) -> Error {
        let mut first = false;
        let error = self.failure.get_or_init(|| {
            first = true;
            Error::Local { code, reason }
        });
        if first {
            tracing::debug!(%code, reason, "closing the connection");
            self.quic.close(to_varint(code), reason.as_bytes());
            self.settled.notify_waiters();
        }
        error.clone()
    }

    /// Why the connection ended, given what QUIC says of it.
    pub(crate) fn ended(&self, error: quinn::ConnectionError) -> Error {
        match (&error, self.failure.get()) {
            (quinn::ConnectionError::LocallyClosed, Some(failure)) => failure.clone(),
            _ => error.into(),
        }
    }

    pub(crate) fn peer_settings(&self) -> Option<&Settings> {
        self.peer_settings.get()
    }

    /// Notes the peer's settings, which come once.
    pub(crate) fn set_peer_settings(&self, settings: Settings) {
        if self.peer_settings.set(settings).is_ok() {
            self.settled.notify_waiters();
        }
    }

    /// Waits for the peer's settings. Somebody must be driving the connection.
    pub(crate) async fn settings_arrived(&self) -> Result<&Settings, Error> {
        loop {
            let settled = self.settled.notified();
            if let Some(settings) = self.peer_settings.get() {
                return Ok(settings);
            }
            if let Some(failure) = self.failure.get() {
                return Err(failure.clone());
            }
            tokio::select! {
                () = settled => {}
                error = self.quic.closed() => return Err(self.ended(error)),
            }
        }
    }

    /// The largest field section that the peer takes.
    pub(crate) fn peer_max_field_section_size(&self) -> u64 {
        self.peer_settings.get().and_then(|settings| settings.max_field_section_size).unwrap_or(u64::MAX)
    }

    pub(crate) fn goaway(&self) -> Option<u64> {
        Some(self.goaway.load(Ordering::Acquire)).filter(|id| *id != NO_GOAWAY)
    }

    /// Notes a GOAWAY, whose ID is no larger than the last one's.
    pub(crate) fn set_goaway(&self, id: u64) {
        self.goaway.store(id, Ordering::Release);
        if let Some(hub) = &self.webtransport {
            hub.drain();
        }
    }

    /// Notes that a server's stream got its final response's head.
    pub(crate) fn answered(&self) {
        let unanswered = self.unanswered.load(Ordering::Relaxed);
        if unanswered > 0 {
            // A race only makes the count a little wrong, and it is a measure, not a ledger.
            self.unanswered.store(unanswered - 1, Ordering::Relaxed);
        }
    }

    /// Notes that a server's stream ended without an answer, for a reason of the client's. A client that does little else
    /// makes work for nothing, and is sent away.
    pub(crate) fn unanswered(&self) {
        if self.unanswered.fetch_add(1, Ordering::Relaxed) >= MAX_UNANSWERED {
            self.fail(Code::H3_EXCESSIVE_LOAD, "too many requests were given up before their answer");
        }
    }

    pub(crate) fn add_user(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_user(&self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.unused.wake();
        }
    }

    /// Ready when nobody uses the connection.
    pub(crate) fn poll_unused(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.users.load(Ordering::Acquire) == 0 {
            return Poll::Ready(());
        }
        self.unused.register(cx.waker());
        if self.users.load(Ordering::Acquire) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}
