//! The thread of one worker: a runtime of its own, on which it opens sockets, serves tables and ends.
//!
//! Knows nothing of requests; what its tasks share is [`Worker`].

mod sockets;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use self::sockets::Sockets;
pub(crate) use self::sockets::{BindFailure, Binding, SocketId};
use crate::quic::LOOK_INTERVAL;
use crate::snapshot::Snapshot;
use crate::worker::{Shared, View, Worker};

/// How often idle backend connections are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How long QUIC connections get to say goodbye when the process ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

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
            runtime.block_on(run(Arc::new(Worker::new(shared, index)), inbox));
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
    // It goes on to the end: a worker that drains serves clients that come by peers, and its peers' clients.
    let _hop = worker.shared.hop.as_ref().map(|hop| {
        hop.start(&worker.quic).inspect_err(|error| tracing::error!(%error, "a worker takes no packets of peers"))
    });
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    let mut look = tokio::time::interval(LOOK_INTERVAL);
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
                worker.pool.sweep(|place| view.snapshot.names(place));
                worker.metrics.upstream_pool_idle().set(worker.pool.len() as u64);
                sockets.sweep(&worker);
            }
            _ = look.tick() => worker.quic.paths.look(),
            () = &mut drain, if !draining => {
                draining = true;
                sockets.close();
            }
        }
    }
    sockets.end(CLOSE_TIMEOUT).await;
    worker.pool.close().await;
}

/// The new table serves requests first and its new sockets after, so that no connection finds a port without rules. Once a
/// drain has begun there is nothing to bind.
fn serve(
    worker: &Arc<Worker>,
    sockets: &mut Sockets,
    snapshot: Arc<Snapshot>,
    binding: Option<&Binding>,
) -> Vec<BindFailure> {
    let before = worker.view().with(Arc::clone(&snapshot));
    worker.set_view(before);
    let failures = binding.map_or_else(Vec::new, |binding| sockets.reconcile(worker, &snapshot.table, binding));
    let alt_svc = snapshot.table.ports().filter_map(|port| Some((port.number, sockets.alt_svc(port)?))).collect();
    worker.set_view(View::new(snapshot, alt_svc));
    failures
}
