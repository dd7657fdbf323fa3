//! One watch: lists what there is, follows what changes, and starts anew when it must.
//!
//! Lists by streaming (`sendInitialEvents`, KEP-3157) where the API server has it, page by page where not. Hands whole lists
//! over at once, so that nobody sees half of one. `kube_runtime::watcher` does not say when a streamed list began again,
//! and with a list that is put together from two, an object deleted between them would stay for ever; hence our own.
//! Owns when to resume, when to list again and when to wait. It must not know what is done with objects.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use headrace_compile::Key;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Status;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

use super::backoff::Backoff;
use super::entry::Entry;
use super::kinds::Watched;
use super::{Asked, WatchMetrics};
use crate::metrics::Label;

/// After this the API server ends a watch, and it is resumed. A connection whose other end has vanished is noticed no
/// later than this, since bookmarks are no promise.
const WATCH_TIMEOUT_SECONDS: u32 = 60;

/// What a watch may take longer than it was asked for before it counts as dead.
const WATCH_MARGIN: Duration = Duration::from_secs(5);

/// For the head of an answer, or a page of a list.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Objects in a page of a list, as client-go has it.
const PAGE_SIZE: u32 = 500;

/// A watch that ends sooner and brings nothing was no watch: an answer of an error without a word, say.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);

/// Failures in a row after which the watch lists again instead of resuming: what it resumes from may be of an etcd that
/// was replaced by its backup, and never come.
const FAILURES_BEFORE_LIST: u32 = 6;

/// The annotation of the bookmark behind the last object of a streamed list.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What is done with what a watch brings.
pub(crate) trait Sink<K> {
    /// All there is, in place of what was there.
    fn listed(&mut self, entries: Vec<Entry<K>>);
    /// A new or changed object.
    fn applied(&mut self, entry: Entry<K>);
    /// An object is gone.
    fn deleted(&mut self, key: &Key);
}

/// Whether the API server streams lists. Every watch learns it from the first one that is refused.
#[derive(Clone, Debug)]
pub(crate) struct Streaming(Arc<AtomicBool>);

impl Default for Streaming {
    fn default() -> Self {
        Streaming(Arc::new(AtomicBool::new(true)))
    }
}

/// Why a watch starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// 410: what it wanted to resume from is forgotten.
    Expired,
    /// The API server refused or failed.
    Refused,
    /// The connection broke, or nothing came any more.
    Broken,
}

impl Label for Restart {
    const NAME: &'static str = "reason";
    const ALL: &'static [Self] = &[Restart::Expired, Restart::Refused, Restart::Broken];

    fn label(self) -> &'static str {
        match self {
            Restart::Expired => "expired",
            Restart::Refused => "refused",
            Restart::Broken => "broken",
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Api(#[from] kube::Error),
    #[error("the API server ends the watch: {} ({})", .0.message, .0.code)]
    Event(Box<Status>),
    #[error("no answer in time")]
    TimedOut(#[from] Elapsed),
    #[error("the list ended early")]
    Unfinished,
    #[error("the watch ended before it began")]
    Empty,
    #[error("a list without a resourceVersion")]
    Unversioned,
}

impl Failure {
    fn status(&self) -> Option<&Status> {
        match self {
            Failure::Api(kube::Error::Api(status)) | Failure::Event(status) => Some(status),
            _ => None,
        }
    }

    fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// Whether the kind may be gone. The client does not look at the status of an answer to a watch; where a kind is not
    /// known that is a line of plain text.
    fn is_about_the_kind(&self) -> bool {
        self.code() == Some(404) || matches!(self, Failure::Api(kube::Error::SerdeError(_)))
    }

    fn restart(&self) -> Restart {
        match self.code() {
            Some(410) => Restart::Expired,
            Some(_) => Restart::Refused,
            None => Restart::Broken,
        }
    }

    /// Whether a streamed list was refused because the server has none (the feature gate WatchList is off, or the server
    /// is older than it).
    fn is_about_streaming(&self) -> bool {
        matches!(self.code(), Some(400 | 422))
            && self.status().is_some_and(|status| {
                status.message.contains("sendInitialEvents") || status.message.contains("resourceVersionMatch")
            })
    }
}

/// A watch of all objects that `api` and `selector` name.
#[derive(Debug)]
pub(crate) struct Follower<K: Watched> {
    pub(crate) api: Api<Entry<K>>,
    /// A field selector, or all of them.
    pub(crate) selector: Option<String>,
    pub(crate) streaming: Streaming,
    pub(crate) metrics: WatchMetrics,
    /// Told when the API server does not know the kind.
    pub(crate) asked: Asked,
    /// Between failures.
    pub(crate) backoff: Backoff,
}

impl<K: Watched> Follower<K> {
    /// Follows until it is dropped.
    pub(crate) async fn follow(self, mut sink: impl Sink<K>) {
        let mut backoff = self.backoff.clone();
        let mut version: Option<String> = None;
        loop {
            let Err(failure) = self.once(&mut version, &mut sink, &mut backoff).await else { continue };
            if failure.is_about_streaming() && self.streaming.0.swap(false, Ordering::Relaxed) {
                tracing::info!("the API server does not stream lists; they are fetched page by page");
                continue;
            }
            let restart = failure.restart();
            self.metrics.restarts.of((K::KIND, restart)).inc();
            self.tell(&failure, backoff.failures());
            if restart == Restart::Expired || backoff.failures() >= FAILURES_BEFORE_LIST {
                version = None;
            }
            backoff.wait().await;
        }
    }

    /// Says what is wrong: once until it works again, and for whole kinds alone. There may be hundreds of Secrets.
    fn tell(&self, failure: &Failure, failures: u32) {
        let (kind, reason) = (K::KIND.label(), failure.restart().label());
        if failure.is_about_the_kind() {
            tracing::debug!(kind, "the API server does not know the kind");
            self.asked.notify_one();
        } else if failure.code() == Some(403) {
            tracing::warn!(kind, error = %failure, "not allowed to watch: check the role");
        } else if failures == 0 && self.selector.is_none() {
            tracing::info!(kind, reason, error = %failure, "watch restarts");
        } else {
            tracing::debug!(kind, reason, selector = self.selector, error = %failure, "watch restarts");
        }
    }

    /// Lists if nothing was listed, and follows until the watch ends.
    async fn once(
        &self,
        version: &mut Option<String>,
        sink: &mut impl Sink<K>,
        backoff: &mut Backoff,
    ) -> Result<(), Failure> {
        let is_streamed = version.is_none() && self.streaming.0.load(Ordering::Relaxed);
        if version.is_none() && !is_streamed {
            let (entries, listed) = self.pages().await?;
            sink.listed(entries);
            *version = Some(listed);
        }
        let parameters = WatchParams {
            field_selector: self.selector.clone(),
            timeout: Some(WATCH_TIMEOUT_SECONDS),
            send_initial_events: is_streamed,
            ..WatchParams::default()
        };
        // No version asks for the newest list, read through to etcd: a list may not be older than what was seen before.
        let from = version.as_deref().unwrap_or("");
        let events = timeout(ANSWER_TIMEOUT, self.api.watch(&parameters, from)).await??;
        self.events(events, version, sink, backoff).await
    }

    /// Follows the events of a watch until its end.
    async fn events(
        &self,
        events: impl futures::Stream<Item = kube::Result<WatchEvent<Entry<K>>>>,
        version: &mut Option<String>,
        sink: &mut impl Sink<K>,
        backoff: &mut Backoff,
    ) -> Result<(), Failure> {
        let idle = Duration::from_secs(WATCH_TIMEOUT_SECONDS.into()) + WATCH_MARGIN;
        let mut events = pin!(events.map_err(Failure::from));
        // What a streamed list has brought so far.
        let mut listing = version.is_none().then(Vec::new);
        let start = Instant::now();
        let mut is_empty = true;
        while let Some(event) = timeout(idle, events.next()).await? {
            match event? {
                WatchEvent::Added(entry) | WatchEvent::Modified(entry) => match &mut listing {
                    Some(entries) => entries.push(entry),
                    None => {
                        *version = entry.resource_version().map(str::to_owned).or(version.take());
                        sink.applied(entry);
                    }
                },
                WatchEvent::Deleted(entry) => {
                    // Not in a list, says KEP-3157; it would mean no harm.
                    if let Some(entries) = &mut listing {
                        entries.retain(|listed| listed.key() != entry.key());
                    } else {
                        *version = entry.resource_version().map(str::to_owned).or(version.take());
                        sink.deleted(&entry.key());
                    }
                }
                WatchEvent::Bookmark(bookmark) => {
                    if let Some(entries) =
                        listing.take_if(|_| bookmark.metadata.annotations.contains_key(INITIAL_EVENTS_END))
                    {
                        sink.listed(entries);
                    }
                    if listing.is_none() {
                        *version = Some(bookmark.metadata.resource_version);
                    }
                }
                WatchEvent::Error(status) => return Err(Failure::Event(status)),
            }
            backoff.reset();
            is_empty = false;
        }
        match listing {
            Some(_) => Err(Failure::Unfinished),
            None if is_empty && start.elapsed() < SHORTEST_WATCH => Err(Failure::Empty),
            None => Ok(()),
        }
    }

    /// A whole list, page by page, and its version.
    async fn pages(&self) -> Result<(Vec<Entry<K>>, String), Failure> {
        let mut parameters =
            ListParams { field_selector: self.selector.clone(), limit: Some(PAGE_SIZE), ..ListParams::default() };
        let mut entries = Vec::new();
        loop {
            let page = timeout(ANSWER_TIMEOUT, self.api.list(&parameters)).await??;
            entries.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => {
                    let version = page.metadata.resource_version.filter(|version| !version.is_empty());
                    return Ok((entries, version.ok_or(Failure::Unversioned)?));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
