//! Owns what the application decides about a connection, and the bounds that it cannot widen.

use crate::{qpack::Limits, settings::Settings, webtransport};

/// The largest field section a side takes unless told otherwise, decoded. Envoy's default for headers is 60 KiB and
/// nginx's 32 KiB; clients rarely send over 8.
pub const DEFAULT_MAX_FIELD_SECTION_SIZE: u64 = 32 << 10;

/// How many field lines one section may have. Chromium sends each of up to 180 cookies of a site as a line of its own.
pub const MAX_FIELD_LINES: usize = 512;

/// How many octets an encoded section may have beyond what it may have decoded. A sensible encoder's output is always
/// smaller than its input is counted; this is for the prefix and for tiny limits.
pub const ENCODED_SLACK: u64 = 64;

/// How many frames may come before the head of a request or of the final response: unknown ones and interim responses.
/// Each is work for no progress. Those who grease send one or two.
pub const MAX_BEFORE_HEAD: u8 = 64;

/// How many more requests than are answered may be given up before their answer: by the client's resets, or because
/// they were malformed. Each costs the client a packet and this side a request. Browsers cancel a page's dozens at once.
pub const MAX_UNANSWERED: u32 = 256;

/// How many unidirectional streams may be open whose type has not come yet. QUIC's own limit should be of this order.
pub const MAX_UNTYPED_STREAMS: usize = 16;

/// The longest PRIORITY_UPDATE payload. `u=7, i` with a stream ID takes under 16 octets.
pub const MAX_PRIORITY_PAYLOAD: usize = 256;

/// What the application decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// The largest field section taken, decoded, as RFC 9114 section 4.2.2 counts it. It is announced in SETTINGS.
    pub max_field_section_size: u64,
    /// Whether a server offers extended CONNECT (RFC 9220). It has no meaning for a client.
    pub extended_connect: bool,
    /// More settings to announce, by identifier: what extensions need that this crate has no field for.
    pub more_settings: Vec<(u64, u64)>,
    /// What a side that speaks WebTransport allows its peer; `None` is one that does not. A server needs
    /// [`Config::extended_connect`] for it, and both sides need QUIC's datagrams.
    pub webtransport: Option<webtransport::Config>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_field_section_size: DEFAULT_MAX_FIELD_SECTION_SIZE,
            extended_connect: true,
            more_settings: Vec::new(),
            webtransport: None,
        }
    }
}

impl Config {
    /// The SETTINGS that this side announces. The QPACK capacities stay zero: see the `qpack` module.
    pub(crate) fn settings(&self, server: bool) -> Settings {
        let mut settings = Settings {
            max_field_section_size: Some(self.max_field_section_size),
            enable_connect_protocol: server && self.extended_connect,
            others: self.more_settings.clone(),
            ..Settings::default()
        };
        if let Some(webtransport) = &self.webtransport {
            webtransport::draft::announce(webtransport, &mut settings);
        }
        settings
    }

    /// The bounds on a section that is decoded.
    pub(crate) fn limits(&self) -> Limits {
        Limits { size: self.max_field_section_size, lines: MAX_FIELD_LINES }
    }
}
