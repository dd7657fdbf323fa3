//! The shape that HTTPRoute, WebSocketRoute and WebTransportRoute have in common, as their objects say it and before anything is checked.
//!
//! Owns that shape. It must not know what of it is valid.

use headrace_crds::reference::ParentReference;
use headrace_table::wire::{HeaderChanges, Opens, PathRewrite};

use crate::gateway::RouteKind;
use crate::status::ObjectRef;

/// A route of any of the kinds.
pub(super) struct Shape {
    pub(super) object: ObjectRef,
    pub(super) kind: RouteKind,
    pub(super) generation: Option<i64>,
    pub(super) created: i64,
    pub(super) parents: Vec<ParentReference>,
    pub(super) hostnames: Vec<String>,
    pub(super) rules: Vec<RuleShape>,
}

/// A rule.
pub(super) struct RuleShape {
    pub(super) name: Option<String>,
    pub(super) opens: Opens,
    pub(super) matches: Vec<MatchShape>,
    pub(super) filters: Vec<Filter>,
    pub(super) backends: Vec<BackendShape>,
    pub(super) origins: Vec<String>,
    /// By the name of the field under `timeouts`.
    pub(super) timeouts: Vec<(Timeout, String)>,
    /// Of a rule for sessions.
    pub(super) session: Option<SessionShape>,
}

/// What only a rule for sessions says.
pub(super) struct SessionShape {
    /// Whether sessions end here, so that streams and datagrams have backends of their own.
    pub(super) ends_here: bool,
    pub(super) stream_backends: Vec<BackendShape>,
    pub(super) datagram_backends: Vec<BackendShape>,
    pub(super) limits: Vec<(SessionLimit, i32)>,
}

/// What of a session is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionLimit {
    Streams,
    OpeningRate,
    DatagramSize,
    DatagramRate,
}

impl SessionLimit {
    /// The field's name.
    pub(super) const fn field(self) -> &'static str {
        match self {
            SessionLimit::Streams => "streams",
            SessionLimit::OpeningRate => "openingRate",
            SessionLimit::DatagramSize => "datagramSize",
            SessionLimit::DatagramRate => "datagramRate",
        }
    }

    /// The greatest value (the bounds of the schema).
    pub(super) const fn max(self) -> u32 {
        match self {
            SessionLimit::Streams => 1_000,
            SessionLimit::OpeningRate => 100_000,
            SessionLimit::DatagramSize => 65_535,
            SessionLimit::DatagramRate => 1_000_000,
        }
    }
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timeout {
    Request,
    BackendRequest,
    Handshake,
    Open,
    Idle,
    Lifetime,
}

impl Timeout {
    /// The field's name.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Timeout::Request => "request",
            Timeout::BackendRequest => "backendRequest",
            Timeout::Handshake => "handshake",
            Timeout::Open => "open",
            Timeout::Idle => "idle",
            Timeout::Lifetime => "lifetime",
        }
    }
}

/// A match.
#[derive(Default)]
pub(super) struct MatchShape {
    pub(super) path: Option<(PathKind, String)>,
    pub(super) method: Option<String>,
    pub(super) headers: Vec<ValueShape>,
    pub(super) query: Vec<ValueShape>,
    pub(super) subprotocols: Vec<String>,
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathKind {
    Exact,
    Prefix,
    Regex,
}

/// A header or query match.
pub(super) struct ValueShape {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) regex: bool,
}

/// A filter of a rule or of a backend.
#[derive(Clone, Debug)]
pub(super) enum Filter {
    RequestHeaders(HeaderChanges),
    ResponseHeaders(HeaderChanges),
    Redirect(RedirectShape),
    Rewrite {
        hostname: Option<String>,
        path: Option<PathModifier>,
    },
    /// Somebody's own kind of filter: kind and name.
    Extension(String),
    /// One that is not supported.
    Unsupported(&'static str),
    /// One whose type names a field that is not set.
    Incomplete(&'static str),
}

/// A path modifier of a redirect or a rewrite; incomplete where its type names a field that is not set.
#[derive(Clone, Debug)]
pub(super) enum PathModifier {
    Complete(PathRewrite),
    Incomplete(&'static str),
}

/// A redirect.
#[derive(Clone, Debug, Default)]
pub(super) struct RedirectShape {
    pub(super) scheme: Option<&'static str>,
    pub(super) hostname: Option<String>,
    pub(super) path: Option<PathModifier>,
    pub(super) port: Option<i32>,
    pub(super) status: Option<i64>,
}

/// A backend reference.
pub(super) struct BackendShape {
    pub(super) group: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) port: Option<i32>,
    pub(super) weight: Option<i32>,
    pub(super) filters: Vec<Filter>,
}
