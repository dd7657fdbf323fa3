//! Files that are watched for changes.
//!
//! The system's notifications tell at once, and looking every so often tells when they do not: on network file systems,
//! in containers, or when there are too many watches. Knows nothing of what the files hold.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::manifest::{Manifests, is_manifest};

/// How often files are looked at without a notification.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// An editor writes, renames and removes in one go: a change counts when nothing followed it for so long...
const QUIET: Duration = Duration::from_millis(100);
/// ...but a directory that never rests is read all the same.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// Watches the directories of manifests: files come and go by rename, and so would their watches.
pub(super) struct Watcher {
    /// `None` where the system has no notifications.
    notifier: Option<RecommendedWatcher>,
    events: mpsc::Receiver<()>,
    watched: BTreeSet<PathBuf>,
    followed: BTreeSet<PathBuf>,
    seen: Vec<Look>,
}

/// What a look at a path saw: file and version of it.
type Look = Option<(u64, u64, i64, i64, u64)>;

impl Watcher {
    pub(super) fn new() -> Self {
        // One unread event is as good as many.
        let (sender, events) = mpsc::channel(1);
        let first = sender.clone();
        let notifier = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Reading a file is an event as well, and one that reloading itself causes.
            let is_change = |event: Event| {
                !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|path| concerns_manifests(path))
            };
            if event.is_ok_and(is_change) {
                let _ = sender.try_send(());
            }
        });
        // What changed between the first reading and the first watch is seen by reading once more.
        let _ = first.try_send(());
        let notifier = notifier.inspect_err(|error| tracing::warn!(%error, "changes are found by polling only")).ok();
        Self { notifier, events, watched: BTreeSet::new(), followed: BTreeSet::new(), seen: Vec::new() }
    }

    /// Watches what these manifests came from.
    pub(super) fn follow(&mut self, manifests: &Manifests) {
        let mut directories: BTreeSet<PathBuf> = manifests.directories.iter().cloned().collect();
        for file in &manifests.files {
            directories.insert(parent(file));
            // A link's target changes elsewhere.
            if let Ok(target) = file.canonicalize() {
                directories.insert(parent(&target));
            }
        }
        if let Some(notifier) = &mut self.notifier {
            for gone in self.watched.difference(&directories) {
                let _ = notifier.unwatch(gone);
            }
            for new in directories.difference(&self.watched) {
                if let Err(error) = notifier.watch(new, RecursiveMode::NonRecursive) {
                    tracing::debug!(%error, directory = %new.display(), "changes are found by polling only");
                }
            }
        }
        self.followed = directories.iter().chain(&manifests.files).cloned().collect();
        self.watched = directories;
        self.seen = look(&self.followed);
    }

    /// Returns after a change, when things are quiet again. Cancel-safe but for the delay.
    pub(super) async fn changed(&mut self) {
        loop {
            tokio::select! {
                event = self.events.recv(), if self.notifier.is_some() => {
                    if event.is_some() {
                        return self.settle().await;
                    }
                    self.notifier = None;
                }
                () = sleep(POLL_INTERVAL) => {
                    if look(&self.followed) != self.seen {
                        return self.settle().await;
                    }
                }
            }
        }
    }

    async fn settle(&mut self) {
        let end = Instant::now() + MAX_DELAY;
        while Instant::now() < end && matches!(timeout(QUIET, self.events.recv()).await, Ok(Some(()))) {}
    }
}

/// Manifests, directories and a volume's links. Logs may be written beside manifests; files of other names are polled.
fn concerns_manifests(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let is_volume = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
    is_volume || is_manifest(path) || (path.extension().is_none() && !is_hidden)
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn look(paths: &BTreeSet<PathBuf>) -> Vec<Look> {
    let look = |path: &PathBuf| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
    };
    paths.iter().map(look).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any machine takes; no test waits for it when all is well.
    const PATIENCE: Duration = Duration::from_secs(30);

    async fn watch(path: &Path) -> Watcher {
        let mut watcher = Watcher::new();
        watcher.follow(&Manifests::load(&[path.to_owned()], None));
        timeout(PATIENCE, watcher.changed()).await.unwrap();
        watcher
    }

    #[tokio::test]
    async fn sees_what_editors_and_volumes_do() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, at(name)).unwrap();
        fs::create_dir_all(at("..1")).unwrap();
        fs::create_dir_all(at("..2")).unwrap();
        fs::write(at("..1/volume.yaml"), "").unwrap();
        fs::write(at("..2/volume.yaml"), "").unwrap();
        link("..1", "..data");
        link("..data/volume.yaml", "volume.yaml");
        fs::write(at("plain.yaml"), "").unwrap();
        let changes: [(&str, &dyn Fn()); 5] = [
            ("a write", &|| fs::write(at("plain.yaml"), "a").unwrap()),
            ("a rename in its place", &|| {
                fs::write(at("plain.yaml~"), "b").unwrap();
                fs::rename(at("plain.yaml~"), at("plain.yaml")).unwrap();
            }),
            ("a volume's swap of links", &|| {
                link("..2", "..new");
                fs::rename(at("..new"), at("..data")).unwrap();
            }),
            ("a new file", &|| fs::write(at("new.yaml"), "").unwrap()),
            ("a file that goes", &|| fs::remove_file(at("new.yaml")).unwrap()),
        ];
        for by_polling in [false, true] {
            let mut watcher = watch(directory.path()).await;
            for (what, change) in &changes {
                if by_polling {
                    watcher.notifier = None;
                }
                if by_polling && *what == "a volume's swap of links" {
                    fs::remove_file(at("..data")).unwrap();
                    link("..1", "..data");
                    watcher.follow(&Manifests::load(&[directory.path().to_owned()], None));
                }
                change();
                timeout(PATIENCE, watcher.changed()).await.unwrap_or_else(|_| panic!("{what} is not seen"));
                watcher.follow(&Manifests::load(&[directory.path().to_owned()], None));
            }
        }
    }
}
