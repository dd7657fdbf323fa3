//! Where the state of a pod set is kept: one Secret, which is read before anything is planned and written before anything is
//! published.
//!
//! Owns the order of reads and writes. Of two leaders who write at once the API server lets one through, and the other
//! begins again with what that one wrote.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use tokio::time::Instant;

use super::kept::{Kept, asked, new_secret};
use super::plan::{Planned, Situation, found, plan};
use crate::publish::{Store, StoreError};

/// Reads and writes in a row that end in a conflict.
const MAX_ATTEMPTS: usize = 8;

/// How old what was read may be: a wish for a rotation is noticed by the first look after this, or that somebody else wrote.
/// Less than between two looks without any news, so that each of those reads.
pub(crate) const READ_FOR: Duration = Duration::from_secs(4);

/// Why there is nothing to publish, or nothing new.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    /// The API server does not answer, or refuses.
    #[error("the Secret: {0}")]
    Store(#[from] StoreError),
    /// Others write as fast as we do.
    #[error("the Secret changes too fast")]
    Contended,
}

/// One pod set's state, as this leader knows it.
#[derive(Debug)]
pub(crate) struct Keeper<S> {
    pod_set: String,
    store: S,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    secret: Secret,
    /// Whether the API server has it.
    is_written: bool,
    kept: Kept,
    read: Instant,
}

/// What came of a look at things.
#[derive(Debug)]
pub(crate) struct Tended {
    pub(crate) planned: Planned,
    /// Whether anything was written.
    pub(crate) is_new: bool,
}

impl<S: Store<Secret>> Keeper<S> {
    pub(crate) fn new(pod_set: &str, store: S) -> Self {
        Keeper { pod_set: pod_set.to_owned(), store, held: None }
    }

    /// Forgets what was read: whoever leads anew reads anew.
    pub(crate) fn forget(&mut self) {
        self.held = None;
    }

    /// Brings the state up to date, and answers with what the Secret holds from now on.
    pub(crate) async fn tend(
        &mut self,
        situation: Situation<'_>,
        draw: &mut (impl FnMut(&mut [u8]) + Send),
    ) -> Result<Tended, KeepError> {
        for _ in 0..MAX_ATTEMPTS {
            let held = self.look(&situation, draw).await?;
            let word = asked(&held.secret).map(str::to_owned);
            let situation = Situation { asked: word.as_deref(), ..situation };
            let planned = match plan(&held.kept, &situation, draw) {
                Ok(planned) => planned,
                // It was looked at when it was read.
                Err(error) => unreachable!("what was kept is a rotation: {error}"),
            };
            if planned.kept == held.kept && held.is_written {
                return Ok(Tended { planned, is_new: false });
            }
            let mut secret = held.secret.clone();
            planned.kept.write(&mut secret);
            let written = if held.is_written || secret.resource_version().is_some() {
                self.store.replace(&secret).await
            } else {
                self.store.create(&secret).await
            };
            match written {
                Ok(secret) => {
                    let kept = planned.kept.clone();
                    self.held = Some(Held { secret, is_written: true, kept, read: Instant::now() });
                    return Ok(Tended { planned, is_new: true });
                }
                Err(StoreError::Conflict) => self.held = None,
                Err(error) => {
                    // Whether it was written is not known.
                    self.held = None;
                    return Err(error.into());
                }
            }
        }
        Err(KeepError::Contended)
    }

    /// What the Secret holds, read not too long ago.
    async fn look(
        &mut self,
        situation: &Situation<'_>,
        draw: &mut (impl FnMut(&mut [u8]) + Send),
    ) -> Result<&Held, KeepError> {
        let held = match self.held.take().filter(|held| held.read.elapsed() < READ_FOR) {
            Some(held) => held,
            None => self.read(situation, draw).await?,
        };
        Ok(self.held.insert(held))
    }

    async fn read(
        &self,
        situation: &Situation<'_>,
        draw: &mut (impl FnMut(&mut [u8]) + Send),
    ) -> Result<Held, KeepError> {
        let secret = self.store.read().await?;
        let read = Instant::now();
        match secret.as_ref().map(Kept::read) {
            Some(Ok(Some(kept))) => {
                let secret = secret.expect("it was read");
                return Ok(Held { secret, is_written: true, kept, read });
            }
            Some(Err(error)) => {
                tracing::error!(pod_set = self.pod_set, %error, "the Secret of QUIC's keys cannot be used: new keys are made");
            }
            Some(Ok(None)) | None => {
                tracing::info!(pod_set = self.pod_set, "there are no keys for QUIC yet: they are made")
            }
        }
        let secret = secret.unwrap_or_else(|| new_secret(&self.pod_set));
        Ok(Held { secret, is_written: false, kept: found(situation.now, draw), read })
    }
}

#[cfg(test)]
mod tests;
