//! What matches hold: paths by element, hosts, listeners, and paths made to hurt.

use headrace_table::{
    Found, HostPattern, Listener, Opening, PathRewrite, Request, SubjectAltName, Table, Trust, WebTransportOptions,
    wire,
};
use http::{HeaderMap, Method};

use crate::build::*;

fn ask<'t>(listener: &'t Listener, host: &str, path: &str) -> Option<Found<'t>> {
    let headers = HeaderMap::new();
    listener.lookup(&Request {
        method: &Method::GET,
        host,
        path,
        query: None,
        headers: &headers,
        opening: Opening::Request,
    })
}

fn name(found: Option<Found<'_>>) -> Option<String> {
    found.and_then(|found| found.rule.name.as_deref().map(str::to_owned))
}

fn listeners(listeners: Vec<wire::Listener>) -> Table {
    Table::try_from(wire::Table { listeners, ..wire::Table::default() }).unwrap()
}

#[test]
fn paths_are_matched() {
    for (pattern, path, expected) in [
        (exact("/a"), "/a", Some(0)),
        (exact("/a"), "/a/", None),
        (exact("/a/"), "/a", None),
        (exact("/a"), "/A", None),
        (exact("/"), "/", Some(0)),
        (prefix("/"), "/", Some(0)),
        (prefix("/"), "//", Some(0)),
        (prefix("/"), "/a/b", Some(0)),
        (prefix("/"), "*", None),
        (prefix("/"), "", None),
        (prefix("/a"), "/a", Some(2)),
        (prefix("/a"), "/a/", Some(2)),
        (prefix("/a"), "/a/b", Some(2)),
        (prefix("/a"), "/ab", None),
        (prefix("/a"), "/", None),
        (prefix("/a"), "//a", None),
        (prefix("/a/"), "/a", Some(2)),
        (prefix("/a/"), "/a/b", Some(2)),
        (prefix("/a/"), "/ab", None),
        (prefix("/a/b"), "/a/b/c", Some(4)),
        (prefix("/a/b"), "/a", None),
        (prefix("/a//b"), "/a//b/c", Some(5)),
        (prefix("/a//b"), "/a/b", None),
        (prefix("//"), "//", Some(1)),
        (prefix("//"), "/", Some(1)),
        (prefix("//"), "/a", None),
        (regex("/a+"), "/aa", Some(0)),
        (regex("/a+"), "/ab", None),
        (regex("a"), "/a", None),
        (regex(".*"), "*", None),
    ] {
        let routes = vec![route("R/n/a", &[], vec![rule("r", vec![pattern.clone()])])];
        let table = Table::try_from(table(routes)).unwrap();
        let listener = table.port(80).unwrap().listener_for(None).unwrap();
        assert_eq!(ask(listener, "h", path).map(|found| found.prefix_len), expected, "{pattern:?} on {path}");
    }
}

#[test]
fn the_longest_prefix_that_holds_is_climbed_to() {
    let mut wants_header = prefix("/a/b/c/d");
    wants_header.headers = vec![value("x-a", "1")];
    let rules = vec![
        rule("root", vec![prefix("/")]),
        rule("a", vec![prefix("/a")]),
        rule("abc", vec![prefix("/a/b/c")]),
        rule("abcd", vec![wants_header]),
    ];
    let table = Table::try_from(table(vec![route("R/n/a", &[], rules)])).unwrap();
    let listener = table.port(80).unwrap().listener_for(None).unwrap();
    for (path, expected) in [
        ("/", "root"),
        ("/x", "root"),
        ("/a", "a"),
        ("/a/b", "a"),
        ("/a/bb/c", "a"),
        ("/a/b/c", "abc"),
        ("/a/b/c/d", "abc"),
        ("/a/b/c/d/e", "abc"),
    ] {
        assert_eq!(name(ask(listener, "", path)).as_deref(), Some(expected), "{path}");
    }
}

#[test]
fn hostile_paths_are_looked_up_like_others() {
    let deep = "/a".repeat(4_000);
    let slashes = "/".repeat(8_000);
    let rules = vec![
        rule("root", vec![prefix("/")]),
        rule("deep", vec![prefix(&deep)]),
        rule("slashes", vec![prefix(&slashes)]),
        rule("dots", vec![prefix("/..")]),
    ];
    let table = Table::try_from(table(vec![route("R/n/a", &[], rules)])).unwrap();
    let listener = table.port(80).unwrap().listener_for(None).unwrap();
    let many = "/".repeat(1 << 20);
    for (path, expected, len) in [
        (deep.as_str(), "deep", deep.len()),
        (&format!("{deep}/b"), "deep", deep.len()),
        (&format!("{deep}b"), "root", 0),
        (&deep[..deep.len() - 2], "root", 0),
        (&slashes, "slashes", slashes.len() - 1),
        (&many, "slashes", slashes.len() - 1),
        (&slashes[2..], "root", 0),
        ("/../..", "dots", 3),
        ("/a/../..", "root", 0),
        ("/%2e%2e", "root", 0),
        ("/\u{0}\u{7f}\u{e9}", "root", 0),
    ] {
        let found = ask(listener, "", path);
        assert_eq!(found.map(|found| found.prefix_len), Some(len), "a path of {} octets", path.len());
        assert_eq!(name(found).as_deref(), Some(expected), "a path of {} octets", path.len());
    }
}

#[test]
fn what_a_prefix_covered_is_what_a_rewrite_replaces() {
    let rewrite = PathRewrite::Prefix("/new".to_owned());
    for (pattern, path, expected) in
        [("/a/", "/a/b", "/new/b"), ("/a", "/a", "/new"), ("/", "/b", "/new/b"), ("/a//b", "/a//b//c", "/new/c")]
    {
        let routes = vec![route("R/n/a", &[], vec![rule("r", vec![prefix(pattern)])])];
        let table = Table::try_from(table(routes)).unwrap();
        let found = ask(table.port(80).unwrap().listener_for(None).unwrap(), "", path).unwrap();
        assert_eq!(rewrite.apply(path, found.prefix_len), expected, "{pattern} on {path}");
    }
}

#[test]
fn the_listener_of_the_most_specific_host_is_found() {
    let table = listeners(vec![
        listener("any", 80, None),
        listener("com", 80, Some("*.com")),
        listener("wild", 80, Some("*.example.com")),
        listener("exact", 80, Some("a.example.com")),
        listener("closed", 81, Some("a.example.com")),
    ]);
    let port = table.port(80).unwrap();
    for (host, expected) in [
        (None, "any"),
        (Some(""), "any"),
        (Some("A.example.COM"), "exact"),
        (Some("a.example.com."), "exact"),
        (Some("b.example.com"), "wild"),
        (Some("c.b.example.com"), "wild"),
        (Some("example.com"), "com"),
        (Some("com"), "any"),
        (Some("127.0.0.1"), "any"),
        (Some("\u{e9}.example.com"), "wild"),
    ] {
        assert_eq!(port.listener_for(host).map(|listener| &*listener.id), Some(expected), "{host:?}");
    }
    let closed = table.port(81).unwrap();
    assert!(closed.listener_for(None).is_none());
    assert!(closed.listener_for(Some("b.example.com")).is_none());
    assert!(table.port(82).is_none());
}

/// A connection whose SNI chose a listener may carry requests for another host (RFC 9110 section 7.4).
#[test]
fn a_listener_serves_only_its_own_hosts() {
    let mut wire = table(vec![route("R/n/a", &[], vec![rule("r", vec![prefix("/")])])]);
    wire.listeners[0].hostname = Some("*.example.com".to_owned());
    let table = Table::try_from(wire).unwrap();
    let listener = table.port(80).unwrap().listeners().next().unwrap();
    assert!(ask(listener, "a.example.com", "/").is_some());
    assert!(ask(listener, "b.a.example.com", "/").is_some());
    for host in ["example.com", "a.example.org", ""] {
        assert!(ask(listener, host, "/").is_none(), "{host}");
    }
}

#[test]
fn websocket_matches_take_handshakes_only() {
    let mut websocket = prefix("/");
    websocket.opens = wire::Opens::WebSocket;
    let table = Table::try_from(table(vec![route("R/n/a", &[], vec![rule("r", vec![websocket])])])).unwrap();
    let listener = table.port(80).unwrap().listener_for(None).unwrap();
    let headers = HeaderMap::new();
    let plain = Request {
        method: &Method::GET,
        host: "",
        path: "/",
        query: None,
        headers: &headers,
        opening: Opening::Request,
    };
    assert!(listener.lookup(&plain).is_none());
    assert!(listener.lookup(&Request { opening: Opening::WebSocket, ..plain }).is_some());
}

#[test]
fn sessions_meet_only_what_opens_them() {
    let opening = |text: &str, opens| wire::Match { opens, ..prefix(text) };
    let rules = vec![
        rule("any", vec![opening("/", wire::Opens::Any)]),
        rule("method", vec![wire::Match { method: Some("CONNECT".to_owned()), ..prefix("/") }]),
        rule("websocket", vec![opening("/", wire::Opens::WebSocket)]),
        rule("webtransport", vec![opening("/wt", wire::Opens::WebTransport)]),
        rule(
            "subprotocol",
            vec![wire::Match { subprotocols: vec!["moq-00".to_owned()], ..opening("/wt", wire::Opens::WebTransport) }],
        ),
    ];
    let table = Table::try_from(table(vec![route("R/n/a", &[], rules)])).unwrap();
    let listener = table.port(80).unwrap().listener_for(None).unwrap();
    let headers = HeaderMap::new();
    let offers = ["moq-00".to_owned()];
    for (path, opening, expected) in [
        ("/wt", Opening::WebTransport { subprotocols: &[] }, Some("webtransport")),
        ("/wt", Opening::WebTransport { subprotocols: &offers }, Some("subprotocol")),
        ("/", Opening::WebTransport { subprotocols: &offers }, None),
        ("/wt", Opening::WebSocket, Some("websocket")),
        ("/wt", Opening::Request, Some("method")),
    ] {
        let request = Request { method: &Method::CONNECT, host: "", path, query: None, headers: &headers, opening };
        let found = listener.lookup(&request).and_then(|found| found.rule.name.as_deref());
        assert_eq!(found, expected, "{path} {opening:?}");
    }
}

#[test]
fn a_table_tells_what_is_in_it() {
    let certificate = |id: &str| wire::Certificate { id: id.to_owned(), chain: "chain".into(), key: "secret".into() };
    let backend = |id: &str, endpoints: &[&str]| wire::Backend {
        id: id.to_owned(),
        protocol: wire::BackendProtocol::H2c,
        endpoints: endpoints.iter().map(|text| (*text).to_owned()).collect(),
        tls: None,
    };
    let tls = wire::BackendTls {
        server_name: "B.example".to_owned(),
        trust: wire::Trust::System,
        subject_alt_names: vec![wire::SubjectAltName::Hostname("*.B.example".to_owned())],
    };
    let mut https = listener("n/g/https", 443, None);
    (https.protocol, https.http3, https.public_port) = (wire::Protocol::Https, true, 8443);
    https.certificates = vec!["n/b".to_owned(), "n/a".to_owned()];
    let mut https_too = listener("n/g/also", 443, Some("a.example"));
    https_too.protocol = wire::Protocol::Https;
    let mut wire = table(vec![
        route("R/n/a", &[], vec![rule("1", vec![prefix("/")]), rule("2", vec![prefix("/2")])]),
        route("R/n/b", &[], vec![rule("3", vec![prefix("/3")])]),
    ]);
    wire.listeners.extend([https, https_too]);
    wire.backends = vec![
        wire::Backend { tls: Some(tls), ..backend("n/s:2", &[]) },
        backend("n/s:1", &["10.0.0.1:80", "[fd00::1]:80"]),
    ];
    wire.certificates = vec![certificate("n/b"), certificate("n/a")];
    let table = Table::try_from(wire).unwrap();

    assert_eq!((table.route_count(), table.rule_count()), (2, 3));
    assert_eq!(table.ports().map(|port| port.number).collect::<Vec<_>>(), [80, 443]);
    let port = table.port(443).unwrap();
    assert!(port.http3 && port.protocol == wire::Protocol::Https);
    assert!(!table.port(80).unwrap().http3);
    assert_eq!(port.listeners().map(|listener| &*listener.id).collect::<Vec<_>>(), ["n/g/also", "n/g/https"]);
    let listener = port.listener_for(None).unwrap();
    assert_eq!((listener.port, listener.public_port, listener.http3), (443, 8443, true));
    assert_eq!(listener.certificates.iter().map(|id| &**id).collect::<Vec<_>>(), ["n/b", "n/a"]);

    assert_eq!(table.backends().map(|backend| &*backend.id).collect::<Vec<_>>(), ["n/s:1", "n/s:2"]);
    let backend = table.backend("n/s:1").unwrap();
    assert_eq!(backend.endpoints, ["10.0.0.1:80".parse().unwrap(), "[fd00::1]:80".parse().unwrap()]);
    assert_eq!(backend.protocol, wire::BackendProtocol::H2c);
    assert!(table.backend("n/s:3").is_none());
    let tls = table.backend("n/s:2").and_then(|backend| backend.tls.clone()).unwrap();
    assert_eq!((tls.server_name.as_str(), &tls.trust), ("b.example", &Trust::System), "names are lowered");
    assert_eq!(tls.subject_alt_names, [SubjectAltName::Hostname(HostPattern::try_from("*.b.example").unwrap())]);

    assert_eq!(table.certificates().map(|certificate| &*certificate.id).collect::<Vec<_>>(), ["n/a", "n/b"]);
    assert_eq!(table.certificate("n/a").unwrap().key, "secret");
    assert!(table.certificate("n/c").is_none());
    assert!(!format!("{table:?}").contains("secret"), "keys are never printed");
}

/// A pod may be older than the controller, or newer.
#[test]
fn a_backend_without_a_word_of_tls_is_in_clear_text() {
    let old: wire::Backend = serde_json::from_str(r#"{"id": "n/s:1", "endpoints": ["10.0.0.1:80"]}"#).unwrap();
    assert_eq!(old.tls, None);
    assert!(!serde_json::to_string(&old).unwrap().contains("tls"), "and its digest stays as it was");
    let json = r#"{"id": "n/s:1", "protocol": "Http1", "endpoints": [], "tls": {"server_name": "b.example",
        "trust": {"Roots": "PEM"}, "subject_alt_names": [{"Hostname": "b.example"}, {"Uri": "a:b"}]}}"#;
    let tls = serde_json::from_str::<wire::Backend>(json).unwrap().tls.unwrap();
    assert_eq!(tls.trust, wire::Trust::Roots("PEM".to_owned()));
    let short = r#"{"server_name": "b.example", "trust": "System"}"#;
    let tls: wire::BackendTls = serde_json::from_str(short).unwrap();
    assert!(tls.subject_alt_names.is_empty() && tls.trust == wire::Trust::System);
    let unknown = r#"{"server_name": "b.example", "trust": "Everybody"}"#;
    assert!(serde_json::from_str::<wire::BackendTls>(unknown).is_err(), "what is not understood is not weakened");
}

#[test]
fn what_many_backends_ask_for_is_kept_once() {
    let backend = |id: &str, server_name: &str| wire::Backend {
        id: id.to_owned(),
        protocol: wire::BackendProtocol::Http1,
        endpoints: Vec::new(),
        tls: Some(wire::BackendTls {
            server_name: server_name.to_owned(),
            trust: wire::Trust::Roots("-----BEGIN CERTIFICATE-----".to_owned()),
            subject_alt_names: Vec::new(),
        }),
    };
    let backends = vec![backend("a", "x.example"), backend("b", "X.EXAMPLE"), backend("c", "y.example")];
    let table = Table::try_from(wire::Table { backends, ..wire::Table::default() }).unwrap();
    let tls: Vec<_> = table.backends().filter_map(|backend| backend.tls.as_ref()).collect();
    assert!(std::sync::Arc::ptr_eq(tls[0], tls[1]));
    assert_ne!(tls[0], tls[2]);
}

#[test]
fn a_port_takes_quic_as_all_its_listeners_ask() {
    use wire::Retry::{Always, Never, UnderLoad};
    for (asked, expected) in [
        (vec![(false, Never)], (false, Never)),
        (vec![(true, Always)], (true, Always)),
        (vec![(true, Never), (true, UnderLoad)], (true, UnderLoad)),
        (vec![(true, Always), (false, Never), (true, UnderLoad)], (false, Always)),
    ] {
        let listeners = asked.iter().enumerate().map(|(at, (zero_rtt, retry))| wire::Listener {
            protocol: wire::Protocol::Https,
            http3: true,
            quic: wire::QuicOptions { zero_rtt: *zero_rtt, retry: *retry, ..Default::default() },
            ..listener(&format!("n/g/{at}"), 443, Some(&format!("{at}.example")))
        });
        let wire = wire::Table { listeners: listeners.collect(), ..wire::Table::default() };
        let table = Table::try_from(wire).unwrap();
        let (zero_rtt, retry) = expected;
        assert_eq!(
            table.port(443).unwrap().quic,
            wire::QuicOptions { zero_rtt, retry, ..Default::default() },
            "{asked:?}"
        );
    }
}

#[test]
fn a_port_without_quic_has_no_zero_rtt() {
    let quic = wire::QuicOptions { zero_rtt: true, ..Default::default() };
    let wire =
        wire::Table { listeners: vec![wire::Listener { quic, ..listener("n/g/a", 80, None) }], ..Default::default() };
    let quic = Table::try_from(wire).unwrap().port(80).unwrap().quic;
    assert!(!quic.zero_rtt && !quic.webtransport.enabled);
}

#[test]
fn a_port_offers_webtransport_as_the_strictest_listener_asks() {
    let options = |enabled, sessions, early_octets| WebTransportOptions { enabled, sessions, early_octets };
    for (asked, expected) in [
        (vec![WebTransportOptions::default()], options(true, 16, 64 << 10)),
        (vec![options(true, 4, 9), options(true, 5, 8)], options(true, 4, 8)),
        (vec![options(true, 99, 999_999)], options(true, 99, 999_999)),
        (vec![options(true, 4, 9), options(false, 5, 9)], options(false, 4, 9)),
    ] {
        let listeners = asked.iter().enumerate().map(|(at, webtransport)| wire::Listener {
            protocol: wire::Protocol::Https,
            http3: true,
            quic: wire::QuicOptions { webtransport: *webtransport, ..Default::default() },
            ..listener(&format!("n/g/{at}"), 443, Some(&format!("{at}.example")))
        });
        let wire = wire::Table { listeners: listeners.collect(), ..wire::Table::default() };
        assert_eq!(Table::try_from(wire).unwrap().port(443).unwrap().quic.webtransport, expected, "{asked:?}");
    }
}

/// What an older controller does not write is what its pods would have done.
#[test]
fn what_is_not_said_of_webtransport_is_the_default() {
    let quic: wire::QuicOptions = serde_json::from_str(r#"{"webtransport": {"sessions": 3}}"#).unwrap();
    assert_eq!(quic.webtransport, WebTransportOptions { sessions: 3, ..Default::default() });
    let session = r#"{"destination": {"Streams": {"tcp": []}}, "limits": {"streams": 1}}"#;
    let session: wire::WebTransport = serde_json::from_str(session).unwrap();
    assert_eq!(session.destination, wire::Destination::Streams { tcp: Vec::new(), udp: Vec::new() });
    assert_eq!(session.limits, wire::SessionLimits { streams: 1, ..Default::default() });
    assert_eq!(serde_json::to_string(&wire::QuicOptions::default()).unwrap(), "{}", "and digests stay as they were");
}
