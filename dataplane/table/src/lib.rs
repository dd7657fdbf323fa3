//! The routing table: what a listener, a route and a rule are, and which rule wins.
//!
//! Pure. Knows no tokio, no clock, no sockets and no Kubernetes. A table is made in one way only, from its
//! [wire form](wire), and whatever is wrong with that form is refused with the place and the reason.
//!
//! ```text
//! Table ── Port (number, protocol) ── Listener (host pattern, certificates) ── HostTable ── Rule by Precedence
//!      └─ Backend (protocol, endpoints, TLS)
//!      └─ Certificate (chain, key)
//!      └─ Keys (configurations, secrets) and Peer (server ID, address): what pods share for QUIC
//! ```

mod action;
mod admit;
mod backend_tls;
mod conditions;
mod hostname;
mod hosts;
mod keyed;
mod keys;
mod origin;
mod paths;
mod pattern;
mod peer;
mod precedence;
mod query;
mod refused;
mod request;
mod section;
mod table;
pub mod wire;

pub use action::*;
pub use admit::{MAX_ROOTS, MAX_TEXT, MAX_WEIGHT};
pub use backend_tls::{BackendTls, SubjectAltName, Trust};
pub use hostname::{HostPattern, Hostname, MAX_HOSTNAME, NotAHostname};
pub use keys::{Configuration, KEY_OCTETS, Keys, Octets, SECRET_OCTETS, Secret};
pub use origin::{NotAnOrigin, OriginPattern, Origins};
pub use pattern::MAX_REGEX_SIZE;
pub use peer::{Peer, ServerId};
pub use precedence::{HostRank, PathRank, Precedence, RouteName};
pub use refused::{List, Place, Reason, Refused};
pub use request::{Found, Opening, Request};
pub use section::{SectionId, SectionKind};
pub use table::{Backend, Certificate, Listener, Port, Route, Rule, Table};
pub use wire::{
    BackendProtocol, Form, Opens, Phase, Protocol, QuicOptions, Retry, SessionLimits, Standing, WebTransportOptions,
};
