//! Sessions with one server on as few connections as it allows, and no more attempts than it can bear.
//!
//! A connection that has no session any more is let go of. After a failure everybody who wants a session waits the same
//! wait, whoever met the failure.

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use futures::future::join_all;
use headrace_http3::webtransport::Session;
use tokio::time::{Instant, sleep_until};

use crate::client::{Carrier, ClientError, Dialer, Offer};
use crate::connect::webtransport::announce;
use crate::output::complain;

use super::backoff::Backoff;

/// A server, and what there is towards it.
#[derive(Debug)]
pub(super) struct Link {
    dialer: Dialer,
    offer: Offer,
    /// Connections belong to their sessions.
    carriers: Mutex<Carriers>,
    backoff: Mutex<Backoff>,
    /// Held by whoever makes a connection: one will do for many.
    dialling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Carriers {
    known: Vec<Weak<Carrier>>,
    /// How many were made so far.
    made: u64,
}

impl Carriers {
    fn add(&mut self, carrier: &Arc<Carrier>) {
        self.known.push(Arc::downgrade(carrier));
        self.made += 1;
    }
}

/// A session with the connection that carries it.
#[derive(Debug)]
pub(super) struct Linked {
    pub(super) session: Session,
    carrier: Arc<Carrier>,
}

impl Linked {
    /// The server wants it to end: what comes next goes elsewhere.
    pub(super) fn retire(&self) {
        self.carrier.retire();
    }
}

impl Link {
    pub(super) fn new(dialer: Dialer, offer: Offer) -> Self {
        Self {
            dialer,
            offer,
            carriers: Mutex::default(),
            backoff: Mutex::default(),
            dialling: tokio::sync::Mutex::default(),
        }
    }

    /// Opens a session, after the wait that an earlier failure asks for. A failure is said here and asks for the next.
    pub(super) async fn open(&self) -> Result<Linked, ClientError> {
        let opened = self.try_open().await;
        match &opened {
            Ok(_) => lock(&self.backoff).worked(Instant::now()),
            Err(error) => self.failed(&format!("no session: {error}")),
        }
        opened
    }

    /// Says what went wrong, and that nothing is tried for some time.
    pub(super) fn failed(&self, what: &str) {
        let wait = lock(&self.backoff).failed(Instant::now(), random());
        complain(&format!("{what}; next try in {:.1} s", wait.as_secs_f64()));
    }

    async fn try_open(&self) -> Result<Linked, ClientError> {
        loop {
            let wait = lock(&self.backoff).not_before(Instant::now());
            if let Some(until) = wait {
                sleep_until(until).await;
            }
            let made = lock(&self.carriers).made;
            if let Some(linked) = self.open_on_known().await? {
                return Ok(linked);
            }
            let dialling = self.dialling.lock().await;
            // Whoever made one while this waited made it for everybody, and whoever failed to failed for everybody.
            if lock(&self.carriers).made != made || lock(&self.backoff).not_before(Instant::now()).is_some() {
                continue;
            }
            let carrier = Arc::new(Carrier::connect(&self.dialer).await?);
            lock(&self.carriers).add(&carrier);
            drop(dialling);
            return self.open_on(carrier, true).await;
        }
    }

    /// Opens a session on a connection that there is, if one takes it.
    async fn open_on_known(&self) -> Result<Option<Linked>, ClientError> {
        for carrier in self.carriers() {
            if !carrier.is_open() {
                continue;
            }
            match self.open_on(carrier, false).await {
                Ok(linked) => return Ok(Some(linked)),
                // The server's word on what is asked for, which another connection would only hear again.
                Err(error @ ClientError::Refused(_)) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(None)
    }

    async fn open_on(&self, carrier: Arc<Carrier>, is_first: bool) -> Result<Linked, ClientError> {
        let (session, _) = carrier.open(&self.dialer, &self.offer).await?;
        if is_first {
            announce(&session);
        }
        Ok(Linked { session, carrier })
    }

    /// The connections that anybody still uses.
    fn carriers(&self) -> Vec<Arc<Carrier>> {
        let mut carriers = lock(&self.carriers);
        carriers.known.retain(|carrier| carrier.strong_count() > 0);
        carriers.known.iter().filter_map(Weak::upgrade).collect()
    }

    /// Waits until the server has been told that everything is over. To be asked for before everything is dropped.
    pub(super) fn farewell(&self) -> impl Future<Output = ()> + use<> {
        let farewells: Vec<_> = self.carriers().iter().map(|carrier| carrier.farewell()).collect();
        async move {
            join_all(farewells).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds a lock of these")
}

/// Keys of hash maps are random, which is as much as jitter needs.
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
