//! A publisher and a subscriber with nothing between them, and tables to send.

use std::sync::Arc;

use headrace_push::proto::{FromSubscriber, ToSubscriber, from_subscriber, to_subscriber};
use headrace_push::{Arrival, Candidate, Event, Held, Publisher, Sections, Subscriber, SubscriberId, Version};
use headrace_table::wire;
use prost::Message;

pub(crate) fn route(name: impl std::fmt::Display, status: u16) -> wire::Route {
    let rule = wire::Rule {
        name: None,
        matches: vec![wire::Match {
            path: wire::PathMatch::Prefix("/".to_owned()),
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
            opens: wire::Opens::Any,
            subprotocols: Vec::new(),
        }],
        request_headers: wire::HeaderChanges::default(),
        response_headers: wire::HeaderChanges::default(),
        action: wire::Action::Respond(status),
    };
    wire::Route { id: format!("HTTPRoute/ns/{name}"), created: 0, attachments: Vec::new(), rules: vec![rule] }
}

pub(crate) fn certificate(name: &str, octets: usize) -> wire::Certificate {
    wire::Certificate { id: format!("ns/{name}"), chain: "c".repeat(octets), key: "secret".to_owned() }
}

/// Routes with these numbers, each of which answers with the status.
pub(crate) fn routes(numbers: impl IntoIterator<Item = usize>, status: u16) -> wire::Table {
    let routes = numbers.into_iter().map(|number| route(format_args!("{number:05}"), status)).collect();
    wire::Table { routes, ..wire::Table::default() }
}

pub(crate) fn sections(table: &wire::Table) -> Arc<Sections> {
    Arc::new(Sections::of(table, None))
}

/// What a pod would hold that accepted the table as a version of that order.
pub(crate) fn held((epoch, generation): (u64, u64), table: &wire::Table) -> Held {
    let sections = sections(table);
    Held { version: Version { epoch, generation, digest: sections.digest() }, sections }
}

pub(crate) fn name_to(message: &ToSubscriber) -> &'static str {
    match message.message.as_ref().unwrap() {
        to_subscriber::Message::InventoryRequest(_) => "InventoryRequest",
        to_subscriber::Message::Begin(_) => "Begin",
        to_subscriber::Message::Part(_) => "Part",
        to_subscriber::Message::Commit(_) => "Commit",
        to_subscriber::Message::Adopt(_) => "Adopt",
    }
}

pub(crate) fn name_from(message: &FromSubscriber) -> &'static str {
    match message.message.as_ref().unwrap() {
        from_subscriber::Message::Hello(_) => "Hello",
        from_subscriber::Message::Inventory(_) => "Inventory",
        from_subscriber::Message::Accepted(_) => "Accepted",
        from_subscriber::Message::Rejected(_) => "Rejected",
        from_subscriber::Message::Report(_) => "Report",
    }
}

/// Both sides of a stream.
pub(crate) struct Pair {
    pub(crate) publisher: Publisher,
    pub(crate) subscriber: Subscriber,
    pub(crate) id: SubscriberId,
    /// What was said, by name, since it was last taken.
    pub(crate) said: Vec<&'static str>,
    pub(crate) events: Vec<Event>,
    /// Octets to the subscriber and to the publisher.
    pub(crate) octets: (usize, usize),
}

impl Pair {
    pub(crate) fn new(epoch: u64, held: Option<Held>) -> Self {
        let mut pair = Pair {
            publisher: Publisher::new(epoch),
            subscriber: Subscriber::new(held),
            id: SubscriberId(0),
            said: Vec::new(),
            events: Vec::new(),
            octets: (0, 0),
        };
        pair.connect();
        pair
    }

    /// A new stream, in place of what was there.
    pub(crate) fn connect(&mut self) {
        self.publisher.close(self.id);
        self.id = SubscriberId(self.id.0 + 1);
        self.publisher.open(self.id);
        self.subscriber.connected();
    }

    pub(crate) fn publish(&mut self, table: &wire::Table) -> Version {
        self.publisher.publish(sections(table)).unwrap()
    }

    /// What the subscriber has to say is said.
    pub(crate) fn answer(&mut self) {
        while let Some(message) = self.subscriber.poll() {
            self.said.push(name_from(&message));
            self.octets.1 += message.encoded_len();
            self.events.extend(self.publisher.receive(self.id, message).unwrap());
        }
    }

    /// One message of the publisher arrives, after all that the subscriber had to say.
    pub(crate) fn step(&mut self) -> Option<Option<Arrival>> {
        self.answer();
        let message = self.publisher.poll(self.id)?;
        self.said.push(name_to(&message));
        self.octets.0 += message.encoded_len();
        Some(self.subscriber.receive(message).unwrap())
    }

    /// Until a candidate is there, or nobody has anything to say.
    pub(crate) fn candidate(&mut self) -> Option<Candidate> {
        loop {
            if let Some(Arrival::Candidate(candidate)) = self.step()? {
                return Some(candidate);
            }
        }
    }

    /// Until nobody has anything to say. Candidates are accepted.
    pub(crate) fn settle(&mut self) -> Vec<&'static str> {
        while let Some(candidate) = self.candidate() {
            self.subscriber.accept(candidate.version, Vec::new());
        }
        std::mem::take(&mut self.said)
    }

    pub(crate) fn assert_serves(&self, table: &wire::Table, version: Version) {
        let held = self.subscriber.held().unwrap();
        assert_eq!(held.version, version);
        assert_eq!(held.sections.table().unwrap(), *table);
        assert_eq!(self.publisher.subscriber(self.id).unwrap().held, Some(version));
    }
}
