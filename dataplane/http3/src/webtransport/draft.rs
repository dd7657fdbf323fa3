//! Owns which draft of draft-ietf-webtrans-http3 a session is held to: what this side announces, and what the peer's
//! settings and request say.
//!
//! | draft | setting | `:protocol` |
//! |---|---|---|
//! | 02 | ENABLE_WEBTRANSPORT 0x2b603742 = 1 | webtransport, with `sec-webtransport-http3-draft02: 1` |
//! | 07 to 12 | WEBTRANSPORT_MAX_SESSIONS 0xc671706a | webtransport |
//! | 13 | WT_MAX_SESSIONS 0x14e9cd29 | webtransport |
//! | 14 | WT_MAX_SESSIONS 0x14e9cd29 | webtransport-h3 |
//! | 15 and since | WT_ENABLED 0x2c7cf000 = 1 | webtransport-h3 |
//!
//! All are announced together. A session gets the highest one that the client shows and whose token it used.

use thiserror::Error;

use super::{config::Config, flow::Limits};
use crate::{
    code::Code,
    settings::{Settings, id},
};

/// The token of drafts up to 13.
pub const TOKEN: &str = "webtransport";

/// The token since draft 14.
pub const TOKEN_H3: &str = "webtransport-h3";

/// What a client of draft 02 sends with its request.
pub const DRAFT02_REQUEST: &str = "sec-webtransport-http3-draft02";

/// What a server of draft 02 answers with.
pub const DRAFT02_RESPONSE: &str = "sec-webtransport-http3-draft";

/// The value of [`DRAFT02_RESPONSE`].
pub const DRAFT02_RESPONSE_VALUE: &str = "draft02";

/// Whether an extended CONNECT asks for a WebTransport session, of any draft.
pub fn is_token(protocol: &str) -> bool {
    protocol == TOKEN || protocol == TOKEN_H3
}

/// The drafts that differ from each other in what is done here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Draft {
    /// Chromium's and Firefox's default.
    Draft02,
    /// 07 to 12: Chromium with a flag.
    Draft07,
    /// Safari 26.4.
    Draft13,
    /// The first one with the new token.
    Draft14,
    /// 15 and since.
    Draft15,
}

/// Why settings and a request allow no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unmet {
    /// The peer announced no WebTransport that this side knows.
    #[error("the peer shows no draft of WebTransport that is known here")]
    NoDraft,
    /// The peer takes no HTTP datagrams, in SETTINGS or in QUIC.
    #[error("the peer takes no datagrams")]
    NoDatagrams,
    /// The request is for another scheme than `https`.
    #[error("a session is https")]
    Scheme,
    /// A setting has a value that its draft does not allow: the connection is closed with H3_SETTINGS_ERROR.
    #[error("a WebTransport setting has a value that is not allowed")]
    Setting,
}

impl Draft {
    /// The label in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Draft02 => "draft02",
            Self::Draft07 => "draft07",
            Self::Draft13 => "draft13",
            Self::Draft14 => "draft14",
            Self::Draft15 => "draft15",
        }
    }

    /// The value of `:protocol`.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Draft02 | Self::Draft07 | Self::Draft13 => TOKEN,
            Self::Draft14 | Self::Draft15 => TOKEN_H3,
        }
    }

    /// Whether several sessions may share a connection that has no flow control for sessions. Drafts since 13 forbid it
    /// (section 5.1); those before know no such flow control.
    pub const fn pools_without_flow_control(self) -> bool {
        matches!(self, Self::Draft02 | Self::Draft07)
    }

    /// The draft of a client's request, by what its settings show, the token, and whether [`DRAFT02_REQUEST`] came.
    pub fn of_request(settings: &Settings, token: &str, draft02: bool) -> Result<Self, Unmet> {
        let shown = Shown::of(settings);
        let draft = if token == TOKEN_H3 {
            // A client of the finished protocol need not show anything (section 3.1), and there is no other with this
            // token.
            if shown.enabled == 0 && shown.sessions_13 > 0 { Self::Draft14 } else { Self::Draft15 }
        } else if shown.sessions_13 > 0 {
            Self::Draft13
        } else if shown.sessions_07 > 0 {
            Self::Draft07
        } else if shown.enabled_02 > 0 || draft02 {
            Self::Draft02
        } else if shown.enabled > 0 {
            // Its settings are of a draft later than its token, which some clients did not change with them.
            Self::Draft15
        } else {
            return Err(Unmet::NoDraft);
        };
        if shown.datagrams { Ok(draft) } else { Err(Unmet::NoDatagrams) }
    }

    /// The draft to ask a server for: the highest that its settings show. Which token a server of 13 or 14 knows cannot
    /// be seen; the older one is the one that servers of both take.
    pub fn of_server(settings: &Settings) -> Result<Self, Unmet> {
        let shown = Shown::of(settings);
        let draft = match shown {
            Shown { enabled: 2.., .. } => return Err(Unmet::Setting),
            Shown { enabled: 1, .. } => Self::Draft15,
            Shown { sessions_13: 1.., .. } => Self::Draft13,
            Shown { sessions_07: 1.., .. } => Self::Draft07,
            Shown { enabled_02: 2.., .. } => return Err(Unmet::Setting),
            Shown { enabled_02: 1, .. } => Self::Draft02,
            _ => return Err(Unmet::NoDraft),
        };
        if shown.datagrams { Ok(draft) } else { Err(Unmet::NoDatagrams) }
    }

    /// How many sessions at once a server's settings allow, if they say.
    pub fn max_sessions(self, settings: &Settings) -> Option<u64> {
        match self {
            Self::Draft07 => settings.other(id::WEBTRANSPORT_MAX_SESSIONS),
            Self::Draft13 | Self::Draft14 => settings.other(id::WT_MAX_SESSIONS),
            Self::Draft02 | Self::Draft15 => None,
        }
    }
}

impl Unmet {
    /// What the request is reset with, or the connection closed.
    pub const fn code(self) -> Code {
        match self {
            // Section 3.1: such a request is malformed.
            Self::NoDraft | Self::NoDatagrams | Self::Scheme => Code::H3_MESSAGE_ERROR,
            Self::Setting => Code::H3_SETTINGS_ERROR,
        }
    }
}

/// What a peer's settings show.
#[derive(Clone, Copy)]
struct Shown {
    enabled: u64,
    sessions_13: u64,
    sessions_07: u64,
    enabled_02: u64,
    datagrams: bool,
}

impl Shown {
    fn of(settings: &Settings) -> Self {
        let value = |id| settings.other(id).unwrap_or(0);
        Self {
            enabled: value(id::WT_ENABLED),
            sessions_13: value(id::WT_MAX_SESSIONS),
            sessions_07: value(id::WEBTRANSPORT_MAX_SESSIONS),
            enabled_02: value(id::ENABLE_WEBTRANSPORT),
            datagrams: settings.h3_datagram || value(id::H3_DATAGRAM_DRAFT04) == 1,
        }
    }
}

/// Adds what this side announces, either role. Firefox takes no more than 1 as ENABLE_WEBTRANSPORT, and Safari no more
/// than one session without all three limits.
pub(crate) fn announce(config: &Config, settings: &mut Settings) {
    settings.h3_datagram = true;
    let sessions = u64::from(config.max_sessions);
    let limits = Limits::of_config(config);
    settings.others.extend([
        (id::ENABLE_WEBTRANSPORT, 1),
        (id::WEBTRANSPORT_MAX_SESSIONS, sessions),
        (id::WT_MAX_SESSIONS, sessions),
        (id::WT_ENABLED, 1),
        (id::WT_INITIAL_MAX_DATA, limits.data),
        (id::WT_INITIAL_MAX_STREAMS_UNI, limits.streams_uni),
        (id::WT_INITIAL_MAX_STREAMS_BIDI, limits.streams_bidi),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(others: &[(u64, u64)]) -> Settings {
        Settings { h3_datagram: true, others: others.to_vec(), ..Settings::default() }
    }

    /// A name, settings, the token, whether draft 02's header comes, and what the session's draft is.
    type Client = (&'static str, &'static [(u64, u64)], &'static str, bool, Result<Draft, Unmet>);

    /// What known clients send.
    #[test]
    fn clients() {
        use Draft::*;
        let cases: &[Client] = &[
            ("Chromium", &[(id::ENABLE_WEBTRANSPORT, 1), (0xffd277, 1)], TOKEN, true, Ok(Draft02)),
            (
                "Chromium with EnableWebTransportDraft07",
                &[(id::ENABLE_WEBTRANSPORT, 1), (id::WEBTRANSPORT_MAX_SESSIONS, 1)],
                TOKEN,
                false,
                Ok(Draft07),
            ),
            ("Firefox", &[(id::ENABLE_WEBTRANSPORT, 1)], TOKEN, true, Ok(Draft02)),
            ("Safari", &[(id::WT_MAX_SESSIONS, 1), (id::WT_INITIAL_MAX_DATA, 1)], TOKEN, false, Ok(Draft13)),
            ("draft 14", &[(id::WT_MAX_SESSIONS, 1)], TOKEN_H3, false, Ok(Draft14)),
            ("draft 15", &[(id::WT_ENABLED, 1)], TOKEN_H3, false, Ok(Draft15)),
            ("the finished protocol", &[], TOKEN_H3, false, Ok(Draft15)),
            ("aioquic", &[(id::ENABLE_WEBTRANSPORT, 1)], TOKEN, false, Ok(Draft02)),
            (
                "web-transport-quinn",
                &[(id::ENABLE_WEBTRANSPORT, 1), (0x2b60_3743, 1), (id::WEBTRANSPORT_MAX_SESSIONS, 1)],
                TOKEN,
                false,
                Ok(Draft07),
            ),
            ("everything, new", &[(id::WT_ENABLED, 1), (id::WT_MAX_SESSIONS, 1)], TOKEN_H3, false, Ok(Draft15)),
            ("everything, old", &[(id::WT_ENABLED, 1), (id::WT_MAX_SESSIONS, 1)], TOKEN, false, Ok(Draft13)),
            ("new settings, old token", &[(id::WT_ENABLED, 1)], TOKEN, false, Ok(Draft15)),
            ("a header alone", &[], TOKEN, true, Ok(Draft02)),
            ("nothing", &[], TOKEN, false, Err(Unmet::NoDraft)),
            ("a setting of 0", &[(id::WT_MAX_SESSIONS, 0)], TOKEN, false, Err(Unmet::NoDraft)),
        ];
        for (name, others, token, header, draft) in cases {
            assert_eq!(Draft::of_request(&settings(others), token, *header), *draft, "{name}");
            let dumb = Settings { h3_datagram: false, ..settings(others) };
            let expected = draft.and_then(|draft| match dumb.other(id::H3_DATAGRAM_DRAFT04) {
                Some(1) => Ok(draft),
                _ => Err(Unmet::NoDatagrams),
            });
            assert_eq!(Draft::of_request(&dumb, token, *header), expected, "{name} without datagrams");
        }
    }

    #[test]
    fn servers() {
        let mut ours = Settings::default();
        announce(&Config::default(), &mut ours);
        let cases: &[(&str, Settings, Result<Draft, Unmet>)] = &[
            ("ours", ours, Ok(Draft::Draft15)),
            ("draft 13", settings(&[(id::WT_MAX_SESSIONS, 5), (id::WEBTRANSPORT_MAX_SESSIONS, 5)]), Ok(Draft::Draft13)),
            (
                "draft 07",
                settings(&[(id::ENABLE_WEBTRANSPORT, 1), (id::WEBTRANSPORT_MAX_SESSIONS, 1)]),
                Ok(Draft::Draft07),
            ),
            ("draft 02", settings(&[(id::ENABLE_WEBTRANSPORT, 1)]), Ok(Draft::Draft02)),
            ("plain HTTP/3", settings(&[]), Err(Unmet::NoDraft)),
            ("enabled twice", settings(&[(id::WT_ENABLED, 2)]), Err(Unmet::Setting)),
            (
                "no datagrams",
                Settings { others: vec![(id::WT_ENABLED, 1)], ..Settings::default() },
                Err(Unmet::NoDatagrams),
            ),
        ];
        for (name, settings, draft) in cases {
            assert_eq!(Draft::of_server(settings), *draft, "{name}");
        }
    }

    /// Firefox and Safari are particular about what a server says.
    #[test]
    fn what_is_announced() {
        let mut settings = Settings::default();
        announce(&Config::default(), &mut settings);
        assert!(settings.h3_datagram);
        assert_eq!(settings.other(id::ENABLE_WEBTRANSPORT), Some(1));
        assert_eq!(settings.other(id::WT_ENABLED), Some(1));
        for limit in [id::WT_INITIAL_MAX_DATA, id::WT_INITIAL_MAX_STREAMS_BIDI, id::WT_INITIAL_MAX_STREAMS_UNI] {
            assert!(settings.other(limit) > Some(0));
        }
        let mut payload = Vec::new();
        settings.encode(&mut payload);
        assert_eq!(Settings::decode(&payload), Ok(settings));
    }
}
