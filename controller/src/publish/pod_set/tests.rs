//! Pods with headrace-push's own subscriber, and a clock that is turned by hand.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use headrace_push::{Arrival, Member, Report, Subscriber};
use headrace_table::{SectionKind, wire};

use super::*;

const PATIENCE: Patience = Patience { overdue_after: Duration::from_secs(30), stalled_after: Duration::from_secs(120) };

/// A pod set, a pod's side of its stream, and the time.
struct Exchange {
    pod_set: PodSet,
    start: Moment,
    now: Duration,
}

struct Peer {
    stream: SubscriberId,
    subscriber: Subscriber,
}

fn sections(backends: &[&str]) -> Arc<Sections> {
    let backends = backends.iter().map(|id| wire::Backend { id: (*id).to_owned(), ..backend() }).collect();
    Arc::new(Sections::of(&wire::Table { backends, ..wire::Table::default() }, None))
}

fn backend() -> wire::Backend {
    serde_json::from_value(serde_json::json!({"id": "", "protocol": "Http1", "endpoints": []})).unwrap()
}

impl Exchange {
    fn new() -> Self {
        Exchange { pod_set: PodSet::new(7), start: Moment::now(), now: Duration::ZERO }
    }

    fn now(&self) -> Moment {
        Moment { instant: self.start.instant + self.now, timestamp: self.start.timestamp + self.now }
    }

    fn publish(&mut self, generation: u64, backends: &[&str]) {
        self.pod_set.publish(generation, sections(backends), self.now()).unwrap();
    }

    fn open(&mut self, uid: &str, subscriber: Subscriber) -> Peer {
        let (stream, _) = self.pod_set.open(&uid.to_owned(), &format!("pod-{uid}"), self.now());
        let mut subscriber = subscriber;
        subscriber.connected();
        Peer { stream, subscriber }
    }

    /// Carries messages to and fro until both are silent, or a table waits for the pod's decision.
    fn exchange(&mut self, peer: &mut Peer) -> (Vec<Outcome>, Option<Version>) {
        let mut outcomes = Vec::new();
        loop {
            let said = peer.subscriber.poll();
            let is_silent = said.is_none();
            if let Some(said) = said {
                outcomes.push(self.pod_set.receive(peer.stream, said, self.now()).unwrap());
            }
            let now = self.now();
            match self.pod_set.poll(peer.stream, now) {
                Some(outgoing) => match peer.subscriber.receive(outgoing.message).unwrap() {
                    Some(Arrival::Candidate(candidate)) => return (outcomes, Some(candidate.version)),
                    Some(Arrival::Adopted(_)) | None => {}
                },
                None if is_silent => return (outcomes, None),
                None => {}
            }
        }
    }

    /// Takes whatever table there is.
    fn settle(&mut self, peer: &mut Peer) -> Vec<Outcome> {
        let (mut outcomes, candidate) = self.exchange(peer);
        if let Some(version) = candidate {
            peer.subscriber.accept(version, Vec::new());
            outcomes.extend(self.exchange(peer).0);
        }
        outcomes
    }

    fn pod(&self, uid: &str) -> Pod {
        self.pod_set.pods()[uid].clone()
    }

    fn serves(&self, uid: &str) -> Option<u64> {
        self.pod(uid).served.map(|served| served.generation)
    }
}

#[test]
fn an_ack_counts_for_the_newest_generation_with_that_table() {
    let mut exchange = Exchange::new();
    exchange.publish(1, &["a"]);
    let mut peer = exchange.open("u", Subscriber::default());
    let (_, candidate) = exchange.exchange(&mut peer);
    assert_eq!(exchange.serves("u"), None, "sent is not served");
    exchange.publish(2, &["a"]);
    peer.subscriber.accept(candidate.unwrap(), Vec::new());
    exchange.settle(&mut peer);
    assert_eq!(exchange.serves("u"), Some(2), "generation 2 has the table that was on its way");
    exchange.publish(3, &["a"]);
    assert_eq!(exchange.serves("u"), Some(3), "so has 3, and nothing travels");
    exchange.publish(4, &["a", "b"]);
    assert_eq!(exchange.serves("u"), Some(3));
    exchange.settle(&mut peer);
    assert_eq!(exchange.serves("u"), Some(4));
}

#[test]
fn lag_is_from_the_table_or_from_the_pods_coming() {
    let mut exchange = Exchange::new();
    exchange.publish(1, &["a"]);
    exchange.now = Duration::from_secs(3600);
    let mut peer = exchange.open("u", Subscriber::default());
    exchange.now += Duration::from_secs(2);
    exchange.settle(&mut peer);
    assert_eq!(exchange.pod("u").served.unwrap().lag, Duration::from_secs(2));
    exchange.publish(2, &["b"]);
    exchange.now += Duration::from_secs(1);
    let outcomes = exchange.settle(&mut peer);
    assert!(
        outcomes.iter().any(|outcome| matches!(outcome, Outcome::Acked { lag, .. } if *lag == Duration::from_secs(1)))
    );
}

#[test]
fn who_does_not_answer_is_overdue_and_then_stalled() {
    let mut exchange = Exchange::new();
    exchange.publish(1, &["a"]);
    let mut peer = exchange.open("u", Subscriber::default());
    let look = |exchange: &mut Exchange, seconds| {
        exchange.now = Duration::from_secs(seconds);
        let now = exchange.now();
        let (stalled, changed) = exchange.pod_set.look_at_the_clock(PATIENCE, now);
        (exchange.pod("u").overdue, stalled.len(), changed)
    };
    let (_, candidate) = exchange.exchange(&mut peer);
    assert_eq!(look(&mut exchange, 29), (false, 0, false));
    // Newer tables do not set the clock back: the answer is as much out as before.
    exchange.publish(2, &["b"]);
    assert_eq!(look(&mut exchange, 30), (true, 0, true));
    assert_eq!(look(&mut exchange, 119), (true, 0, false));
    assert_eq!(look(&mut exchange, 120), (true, 1, false));
    // Just in time. The table that waited behind this one has a clock of its own.
    peer.subscriber.accept(candidate.unwrap(), Vec::new());
    let (_, candidate) = exchange.exchange(&mut peer);
    assert_eq!(look(&mut exchange, 149), (false, 0, false));
    assert_eq!(look(&mut exchange, 150), (true, 0, true));
    peer.subscriber.accept(candidate.unwrap(), Vec::new());
    exchange.settle(&mut peer);
    assert_eq!((exchange.pod("u").overdue, exchange.pod("u").waiting_since), (false, None));
    assert_eq!(look(&mut exchange, 10_000), (false, 0, false), "there is nothing to answer");
}

#[test]
fn a_table_that_takes_long_to_arrive_is_overdue_and_not_stalled() {
    let mut exchange = Exchange::new();
    // Some parts of 256 KiB.
    let large: Vec<String> = (0..5_000).map(|number| format!("{number}{}", "x".repeat(500))).collect();
    exchange.publish(1, &large.iter().map(String::as_str).collect::<Vec<_>>());
    let mut peer = exchange.open("u", Subscriber::default());
    let now = exchange.now();
    exchange.pod_set.receive(peer.stream, peer.subscriber.poll().unwrap(), now).unwrap();
    let mut messages = 0;
    loop {
        exchange.now += Duration::from_secs(100);
        let now = exchange.now();
        let (stalled, _) = exchange.pod_set.look_at_the_clock(PATIENCE, now);
        assert_eq!((stalled.len(), exchange.pod("u").overdue), (0, true), "after {messages} messages");
        let Some(outgoing) = exchange.pod_set.poll(peer.stream, now) else { break };
        messages += 1;
        drop(outgoing);
    }
    assert!(messages > 4, "{messages}");
    exchange.now += Duration::from_secs(20);
    let now = exchange.now();
    assert_eq!(exchange.pod_set.look_at_the_clock(PATIENCE, now).0.len(), 1, "the answer is out for 120 s by now");
}

#[test]
fn a_rejection_names_entries_and_holds_until_something_is_accepted() {
    let mut exchange = Exchange::new();
    exchange.publish(1, &["good"]);
    let mut peer = exchange.open("u", Subscriber::default());
    exchange.settle(&mut peer);
    exchange.publish(2, &["good", "bad"]);
    let (_, candidate) = exchange.exchange(&mut peer);
    let fault = Fault::of(SectionKind::Backend, "bad", "no such protocol");
    peer.subscriber.reject(candidate.unwrap(), vec![fault.clone(), Fault::of_table("and the rest")]);
    let (outcomes, _) = exchange.exchange(&mut peer);
    let [Outcome::Rejected { refusals }] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    let refusal = Refusal { generation: 2, message: "no such protocol".to_owned(), pod: Some("pod-u".to_owned()) };
    assert_eq!(*refusals, [(SectionId::new(SectionKind::Backend, "bad"), refusal)]);
    assert_eq!(exchange.serves("u"), Some(1), "the last good one is served");
    assert_eq!(exchange.pod("u").rejection.unwrap().generation, 2);
    assert_eq!(exchange.pod("u").waiting_since, None, "an answer was given");

    exchange.publish(3, &["good", "bad"]);
    assert!(exchange.exchange(&mut peer).1.is_none(), "the same table is not tried again");
    exchange.publish(4, &["good", "mended"]);
    exchange.settle(&mut peer);
    assert_eq!((exchange.serves("u"), exchange.pod("u").rejection), (Some(4), None));
}

#[test]
fn faults_are_told_without_a_new_table() {
    let mut exchange = Exchange::new();
    exchange.publish(1, &["a"]);
    let mut peer = exchange.open("u", Subscriber::default());
    exchange.settle(&mut peer);
    let version = exchange.pod_set.current().unwrap();
    let fault = Fault::of(SectionKind::Listener, "shop/web/https", "the port is taken");
    peer.subscriber.accept(version, vec![fault.clone()]);
    let outcomes = exchange.settle(&mut peer);
    assert!(matches!(outcomes.as_slice(), [Outcome::Faults]));
    assert_eq!(exchange.pod("u").faults, [fault]);
    peer.subscriber.accept(version, Vec::new());
    exchange.settle(&mut peer);
    assert_eq!(exchange.pod("u").faults, []);
}

#[test]
fn a_pod_that_comes_again_takes_its_own_place() {
    let mut exchange = Exchange::new();
    exchange.publish(1, &["a"]);
    let mut first = exchange.open("u", Subscriber::default());
    exchange.settle(&mut first);
    let since = exchange.pod("u").since;
    exchange.now = Duration::from_secs(60);

    let old_stream = first.stream;
    let mut second = exchange.open("u", first.subscriber);
    assert_eq!(exchange.pod_set.pods().len(), 1);
    assert_eq!((exchange.pod("u").since, exchange.serves("u")), (since, Some(1)), "it serves what it served");
    exchange.pod_set.close(old_stream);
    assert_eq!(exchange.pod_set.pods().len(), 1, "the old stream's end is not the pod's");
    exchange.settle(&mut second);
    exchange.pod_set.close(second.stream);
    assert_eq!(exchange.pod_set.pods().len(), 0);
}

#[test]
fn an_epoch_can_be_raised_under_open_streams() {
    let mut exchange = Exchange::new();
    exchange.publish(1, &["a"]);
    let mut peer = exchange.open("u", Subscriber::default());
    exchange.settle(&mut peer);
    let now = exchange.now();
    exchange.pod_set.raise(9, now);
    assert!(exchange.pod("u").waiting_since.is_some());
    exchange.settle(&mut peer);
    assert_eq!(exchange.pod("u").served.unwrap().version, exchange.pod_set.current().unwrap());
    assert_eq!(exchange.pod_set.current().unwrap().epoch, 9);

    // A leader that was left behind learns it from the pods.
    let mut behind = Exchange::new();
    behind.publish(1, &["a"]);
    let mut peer = behind.open("u", peer.subscriber);
    let (outcomes, _) = behind.exchange(&mut peer);
    assert!(matches!(outcomes.as_slice(), [Outcome::NewerEpoch { epoch: 9 }]), "{outcomes:?}");
    assert_eq!(behind.pod("u").waiting_since, None, "nothing is sent that would be refused");
    let now = behind.now();
    behind.pod_set.raise(10, now);
    behind.settle(&mut peer);
    assert_eq!(behind.serves("u"), Some(1));
}

#[test]
fn what_a_pod_says_of_its_keys_is_known() {
    let mut exchange = Exchange::new();
    let keys = wire::Keys {
        id: wire::KEYS_ID.to_owned(),
        revision: 9,
        configurations: Vec::new(),
        hop: Vec::new(),
        reset: wire::Secret { id: 0, octets: String::new() },
        tokens: Vec::new(),
        tickets: Vec::new(),
    };
    let table = Arc::new(sections(&["a"]).with_shared(Some(&keys), &[], None));
    exchange.pod_set.publish(1, table, exchange.now()).unwrap();
    let told = |exchange: &Exchange| exchange.pod_set.told().remove("a").unwrap();

    let member = Member { server_id: None, cid_octets: 17, hop_port: Some(9444) };
    let mut subscriber = Subscriber::default();
    subscriber.introduce(member.clone());
    let mut pod = exchange.open("a", subscriber);
    assert_eq!(told(&exchange), Told::default());
    let (outcomes, candidate) = exchange.exchange(&mut pod);
    assert!(matches!(outcomes[..], [Outcome::Reported]), "{outcomes:?}");
    assert_eq!((told(&exchange).member.as_ref(), told(&exchange).holds()), (Some(&member), 0));

    pod.subscriber.accept(candidate.unwrap(), Vec::new());
    exchange.settle(&mut pod);
    assert_eq!((told(&exchange).acknowledged, told(&exchange).holds()), (9, 0), "it has not said that it goes by them");
    for (revision, holds) in [(8, 8), (9, 9), (10, 9)] {
        pod.subscriber.report(Report { revision, uses: 1, ..Report::default() });
        let (outcomes, _) = exchange.exchange(&mut pod);
        assert!(matches!(outcomes[..], [Outcome::Reported]), "{outcomes:?}");
        assert_eq!(told(&exchange).holds(), holds);
    }
}

#[test]
fn a_pod_of_an_older_version_is_known_as_one() {
    let mut exchange = Exchange::new();
    let mut pod = exchange.open("a", Subscriber::default());
    let is_older = |exchange: &Exchange| exchange.pod_set.told()["a"].is_older();
    assert!(!is_older(&exchange), "it has not said anything");
    let (outcomes, _) = exchange.exchange(&mut pod);
    assert!(matches!(outcomes[..], [Outcome::Reported]), "{outcomes:?}");
    assert!(is_older(&exchange));
}
