//! The side that publishes: which table is current, and what each subscriber has yet to get.
//!
//! Owns one state for each open stream. It must not know how messages travel, who may subscribe, or what time it is: the
//! caller decides when a subscriber took too long, and closes it.

mod delta;
mod inventory;
mod subscription;
mod transfer;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prost::Message;

use crate::digest::Digest;
use crate::fault::Fault;
use crate::limits::{MAX_ID_OCTETS, MAX_SECTION_OCTETS, MAX_SECTIONS, MAX_TABLE_OCTETS};
use crate::proto::{self, FromSubscriber, ToSubscriber};
use crate::report::{Member, Report};
use crate::sections::Sections;
use crate::version::Version;
use crate::violation::{Unpublishable, Violation};
use subscription::Subscription;

/// One stream of a subscriber. A pod that connects again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId(pub u64);

impl fmt::Display for SubscriberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "subscriber {}", self.0)
    }
}

/// What a subscriber let us know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It serves the version. Comes again for the same version when its faults change, and the last one counts.
    Accepted {
        /// The version, which may be one of an earlier leader.
        version: Version,
        /// What it cannot serve of it.
        faults: Vec<Fault>,
    },
    /// It does not serve the version, and serves on what it served before. It is not sent the version again.
    Rejected {
        /// The version.
        version: Version,
        /// Why.
        faults: Vec<Fault>,
    },
    /// It holds a version that this publisher has not come to yet, so that somebody else published. It is sent nothing
    /// until the current version is a later one: whoever does lead takes an epoch above this one.
    NewerEpoch {
        /// The epoch of what it holds. Equal to the publisher's own if two had the same.
        epoch: u64,
    },
    /// What its QUIC connections use, from now on.
    Reported(Report),
}

/// Where a subscriber stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriberState {
    /// What it serves, by its own word.
    pub held: Option<Version>,
    /// What is on its way to it, up to its answer.
    pub in_flight: Option<Version>,
    /// What it is sent after that: never more than one, the newest.
    pub pending: Option<Version>,
    /// What it rejected last, while nothing newer was published.
    pub rejected: Option<Version>,
    /// Octets of all messages to it, as they are encoded.
    pub octets_sent: u64,
    /// Entries of its inventory that are kept for it, until it accepts its first version.
    pub listed: usize,
}

/// The current table and everybody that is to have it.
#[derive(Debug)]
pub struct Publisher {
    epoch: u64,
    generation: u64,
    current: Option<(Version, Arc<Sections>)>,
    subscribers: BTreeMap<SubscriberId, Subscription>,
}

impl Publisher {
    /// A publisher of that epoch, with nothing published yet.
    pub fn new(epoch: u64) -> Self {
        Publisher { epoch, generation: 0, current: None, subscribers: BTreeMap::new() }
    }

    /// The epoch of what is published next.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Makes a table the current one. If it has the digest of the current one, that one's version stays.
    pub fn publish(&mut self, sections: Arc<Sections>) -> Result<Version, Unpublishable> {
        if let Some((version, _)) = &self.current
            && version.digest == sections.digest()
        {
            return Ok(*version);
        }
        check(&sections)?;
        Ok(self.advance(sections))
    }

    /// Goes on under a higher epoch: the current table, if any, becomes a version of that epoch. An epoch that is not
    /// higher changes nothing. Returns the current version.
    pub fn raise(&mut self, epoch: u64) -> Option<Version> {
        if epoch > self.epoch {
            self.epoch = epoch;
            if let Some((_, sections)) = self.current.take() {
                self.advance(sections);
            }
        }
        self.current()
    }

    /// The version that every subscriber is to have.
    pub fn current(&self) -> Option<Version> {
        self.current.as_ref().map(|(version, _)| *version)
    }

    /// A stream begins. Whatever an open stream of the same id had is forgotten.
    pub fn open(&mut self, id: SubscriberId) {
        self.subscribers.insert(id, Subscription::default());
    }

    /// A stream ended.
    pub fn close(&mut self, id: SubscriberId) {
        self.subscribers.remove(&id);
    }

    /// Takes a message of a subscriber. After a violation the caller ends the stream.
    pub fn receive(&mut self, id: SubscriberId, message: FromSubscriber) -> Result<Option<Event>, Violation> {
        use proto::from_subscriber::Message as From;

        let subscription = self.subscribers.get_mut(&id).ok_or(Violation::NotOpen)?;
        match message.message.ok_or(Violation::UnknownMessage)? {
            From::Hello(hello) => {
                let held = hello.held.map(Version::try_from).transpose()?;
                let member = hello.member.map(Member::try_from).transpose()?;
                subscription.greet(held, member)?;
                Ok(held.filter(|held| self.is_ahead(held)).map(|held| Event::NewerEpoch { epoch: held.epoch }))
            }
            From::Inventory(inventory) => subscription.list(inventory).map(|()| None),
            From::Accepted(accepted) => {
                let version = proto::version_of(accepted.version)?;
                let faults = proto::faults_of(accepted.faults)?;
                subscription.accepted(version)?;
                Ok(Some(Event::Accepted { version, faults }))
            }
            From::Rejected(rejected) => {
                let version = proto::version_of(rejected.version)?;
                let faults = proto::faults_of(rejected.faults)?;
                subscription.rejected(version)?;
                Ok(Some(Event::Rejected { version, faults }))
            }
            From::Report(report) => {
                subscription.reported()?;
                Ok(Some(Event::Reported(report.into())))
            }
        }
    }

    /// The next message to a subscriber; `None` until something happens. To be asked when the stream can take a message,
    /// since what was handed out is not kept.
    pub fn poll(&mut self, id: SubscriberId) -> Option<ToSubscriber> {
        let (current, sections) = self.current.as_ref()?;
        let unknown = self.subscribers.get(&id)?.unknown_base(current);
        let known = unknown.and_then(|digest| self.find(digest));
        let subscription = self.subscribers.get_mut(&id)?;
        let message = subscription.poll(current, sections, known)?;
        subscription.octets_sent += message.encoded_len() as u64;
        Some(message)
    }

    /// Where a subscriber stands; `None` if it is not open.
    pub fn subscriber(&self, id: SubscriberId) -> Option<SubscriberState> {
        self.subscribers.get(&id).map(|subscription| subscription.state(self.current()))
    }

    /// What packets find a subscriber by, if it has said so.
    pub fn member(&self, id: SubscriberId) -> Option<&Member> {
        self.subscribers.get(&id)?.member.as_ref()
    }

    /// Every open subscriber.
    pub fn subscribers(&self) -> impl Iterator<Item = (SubscriberId, SubscriberState)> {
        self.subscribers.iter().map(|(id, subscription)| (*id, subscription.state(self.current())))
    }

    /// Different tables that are kept: the current one, and for each subscriber at most the one that it acknowledged and
    /// the one in flight.
    pub fn retained(&self) -> usize {
        let current = self.current.iter().map(|(_, sections)| sections);
        let mut tables: Vec<_> =
            current.chain(self.subscribers.values().flat_map(Subscription::tables)).map(Arc::as_ptr).collect();
        tables.sort_unstable();
        tables.dedup();
        tables.len()
    }

    fn advance(&mut self, sections: Arc<Sections>) -> Version {
        self.generation += 1;
        let version = Version { epoch: self.epoch, generation: self.generation, digest: sections.digest() };
        self.current = Some((version, sections));
        version
    }

    /// Whether a subscriber has what only another publisher can have given to it.
    fn is_ahead(&self, held: &Version) -> bool {
        held.order() > (self.epoch, self.generation)
            || self.current().is_some_and(|current| current.order() == held.order() && current != *held)
    }

    /// The table of a digest, if it is kept for anybody. Tables are equal where digests are, whoever published them.
    fn find(&self, digest: Digest) -> Option<Arc<Sections>> {
        self.subscribers.values().flat_map(Subscription::tables).find(|sections| sections.digest() == digest).cloned()
    }
}

/// Holds a table to the bounds that subscribers hold it to, so that what is published can be taken.
fn check(sections: &Sections) -> Result<(), Unpublishable> {
    let faults: Vec<Fault> =
        sections.iter().filter_map(|section| unfit(section.id(), section.octets().len())).collect();
    if !faults.is_empty() {
        return Err(Unpublishable::Sections { faults });
    }
    check_whole(sections.len(), sections.octets())
}

/// Holds a table to the bounds of the whole.
fn check_whole(count: usize, octets: usize) -> Result<(), Unpublishable> {
    if count > MAX_SECTIONS {
        return Err(Unpublishable::TooMany { count });
    }
    if octets > MAX_TABLE_OCTETS {
        return Err(Unpublishable::TooLarge { octets });
    }
    Ok(())
}

/// What keeps a section from travelling.
fn unfit(id: &headrace_table::SectionId, octets: usize) -> Option<Fault> {
    let length = id.id.len();
    let reason = if length == 0 {
        "the id is empty".to_owned()
    } else if length > MAX_ID_OCTETS {
        format!("an id of {length} octets, of which at most {MAX_ID_OCTETS} are taken")
    } else if octets > MAX_SECTION_OCTETS {
        format!("{octets} octets in the table, of which at most {MAX_SECTION_OCTETS} are taken")
    } else {
        return None;
    };
    Some(Fault { section: Some(id.clone()), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_up_to_its_bounds() {
        let cases = [
            (0, 0, Ok(())),
            (MAX_SECTIONS, MAX_TABLE_OCTETS, Ok(())),
            (MAX_SECTIONS + 1, 0, Err(Unpublishable::TooMany { count: MAX_SECTIONS + 1 })),
            (1, MAX_TABLE_OCTETS + 1, Err(Unpublishable::TooLarge { octets: MAX_TABLE_OCTETS + 1 })),
        ];
        for (count, octets, outcome) in cases {
            assert_eq!(check_whole(count, octets), outcome, "{count} sections, {octets} octets");
        }
    }
}
