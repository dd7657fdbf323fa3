//! Two candidates and a Lease in memory, with resourceVersions as the API server keeps them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

/// What the API server holds.
#[derive(Default)]
struct Server {
    lease: Option<Lease>,
    version: u64,
}

impl Server {
    /// Carries a step out, unless another was faster.
    fn write(&mut self, step: &Step) -> Option<Lease> {
        let lease = match (step, &self.lease) {
            (Step::Create(lease), None) => lease,
            (Step::Replace(lease), Some(current))
                if lease.metadata.resource_version == current.metadata.resource_version =>
            {
                lease
            }
            _ => return None,
        };
        self.version += 1;
        let mut lease = Lease::clone(lease);
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        Some(lease)
    }
}

/// Time, which all see alike but for the wall clocks.
struct Clock {
    start: Instant,
}

impl Clock {
    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }
}

const WALL: i64 = 1_800_000_000;

const EPOCH_0: u64 = 1_800_000_000;

fn wall(seconds: u64) -> Timestamp {
    Timestamp::from_second(WALL + i64::try_from(seconds).unwrap()).unwrap()
}

fn candidate(identity: &str) -> Election {
    Election::new("headrace-controller", "headrace-system", identity)
}

/// One round: read, decide, write.
fn round(server: &mut Server, candidate: &mut Election, clock: &Clock, seconds: u64) -> Leadership {
    let step = candidate.observe(server.lease.as_ref(), clock.at(seconds), wall(seconds));
    if let Some(written) = server.write(&step) {
        candidate.written(&written, clock.at(seconds));
    }
    candidate.leadership(clock.at(seconds))
}

fn start() -> (Clock, Server) {
    (Clock { start: Instant::now() }, Server::default())
}

const fn leader(epoch: u64) -> Leadership {
    Leadership::Leader { epoch }
}

#[test]
fn the_first_one_leads_and_the_other_waits() {
    let (clock, mut server) = start();
    let (mut a, mut b) = (candidate("a"), candidate("b"));
    assert_eq!(round(&mut server, &mut a, &clock, 0), leader(EPOCH_0));
    for seconds in 0..60 {
        if seconds % 2 == 0 {
            assert_eq!(round(&mut server, &mut a, &clock, seconds), leader(EPOCH_0), "an epoch lasts");
        }
        assert_eq!(round(&mut server, &mut b, &clock, seconds), Leadership::Follower);
    }
}

#[test]
fn a_leader_that_cannot_renew_is_gone_before_another_comes() {
    let (clock, mut server) = start();
    let (mut a, mut b) = (candidate("a"), candidate("b"));
    round(&mut server, &mut a, &clock, 0);
    for seconds in 1..18 {
        let of_b = round(&mut server, &mut b, &clock, seconds);
        let of_a = a.leadership(clock.at(seconds));
        assert!(!(of_a.is_leader() && of_b.is_leader()), "at {seconds}");
        assert_eq!(of_a.is_leader(), seconds < 7, "at {seconds}");
        assert_eq!(of_b.is_leader(), seconds >= 11, "at {seconds}: 10 after b saw it first");
    }
    assert_eq!(round(&mut server, &mut a, &clock, 18), Leadership::Follower, "it comes back and sees another");
}

#[test]
fn of_two_that_try_one_succeeds() {
    let (clock, mut server) = start();
    let (mut a, mut b) = (candidate("a"), candidate("b"));
    let steps = [&mut a, &mut b].map(|candidate| candidate.observe(None, clock.at(0), wall(0)));
    assert!(server.write(&steps[1]).is_some());
    assert!(server.write(&steps[0]).is_none(), "it exists by now");

    let (mut late, mut later) = (candidate("c"), candidate("d"));
    for candidate in [&mut late, &mut later] {
        assert_eq!(candidate.observe(server.lease.as_ref(), clock.at(1), wall(1)), Step::Wait);
    }
    let steps = [&mut late, &mut later].map(|c| c.observe(server.lease.as_ref(), clock.at(20), wall(20)));
    assert!(server.write(&steps[0]).is_some());
    assert!(server.write(&steps[1]).is_none(), "it has changed by now");
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let (clock, mut server) = start();
    let (mut a, mut b) = (candidate("a"), candidate("b"));
    round(&mut server, &mut a, &clock, 0);
    round(&mut server, &mut b, &clock, 1);
    let released = a.release(wall(2)).unwrap();
    assert_eq!(a.leadership(clock.at(2)), Leadership::Follower);
    assert!(server.write(&Step::Replace(Box::new(released))).is_some());
    assert_eq!(a.release(wall(2)), None, "once");
    assert_eq!(round(&mut server, &mut b, &clock, 3), leader(EPOCH_0 + 3));
}

#[test]
fn epochs_never_go_back() {
    let (clock, mut server) = start();
    let (mut a, mut b) = (candidate("a"), candidate("b"));
    round(&mut server, &mut a, &clock, 0);
    round(&mut server, &mut b, &clock, 0);
    // b's clock is an hour behind.
    let step = b.observe(server.lease.as_ref(), clock.at(20), wall(0) - Duration::from_secs(3600));
    let written = server.write(&step).unwrap();
    b.written(&written, clock.at(20));
    assert_eq!(b.leadership(clock.at(20)), leader(EPOCH_0 + 1));

    // The annotation is gone: the time of day takes over.
    server.lease.as_mut().unwrap().metadata.annotations = None;
    assert_eq!(round(&mut server, &mut a, &clock, 40), Leadership::Follower);
    assert_eq!(round(&mut server, &mut a, &clock, 60), leader(EPOCH_0 + 60));
}

#[test]
fn a_lease_that_is_deleted_is_made_again() {
    let (clock, mut server) = start();
    let mut a = candidate("a");
    round(&mut server, &mut a, &clock, 0);
    server.lease = None;
    assert_eq!(round(&mut server, &mut a, &clock, 2), leader(EPOCH_0), "by the leader, who goes on");
    server.lease = None;
    assert_eq!(round(&mut server, &mut candidate("b"), &clock, 4), leader(EPOCH_0 + 4), "or by who is faster");
    assert_eq!(round(&mut server, &mut a, &clock, 4), Leadership::Follower);
}

#[test]
fn a_restarted_container_has_its_pods_lease_at_once_with_a_new_epoch() {
    let (clock, mut server) = start();
    round(&mut server, &mut candidate("a"), &clock, 0);
    assert_eq!(round(&mut server, &mut candidate("a"), &clock, 1), leader(EPOCH_0 + 1));
    assert_eq!(server.lease.unwrap().spec.unwrap().lease_transitions, Some(1));
}

#[test]
fn a_leader_that_was_away_too_long_starts_a_new_epoch() {
    let (clock, mut server) = start();
    let mut a = candidate("a");
    round(&mut server, &mut a, &clock, 0);
    assert_eq!(a.deadline(clock.at(6)), Some(clock.at(7)));
    assert_eq!(a.deadline(clock.at(9)), None, "a deadline that is over must not end every attempt to come back");
    assert_eq!(a.leadership(clock.at(9)), Leadership::Follower);
    assert_eq!(round(&mut server, &mut a, &clock, 9), leader(EPOCH_0 + 9), "nobody else came, and nobody knows");
}

#[test]
fn what_others_keep_in_the_lease_stays() {
    let (clock, mut server) = start();
    let mut a = candidate("a");
    round(&mut server, &mut a, &clock, 0);
    let labels = [("team".to_owned(), "edge".to_owned())];
    server.lease.as_mut().unwrap().metadata.labels = Some(labels.clone().into());
    round(&mut server, &mut a, &clock, 2);
    assert_eq!(server.lease.unwrap().metadata.labels, Some(labels.into()));
}

#[test]
fn a_leader_goes_above_an_epoch_that_a_pod_has_met() {
    let (clock, mut server) = start();
    let mut a = candidate("a");
    round(&mut server, &mut a, &clock, 0);
    a.challenged(EPOCH_0 - 5);
    assert_eq!(round(&mut server, &mut a, &clock, 2), leader(EPOCH_0));
    a.challenged(EPOCH_0 + 500);
    assert_eq!(round(&mut server, &mut a, &clock, 4), leader(EPOCH_0 + 501));
    assert_eq!(round(&mut server, &mut a, &clock, 6), leader(EPOCH_0 + 501));
}
