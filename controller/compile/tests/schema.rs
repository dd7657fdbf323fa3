//! The schema of our kinds against those who read the values: what an API server lets through, they take.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use headrace_crds::websocketroute::{DURATION_PATTERN, ORIGIN_PATTERN};
use headrace_table::OriginPattern;
use regex::Regex;

#[test]
fn origins_of_the_schema_are_origins_of_the_table() {
    let pattern = Regex::new(ORIGIN_PATTERN).unwrap();
    for (text, taken) in [
        ("null", true),
        ("https://a.example.com", true),
        ("https://a.example.com:8443", true),
        ("https://*.example.com", true),
        ("http://localhost:3000", true),
        ("capacitor://localhost", true),
        ("http://[::1]:8080", true),
        ("https://10.0.0.1", true),
        ("*", false),
        ("https://*", false),
        ("https://a.*.com", false),
        ("https://A.example.com", false),
        ("https://a.example.com/", false),
        ("https://user@a.example.com", false),
        ("a.example.com", false),
        ("", false),
    ] {
        assert_eq!(pattern.is_match(text), taken, "{text}");
        assert!(!taken || OriginPattern::try_from(text).is_ok(), "{text}");
    }
}

#[test]
fn durations_of_the_schema_are_durations_of_the_gateway_api() {
    let pattern = Regex::new(DURATION_PATTERN).unwrap();
    for (text, taken) in [
        ("0s", true),
        ("500ms", true),
        ("1h30m", true),
        ("99999h59m59s999ms", true),
        ("1.5s", false),
        ("-1s", false),
        ("10", false),
        ("1d", false),
        ("100000s", false),
        ("", false),
    ] {
        assert_eq!(pattern.is_match(text), taken, "{text}");
        assert_eq!(text.parse::<gateway_api::Duration>().is_ok(), taken, "{text}");
    }
}
