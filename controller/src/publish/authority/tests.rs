//! The authority through its years, and what two replicas make of one Secret.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod kept;

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{ServerName, UnixTime};

use super::*;
use crate::publish::tls::PresentedCertificate;

const NAME: &str = "headrace-controller-push.headrace-system.svc";
const SECOND: SignedDuration = SignedDuration::from_secs(1);

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// Whether a pod with that bundle believes a certificate under a name.
fn believes(bundle: &str, certificate: &ServerCertificate, name: &str, now: Timestamp) -> bool {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.as_second().try_into().unwrap()));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.build().unwrap().verify_server_cert(&certificate.chain[0], &[], &name, &[], now).is_ok()
}

#[test]
fn a_rotation_takes_its_steps_and_no_pod_is_left_behind() {
    let first = Authorities::found(start()).unwrap();
    let published = Some(start());
    let due = first.current.rotated_at();
    assert!(first.step(due - SECOND, published, false).unwrap().is_none(), "two thirds of its life are not over");

    let (step, prepared) = first.step(due, published, false).unwrap().unwrap();
    assert_eq!((step, prepared.current == first.current), (Step::Prepared, true));
    // The new bundle is published a little later; until pods have had time to read it, the old CA signs.
    let published = due + SignedDuration::from_secs(30);
    for not_yet in [None, Some(published)] {
        let soon = published + PROPAGATION - SECOND;
        assert!(prepared.step(soon, not_yet, false).unwrap().is_none(), "{not_yet:?}");
    }
    let switched = published + PROPAGATION;
    let (step, replaced) = prepared.step(switched, Some(published), false).unwrap().unwrap();
    assert_eq!((step, Some(&replaced.current)), (Step::Replaced, prepared.next.as_ref()));

    // A pod that has read the bundle of before the switch, and one that reads the one of after it: both believe both.
    let (old, new) = (first.current.issue(NAME, switched).unwrap(), replaced.current.issue(NAME, switched).unwrap());
    for (bundle, whose) in [(prepared.bundle(), "before"), (replaced.bundle(), "after")] {
        assert!(believes(&bundle, &old, NAME, switched), "the old certificate, {whose} the switch");
        assert!(believes(&bundle, &new, NAME, switched), "the new certificate, {whose} the switch");
    }

    let gone = switched + SERVER_CERTIFICATE_LIFETIME;
    assert!(replaced.step(gone - SECOND, Some(switched), false).unwrap().is_none(), "old certificates are still valid");
    let (step, last) = replaced.step(gone, Some(switched), false).unwrap().unwrap();
    assert_eq!((step, last.previous.is_none()), (Step::Forgotten, true));
    assert!(!believes(&last.bundle(), &old, NAME, switched));
    assert!(last.step(gone, Some(gone), false).unwrap().is_none(), "and then there is rest");
}

#[test]
fn a_rotation_on_demand_is_one_before_its_time() {
    let first = Authorities::found(start()).unwrap();
    let now = start() + SignedDuration::from_hours(1);
    let (step, prepared) = first.step(now, Some(start()), true).unwrap().unwrap();
    assert_eq!(step, Step::Prepared);
    assert!(prepared.step(now, Some(now), true).unwrap().is_none(), "one that is under way is not begun again");
    let (step, _) = prepared.step(now + PROPAGATION, Some(now), false).unwrap().unwrap();
    assert_eq!(step, Step::Replaced);
}

#[test]
fn after_a_long_sleep_nothing_waits_for_a_ca_that_is_over() {
    let first = Authorities::found(start()).unwrap();
    let now = start() + CA_LIFETIME + SignedDuration::from_hours(24 * 90);
    let (step, prepared) = first.step(now, Some(start()), false).unwrap().unwrap();
    assert_eq!(step, Step::Prepared);
    let (step, replaced) = prepared.step(now, Some(now), false).unwrap().unwrap();
    assert_eq!(step, Step::Replaced);
    assert!(believes(&replaced.bundle(), &replaced.current.issue(NAME, now).unwrap(), NAME, now));
}

#[test]
fn a_server_certificate_is_for_one_name_and_a_day() {
    let authorities = Authorities::found(start()).unwrap();
    let (bundle, certificate) = (authorities.bundle(), authorities.current.issue(NAME, start()).unwrap());
    assert_eq!(certificate.renewed_at, start() + SignedDuration::from_hours(12));
    for (name, at, expected) in [
        (NAME, start(), true),
        (NAME, start() - BACKDATED + SECOND, true),
        (NAME, start() + SERVER_CERTIFICATE_LIFETIME - SECOND, true),
        (NAME, start() + SERVER_CERTIFICATE_LIFETIME + SECOND, false),
        ("headrace-controller-push.elsewhere.svc", start(), false),
    ] {
        assert_eq!(believes(&bundle, &certificate, name, at), expected, "{name} at {at}");
    }
    let other = Authorities::found(start()).unwrap();
    assert!(!believes(&other.bundle(), &certificate, NAME, start()), "another cluster's pods do not believe it");
}

#[test]
fn a_certificate_does_not_outlive_its_ca() {
    let authority = Authority::make(start()).unwrap();
    let near_the_end = authority.not_after() - SignedDuration::from_hours(2);
    let certificate = authority.issue(NAME, near_the_end).unwrap();
    assert_eq!(certificate.renewed_at, near_the_end + SignedDuration::from_hours(1));
}

#[test]
fn a_certificate_is_renewed_at_half_its_life_and_with_the_ca() {
    let (one, other) = (Authority::make(start()).unwrap(), Authority::make(start()).unwrap());
    let presented = PresentedCertificate::new(NAME.to_owned());
    let half = start() + SignedDuration::from_hours(12);
    for (why, authority, now, is_new) in [
        ("there is none", &one, start(), true),
        ("half its life is not over", &one, half - SECOND, false),
        ("half its life is over", &one, half, true),
        ("it is new", &one, half, false),
        ("another CA signs", &other, half, true),
    ] {
        assert_eq!(presented.renew(authority, now).unwrap(), is_new, "{why}");
    }
}

#[test]
fn what_was_kept_is_what_comes_back() {
    let one = Authority::make(start()).unwrap();
    let other = Authority::make(start()).unwrap();
    let parsed = |certificate: &str, key: &str| Authority::parse(certificate, key);
    assert_eq!(parsed(one.certificate_pem(), one.key_pem()).unwrap(), one);
    assert!(matches!(parsed(one.certificate_pem(), other.key_pem()), Err(AuthorityError::Mismatch)));
    assert!(matches!(parsed(one.certificate_pem(), "no key"), Err(AuthorityError::Key)));
    assert!(matches!(parsed("no certificate", one.key_pem()), Err(AuthorityError::Certificate)));
    assert!(!format!("{one:?}").contains("KEY"), "a key does not reach a log");
}
