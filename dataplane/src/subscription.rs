//! Where tables come from in a cluster: the controllers are dialled, the one that leads publishes, and what it publishes is
//! served, answered for, and kept for the next start.
//!
//! ```text
//! Dialer ── Subscribed ──► Task ── Subscriber (headrace-push) ── candidate ──► Serving ── DataPlane::publish
//!   CA, token, addresses     │                                                    │
//!                            ├──► Store (the last good table)                     ▼
//!                            └──◄── accept, reject, accept again ◄───────────── faults
//! ```
//!
//! Runs on a thread of its own beside the workers, which hear of it only when there is a new table. Knows nothing of
//! Kubernetes: a controller is a name with a port, and who this process is stands in a file.

mod address;
mod backoff;
mod connection;
mod dial;
mod fault;
mod serving;
mod store;
mod task;

/// The client of `headrace.push.v1.Push`.
mod service {
    #![allow(
        missing_docs,
        unreachable_pub,
        rust_2018_idioms,
        clippy::all,
        clippy::allow_attributes_without_reason,
        reason = "generated"
    )]
    include!(concat!(env!("OUT_DIR"), "/client/headrace.push.v1.rs"));
}

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

pub use self::address::{ControllerAddress, NotAControllerAddress};
use self::task::Task;
use crate::start::DataPlane;

/// For what may still run on another thread when the subscription ends: a look-up of a name, or a file being written.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Whom a data plane subscribes to, and with what.
#[derive(Clone, Debug)]
pub struct SubscriptionConfig {
    /// Where controllers are. All addresses are dialled until one accepts.
    pub controllers: Vec<ControllerAddress>,
    /// PEM file with the certificates of the CA that issues those of controllers. Read for each dial.
    pub ca_file: PathBuf,
    /// File with the token that says who we are. Read for each dial.
    pub token_file: PathBuf,
    /// Where the last good table is kept, if it is.
    pub table_directory: Option<PathBuf>,
}

/// A running subscription.
#[derive(Debug)]
pub struct Subscription {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Subscription {
    /// Serves the last good table, if there is one, and every table that the leading controller publishes from now on.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start(plane: Arc<DataPlane>, config: SubscriptionConfig) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("subscription".to_owned()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    never = Task::new(plane, config).run() => match never {},
                    _ = stopped => {}
                }
            });
            runtime.shutdown_timeout(END_TIMEOUT);
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it, and lets go of the data plane, which goes on serving what it serves.
    pub async fn end(self) {
        // A thread that has panicked has ended already.
        let _ended_already = self.stop.send(());
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the subscription panicked");
        }
    }
}
