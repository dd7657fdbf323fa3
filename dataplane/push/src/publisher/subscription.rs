//! One subscriber's stream, as the publisher sees it.
//!
//! ```text
//!   Greeting ── Hello ──► Ready ◄── Inventory, the last ── Listing
//!                          │ └── the base is unknown to us ──►│
//!                          └─ Transfer: Adopt, or Begin, Part ..., Commit; then Accepted or Rejected
//! ```

use std::sync::Arc;

use super::SubscriberState;
use super::delta::Delta;
use super::inventory::Inventory;
use super::transfer::Transfer;
use crate::digest::Digest;
use crate::proto::to_subscriber::Message;
use crate::proto::{self, InventoryRequest, ToSubscriber};
use crate::report::Member;
use crate::sections::Sections;
use crate::version::Version;
use crate::violation::Violation;

/// What is known of a subscriber, and what it is being sent.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    phase: Phase,
    /// What it serves, by its own word.
    held: Option<Version>,
    /// What is in that table.
    base: Base,
    /// Whether it acknowledged `held` on this stream. A version that only its Hello named comes with no faults.
    acknowledged: bool,
    in_flight: Option<Transfer>,
    rejected: Option<Version>,
    /// What packets find it by, by its own word.
    pub(super) member: Option<Member>,
    pub(super) octets_sent: u64,
}

/// Whose turn it is.
#[derive(Debug, Default)]
enum Phase {
    /// The subscriber's, with its Hello.
    #[default]
    Greeting,
    /// The subscriber's, with its inventory, as far as that has arrived.
    Listing(Inventory),
    /// The publisher's, or with a transfer in flight the subscriber's.
    Ready,
}

/// What is in the table that a subscriber holds.
#[derive(Debug, Default)]
enum Base {
    /// Only its digest is known.
    #[default]
    Unknown,
    /// All of it.
    Sections(Arc<Sections>),
    /// Its sections by digest.
    Listed(Inventory),
}

impl Subscription {
    /// Takes a Hello.
    pub(super) fn greet(&mut self, held: Option<Version>, member: Option<Member>) -> Result<(), Violation> {
        if !matches!(self.phase, Phase::Greeting) {
            return Err(Violation::Unexpected { message: "Hello" });
        }
        self.phase = Phase::Ready;
        if held.is_none() {
            self.base = Base::Sections(Arc::default());
        }
        self.held = held;
        self.member = member;
        Ok(())
    }

    /// Takes a report, whosever turn it is.
    pub(super) fn reported(&self) -> Result<(), Violation> {
        if matches!(self.phase, Phase::Greeting) { Err(Violation::Unexpected { message: "Report" }) } else { Ok(()) }
    }

    /// Takes a part of an inventory.
    pub(super) fn list(&mut self, part: proto::Inventory) -> Result<(), Violation> {
        let (Phase::Listing(inventory), Some(held)) = (&mut self.phase, &self.held) else {
            return Err(Violation::Unexpected { message: "Inventory" });
        };
        if inventory.add(part)? {
            inventory.check(held)?;
            self.base = Base::Listed(std::mem::take(inventory));
            self.phase = Phase::Ready;
        }
        Ok(())
    }

    /// Takes an acknowledgement: of what is in flight, or once more of what is held.
    pub(super) fn accepted(&mut self, version: Version) -> Result<(), Violation> {
        if let Some(transfer) = self.in_flight.take_if(|transfer| transfer.version == version && transfer.is_sent()) {
            self.held = Some(version);
            self.base = Base::Sections(transfer.sections);
            self.acknowledged = true;
            self.rejected = None;
            return Ok(());
        }
        if self.held == Some(version) { Ok(()) } else { Err(Violation::NotSent { version }) }
    }

    /// Takes a rejection of what is in flight.
    pub(super) fn rejected(&mut self, version: Version) -> Result<(), Violation> {
        self.in_flight
            .take_if(|transfer| transfer.version == version && transfer.is_sent())
            .ok_or(Violation::NotSent { version })?;
        self.rejected = Some(version);
        Ok(())
    }

    /// The digest of a table that the publisher must know to go on, or else be told of section by section.
    pub(super) fn unknown_base(&self, current: &Version) -> Option<Digest> {
        let held = self.held.filter(|held| held.digest != current.digest)?;
        (self.is_idle() && self.wants(current) && matches!(self.base, Base::Unknown)).then_some(held.digest)
    }

    /// The next message. `known` is the table of [`Subscription::unknown_base`], if the publisher has it.
    pub(super) fn poll(
        &mut self,
        current: &Version,
        sections: &Arc<Sections>,
        known: Option<Arc<Sections>>,
    ) -> Option<ToSubscriber> {
        if self.is_idle() && self.wants(current) {
            if let Some(known) = known {
                self.base = Base::Sections(known);
            }
            match self.transfer(*current, sections) {
                Some(transfer) => self.in_flight = Some(transfer),
                None => {
                    self.phase = Phase::Listing(Inventory::default());
                    return Some(ToSubscriber { message: Some(Message::InventoryRequest(InventoryRequest {})) });
                }
            }
        }
        let message = self.in_flight.as_mut()?.poll()?;
        Some(ToSubscriber { message: Some(message) })
    }

    /// What the caller sees.
    pub(super) fn state(&self, current: Option<Version>) -> SubscriberState {
        let in_flight = self.in_flight.as_ref().map(|transfer| transfer.version);
        SubscriberState {
            held: self.held,
            in_flight,
            pending: current.filter(|current| self.wants(current) && in_flight != Some(*current)),
            rejected: self.rejected,
            octets_sent: self.octets_sent,
            listed: match (&self.phase, &self.base) {
                (Phase::Listing(inventory), _) | (_, Base::Listed(inventory)) => inventory.len(),
                _ => 0,
            },
        }
    }

    /// Tables that are kept for this subscriber.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Arc<Sections>> {
        let base = match &self.base {
            Base::Sections(sections) => Some(sections),
            Base::Unknown | Base::Listed(_) => None,
        };
        base.into_iter().chain(self.in_flight.as_ref().map(|transfer| &transfer.sections))
    }

    /// Whether a transfer may begin.
    fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Ready) && self.in_flight.is_none()
    }

    /// Whether the current version is news. One that is not later than what is held would be refused, and one that was
    /// rejected would be rejected again.
    fn wants(&self, current: &Version) -> bool {
        if self.rejected == Some(*current) {
            return false;
        }
        self.held.is_none_or(|held| current.order() > held.order() || (held == *current && !self.acknowledged))
    }

    /// The way from what is held to the current version, if what is held is known.
    fn transfer(&self, current: Version, sections: &Arc<Sections>) -> Option<Transfer> {
        if self.held.is_some_and(|held| held.digest == current.digest) {
            return Some(Transfer::adopt(current, Arc::clone(sections)));
        }
        let (base, delta) = match &self.base {
            Base::Unknown => return None,
            Base::Sections(base) => {
                (base.digest(), Delta::between(base.iter().map(|section| (section.id(), section.digest())), sections))
            }
            Base::Listed(inventory) => (self.held?.digest, Delta::between(inventory.iter(), sections)),
        };
        Some(Transfer::change(current, Arc::clone(sections), base, delta))
    }
}
