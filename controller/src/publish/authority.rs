//! The certificate authority of the push: what it signs with, what pods should trust, and when which follows which.
//!
//! Pure but for the keys that it draws: the time is an argument. It must not know where any of this is kept
//! ([`keep`]) or who presents a server certificate ([`super::tls`]).
//!
//! A rotation has three steps, and pods trust whatever may sign at any time between them:
//! ```text
//!  trusted:  current  ─►  current + next  ─►  current (was next) + previous  ─►  current
//!                      │                  │                                  │
//!           at two thirds of its life,  when pods have had time          when no certificate that the
//!           or on demand                to read the bundle               previous one signed is valid
//! ```
//! Who fears for the key deletes the Secret: then a new CA signs at once and no other is trusted. Pods serve what they have
//! until they have read the new bundle.

pub(crate) mod keep;
pub(crate) mod objects;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use x509_parser::pem::parse_x509_pem;

/// A CA signs for nobody but the controller, which makes a new one by itself: a year is long for nothing that matters
/// and short enough that rotation is no rare event.
const CA_LIFETIME: SignedDuration = SignedDuration::from_hours(365 * 24);

/// The next CA is made when this part of the current one's life is over. The third that is left is four months in which
/// a cluster may be shut down and still come up without a gap.
const ROTATED_AFTER: (i32, i32) = (2, 3);

/// From when a bundle is published until pods have read it. The kubelet syncs a ConfigMap volume within a minute and a
/// half and may answer from a cache of another minute; the rest is margin.
const PROPAGATION: SignedDuration = SignedDuration::from_mins(10);

/// Short, since it lives in memory and costs nothing to make. Also how long a CA that was replaced stays trusted.
const SERVER_CERTIFICATE_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// Before it is used: clocks of nodes differ.
const BACKDATED: SignedDuration = SignedDuration::from_mins(10);

/// Why there is no authority or no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    /// No key could be drawn, or nothing signed with it.
    #[error("no certificate can be made: {0}")]
    Signing(#[from] rcgen::Error),
    /// What was kept as a certificate is none.
    #[error("the certificate does not parse")]
    Certificate,
    /// What was kept as a key is none.
    #[error("the key does not parse")]
    Key,
    /// They are a key and a certificate, of different pairs.
    #[error("the key is not the certificate's")]
    Mismatch,
    /// A time that no certificate can hold.
    #[error("the clock says a time that no certificate can hold")]
    Clock,
}

/// One CA: its certificate with its key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    certificate_pem: String,
    key_pem: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("not_before", &self.not_before).finish_non_exhaustive()
    }
}

/// A certificate that the push server presents, with its key.
pub(crate) struct ServerCertificate {
    /// Leaf alone: pods hold the CA.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// When to ask for another.
    pub(crate) renewed_at: Timestamp,
}

impl Authority {
    /// A new one.
    pub(crate) fn make(now: Timestamp) -> Result<Authority, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        // Two CAs of one bundle should not share a name: whoever reads it wants to tell them apart.
        params.distinguished_name = named(&format!("Headrace push CA {}", now.strftime("%Y-%m-%dT%H:%M:%SZ")));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = certificate_time(now - BACKDATED)?;
        params.not_after = certificate_time(now + CA_LIFETIME)?;
        let certificate = params.self_signed(&key)?;
        Authority::parse(&certificate.pem(), &key.serialize_pem())
    }

    /// One that was kept.
    pub(crate) fn parse(certificate_pem: &str, key_pem: &str) -> Result<Authority, AuthorityError> {
        let key = KeyPair::from_pem(key_pem).map_err(|_| AuthorityError::Key)?;
        let (_, pem) = parse_x509_pem(certificate_pem.as_bytes()).map_err(|_| AuthorityError::Certificate)?;
        let certificate = pem.parse_x509().map_err(|_| AuthorityError::Certificate)?;
        if !certificate.is_ca() {
            return Err(AuthorityError::Certificate);
        }
        if certificate.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(AuthorityError::Mismatch);
        }
        let second = |time: i64| Timestamp::from_second(time).map_err(|_| AuthorityError::Certificate);
        Ok(Authority {
            certificate_pem: certificate_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            not_before: second(certificate.validity().not_before.timestamp())?,
            not_after: second(certificate.validity().not_after.timestamp())?,
        })
    }

    /// Its certificate.
    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its key.
    pub(crate) fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// When it ends.
    pub(crate) fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// A certificate for the push server under a DNS name.
    pub(crate) fn issue(&self, name: &str, now: Timestamp) -> Result<ServerCertificate, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name = named("Headrace push");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let ends = (now + SERVER_CERTIFICATE_LIFETIME).min(self.not_after);
        params.not_before = certificate_time(now - BACKDATED)?;
        params.not_after = certificate_time(ends)?;
        let issuer = Issuer::from_ca_cert_pem(&self.certificate_pem, KeyPair::from_pem(&self.key_pem)?)?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(ServerCertificate {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            renewed_at: now + now.duration_until(ends) / 2,
        })
    }

    fn rotated_at(&self) -> Timestamp {
        let (part, whole) = ROTATED_AFTER;
        self.not_before + self.not_before.duration_until(self.not_after) / whole * part
    }

    fn is_over(&self, now: Timestamp) -> bool {
        now >= self.not_after
    }
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn certificate_time(time: Timestamp) -> Result<OffsetDateTime, AuthorityError> {
    OffsetDateTime::from_unix_timestamp(time.as_second()).map_err(|_| AuthorityError::Clock)
}

/// The CA that signs, and those that come before and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorities {
    /// Signs.
    pub(crate) current: Authority,
    /// Trusted, and signs after it has been so for a while.
    pub(crate) next: Option<Authority>,
    /// Signs no more, and is trusted while what it signed is valid.
    pub(crate) previous: Option<Previous>,
}

/// A CA that was replaced. Its key is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Previous {
    pub(crate) certificate_pem: String,
    /// When the current one took its place.
    pub(crate) replaced: Timestamp,
}

/// What changed from one [`Authorities`] to the next, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is a next CA, which pods are to trust from now on.
    Prepared,
    /// The next CA signs.
    Replaced,
    /// The previous CA is no longer trusted.
    Forgotten,
}

impl Authorities {
    /// The first.
    pub(crate) fn found(now: Timestamp) -> Result<Authorities, AuthorityError> {
        Ok(Authorities { current: Authority::make(now)?, next: None, previous: None })
    }

    /// What pods should trust.
    pub(crate) fn bundle(&self) -> String {
        let next = self.next.as_ref().map(Authority::certificate_pem);
        let previous = self.previous.as_ref().map(|previous| previous.certificate_pem.as_str());
        let certificates = std::iter::once(self.current.certificate_pem()).chain(next).chain(previous);
        certificates.flat_map(|certificate| [certificate.trim_end(), "\n"]).collect()
    }

    /// What is to be kept instead, if anything is due. `published` is since when [`bundle`](Self::bundle) stands where
    /// pods read it; `on_demand` asks for a rotation before its time. One step at a time: the bundle comes between.
    pub(crate) fn step(
        &self,
        now: Timestamp,
        published: Option<Timestamp>,
        on_demand: bool,
    ) -> Result<Option<(Step, Authorities)>, AuthorityError> {
        let Some(next) = self.next.as_ref().filter(|next| !next.is_over(now)) else {
            if on_demand || now >= self.current.rotated_at() {
                let next = Some(Authority::make(now)?);
                return Ok(Some((Step::Prepared, Authorities { next, ..self.clone() })));
            }
            return Ok(self.without_old_previous(now));
        };
        let is_read = published.is_some_and(|published| now >= published + PROPAGATION);
        // Nothing that a CA signs after its end is believed: then waiting helps nobody.
        if is_read || self.current.is_over(now) {
            let certificate_pem = self.current.certificate_pem().to_owned();
            let previous = Some(Previous { certificate_pem, replaced: now });
            return Ok(Some((Step::Replaced, Authorities { current: next.clone(), next: None, previous })));
        }
        Ok(self.without_old_previous(now))
    }

    fn without_old_previous(&self, now: Timestamp) -> Option<(Step, Authorities)> {
        let replaced = self.previous.as_ref()?.replaced;
        (now >= replaced + SERVER_CERTIFICATE_LIFETIME)
            .then(|| (Step::Forgotten, Authorities { previous: None, ..self.clone() }))
    }
}
