//! Early data: requests that come before their client's handshake is complete, so that they may be replays (RFC 8470).
//!
//! Owns how it is known whether a handshake is complete, and how a request says on its way that it was early. It must not
//! know what a handshake is made of, nor who may be served early: that is decided where requests are.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::watch;

/// RFC 8470 section 5.1.
const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");

/// Whether a connection's handshake is complete. As an extension of a request: the request is served although it was not.
#[derive(Clone, Debug)]
pub(crate) struct Handshake(Option<watch::Receiver<bool>>);

/// In the hands of whoever does the handshake.
#[derive(Debug)]
pub(crate) struct Completion(watch::Sender<bool>);

/// The connection ended before its handshake was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeverComplete;

impl Handshake {
    /// One that is over.
    pub(crate) fn complete() -> Self {
        Self(None)
    }

    /// One that goes on. It will not be complete when the other half is dropped.
    pub(crate) fn pending() -> (Completion, Self) {
        let (sender, receiver) = watch::channel(false);
        (Completion(sender), Self(Some(receiver)))
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.0.as_ref().is_none_or(|complete| *complete.borrow())
    }

    /// Waits for it, as long as whoever does the handshake lets it take.
    pub(crate) async fn completed(&self) -> Result<(), NeverComplete> {
        let Some(complete) = &self.0 else { return Ok(()) };
        complete.clone().wait_for(|complete| *complete).await.map(drop).map_err(|_| NeverComplete)
    }
}

impl Completion {
    pub(crate) fn complete(self) {
        self.0.send_replace(true);
    }
}

/// Whether a request says that it was early on an earlier hop. Whatever the value, since one that is no `1` means the same
/// (RFC 8470 section 5.1).
pub(crate) fn is_marked(headers: &HeaderMap) -> bool {
    headers.contains_key(EARLY_DATA)
}

/// Says that a request was early.
pub(crate) fn mark(headers: &mut HeaderMap) {
    headers.insert(EARLY_DATA, HeaderValue::from_static("1"));
}

/// For a request that is sent once more after the handshake, which is early no longer.
pub(crate) fn unmark(headers: &mut HeaderMap) {
    headers.remove(EARLY_DATA);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_handshake_is_waited_for() {
        assert!(Handshake::complete().is_complete());
        assert_eq!(Handshake::complete().completed().await, Ok(()));

        let (completion, handshake) = Handshake::pending();
        let other = handshake.clone();
        let waiting = tokio::spawn(async move { other.completed().await });
        assert!(!handshake.is_complete());
        completion.complete();
        assert_eq!(waiting.await.unwrap(), Ok(()));
        assert!(handshake.is_complete());
        assert_eq!(handshake.completed().await, Ok(()));

        let (completion, handshake) = Handshake::pending();
        drop(completion);
        assert_eq!(handshake.completed().await, Err(NeverComplete));
        assert!(!handshake.is_complete());
    }

    #[test]
    fn any_value_is_a_mark() {
        let mut headers = HeaderMap::new();
        assert!(!is_marked(&headers));
        headers.append(EARLY_DATA, HeaderValue::from_static("0"));
        headers.append(EARLY_DATA, HeaderValue::from_static("1"));
        assert!(is_marked(&headers));
        mark(&mut headers);
        assert_eq!(headers.get_all(EARLY_DATA).iter().collect::<Vec<_>>(), ["1"]);
        unmark(&mut headers);
        assert!(!is_marked(&headers));
    }
}
