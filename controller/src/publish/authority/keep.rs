//! Where the authority is kept: every replica reads and writes the same two objects, and whoever comes second takes over
//! what the first one wrote.
//!
//! Owns the order of reads and writes. The boundary to the API server is [`Store`]: read, create, replace with a
//! resourceVersion. It must not know who uses the authority.

use std::fmt::Debug;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::objects::{asks_for_rotation, published, read_secret, write_config_map, write_secret};
use super::{Authorities, AuthorityError, Step};
use crate::publish::metrics::PushMetrics;
use crate::publish::tls::PresentedCertificate;

/// Reads and writes until the two objects agree. Two replicas that rotate at once need three; a next CA that is prepared
/// and has to sign at once needs two steps more.
const MAX_ATTEMPTS: usize = 8;

/// For all of them together.
const AGREE_TIMEOUT: Duration = Duration::from_secs(30);

/// How soon another replica's rotation, or the wish for one, is noticed. Two reads each time; a rotation waits for minutes
/// before its next step.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(30);

/// After a failure: at the start there is no certificate, and nobody is served.
const RETRIED_AFTER: Duration = Duration::from_secs(2);

/// Written as the owner of what changed.
const FIELD_MANAGER: &str = "headrace-controller";

/// Why an object could not be written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote it meanwhile.
    #[error("it was changed meanwhile")]
    Conflict,
    /// The API server does not answer, or refuses.
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// One object of the API server, by its name.
pub trait Store<K>: Send + Sync {
    /// The object, if there is one.
    fn read(&self) -> impl Future<Output = Result<Option<K>, StoreError>> + Send;
    /// Makes it. [`StoreError::Conflict`] if there is one by now.
    fn create(&self, object: &K) -> impl Future<Output = Result<K, StoreError>> + Send;
    /// Puts another in its place. [`StoreError::Conflict`] unless it still has the resourceVersion of `object`.
    fn replace(&self, object: &K) -> impl Future<Output = Result<K, StoreError>> + Send;
}

/// An object on a real API server.
pub struct InCluster<K> {
    api: Api<K>,
    name: String,
}

impl<K> InCluster<K> {
    /// The object of that name.
    pub fn new(api: Api<K>, name: impl Into<String>) -> Self {
        Self { api, name: name.into() }
    }
}

impl<K> Store<K> for InCluster<K>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned + Send + Sync,
{
    async fn read(&self) -> Result<Option<K>, StoreError> {
        Ok(self.api.get_opt(&self.name).await?)
    }

    async fn create(&self, object: &K) -> Result<K, StoreError> {
        let mut object = object.clone();
        object.meta_mut().name = Some(self.name.clone());
        self.api.create(&parameters(), &object).await.map_err(conflict_or_not)
    }

    async fn replace(&self, object: &K) -> Result<K, StoreError> {
        self.api.replace(&self.name, &parameters(), object).await.map_err(conflict_or_not)
    }
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// 409 is AlreadyExists on create and Conflict on replace; 404 on replace is an object that went away in between, which
/// is as much of a reason to read again.
fn conflict_or_not(error: kube::Error) -> StoreError {
    match error {
        kube::Error::Api(status) if [404, 409].contains(&status.code) => StoreError::Conflict,
        other => StoreError::Api(other),
    }
}

/// Why this replica has no authority yet, or one that may be out of date.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    /// The Secret.
    #[error("Secret: {0}")]
    Secret(#[source] StoreError),
    /// The ConfigMap.
    #[error("ConfigMap: {0}")]
    ConfigMap(#[source] StoreError),
    /// Not the API server's doing.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The API server does not answer.
    #[error("no answer in time")]
    TimedOut,
    /// Others write as fast as we do.
    #[error("the objects change too fast to agree on them")]
    Contended,
}

/// Keeps the authority and the server's certificate up to date for as long as it is polled.
pub(crate) async fn keep<S: Store<Secret>, C: Store<ConfigMap>>(
    secrets: &S,
    config_maps: &C,
    certificate: &PresentedCertificate,
    metrics: &PushMetrics,
) {
    loop {
        let agreed = tokio::time::timeout(AGREE_TIMEOUT, agree(secrets, config_maps, Timestamp::now())).await;
        let kept = agreed.unwrap_or(Err(KeepError::TimedOut)).and_then(|authorities| {
            metrics.ca_expires(authorities.current.not_after());
            Ok(certificate.renew(&authorities.current, Timestamp::now())?)
        });
        let pause = match kept {
            Ok(is_new) => {
                if is_new {
                    tracing::info!("push: the server has a new certificate");
                }
                LOOKED_AT_EVERY
            }
            Err(error) => {
                tracing::warn!(%error, "push CA: it cannot be kept up to date");
                RETRIED_AFTER
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Brings both objects up to date and answers with the authorities that count: made, rotated or taken over.
pub(crate) async fn agree<S: Store<Secret>, C: Store<ConfigMap>>(
    secrets: &S,
    config_maps: &C,
    now: Timestamp,
) -> Result<Authorities, KeepError> {
    for _ in 0..MAX_ATTEMPTS {
        let Some((secret, authorities)) = read_or_found(secrets, now).await? else { continue };
        let Some(since) = publish(config_maps, &authorities, now).await? else { continue };
        let on_demand = asks_for_rotation(&secret);
        // A rotation that was asked for while one is under way is that one.
        let (step, stepped) = match authorities.step(now, Some(since), on_demand)? {
            Some((step, stepped)) => (Some(step), stepped),
            None if on_demand => (None, authorities.clone()),
            None => return Ok(authorities),
        };
        let mut secret = secret;
        write_secret(&mut secret, &stepped);
        match secrets.replace(&secret).await {
            Ok(_) => tell(step),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(KeepError::Secret(error)),
        }
    }
    Err(KeepError::Contended)
}

/// The Secret with what it holds. `None` if it is to be read again.
async fn read_or_found<S: Store<Secret>>(
    secrets: &S,
    now: Timestamp,
) -> Result<Option<(Secret, Authorities)>, KeepError> {
    let held = secrets.read().await.map_err(KeepError::Secret)?;
    match held.as_ref().map(read_secret) {
        Some(Ok(Some(authorities))) => return Ok(held.map(|secret| (secret, authorities))),
        Some(Err(error)) => tracing::error!(%error, "the Secret of the push CA cannot be used: a new CA is made"),
        Some(Ok(None)) | None => tracing::info!("there is no push CA yet: one is made"),
    }
    let authorities = Authorities::found(now)?;
    let exists = held.is_some();
    let mut secret = held.unwrap_or_else(|| Secret { metadata: metadata(), ..Secret::default() });
    write_secret(&mut secret, &authorities);
    let written = if exists { secrets.replace(&secret).await } else { secrets.create(&secret).await };
    match written {
        Ok(secret) => Ok(Some((secret, authorities))),
        Err(StoreError::Conflict) => Ok(None),
        Err(error) => Err(KeepError::Secret(error)),
    }
}

/// Since when the bundle stands in the ConfigMap. `None` if it is to be tried again.
async fn publish<C: Store<ConfigMap>>(
    config_maps: &C,
    authorities: &Authorities,
    now: Timestamp,
) -> Result<Option<Timestamp>, KeepError> {
    let bundle = authorities.bundle();
    let held = config_maps.read().await.map_err(KeepError::ConfigMap)?;
    if let Some(since) = held.as_ref().and_then(|held| published(held, &bundle)) {
        return Ok(Some(since));
    }
    let exists = held.is_some();
    let mut config_map = held.unwrap_or_else(|| ConfigMap { metadata: metadata(), ..ConfigMap::default() });
    write_config_map(&mut config_map, &bundle, now);
    let written = if exists { config_maps.replace(&config_map).await } else { config_maps.create(&config_map).await };
    match written {
        Ok(_) => Ok(Some(now)),
        Err(StoreError::Conflict) => Ok(None),
        Err(error) => Err(KeepError::ConfigMap(error)),
    }
}

fn metadata() -> ObjectMeta {
    let labels = [("app.kubernetes.io/name", "headrace"), ("app.kubernetes.io/managed-by", FIELD_MANAGER)];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    ObjectMeta { labels: Some(labels.into()), ..ObjectMeta::default() }
}

fn tell(step: Option<Step>) {
    match step {
        Some(Step::Prepared) => tracing::info!("push CA: the next one is made, and pods are told to trust it"),
        Some(Step::Replaced) => tracing::info!("push CA: the next one signs from now on"),
        Some(Step::Forgotten) => tracing::info!("push CA: the previous one is no longer trusted"),
        None => tracing::info!("push CA: a rotation was asked for, and one is under way already"),
    }
}
