//! Owns the SETTINGS frame's payload (RFC 9114 section 7.2.4): what a peer said of itself, and what this side says.

use thiserror::Error;

use crate::{code::Code, varint};

/// Settings identifiers (RFC 9114 section 11.2.2 and the extensions that this crate knows).
pub mod id {
    /// RFC 9204 section 5.
    pub const QPACK_MAX_TABLE_CAPACITY: u64 = 0x01;
    /// RFC 9114 section 7.2.4.1.
    pub const MAX_FIELD_SECTION_SIZE: u64 = 0x06;
    /// RFC 9204 section 5.
    pub const QPACK_BLOCKED_STREAMS: u64 = 0x07;
    /// RFC 9220 section 5.
    pub const ENABLE_CONNECT_PROTOCOL: u64 = 0x08;
    /// RFC 9297 section 5.2.
    pub const H3_DATAGRAM: u64 = 0x33;
    /// HTTP datagrams as drafts before RFC 9297 had them (draft-ietf-masque-h3-datagram-04).
    pub const H3_DATAGRAM_DRAFT04: u64 = 0x00ff_d277;
    /// draft-ietf-webtrans-http3-02 section 8.2.
    pub const ENABLE_WEBTRANSPORT: u64 = 0x2b60_3742;
    /// draft-ietf-webtrans-http3-07 section 8.2, until draft 12.
    pub const WEBTRANSPORT_MAX_SESSIONS: u64 = 0xc671_706a;
    /// draft-ietf-webtrans-http3-13 section 9.2, and 14.
    pub const WT_MAX_SESSIONS: u64 = 0x14e9_cd29;
    /// draft-ietf-webtrans-http3-15 section 9.2, and since.
    pub const WT_ENABLED: u64 = 0x2c7c_f000;
    /// draft-ietf-webtrans-http3 section 5.5.3.
    pub const WT_INITIAL_MAX_DATA: u64 = 0x2b61;
    /// draft-ietf-webtrans-http3 section 5.5.1.
    pub const WT_INITIAL_MAX_STREAMS_UNI: u64 = 0x2b64;
    /// draft-ietf-webtrans-http3 section 5.5.2.
    pub const WT_INITIAL_MAX_STREAMS_BIDI: u64 = 0x2b65;
}

/// The longest SETTINGS payload that is read. The longest that is seen in the field has under 100 octets.
pub const MAX_PAYLOAD: usize = 1024;

/// How many settings a frame may carry. With it, finding duplicates by looking at every earlier one stays cheap.
pub const MAX_SETTINGS: usize = 64;

/// One side's settings. What it did not say has the value that the protocol gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The largest field section the sender takes, decoded; `None` when it set no limit.
    pub max_field_section_size: Option<u64>,
    /// The largest dynamic table the sender's decoder keeps.
    pub qpack_max_table_capacity: u64,
    /// How many streams the sender's decoder lets wait for the dynamic table.
    pub qpack_blocked_streams: u64,
    /// Whether the sender takes extended CONNECT (RFC 9220).
    pub enable_connect_protocol: bool,
    /// Whether the sender takes HTTP datagrams (RFC 9297).
    pub h3_datagram: bool,
    /// Every other setting in the order it came, at most [`MAX_SETTINGS`], so that extensions can be looked for.
    pub others: Vec<(u64, u64)>,
}

/// Why a SETTINGS payload was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// The payload ends within a setting.
    #[error("SETTINGS ends within a setting")]
    Truncated,
    /// The same identifier came twice.
    #[error("setting {0:#x} came twice")]
    Duplicate(u64),
    /// An HTTP/2 setting that HTTP/3 reserves.
    #[error("setting {0:#x} is reserved")]
    Reserved(u64),
    /// A value that the setting's definition does not allow.
    #[error("setting {0:#x} has a value that is not allowed")]
    Value(u64),
    /// More settings than anybody needs.
    #[error("more than {MAX_SETTINGS} settings")]
    TooMany,
}

impl SettingsError {
    /// The connection error to close with.
    pub const fn code(self) -> Code {
        match self {
            Self::Truncated => Code::H3_FRAME_ERROR,
            Self::Duplicate(_) | Self::Reserved(_) | Self::Value(_) => Code::H3_SETTINGS_ERROR,
            Self::TooMany => Code::H3_EXCESSIVE_LOAD,
        }
    }
}

impl Settings {
    /// The value of a setting that has no field of its own.
    pub fn other(&self, id: u64) -> Option<u64> {
        self.others.iter().find(|(other, _)| *other == id).map(|(_, value)| *value)
    }

    /// Reads a SETTINGS payload.
    pub fn decode(mut payload: &[u8]) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        let mut seen = [0; MAX_SETTINGS];
        let mut count = 0;
        while !payload.is_empty() {
            let (id, id_size) = varint::decode(payload).ok_or(SettingsError::Truncated)?;
            let (value, value_size) = varint::decode(&payload[id_size..]).ok_or(SettingsError::Truncated)?;
            payload = &payload[id_size + value_size..];
            if seen[..count].contains(&id) {
                return Err(SettingsError::Duplicate(id));
            }
            *seen.get_mut(count).ok_or(SettingsError::TooMany)? = id;
            count += 1;
            settings.set(id, value)?;
        }
        Ok(settings)
    }

    fn set(&mut self, id: u64, value: u64) -> Result<(), SettingsError> {
        let switch = |value| match value {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(SettingsError::Value(id)),
        };
        match id {
            id::QPACK_MAX_TABLE_CAPACITY => self.qpack_max_table_capacity = value,
            id::MAX_FIELD_SECTION_SIZE => self.max_field_section_size = Some(value),
            id::QPACK_BLOCKED_STREAMS => self.qpack_blocked_streams = value,
            id::ENABLE_CONNECT_PROTOCOL => self.enable_connect_protocol = switch(value)?,
            id::H3_DATAGRAM => self.h3_datagram = switch(value)?,
            // RFC 9114 section 7.2.4.1: settings that HTTP/2 defined and HTTP/3 has no use for.
            0x00 | 0x02..=0x05 => return Err(SettingsError::Reserved(id)),
            _ => self.others.push((id, value)),
        }
        Ok(())
    }

    /// Appends the payload that says this. Values at their defaults are said too where silence would be ambiguous.
    ///
    /// # Panics
    /// When an identifier or a value is no QUIC variable-length integer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut put = |id, value| {
            varint::append(id, out);
            varint::append(value, out);
        };
        put(id::QPACK_MAX_TABLE_CAPACITY, self.qpack_max_table_capacity);
        put(id::QPACK_BLOCKED_STREAMS, self.qpack_blocked_streams);
        if let Some(size) = self.max_field_section_size {
            put(id::MAX_FIELD_SECTION_SIZE, size);
        }
        if self.enable_connect_protocol {
            put(id::ENABLE_CONNECT_PROTOCOL, 1);
        }
        if self.h3_datagram {
            put(id::H3_DATAGRAM, 1);
        }
        for (id, value) in &self.others {
            put(*id, *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(pairs: &[(u64, u64)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (id, value) in pairs {
            varint::append(*id, &mut out);
            varint::append(*value, &mut out);
        }
        out
    }

    #[test]
    fn round_trip() {
        let settings = Settings {
            max_field_section_size: Some(16_384),
            enable_connect_protocol: true,
            h3_datagram: true,
            others: vec![(0x2c7c_f000, 1), (0x21, 7)],
            ..Settings::default()
        };
        let mut out = Vec::new();
        settings.encode(&mut out);
        assert_eq!(Settings::decode(&out), Ok(settings.clone()));
        assert_eq!(settings.other(0x2c7c_f000), Some(1));
        assert_eq!(Settings::decode(&[]), Ok(Settings::default()));
    }

    #[test]
    fn refusals() {
        let many: Vec<_> = (0..=MAX_SETTINGS as u64).map(|n| (0x1000 + n, n)).collect();
        let cases: Vec<(Vec<u8>, SettingsError, Code)> = vec![
            (payload(&[(6, 1), (6, 1)]), SettingsError::Duplicate(6), Code::H3_SETTINGS_ERROR),
            (payload(&[(0x21, 1), (0x21, 2)]), SettingsError::Duplicate(0x21), Code::H3_SETTINGS_ERROR),
            (payload(&[(2, 1)]), SettingsError::Reserved(2), Code::H3_SETTINGS_ERROR),
            (payload(&[(5, 1)]), SettingsError::Reserved(5), Code::H3_SETTINGS_ERROR),
            (payload(&[(8, 2)]), SettingsError::Value(8), Code::H3_SETTINGS_ERROR),
            (payload(&[(0x33, 2)]), SettingsError::Value(0x33), Code::H3_SETTINGS_ERROR),
            (vec![6], SettingsError::Truncated, Code::H3_FRAME_ERROR),
            (vec![6, 0x40], SettingsError::Truncated, Code::H3_FRAME_ERROR),
            (payload(&many), SettingsError::TooMany, Code::H3_EXCESSIVE_LOAD),
        ];
        for (octets, error, code) in cases {
            assert_eq!(Settings::decode(&octets), Err(error));
            assert_eq!(error.code(), code);
        }
    }
}
