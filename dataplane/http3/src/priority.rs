//! Owns the priority parameters of RFC 9218: urgency and whether a response is of use in parts.

/// How a response is to be ordered among others (RFC 9218 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// From 0, first, to 7, last.
    pub urgency: u8,
    /// Whether the client can use the response in parts.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// Reads a priority field value. Parameters that are unknown or out of range are passed over, and so is a value that
    /// is no dictionary at all: a priority is a hint (RFC 9218 section 4).
    pub fn parse(value: &[u8]) -> Self {
        let mut priority = Self::default();
        for member in value.split(|octet| *octet == b',') {
            match member.trim_ascii() {
                [b'u', b'=', urgency @ b'0'..=b'7'] => priority.urgency = urgency - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (value, urgency, incremental) in [
            ("", 3, false),
            ("u=0", 0, false),
            ("i", 3, true),
            ("u=7, i", 7, true),
            ("i=?0,u=5", 5, false),
            ("i=?1 , x=\"y\"", 3, true),
            ("u=8", 3, false),
            ("u=-1", 3, false),
            ("\u{fffd}", 3, false),
        ] {
            assert_eq!(Priority::parse(value.as_bytes()), Priority { urgency, incremental }, "{value}");
        }
    }
}
