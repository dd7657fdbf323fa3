//! Owns the fields by which the applications of a session agree on a protocol (draft-ietf-webtrans-http3 section 3.3).

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, ItemSerializer, List, ListEntry, ListSerializer, Parser, StringRef};
use thiserror::Error;

/// What a client would speak, the most preferred first.
pub const AVAILABLE: HeaderName = HeaderName::from_static("wt-available-protocols");

/// What the server chose.
pub const CHOSEN: HeaderName = HeaderName::from_static("wt-protocol");

/// How many subprotocols are looked at. Those who offer several offer versions of one.
pub const MAX_OFFERED: usize = 64;

/// A subprotocol is a string of a structured field: printable ASCII (RFC 9651 section 3.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a subprotocol is printable ASCII")]
pub struct InvalidSubprotocol;

/// What a request offers. A field that is malformed, or has a member that is no string, is ignored as a whole, and so is
/// one of more than [`MAX_OFFERED`] members.
pub fn offered(headers: &HeaderMap) -> Vec<String> {
    let Some(line) = joined(headers, &AVAILABLE) else { return Vec::new() };
    let Ok(list) = Parser::new(&line).parse::<List>() else { return Vec::new() };
    if list.len() > MAX_OFFERED {
        return Vec::new();
    }
    let strings = list.into_iter().map(|entry| match entry {
        ListEntry::Item(item) => string(item.bare_item),
        ListEntry::InnerList(_) => None,
    });
    strings.collect::<Option<_>>().unwrap_or_default()
}

/// What a response chose; `None` without the field or when it is malformed.
pub fn chosen(headers: &HeaderMap) -> Option<String> {
    let item = Parser::new(&joined(headers, &CHOSEN)?).parse::<sfv::Item>().ok()?;
    string(item.bare_item)
}

/// The value of [`AVAILABLE`]; `None` when nothing is offered.
pub fn offer<T: AsRef<str>>(subprotocols: &[T]) -> Result<Option<HeaderValue>, InvalidSubprotocol> {
    let mut list = ListSerializer::new();
    for subprotocol in subprotocols {
        list.bare_item(StringRef::from_str(subprotocol.as_ref()).map_err(|_| InvalidSubprotocol)?);
    }
    list.finish().map(value).transpose()
}

/// The value of [`CHOSEN`].
pub fn choose(subprotocol: &str) -> Result<HeaderValue, InvalidSubprotocol> {
    let item = StringRef::from_str(subprotocol).map_err(|_| InvalidSubprotocol)?;
    value(ItemSerializer::new().bare_item(item).finish())
}

fn value(line: String) -> Result<HeaderValue, InvalidSubprotocol> {
    HeaderValue::try_from(line).map_err(|_| InvalidSubprotocol)
}

fn string(item: BareItem) -> Option<String> {
    match item {
        BareItem::String(string) => Some(string.as_str().to_owned()),
        _ => None,
    }
}

/// A field's lines as one (RFC 9651 section 4.2).
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let lines: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    (!lines.is_empty()).then(|| lines.join(&b", "[..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), HeaderValue::try_from(*line).unwrap())).collect()
    }

    #[test]
    fn offers() {
        let cases: &[(&[&str], &[&str])] = &[
            (&[r#""moq-00""#], &["moq-00"]),
            (&[r#""b", "a";q=1"#, r#""c\"d""#], &["b", "a", "c\"d"]),
            (&[], &[]),
            (&[""], &[]),
            // One bad member spoils the field.
            (&[r#""a", token"#], &[]),
            (&[r#""a", ("b")"#], &[]),
            (&[r#""a", 1"#], &[]),
            (&[r#""a"#], &[]),
            (&["\"a\", \"\u{fc}\""], &[]),
        ];
        for (lines, subprotocols) in cases {
            assert_eq!(offered(&headers(&AVAILABLE, lines)), *subprotocols, "{lines:?}");
        }
        let many = vec![r#""a""#; MAX_OFFERED + 1];
        assert_eq!(offered(&headers(&AVAILABLE, &many)), Vec::<String>::new());
        assert_eq!(offered(&headers(&AVAILABLE, &many[1..])).len(), MAX_OFFERED);
    }

    #[test]
    fn choices() {
        for (lines, subprotocol) in [
            (&[r#""moq-00""#][..], Some("moq-00")),
            (&[r#""a";b"#], Some("a")),
            (&["token"], None),
            (&[r#""a""#; 2], None),
        ] {
            assert_eq!(chosen(&headers(&CHOSEN, lines)).as_deref(), subprotocol, "{lines:?}");
        }
    }

    #[test]
    fn there_and_back() {
        let subprotocols = ["plain", "with \"quotes\"", "back\\slash", ""];
        let line = offer(&subprotocols).unwrap().unwrap();
        assert_eq!(offered(&HeaderMap::from_iter([(AVAILABLE, line)])), subprotocols);
        assert_eq!(offer::<&str>(&[]), Ok(None));
        for subprotocol in subprotocols {
            let line = choose(subprotocol).unwrap();
            assert_eq!(chosen(&HeaderMap::from_iter([(CHOSEN, line)])).as_deref(), Some(subprotocol));
        }
        for bad in ["grüß", "line\nbreak"] {
            assert_eq!(choose(bad), Err(InvalidSubprotocol));
            assert_eq!(offer(&[bad]), Err(InvalidSubprotocol));
        }
    }
}
