//! The wire form of the routing table: what a compiler writes and a publisher sends.
//!
//! Owns the serialised shape and nothing else. Nothing here is checked: [`crate::Table`]'s `TryFrom<wire::Table>` is the
//! only door from this form to one that can be served. Every list is in a fixed order (by id, or by rank where order
//! has meaning), so that equal tables have equal bytes.

use serde::{Deserialize, Serialize};

/// A whole routing table, in its sections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Where connections arrive, sorted by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
    /// What requests match, sorted by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Where requests go, sorted by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<Backend>,
    /// Certificate chains with their keys, sorted by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
    /// What the pods that serve the table share for QUIC. No compiler fills it: whoever publishes to a pod set adds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    /// Every pod that serves the table, and those that did until a moment ago, sorted by id. Added with the keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,
}

/// One Gateway listener (or the listener that an Ingress class implies).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// `namespace/gateway/section`, unique in the table.
    pub id: String,
    /// The port that the pods bind.
    pub port: u16,
    /// The port that clients see, told in `alt-svc`.
    pub public_port: u16,
    /// What is spoken on the port. All listeners of one port agree on it.
    pub protocol: Protocol,
    /// Whether QUIC serves the same port on UDP. Only on [`Protocol::Https`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub http3: bool,
    /// What is asked of QUIC. It sees a port before it sees a listener: [`crate::Port`] says what comes of all that its
    /// listeners ask for.
    #[serde(default, skip_serializing_if = "QuicOptions::is_default")]
    pub quic: QuicOptions,
    /// A host name (`a.example.com`), a wildcard (`*.example.com`), or absent for every host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Ids of certificates, the preferred one first. Empty on [`Protocol::Http`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
}

/// What a listener's port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// Clear text HTTP/1.1, or HTTP/2 with prior knowledge.
    Http,
    /// TLS with ALPN `h2` and `http/1.1`, and HTTP/3 where the listener says so.
    Https,
}

/// How QUIC is to take connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuicOptions {
    /// Whether safe requests are served before the handshake is complete (RFC 8470, RFC 9001 section 4.6).
    #[serde(default, skip_serializing_if = "is_false")]
    pub zero_rtt: bool,
    /// When clients have to show that their address is theirs before anything else (RFC 9000 section 8.1.2).
    #[serde(default, skip_serializing_if = "Retry::is_default")]
    pub retry: Retry,
    /// What WebTransport may take of a connection.
    #[serde(default, skip_serializing_if = "WebTransportOptions::is_default")]
    pub webtransport: WebTransportOptions,
}

impl QuicOptions {
    /// Whether nothing is asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When a client's first packet is answered with a Retry packet, from the most lenient to the strictest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Retry {
    /// Never.
    #[default]
    Never,
    /// While many handshakes are half open.
    UnderLoad,
    /// Whenever the client brings no token.
    Always,
}

impl Retry {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What WebTransport may take of one connection. Of several, the strictest holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebTransportOptions {
    /// Whether sessions are offered at all.
    pub enabled: bool,
    /// Sessions that may be open at once on one connection.
    pub sessions: u32,
    /// Octets of streams and datagrams that are kept for sessions that are not yet open, on one connection.
    pub early_octets: u32,
}

impl WebTransportOptions {
    /// Whether they are what holds where nothing is asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for WebTransportOptions {
    /// A page opens one session, or a few; and what it sends ahead fits its first congestion window a few times over.
    fn default() -> Self {
        Self { enabled: true, sessions: 16, early_octets: 64 << 10 }
    }
}

/// One route object, attached to one or more listeners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// `Kind/namespace/name`, unique in the table.
    pub id: String,
    /// Creation time in seconds since the Unix epoch: of equal matches the oldest route's wins.
    pub created: i64,
    /// Where the route is attached, sorted by listener.
    pub attachments: Vec<Attachment>,
    /// The rules in the object's own order.
    pub rules: Vec<Rule>,
}

/// A route on one listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The listener's id.
    pub listener: String,
    /// The hosts on which the route is to be found there: the intersection of the route's and the listener's, sorted.
    /// Empty means every host of the listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
}

/// One rule: if any match holds, the action follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The rule's own name, for logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// At least one.
    pub matches: Vec<Match>,
    /// Changes to the request's headers, before it is forwarded.
    #[serde(default, skip_serializing_if = "HeaderChanges::is_empty")]
    pub request_headers: HeaderChanges,
    /// Changes to the response's headers, whoever made it.
    #[serde(default, skip_serializing_if = "HeaderChanges::is_empty")]
    pub response_headers: HeaderChanges,
    /// What is done.
    pub action: Action,
}

/// All parts must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The request's path, without its query.
    pub path: PathMatch,
    /// The request's method; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Headers, all of which must match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<ValueMatch>,
    /// Query parameters, all of which must match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<ValueMatch>,
    /// Which requests by what they open.
    #[serde(default, skip_serializing_if = "is_any_kind")]
    pub opens: Opens,
    /// Subprotocols, one of which must be among those that the client offers (`Sec-WebSocket-Protocol`, or
    /// `WT-Available-Protocols`). Empty means any. Not with [`Opens::Any`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subprotocols: Vec<String>,
}

/// What a request must open to match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opens {
    /// Plain requests and WebSocket handshakes alike.
    #[default]
    Any,
    /// WebSocket handshakes only, on every HTTP version.
    WebSocket,
    /// WebTransport sessions only, which no other match takes.
    WebTransport,
}

/// How a path is matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathMatch {
    /// The whole path, octet for octet.
    Exact(String),
    /// By whole elements: `/a` matches `/a`, `/a/` and `/a/b`, not `/ab`.
    Prefix(String),
    /// A regular expression (RE2 syntax) that must match the whole path.
    Regex(String),
}

/// A named value and how it is matched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ValueMatch {
    /// The header's name in lower case, or the query parameter's name as it is.
    pub name: String,
    /// What its value must be.
    pub value: ValuePattern,
}

/// How a value is matched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ValuePattern {
    /// Octet for octet.
    Exact(String),
    /// A regular expression (RE2 syntax) that must match the whole value.
    Regex(String),
}

/// Header changes in the order in which they are applied: set, add, remove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderChanges {
    /// Replace every value of the name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<(String, String)>,
    /// Append a value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<(String, String)>,
    /// Remove every value of the name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

impl HeaderChanges {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// What a rule does with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Send it to a backend.
    Forward(Forward),
    /// Answer with a redirect.
    Redirect(Redirect),
    /// Answer with a bare status code.
    Respond(u16),
    /// Open a WebTransport session. Only in rules whose matches all are [`Opens::WebTransport`], where it stands in place of
    /// [`Action::Forward`].
    WebTransport(WebTransport),
}

/// Where a request is sent, and what is allowed to take how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Chosen from by weight. Empty, or of weight zero in all, answers 500.
    pub backends: Vec<WeightedBackend>,
    /// Replaces `Host` towards the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite_host: Option<String>,
    /// Replaces the path towards the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite_path: Option<PathRewrite>,
    /// From the request's first octet to the response's last, in milliseconds; 0 means no limit. Not applied to a tunnel
    /// once it is open.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub request_timeout_ms: u64,
    /// For one attempt at a backend, up to its response's last octet, in milliseconds; 0 means no limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub backend_timeout_ms: u64,
    /// What holds for WebSocket tunnels of this rule.
    #[serde(default, skip_serializing_if = "WebSocketRules::is_default")]
    pub websocket: WebSocketRules,
}

/// What holds for the WebSocket tunnels of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebSocketRules {
    /// Values of `Origin` that may open a tunnel: `https://app.example.com`, or with a wildcard for the leftmost labels,
    /// `https://*.example.com`. Empty means any, and none at all. Any other origin gets 403.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// From the client's handshake to the backend's answer, in milliseconds; 0 means the data plane's default.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub handshake_timeout_ms: u64,
    /// Without a byte in either direction the tunnel ends after this, in milliseconds; 0 means never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub idle_timeout_ms: u64,
    /// The tunnel ends after this whatever happens, in milliseconds; 0 means never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lifetime_ms: u64,
}

impl WebSocketRules {
    /// Whether nothing is asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a WebTransport session goes, and what it may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebTransport {
    /// Values of `Origin` that may open a session, as in [`WebSocketRules::origins`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// Where it goes.
    pub destination: Destination,
    /// Replaces `:authority` towards the backend of a [`Destination::Session`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite_host: Option<String>,
    /// Replaces the path towards the backend of a [`Destination::Session`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite_path: Option<PathRewrite>,
    /// From the client's CONNECT to the answer, in milliseconds; 0 means the data plane's default.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open_timeout_ms: u64,
    /// Without an octet in either direction, on any stream or in a datagram, the session ends after this, in
    /// milliseconds; 0 means never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub idle_timeout_ms: u64,
    /// The session ends after this whatever happens, in milliseconds; 0 means never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lifetime_ms: u64,
    /// What one session may take.
    #[serde(default, skip_serializing_if = "SessionLimits::is_default")]
    pub limits: SessionLimits,
}

/// Where a WebTransport session goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// To a session with a backend that speaks WebTransport over HTTP/3.
    Session {
        /// Chosen from by weight, each [`BackendProtocol::Http3`]. Empty, or of weight zero in all, answers 500.
        backends: Vec<WeightedBackend>,
    },
    /// Here: what the session carries goes to backends that know nothing of it.
    Streams {
        /// Each stream becomes a TCP connection to one of these, chosen by weight, each [`BackendProtocol::Stream`]. Empty:
        /// streams are refused.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tcp: Vec<WeightedBackend>,
        /// The datagrams become a UDP flow with one of these, chosen by weight, each [`BackendProtocol::Datagram`]. Empty:
        /// datagrams are dropped.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        udp: Vec<WeightedBackend>,
    },
}

/// What one WebTransport session may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionLimits {
    /// Streams that may be open at once: of each kind, and of each side's making.
    pub streams: u32,
    /// Streams that each side may open in a second.
    pub opening_per_second: u32,
    /// Octets of a datagram at most; 0 means what the path takes.
    pub datagram_octets: u32,
    /// Datagrams that are taken from each side in a second; 0 means any number.
    pub datagrams_per_second: u32,
}

impl SessionLimits {
    /// Whether they are what holds where nothing is asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for SessionLimits {
    /// For clients that nobody knows: enough for a page with a video and a game on it.
    fn default() -> Self {
        Self { streams: 100, opening_per_second: 200, datagram_octets: 0, datagrams_per_second: 0 }
    }
}

/// One of a rule's backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightedBackend {
    /// The backend's id; absent where the reference could not be resolved, and its share of requests gets 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The share of requests, out of the sum of all weights.
    pub weight: u32,
    /// Changes to the request's headers for this backend only.
    #[serde(default, skip_serializing_if = "HeaderChanges::is_empty")]
    pub request_headers: HeaderChanges,
    /// Changes to the response's headers for this backend only.
    #[serde(default, skip_serializing_if = "HeaderChanges::is_empty")]
    pub response_headers: HeaderChanges,
}

/// How a path is rewritten. The query stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathRewrite {
    /// The whole path.
    Full(String),
    /// The part that a [`PathMatch::Prefix`] matched.
    Prefix(String),
}

/// A redirect; what is absent stays as in the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// The host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
    /// The port. Absent: the scheme's own where `scheme` is given, else the listener's public port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// One port of a Service, with the endpoints that are ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// `namespace/service:port`, and what is sent there where that is not requests: `/h3`, `/tcp`, `/udp`. Unique in the
    /// table.
    pub id: String,
    /// What the endpoints speak.
    #[serde(default)]
    pub protocol: BackendProtocol,
    /// `address:port`, sorted. Empty answers 503.
    pub endpoints: Vec<String>,
    /// Whether they speak it over TLS, and who they have to be. Absent: in clear text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
}

/// Who the endpoints of a backend have to be (Gateway API, BackendTLSPolicy).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendTls {
    /// The host name that is sent as SNI. The certificate must be for it, unless `subject_alt_names` says otherwise.
    pub server_name: String,
    /// Who may have issued the certificate.
    pub trust: Trust,
    /// Names of which the certificate must have at least one, in place of `server_name`. Empty means `server_name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// Whose signature makes a backend's certificate good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trust {
    /// The public certification authorities that the data plane knows.
    System,
    /// These certificates and no others: PEM, in any order.
    Roots(String),
}

/// A name in a certificate (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SubjectAltName {
    /// A host name, or a wildcard for its leftmost label (`*.example.com`).
    Hostname(String),
    /// A URI, octet for octet (`spiffe://example.com/ns/a/sa/b`).
    Uri(String),
}

/// What a backend speaks, by its Service port's `appProtocol`. In clear text, or over TLS where [`Backend::tls`] asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BackendProtocol {
    /// HTTP/1.1, WebSocket by Upgrade.
    #[default]
    Http1,
    /// HTTP/2 (`kubernetes.io/h2c`): in clear text with prior knowledge, over TLS by ALPN `h2`. WebSocket by Upgrade on
    /// HTTP/1.1 all the same.
    H2c,
    /// HTTP/3 (`headrace.dev/h3`) with WebTransport, on UDP and always over TLS.
    Http3,
    /// Octets over TCP, whatever they mean.
    Stream,
    /// UDP datagrams, whatever they mean.
    Datagram,
}

/// A certificate chain with its private key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// `namespace/secret`, unique in the table.
    pub id: String,
    /// PEM, the end-entity certificate first.
    pub chain: String,
    /// PEM, PKCS#8, PKCS#1 or SEC1.
    pub key: String,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The id of the one [`Keys`] of a table.
pub const KEYS_ID: &str = "quic";

/// What the pods of a pod set share for QUIC. Octets are in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// [`KEYS_ID`].
    pub id: String,
    /// Grows with every change of a configuration's phase.
    pub revision: u64,
    /// How connection IDs are made and read, sorted by number. At most one encodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configurations: Vec<Configuration>,
    /// Of packets from pod to pod. In this list as in the others the first is for what is made anew, all are accepted,
    /// and there is at least one.
    pub hop: Vec<Secret>,
    /// Of stateless reset tokens (RFC 9000 section 10.3). There is one, since a token says nothing of its key.
    pub reset: Secret,
    /// Of Retry and NEW_TOKEN tokens (RFC 9000 section 8.1).
    pub tokens: Vec<Secret>,
    /// Of TLS tickets (RFC 8446 section 4.6.1).
    pub tickets: Vec<Secret>,
}

/// A configuration of connection IDs (draft-ietf-quic-load-balancers).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// 0 to 6, unique in the table.
    pub number: u8,
    /// Who makes IDs with it.
    pub phase: Phase,
    /// Whether who watches can read the server ID.
    pub form: Form,
    /// Octets of the server ID.
    pub server_id_octets: u8,
    /// Octets of the nonce.
    pub nonce_octets: u8,
    /// 16 octets.
    pub key: String,
}

impl std::fmt::Debug for Configuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Configuration")
            .field("number", &self.number)
            .field("phase", &self.phase)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

/// Where a configuration stands in its rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// It decodes. Nobody encodes with it, since somebody may not have heard of it yet.
    Published,
    /// It decodes, and new IDs are made with it.
    Encoding,
    /// It decodes for the sake of IDs that were made with it.
    Draining,
}

/// Whether who watches can read the server ID of a connection ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Form {
    /// Who has the key can.
    Encrypted,
    /// Everybody can. The key hides how nonces follow on each other.
    Clear,
}

/// A secret that the pods of a pod set share.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Unique in its list. It may stand in what is made with the secret, and says nothing of it.
    pub id: u32,
    /// 32 octets.
    pub octets: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A pod that serves the table, or did until a moment ago.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The pod's UID, unique in the table.
    pub id: String,
    /// The pod's name.
    pub pod: String,
    /// What connection IDs name it by, in hexadecimal: 1 to 15 octets, unique among those that are not gone.
    pub server_id: String,
    /// How often the server ID had been allotted before.
    pub allotment: u32,
    /// `address:port` where it takes packets of other pods. Absent: nothing can be forwarded to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<String>,
    /// Whether it is there.
    pub standing: Standing,
}

/// Whether a pod is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Standing {
    /// It serves.
    Live,
    /// It is to go, and serves what it has.
    Draining,
    /// It is not: whoever is told so may reset its connections.
    Gone,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_any_kind(value: &Opens) -> bool {
    *value == Opens::Any
}
