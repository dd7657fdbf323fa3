//! Owns what the handles of a session, its streams and its driver share, and who waits for what.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    code::Code,
    control::Fault,
    shared::Shared,
    webtransport::{
        capsule::Capsule,
        draft::Draft,
        ended::Ended,
        flow::Limits,
        header::Direction,
        hub::{Raw, lock},
        state::{Arrival, News, State},
        stream::Cell,
    },
};

/// One session.
pub(in crate::webtransport) struct Inner {
    id: u64,
    draft: Draft,
    subprotocol: Option<Box<str>>,
    flow: bool,
    shared: Arc<Shared>,
    handles: AtomicUsize,
    locked: Mutex<Locked>,
    /// Told at the session's end.
    closed: Notify,
    /// Told when the peer wants the end.
    drained: Notify,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Streams and sessions know each other: more would go round in a circle.
        f.debug_struct("Inner").field("id", &self.id).field("draft", &self.draft).finish_non_exhaustive()
    }
}

struct Locked {
    state: State<Raw>,
    /// The streams that the application has, by QUIC's IDs: the session's end ends them.
    cells: HashMap<u64, Arc<Cell>>,
    accepting: [Waiting; 2],
    opening: [Waiting; 2],
    receiving: Waiting,
    /// Streams that wait for the session's flow control.
    blocked: HashMap<u64, Waker>,
    driver: Option<Waker>,
}

/// Tasks that wait for the same thing.
#[derive(Default)]
struct Waiting(Vec<Waker>);

impl Waiting {
    fn add(&mut self, waker: &Waker) {
        if !self.0.iter().any(|other| other.will_wake(waker)) {
            self.0.push(waker.clone());
        }
    }

    fn wake(&mut self) {
        for waker in std::mem::take(&mut self.0) {
            waker.wake();
        }
    }
}

impl Locked {
    /// Wakes the driver if there is something to say.
    fn nudge(&self) {
        if self.state.has_news()
            && let Some(driver) = &self.driver
        {
            driver.wake_by_ref();
        }
    }

    fn wake_blocked(&mut self) {
        for (_, waker) in std::mem::take(&mut self.blocked) {
            waker.wake();
        }
    }
}

impl Inner {
    pub(in crate::webtransport) fn new(
        id: u64,
        draft: Draft,
        subprotocol: Option<String>,
        peer: Option<Limits>,
        shared: Arc<Shared>,
    ) -> Arc<Self> {
        let hub = shared.webtransport.as_deref().expect("sessions are made where there is a hub");
        let state = State::new(&hub.config, peer);
        Arc::new(Self {
            id,
            draft,
            subprotocol: subprotocol.map(String::into_boxed_str),
            flow: state.is_flow_controlled(),
            handles: AtomicUsize::new(0),
            locked: Mutex::new(Locked {
                state,
                cells: HashMap::new(),
                accepting: Default::default(),
                opening: Default::default(),
                receiving: Waiting::default(),
                blocked: HashMap::new(),
                driver: None,
            }),
            shared,
            closed: Notify::new(),
            drained: Notify::new(),
        })
    }

    pub(in crate::webtransport) const fn id(&self) -> u64 {
        self.id
    }

    pub(super) const fn draft(&self) -> Draft {
        self.draft
    }

    pub(super) fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    pub(in crate::webtransport) const fn is_flow_controlled(&self) -> bool {
        self.flow
    }

    pub(in crate::webtransport) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_handle(&self) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.end(Ended::ByUs { code: 0, reason: String::new() });
        }
    }

    // What comes from the peer.

    /// The peer opened a stream.
    pub(in crate::webtransport) fn arrive(&self, direction: Direction, stream: Raw) {
        let mut locked = lock(&self.locked);
        match locked.state.arrive(direction, stream) {
            Arrival::Waits => locked.accepting[direction.index()].wake(),
            Arrival::Refused(stream, code) => {
                drop(locked);
                if let (Code::WT_BUFFERED_STREAM_REJECTED, Some(hub)) = (code, &self.shared.webtransport) {
                    hub.count_excess();
                }
                stream.refuse(code);
            }
            Arrival::Fault(stream, fault) => {
                drop(locked);
                stream.refuse(Code::WT_SESSION_GONE);
                self.abort(fault);
            }
        }
    }

    pub(in crate::webtransport) fn datagram(&self, payload: Bytes) {
        let mut locked = lock(&self.locked);
        locked.state.datagram(payload);
        locked.receiving.wake();
    }

    /// The peer said something on the CONNECT stream.
    pub(in crate::webtransport) fn hear(&self, capsule: Capsule) -> Result<(), Fault> {
        if let Capsule::Close { code, reason } = capsule {
            self.end(Ended::ByPeer { code, reason });
            return Ok(());
        }
        let mut locked = lock(&self.locked);
        match locked.state.hear(capsule)? {
            News::Data => locked.wake_blocked(),
            News::Streams(direction) => locked.opening[direction.index()].wake(),
            News::Datagram => locked.receiving.wake(),
            News::Drain => self.drained.notify_waiters(),
            News::Nothing | News::Ended => {}
        }
        locked.nudge();
        Ok(())
    }

    pub(in crate::webtransport) fn peer_drains(&self) {
        lock(&self.locked).state.peer_drains();
        self.drained.notify_waiters();
    }

    // What the application takes.

    pub(super) fn poll_accept(
        self: &Arc<Self>,
        direction: Direction,
        cx: &Context<'_>,
    ) -> Poll<Result<Arc<Cell>, Ended>> {
        let mut locked = lock(&self.locked);
        if let Some(stream) = locked.state.take(direction) {
            let cell = Cell::new(Arc::clone(self), stream, Some(direction));
            locked.cells.insert(cell.id(), Arc::clone(&cell));
            return Poll::Ready(Ok(cell));
        }
        if let Some(ended) = locked.state.ended() {
            return Poll::Ready(Err(ended.clone()));
        }
        locked.accepting[direction.index()].add(cx.waker());
        Poll::Pending
    }

    pub(super) fn poll_datagram(&self, cx: &Context<'_>) -> Poll<Result<Bytes, Ended>> {
        let mut locked = lock(&self.locked);
        if let Some(datagram) = locked.state.take_datagram() {
            return Poll::Ready(Ok(datagram));
        }
        if let Some(ended) = locked.state.ended() {
            return Poll::Ready(Err(ended.clone()));
        }
        locked.receiving.add(cx.waker());
        Poll::Pending
    }

    pub(super) fn dropped_datagrams(&self) -> u64 {
        lock(&self.locked).state.dropped_datagrams()
    }

    // What the application opens and sends.

    /// Takes the right to open a stream.
    pub(super) fn poll_may_open(&self, direction: Direction, cx: &Context<'_>) -> Poll<Result<(), Ended>> {
        let mut locked = lock(&self.locked);
        if let Some(ended) = locked.state.ended() {
            return Poll::Ready(Err(ended.clone()));
        }
        if locked.state.may_open(direction) {
            return Poll::Ready(Ok(()));
        }
        locked.opening[direction.index()].add(cx.waker());
        locked.nudge();
        Poll::Pending
    }

    /// Uses the right to open a stream.
    pub(super) fn use_opening(&self, direction: Direction) {
        let mut locked = lock(&self.locked);
        locked.state.open(direction);
        locked.nudge();
    }

    /// Gives the right to open a stream back.
    pub(super) fn give_up_opening(&self, direction: Direction) {
        let mut locked = lock(&self.locked);
        locked.state.give_up_opening(direction);
        locked.opening[direction.index()].wake();
    }

    /// A stream that this side opened is the application's.
    pub(super) fn add_own(self: &Arc<Self>, stream: Raw) -> Result<Arc<Cell>, Ended> {
        let mut locked = lock(&self.locked);
        if let Some(ended) = locked.state.ended().cloned() {
            drop(locked);
            stream.refuse(Code::WT_SESSION_GONE);
            return Err(ended);
        }
        let cell = Cell::new(Arc::clone(self), stream, None);
        locked.cells.insert(cell.id(), Arc::clone(&cell));
        Ok(cell)
    }

    /// Takes the right to send up to `wanted` octets on a stream. With 0 the task is woken when there may be more.
    pub(in crate::webtransport) fn may_send(&self, stream: u64, wanted: usize, cx: &Context<'_>) -> usize {
        let mut locked = lock(&self.locked);
        let allowed = locked.state.may_send(wanted as u64) as usize;
        if allowed == 0 {
            locked.blocked.insert(stream, cx.waker().clone());
            locked.nudge();
        }
        allowed
    }

    /// Gives the right to send so many octets back.
    pub(in crate::webtransport) fn give_up_sending(&self, unused: usize) {
        if unused > 0 {
            let mut locked = lock(&self.locked);
            locked.state.give_up_sending(unused as u64);
            locked.wake_blocked();
        }
    }

    /// Octets of the peer's were read.
    pub(in crate::webtransport) fn read(&self, count: usize) -> Result<(), Fault> {
        let mut locked = lock(&self.locked);
        locked.state.read(count as u64)?;
        locked.nudge();
        Ok(())
    }

    /// A stream of the peer's was not read to its end.
    pub(in crate::webtransport) fn leave_unread(&self) {
        if self.flow {
            let mut locked = lock(&self.locked);
            locked.state.leave_unread();
            locked.nudge();
        }
    }

    /// The application has nothing left of a stream.
    pub(in crate::webtransport) fn forget(&self, stream: u64, peers: Option<Direction>) {
        let mut locked = lock(&self.locked);
        locked.cells.remove(&stream);
        locked.blocked.remove(&stream);
        if let Some(direction) = peers {
            locked.state.close_peers(direction);
            locked.nudge();
        }
    }

    pub(super) fn allow_streams(&self, most: u32) {
        let mut locked = lock(&self.locked);
        locked.state.allow_streams(most.into());
        locked.nudge();
    }

    // What is said, and the end.

    pub(in crate::webtransport) fn set_driver(&self, waker: &Waker) {
        let driver = &mut lock(&self.locked).driver;
        if !driver.as_ref().is_some_and(|driver| driver.will_wake(waker)) {
            *driver = Some(waker.clone());
        }
    }

    pub(in crate::webtransport) fn say(&self, out: &mut Vec<u8>) {
        lock(&self.locked).state.say(out);
    }

    pub(super) fn drain(&self) {
        let mut locked = lock(&self.locked);
        locked.state.drain();
        locked.nudge();
    }

    pub(in crate::webtransport) fn abort(&self, fault: Fault) {
        tracing::debug!(session = self.id, code = %fault.code, reason = fault.reason, "resetting a session");
        self.end(Ended::Aborted { code: fault.code, reason: fault.reason });
    }

    /// Ends the session, unless it has ended: its streams, and everybody's waiting.
    pub(in crate::webtransport) fn end(&self, why: Ended) {
        let mut locked = lock(&self.locked);
        if !locked.state.end(why) {
            return;
        }
        let cells = std::mem::take(&mut locked.cells);
        let mut waiting = Vec::new();
        for direction in [Direction::Bidirectional, Direction::Unidirectional] {
            waiting.extend(std::iter::from_fn(|| locked.state.take(direction)));
            locked.accepting[direction.index()].wake();
            locked.opening[direction.index()].wake();
        }
        locked.receiving.wake();
        locked.wake_blocked();
        if let Some(driver) = locked.driver.take() {
            driver.wake();
        }
        // Streams have locks of their own, which are taken before this one.
        drop(locked);
        for cell in cells.into_values() {
            cell.gone();
        }
        for stream in waiting {
            stream.refuse(Code::WT_SESSION_GONE);
        }
        if let Some(hub) = &self.shared.webtransport {
            hub.end(self.id);
        }
        self.closed.notify_waiters();
    }

    pub(in crate::webtransport) fn ended(&self) -> Option<Ended> {
        lock(&self.locked).state.ended().cloned()
    }

    pub(in crate::webtransport) async fn closed(&self) -> Ended {
        loop {
            let closed = self.closed.notified();
            if let Some(ended) = self.ended() {
                return ended;
            }
            closed.await;
        }
    }

    pub(super) async fn drained(&self) {
        loop {
            let drained = self.drained.notified();
            if lock(&self.locked).state.is_draining() {
                return;
            }
            drained.await;
        }
    }
}
