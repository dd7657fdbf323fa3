//! Keys and server IDs through rotations, restarts of the controller, pods that come, go and are slow, and clocks that jump.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use headrace_push::Connections;
use headrace_table::wire;

use super::*;
use crate::quic::share::Share;

const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A pod set with pods that do as they are told, but for when.
struct World {
    kept: Kept,
    seen: BTreeMap<String, Seen>,
    told: BTreeMap<String, Told>,
    asked: Option<String>,
    now: Timestamp,
    drawn: u8,
    last: Option<Planned>,
    /// Every key that was ever published under a number, to be told apart.
    keys: BTreeMap<String, u8>,
}

impl World {
    fn new() -> Self {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut drawn = 0;
        let kept = found(now, &mut |octets: &mut [u8]| draw(&mut drawn, octets));
        let (seen, told, keys) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        World { kept, seen, told, asked: None, now, drawn, last: None, keys }
    }

    fn with(pods: &[&str]) -> Self {
        let mut world = Self::new();
        pods.iter().for_each(|pod| world.join(pod));
        world.settle();
        world
    }

    /// A pod has its network, and says who it is.
    fn join(&mut self, pod: &str) {
        let address = Some("10.0.0.1".parse().unwrap());
        let seen = Seen { name: format!("headrace-{pod}"), address, is_terminating: false, has_ended: false };
        self.seen.insert(pod.to_owned(), seen);
        self.introduce(pod, None);
    }

    fn introduce(&mut self, pod: &str, server_id: Option<[u8; 8]>) {
        let member = Member { server_id: server_id.map(|id| id.to_vec()), cid_octets: 17, hop_port: Some(9444) };
        self.told.entry(pod.to_owned()).or_default().member = Some(member);
    }

    /// One look at things.
    fn plan(&mut self) -> bool {
        let before = self.kept.clone();
        let situation = Situation {
            seen: &self.seen,
            told: &self.told,
            asked: self.asked.as_deref(),
            period: Some(WEEK),
            now: self.now,
        };
        let drawn = &mut self.drawn;
        let planned = plan(&self.kept, &situation, &mut |octets: &mut [u8]| draw(drawn, octets)).unwrap();
        self.kept = planned.kept.clone();
        self.last = Some(planned);
        self.check(&before);
        self.kept != before
    }

    /// What always holds, from one state to the next.
    fn check(&mut self, before: &Kept) {
        let (old, new) = (Share::of(before), Share::of(&self.kept));
        if old.keys != new.keys {
            assert!(new.keys.revision > old.keys.revision, "tables that differ have different revisions");
        }
        for one in &new.keys.configurations {
            assert_eq!(*self.keys.entry(one.key.clone()).or_insert(one.number), one.number, "a key has one number");
        }
        let table = wire::Table { keys: Some(new.keys), peers: new.peers, ..wire::Table::default() };
        headrace_table::Table::try_from(table).unwrap();
        let rotation = self.kept.rotation().unwrap();
        assert_eq!(rotation.revision(), self.kept.revision);
    }

    /// A pod takes the newest table, acknowledges it, and uses what it encodes with.
    fn hold(&mut self, pod: &str) {
        let (revision, encoding) = (self.kept.revision, self.number(wire::Phase::Encoding));
        let told = self.told.entry(pod.to_owned()).or_default();
        told.acknowledged = revision;
        let uses = told.report.map_or(0, |report| report.uses) | encoding.map_or(0, |number| 1 << number);
        told.report = Some(headrace_push::Report { revision, uses, connections: Connections::default() });
    }

    /// The connections that use a configuration are over.
    fn end(&mut self, pod: &str, number: u8) {
        let report = self.told.get_mut(pod).unwrap().report.as_mut().unwrap();
        report.uses &= !(1 << number);
    }

    /// Everybody takes everything until nothing changes.
    fn settle(&mut self) {
        for _ in 0..10 {
            self.plan();
            let pods: Vec<String> = self.seen.keys().cloned().collect();
            pods.iter().for_each(|pod| self.hold(pod));
        }
        assert!(!self.plan(), "and then there is rest");
    }

    fn number(&self, phase: wire::Phase) -> Option<u8> {
        let configurations = Share::of(&self.kept).keys.configurations;
        configurations.iter().find(|one| one.phase == phase).map(|one| one.number)
    }

    fn hop(&self) -> Vec<u32> {
        Share::of(&self.kept).keys.hop.iter().map(|secret| secret.id).collect()
    }

    fn peer(&self, pod: &str) -> Option<wire::Peer> {
        Share::of(&self.kept).peers.into_iter().find(|peer| peer.id == pod)
    }

    fn ask(&mut self, word: &str) {
        self.asked = Some(word.to_owned());
    }

    fn wait(&mut self, duration: SignedDuration) {
        self.now += duration;
    }
}

/// No two draws are the same.
fn draw(drawn: &mut u8, octets: &mut [u8]) {
    *drawn = drawn.wrapping_add(1);
    octets.fill(*drawn);
}

#[test]
fn nobody_encodes_before_everybody_understands() {
    let mut world = World::new();
    world.join("a");
    world.join("b");
    world.plan();
    assert_eq!((world.number(wire::Phase::Published), world.number(wire::Phase::Encoding)), (Some(1), None));
    world.hold("a");
    world.plan();
    assert_eq!(world.number(wire::Phase::Encoding), None, "b has not said anything");
    assert_eq!(world.last.as_ref().unwrap().waits_for, ["headrace-b"]);
    world.hold("b");
    world.plan();
    assert_eq!(world.number(wire::Phase::Encoding), Some(1));
    world.settle();
    assert!(world.last.unwrap().waits_for.is_empty());
}

#[test]
fn two_rotations_in_a_row_with_a_slow_pod() {
    let mut world = World::with(&["fast", "slow"]);
    let (first, hop) = (world.number(wire::Phase::Encoding).unwrap(), world.hop());
    world.ask("one");
    world.plan();
    let second = world.number(wire::Phase::Published).unwrap();
    assert_eq!(world.hop().len(), 2);
    assert_eq!(world.hop()[0], hop[0], "the new secret is accepted and not yet used");
    for _ in 0..3 {
        world.hold("fast");
        world.plan();
        assert_eq!(world.number(wire::Phase::Encoding), Some(first), "the slow one does not understand the new key");
    }
    world.ask("two");
    assert!(!world.plan(), "one rotation at a time");
    world.hold("slow");
    world.plan();
    assert_eq!(world.number(wire::Phase::Encoding), Some(second));
    assert_eq!(world.number(wire::Phase::Draining), Some(first));
    assert_ne!(world.hop()[0], hop[0]);
    // The second begins as soon as the first is through with its keys.
    world.plan();
    let third = world.number(wire::Phase::Published).unwrap();
    assert!(third != first && third != second);
    for pod in ["fast", "slow", "fast", "slow"] {
        world.hold(pod);
        world.plan();
    }
    assert_eq!(world.number(wire::Phase::Encoding), Some(third));
    let draining = |world: &World| {
        let configurations = Share::of(&world.kept).keys.configurations;
        configurations.iter().filter(|one| one.phase == wire::Phase::Draining).map(|one| one.number).collect::<Vec<_>>()
    };
    assert_eq!(draining(&world), [first, second], "connections use both");
    world.end("fast", first);
    world.settle();
    assert_eq!(draining(&world), [first, second], "the slow pod has some");
    world.end("slow", first);
    world.settle();
    assert_eq!(draining(&world), [second]);
    assert!(!world.plan());
    assert_eq!(world.kept.obeyed.as_deref(), Some("two"), "each word counts once");
}

#[test]
fn a_report_from_before_a_change_does_not_end_what_came_after_it() {
    let mut world = World::with(&["a"]);
    let first = world.number(wire::Phase::Encoding).unwrap();
    world.end("a", first);
    world.ask("one");
    for _ in 0..2 {
        world.plan();
        world.hold("a");
    }
    assert_eq!(world.number(wire::Phase::Draining), Some(first));
    // It acknowledges the table in which nobody encodes with the first, and its report is of the table before.
    let told = world.told.get_mut("a").unwrap();
    let report = told.report.as_mut().unwrap();
    (report.revision, report.uses) = (report.revision - 1, 0);
    world.plan();
    assert_eq!(world.number(wire::Phase::Draining), Some(first), "a connection may have come in between");
    world.told.get_mut("a").unwrap().report.as_mut().unwrap().revision += 1;
    world.plan();
    assert_eq!(world.number(wire::Phase::Draining), None);
}

#[test]
fn a_new_leader_waits_for_word_from_everybody() {
    let mut world = World::with(&["a", "b"]);
    world.ask("one");
    world.plan();
    world.hold("a");
    // The leader is another one, and was told nothing yet.
    let told = std::mem::take(&mut world.told);
    assert!(!world.plan(), "nothing goes on, and nobody loses anything");
    assert_eq!(world.peer("a").unwrap().hop.as_deref(), Some("10.0.0.1:9444"), "what a pod said is kept");
    world.told = told;
    world.hold("b");
    world.plan();
    assert_eq!(world.number(wire::Phase::Draining), Some(1));
}

#[test]
fn a_restart_of_the_controller_changes_nothing() {
    let mut world = World::with(&["a", "b"]);
    world.ask("one");
    world.plan();
    let mut secret = crate::quic::kept::new_secret("default");
    world.kept.write(&mut secret);
    let back = Kept::read(&secret).unwrap().unwrap();
    assert_eq!(back, world.kept);
    world.kept = back;
    world.settle();
    assert_eq!(world.number(wire::Phase::Encoding), Some(2));
    let (printed, keys) = (format!("{:?}", world.kept), Share::of(&world.kept).keys);
    let configurations = keys.configurations.iter().map(|one| &one.key);
    let mut secrets = configurations.chain(keys.hop.iter().chain([&keys.reset]).map(|secret| &secret.octets));
    assert!(secrets.all(|octets| !printed.contains(octets.as_str())), "no secret reaches a log");
}

#[test]
fn who_lost_the_lead_does_no_harm() {
    // Two leaders plan from one state: only one of the two is written, and the other begins again with that.
    let mut world = World::with(&["a"]);
    let stale = world.kept.clone();
    world.join("b");
    world.plan();
    let given = world.peer("b").unwrap().server_id;
    let mut late = World { kept: stale, ..World::with(&["a"]) };
    late.join("c");
    late.plan();
    assert_eq!(late.peer("c").unwrap().server_id, given, "which is why it must not be written");
    late.kept = world.kept.clone();
    late.join("b");
    late.plan();
    assert_ne!(late.peer("c").unwrap().server_id, given);
    assert_eq!(late.peer("b").unwrap().server_id, given);
}

#[test]
fn server_ids_are_given_once() {
    let mut world = World::with(&["a"]);
    let mut given = vec![world.peer("a").unwrap().server_id];
    for round in 0..50 {
        let pod = format!("p{round}");
        world.join(&pod);
        world.plan();
        given.push(world.peer(&pod).unwrap().server_id);
        world.seen.remove(&pod);
        world.told.remove(&pod);
        world.wait(GONE_FOR);
        world.plan();
        world.wait(GONE_FOR);
        world.plan();
        assert!(world.peer(&pod).is_none());
    }
    let count = given.len();
    given.sort();
    given.dedup();
    assert_eq!(given.len(), count);
    assert!(given.iter().all(|id| id.len() == 16));
}

#[test]
fn a_pod_is_live_then_leaves_then_is_gone_for_a_while() {
    let mut world = World::with(&["a", "b"]);
    let standing = |world: &World| world.peer("a").map(|peer| (peer.standing, peer.hop.is_some()));
    assert_eq!(standing(&world), Some((wire::Standing::Live, true)));
    world.seen.get_mut("a").unwrap().is_terminating = true;
    world.plan();
    assert_eq!(standing(&world), Some((wire::Standing::Draining, true)));
    world.seen.remove("a");
    world.plan();
    assert_eq!(standing(&world), Some((wire::Standing::Gone, false)), "its address may be another's by now");
    world.wait(GONE_FOR - SignedDuration::from_secs(1));
    world.plan();
    assert!(standing(&world).is_some());
    world.wait(SignedDuration::from_secs(1));
    world.plan();
    assert_eq!(standing(&world), None);
}

#[test]
fn a_pod_that_has_ended_is_gone_though_its_object_is_there() {
    let mut world = World::with(&["a"]);
    world.seen.get_mut("a").unwrap().has_ended = true;
    world.plan();
    assert_eq!(world.peer("a").unwrap().standing, wire::Standing::Gone);
    world.ask("one");
    world.plan();
    assert_eq!(world.number(wire::Phase::Encoding), Some(2), "nobody waits for it");
}

#[test]
fn a_pod_that_comes_back_with_its_uid_has_its_server_id() {
    let mut world = World::with(&["a", "b"]);
    let before = world.peer("a").unwrap();
    let seen = world.seen.remove("a").unwrap();
    world.plan();
    assert_eq!(world.peer("a").unwrap().standing, wire::Standing::Gone);
    world.seen.insert("a".to_owned(), seen);
    world.plan();
    assert_eq!(world.peer("a").unwrap(), before);
}

#[test]
fn a_pod_that_never_began_holds_up_nobody() {
    let mut world = World::with(&["a"]);
    let seen = Seen { name: "stuck".to_owned(), address: None, is_terminating: false, has_ended: false };
    world.seen.insert("stuck".to_owned(), seen);
    world.ask("one");
    world.plan();
    world.hold("a");
    world.plan();
    assert_eq!(world.number(wire::Phase::Encoding), Some(2));
    // And one that is up and silent does.
    world.seen.get_mut("stuck").unwrap().address = Some("10.0.0.9".parse().unwrap());
    world.ask("two");
    world.plan();
    for _ in 0..3 {
        world.hold("a");
        world.plan();
    }
    assert_eq!(world.number(wire::Phase::Encoding), Some(2));
    assert_eq!(world.last.unwrap().waits_for, ["stuck"]);
}

#[test]
fn a_schedule_is_kept_whatever_the_clock_does() {
    let mut world = World::with(&["a"]);
    world.wait(WEEK - SignedDuration::from_secs(1));
    assert!(!world.plan());
    world.wait(SignedDuration::from_secs(1));
    world.settle();
    assert_eq!(world.number(wire::Phase::Encoding), Some(2));
    // Set back by a year: the next one is due in a week from then, and not in a year.
    world.wait(WEEK * -52);
    world.plan();
    world.wait(WEEK);
    world.settle();
    assert_ne!(world.number(wire::Phase::Encoding), Some(2));
    // Ahead by a year: one rotation, and not fifty-two.
    let revision = world.kept.revision;
    world.wait(WEEK * 52);
    world.settle();
    assert!(world.kept.revision < revision + 6, "{} after {revision}", world.kept.revision);
}

#[test]
fn all_numbers_in_use_hold_up_the_schedule_but_not_who_asks() {
    let mut world = World::with(&["a"]);
    for round in 0..5 {
        world.ask(&round.to_string());
        world.settle();
    }
    assert_eq!(Share::of(&world.kept).keys.configurations.len(), 6, "connections use all of them");
    let encoding = world.number(wire::Phase::Encoding);
    world.wait(WEEK);
    world.settle();
    assert_eq!(world.number(wire::Phase::Encoding), encoding);
    world.ask("now");
    world.settle();
    assert_eq!(world.number(wire::Phase::Encoding), Some(1), "the oldest was given up");
}

#[test]
fn pods_that_bring_server_ids_along_have_connection_ids_in_clear_text() {
    let (one, other) = ([1; 8], [2; 8]);
    let mut world = World::new();
    for (pod, id) in [("a", one), ("b", other)] {
        world.join(pod);
        world.introduce(pod, Some(id));
    }
    world.settle();
    let keys = Share::of(&world.kept).keys;
    let encoding = keys.configurations.iter().find(|one| one.phase == wire::Phase::Encoding).unwrap();
    assert_eq!((encoding.number, encoding.form, encoding.nonce_octets), (0, wire::Form::Clear, 7));
    assert_eq!(world.peer("a").unwrap().server_id, "01".repeat(8));

    // There is no key in clear text that could be replaced; secrets are.
    let hop = world.hop();
    world.ask("one");
    world.settle();
    assert_eq!(world.number(wire::Phase::Encoding), Some(0));
    assert_ne!(world.hop()[0], hop[0]);

    // Another pod with the same: the first one keeps it, and the other gets none until the first is gone.
    world.join("c");
    world.introduce("c", Some(one));
    world.plan();
    assert!(world.peer("c").is_none());
    let refused = Refused { pod: "headrace-c".to_owned(), holder: "headrace-a".to_owned() };
    assert_eq!(world.last.as_ref().unwrap().refused, BTreeMap::from([("c".to_owned(), refused)]));
    world.seen.remove("a");
    world.told.remove("a");
    world.plan();
    let peer = world.peer("c").unwrap();
    assert_eq!((peer.server_id.as_str(), peer.allotment), ("0101010101010101", 1), "nonces go on elsewhere");
    assert!(world.peer("a").is_none(), "a server ID is of one pod");

    // One that says nothing yet waits: it will bring one along.
    world.join("d");
    world.told.remove("d");
    world.plan();
    assert!(world.peer("d").is_none());
}

#[test]
fn a_pod_set_changes_from_one_form_to_the_other() {
    let mut world = World::with(&["a"]);
    assert_eq!(world.number(wire::Phase::Encoding), Some(1));
    world.join("b");
    world.introduce("b", Some([9; 8]));
    world.seen.get_mut("a").unwrap().is_terminating = true;
    world.settle();
    assert_eq!((world.number(wire::Phase::Encoding), world.number(wire::Phase::Draining)), (Some(0), Some(1)));
    world.seen.remove("a");
    world.told.remove("a");
    world.end("b", 1);
    world.settle();
    assert_eq!(Share::of(&world.kept).keys.configurations.len(), 1);
}
