//! Tokens by which QUIC clients show that their address is theirs (RFC 9000 section 8.1), good at every pod that has the
//! secrets.
//!
//! Owns how tokens are sealed, how long they are good, and which of them were used. A Retry token comes back at once and
//! may come to another pod; a NEW_TOKEN token comes with a later connection. It must not know when either is sent.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headrace_table::Keys;
use quinn::crypto::{AeadKey, CryptoError, HandshakeTokenKey};
use quinn::{ServerConfig, TokenLog, TokenReuseError, ValidationTokenConfig};

use crate::certificates::sealing::{Purpose, Ring, Secrets};

/// A client answers a Retry at once; this is for slow ones and for clocks of pods that are not quite the same.
const RETRY_LIFETIME: Duration = Duration::from_secs(15);

/// A client that comes back within a day needs no Retry, and may be answered at length before its handshake is complete.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Tokens sent on each connection: enough to come back once.
const TOKENS_SENT: u32 = 1;

/// Used tokens that are remembered for each lifetime, of which there are two: 2 MB each. Beyond it tokens are not taken, and
/// the clients that bring them are treated as new ones.
const MAX_USED: usize = 65_536;

/// What tokens of this process are made with, whichever endpoint makes them.
#[derive(Clone)]
pub(crate) struct Tokens {
    ring: Ring,
    used: Arc<Used>,
}

impl Tokens {
    /// Good in this process alone.
    pub(crate) fn new() -> Self {
        Self { ring: Ring::own(Purpose::Token), used: Arc::default() }
    }

    /// Takes over the secrets that the pods share, if there are any.
    pub(crate) fn share(&self, keys: Option<&Keys>) {
        if let Some(keys) = keys {
            self.ring.share(keys.tokens.iter().map(|secret| secret.octets.expose()));
        }
    }

    /// Makes an endpoint give out and take these tokens, now and after every rotation.
    pub(super) fn configure(&self, config: &mut ServerConfig) {
        let mut validation = ValidationTokenConfig::default();
        validation.lifetime(TOKEN_LIFETIME).sent(TOKENS_SENT).log(Arc::clone(&self.used) as _);
        config
            .token_key(Arc::new(TokenKey(self.ring.clone())))
            .retry_token_lifetime(RETRY_LIFETIME)
            .validation_token_config(validation);
    }
}

/// Makes the key of each token.
struct TokenKey(Ring);

impl HandshakeTokenKey for TokenKey {
    fn aead_from_hkdf(&self, random_bytes: &[u8]) -> Box<dyn AeadKey> {
        Box::new(OneToken { secrets: self.0.load(), salt: random_bytes.into() })
    }
}

/// The key of one token, by whichever secret that was made with.
struct OneToken {
    secrets: Arc<Secrets>,
    salt: Box<[u8]>,
}

impl AeadKey for OneToken {
    fn seal(&self, data: &mut Vec<u8>, additional_data: &[u8]) -> Result<(), CryptoError> {
        debug_assert!(additional_data.is_empty(), "a token is all of what is sealed");
        self.secrets.seal(&self.salt, data).map_err(|_| CryptoError)
    }

    fn open<'a>(&self, data: &'a mut [u8], additional_data: &[u8]) -> Result<&'a mut [u8], CryptoError> {
        debug_assert!(additional_data.is_empty(), "a token is all of what is sealed");
        let opened = self.secrets.open(&self.salt, data).map_err(|_| CryptoError)?;
        let place = data.get_mut(..opened.len()).ok_or(CryptoError)?;
        place.copy_from_slice(&opened);
        Ok(place)
    }
}

/// Which NEW_TOKEN tokens were used here (RFC 9000 section 8.1.4). Another pod takes a token once more, which an attacker
/// could make of use only by sending from the very address that the token is for.
#[derive(Default)]
struct Used(Mutex<Periods>);

/// Tokens by when they were made, in periods of their lifetime: those that are still good are of this period or the one
/// before.
#[derive(Default)]
struct Periods {
    current: u64,
    now: HashSet<u128>,
    before: HashSet<u128>,
}

impl TokenLog for Used {
    fn check_and_insert(&self, nonce: u128, issued: SystemTime, lifetime: Duration) -> Result<(), TokenReuseError> {
        let since = issued.duration_since(UNIX_EPOCH).unwrap_or_default();
        let period = since.as_secs() / lifetime.as_secs().max(1);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(nonce, period).ok_or(TokenReuseError)
    }
}

impl Periods {
    fn take(&mut self, nonce: u128, period: u64) -> Option<()> {
        if period > self.current {
            let last = std::mem::take(&mut self.now);
            self.before = if period == self.current + 1 { last } else { HashSet::new() };
            self.current = period;
        }
        let used = match self.current - period {
            0 => &mut self.now,
            1 => &mut self.before,
            _ => return None,
        };
        (used.len() < MAX_USED && used.insert(nonce)).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_once() {
        let mut periods = Periods::default();
        // Each token with its period, and whether it is taken.
        for (nonce, period, taken) in [
            (1, 7, true),
            (1, 7, false),
            (2, 7, true),
            (3, 6, true),
            (3, 6, false),
            (4, 5, false),
            (5, 8, true),
            (2, 7, false),
            (6, 7, true),
            (7, 10, true),
            (8, 9, true),
            (5, 8, false),
        ] {
            assert_eq!(periods.take(nonce, period).is_some(), taken, "token {nonce} of {period}");
        }
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let mut periods = Periods::default();
        let taken = (0..MAX_USED as u128 + 10).filter(|nonce| periods.take(*nonce, 1).is_some()).count();
        assert_eq!((taken, periods.now.len()), (MAX_USED, MAX_USED));
        assert!(periods.take(u128::MAX, 2).is_some(), "the next period has room again");
    }
}
