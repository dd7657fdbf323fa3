//! How tests wait: for an event with a deadline, or by asking again and again until something holds.

use std::future::Future;
use std::time::{Duration, Instant};

/// No wait is longer: what takes longer than this hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Time between two looks at something that cannot be waited for.
const PAUSE: Duration = Duration::from_millis(10);

/// The future's outcome, which must come.
#[track_caller]
pub(crate) fn within<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(outcome) => outcome,
            Err(_) => panic!("{caller}: waited in vain: {what}"),
        }
    }
}

/// Asks until the answer is there.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < give_up, "never came true: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
