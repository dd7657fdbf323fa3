//! What a pod says of its QUIC connections: with its greeting, and at any time after that.

use headrace_push::proto::{self, FromSubscriber, from_subscriber as from};
use headrace_push::{Connections, Event, Member, Publisher, Report, SubscriberId, Violation};

use crate::pair::{Pair, routes};

fn report(revision: u64, uses: u8) -> Report {
    Report { revision, uses, connections: Connections { handshaking: 1, open: 2, closing: 3 } }
}

fn member() -> Member {
    Member { server_id: Some(vec![1, 2, 3]), cid_octets: 16, hop_port: Some(9444) }
}

#[test]
fn who_a_pod_is_comes_with_its_greeting() {
    for told in [None, Some(Member::default()), Some(member())] {
        let mut pair = Pair::new(1, None);
        if let Some(member) = told.clone() {
            pair.subscriber.introduce(member);
        }
        pair.connect();
        assert_eq!(pair.publisher.member(pair.id), None, "nothing was said yet");
        pair.answer();
        assert_eq!(pair.publisher.member(pair.id), told.as_ref());
    }
}

#[test]
fn a_report_is_told_when_it_is_news_and_anew_on_every_stream() {
    let mut pair = Pair::new(1, None);
    pair.subscriber.report(report(0, 0));
    pair.answer();
    assert_eq!(std::mem::take(&mut pair.said), ["Hello", "Report"]);
    assert_eq!(std::mem::take(&mut pair.events), [Event::Reported(report(0, 0))]);

    pair.subscriber.report(report(0, 0));
    pair.answer();
    assert!(pair.said.is_empty(), "it is no news");
    pair.subscriber.report(report(1, 0));
    pair.subscriber.report(report(1, 0b101));
    pair.answer();
    assert_eq!(std::mem::take(&mut pair.events), [Event::Reported(report(1, 0b101))], "the last one counts");

    pair.connect();
    pair.answer();
    assert_eq!(std::mem::take(&mut pair.events), [Event::Reported(report(1, 0b101))]);
}

#[test]
fn a_report_holds_up_no_table() {
    let mut pair = Pair::new(1, None);
    let version = pair.publish(&routes(0..3, 200));
    let candidate = pair.candidate().unwrap();
    // While the pod makes up its mind.
    pair.subscriber.report(report(1, 1));
    pair.answer();
    assert_eq!(std::mem::take(&mut pair.events), [Event::Reported(report(1, 1))]);
    pair.subscriber.report(report(2, 1));
    pair.subscriber.accept(candidate.version, Vec::new());
    pair.answer();
    let accepted = Event::Accepted { version, faults: Vec::new() };
    assert_eq!(pair.events, [accepted, Event::Reported(report(2, 1))], "answers go first");
    pair.assert_serves(&routes(0..3, 200), version);
}

#[test]
fn what_no_pod_says() {
    let hello = |member| from::Message::Hello(proto::Hello { held: None, member: Some(member) });
    let good = proto::Member::from(&member());
    let out_of_range = |field, value| Violation::OutOfRange { field, value };
    let cases = [
        (from::Message::Report(report(1, 1).into()), Violation::Unexpected { message: "Report" }),
        (hello(proto::Member { server_id: vec![0; 16].into(), ..good.clone() }), out_of_range("server_id", 16)),
        (hello(proto::Member { cid_octets: 21, ..good.clone() }), out_of_range("cid_octets", 21)),
        (hello(proto::Member { hop_port: 65536, ..good.clone() }), out_of_range("hop_port", 65536)),
    ];
    for (message, violation) in cases {
        let mut publisher = Publisher::new(1);
        publisher.open(SubscriberId(1));
        let received = publisher.receive(SubscriberId(1), FromSubscriber { message: Some(message) });
        assert_eq!(received, Err(violation));
    }
    let strange = proto::Report { revision: 1, uses: 0xffff_ff81, connections: None };
    assert_eq!(Report::from(strange), Report { revision: 1, uses: 1, connections: Connections::default() });
}
