//! Golden inputs, compiled, admitted by the table and asked: where does a request end up?
//!
//! The golden files say what the table is; this says what it means, where compiler and table share the decision.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "golden/case.rs"]
mod case;

use std::path::Path;

use case::Case;
use headrace_compile::compile;
use headrace_table::{Opening, Request, Table};

/// Port, host, path, what is to be opened, and the id of the route that takes it.
type Question = (u16, &'static str, &'static str, Opening<'static>, Option<&'static str>);

const SESSION: Opening<'static> = Opening::WebTransport { subprotocols: &[] };

fn check(name: &str, questions: &[Question]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let case = Case::read(&directory);
    let table = Table::try_from(compile(&case.world(), &case.options).table).unwrap();
    let headers = http::HeaderMap::new();
    for (port, host, path, opening, expected) in questions {
        let (method, opening) = (&http::Method::GET, *opening);
        let request = Request { method, host, path, query: None, headers: &headers, opening };
        let listener = table.port(*port).and_then(|port| port.listener_for(Some(host)));
        let found = listener.and_then(|listener| listener.lookup(&request)).map(|found| found.route.id.to_string());
        assert_eq!(found.as_deref(), *expected, "{name}: {host}:{port}{path}, {opening:?}");
    }
}

#[test]
fn the_oldest_route_wins_and_sockets_go_before_all_else() {
    check(
        "httproute/precedence-by-age",
        &[
            (80, "any.example", "/", Opening::Request, Some("HTTPRoute/shop/c-undated")),
            (80, "any.example", "/", Opening::WebSocket, Some("WebSocketRoute/shop/b-oldest")),
        ],
    );
}

#[test]
fn hosts_are_found_on_the_listener_that_is_theirs() {
    check(
        "httproute/hostname-intersection-narrowed",
        &[
            (80, "a.example.com", "/", Opening::Request, Some("HTTPRoute/shop/exact")),
            (80, "c.example.com", "/", Opening::Request, Some("HTTPRoute/shop/wild")),
            (80, "example.com", "/", Opening::Request, Some("HTTPRoute/shop/wild")),
            (80, "example.org", "/", Opening::Request, Some("HTTPRoute/shop/none")),
            (81, "x.b.example.com", "/", Opening::Request, Some("HTTPRoute/shop/exact")),
            (81, "example.com", "/", Opening::Request, None),
            (83, "y.b.example.com", "/", Opening::Request, Some("HTTPRoute/shop/none")),
            (84, "example.org", "/", Opening::Request, Some("HTTPRoute/shop/none")),
        ],
    );
}

#[test]
fn ingress_requests_fall_through_from_host_to_default() {
    check(
        "ingress/rules-lowered",
        &[
            (80, "a.example.com", "/exact/", Opening::Request, Some("Ingress/shop/web/host/a.example.com")),
            (80, "a.example.com", "/prefix/x", Opening::WebSocket, Some("Ingress/shop/web/host/a.example.com")),
            (80, "a.example.com", "/other", Opening::Request, Some("Ingress/shop/web/default/own")),
            (80, "b.example.com", "/other", Opening::Request, Some("Ingress/shop/web/host/*.example.com")),
            (80, "left.example.com", "/", Opening::Request, Some("Ingress/shop/web/default/own")),
            (80, "elsewhere.example", "/status", Opening::Request, Some("Ingress/shop/web/host/*")),
            (80, "elsewhere.example", "/", Opening::Request, Some("Ingress/shop/web/default/any")),
        ],
    );
    check(
        "ingress/tls-default-backend-served",
        &[
            (443, "a.example.com", "/a", Opening::Request, Some("Ingress/shop/own/host/a.example.com")),
            (443, "a.example.com", "/b", Opening::Request, Some("Ingress/shop/own/default/own")),
            (443, "other.example", "/a", Opening::Request, Some("Ingress/shop/every/default/any")),
            (80, "other.example", "/a", Opening::Request, Some("Ingress/shop/every/default/any")),
        ],
    );
    check(
        "ingress/tls-wildcard-rules-within",
        &[
            (443, "a.example.com", "/wild", Opening::Request, Some("Ingress/shop/web/host/*.example.com")),
            (443, "b.example.com", "/b", Opening::Request, Some("Ingress/shop/web/host/b.example.com")),
            (443, "b.example.com", "/wild", Opening::Request, None),
            (443, "c.example.com", "/wild", Opening::Request, None),
            (80, "b.example.com", "/wild", Opening::Request, Some("Ingress/shop/web/host/*.example.com")),
            (80, "b.example.com", "/every", Opening::Request, Some("Ingress/shop/web/host/*")),
        ],
    );
}

#[test]
fn ingresses_and_gateways_share_ports_by_host() {
    check(
        "ingress/gateway-ports-merged",
        &[
            (80, "a.example.com", "/", Opening::Request, Some("HTTPRoute/shop/web")),
            (80, "a.example.com", "/ingress", Opening::Request, Some("Ingress/shop/web/host/a.example.com")),
            (443, "a.example.com", "/ingress", Opening::Request, Some("Ingress/shop/web/host/a.example.com")),
            (80, "b.example.com", "/", Opening::Request, Some("Ingress/shop/web/host/b.example.com")),
            (443, "b.example.com", "/", Opening::Request, Some("Ingress/shop/web/host/b.example.com")),
            (80, "other.example", "/", Opening::Request, Some("Ingress/shop/web/default/any")),
        ],
    );
}

#[test]
fn a_pod_set_is_given_what_its_listeners_need() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/service/pod-sets-apart");
    let case = Case::read(&directory);
    let compiled = compile(&case.world(), &case.options);
    for (set, expected) in [("default", Some("infra/shared/http")), ("blue", Some("infra/own/http")), ("red", None)] {
        let table = compiled.table_for(set);
        let listeners: Vec<&str> = table.listeners.iter().map(|listener| &*listener.id).collect();
        assert_eq!(listeners, expected.into_iter().collect::<Vec<_>>(), "{set}");
        let attachments = table.routes.iter().flat_map(|route| &route.attachments);
        let attachments: Vec<&str> = attachments.map(|attachment| &*attachment.listener).collect();
        assert_eq!(attachments, listeners, "{set}");
        assert_eq!(table.backends.len(), listeners.len(), "{set}");
        assert!(Table::try_from(table.into_owned()).is_ok(), "{set}");
    }
}

#[test]
fn sessions_meet_their_own_routes_only() {
    check(
        "webtransportroute/ports-told-apart",
        &[
            (443, "any.example", "/", Opening::Request, Some("HTTPRoute/shop/dns")),
            (443, "any.example", "/", Opening::WebSocket, Some("HTTPRoute/shop/dns")),
            (443, "any.example", "/", SESSION, Some("WebTransportRoute/shop/dns")),
        ],
    );
    check("httproute/precedence-by-age", &[(80, "any.example", "/", SESSION, None)]);
    check(
        "webtransportroute/policy-off-refused",
        &[
            (443, "b.example.com", "/", SESSION, None),
            (8443, "c.example.com", "/", SESSION, Some("WebTransportRoute/shop/all")),
        ],
    );
}
