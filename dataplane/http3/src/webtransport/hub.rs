//! Owns what the connection's task, its sessions and their handles share: the table of sessions, and the drivers of new
//! ones on their way to the connection's task.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Context,
};

use bytes::Bytes;
use futures::task::AtomicWaker;

use super::{
    config::Config,
    driver::Driver,
    ended::Ended,
    header::Direction,
    session::Inner,
    table::{Early, Route, Table},
};
use crate::{
    code::Code,
    error::{Error, to_varint},
    shared::Shared,
};

/// Takes a lock. What panicked while it was held left nothing half-done: every change under a lock is one call.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream as QUIC has it, after its header.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(super) send: Option<quinn::SendStream>,
    pub(super) recv: Option<quinn::RecvStream>,
}

impl Raw {
    /// Ends both directions. A direction that has ended needs no more.
    pub(super) fn refuse(mut self, code: Code) {
        if let Some(send) = &mut self.send {
            let _ = send.reset(to_varint(code));
        }
        if let Some(recv) = &mut self.recv {
            let _ = recv.stop(to_varint(code));
        }
    }
}

/// What is shared.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) config: Config,
    table: Mutex<Table<Arc<Inner>, Raw>>,
    /// Drivers that the connection's task has not taken yet; `None` once it is gone.
    fresh: Mutex<Option<Vec<Driver>>>,
    task: AtomicWaker,
    early_refused: AtomicU64,
    excess_refused: AtomicU64,
}

/// What a connection refused of its peer's, for want of room, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Streams that waited for their session: [`Config::max_early_streams`].
    pub early_streams: u64,
    /// Datagrams that waited for their session: [`Config::max_early_datagrams`] and [`Config::max_early_octets`].
    pub early_datagrams: u64,
    /// Streams beyond those that a session may have open, where it has no flow control.
    pub excess_streams: u64,
}

impl Hub {
    pub(crate) fn new(config: Config) -> Self {
        let table = Mutex::new(Table::new(&config));
        Self {
            config,
            table,
            fresh: Mutex::new(Some(Vec::new())),
            task: AtomicWaker::new(),
            early_refused: AtomicU64::new(0),
            excess_refused: AtomicU64::new(0),
        }
    }

    pub(super) fn reserve(&self, most: u64) -> bool {
        lock(&self.table).reserve(most)
    }

    /// Begins a session in a reserved place, with what waited for it.
    pub(super) fn open(&self, session: &Arc<Inner>) {
        let early = lock(&self.table).open(session.id(), Arc::clone(session));
        for (direction, stream) in early.streams {
            session.arrive(direction, stream);
        }
        for datagram in early.datagrams {
            session.datagram(datagram);
        }
    }

    /// A session is over or will never be: nothing more waits for it.
    pub(super) fn end(&self, id: u64) {
        let Early { streams, .. } = lock(&self.table).end(id);
        for (_, stream) in streams {
            stream.refuse(Code::WT_SESSION_GONE);
        }
    }

    /// Gives a session's driver to the connection's task. Without one, the session ends.
    pub(super) fn drive(&self, driver: Driver) {
        let mut fresh = lock(&self.fresh);
        match &mut *fresh {
            Some(drivers) => {
                drivers.push(driver);
                drop(fresh);
                self.task.wake();
            }
            None => {
                // Ending the session must not happen under the lock.
                drop(fresh);
                drop(driver);
            }
        }
    }

    /// The drivers that are new. The task is woken when there are more.
    pub(super) fn fresh(&self, cx: &Context<'_>) -> Vec<Driver> {
        self.task.register(cx.waker());
        lock(&self.fresh).as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// A stream whose header names this session.
    pub(super) fn stream(&self, id: u64, direction: Direction, stream: Raw) {
        let route = lock(&self.table).stream(id, direction, stream);
        match route {
            Route::Session(session, stream) => session.arrive(direction, stream),
            Route::Refuse(stream, code) => {
                if code == Code::WT_BUFFERED_STREAM_REJECTED {
                    self.early_refused.fetch_add(1, Ordering::Relaxed);
                }
                stream.refuse(code);
            }
            Route::Waits => {}
        }
    }

    /// A session has more streams than it may.
    pub(super) fn count_excess(&self) {
        self.excess_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) -> Refused {
        Refused {
            early_streams: self.early_refused.load(Ordering::Relaxed),
            early_datagrams: lock(&self.table).early_dropped(),
            excess_streams: self.excess_refused.load(Ordering::Relaxed),
        }
    }

    /// A datagram for this session.
    pub(super) fn datagram(&self, id: u64, datagram: Bytes) {
        let found = lock(&self.table).datagram(id, datagram);
        if let Some((session, datagram)) = found {
            session.datagram(datagram);
        }
    }

    /// The connection goes away: every session should end soon (draft-ietf-webtrans-http3 section 4.6).
    pub(crate) fn drain(&self) {
        let sessions: Vec<_> = lock(&self.table).sessions().cloned().collect();
        for session in sessions {
            session.peer_drains();
        }
    }

    /// The connection's task is gone, or the connection is: every session ends.
    pub(super) fn close(&self, error: &Error) {
        let fresh = lock(&self.fresh).take();
        let (sessions, streams) = lock(&self.table).clear();
        for session in sessions {
            session.end(Ended::Connection(error.clone()));
        }
        for stream in streams {
            stream.refuse(Code::WT_SESSION_GONE);
        }
        drop(fresh);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A place in the table that is reserved for a session to come.
pub(super) struct Place {
    shared: Option<Arc<Shared>>,
    /// The session's ID, once it is known: what waits for it is refused when it does not come.
    id: Option<u64>,
}

impl Place {
    /// Reserves one, if fewer than `most` are taken.
    pub(super) fn reserve(shared: &Arc<Shared>, most: u64) -> Option<Self> {
        let hub = shared.webtransport.as_deref()?;
        hub.reserve(most).then(|| Self { shared: Some(Arc::clone(shared)), id: None })
    }

    pub(super) fn set_id(&mut self, id: u64) {
        self.id = Some(id);
    }

    /// Uses it.
    pub(super) fn open(mut self, session: &Arc<Inner>) {
        if let Some(hub) = self.shared.take().as_ref().and_then(|shared| shared.webtransport.as_deref()) {
            hub.open(session);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(hub) = self.shared.as_ref().and_then(|shared| shared.webtransport.as_deref()) else { return };
        lock(&hub.table).release();
        if let Some(id) = self.id {
            hub.end(id);
        }
    }
}
