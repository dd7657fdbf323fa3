//! The subscription from beginning to end: restore, dial, converse, wait, dial again.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headrace_push::proto::ToSubscriber;
use headrace_push::{Arrival, Candidate, Fault, Subscriber, Version, Violation};
use prost::Message as _;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::{Status, Streaming};

use super::SubscriptionConfig;
use super::backoff::{self, Backoff};
use super::dial::{Dialer, Subscribed};
use super::fault::told;
use super::serving::Serving;
use super::store::Store;
use crate::metrics::{ProcessMetrics, StoredTableEvent, UpdateResult};
use crate::start::DataPlane;

/// For the status of a controller that has stopped listening to us.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two looks at what is to be reported. A rotation of keys takes as many of them as it has steps.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);

/// All that a subscription consists of.
pub(super) struct Task {
    plane: Arc<DataPlane>,
    metrics: Arc<ProcessMetrics>,
    dialer: Arc<Dialer>,
    store: Option<Store>,
    serving: Serving,
    subscriber: Subscriber,
    backoff: Backoff,
    /// Why nobody published to us, as it was told last.
    complaint: String,
    /// What cannot be served, as it was told last.
    told: BTreeSet<Fault>,
    /// When it is looked next whether there is anything to report.
    report_at: Instant,
}

impl Task {
    pub(super) fn new(plane: Arc<DataPlane>, config: SubscriptionConfig) -> Self {
        let metrics = Arc::clone(plane.process_metrics());
        let SubscriptionConfig { controllers, ca_file, token_file, table_directory } = config;
        Self {
            dialer: Arc::new(Dialer { controllers, ca_file, token_file, metrics: Arc::clone(&metrics) }),
            store: table_directory.map(Store::new),
            serving: Serving::new(Arc::clone(&plane)),
            subscriber: Subscriber::new(None),
            backoff: Backoff::default(),
            complaint: String::new(),
            told: BTreeSet::new(),
            report_at: Instant::now(),
            plane,
            metrics,
        }
    }

    pub(super) async fn run(mut self) -> Infallible {
        self.restore().await;
        loop {
            match self.dial().await {
                Ok(subscribed) => self.stay(subscribed).await,
                Err(why) => self.complain(why),
            }
            let wait = self.backoff.next(RandomState::new().hash_one(()));
            self.meanwhile(sleep(wait)).await;
        }
    }

    /// Serves the table that was kept, before anybody is asked for another. What is of no use is as if it were not there.
    async fn restore(&mut self) {
        let Some(store) = &self.store else { return };
        let held = match store.load() {
            Ok(None) => return,
            Ok(Some(held)) => match self.serving.serve(&held.sections).await {
                Ok(()) => Ok(held),
                Err(fault) => Err(store.unusable(fault.to_string())),
            },
            Err(unusable) => Err(unusable),
        };
        match held {
            Ok(held) => {
                let version = held.version;
                tracing::info!(%version, sections = held.sections.len(), "the last good table is served");
                self.count_stored(StoredTableEvent::Restored);
                self.subscriber = Subscriber::new(Some(held));
                let faults = self.serving.faults();
                self.tell(&faults);
                self.subscriber.accept(version, faults);
                self.show(version);
            }
            Err(unusable) => {
                tracing::warn!(error = %unusable, "the last good table is not used");
                self.count_stored(StoredTableEvent::Unusable);
            }
        }
    }

    async fn dial(&mut self) -> Result<Subscribed, String> {
        self.subscriber.introduce(self.plane.member());
        self.subscriber.connected();
        let hello = self.subscriber.poll().expect("a subscriber that is connected introduces itself");
        let dialer = Arc::clone(&self.dialer);
        self.meanwhile(dialer.dial(&hello)).await
    }

    /// Tells why nobody publishes to us: whoever asks for readiness at once, the log if it is news.
    fn complain(&mut self, why: String) {
        self.plane.waiting(&format!("no routing table yet; no controller publishes: {why}"));
        if self.complaint == why {
            tracing::debug!(%why, "still no controller publishes");
        } else {
            tracing::warn!(%why, "no controller publishes");
            self.complaint = why;
        }
    }

    /// Converses until the stream ends, and tells how it ended.
    async fn stay(&mut self, subscribed: Subscribed) {
        let controller = subscribed.controller;
        tracing::info!(%controller, "subscribed");
        self.complaint.clear();
        self.plane.waiting(&format!("no routing table yet; waiting for that of the controller {controller}"));
        self.metrics.subscription_connected().set(1);
        let begun = Instant::now();
        let why = self.converse(subscribed).await;
        self.subscriber.disconnected();
        self.metrics.subscription_connected().set(0);
        if begun.elapsed() >= backoff::LONGEST {
            self.backoff.reset();
        }
        self.complain(format!("{controller}: {why}"));
    }

    async fn converse(&mut self, subscribed: Subscribed) -> String {
        let Subscribed { mut incoming, outgoing, connection: _connection, .. } = subscribed;
        let mut next = None;
        loop {
            next = next.or_else(|| self.subscriber.poll());
            tokio::select! {
                room = outgoing.reserve(), if next.is_some() => match (room, next.take()) {
                    (Ok(room), Some(message)) => room.send(message),
                    _ => return farewell(incoming).await,
                },
                message = incoming.message() => match message {
                    Ok(Some(message)) => {
                        if let Err(violation) = self.receive(message).await {
                            self.metrics.updates_total(UpdateResult::Broken).inc();
                            return format!("what it sends cannot be followed: {violation}");
                        }
                    }
                    ended => return told_end(ended.map(drop)),
                },
                () = self.serving.bind_due() => self.bind_again().await,
                () = sleep_until(self.report_at) => self.report(),
            }
        }
    }

    /// What QUIC connections use, which is sent if it is news.
    fn report(&mut self) {
        self.subscriber.report(self.plane.quic_report());
        self.report_at = Instant::now() + REPORT_INTERVAL;
    }

    async fn receive(&mut self, message: ToSubscriber) -> Result<(), Violation> {
        let begun = Instant::now();
        self.metrics.subscription_received_bytes_total().add(message.encoded_len() as u64);
        match self.subscriber.receive(message)? {
            Some(Arrival::Candidate(candidate)) => self.take(candidate, begun).await,
            Some(Arrival::Adopted(version)) => {
                tracing::info!(%version, "the table that is served has this version now");
                self.hold(version).await;
                self.report();
            }
            None => {}
        }
        Ok(())
    }

    /// Serves a candidate, the last of which came when `arrived` says, or tells why not.
    async fn take(&mut self, Candidate { version, sections }: Candidate, arrived: Instant) {
        match self.serving.serve(&sections).await {
            Ok(()) => {
                self.metrics.update_duration_seconds().observe(arrived.elapsed());
                let faults = self.serving.faults();
                self.tell(&faults);
                let (sections, octets) = (sections.len(), sections.octets());
                tracing::info!(%version, sections, octets, faults = faults.len(), "the table is served");
                self.subscriber.accept(version, faults);
                self.metrics.updates_total(UpdateResult::Accepted).inc();
                self.hold(version).await;
                self.report();
            }
            Err(fault) => {
                tracing::warn!(%version, %fault, "the table is refused, and what was served still is");
                self.plane.rejected(&format!("the routing table is refused: {fault}"));
                self.subscriber.reject(version, vec![fault]);
                self.metrics.updates_total(UpdateResult::Rejected).inc();
            }
        }
    }

    /// Logs those faults that are news: most outlive many versions.
    fn tell(&mut self, faults: &[Fault]) {
        for fault in faults.iter().filter(|fault| !self.told.contains(fault)) {
            tracing::warn!(%fault, "not all of the table can be served");
        }
        self.told = faults.iter().cloned().collect();
    }

    /// Shows the version that is held now, and keeps it. Only after that is it acknowledged.
    async fn hold(&self, version: Version) {
        self.show(version);
        let (Some(store), Some(held)) = (self.store.clone(), self.subscriber.held().cloned()) else { return };
        let saving = tokio::task::spawn_blocking(move || store.save(&held));
        match saving.await.map_err(io::Error::other).flatten() {
            Ok(()) => self.count_stored(StoredTableEvent::Written),
            Err(error) => {
                tracing::warn!(%error, "the table cannot be kept for the next start");
                self.count_stored(StoredTableEvent::WriteFailed);
            }
        }
    }

    fn show(&self, version: Version) {
        self.metrics.table_epoch().set(version.epoch);
        self.metrics.table_generation().set(version.generation);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.metrics.update_timestamp_seconds().set(now);
    }

    fn count_stored(&self, event: StoredTableEvent) {
        self.metrics.stored_table_total(event).inc();
    }

    /// Waits for something, and does what is due in the meantime.
    async fn meanwhile<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                output = &mut future => return output,
                () = self.serving.bind_due() => self.bind_again().await,
            }
        }
    }

    /// Tries the ports that something else was listening on, and tells the controller what has changed.
    async fn bind_again(&mut self) {
        if !self.serving.bind_again().await {
            return;
        }
        if let Some(version) = self.subscriber.held().map(|held| held.version) {
            let faults = self.serving.faults();
            self.tell(&faults);
            tracing::info!(%version, faults = faults.len(), "what can be served of the table has changed");
            self.subscriber.accept(version, faults);
        }
    }
}

/// Why a controller takes nothing more from us: it has ended the stream, and its status is on the way.
async fn farewell(mut incoming: Streaming<ToSubscriber>) -> String {
    match timeout(FAREWELL_TIMEOUT, incoming.message()).await {
        Ok(ended) => told_end(ended.map(drop)),
        Err(_) => "it takes no answers".to_owned(),
    }
}

fn told_end(ended: Result<(), Status>) -> String {
    match ended {
        Ok(()) => "it ended the stream".to_owned(),
        Err(status) => told(&status),
    }
}
