//! One worker: a thread with a runtime of its own, its own sockets, its own view of the table and its own pool of
//! backend connections. Workers share the snapshot and nothing else that a request's path could wait for.

mod sockets;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use http::HeaderValue;
use tokio::sync::{mpsc, oneshot};

use self::sockets::Sockets;
pub(crate) use self::sockets::{BindFailure, Binding, SocketId};
use crate::Shared;
use crate::drain::DrainWatch;
use crate::metrics::WorkerMetrics;
use crate::snapshot::Snapshot;
use crate::upstream::Pool;

/// How often idle backend connections are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How long QUIC connections get to say goodbye when the process ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the tasks of one worker share.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) drain: DrainWatch,
    view: ArcSwap<View>,
    draws: AtomicU64,
}

/// A snapshot as this worker serves it.
pub(crate) struct View {
    pub(crate) snapshot: Arc<Snapshot>,
    alt_svc: HashMap<u16, HeaderValue>,
}

impl View {
    /// What to say of HTTP/3 on a port, when there is something to say.
    pub(crate) fn alt_svc(&self, port: u16) -> Option<&HeaderValue> {
        self.alt_svc.get(&port)
    }
}

impl Worker {
    fn new(shared: Arc<Shared>) -> Self {
        let view = View { snapshot: Arc::new(Snapshot::empty()), alt_svc: HashMap::new() };
        Self {
            metrics: shared.metrics.worker(),
            pool: Arc::default(),
            drain: shared.drain.watch(),
            view: ArcSwap::from_pointee(view),
            draws: AtomicU64::new(RandomState::new().hash_one(std::thread::current().id())),
            shared,
        }
    }

    /// What is served now. Held for the length of a request at most.
    pub(crate) fn view(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// A number for choosing a backend or an endpoint: evenly spread, not secret (SplitMix64).
    pub(crate) fn draw(&self) -> u64 {
        let mut z = self.draws.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// What a worker is told.
enum Command {
    Serve { snapshot: Arc<Snapshot>, binding: Binding, done: oneshot::Sender<Vec<BindFailure>> },
    Stop,
}

/// The handle to a running worker.
pub(crate) struct WorkerThread {
    commands: mpsc::Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerThread {
    /// Starts a worker that serves nothing yet.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub(crate) fn start(index: usize, shared: &Arc<Shared>) -> io::Result<Self> {
        let shared = Arc::clone(shared);
        let (commands, inbox) = mpsc::channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            runtime.block_on(run(Arc::new(Worker::new(shared)), inbox));
        })?;
        Ok(Self { commands, thread: Some(thread) })
    }

    /// Has the worker serve a snapshot, and waits until it does. Says which addresses it could not bind.
    pub(crate) async fn serve(&self, snapshot: Arc<Snapshot>, binding: Binding) -> Vec<BindFailure> {
        let (done, served) = oneshot::channel();
        if self.commands.send(Command::Serve { snapshot, binding, done }).await.is_err() {
            return Vec::new();
        }
        // Only a worker that is stopping drops the answer, and then nothing is to be bound.
        served.await.unwrap_or_default()
    }

    /// Ends the worker and whatever it still serves.
    pub(crate) async fn stop(mut self) {
        // A worker that has ended has nothing to stop.
        let _ended_already = self.commands.send(Command::Stop).await;
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("a worker panicked");
            }
        }
    }
}

async fn run(worker: Arc<Worker>, mut commands: mpsc::Receiver<Command>) {
    let mut sockets = Sockets::default();
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    let drain = worker.drain.started();
    tokio::pin!(drain);
    let mut draining = false;
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Serve { snapshot, binding, done }) => {
                    let failures = serve(&worker, &mut sockets, snapshot, (!draining).then_some(&binding));
                    // Whoever asked has gone away; the table is served all the same.
                    let _nobody_waits = done.send(failures);
                }
                Some(Command::Stop) | None => break,
            },
            _ = sweep.tick() => {
                let view = worker.view();
                worker.pool.sweep(|endpoint| view.snapshot.names(endpoint));
                worker.metrics.upstream_pool_idle().set(worker.pool.len() as u64);
                sockets.sweep();
            }
            () = &mut drain, if !draining => {
                draining = true;
                sockets.close();
            }
        }
    }
    sockets.end(CLOSE_TIMEOUT).await;
}

/// The new table serves requests first and its new sockets after, so that no connection finds a port without rules. Once a
/// drain has begun there is nothing to bind.
fn serve(
    worker: &Arc<Worker>,
    sockets: &mut Sockets,
    snapshot: Arc<Snapshot>,
    binding: Option<&Binding>,
) -> Vec<BindFailure> {
    let before = worker.view.load_full();
    worker.view.store(Arc::new(View { snapshot: Arc::clone(&snapshot), alt_svc: before.alt_svc.clone() }));
    let failures = binding.map_or_else(Vec::new, |binding| sockets.reconcile(worker, &snapshot.table, binding));
    let alt_svc = snapshot.table.ports().filter_map(|port| Some((port.number, sockets.alt_svc(port)?))).collect();
    worker.view.store(Arc::new(View { snapshot, alt_svc }));
    failures
}
