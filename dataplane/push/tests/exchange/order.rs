//! Versions never go back, and who finds out says so.

use headrace_push::proto::{self, ToSubscriber, to_subscriber};
use headrace_push::{Event, Publisher, Subscriber, SubscriberId, Version, Violation};

use crate::pair::{Pair, held, routes, sections};

#[test]
fn a_subscriber_refuses_what_is_older_or_named_like_another() {
    let table = routes(0..3, 200);
    let (same, other) = (sections(&table).digest(), sections(&routes(0..4, 200)).digest());
    let held = held((5, 5), &table);
    let version = |epoch, generation, digest| Version { epoch, generation, digest };
    let backwards = |offered| Some(Violation::Backwards { held: held.version, offered });
    let conflict = |offered| Some(Violation::Conflict { held: held.version, offered });
    let adopts_other = |offered| Some(Violation::AdoptsOther { offered });
    let cases: &[(Version, Option<Violation>, Option<Violation>)] = &[
        (version(5, 4, other), backwards(version(5, 4, other)), backwards(version(5, 4, other))),
        (version(4, 9, same), backwards(version(4, 9, same)), backwards(version(4, 9, same))),
        (version(5, 5, other), conflict(version(5, 5, other)), conflict(version(5, 5, other))),
        (version(5, 5, same), None, None),
        (version(5, 6, other), None, adopts_other(version(5, 6, other))),
        (version(6, 1, other), None, adopts_other(version(6, 1, other))),
        (version(6, 1, same), None, None),
    ];
    for (offered, begun, adopted) in cases {
        let base = same.as_octets().to_vec().into();
        let begin = to_subscriber::Message::Begin(proto::Begin { version: Some((*offered).into()), base });
        let adopt = to_subscriber::Message::Adopt(proto::Adopt { version: Some((*offered).into()) });
        for (message, violation) in [(begin, begun), (adopt, adopted)] {
            let mut subscriber = Subscriber::new(Some(held.clone()));
            subscriber.connected();
            subscriber.poll().unwrap();
            let outcome = subscriber.receive(ToSubscriber { message: Some(message) });
            assert_eq!(outcome.err(), *violation, "{offered}");
        }
    }
    assert_eq!(
        Violation::Backwards { held: held.version, offered: version(4, 9, same) }.to_string(),
        format!("version 4.9-{same} is older than 5.5-{same}, which is held"),
    );
}

#[test]
fn a_publisher_tells_of_what_it_did_not_publish() {
    let (table, other) = (routes(0..3, 200), routes(0..4, 200));
    let cases: &[(&str, (u64, u64), &_, Option<u64>)] = &[
        ("an earlier epoch", (4, 9), &table, None),
        ("a generation of its own", (5, 1), &other, None),
        ("its own version", (5, 2), &table, None),
        ("its own generation, and another table", (5, 2), &other, Some(5)),
        ("a generation that it has not come to", (5, 3), &table, Some(5)),
        ("a later epoch", (6, 1), &table, Some(6)),
    ];
    for (case, order, holds, epoch) in cases {
        let mut pair = Pair::new(5, Some(held(*order, holds)));
        pair.publish(&other);
        let version = pair.publish(&table);
        let said = pair.settle();
        let Some(epoch) = epoch else {
            assert_eq!(pair.subscriber.held().unwrap().version, version, "{case}");
            continue;
        };
        assert_eq!(pair.events, [Event::NewerEpoch { epoch: *epoch }], "{case}");
        assert_eq!(said, ["Hello"], "{case}: nothing is sent that would be refused");
        assert_eq!(pair.publisher.subscriber(pair.id).unwrap().pending, None);
        // The caller leads all the same, and says so.
        let raised = pair.publisher.raise(epoch + 1).unwrap();
        assert_eq!((raised.epoch, raised.digest), (epoch + 1, version.digest), "{case}");
        pair.settle();
        pair.assert_serves(&table, raised);
    }
}

#[test]
fn an_epoch_is_only_ever_raised() {
    let mut publisher = Publisher::new(5);
    assert_eq!(publisher.raise(7), None, "there is nothing to publish again");
    let first = publisher.publish(sections(&routes(0..3, 200))).unwrap();
    assert_eq!((first.epoch, publisher.epoch()), (7, 7));
    assert_eq!(publisher.raise(7), Some(first));
    assert_eq!(publisher.raise(6), Some(first));
}

#[test]
fn the_same_table_again_is_the_same_version_and_another_is_a_later_one() {
    let mut publisher = Publisher::new(1);
    let first = publisher.publish(sections(&routes(0..3, 200))).unwrap();
    assert_eq!(publisher.publish(sections(&routes(0..3, 200))).unwrap(), first);
    let second = publisher.publish(sections(&routes(0..4, 200))).unwrap();
    let third = publisher.publish(sections(&routes(0..3, 200))).unwrap();
    assert!(first.order() < second.order() && second.order() < third.order());
    assert_eq!(first.digest, third.digest);
    assert_eq!(publisher.poll(SubscriberId(1)), None);
}
