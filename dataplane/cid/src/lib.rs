//! QUIC-LB connection IDs (draft-ietf-quic-load-balancers-21): how a packet says which pod and which worker it is for.
//!
//! Pure. Owns encoding and decoding, keys and server IDs as values, nonces, rotation, and the rule by which the kernel
//! steers. Knows no sockets, no clock, no source of chance and nobody's address: revisions, reports and drawn octets come
//! in as arguments.
//!
//! # What a connection ID looks like
//!
//! ```text
//!    octet  0          1 ...                                          at most 19
//!         ┌───┬───────┬──────────────────────────┬──────────────────────────────┐
//!         │ c │ l     │ server ID (1 to 15)      │ nonce (4 to 18)              │
//!         └───┴───────┴──────────────────────────┴──────────────────────────────┘
//!           │   │      └────────── clear text, or encrypted as a whole ─────────┘
//!           │   └ 5 bits: octets after this one, or drawn for each ID
//!           └ 3 bits: the configuration's number, 0 to 6; 7 is "unroutable"
//!
//!   Layout::SINGLE_BLOCK   1 + 8 + 8 = 17   encrypted: one block of AES-128, and what we do unless told otherwise
//!   Layout::AWS_NLB        1 + 8 + 7 = 16   clear text, as the Network Load Balancer of AWS wants it
//!   any other              8 to 20          clear text, or the draft's network of four passes
//!   unroutable             8 to 20          0b111, the length, chance
//! ```
//!
//! The network cuts what it encrypts into halves, in the middle of an octet where their number is odd, and each pass adds
//! to one half what AES makes of the other:
//!
//! ```text
//!     server ID ‖ nonce  =  left ‖ right
//!     right ^= AES(left  ‖ 0... ‖ length ‖ 1)          to open, the same from below:
//!     left  ^= AES(right ‖ 0... ‖ length ‖ 2)          after three passes the left half is there,
//!     right ^= AES(left  ‖ 0... ‖ length ‖ 3)          which has the whole server ID
//!     left  ^= AES(right ‖ 0... ‖ length ‖ 4)          where the nonce is no shorter
//! ```
//!
//! # Who uses what
//!
//! ```text
//!   controller   Rotation ── which configuration is in which phase ──► tables
//!                                                                        │
//!   pod          Configs ◄── configurations, own server ID, live peers ──┘
//!                  │   destination_of(packet) ─► Ours, Peer(server ID), Unroutable(why)
//!                  ▼
//!   worker       Issuer ── adopt(configs), issue(drawn octets) ─► ConnectionId whose octet fits this worker
//!                  └ NonceSource   no nonce twice: see [`nonces`]
//!
//!   kernel       Steering::filter()  ─► the worker of a packet ◄─ Steering::worker_of(packet): the same, in user space
//! ```
//!
//! # What holds
//!
//! 1. **No nonce comes twice** under a key and a server ID, in any number of workers, configurations and restarts. See
//!    [`nonces`] for the argument, and for what the caller owes to it: an [`Incarnation`] of its own.
//! 2. **All IDs of a process have one length**, because an endpoint cuts short headers at one, and **one octet steers**
//!    for as long as the process lives. [`Configs`] and [`Issuer`] hold that.
//! 3. **Secrets do not show.** [`Key`] is overwritten when it is dropped; neither it nor whatever holds it prints an octet,
//!    and no error has any.
//! 4. **Who encodes is understood**: see [`Rotation`].
//!
//! # In clear text
//!
//! Everybody can read which server a connection is at, and a client that moves is easily followed from one address to the
//! other. The draft therefore wants servers without a key to issue no further IDs than the first, except one in the event
//! of a rotation ("Security Considerations"). That is for the endpoint to obey; [`Config::form`] tells it.
//!
//! # Which AES
//!
//! The RustCrypto `aes` crate: it needs nothing but a processor (AES-NI or the ARM extensions where they are there, bit
//! slices where not, constant time in both), works on an array on the stack, and overwrites its key schedule. aws-lc-rs,
//! which the TLS below uses, has a low-level AES-ECB as well, but reaches it through a context on the heap and a C library,
//! and would make a pure crate depend on a C compiler. It checks this crate in its tests instead.

mod cipher;
mod config;
mod configs;
pub mod filter;
mod id;
mod issuer;
mod key;
pub mod layout;
pub mod nonces;
mod octets;
mod packet;
mod rotation;
mod steering;

pub use config::{Config, Form, LowBits, NotOfConfig};
pub use configs::{Allotment, Configs, Destination, LiveServers, NotConfigs, Unroutable};
pub use id::{ConfigId, ConnectionId, Nonce, NotAConfigId, NotAnAwsServerId, ServerId};
pub use issuer::{ENTROPY_LEN, Issued, Issuer, Unissued};
pub use key::{KEY_LEN, Key};
pub use layout::{Layout, NotALayout};
pub use nonces::{Exhausted, Incarnation, NonceSource, OutOfIncarnations};
pub use octets::WrongLength;
pub use packet::Header;
pub use rotation::{ConfigSet, NotARotation, NotNow, Phase, Report, Rotation, Standing};
pub use steering::{MAX_WORKERS, NotASteering, Steering, Worker, Workers};
