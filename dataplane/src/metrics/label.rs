//! Values that labels can take. Every label is a closed enum, so that the number of series is known in advance and no
//! client can make more of them.

/// Declares label enums: each variant with its value, in the order in which series are kept.
macro_rules! labels {
    ($($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $value:literal,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $name {
            $($(#[$variant_meta])* $variant,)*
        }

        #[allow(dead_code, reason = "every label has the same face, and not every part of it is asked of each")]
        impl $name {
            /// Every variant, in order.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Every value, in order.
            pub(crate) const LABELS: &'static [&'static str] = &[$($value,)*];

            /// The value that is shown.
            pub(crate) const fn label(self) -> &'static str {
                Self::LABELS[self as usize]
            }
        }
    )*};
}

labels! {
    /// Whether a TLS session is known here that a client came back with.
    pub(crate) enum Resumption {
        /// It is.
        Known = "known",
        /// It is not: of another process, too old, used before, or nobody's.
        Unknown = "unknown",
    }

    /// Why a client has to show that its address is its own.
    pub(crate) enum RetryReason {
        /// Every client has to.
        Always = "always",
        /// Many handshakes are half open.
        UnderLoad = "under_load",
    }

    /// What became of a request in early data (RFC 8470).
    pub(crate) enum EarlyOutcome {
        /// It was served before the handshake was complete.
        Served = "served",
        /// It waited for the handshake, since it is not safe, has a body, or opens a tunnel.
        Waited = "waited",
        /// It was sent to its backend once more after the handshake, as the backend asked for by 425.
        Repeated = "repeated",
        /// It was refused by 425: it is not safe, and came in early data on an earlier hop.
        TooEarly = "too_early",
    }

    /// The HTTP version that the client speaks.
    pub(crate) enum Version {
        /// HTTP/1.0 and HTTP/1.1.
        Http1 = "http1",
        /// HTTP/2.
        Http2 = "http2",
        /// HTTP/3.
        Http3 = "http3",
    }

    /// Which way bytes went.
    pub(crate) enum Direction {
        /// From clients.
        DownstreamReceived = "downstream_received",
        /// To clients.
        DownstreamSent = "downstream_sent",
    }

    /// What carries a connection.
    pub enum Transport {
        /// TCP, with TLS or without.
        Tcp = "tcp",
        /// QUIC.
        Quic = "quic",
    }

    /// The class of a response's status.
    pub(crate) enum Class {
        /// 101; other interim responses are not counted.
        Informational = "1xx",
        /// 200 to 299.
        Successful = "2xx",
        /// 300 to 399.
        Redirection = "3xx",
        /// 400 to 499.
        ClientError = "4xx",
        /// 500 and above.
        ServerError = "5xx",
    }

    /// Why a WebSocket handshake did not open a tunnel.
    pub(crate) enum Refusal {
        /// No rule matches.
        NoRoute = "no_route",
        /// The rule does not allow the `Origin`.
        Origin = "origin",
        /// The backend chose a subprotocol that was not offered.
        Subprotocol = "subprotocol",
        /// The handshake is malformed (RFC 6455 section 4.2.1).
        BadHandshake = "bad_handshake",
        /// The `:protocol` of an extended CONNECT is not one of ours (RFC 9220 section 3).
        UnknownProtocol = "unknown_protocol",
        /// It came in early data on an earlier hop, so that it may be a replay (RFC 8470).
        TooEarly = "too_early",
        /// The rule has no backend, or its backend no endpoint.
        NoBackend = "no_backend",
        /// No endpoint could be connected to.
        BackendUnreachable = "backend_unreachable",
        /// The backend's certificate is not one that it has to have.
        BackendCertificate = "backend_certificate",
        /// TLS with the backend failed otherwise.
        BackendTls = "backend_tls",
        /// The backend answered with a status other than 101.
        BackendStatus = "backend_status",
        /// The backend's `Sec-WebSocket-Accept` does not fit our key (RFC 6455 section 4.1).
        BadAccept = "bad_accept",
        /// The backend's answer is no HTTP, or breaks the handshake's rules otherwise.
        BackendProtocol = "backend_protocol",
        /// The backend did not answer in time.
        HandshakeTimeout = "handshake_timeout",
        /// The client gave up first.
        ClientGone = "client_gone",
    }

    /// How a TLS or QUIC handshake ended.
    pub(crate) enum HandshakeResult {
        /// The connection is established.
        Ok = "ok",
        /// No certificate for the name that the client asked for.
        NoCertificate = "no_certificate",
        /// The client sent an alert: it does not trust the certificate, for example.
        Alert = "alert",
        /// It took too long.
        Timeout = "timeout",
        /// We refused the connection before its handshake.
        Refused = "refused",
        /// Anything else: no common version or cipher suite, garbage, or a lost connection.
        Failed = "failed",
    }

    /// What became of a connection during a drain.
    pub(crate) enum DrainResult {
        /// It ended by itself.
        Finished = "finished",
        /// It was still there at the deadline.
        Cut = "cut",
    }

    /// What became of a datagram that arrived at the wrong worker.
    pub(crate) enum Handover {
        /// The right worker has it.
        Taken = "taken",
        /// The right worker had too many waiting.
        Dropped = "dropped",
    }

    /// What a client's new address has of its last one.
    pub(crate) enum Change {
        /// All but the port, as behind a NAT that has forgotten the client (a rebinding).
        Port = "port",
        /// Nothing: the client is on another network (a migration), or its NAT has several addresses.
        Address = "address",
    }

    /// Whose connection a client is told to be over.
    pub(crate) enum Owner {
        /// This pod's, before it was started again or since the connection was closed.
        Own = "own",
        /// That of a pod that is gone.
        Gone = "gone",
    }

    /// Which way a packet between pods goes.
    pub(crate) enum HopKind {
        /// From the pod where a client's datagram arrived to the one that has its connection.
        Forward = "forward",
        /// From that one to the pod where the client's datagrams arrive.
        Return = "return",
    }

    /// What became of a datagram for a peer.
    pub(crate) enum HopSent {
        /// It is on its way.
        Sent = "sent",
        /// As many as may be had been forwarded to that peer.
        Limited = "limited",
        /// The socket took no more.
        Blocked = "blocked",
        /// The peer has no address for the hop that this pod reaches.
        NoWay = "no_way",
        /// It could not be made into a packet.
        Unsealed = "unsealed",
    }

    /// Why a packet of a peer, or one that says so, was dropped.
    pub(crate) enum HopDrop {
        /// It is no packet of this version.
        Malformed = "malformed",
        /// Nobody of that server ID is a peer.
        UnknownSender = "unknown_sender",
        /// There is no such secret.
        UnknownSecret = "unknown_secret",
        /// A later process of its sender has been heard.
        EarlierBoot = "earlier_boot",
        /// It is not from its sender, or not for us, or was changed.
        WrongTag = "wrong_tag",
        /// It was there before, or is too old to tell.
        Replayed = "replayed",
        /// It is for yet another pod, as this one sees it.
        Looped = "looped",
        /// No endpoint or socket of this pod takes it now.
        Undelivered = "undelivered",
        /// It met congestion that its endpoints could not be told of (RFC 6040 section 4.2).
        Congested = "congested",
    }

    /// Why a connection ID names nobody (draft-ietf-quic-load-balancers, "Unroutable Connection IDs").
    pub(crate) enum UndecodableReason {
        /// There is none, or none that is whole.
        Missing = "missing",
        /// It says so itself.
        Reserved = "reserved",
        /// No configuration has its number.
        UnknownConfig = "unknown_config",
        /// It is not as long as its configuration's are.
        Length = "length",
        /// Nobody answers to its server ID.
        InactiveServer = "inactive_server",
    }

    /// Why a connection ID that was issued does not say which pod it is of.
    pub(crate) enum UnroutableReason {
        /// No configuration encodes, or this pod has no server ID.
        NoConfig = "no_config",
        /// Its configuration's IDs cannot be steered between workers.
        Unsteerable = "unsteerable",
        /// The process was started too often.
        OutOfIncarnations = "out_of_incarnations",
        /// All nonces of the configuration are used up.
        Exhausted = "exhausted",
        /// None that was drawn fitted the worker.
        NoFit = "no_fit",
    }

    /// Why a request or a tunnel ended otherwise than by both sides' wish.
    pub(crate) enum ResetCause {
        /// The client reset the stream.
        ClientReset = "client_reset",
        /// The backend reset or lost the connection.
        BackendReset = "backend_reset",
        /// The request took longer than the rule allows.
        RequestTimeout = "request_timeout",
        /// The request's header section did not arrive in time.
        HeaderTimeout = "header_timeout",
        /// No byte in either direction for as long as the rule allows.
        IdleTimeout = "idle_timeout",
        /// The tunnel reached the age that the rule allows.
        Lifetime = "lifetime",
        /// The client broke the protocol.
        ProtocolError = "protocol_error",
    }

    /// What a WebTransport session leads to.
    pub(crate) enum SessionMode {
        /// A session with a backend.
        Session = "session",
        /// TCP connections and a UDP flow.
        Streams = "streams",
    }

    /// Which draft of WebTransport a client is held to.
    pub(crate) enum SessionDraft {
        /// Chromium's and Firefox's default.
        Draft02 = "draft02",
        /// 07 to 12.
        Draft07 = "draft07",
        /// Safari's.
        Draft13 = "draft13",
        /// The first one with the token `webtransport-h3`.
        Draft14 = "draft14",
        /// 15 and since.
        Draft15 = "draft15",
    }

    /// Why a request for a WebTransport session did not open one.
    pub(crate) enum SessionRefusal {
        /// The client's settings and its request do not go together, or the request is malformed.
        Requirements = "requirements",
        /// The connection has as many sessions as it may.
        TooMany = "too_many",
        /// It came in early data, here or on an earlier hop, so that it may be a replay (RFC 8470).
        TooEarly = "too_early",
        /// No rule matches.
        NoRoute = "no_route",
        /// A rule matches, and none that opens sessions.
        NotHere = "not_here",
        /// The rule does not allow the `Origin`.
        Origin = "origin",
        /// The rule has no backend, or its backend no endpoint.
        NoBackend = "no_backend",
        /// No endpoint could be connected to.
        BackendUnreachable = "backend_unreachable",
        /// The backend's certificate is not one that it has to have.
        BackendCertificate = "backend_certificate",
        /// TLS with the backend failed otherwise.
        BackendTls = "backend_tls",
        /// The backend answered with a status other than 2xx.
        BackendStatus = "backend_status",
        /// The backend has no WebTransport, or broke off.
        BackendProtocol = "backend_protocol",
        /// The backend chose a subprotocol that was not offered.
        Subprotocol = "subprotocol",
        /// The backend did not answer in time.
        Timeout = "timeout",
        /// The client gave up first.
        ClientGone = "client_gone",
    }

    /// Who opened a stream of a session, or sent a datagram.
    pub(crate) enum SessionSide {
        /// The client.
        Client = "client",
        /// The backend.
        Backend = "backend",
    }

    /// Which directions a stream of a session has.
    pub(crate) enum StreamKind {
        /// Both.
        Bidirectional = "bidirectional",
        /// From who opened it.
        Unidirectional = "unidirectional",
    }

    /// Why a stream of a session was refused.
    pub(crate) enum StreamRefusal {
        /// As many as the rule allows are open.
        TooMany = "too_many",
        /// As many as the rule allows in a second were opened.
        Rate = "rate",
        /// It came before its session, and no more may wait.
        Early = "early",
        /// The rule has no backend for streams, or its backend no endpoint.
        NoBackend = "no_backend",
        /// No endpoint could be connected to.
        BackendUnreachable = "backend_unreachable",
    }

    /// Why a datagram of a session was dropped.
    pub(crate) enum DatagramDrop {
        /// Newer ones came before the other side could take it.
        Queue = "queue",
        /// It is larger than the rule allows, or than the other side's path takes.
        TooLarge = "too_large",
        /// As many as the rule allows in a second had come.
        Rate = "rate",
        /// It came before its session, and no more may wait.
        Early = "early",
        /// The rule has no backend for datagrams, or it cannot be reached.
        NoBackend = "no_backend",
    }

    /// How a session ended.
    pub(crate) enum SessionEnd {
        /// The client's application closed it.
        ClientClosed = "client_closed",
        /// The backend's application closed it.
        BackendClosed = "backend_closed",
        /// The client reset it.
        ClientReset = "client_reset",
        /// The backend reset it.
        BackendReset = "backend_reset",
        /// The client's connection ended.
        ClientGone = "client_gone",
        /// The backend's connection ended.
        BackendGone = "backend_gone",
        /// The client broke the protocol, or a limit that it was told of.
        ClientViolation = "client_violation",
        /// The backend did.
        BackendViolation = "backend_violation",
        /// No octet in either direction for as long as the rule allows.
        IdleTimeout = "idle_timeout",
        /// It reached the age that the rule allows.
        Lifetime = "lifetime",
    }

    /// How an attempt to connect to an endpoint ended.
    pub(crate) enum ConnectResult {
        /// The connection is established.
        Ok = "ok",
        /// Nothing listens there.
        Refused = "refused",
        /// No answer in time.
        Timeout = "timeout",
        /// The TLS handshake failed, or the endpoint does not speak TLS.
        Tls = "tls",
        /// The endpoint's certificate is not one that the backend has to have.
        Certificate = "certificate",
        /// Anything else: no route to it, or no socket left.
        Failed = "failed",
    }

    /// Whether a listener's sockets are open.
    pub(crate) enum ListenerState {
        /// Bound by every worker.
        Serving = "serving",
        /// Could not be bound.
        Failed = "failed",
    }

    /// What came of dialling one controller, or of preparing to.
    pub(crate) enum DialResult {
        /// It publishes to us.
        Ok = "ok",
        /// It is there and is not the leader.
        Follower = "follower",
        /// The CA's certificates cannot be read or are none.
        Ca = "ca",
        /// The token cannot be read or is none.
        Token = "token",
        /// The name has no address.
        Name = "name",
        /// Nothing listens at the address, or it cannot be reached.
        Connect = "connect",
        /// The TLS handshake failed: the certificate is not trusted, or is another's.
        Tls = "tls",
        /// No answer in time.
        Timeout = "timeout",
        /// The controller does not accept who we are.
        Unauthenticated = "unauthenticated",
        /// Anything else that it answered.
        Failed = "failed",
    }

    /// What became of an update.
    pub(crate) enum UpdateResult {
        /// It is served.
        Accepted = "accepted",
        /// It is no table that can be served; the last good one is.
        Rejected = "rejected",
        /// It did not arrive as it was sent, or breaks the protocol.
        Broken = "broken",
    }

    /// What became of the last good table on disk.
    pub(crate) enum StoredTableEvent {
        /// Written.
        Written = "written",
        /// Could not be written.
        WriteFailed = "write_failed",
        /// Read at the start, and served.
        Restored = "restored",
        /// Found at the start and not usable.
        Unusable = "unusable",
    }
}

impl From<headrace_cid::Unroutable> for UndecodableReason {
    fn from(why: headrace_cid::Unroutable) -> Self {
        match why {
            headrace_cid::Unroutable::Missing => Self::Missing,
            headrace_cid::Unroutable::Reserved => Self::Reserved,
            headrace_cid::Unroutable::Config(_) => Self::UnknownConfig,
            headrace_cid::Unroutable::Length => Self::Length,
            headrace_cid::Unroutable::Server(_) => Self::InactiveServer,
        }
    }
}

impl From<headrace_hop::Kind> for HopKind {
    fn from(kind: headrace_hop::Kind) -> Self {
        match kind {
            headrace_hop::Kind::Forward => Self::Forward,
            headrace_hop::Kind::Return => Self::Return,
        }
    }
}

impl From<headrace_hop::Refused> for HopDrop {
    fn from(why: headrace_hop::Refused) -> Self {
        match why {
            headrace_hop::Refused::Malformed(_) => Self::Malformed,
            headrace_hop::Refused::Sender => Self::UnknownSender,
            headrace_hop::Refused::Secret => Self::UnknownSecret,
            headrace_hop::Refused::Boot => Self::EarlierBoot,
            headrace_hop::Refused::Tag => Self::WrongTag,
            headrace_hop::Refused::Replayed => Self::Replayed,
        }
    }
}

impl From<headrace_cid::Unissued> for UnroutableReason {
    fn from(why: headrace_cid::Unissued) -> Self {
        match why {
            headrace_cid::Unissued::NoConfig => Self::NoConfig,
            headrace_cid::Unissued::Unsteerable => Self::Unsteerable,
            headrace_cid::Unissued::OutOfIncarnations => Self::OutOfIncarnations,
            headrace_cid::Unissued::Exhausted => Self::Exhausted,
            headrace_cid::Unissued::NoFit => Self::NoFit,
        }
    }
}

impl Class {
    /// The class of a status code.
    pub(crate) fn of(status: http::StatusCode) -> Self {
        match status.as_u16() {
            100..=199 => Self::Informational,
            200..=299 => Self::Successful,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}
