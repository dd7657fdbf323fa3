//! Whatever a peer sends: nobody panics, nothing grows, and what was served stays as it was.

use bytes::Bytes;
use headrace_push::proto::{self, FromSubscriber, ToSubscriber, from_subscriber as from, to_subscriber as to};
use headrace_push::{Arrival, Held, Publisher, Subscriber, SubscriberId, Version};
use headrace_table::wire;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use crate::pair::{Pair, held, route, routes, sections};

/// Messages in one run.
const MESSAGES: usize = 40;

fn version() -> impl Strategy<Value = Option<proto::Version>> {
    // Few, so that some of them fit.
    let digest = prop_oneof![
        (0..4usize).prop_map(|count| sections(&routes(0..count, 200)).digest().as_octets().to_vec()),
        vec(any::<u8>(), 0..40),
    ];
    let version = (0..4u64, 0..4u64, digest).prop_map(|(epoch, generation, digest)| proto::Version {
        epoch,
        generation,
        digest: digest.into(),
    });
    proptest::option::weighted(0.9, version)
}

fn section() -> impl Strategy<Value = Option<proto::SectionId>> {
    let id = prop_oneof![(0..4usize).prop_map(|number| format!("HTTPRoute/ns/{number:05}")), ".{0,3}"];
    proptest::option::weighted(0.95, (1..6i32, id).prop_map(|(kind, id)| proto::SectionId { kind, id }))
}

fn octets() -> impl Strategy<Value = Bytes> {
    let json = |number| serde_json::to_vec(&route(format_args!("{number:05}"), 200)).unwrap();
    prop_oneof![(0..4usize).prop_map(json), vec(any::<u8>(), 0..40)].prop_map(Bytes::from)
}

fn to_subscriber() -> impl Strategy<Value = ToSubscriber> {
    let fragment = (section(), octets(), proptest::bool::weighted(0.2))
        .prop_map(|(section, octets, continues)| proto::Fragment { section, octets, continues });
    let removed = section().prop_filter_map("a name", |section| section);
    let base = (0..4usize).prop_map(|count| sections(&routes(0..count, 200)).digest().as_octets().to_vec());
    let message = prop_oneof![
        1 => Just(to::Message::InventoryRequest(proto::InventoryRequest {})),
        4 => (version(), base).prop_map(|(version, base)| {
            to::Message::Begin(proto::Begin { version, base: base.into() })
        }),
        4 => (vec(fragment, 0..3), vec(removed, 0..2))
            .prop_map(|(changed, removed)| to::Message::Part(proto::Part { changed, removed })),
        3 => version().prop_map(|version| to::Message::Commit(proto::Commit { version })),
        2 => version().prop_map(|version| to::Message::Adopt(proto::Adopt { version })),
    ];
    proptest::option::weighted(0.98, message).prop_map(|message| ToSubscriber { message })
}

fn from_subscriber() -> impl Strategy<Value = FromSubscriber> {
    let entry = (section(), octets())
        .prop_map(|(section, octets)| proto::InventoryEntry { section, digest: octets.slice(..octets.len().min(32)) });
    let fault = || vec((section(), ".{0,9}").prop_map(|(section, reason)| proto::Fault { section, reason }), 0..3);
    let message = prop_oneof![
        version().prop_map(|held| from::Message::Hello(proto::Hello { held, member: None })),
        (vec(entry, 0..4), any::<bool>())
            .prop_map(|(entries, continues)| from::Message::Inventory(proto::Inventory { entries, continues })),
        (version(), fault()).prop_map(|(version, faults)| from::Message::Accepted(proto::Accepted { version, faults })),
        (version(), fault()).prop_map(|(version, faults)| from::Message::Rejected(proto::Rejected { version, faults })),
    ];
    proptest::option::weighted(0.98, message).prop_map(|message| FromSubscriber { message })
}

/// Says everything there is to say, which must come to an end.
fn drain(subscriber: &mut Subscriber) {
    let said = std::iter::from_fn(|| subscriber.poll()).take(10).count();
    assert!(said < 10, "a small table is told in few messages");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn a_subscriber_survives_any_messages(messages in vec(to_subscriber(), 0..MESSAGES)) {
        let mut subscriber = Subscriber::new(Some(held((1, 1), &routes(0..2, 200))));
        subscriber.connected();
        for message in messages {
            drain(&mut subscriber);
            let before = subscriber.held().unwrap().version;
            let outcome = subscriber.receive(message);
            let after = subscriber.held().unwrap();
            prop_assert!(after.version.order() >= before.order());
            prop_assert_eq!(after.version.digest, after.sections.digest());
            match outcome {
                Ok(Some(Arrival::Candidate(candidate))) => {
                    prop_assert_eq!(candidate.version.digest, candidate.sections.digest());
                    prop_assert!(candidate.version.order() >= before.order());
                    match candidate.sections.table() {
                        Ok(_) => subscriber.accept(candidate.version, Vec::new()),
                        Err(_) => subscriber.reject(candidate.version, Vec::new()),
                    }
                }
                Ok(_) => {}
                Err(violation) => {
                    prop_assert_eq!(after.version, before);
                    prop_assert!(violation.to_string().len() < 2_000);
                    subscriber.connected();
                }
            }
        }
    }

    #[test]
    fn a_publisher_survives_any_messages(messages in vec(from_subscriber(), 0..MESSAGES)) {
        let mut publisher = Publisher::new(2);
        let id = SubscriberId(1);
        publisher.open(id);
        for (index, message) in messages.into_iter().enumerate() {
            if index % 3 == 0 {
                publisher.publish(sections(&routes(0..index % 4, 200))).unwrap();
            }
            if publisher.receive(id, message).is_err() {
                publisher.open(id);
            }
            prop_assert!(std::iter::from_fn(|| publisher.poll(id)).take(10).count() < 10);
            prop_assert!(publisher.retained() <= 3);
            prop_assert!(publisher.subscriber(id).unwrap().listed <= 4 * MESSAGES);
        }
    }

    #[test]
    fn any_octets_are_a_message_or_none(octets in vec(any::<u8>(), 0..200)) {
        let mut subscriber = Subscriber::new(None);
        subscriber.connected();
        drain(&mut subscriber);
        if let Ok(message) = ToSubscriber::decode(octets.as_slice()) {
            let _ = subscriber.receive(message);
        }
        let mut publisher = Publisher::new(1);
        publisher.open(SubscriberId(1));
        if let Ok(message) = FromSubscriber::decode(octets.as_slice()) {
            let _ = publisher.receive(SubscriberId(1), message);
        }
        let _ = Held::decode(&octets);
    }

    #[test]
    fn any_table_follows_any_other(
        steps in vec((vec((0..12usize, 200..204u16), 0..12), any::<bool>()), 1..8),
    ) {
        let mut pair = Pair::new(1, None);
        let mut last: Option<(wire::Table, Version)> = None;
        for (entries, reconnects) in steps {
            let mut routes: Vec<_> =
                entries.into_iter().map(|(number, status)| route(format_args!("{number:05}"), status)).collect();
            routes.sort_by(|a, b| a.id.cmp(&b.id));
            routes.dedup_by(|a, b| a.id == b.id);
            let table = wire::Table { routes, ..wire::Table::default() };
            let version = pair.publish(&table);
            if reconnects {
                pair.connect();
            }
            pair.settle();
            pair.assert_serves(&table, version);
            last = Some((table, version));
        }
        let (table, version) = last.unwrap();
        let kept = Held::decode(&pair.subscriber.held().unwrap().encode()).unwrap();
        prop_assert_eq!((kept.version, kept.sections.table().unwrap()), (version, table));
    }
}
