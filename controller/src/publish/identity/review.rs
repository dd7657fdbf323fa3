//! The boundary to the API server's TokenReview.

use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};

/// There is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReviewUnavailable {
    /// The API server cannot be asked, or does not let us ask.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// It answered with nothing.
    #[error("the answer has no status")]
    NoStatus,
}

/// Who can tell what a token is worth.
pub trait ReviewTokens: Send + Sync + 'static {
    /// What a token is worth for that audience.
    fn review<'a>(
        &'a self,
        token: &'a str,
        audience: &'a str,
    ) -> BoxFuture<'a, Result<TokenReviewStatus, ReviewUnavailable>>;
}

/// The API server.
#[derive(Clone)]
pub struct TokenReviews {
    api: Api<TokenReview>,
}

impl TokenReviews {
    /// Of that client's cluster.
    pub fn new(client: Client) -> Self {
        Self { api: Api::all(client) }
    }
}

impl ReviewTokens for TokenReviews {
    fn review<'a>(
        &'a self,
        token: &'a str,
        audience: &'a str,
    ) -> BoxFuture<'a, Result<TokenReviewStatus, ReviewUnavailable>> {
        Box::pin(async move {
            let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![audience.to_owned()]) };
            let review = TokenReview { spec, ..TokenReview::default() };
            let answer = self.api.create(&PostParams::default(), &review).await?;
            answer.status.ok_or(ReviewUnavailable::NoStatus)
        })
    }
}
