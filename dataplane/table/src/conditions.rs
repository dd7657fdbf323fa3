//! What a match asks for besides host and path.
//!
//! Everything must hold. Allocates nothing when asked.

use http::{HeaderName, Method, header};

use crate::pattern::ValuePattern;
use crate::query;
use crate::request::{Opening, Request};
use crate::wire::Opens;

/// A match without its path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) opens: Opens,
    pub(crate) method: Option<Method>,
    pub(crate) headers: Vec<(HeaderName, ValuePattern)>,
    pub(crate) query: Vec<(Box<[u8]>, ValuePattern)>,
    pub(crate) subprotocols: Vec<Box<str>>,
}

impl Conditions {
    /// Whether every request fulfils them that opens no session ([`Opens::takes`]).
    pub(crate) fn are_none(&self) -> bool {
        self.opens == Opens::Any
            && self.method.is_none()
            && self.headers.is_empty()
            && self.query.is_empty()
            && self.subprotocols.is_empty()
    }

    pub(crate) fn hold(&self, request: &Request<'_>) -> bool {
        self.opens.takes(request.opening)
            && self.method.as_ref().is_none_or(|method| method == request.method)
            && self.headers_hold(request)
            && self.query_holds(request)
            && (self.subprotocols.is_empty() || self.offered(request))
    }

    /// Of a field that comes several times, one value that matches is enough. Lists within one value are not taken
    /// apart: which fields are lists is not for a router to know.
    fn headers_hold(&self, request: &Request<'_>) -> bool {
        self.headers
            .iter()
            .all(|(name, pattern)| request.headers.get_all(name).iter().any(|value| pattern.matches(value.as_bytes())))
    }

    /// Of a parameter that comes several times, the first decides (Gateway API leaves it open).
    fn query_holds(&self, request: &Request<'_>) -> bool {
        let query = request.query.unwrap_or("");
        self.query
            .iter()
            .all(|(name, pattern)| query::first(query, name).is_some_and(|value| pattern.matches_encoded(value)))
    }

    /// Whether one of them is offered. Subprotocols are compared octet for octet, since no clause folds their case.
    fn offered(&self, request: &Request<'_>) -> bool {
        match request.opening {
            Opening::WebTransport { subprotocols } => {
                subprotocols.iter().any(|offered| self.subprotocols.iter().any(|wanted| **wanted == **offered))
            }
            Opening::Request | Opening::WebSocket => self.offered_in_field(request),
        }
    }

    /// RFC 6455 section 11.3.4: the field may come several times, which is the same as one list.
    fn offered_in_field(&self, request: &Request<'_>) -> bool {
        request
            .headers
            .get_all(header::SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .flat_map(|value| value.as_bytes().split(|octet| *octet == b','))
            .map(<[u8]>::trim_ascii)
            .any(|token| self.subprotocols.iter().any(|wanted| wanted.as_bytes() == token))
    }
}

impl Opens {
    /// Whether what a request is to open is what is asked for. A session is never taken by what would take anything: what
    /// can answer a request or relay a WebSocket has nothing to say to it.
    pub(crate) fn takes(self, opening: Opening<'_>) -> bool {
        matches!(
            (self, opening),
            (Opens::Any, Opening::Request | Opening::WebSocket)
                | (Opens::WebSocket, Opening::WebSocket)
                | (Opens::WebTransport, Opening::WebTransport { .. })
        )
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::pattern::whole;

    fn exact(value: &str) -> ValuePattern {
        ValuePattern::Exact(value.as_bytes().into())
    }

    fn hold(conditions: &Conditions, fields: &[(&'static str, &'static str)], query: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let request = Request {
            method: &Method::GET,
            host: "",
            path: "/",
            query,
            headers: &headers,
            opening: if fields.is_empty() { Opening::Request } else { Opening::WebSocket },
        };
        conditions.hold(&request)
    }

    #[test]
    fn any_single_value_of_a_repeated_field_is_enough() {
        let conditions =
            Conditions { headers: vec![(HeaderName::from_static("x-a"), exact("1"))], ..Default::default() };
        assert!(!hold(&conditions, &[], None));
        assert!(hold(&conditions, &[("x-a", "1")], None));
        assert!(hold(&conditions, &[("x-a", "0"), ("x-a", "1")], None));
        assert!(!hold(&conditions, &[("x-a", "0,1")], None));
        assert!(!hold(&conditions, &[("x-b", "1")], None));
    }

    #[test]
    fn the_first_value_of_a_repeated_parameter_decides() {
        let query = vec![
            (b"a".as_slice().into(), exact("1")),
            (b"b".as_slice().into(), ValuePattern::Regex(whole("x+").unwrap())),
        ];
        let conditions = Conditions { query, ..Default::default() };
        for (query, expected) in [
            (None, false),
            (Some("a=1"), false),
            (Some("a=1&b=xx"), true),
            (Some("b=%78&a=1&a=2"), true),
            (Some("a=2&a=1&b=x"), false),
        ] {
            assert_eq!(hold(&conditions, &[], query), expected, "{query:?}");
        }
    }

    #[test]
    fn one_offered_subprotocol_is_enough() {
        let subprotocols = vec!["chat.v1".into(), "chat.v2".into()];
        let conditions = Conditions { subprotocols, ..Default::default() };
        for (fields, expected) in [
            (&[][..], false),
            (&[("sec-websocket-protocol", "chat.v1")], true),
            (&[("sec-websocket-protocol", "mqtt ,\tchat.v2")], true),
            (&[("sec-websocket-protocol", "mqtt"), ("sec-websocket-protocol", "chat.v2")], true),
            (&[("sec-websocket-protocol", "chat.v12")], false),
            (&[("sec-websocket-protocol", "Chat.v1")], false),
        ] {
            assert_eq!(hold(&conditions, fields, None), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_session_offers_its_subprotocols_beside_the_fields() {
        let subprotocols = vec!["moq-00".into()];
        let conditions = Conditions { opens: Opens::WebTransport, subprotocols, ..Default::default() };
        let mut headers = HeaderMap::new();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("moq-00"));
        for (offered, expected) in [(&[][..], false), (&["moq-01"], false), (&["moq-01", "moq-00"], true)] {
            let offered: Vec<_> = offered.iter().map(|text| (*text).to_owned()).collect();
            let opening = Opening::WebTransport { subprotocols: &offered };
            let method = &Method::CONNECT;
            let request = Request { method, host: "", path: "/", query: None, headers: &headers, opening };
            assert_eq!(conditions.hold(&request), expected, "{offered:?}");
        }
    }

    #[test]
    fn a_session_is_taken_by_nothing_else() {
        const SESSION: Opening<'_> = Opening::WebTransport { subprotocols: &[] };
        for (opens, taken) in [
            (Opens::Any, &[Opening::Request, Opening::WebSocket][..]),
            (Opens::WebSocket, &[Opening::WebSocket]),
            (Opens::WebTransport, &[SESSION]),
        ] {
            for opening in [Opening::Request, Opening::WebSocket, SESSION] {
                assert_eq!(opens.takes(opening), taken.contains(&opening), "{opens:?} and {opening:?}");
            }
        }
    }

    #[test]
    fn what_asks_for_nothing_is_told_apart() {
        assert!(Conditions::default().are_none());
        assert!(!Conditions { opens: Opens::WebSocket, ..Default::default() }.are_none());
        assert!(!Conditions { method: Some(Method::GET), ..Default::default() }.are_none());
    }
}
