//! Messages that nobody may send, one by one.

use bytes::Bytes;
use headrace_push::limits::{MAX_FAULTS, MAX_ID_OCTETS, MAX_PART_OCTETS, MAX_REASON_OCTETS};
use headrace_push::proto::{self, FromSubscriber, ToSubscriber, from_subscriber as from, to_subscriber as to};
use headrace_push::{Publisher, Sections, Subscriber, SubscriberId, Version, Violation};
use headrace_table::{SectionId, SectionKind};

use crate::pair::{Pair, held, routes, sections};

fn id(name: &str) -> proto::SectionId {
    proto::SectionId { kind: proto::SectionKind::Route.into(), id: name.to_owned() }
}

fn section(name: &str) -> SectionId {
    SectionId::new(SectionKind::Route, name)
}

fn fragment(name: &str, octets: &'static [u8], continues: bool) -> proto::Fragment {
    proto::Fragment { section: Some(id(name)), octets: Bytes::from_static(octets), continues }
}

fn part(changed: Vec<proto::Fragment>, removed: &[&str]) -> to::Message {
    to::Message::Part(proto::Part { changed, removed: removed.iter().map(|name| id(name)).collect() })
}

fn version() -> Version {
    Version { epoch: 9, generation: 1, digest: sections(&routes(0..4, 200)).digest() }
}

fn begin() -> to::Message {
    let base = sections(&routes(0..3, 200)).digest().as_octets().to_vec().into();
    to::Message::Begin(proto::Begin { version: Some(version().into()), base })
}

fn commit() -> to::Message {
    to::Message::Commit(proto::Commit { version: Some(version().into()) })
}

/// A subscriber that holds three routes and said Hello.
fn subscriber() -> Subscriber {
    let mut subscriber = Subscriber::new(Some(held((5, 5), &routes(0..3, 200))));
    subscriber.connected();
    subscriber.poll().unwrap();
    subscriber
}

fn unexpected(message: &'static str) -> Violation {
    Violation::Unexpected { message }
}

#[test]
fn a_subscriber_takes_nothing_out_of_turn_and_nothing_that_does_not_add_up() {
    let other = Version { generation: 2, ..version() };
    let base = sections(&routes(0..9, 200)).digest();
    let empty = Sections::default().digest();
    let long = "x".repeat(MAX_ID_OCTETS + 1);
    let large = fragment("a", &[b' '; MAX_PART_OCTETS], true);
    let nameless = proto::Fragment { section: None, ..fragment("a", b"", false) };
    let unknown = proto::SectionId { kind: 77, id: "a".to_owned() };
    let kind = proto::Fragment { section: Some(unknown), ..fragment("a", b"", false) };
    let inventory = || to::Message::InventoryRequest(proto::InventoryRequest {});
    let adopt = || to::Message::Adopt(proto::Adopt { version: Some(version().into()) });
    let begin_of = |version: Option<Version>, base: &[u8]| {
        to::Message::Begin(proto::Begin { version: version.map(Into::into), base: base.to_vec().into() })
    };
    let cases: Vec<(&str, Vec<to::Message>, Violation)> = vec![
        ("a part of nothing", vec![part(vec![], &[])], unexpected("Part")),
        ("an end of nothing", vec![commit()], unexpected("Commit")),
        ("a begin in a begin", vec![begin(), begin()], unexpected("Begin")),
        ("an adoption in between", vec![begin(), adopt()], unexpected("Adopt")),
        ("a question in between", vec![begin(), inventory()], unexpected("InventoryRequest")),
        ("two questions", vec![inventory(), inventory()], unexpected("InventoryRequest")),
        ("a begin before the list is told", vec![inventory(), begin()], unexpected("Begin")),
        ("no version", vec![begin_of(None, empty.as_octets())], Violation::Missing { field: "version" }),
        ("no digest", vec![begin_of(Some(version()), b"")], Violation::DigestLength { octets: 0 }),
        (
            "another base",
            vec![begin_of(Some(version()), base.as_octets())],
            Violation::UnknownBase { offered: version(), base },
        ),
        ("twice", vec![begin(), part(vec![fragment("a", b"1", false), fragment("a", b"2", false)], &[])], {
            Violation::Repeated { section: section("a") }
        }),
        (
            "twice, over two parts",
            vec![begin(), part(vec![fragment("a", b"1", false)], &[]), part(vec![fragment("a", b"1", false)], &[])],
            Violation::Repeated { section: section("a") },
        ),
        (
            "removed and changed",
            vec![begin(), part(vec![fragment("HTTPRoute/ns/00001", b"1", false)], &["HTTPRoute/ns/00001"])],
            Violation::Repeated { section: section("HTTPRoute/ns/00001") },
        ),
        ("removed, and not there", vec![begin(), part(vec![], &["a"])], {
            Violation::RemovesUnknown { section: section("a") }
        }),
        (
            "half a section, then another",
            vec![begin(), part(vec![fragment("a", b"1", true), fragment("b", b"2", false)], &[])],
            Violation::Interrupted { section: section("a") },
        ),
        (
            "half a section, then a removal",
            vec![begin(), part(vec![fragment("a", b"1", true)], &["HTTPRoute/ns/00001"])],
            Violation::Interrupted { section: section("a") },
        ),
        (
            "half a section, then the end",
            vec![begin(), part(vec![fragment("a", b"1", true)], &[]), commit()],
            Violation::Interrupted { section: section("a") },
        ),
        ("a section that never gets on", vec![begin(), part(vec![fragment("a", b"", true)], &[])], {
            Violation::Missing { field: "octets" }
        }),
        ("no name", vec![begin(), part(vec![nameless], &[])], Violation::Missing { field: "section" }),
        ("no id", vec![begin(), part(vec![], &[""])], Violation::IdLength { octets: 0 }),
        ("a long id", vec![begin(), part(vec![], &[&long])], Violation::IdLength { octets: MAX_ID_OCTETS + 1 }),
        ("a kind of tomorrow", vec![begin(), part(vec![kind], &[])], Violation::UnknownKind { kind: 77 }),
        (
            "another end",
            vec![begin(), to::Message::Commit(proto::Commit { version: Some(other.into()) })],
            Violation::OtherCommit { begun: version(), committed: other },
        ),
        (
            "not all that was named",
            vec![begin(), commit()],
            Violation::DigestMismatch { version: version(), found: sections(&routes(0..3, 200)).digest() },
        ),
        ("a part beyond its bound", vec![begin(), part(vec![large], &[])], {
            Violation::PartTooLarge { octets: MAX_PART_OCTETS + 17 }
        }),
    ];
    for (case, messages, violation) in cases {
        let mut subscriber = subscriber();
        let count = messages.len();
        for (index, message) in messages.into_iter().enumerate() {
            let outcome = subscriber.receive(ToSubscriber { message: Some(message) });
            match index + 1 == count {
                true => assert_eq!(outcome.unwrap_err(), violation, "{case}"),
                false => assert!(outcome.unwrap().is_none(), "{case}"),
            }
        }
    }
}

#[test]
fn a_subscriber_without_a_stream_is_told_nothing() {
    let mut subscriber = Subscriber::new(None);
    for _ in 0..2 {
        let outcome = subscriber.receive(ToSubscriber { message: Some(begin()) });
        assert_eq!(outcome.unwrap_err(), unexpected("Begin"));
        subscriber.connected();
    }
    assert_eq!(subscriber.receive(ToSubscriber { message: None }).unwrap_err(), Violation::UnknownMessage);
}

#[test]
fn a_pod_that_holds_nothing_has_no_inventory() {
    let mut subscriber = Subscriber::new(None);
    subscriber.connected();
    subscriber.poll().unwrap();
    let message = Some(to::Message::InventoryRequest(proto::InventoryRequest {}));
    assert_eq!(subscriber.receive(ToSubscriber { message }).unwrap_err(), unexpected("InventoryRequest"));
}

fn entry(name: &str, digest: &'static [u8]) -> proto::InventoryEntry {
    proto::InventoryEntry { section: Some(id(name)), digest: Bytes::from_static(digest) }
}

fn list(entries: Vec<proto::InventoryEntry>, continues: bool) -> from::Message {
    from::Message::Inventory(proto::Inventory { entries, continues })
}

fn hello(version: Option<Version>) -> from::Message {
    from::Message::Hello(proto::Hello { held: version.map(Into::into), member: None })
}

#[test]
fn a_publisher_takes_nothing_out_of_turn_and_nothing_beyond_a_bound() {
    const DIGEST: &[u8] = &[7; 32];
    let held = Version { epoch: 1, ..version() };
    let accepted =
        |version: Version, faults| from::Message::Accepted(proto::Accepted { version: Some(version.into()), faults });
    let rejected =
        |version: Version| from::Message::Rejected(proto::Rejected { version: Some(version.into()), faults: vec![] });
    let fault = |octets| proto::Fault { section: None, reason: "x".repeat(octets) };
    let short = proto::Version { epoch: 1, generation: 1, digest: Bytes::from_static(b"short") };
    let cases: Vec<(&str, Vec<from::Message>, Violation)> = vec![
        ("two greetings", vec![hello(None), hello(None)], unexpected("Hello")),
        ("a list before the greeting", vec![list(vec![], false)], unexpected("Inventory")),
        ("a list of nothing", vec![hello(None), list(vec![], false)], unexpected("Inventory")),
        ("a short digest", vec![from::Message::Hello(proto::Hello { held: Some(short), member: None })], {
            Violation::DigestLength { octets: 5 }
        }),
        ("an answer to nothing", vec![hello(None), accepted(version(), vec![])], {
            Violation::NotSent { version: version() }
        }),
        ("a rejection of nothing", vec![hello(None), rejected(version())], Violation::NotSent { version: version() }),
        ("a rejection of what is held", vec![hello(Some(held)), rejected(held)], Violation::NotSent { version: held }),
        ("a list that never gets on", vec![hello(Some(held)), list(vec![], true)], {
            Violation::Missing { field: "entries" }
        }),
        ("a list out of order", vec![hello(Some(held)), list(vec![entry("b", DIGEST), entry("a", DIGEST)], false)], {
            Violation::InventoryOrder { section: section("a") }
        }),
        (
            "a list with one twice",
            vec![hello(Some(held)), list(vec![entry("a", DIGEST)], true), list(vec![entry("a", DIGEST)], false)],
            Violation::InventoryOrder { section: section("a") },
        ),
        ("a list of another table", vec![hello(Some(held)), list(vec![], false)], {
            Violation::InventoryDigest { held, found: Sections::default().digest() }
        }),
        ("a list with a short digest", vec![hello(Some(held)), list(vec![entry("a", b"short")], false)], {
            Violation::DigestLength { octets: 5 }
        }),
        ("too many faults", vec![hello(Some(held)), accepted(held, vec![fault(0); MAX_FAULTS + 1])], {
            Violation::TooManyFaults { count: MAX_FAULTS + 1 }
        }),
        ("a long reason", vec![hello(Some(held)), accepted(held, vec![fault(MAX_REASON_OCTETS + 1)])], {
            Violation::ReasonLength { octets: MAX_REASON_OCTETS + 1 }
        }),
    ];
    for (case, messages, violation) in cases {
        let subscriber = SubscriberId(1);
        let mut publisher = Publisher::new(9);
        publisher.publish(sections(&routes(0..3, 200))).unwrap();
        publisher.open(subscriber);
        let count = messages.len();
        for (index, message) in messages.into_iter().enumerate() {
            let outcome = publisher.receive(subscriber, FromSubscriber { message: Some(message) });
            match index + 1 == count {
                true => assert_eq!(outcome.unwrap_err(), violation, "{case}"),
                false => assert_eq!(outcome.unwrap(), None, "{case}"),
            }
            // So that a list is asked for.
            if case.contains("list") {
                publisher.poll(subscriber);
            }
        }
    }
}

#[test]
fn an_answer_before_the_end_is_to_nothing() {
    let mut pair = Pair::new(1, None);
    let version = pair.publish(&routes(0..3, 200));
    pair.step();
    let message = Some(from::Message::Accepted(proto::Accepted { version: Some(version.into()), faults: vec![] }));
    let outcome = pair.publisher.receive(pair.id, FromSubscriber { message });
    assert_eq!(outcome.unwrap_err(), Violation::NotSent { version });
}

#[test]
fn who_is_not_open_is_not_heard() {
    let mut publisher = Publisher::new(1);
    let message = || FromSubscriber { message: Some(hello(None)) };
    assert_eq!(publisher.receive(SubscriberId(1), message()), Err(Violation::NotOpen));
    publisher.open(SubscriberId(1));
    assert_eq!(publisher.receive(SubscriberId(1), FromSubscriber { message: None }), Err(Violation::UnknownMessage));
    publisher.close(SubscriberId(1));
    assert_eq!(publisher.receive(SubscriberId(1), message()), Err(Violation::NotOpen));
    assert!(publisher.poll(SubscriberId(1)).is_none());
}
