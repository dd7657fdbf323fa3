//! Owns the static table of RFC 9204 appendix A, and the ways to look into it from both sides.

use http::{HeaderName, HeaderValue};

/// How many entries there are.
pub const LEN: usize = 99;

/// The table as the RFC prints it.
#[rustfmt::skip]
pub const ENTRIES: [(&str, &str); LEN] = [
    (":authority", ""),
    (":path", "/"),
    ("age", "0"),
    ("content-disposition", ""),
    ("content-length", "0"),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("referer", ""),
    ("set-cookie", ""),
    (":method", "CONNECT"),
    (":method", "DELETE"),
    (":method", "GET"),
    (":method", "HEAD"),
    (":method", "OPTIONS"),
    (":method", "POST"),
    (":method", "PUT"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "103"),
    (":status", "200"),
    (":status", "304"),
    (":status", "404"),
    (":status", "503"),
    ("accept", "*/*"),
    ("accept", "application/dns-message"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-ranges", "bytes"),
    ("access-control-allow-headers", "cache-control"),
    ("access-control-allow-headers", "content-type"),
    ("access-control-allow-origin", "*"),
    ("cache-control", "max-age=0"),
    ("cache-control", "max-age=2592000"),
    ("cache-control", "max-age=604800"),
    ("cache-control", "no-cache"),
    ("cache-control", "no-store"),
    ("cache-control", "public, max-age=31536000"),
    ("content-encoding", "br"),
    ("content-encoding", "gzip"),
    ("content-type", "application/dns-message"),
    ("content-type", "application/javascript"),
    ("content-type", "application/json"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "image/gif"),
    ("content-type", "image/jpeg"),
    ("content-type", "image/png"),
    ("content-type", "text/css"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-type", "text/plain"),
    ("content-type", "text/plain;charset=utf-8"),
    ("range", "bytes=0-"),
    ("strict-transport-security", "max-age=31536000"),
    ("strict-transport-security", "max-age=31536000; includesubdomains"),
    ("strict-transport-security", "max-age=31536000; includesubdomains; preload"),
    ("vary", "accept-encoding"),
    ("vary", "origin"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    (":status", "100"),
    (":status", "204"),
    (":status", "206"),
    (":status", "302"),
    (":status", "400"),
    (":status", "403"),
    (":status", "421"),
    (":status", "425"),
    (":status", "500"),
    ("accept-language", ""),
    ("access-control-allow-credentials", "FALSE"),
    ("access-control-allow-credentials", "TRUE"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "get"),
    ("access-control-allow-methods", "get, post, options"),
    ("access-control-allow-methods", "options"),
    ("access-control-expose-headers", "content-length"),
    ("access-control-request-headers", "content-type"),
    ("access-control-request-method", "get"),
    ("access-control-request-method", "post"),
    ("alt-svc", "clear"),
    ("authorization", ""),
    ("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    ("early-data", "1"),
    ("expect-ct", ""),
    ("forwarded", ""),
    ("if-range", ""),
    ("origin", ""),
    ("purpose", "prefetch"),
    ("server", ""),
    ("timing-allow-origin", "*"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", ""),
    ("x-forwarded-for", ""),
    ("x-frame-options", "deny"),
    ("x-frame-options", "sameorigin"),
];

/// A pseudo-header field (RFC 9114 section 4.3, RFC 9220 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pseudo {
    /// `:authority`
    Authority,
    /// `:method`
    Method,
    /// `:path`
    Path,
    /// `:protocol`
    Protocol,
    /// `:scheme`
    Scheme,
    /// `:status`
    Status,
}

impl Pseudo {
    /// The pseudo-header field of this name.
    pub const fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b":authority" => Some(Self::Authority),
            b":method" => Some(Self::Method),
            b":path" => Some(Self::Path),
            b":protocol" => Some(Self::Protocol),
            b":scheme" => Some(Self::Scheme),
            b":status" => Some(Self::Status),
            _ => None,
        }
    }
}

/// An entry's name in the form that a decoded message has it.
#[derive(Clone, Debug)]
pub enum EntryName {
    /// Not a header.
    Pseudo(Pseudo),
    /// A header of this name.
    Header(HeaderName),
}

/// An entry whose name and value need neither check nor allocation.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name.
    pub name: EntryName,
    /// The value.
    pub value: HeaderValue,
    /// What the name's and the value's octets count together, without the overhead of a line.
    pub size: u64,
    /// What the name's octets count.
    pub name_size: u64,
    /// The entry's place in the table.
    pub index: usize,
}

static TABLE: [Entry; LEN] = {
    let mut table = [const { entry(0) }; LEN];
    let mut index = 0;
    while index < LEN {
        // Forgotten, not dropped: a drop cannot run at compile time, and a static value owns nothing.
        std::mem::forget(std::mem::replace(&mut table[index], entry(index)));
        index += 1;
    }
    table
};

const fn entry(index: usize) -> Entry {
    let (name, value) = ENTRIES[index];
    let (size, name_size) = ((name.len() + value.len()) as u64, name.len() as u64);
    let name = match Pseudo::from_name(name.as_bytes()) {
        Some(pseudo) => EntryName::Pseudo(pseudo),
        None => EntryName::Header(HeaderName::from_static(name)),
    };
    Entry { name, value: HeaderValue::from_static(value), size, name_size, index }
}

/// The entry at `index`.
pub fn get(index: u64) -> Option<&'static Entry> {
    TABLE.get(usize::try_from(index).ok()?)
}

/// Slots of the table that finds a name's first entry. Four times as many as there are names: most look at one slot.
const SLOTS: usize = 256;

/// No entry.
const NONE: u8 = u8::MAX;

/// Distinguishes the table's names well enough from three octets and the length.
const fn slot(name: &[u8]) -> usize {
    let len = name.len();
    let mixed = (len as u32).wrapping_mul(0x9e37_79b1)
        ^ (name[0] as u32).wrapping_mul(0x85eb_ca6b)
        ^ (name[len / 2] as u32).wrapping_mul(0xc2b2_ae35)
        ^ (name[len - 1] as u32).wrapping_mul(0x27d4_eb2f);
    (mixed >> 24) as usize % SLOTS
}

const fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// For each entry, the next one of the same name.
const NEXT: [u8; LEN] = {
    let mut next = [NONE; LEN];
    let mut index = 0;
    while index < LEN {
        let mut later = index + 1;
        while later < LEN {
            if same(ENTRIES[index].0.as_bytes(), ENTRIES[later].0.as_bytes()) {
                next[index] = later as u8;
                break;
            }
            later += 1;
        }
        index += 1;
    }
    next
};

/// The first entry of each name, by [`slot`], with linear probing.
static FIRST: [u8; SLOTS] = {
    let mut first = [NONE; SLOTS];
    let mut index = 0;
    while index < LEN {
        let name = ENTRIES[index].0.as_bytes();
        let mut at = slot(name);
        loop {
            if first[at] == NONE {
                first[at] = index as u8;
                break;
            }
            if same(ENTRIES[first[at] as usize].0.as_bytes(), name) {
                break;
            }
            at = (at + 1) % SLOTS;
        }
        index += 1;
    }
    first
};

/// What the table has of a field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The whole line.
    Line(u8),
    /// An entry of the same name.
    Name(u8),
    /// Nothing.
    Nothing,
}

/// Looks for a field line.
pub fn find(name: &[u8], value: &[u8]) -> Found {
    let Some(first) = find_name(name) else { return Found::Nothing };
    let mut index = first;
    while index != NONE {
        if ENTRIES[usize::from(index)].1.as_bytes() == value {
            return Found::Line(index);
        }
        index = NEXT[usize::from(index)];
    }
    Found::Name(first)
}

/// The first entry of this name.
pub fn find_name(name: &[u8]) -> Option<u8> {
    if name.is_empty() {
        return None;
    }
    let mut at = slot(name);
    while FIRST[at] != NONE {
        if ENTRIES[usize::from(FIRST[at])].0.as_bytes() == name {
            return Some(FIRST[at]);
        }
        at = (at + 1) % SLOTS;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found() {
        for (index, (name, value)) in ENTRIES.iter().enumerate() {
            assert_eq!(find(name.as_bytes(), value.as_bytes()), Found::Line(index as u8));
            let first = ENTRIES.iter().position(|(other, _)| other == name).map(|first| first as u8);
            assert_eq!(find_name(name.as_bytes()), first);
            let entry = get(index as u64).unwrap();
            assert_eq!(entry.value.as_bytes(), value.as_bytes());
            match &entry.name {
                EntryName::Header(header) => assert_eq!(header.as_str(), *name),
                EntryName::Pseudo(pseudo) => assert_eq!(Pseudo::from_name(name.as_bytes()), Some(*pseudo)),
            }
        }
        assert!(get(99).is_none() && get(u64::MAX).is_none());
        assert_eq!(find(b"", b""), Found::Nothing);
        assert_eq!(find(b"sec-websocket-version", b"13"), Found::Nothing);
        assert_eq!(find(b"accept", b"text/html"), Found::Name(29));
    }

    /// Spot checks against RFC 9204 appendix A, where a slip would shift every later entry.
    #[test]
    fn known_places() {
        for (index, name, value) in [
            (0, ":authority", ""),
            (15, ":method", "CONNECT"),
            (25, ":status", "200"),
            (31, "accept-encoding", "gzip, deflate, br"),
            (46, "content-type", "application/json"),
            (63, ":status", "100"),
            (72, "accept-language", ""),
            (85, "content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
            (98, "x-frame-options", "sameorigin"),
        ] {
            assert_eq!(ENTRIES[index], (name, value));
        }
    }

    #[test]
    fn names_spread_over_the_slots() {
        let longest = ENTRIES
            .iter()
            .map(|(name, _)| {
                let mut probes = 1;
                let mut at = slot(name.as_bytes());
                while ENTRIES[usize::from(FIRST[at])].0 != *name {
                    probes += 1;
                    at = (at + 1) % SLOTS;
                }
                probes
            })
            .max();
        assert!(longest <= Some(5), "{longest:?}");
    }
}
