//! Sans-IO: how a table version gets from one publisher to many subscribers.
//!
//! Owns the exchange between the controller that leads and the data-plane pods: what is sent when, what is kept, and
//! what is refused. It knows no gRPC, no sockets, no clock and no randomness. Messages go in by `receive` and come out by
//! `poll`; whoever carries them asks `poll` when the stream can take one more. Nothing is queued here: what is sent next
//! follows from what is current and from what the other side holds.
//!
//! ```text
//!  controller                                                    pod
//!  wire::Table ─► Sections ─► Publisher                          Subscriber ─► Candidate ─► Sections ─► wire::Table
//!                                 │                                   │
//!                                 │ ◄── Hello { held, member } ────── │  what it serves, maybe from its file
//!                                 │                                   │
//!    the same digest              │ ── Adopt ───────────────────────► │  takes the version, serves on as before
//!                                 │ ◄── Accepted { faults } ───────── │
//!    a digest of nobody's table   │ ── InventoryRequest ────────────► │
//!                                 │ ◄── Inventory, in parts ───────── │  sections by digest
//!    then, and for every change   │ ── Begin { base } ──────────────► │
//!                                 │ ── Part (changed, removed) ... ─► │  kept apart from what is served
//!                                 │ ── Commit ──────────────────────► │  whole, and of the digest it should have
//!                                 │ ◄── Accepted { faults } ───────── │  serves it, but for the faults
//!                                 │     or Rejected { faults }        │  serves what it served before
//!                                 │ ◄── Report { revision, uses } ─── │  what its QUIC connections use, at any time
//! ```
//!
//! # What a table is here
//!
//! A [`Section`] is one listener, route, backend, certificate or peer, or the keys, as JSON of its wire type, with its SHA-256. [`Sections`]
//! are all of a table, with a digest over kinds, ids and digests. Two tables are the same where their digests are,
//! whichever process made them: that is why a new leader that compiles the same World sends nothing, and why a base is
//! found by digest and not by version. A [`Version`] adds which of two tables is the later one.
//!
//! # What holds
//!
//! 1. **A candidate is whole.** What has arrived by halves is forgotten with its stream, and a table of another digest
//!    than its version's is a [`Violation`].
//! 2. **Versions never go back.** A subscriber refuses a version below the one that it holds. A publisher does not even
//!    offer one: it tells its caller that somebody else has published ([`Event::NewerEpoch`]), who then steps down, or
//!    takes a higher epoch with [`Publisher::raise`].
//! 3. **One in flight, one pending.** A subscriber that takes its time holds up nobody else, and finds the newest table
//!    when it is done, not a queue of old ones. What is kept for it is the table it acknowledged and the one in flight
//!    ([`Publisher::retained`]).
//! 4. **What travels is what changed**, in parts of at most [`limits::MAX_PART_OCTETS`].
//! 5. **Everything that is sent was asked for**, but for reports. A message at any other time, or over a bound of [`limits`], is a
//!    [`Violation`], and the caller ends the stream.
//! 6. **A subscriber says what is so.** While a candidate is undecided, its next Hello waits, since nobody could say what
//!    it serves.

mod digest;
mod fault;
mod held;
pub mod limits;
pub mod proto;
mod publisher;
mod report;
mod section;
mod sections;
mod shared;
mod subscriber;
mod version;
mod violation;

pub use digest::Digest;
pub use fault::Fault;
pub use held::{Held, NotHeld};
pub use publisher::{Event, Publisher, SubscriberId, SubscriberState};
pub use report::{Connections, Member, Report};
pub use section::{DecodeFault, Section, Undecodable};
pub use sections::Sections;
pub use subscriber::{Arrival, Candidate, Subscriber};
pub use version::Version;
pub use violation::{Unpublishable, Violation};
