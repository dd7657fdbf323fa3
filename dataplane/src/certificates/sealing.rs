//! Sealing what a client brings back: TLS tickets and QUIC tokens, with secrets that go round.
//!
//! Owns how keys are made of secrets: one for each purpose and each thing that is sealed, so that no nonce is ever used
//! twice under a key, whichever pod seals. It must not know what is sealed, nor where secrets come from.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::{aead, hkdf};

use crate::quic::chance;

/// Octets of salt with each thing that is sealed: so many that chance never draws the same twice.
pub(crate) const SALT: usize = 16;

/// Octets that sealing adds.
pub(crate) const TAG: usize = 16;

/// What things are sealed for. What was sealed for one purpose cannot be opened for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Tickets of TLS over TCP.
    TcpTicket,
    /// Tickets of TLS within QUIC.
    QuicTicket,
    /// Tokens of QUIC, from Retry and NEW_TOKEN.
    Token,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::TcpTicket => b"headrace tls ticket tcp",
            Self::QuicTicket => b"headrace tls ticket quic",
            Self::Token => b"headrace quic token",
        }
    }
}

/// Something cannot be opened: it was sealed with a secret that is not here, for another purpose, or by nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unopened;

/// The secrets of one purpose at one moment.
pub(crate) struct Secrets {
    /// The first seals, all open. At least one.
    sources: Vec<hkdf::Prk>,
}

impl Secrets {
    /// One that nobody else has.
    fn own(purpose: Purpose) -> Self {
        Self::of(purpose, [&chance()])
    }

    fn of<'s>(purpose: Purpose, secrets: impl IntoIterator<Item = &'s [u8; 32]>) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, purpose.label());
        Self { sources: secrets.into_iter().map(|secret| salt.extract(secret)).collect() }
    }

    /// Seals in place with the key of this salt, which must not have been used before.
    pub(crate) fn seal(&self, salt: &[u8], data: &mut Vec<u8>) -> Result<(), Unopened> {
        let key = self.sources.first().and_then(|source| key(source, salt)).ok_or(Unopened)?;
        key.seal_in_place_append_tag(nonce(), aead::Aad::empty(), data).map_err(|_| Unopened)
    }

    /// Opens with whichever secret it was sealed with.
    pub(crate) fn open(&self, salt: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unopened> {
        let opened = self.sources.iter().find_map(|source| {
            // In a copy: who tries in vain leaves nothing behind that another could open.
            let mut data = sealed.to_vec();
            let opened = key(source, salt)?.open_in_place(nonce(), aead::Aad::empty(), &mut data).ok()?.len();
            data.truncate(opened);
            Some(data)
        });
        opened.ok_or(Unopened)
    }
}

fn key(source: &hkdf::Prk, salt: &[u8]) -> Option<aead::LessSafeKey> {
    let info = [salt];
    let key = source.expand(&info, &aead::AES_256_GCM).ok()?;
    Some(aead::LessSafeKey::new(aead::UnboundKey::from(key)))
}

/// A key seals one thing.
fn nonce() -> aead::Nonce {
    aead::Nonce::assume_unique_for_key([0; aead::NONCE_LEN])
}

/// The secrets of one purpose, now and after every rotation. Clones share them.
#[derive(Clone)]
pub(crate) struct Ring {
    purpose: Purpose,
    secrets: Arc<ArcSwap<Secrets>>,
}

impl Ring {
    /// With a secret that nobody else has.
    pub(crate) fn own(purpose: Purpose) -> Self {
        Self { purpose, secrets: Arc::new(ArcSwap::from_pointee(Secrets::own(purpose))) }
    }

    /// Takes over what is shared with others, the first of which seals from now on.
    pub(crate) fn share<'s>(&self, secrets: impl IntoIterator<Item = &'s [u8; 32]>) {
        self.secrets.store(Arc::new(Secrets::of(self.purpose, secrets)));
    }

    /// The secrets now.
    pub(crate) fn load(&self) -> Arc<Secrets> {
        self.secrets.load_full()
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(purpose: Purpose, secrets: &[[u8; 32]]) -> Ring {
        let ring = Ring::own(purpose);
        ring.share(secrets);
        ring
    }

    fn sealed(ring: &Ring, salt: &[u8]) -> Vec<u8> {
        let mut data = b"what is inside".to_vec();
        ring.load().seal(salt, &mut data).unwrap();
        assert_eq!(data.len(), b"what is inside".len() + TAG);
        data
    }

    #[test]
    fn who_has_the_secret_opens() {
        let (old, new) = ([1; 32], [2; 32]);
        let here = ring(Purpose::Token, &[old]);
        let data = sealed(&here, b"salt");
        for (secrets, opens) in
            [(&[old][..], true), (&[new, old], true), (&[old, new], true), (&[new], false), (&[[3; 32], new], false)]
        {
            let there = ring(Purpose::Token, secrets);
            let opened = there.load().open(b"salt", &data);
            assert_eq!(opened.is_ok(), opens, "{secrets:?}");
            assert!(opened.is_err() || opened == Ok(b"what is inside".to_vec()));
        }
        here.share(&[new]);
        assert_eq!(here.load().open(b"salt", &data), Err(Unopened), "a secret that is gone opens nothing");
    }

    #[test]
    fn nothing_opens_for_another_purpose_or_salt_or_with_an_octet_changed() {
        let here = ring(Purpose::QuicTicket, &[[1; 32]]);
        let data = sealed(&here, b"salt");
        assert_eq!(ring(Purpose::TcpTicket, &[[1; 32]]).load().open(b"salt", &data), Err(Unopened));
        assert_eq!(here.load().open(b"tlas", &data), Err(Unopened));
        for at in 0..data.len() {
            let mut changed = data.clone();
            changed[at] ^= 1;
            assert_eq!(here.load().open(b"salt", &changed), Err(Unopened), "octet {at}");
            assert_eq!(here.load().open(b"salt", &data[..at]), Err(Unopened), "{at} octets");
        }
    }

    #[test]
    fn own_secrets_are_nobody_elses() {
        let data = sealed(&Ring::own(Purpose::Token), b"salt");
        assert_eq!(Ring::own(Purpose::Token).load().open(b"salt", &data), Err(Unopened));
    }
}
