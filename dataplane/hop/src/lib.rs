//! The hop between pods: how a client's datagrams get from the pod where they arrive (the entry) to the pod whose
//! connection they belong to (the owner), and the owner's answers back.
//!
//! Sans-IO. Owns the packet, its authentication, what counts as a replay, and how much a pod may forward to another. Knows
//! no sockets, no clock and no source of chance: packets, times and drawn octets come in as arguments. What a connection
//! ID means is `headrace-cid`'s to say.
//!
//! # The packet
//!
//! One UDP datagram carries one datagram of a client or for one. Numbers are big-endian.
//!
//! ```text
//!   octet  0        1        2        3        4        5        6        7
//!         ┌────────┬────────┬────────┬────────┬───────────────────────────────────┐
//!       0 │ 1 │kind│steering│ answer │0..0│ECN│ secret ID                         │
//!         ├────────┼────────┴────────┴────────┴───────────────────────────────────┤
//!       8 │ length │ sender's server ID, zeroes behind it                         │
//!      16 │                                                                       │
//!         ├───────────────────────────────────┬───────────────────────────────────┤
//!      24 │ boot: restarts                    │ time of start, ms, first 4 of 6   │
//!      32 │ ...             │ chance                                              │
//!         ├────────┬────────┴─────────────────────────────────────────────────────┤
//!      40 │ worker │ number                                                       │
//!         ├────────┴──────────────────────────────────────────────────────────────┤
//!      48 │ client's address (IPv4 as ::ffff:a.b.c.d)                              │
//!      56 │                                                                       │
//!      64 │ entry's local address, as the client knows it, or :: where it is not  │
//!      72 │ known                                                                 │
//!         ├─────────────────┬─────────────────┬───────────────────────────────────┘
//!      80 │ client's port   │ listener's port │
//!         ├─────────────────┴─────────────────┴───────────────────────────────────┐
//!      84 │ the datagram ...                                                      │
//!         ├───────────────────────────────────────────────────────────────────────┤
//!         │ tag, 16 octets, over everything before it                             │
//!         └───────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! - The first octet has the version, 1, and the kind: 1 is [`Kind::Forward`], from entry to owner, 2 is [`Kind::Return`].
//! - **Steering** is the one octet that decides which worker of the receiver gets the packet, `steering mod workers`, in
//!   the kernel ([`steering::filter`]) and in user space ([`steering::worker_of`]). A Forward has there the octet of the
//!   connection ID that steers, so that it lands at the worker whose connection it is, however many workers either pod
//!   has. A Return has there what the Forward had as **answer**: the worker of the entry that forwards this client.
//! - **Segment sizes are not in it.** A batch that the kernel cuts (GSO) is a batch of packets of one length here too, all
//!   of them longer by [`OVERHEAD`]: the sender's kernel cuts those, the receiver's puts them together (GRO) and says the
//!   length of each, and less the overhead that is the size to cut the client's batch by.
//!
//! # Authentic, and not secret
//!
//! What a client sends and is sent is QUIC, encrypted and authenticated from end to end, so that encrypting it once more
//! would hide nothing but the client's address, which the network below has seen on the packet's way in. What has to be
//! prevented is that somebody other than a peer puts datagrams with an address of their choice into a pod, or has a pod
//! send them. So the tag is AES-128-GMAC: AES-GCM with nothing to encrypt (NIST SP 800-38D section 3), of aws-lc-rs, which
//! is what the TLS beside it is made with.
//!
//! The key is HKDF-SHA256 of one of the pod set's hop secrets, which the packet names, and of who sends and who receives
//! (server ID and allotment each) and the sender's [`Boot`]. So a packet is good at one receiver only, and not even a
//! process that restarts uses a key of its predecessor. Several secrets are good at the same time, so that they can be
//! rotated; the first of a list is the one that is used to send.
//!
//! **No number comes twice under a key**: GMAC falls apart where one does. The number that a packet has is its worker and
//! 56 bits that the worker counts from 0, over all receivers and secrets; a boot is of one process, by its restarts, its
//! time and 48 bits of chance. A worker that has used up all numbers sends nothing more.
//!
//! # What was there before is not taken again
//!
//! - A receiver keeps a window of numbers ([`WINDOW`]) for each peer and worker of it. Within it, the order is
//!   anyone's; what is before it or was in it, is refused. What arrives at another worker than it is for, is handed over
//!   only after its tag was found right ([`Receiver::authenticate`]), and only the right one's window counts.
//! - Of each peer there is one boot. A later one takes its place with the first packet whose tag is right, and an earlier
//!   one is refused from then on. Later is: more restarts, and among equal ones the later start. Who cannot count restarts
//!   across them goes by the clock alone, and is not heard for as long as it was set back over its restart.
//! - **A receiver that restarts has forgotten.** Until a peer's worker has sent it something new, it takes a packet once
//!   more that was recorded before. That is a duplicate of a QUIC packet, which QUIC endpoints are used to: connections
//!   from before the restart are gone, and for a new one the duplicate decrypts to nothing.
//!
//! # No loops
//!
//! A Forward is for the receiver or for nobody: it is never forwarded again, whatever the receiver's own table says about
//! the connection ID in it. A Return leaves to the client. So two pods that disagree about who owns what drop, and count;
//! a hop count would have nothing to count.
//!
//! # What it costs somebody else to send here
//!
//! A packet of no peer, of a secret that is not known or of an earlier boot costs a look into a map. One that claims a
//! later boot costs a key and a tag, without leaving anything behind: nothing is kept or allotted before a tag was right,
//! and then for peers of the table only. A peer's connection IDs can be collected and sprayed at any pod, which forwards
//! them; the owner finds out that they are forged. [`Sender::admit`] bounds that for each peer.
//!
//! # Who uses what
//!
//! ```text
//!   table ──► Membership { own, secrets, peers } ──► adopt
//!
//!   worker      Sender    admit, seal(envelope, datagrams, segment) ─► packets of equal length
//!               Receiver  open(packet) ─► Opened { header, datagram } or Refused
//!               steering  filter() ─► for the kernel, worker_of(packet) ─► the same
//! ```

mod boot;
mod bucket;
mod header;
mod key;
mod membership;
mod receiver;
mod sender;
pub mod steering;
mod window;

pub use boot::{BOOT_LEN, Boot};
pub use bucket::{FORWARDS_BURST, FORWARDS_PER_SECOND};
pub use header::{Ecn, Envelope, HEADER_LEN, Header, Kind, MAX_DATAGRAM, Malformed, OVERHEAD, Parsed, TAG_LEN};
pub use key::{SECRET_LEN, Secret};
pub use membership::{MAX_SECRETS, Membership, Pod};
pub use receiver::{Opened, Receiver, Refused};
pub use sender::{Sender, Unsealed};
pub use window::WINDOW;
