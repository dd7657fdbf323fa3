//! Paths that objects match on.
//!
//! Owns what such a path may hold, as HTTPPathMatch's schema and Ingress validation have it, for worlds that no API server
//! checked. How paths are compared is the table's.

use headrace_table::wire::PathMatch;

/// `Err` is a message.
pub(crate) fn check(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!("{path:?} must start with /"));
    }
    if path.contains("//") {
        return Err(format!("{path:?} must not contain //"));
    }
    if path.split('/').any(|element| matches!(element, "." | "..")) {
        return Err(format!("{path:?} must not have . or .. as an element"));
    }
    if path.to_ascii_lowercase().contains("%2f") {
        return Err(format!("{path:?} must not contain an encoded /"));
    }
    if let Some(other) = path.chars().find(|c| !(c.is_ascii_alphanumeric() || "-/._~!$&'()*+,;=:@%".contains(*c))) {
        return Err(format!("{path:?} must not contain {other:?}: encode it as % and two hex digits"));
    }
    let is_octet = |digits: &str| digits.get(..2).is_some_and(|two| two.bytes().all(|digit| digit.is_ascii_hexdigit()));
    if !path.split('%').skip(1).all(is_octet) {
        return Err(format!("{path:?} must have two hex digits after each %"));
    }
    Ok(())
}

/// The whole path; `Err` is a message.
pub(crate) fn exact(path: &str) -> Result<PathMatch, String> {
    check(path)?;
    Ok(PathMatch::Exact(path.to_owned()))
}

/// By elements; a trailing slash means nothing (Gateway API, PathMatchPathPrefix). `Err` is a message.
pub(crate) fn prefix(path: &str) -> Result<PathMatch, String> {
    check(path)?;
    let trimmed = path.strip_suffix('/').filter(|trimmed| !trimmed.is_empty()).unwrap_or(path);
    Ok(PathMatch::Prefix(trimmed.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_or_refused() {
        for (path, taken) in [
            ("/", true),
            ("/a/b.c/~d", true),
            ("/a%20b", true),
            ("/.well-known/x", true),
            ("/a...b", true),
            ("", false),
            ("a", false),
            ("//", false),
            ("/a//b", false),
            ("/.", false),
            ("/a/./b", false),
            ("/a/..", false),
            ("/a%2Fb", false),
            ("/a%2", false),
            ("/a%zz", false),
            ("/a%é", false),
            ("/a?b", false),
            ("/a#b", false),
            ("/a b", false),
            ("/a{b}", false),
        ] {
            assert_eq!(check(path).is_ok(), taken, "{path}");
        }
    }

    #[test]
    fn a_trailing_slash_of_a_prefix_goes() {
        for (path, expected) in [("/", "/"), ("/a", "/a"), ("/a/", "/a"), ("/a/b/", "/a/b")] {
            assert_eq!(prefix(path), Ok(PathMatch::Prefix(expected.to_owned())), "{path}");
        }
    }
}
