//! What an EdgePolicy says of WebTransport.
//!
//! Owns the fields and their words. It must not know what a data plane does about them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What WebTransport may take of one connection. What a session may take is its route's to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebTransportPolicy {
    /// Whether sessions are offered at all. They are when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Sessions that may be open at once on one connection. 16 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub sessions: Option<i32>,
    /// What is kept of streams and datagrams that come before their session is open, on one connection: octets, or with Ki
    /// behind them 1,024 octets each, at most 999Ki. 64Ki when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 6), regex(pattern = EARLY_BUFFER_PATTERN))]
    pub early_buffer: Option<String>,
}

/// A quantity from 0 to 999Ki.
pub const EARLY_BUFFER_PATTERN: &str = r"^(0|[1-9][0-9]{0,5}|[1-9][0-9]{0,2}Ki)$";

impl WebTransportPolicy {
    /// The octets of `early_buffer`; `None` where it is absent, or is not a quantity as [`EARLY_BUFFER_PATTERN`] has them.
    pub fn early_octets(&self) -> Option<u32> {
        let text = self.early_buffer.as_deref()?;
        let (digits, unit) = text.strip_suffix("Ki").map_or((text, 1), |digits| (digits, 1 << 10));
        let is_short = digits.len() <= 6 && digits.bytes().all(|octet| octet.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|_| is_short).map(|number| number * unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, octets) in [
            (Some("0"), Some(0)),
            (Some("1500"), Some(1_500)),
            (Some("64Ki"), Some(65_536)),
            (Some("999Ki"), Some(1_022_976)),
            (None, None),
            (Some("Ki"), None),
            (Some("+1"), None),
            (Some("64Mi"), None),
            (Some("4294967295"), None),
        ] {
            let policy = WebTransportPolicy { early_buffer: text.map(str::to_owned), ..Default::default() };
            assert_eq!(policy.early_octets(), octets, "{text:?}");
        }
    }
}
