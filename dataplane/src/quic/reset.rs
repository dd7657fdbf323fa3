//! The key of stateless reset tokens (RFC 9000 section 10.3).
//!
//! Owns how an endpoint's key follows from the pod set's secret. Knows nothing of which connections there are.
//!
//! A token is a function of a connection ID and this key, and whoever makes an endpoint answer to an ID that it does not
//! know gets one. With one key for everything, that would be a way to end connections: a packet sent to another port than
//! that of its connection would be answered with the token that ends it (RFC 9000 section 21.11). So each port has a key of
//! its own, and each family of addresses, because they are endpoints of their own. The same port of another pod has the
//! same key: it answers for a pod that is gone.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use quinn_proto::crypto::{CryptoError, HmacKey};

use super::Membership;

/// What is in front of everything that is derived here.
const LABEL: &[u8] = b"headrace/stateless-reset/";

/// The key of one endpoint, always of the membership that holds.
pub(super) struct ResetKey {
    membership: Arc<ArcSwap<Membership>>,
    port: u16,
    is_ipv6: bool,
}

impl fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResetKey").field("port", &self.port).field("is_ipv6", &self.is_ipv6).finish_non_exhaustive()
    }
}

impl ResetKey {
    pub(super) fn new(membership: Arc<ArcSwap<Membership>>, address: SocketAddr) -> Self {
        Self { membership, port: address.port(), is_ipv6: address.is_ipv6() }
    }

    /// The tag over label, endpoint and `data`, all but the last of which have one length.
    fn tag(&self, data: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.membership.load().reset);
        context.update(LABEL);
        context.update(&self.port.to_be_bytes());
        context.update(&[u8::from(self.is_ipv6)]);
        context.update(data);
        context.sign()
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        signature.copy_from_slice(self.tag(data).as_ref());
    }

    fn signature_len(&self) -> usize {
        hmac::HMAC_SHA256.digest_algorithm().output_len()
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let tag = self.tag(data);
        aws_lc_rs::constant_time::verify_slices_are_equal(tag.as_ref(), signature).map_err(|_| CryptoError)
    }
}
