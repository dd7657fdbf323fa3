//! Who dials: a bearer token becomes the identity of a pod, or a reason why not.
//!
//! Owns what is asked of a token, and how long an answer of the API server holds. A token is looked at here before it
//! costs anybody a TokenReview, and nothing it says of itself is believed without one. Knows nothing of tables.

mod cache;
pub mod review;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::metrics::{PushMetrics, Reviewed};
use cache::Cache;
use review::ReviewTokens;

/// The audience of the tokens that are for us. A token that a pod shows to somebody else is of no use here.
pub const AUDIENCE: &str = "push.headrace.dev";

/// Octets of a token. ServiceAccount tokens have one or two thousand.
const MAX_TOKEN_OCTETS: usize = 16 * 1024;

/// TokenReviews under way at a time: many pods dial a new leader at once, and the API server has others to serve.
const MAX_REVIEWS: usize = 16;

/// For one TokenReview, waiting for its turn included. A pod that is turned away for this dials again.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(10);

/// Which pod it is, as the API server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentity {
    /// The pod's namespace, which is that of the installation.
    pub namespace: String,
    /// The pod set that its ServiceAccount stands for.
    pub pod_set: String,
    /// The pod's name.
    pub name: String,
    /// The pod's uid: a pod that was deleted and made again is another one.
    pub uid: String,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Stranger {
    /// There is no bearer token.
    #[error("a bearer token is needed")]
    NoToken,
    /// The token is for somebody else.
    #[error("the token is not for the audience push.headrace.dev")]
    OtherAudience,
    /// The token is no good: forged, expired, or its pod or ServiceAccount is gone.
    #[error("the token is not valid, or its pod is gone")]
    Invalid,
    /// The token is of a ServiceAccount that no pod set has.
    #[error("the token's ServiceAccount is none of a pod set")]
    OtherServiceAccount,
    /// The token does not tell a pod.
    #[error("the token is not bound to a pod")]
    NotBoundToPod,
    /// The API server does not say.
    #[error("the token cannot be reviewed at the moment")]
    ReviewUnavailable,
}

impl Stranger {
    /// The reason in a word, as it stands in metric labels.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Stranger::NoToken => "no_token",
            Stranger::OtherAudience => "other_audience",
            Stranger::Invalid => "invalid_token",
            Stranger::OtherServiceAccount => "other_service_account",
            Stranger::NotBoundToPod => "not_bound_to_pod",
            Stranger::ReviewUnavailable => "review_unavailable",
        }
    }
}

/// Turns tokens into identities.
pub(crate) struct Authenticator {
    reviewer: Arc<dyn ReviewTokens>,
    namespace: String,
    /// Pod sets by the name of their ServiceAccount.
    pod_sets: BTreeMap<String, String>,
    cache: Mutex<Cache>,
    reviews: Semaphore,
    metrics: Arc<PushMetrics>,
}

/// SHA-256 of a token: what is kept of it.
type TokenHash = [u8; 32];

impl Authenticator {
    /// `pod_sets`: the ServiceAccount of each pod set by the set's name.
    pub(crate) fn new(
        reviewer: Arc<dyn ReviewTokens>,
        namespace: String,
        pod_sets: &BTreeMap<String, String>,
        metrics: Arc<PushMetrics>,
    ) -> Self {
        let pod_sets = pod_sets.iter().map(|(set, account)| (account.clone(), set.clone())).collect();
        let (cache, reviews) = (Mutex::new(Cache::default()), Semaphore::new(MAX_REVIEWS));
        Self { reviewer, namespace, pod_sets, cache, reviews, metrics }
    }

    /// Who shows this `authorization` field. An answer that is a few seconds old will do.
    pub(crate) async fn authenticate(&self, authorization: Option<&[u8]>) -> Result<PodIdentity, Stranger> {
        let token = bearer_token(authorization)?;
        let hash: TokenHash = Sha256::digest(token).into();
        let cached = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(&hash, Instant::now());
        match cached {
            Some(answer) => answer,
            None => self.ask(token, hash).await,
        }
    }

    /// Who shows it now, whatever was said before: for a stream that has been open for a while.
    pub(crate) async fn authenticate_again(&self, authorization: Option<&[u8]>) -> Result<PodIdentity, Stranger> {
        let token = bearer_token(authorization)?;
        self.ask(token, Sha256::digest(token).into()).await
    }

    async fn ask(&self, token: &str, hash: TokenHash) -> Result<PodIdentity, Stranger> {
        let review = async {
            let _permit = self.reviews.acquire().await.map_err(|_| Stranger::ReviewUnavailable)?;
            self.reviewer.review(token, AUDIENCE).await.map_err(|error| {
                tracing::debug!(%error, "TokenReview");
                Stranger::ReviewUnavailable
            })
        };
        let answered = tokio::time::timeout(REVIEW_TIMEOUT, review).await.unwrap_or(Err(Stranger::ReviewUnavailable));
        let answer = answered.and_then(|status| self.judge(&status));
        self.metrics
            .token_review(answer.as_ref().map_or_else(|stranger| Reviewed::Stranger(*stranger), |_| Reviewed::Pod));
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).put(hash, &answer, Instant::now());
        answer
    }

    /// What the API server's answer means here.
    fn judge(&self, status: &TokenReviewStatus) -> Result<PodIdentity, Stranger> {
        if status.authenticated != Some(true) {
            return Err(Stranger::Invalid);
        }
        // An authenticator that knows nothing of audiences says yes and names none.
        if !status.audiences.iter().flatten().any(|audience| audience == AUDIENCE) {
            return Err(Stranger::OtherAudience);
        }
        let user = status.user.as_ref().ok_or(Stranger::OtherServiceAccount)?;
        let pod_set = self.pod_set_of(user).ok_or(Stranger::OtherServiceAccount)?;
        let extra = |key| extra(user, key).ok_or(Stranger::NotBoundToPod);
        Ok(PodIdentity {
            namespace: self.namespace.clone(),
            pod_set: pod_set.to_owned(),
            name: extra("authentication.kubernetes.io/pod-name")?.to_owned(),
            uid: extra("authentication.kubernetes.io/pod-uid")?.to_owned(),
        })
    }

    fn pod_set_of(&self, user: &UserInfo) -> Option<&str> {
        let account = user.username.as_deref()?.strip_prefix("system:serviceaccount:")?;
        let (namespace, name) = account.split_once(':')?;
        if namespace != self.namespace {
            return None;
        }
        self.pod_sets.get(name).map(String::as_str)
    }
}

fn extra<'a>(user: &'a UserInfo, key: &str) -> Option<&'a str> {
    match user.extra.as_ref()?.get(key)?.as_slice() {
        [value] if !value.is_empty() => Some(value),
        _ => None,
    }
}

/// The token of an `authorization` field (RFC 6750 section 2.1), if it may be one for us.
fn bearer_token(authorization: Option<&[u8]>) -> Result<&str, Stranger> {
    let field = authorization.and_then(|field| std::str::from_utf8(field).ok()).ok_or(Stranger::NoToken)?;
    let (scheme, token) = field.split_once(' ').ok_or(Stranger::NoToken)?;
    let token = token.trim_matches(' ');
    // The scheme's case does not matter (RFC 9110 section 11.1).
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Stranger::NoToken);
    }
    if token.len() > MAX_TOKEN_OCTETS {
        return Err(Stranger::Invalid);
    }
    // Not verified: only good for saying no without asking the API server.
    let claims = unverified_claims(token).ok_or(Stranger::Invalid)?;
    if claims.aud.names(AUDIENCE) { Ok(token) } else { Err(Stranger::OtherAudience) }
}

/// The claims of a JWT (RFC 7519 section 3) that matter before it is verified.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    aud: Audiences,
}

/// RFC 7519 section 4.1.3: an array, or one string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Several(Vec<String>),
}

impl Default for Audiences {
    fn default() -> Self {
        Audiences::Several(Vec::new())
    }
}

impl Audiences {
    fn names(&self, audience: &str) -> bool {
        match self {
            Audiences::One(one) => one == audience,
            Audiences::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

fn unverified_claims(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}
