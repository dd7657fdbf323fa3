//! Why a table is refused, and where.
//!
//! The reasons are about one value each; whoever checks a value does not know where it stands, and adds the place on the
//! way out.

use std::fmt;
use std::net::AddrParseError;

use crate::hostname::NotAHostname;
use crate::origin::NotAnOrigin;

/// A wire form that is no table.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct Refused {
    /// Where.
    pub place: Place,
    /// Why.
    pub reason: Reason,
}

/// Where in a table something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The table as a whole.
    Table,
    /// A listener, by id.
    Listener(String),
    /// A route, by id.
    Route(String),
    /// A rule, by its route's id and its index.
    Rule(String, usize),
    /// A match, by its route's id, its rule's index and its own.
    Match(String, usize, usize),
    /// A backend, by id.
    Backend(String),
    /// A certificate, by id.
    Certificate(String),
    /// What pods share for QUIC.
    Keys,
    /// A peer, by id.
    Peer(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Table => f.write_str("table"),
            Place::Listener(id) => write!(f, "listener {id}"),
            Place::Route(id) => write!(f, "route {id}"),
            Place::Rule(id, rule) => write!(f, "route {id}, rules[{rule}]"),
            Place::Match(id, rule, place) => write!(f, "route {id}, rules[{rule}].matches[{place}]"),
            Place::Backend(id) => write!(f, "backend {id}"),
            Place::Certificate(id) => write!(f, "certificate {id}"),
            Place::Keys => f.write_str("keys"),
            Place::Peer(id) => write!(f, "peer {id}"),
        }
    }
}

impl Place {
    /// For `map_err`: the reason, here.
    pub(crate) fn refuses<R: Into<Reason>>(self) -> impl FnOnce(R) -> Refused {
        |reason| Refused { place: self, reason: reason.into() }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    /// An id is empty.
    #[error("the id is empty")]
    EmptyId,
    /// Another of the same section has this id.
    #[error("the id is not unique")]
    DuplicateId,
    /// A route is attached to a listener that is not there.
    #[error("there is no listener {0}")]
    UnknownListener(String),
    /// A rule forwards to a backend that is not there.
    #[error("there is no backend {0}")]
    UnknownBackend(String),
    /// A rule sends to a backend what that backend does not speak.
    #[error("backend {id} speaks {protocol:?}, which is not what the rule sends")]
    BackendSpeaks {
        /// The backend's id.
        id: String,
        /// What it speaks.
        protocol: crate::BackendProtocol,
    },
    /// A listener names a certificate that is not there.
    #[error("there is no certificate {0}")]
    UnknownCertificate(String),
    /// Not a host name, or not a pattern for host names.
    #[error("{host:?} is not a host name: {fault}")]
    Hostname {
        /// The text.
        host: String,
        /// What is wrong with it.
        fault: NotAHostname,
    },
    /// A route's host is not one of its listener's.
    #[error("host {host} is not within listener {listener}, whose host is {within}")]
    HostOutsideListener {
        /// The route's.
        host: String,
        /// The listener's id.
        listener: String,
        /// The listener's.
        within: String,
    },
    /// A port is 0.
    #[error("port 0 cannot be served")]
    PortZero,
    /// Another listener of the port speaks another protocol.
    #[error("listener {0} speaks another protocol on the same port")]
    MixedProtocols(String),
    /// Another listener of the port has the same host pattern, so that nothing tells the two apart.
    #[error("listener {0} has the same host on the same port")]
    SameHost(String),
    /// HTTP/3 has no clear-text form (RFC 9114 section 3.1).
    #[error("HTTP/3 needs TLS: a listener of protocol Https, or a backend's tls")]
    Http3InClearText,
    /// Octets go to a backend as they came: whatever TLS is in them is not ours.
    #[error("a backend of octets has no TLS of its own")]
    TlsAroundOctets,
    /// A clear-text listener has no use for certificates.
    #[error("certificates need a listener of protocol Https")]
    CertificatesInClearText,
    /// Not a method (RFC 9110 section 9.1).
    #[error("{0:?} is not a method")]
    Method(String),
    /// Not a field name (RFC 9110 section 5.1).
    #[error("{0:?} is not a header field name")]
    HeaderName(String),
    /// Not a field value (RFC 9110 section 5.5).
    #[error("the value of header field {0} holds octets that none may hold")]
    HeaderValue(String),
    /// A query parameter without a name.
    #[error("a query parameter's name is empty")]
    QueryName,
    /// Not a path to match: it does not start with `/`, or holds `?` or `#`, which no path holds.
    #[error("{0:?} is not a path")]
    Path(String),
    /// Not a path to write: as [`Reason::Path`], or with octets that none may hold (RFC 3986 section 3.3).
    #[error("{0:?} is not a path to rewrite to")]
    RewritePath(String),
    /// A prefix can be replaced only where one is matched.
    #[error("a prefix is rewritten, but matches[{0}] is not by prefix")]
    PrefixRewriteWithoutPrefix(usize),
    /// Not an expression, or one over [`MAX_REGEX_SIZE`](crate::MAX_REGEX_SIZE).
    #[error("{pattern:?} is not an expression that can be used: {fault}")]
    Regex {
        /// The text.
        pattern: String,
        /// What is wrong with it.
        fault: regex::Error,
    },
    /// Not a subprotocol (RFC 6455 section 4.1; RFC 9651 section 3.3.3 for those of sessions).
    #[error("{0:?} is not a subprotocol")]
    Subprotocol(String),
    /// Subprotocols are only there on WebSocket handshakes and sessions.
    #[error("subprotocols need a match that opens WebSocket or WebTransport")]
    SubprotocolsWithoutWebSocket,
    /// Requests and tunnels are forwarded, sessions are opened.
    #[error("the rule's action cannot do what matches[{0}] opens")]
    ActionCannotOpen(usize),
    /// Nothing could ever reach the rule.
    #[error("a rule has no matches")]
    NoMatches,
    /// Not a final status code (RFC 9110 section 15).
    #[error("{0} is not a status code to answer with")]
    Status(u16),
    /// Not a status code that redirects as Gateway API has them.
    #[error("{0} is not a status code to redirect with")]
    RedirectStatus(u16),
    /// Neither `http` nor `https`.
    #[error("{0:?} is not a scheme to redirect to")]
    Scheme(String),
    /// Not an origin, or not a pattern for origins.
    #[error("{origin:?} is not an origin: {fault}")]
    Origin {
        /// The text.
        origin: String,
        /// What is wrong with it.
        fault: NotAnOrigin,
    },
    /// Not `address:port`.
    #[error("{endpoint:?} is not an endpoint: {fault}")]
    Endpoint {
        /// The text.
        endpoint: String,
        /// What is wrong with it.
        fault: AddrParseError,
    },
    /// An address where a host name is needed (Gateway API, BackendTLSPolicy: `hostname`; RFC 6066 section 3).
    #[error("{0:?} is an address, and a TLS server name is a host name")]
    ServerNameIsAddress(String),
    /// Not a URI as a certificate holds one (RFC 5280 section 4.2.1.6): a scheme and more, in ASCII.
    #[error("{0:?} is not a URI")]
    Uri(String),
    /// No PEM of a certificate anywhere.
    #[error("the roots hold no certificate")]
    NoRoots,
    /// Roots over [`MAX_ROOTS`](crate::MAX_ROOTS).
    #[error("roots of {0} octets, of which at most {max} are taken", max = crate::MAX_ROOTS)]
    RootsTooLong(usize),
    /// A weight over [`MAX_WEIGHT`](crate::MAX_WEIGHT).
    #[error("weight {0} is over {max}", max = crate::MAX_WEIGHT)]
    Weight(u32),
    /// The id of keys is not [`KEYS_ID`](crate::wire::KEYS_ID).
    #[error("the id of keys is {id:?}, and {0:?} is none", id = crate::wire::KEYS_ID)]
    KeysId(String),
    /// Octets that are too few, too many or not in hexadecimal. They may be secret and are not told.
    #[error("{what} needs {least} to {most} octets in hexadecimal")]
    Octets {
        /// Of what.
        what: &'static str,
        /// The fewest that would do.
        least: usize,
        /// The most that would do.
        most: usize,
    },
    /// Not the number of a configuration (draft-ietf-quic-load-balancers, "Config Rotation").
    #[error("a configuration's number is 0 to 6, and {0} is not")]
    ConfigurationNumber(u8),
    /// Two configurations have one number.
    #[error("two configurations have the number {0}")]
    ConfigurationTwice(u8),
    /// Nobody could tell which to use.
    #[error("two configurations encode")]
    TwoEncode,
    /// Lengths that make no connection ID.
    #[error("configuration {number}: {server_id} octets of server ID and {nonce} of nonce make no connection ID")]
    ConfigurationLengths {
        /// Of which.
        number: u8,
        /// Octets of the server ID.
        server_id: u8,
        /// Octets of the nonce.
        nonce: u8,
    },
    /// A list of secrets without one.
    #[error("{list} are missing", list = .0.label())]
    NoSecret(List),
    /// Two secrets of a list have one id.
    #[error("two {list} have the id {id}", list = .list.label())]
    SecretTwice {
        /// Of which list.
        list: List,
        /// Which id.
        id: u32,
    },
    /// Packets to that server ID would be for two pods.
    #[error("peer {0} has the same server ID")]
    SharedServerId(String),
    /// A list over its bound.
    #[error("{count} {list}, of which at most {max} are taken", list = .list.label(), max = .list.max())]
    TooMany {
        /// Which.
        list: List,
        /// How long it is.
        count: usize,
    },
    /// A path, host or pattern over [`MAX_TEXT`](crate::MAX_TEXT).
    #[error("a text of {0} octets, of which at most {max} are taken", max = crate::MAX_TEXT)]
    TooLong(usize),
}

/// The lists that have bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Of a table.
    Listeners,
    /// Of a table.
    Routes,
    /// Of a table.
    Backends,
    /// Of a table.
    Certificates,
    /// Of a table.
    Peers,
    /// Of a table's keys.
    HopSecrets,
    /// Of a table's keys.
    TokenSecrets,
    /// Of a table's keys.
    TicketSecrets,
    /// Of a listener.
    ListenerCertificates,
    /// Of a route.
    Attachments,
    /// Of an attachment.
    Hostnames,
    /// Of a route.
    Rules,
    /// Of a rule.
    Matches,
    /// Of a match.
    HeaderMatches,
    /// Of a match.
    QueryMatches,
    /// Of a match.
    Subprotocols,
    /// Of a rule or one of its backends: set, add and remove together.
    HeaderChanges,
    /// Of a rule.
    WeightedBackends,
    /// Of a rule.
    Origins,
    /// Of a backend.
    Endpoints,
    /// Of a backend.
    SubjectAltNames,
    /// Of a table: every match, once for each host of each of its route's attachments.
    Candidates,
}

impl List {
    /// Items at most.
    ///
    /// Gateway API's own bounds are at most 128 for anything within a route, and an object is at most 1.5 MB; but one
    /// Ingress may hold thousands of hosts and paths. So these are there to keep a broken compiler from filling a data
    /// plane's memory, and are well above what one cluster holds.
    pub fn max(self) -> usize {
        match self {
            List::Listeners => 4_096,
            List::Routes | List::Backends | List::Certificates => 131_072,
            List::ListenerCertificates | List::Matches | List::Origins => 1_024,
            List::Attachments | List::Hostnames | List::Rules => 16_384,
            List::HeaderMatches
            | List::QueryMatches
            | List::Subprotocols
            | List::HeaderChanges
            | List::SubjectAltNames => 64,
            List::WeightedBackends => 128,
            List::Endpoints => 65_536,
            // 24 octets each in the index, and some two hundred while it is built.
            List::Candidates => 1_000_000,
            // Pods of one pod set, with those that are gone.
            List::Peers => 4_096,
            // One is in use, one comes and the others go.
            List::HopSecrets | List::TokenSecrets | List::TicketSecrets => 8,
        }
    }

    /// What the items are called.
    pub fn label(self) -> &'static str {
        match self {
            List::Listeners => "listeners",
            List::Routes => "routes",
            List::Backends => "backends",
            List::Certificates => "certificates",
            List::ListenerCertificates => "certificates of one listener",
            List::Attachments => "attachments",
            List::Hostnames => "host names",
            List::Rules => "rules",
            List::Matches => "matches",
            List::HeaderMatches => "header matches",
            List::QueryMatches => "query matches",
            List::Subprotocols => "subprotocols",
            List::HeaderChanges => "header changes",
            List::WeightedBackends => "backends of one rule",
            List::Origins => "origins",
            List::Endpoints => "endpoints",
            List::SubjectAltNames => "subject alternative names",
            List::Candidates => "matches on all hosts together",
            List::Peers => "peers",
            List::HopSecrets => "secrets between pods",
            List::TokenSecrets => "secrets of tokens",
            List::TicketSecrets => "secrets of tickets",
        }
    }

    pub(crate) fn check(self, count: usize) -> Result<(), Reason> {
        if count > self.max() { Err(Reason::TooMany { list: self, count }) } else { Ok(()) }
    }
}
