//! The side that subscribes: what it holds, what is arriving, and what it answers.
//!
//! Owns the state of one pod across all of its streams. It must not know how messages travel, how a table is served or
//! where the file is.

mod incoming;
mod listing;

use std::sync::Arc;

use crate::fault::{Fault, bounded};
use crate::held::Held;
use crate::proto::from_subscriber::Message;
use crate::proto::{self, Accepted, Begin, FromSubscriber, Hello, Rejected, ToSubscriber};
use crate::report::{Member, Report};
use crate::sections::Sections;
use crate::version::Version;
use crate::violation::Violation;
use incoming::Incoming;
use listing::Listing;

/// A table that arrived whole, and waits for its decision: [`Subscriber::accept`] or [`Subscriber::reject`].
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its name.
    pub version: Version,
    /// What it holds.
    pub sections: Arc<Sections>,
}

/// What came of a message.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// A table to try. Nothing is sent or taken until it is decided, even over a new stream.
    Candidate(Candidate),
    /// The table that is held has this version from now on: there is nothing to serve anew. Whoever keeps
    /// [`Held`] in a file writes it again before the next poll, since a restart must not go back behind this version.
    Adopted(Version),
}

/// A pod's part of the exchange.
#[derive(Debug, Default)]
pub struct Subscriber {
    held: Option<Held>,
    /// What of the held table cannot be served.
    faults: Vec<Fault>,
    undecided: Option<Candidate>,
    member: Option<Member>,
    /// What is so, whether or not it was told.
    report: Option<Report>,
    stream: Stream,
}

/// What ends with a stream.
#[derive(Debug, Default)]
struct Stream {
    phase: Phase,
    incoming: Option<Incoming>,
    listing: Option<Listing>,
    /// The answer to the last candidate or adoption, until it is sent.
    answer: Option<Answer>,
    /// Whether the faults of what is held changed since they were told.
    faults_changed: bool,
    /// What the publisher was told last.
    reported: Option<Report>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// There is no stream.
    #[default]
    Closed,
    /// Hello is to be sent.
    Greeting,
    /// Hello was sent.
    Open,
}

#[derive(Debug)]
enum Answer {
    /// Of what is held, with its faults.
    Accepted,
    Rejected {
        version: Version,
        faults: Vec<Fault>,
    },
}

impl Subscriber {
    /// A pod that serves `held`, which it may have from its file. A pod that cannot serve what is in its file holds
    /// nothing.
    pub fn new(held: Option<Held>) -> Self {
        Subscriber { held, ..Subscriber::default() }
    }

    /// What packets find the pod by. Told with every Hello from now on.
    pub fn introduce(&mut self, member: Member) {
        self.member = Some(member);
    }

    /// What the pod's QUIC connections use. Told where it is news, and on every new stream.
    pub fn report(&mut self, report: Report) {
        self.report = Some(report);
    }

    /// A stream is there. What was half arrived on the one before it is forgotten.
    pub fn connected(&mut self) {
        self.stream = Stream { phase: Phase::Greeting, ..Stream::default() };
    }

    /// The stream is gone, and what was half arrived on it.
    pub fn disconnected(&mut self) {
        self.stream = Stream::default();
    }

    /// What is served.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// What waits for its decision.
    pub fn undecided(&self) -> Option<&Candidate> {
        self.undecided.as_ref()
    }

    /// Takes a message of the publisher. After a violation the caller ends the stream.
    pub fn receive(&mut self, message: ToSubscriber) -> Result<Option<Arrival>, Violation> {
        use proto::to_subscriber::Message as To;

        let message = message.message.ok_or(Violation::UnknownMessage)?;
        let name = match &message {
            To::InventoryRequest(_) => "InventoryRequest",
            To::Begin(_) => "Begin",
            To::Part(_) => "Part",
            To::Commit(_) => "Commit",
            To::Adopt(_) => "Adopt",
        };
        // The publisher's turn is after Hello and after each answer, and not while a list goes out.
        let is_expected = self.stream.phase == Phase::Open && self.undecided.is_none() && self.stream.listing.is_none();
        let is_arriving = self.stream.incoming.is_some();
        if !is_expected || is_arriving != matches!(message, To::Part(_) | To::Commit(_)) {
            return Err(Violation::Unexpected { message: name });
        }
        match message {
            To::InventoryRequest(_) => self.list().map(|()| None),
            To::Begin(begin) => self.begin(begin).map(|()| None),
            To::Part(part) => self.incoming()?.add(part).map(|()| None),
            To::Commit(commit) => self.commit(proto::version_of(commit.version)?).map(Some),
            To::Adopt(adopt) => self.adopt(proto::version_of(adopt.version)?).map(Some),
        }
    }

    /// The candidate is served, but for these faults. For the version that is held already, its faults are now these.
    /// Any other version is long gone, and nothing happens.
    pub fn accept(&mut self, version: Version, faults: Vec<Fault>) {
        if let Some(candidate) = self.undecided.take_if(|candidate| candidate.version == version) {
            self.held = Some(Held { version, sections: candidate.sections });
            self.faults = bounded(faults);
            self.answer(Answer::Accepted);
        } else if self.held.as_ref().is_some_and(|held| held.version == version) {
            self.faults = bounded(faults);
            self.stream.faults_changed = self.stream.phase == Phase::Open;
        }
    }

    /// The candidate is not served, for these faults, and what is held still is. Any other version is long gone, and
    /// nothing happens.
    pub fn reject(&mut self, version: Version, faults: Vec<Fault>) {
        if self.undecided.take_if(|candidate| candidate.version == version).is_some() {
            self.answer(Answer::Rejected { version, faults: bounded(faults) });
        }
    }

    /// The next message to the publisher; `None` until something happens. To be asked when the stream can take a message,
    /// since what was handed out is not kept.
    pub fn poll(&mut self) -> Option<FromSubscriber> {
        let message = match self.stream.phase {
            Phase::Closed => None,
            // Until the candidate of an earlier stream is decided, nobody can say what is held.
            Phase::Greeting => self.undecided.is_none().then(|| self.greet()),
            Phase::Open => self.next(),
        };
        message.map(|message| FromSubscriber { message: Some(message) })
    }

    fn greet(&mut self) -> Message {
        self.stream.phase = Phase::Open;
        Message::Hello(Hello {
            held: self.held.as_ref().map(|held| held.version.into()),
            member: self.member.as_ref().map(proto::Member::from),
        })
    }

    fn next(&mut self) -> Option<Message> {
        if std::mem::take(&mut self.stream.faults_changed)
            && let Some(accepted) = self.accepted()
        {
            return Some(accepted);
        }
        if let Some(listing) = &mut self.stream.listing {
            let part = listing.next_part();
            self.stream.listing.take_if(|_| !part.continues);
            return Some(Message::Inventory(part));
        }
        match self.stream.answer.take() {
            Some(Answer::Accepted) => self.accepted(),
            Some(Answer::Rejected { version, faults }) => {
                let faults = faults.into_iter().map(proto::Fault::from).collect();
                Some(Message::Rejected(Rejected { version: Some(version.into()), faults }))
            }
            None => self.news(),
        }
    }

    /// The report, if it is another than was told.
    fn news(&mut self) -> Option<Message> {
        let report = self.report.filter(|report| self.stream.reported != Some(*report))?;
        self.stream.reported = Some(report);
        Some(Message::Report(report.into()))
    }

    fn accepted(&self) -> Option<Message> {
        let version = self.held.as_ref()?.version.into();
        let faults = self.faults.iter().cloned().map(proto::Fault::from).collect();
        Some(Message::Accepted(Accepted { version: Some(version), faults }))
    }

    /// An answer is for the stream that asked. After that one is gone, the next Hello tells what is held.
    fn answer(&mut self, answer: Answer) {
        if self.stream.phase == Phase::Open {
            self.stream.faults_changed &= matches!(answer, Answer::Rejected { .. });
            self.stream.answer = Some(answer);
        }
    }

    fn list(&mut self) -> Result<(), Violation> {
        let held = self.held.as_ref().ok_or(Violation::Unexpected { message: "InventoryRequest" })?;
        self.stream.listing = Some(Listing::of(Arc::clone(&held.sections)));
        Ok(())
    }

    fn begin(&mut self, begin: Begin) -> Result<(), Violation> {
        let offered = proto::version_of(begin.version)?;
        let base = proto::digest_of(&begin.base)?;
        self.refuse_backwards(offered)?;
        let held = self.held.as_ref().map(|held| &held.sections).filter(|sections| sections.digest() == base);
        let base = match held {
            Some(sections) => Arc::clone(sections),
            None => Some(Arc::<Sections>::default())
                .filter(|empty| empty.digest() == base)
                .ok_or(Violation::UnknownBase { offered, base })?,
        };
        self.stream.incoming = Some(Incoming::new(offered, base));
        Ok(())
    }

    fn commit(&mut self, committed: Version) -> Result<Arrival, Violation> {
        let incoming = self.stream.incoming.take().ok_or(Violation::Unexpected { message: "Commit" })?;
        let version = incoming.version();
        let sections = incoming.commit(committed)?;
        let candidate = Candidate { version, sections };
        self.undecided = Some(candidate.clone());
        Ok(Arrival::Candidate(candidate))
    }

    fn adopt(&mut self, offered: Version) -> Result<Arrival, Violation> {
        self.refuse_backwards(offered)?;
        let held = self
            .held
            .as_mut()
            .filter(|held| held.version.digest == offered.digest)
            .ok_or(Violation::AdoptsOther { offered })?;
        held.version = offered;
        self.answer(Answer::Accepted);
        Ok(Arrival::Adopted(offered))
    }

    fn incoming(&mut self) -> Result<&mut Incoming, Violation> {
        self.stream.incoming.as_mut().ok_or(Violation::Unexpected { message: "Part" })
    }

    /// Versions never go back, whoever offers one. The same one again is no harm.
    fn refuse_backwards(&self, offered: Version) -> Result<(), Violation> {
        let Some(held) = self.held.as_ref().map(|held| held.version) else {
            return Ok(());
        };
        if offered.order() < held.order() {
            return Err(Violation::Backwards { held, offered });
        }
        if offered.order() == held.order() && offered != held {
            return Err(Violation::Conflict { held, offered });
        }
        Ok(())
    }
}
