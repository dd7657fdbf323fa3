//! Every reason to refuse a table, provoked by one change to a table that is taken.

use headrace_table::wire::*;
use headrace_table::{List, MAX_ROOTS, MAX_TEXT, MAX_WEIGHT, NotAHostname, NotAnOrigin, Place, Reason, Refused};

use crate::build::*;

/// A table with one of everything.
fn good() -> Table {
    let mut https = listener("s", 443, Some("*.example.com"));
    (https.protocol, https.http3, https.certificates) = (Protocol::Https, true, vec!["n/c".to_owned()]);
    let mut full = prefix("/a");
    full.method = Some("GET".to_owned());
    full.headers = vec![value("x-a", "1")];
    full.query = vec![value("q", "1")];
    (full.opens, full.subprotocols) = (Opens::WebSocket, vec!["chat.v1".to_owned()]);
    let forward = Rule { action: Action::Forward(good_forward()), ..rule("forward", vec![full]) };
    let redirect = Rule { action: Action::Redirect(good_redirect()), ..rule("redirect", vec![prefix("/b")]) };
    let mut route = route("R/n/r", &[], vec![forward, redirect, rule("respond", vec![exact("/c"), regex("/d+")])]);
    route.attachments.push(attachment("s", &["a.example.com"]));
    let session = |name: &str, destination| {
        let session = Match { opens: Opens::WebTransport, subprotocols: vec!["\"1\"".to_owned()], ..prefix("/w") };
        Rule { action: Action::WebTransport(good_session(destination)), ..rule(name, vec![session]) }
    };
    let sessions = vec![
        session("session", Destination::Session { backends: vec![weighted("n/s:443/udp")] }),
        session("streams", Destination::Streams { tcp: vec![weighted("n/s:22")], udp: vec![weighted("n/s:53/udp")] }),
    ];
    let octets = |id: &str, protocol| Backend { id: id.to_owned(), protocol, endpoints: Vec::new(), tls: None };
    let trust = BackendTls { server_name: text("b.example"), trust: Trust::System, subject_alt_names: Vec::new() };
    let http3 = Backend { tls: Some(trust), ..octets("n/s:443/udp", BackendProtocol::Http3) };
    Table {
        listeners: vec![listener("l", 80, None), https],
        routes: vec![route, crate::build::route("W/n/r", &[], sessions)],
        backends: vec![
            Backend {
                id: "n/s:80".to_owned(),
                protocol: BackendProtocol::Http1,
                endpoints: vec!["10.0.0.1:80".to_owned()],
                tls: Some(BackendTls {
                    server_name: "b.example".to_owned(),
                    trust: Trust::Roots("-----BEGIN CERTIFICATE-----".to_owned()),
                    subject_alt_names: vec![
                        SubjectAltName::Hostname("*.b.example".to_owned()),
                        SubjectAltName::Uri("spiffe://b.example/ns/a/sa/b".to_owned()),
                    ],
                }),
            },
            http3,
            octets("n/s:22", BackendProtocol::Stream),
            octets("n/s:53/udp", BackendProtocol::Datagram),
        ],
        certificates: vec![Certificate { id: "n/c".to_owned(), chain: String::new(), key: String::new() }],
        ..Table::default()
    }
}

fn good_forward() -> Forward {
    Forward {
        backends: vec![weighted("n/s:80")],
        rewrite_host: Some("b.example".to_owned()),
        rewrite_path: Some(PathRewrite::Prefix("/x".to_owned())),
        websocket: WebSocketRules { origins: vec!["https://*.example".to_owned()], ..WebSocketRules::default() },
        ..Forward::default()
    }
}

fn weighted(id: &str) -> WeightedBackend {
    WeightedBackend {
        backend: Some(id.to_owned()),
        weight: MAX_WEIGHT,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
    }
}

fn good_session(destination: Destination) -> WebTransport {
    WebTransport {
        origins: vec!["https://*.example".to_owned()],
        destination,
        rewrite_host: Some("b.example".to_owned()),
        rewrite_path: Some(PathRewrite::Prefix("/x".to_owned())),
        open_timeout_ms: 1,
        idle_timeout_ms: 1,
        lifetime_ms: 1,
        limits: SessionLimits::default(),
    }
}

fn good_redirect() -> Redirect {
    Redirect {
        scheme: Some("https".to_owned()),
        host: Some("c.example".to_owned()),
        path: Some(PathRewrite::Full("/y".to_owned())),
        port: Some(8443),
        status: 308,
    }
}

fn forward(table: &mut Table) -> &mut Forward {
    match &mut table.routes[0].rules[0].action {
        Action::Forward(forward) => forward,
        other => panic!("{other:?} is no forward"),
    }
}

/// The session of the rule that goes to a backend of sessions, or of the other one.
fn session(table: &mut Table, rule: usize) -> &mut WebTransport {
    match &mut table.routes[1].rules[rule].action {
        Action::WebTransport(session) => session,
        other => panic!("{other:?} is no session"),
    }
}

fn redirect(table: &mut Table) -> &mut Redirect {
    match &mut table.routes[0].rules[1].action {
        Action::Redirect(redirect) => redirect,
        other => panic!("{other:?} is no redirect"),
    }
}

fn first_match(table: &mut Table) -> &mut Match {
    &mut table.routes[0].rules[0].matches[0]
}

fn listener_place(id: &str) -> Place {
    Place::Listener(id.to_owned())
}

fn route_place() -> Place {
    Place::Route("R/n/r".to_owned())
}

fn rule_place(rule: usize) -> Place {
    Place::Rule("R/n/r".to_owned(), rule)
}

fn session_place(rule: usize) -> Place {
    Place::Rule("W/n/r".to_owned(), rule)
}

fn match_place() -> Place {
    Place::Match("R/n/r".to_owned(), 0, 0)
}

fn backend_place() -> Place {
    Place::Backend("n/s:80".to_owned())
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn hostname(host: &str, fault: NotAHostname) -> Reason {
    Reason::Hostname { host: host.to_owned(), fault }
}

type Case = (fn(&mut Table), Place, Reason);

#[track_caller]
fn refuses(cases: Vec<Case>) {
    assert!(headrace_table::Table::try_from(good()).is_ok());
    for (at, (change, place, reason)) in cases.into_iter().enumerate() {
        let mut table = good();
        change(&mut table);
        let refused = headrace_table::Table::try_from(table).err();
        assert_eq!(refused, Some(Refused { place, reason }), "case {at}");
    }
}

#[test]
fn ids_and_references() {
    refuses(vec![
        (|t| t.backends.push(t.backends[0].clone()), backend_place(), Reason::DuplicateId),
        (|t| t.listeners.push(t.listeners[0].clone()), listener_place("l"), Reason::DuplicateId),
        (|t| t.routes.push(t.routes[0].clone()), route_place(), Reason::DuplicateId),
        (|t| t.certificates.push(t.certificates[0].clone()), Place::Certificate(text("n/c")), Reason::DuplicateId),
        (|t| t.routes[0].id.clear(), Place::Route(String::new()), Reason::EmptyId),
        (|t| t.listeners[0].id.clear(), listener_place(""), Reason::EmptyId),
        (|t| t.listeners[1].id = text("t"), route_place(), Reason::UnknownListener(text("s"))),
        (|t| t.backends.clear(), rule_place(0), Reason::UnknownBackend(text("n/s:80"))),
        (|t| t.certificates.clear(), listener_place("s"), Reason::UnknownCertificate(text("n/c"))),
    ]);
}

#[test]
fn listeners_and_backends() {
    refuses(vec![
        (|t| t.listeners[0].port = 0, listener_place("l"), Reason::PortZero),
        (|t| t.listeners[0].public_port = 0, listener_place("l"), Reason::PortZero),
        (|t| t.listeners[1].port = 80, listener_place("s"), Reason::MixedProtocols(text("l"))),
        (|t| t.listeners.push(listener("m", 80, None)), listener_place("m"), Reason::SameHost(text("l"))),
        (|t| t.listeners[0].http3 = true, listener_place("l"), Reason::Http3InClearText),
        (|t| t.listeners[0].certificates = vec![text("n/c")], listener_place("l"), Reason::CertificatesInClearText),
        (|t| t.listeners[0].hostname = Some(text("*")), listener_place("l"), hostname("*", NotAHostname::Wildcard)),
        (|t| t.listeners[0].hostname = Some(text("")), listener_place("l"), hostname("", NotAHostname::Empty)),
        (|t| t.listeners[0].hostname = Some(text("a_b")), listener_place("l"), hostname("a_b", NotAHostname::Label)),
        (|t| t.backends[0].endpoints.push(text("10.0.0.1:0")), backend_place(), Reason::PortZero),
    ]);
    for endpoint in ["", "10.0.0.1", "localhost:80", "10.0.0.1:65536", "fd00::1:80"] {
        let mut table = good();
        table.backends[0].endpoints.push(endpoint.to_owned());
        let Refused { place, reason } = headrace_table::Table::try_from(table).unwrap_err();
        assert_eq!(place, backend_place());
        assert!(matches!(&reason, Reason::Endpoint { endpoint: named, .. } if named == endpoint), "{reason}");
    }
}

fn tls(table: &mut Table) -> &mut BackendTls {
    table.backends[0].tls.as_mut().unwrap()
}

#[test]
fn tls_towards_backends() {
    refuses(vec![
        (|t| tls(t).server_name.clear(), backend_place(), hostname("", NotAHostname::Empty)),
        (
            |t| tls(t).server_name = text("*.b.example"),
            backend_place(),
            hostname("*.b.example", NotAHostname::Wildcard),
        ),
        (|t| tls(t).server_name = text("b.example."), backend_place(), hostname("b.example.", NotAHostname::Label)),
        (|t| tls(t).server_name = text("10.0.0.1"), backend_place(), Reason::ServerNameIsAddress(text("10.0.0.1"))),
        (|t| tls(t).server_name = text("fd00::1"), backend_place(), Reason::ServerNameIsAddress(text("fd00::1"))),
        (|t| tls(t).trust = Trust::Roots(String::new()), backend_place(), Reason::NoRoots),
        (|t| tls(t).trust = Trust::Roots(text("-----BEGIN PRIVATE KEY-----")), backend_place(), Reason::NoRoots),
        (
            |t| tls(t).trust = Trust::Roots(" ".repeat(MAX_ROOTS + 1)),
            backend_place(),
            Reason::RootsTooLong(MAX_ROOTS + 1),
        ),
        (
            |t| tls(t).subject_alt_names[0] = SubjectAltName::Hostname(text("*")),
            backend_place(),
            hostname("*", NotAHostname::Wildcard),
        ),
        (
            |t| tls(t).subject_alt_names[0] = SubjectAltName::Uri(format!("a:{}", "b".repeat(MAX_TEXT))),
            backend_place(),
            Reason::TooLong(MAX_TEXT + 2),
        ),
    ]);
    for uri in ["", "b", ":b", "spiffe:", "1a://b", "a b://c", "a://b c", "a://\u{e9}", "a://b\n"] {
        let mut table = good();
        tls(&mut table).subject_alt_names[1] = SubjectAltName::Uri(uri.to_owned());
        let expected = Refused { place: backend_place(), reason: Reason::Uri(uri.to_owned()) };
        assert_eq!(headrace_table::Table::try_from(table).err(), Some(expected));
    }
}

#[test]
fn attachments() {
    let outside = |host: &str| Reason::HostOutsideListener {
        host: host.to_owned(),
        listener: text("s"),
        within: text("*.example.com"),
    };
    refuses(vec![
        (
            |t| t.routes[0].attachments[1].hostnames = vec![text("a.*")],
            route_place(),
            hostname("a.*", NotAHostname::Wildcard),
        ),
        (|t| t.routes[0].attachments[1].hostnames = vec![text("a.org")], route_place(), outside("a.org")),
        (|t| t.routes[0].attachments[1].hostnames = vec![text("example.com")], route_place(), outside("example.com")),
        (|t| t.routes[0].attachments[1].hostnames = vec![text("*.com")], route_place(), outside("*.com")),
    ]);
}

#[test]
fn matches() {
    refuses(vec![
        (|t| t.routes[0].rules[0].matches.clear(), rule_place(0), Reason::NoMatches),
        (|t| first_match(t).method = Some(text("GE T")), match_place(), Reason::Method(text("GE T"))),
        (|t| first_match(t).method = Some(text("")), match_place(), Reason::Method(text(""))),
        (|t| first_match(t).headers[0].name = text("x a"), match_place(), Reason::HeaderName(text("x a"))),
        (|t| first_match(t).headers[0].name = text(""), match_place(), Reason::HeaderName(text(""))),
        (|t| first_match(t).query[0].name = text(""), match_place(), Reason::QueryName),
        (|t| first_match(t).path = PathMatch::Prefix(text("")), match_place(), Reason::Path(text(""))),
        (|t| first_match(t).path = PathMatch::Prefix(text("a")), match_place(), Reason::Path(text("a"))),
        (|t| first_match(t).path = PathMatch::Exact(text("/a?b")), match_place(), Reason::Path(text("/a?b"))),
        (|t| first_match(t).path = PathMatch::Exact(text("/a#b")), match_place(), Reason::Path(text("/a#b"))),
        (|t| first_match(t).subprotocols = vec![text("a b")], match_place(), Reason::Subprotocol(text("a b"))),
        (|t| first_match(t).subprotocols = vec![text("")], match_place(), Reason::Subprotocol(text(""))),
        (|t| first_match(t).opens = Opens::Any, match_place(), Reason::SubprotocolsWithoutWebSocket),
        (
            |t| first_match(t).path = PathMatch::Exact(format!("/{}", "a".repeat(MAX_TEXT))),
            match_place(),
            Reason::TooLong(MAX_TEXT + 1),
        ),
        (|t| first_match(t).query[0] = value("q", &"a".repeat(9_999)), match_place(), Reason::TooLong(9_999)),
    ]);
}

#[test]
fn expressions() {
    let changes: [fn(&mut Match, &str); 3] = [
        |m, pattern| m.path = PathMatch::Regex(pattern.to_owned()),
        |m, pattern| m.headers[0].value = ValuePattern::Regex(pattern.to_owned()),
        |m, pattern| m.query[0].value = ValuePattern::Regex(pattern.to_owned()),
    ];
    for change in changes {
        for (pattern, too_big) in [("(", false), (r"\w{100}", true), ("((a{100}){100}){100}", true)] {
            let mut table = good();
            change(first_match(&mut table), pattern);
            let Refused { place, reason } = headrace_table::Table::try_from(table).unwrap_err();
            assert_eq!(place, match_place());
            let Reason::Regex { pattern: named, fault } = reason else { panic!("{reason}") };
            assert_eq!(named, pattern);
            assert_eq!(matches!(fault, regex::Error::CompiledTooBig(_)), too_big, "{fault}");
        }
    }
}

#[test]
fn actions() {
    let origin = |origin: &str, fault| Reason::Origin { origin: origin.to_owned(), fault };
    refuses(vec![
        (|t| forward(t).backends[0].weight += 1, rule_place(0), Reason::Weight(MAX_WEIGHT + 1)),
        (|t| forward(t).rewrite_host = Some(text("a:80")), rule_place(0), hostname("a:80", NotAHostname::Label)),
        (|t| forward(t).websocket.origins = vec![text("*")], rule_place(0), origin("*", NotAnOrigin::Scheme)),
        (|t| first_match(t).path = PathMatch::Exact(text("/a")), rule_place(0), Reason::PrefixRewriteWithoutPrefix(0)),
        (|t| t.routes[0].rules[0].matches.push(regex("/a")), rule_place(0), Reason::PrefixRewriteWithoutPrefix(1)),
        (
            |t| {
                redirect(t).path = Some(PathRewrite::Prefix(text("")));
                t.routes[0].rules[1].matches = vec![exact("/b")];
            },
            rule_place(1),
            Reason::PrefixRewriteWithoutPrefix(0),
        ),
        (|t| redirect(t).status = 304, rule_place(1), Reason::RedirectStatus(304)),
        (|t| redirect(t).scheme = Some(text("ws")), rule_place(1), Reason::Scheme(text("ws"))),
        (|t| redirect(t).host = Some(text("*.a")), rule_place(1), hostname("*.a", NotAHostname::Wildcard)),
        (|t| redirect(t).port = Some(0), rule_place(1), Reason::PortZero),
        (|t| t.routes[0].rules[2].action = Action::Respond(101), rule_place(2), Reason::Status(101)),
        (|t| t.routes[0].rules[2].action = Action::Respond(600), rule_place(2), Reason::Status(600)),
        (|t| t.routes[0].rules[2].action = Action::Respond(0), rule_place(2), Reason::Status(0)),
    ]);
    for path in ["", "a", "/a?b", "/a#b", "/a b", "/a\r\nb: c", "/\u{e9}"] {
        let mut table = good();
        redirect(&mut table).path = Some(PathRewrite::Full(path.to_owned()));
        let reason = Reason::RewritePath(path.to_owned());
        assert_eq!(headrace_table::Table::try_from(table).err(), Some(Refused { place: rule_place(1), reason }));
    }
}

#[test]
fn sessions() {
    let speaks = |id: &str, protocol| Reason::BackendSpeaks { id: id.to_owned(), protocol };
    let http3 = || Place::Backend(text("n/s:443/udp"));
    refuses(vec![
        (|t| t.backends[1].tls = None, http3(), Reason::Http3InClearText),
        (|t| t.backends[2].tls = t.backends[1].tls.clone(), Place::Backend(text("n/s:22")), Reason::TlsAroundOctets),
        (
            |t| forward(t).backends = vec![weighted("n/s:443/udp")],
            rule_place(0),
            speaks("n/s:443/udp", BackendProtocol::Http3),
        ),
        (
            |t| session(t, 0).destination = Destination::Session { backends: vec![weighted("n/s:80")] },
            session_place(0),
            speaks("n/s:80", BackendProtocol::Http1),
        ),
        (
            |t| session(t, 1).destination = Destination::Streams { tcp: vec![weighted("n/s:53/udp")], udp: vec![] },
            session_place(1),
            speaks("n/s:53/udp", BackendProtocol::Datagram),
        ),
        (
            |t| session(t, 1).destination = Destination::Streams { tcp: vec![], udp: vec![weighted("n/s:22")] },
            session_place(1),
            speaks("n/s:22", BackendProtocol::Stream),
        ),
        (
            |t| session(t, 1).destination = Destination::Streams { tcp: vec![], udp: vec![weighted("n/s:54/udp")] },
            session_place(1),
            Reason::UnknownBackend(text("n/s:54/udp")),
        ),
        (
            |t| session(t, 0).origins = vec![text("*")],
            session_place(0),
            Reason::Origin { origin: text("*"), fault: NotAnOrigin::Scheme },
        ),
        (|t| session(t, 0).rewrite_host = Some(text("*.a")), session_place(0), hostname("*.a", NotAHostname::Wildcard)),
        (
            |t| t.routes[1].rules[0].matches[0].subprotocols = vec![text("\u{e9}")],
            Place::Match(text("W/n/r"), 0, 0),
            Reason::Subprotocol(text("\u{e9}")),
        ),
        (|t| t.routes[1].rules[0].matches.push(prefix("/w")), session_place(0), Reason::ActionCannotOpen(1)),
        (|t| first_match(t).opens = Opens::WebTransport, rule_place(0), Reason::ActionCannotOpen(0)),
    ]);
}

#[test]
fn header_changes() {
    type Field = fn(&mut Table) -> &mut HeaderChanges;
    let places: [(Field, usize); 4] = [
        (|t| &mut t.routes[0].rules[2].request_headers, 2),
        (|t| &mut t.routes[0].rules[2].response_headers, 2),
        (|t| &mut forward(t).backends[0].request_headers, 0),
        (|t| &mut forward(t).backends[0].response_headers, 0),
    ];
    type Change = fn(&mut HeaderChanges);
    let changes: [(Change, Reason); 5] = [
        (|c| c.set.push((text("a b"), text("c"))), Reason::HeaderName(text("a b"))),
        (|c| c.add.push((text(":path"), text("/"))), Reason::HeaderName(text(":path"))),
        (|c| c.remove.push(text("")), Reason::HeaderName(text(""))),
        (|c| c.set.push((text("x-a"), text("1\r\nx-b: 2"))), Reason::HeaderValue(text("x-a"))),
        (|c| c.add.push((text("x-a"), text("\u{0}"))), Reason::HeaderValue(text("x-a"))),
    ];
    for (field, rule) in places {
        for (change, reason) in &changes {
            let mut table = good();
            change(field(&mut table));
            let expected = Refused { place: rule_place(rule), reason: reason.clone() };
            assert_eq!(headrace_table::Table::try_from(table).err(), Some(expected));
        }
    }
}

#[test]
fn lists() {
    let over = |list: List| Reason::TooMany { list, count: list.max() + 1 };
    // What is repeated is good by itself, so nothing but its number is wrong.
    let field = || (text("x-a"), text("1"));
    type Fill = Box<dyn Fn(&mut Table, usize)>;
    let cases: Vec<(List, Place, Fill)> = vec![
        (List::Listeners, Place::Table, Box::new(|t, n| t.listeners = vec![t.listeners[0].clone(); n])),
        (List::Routes, Place::Table, Box::new(|t, n| t.routes = vec![route("R/n/r", &[], vec![]); n])),
        (List::Backends, Place::Table, Box::new(|t, n| t.backends = vec![t.backends[0].clone(); n])),
        (List::Certificates, Place::Table, Box::new(|t, n| t.certificates = vec![t.certificates[0].clone(); n])),
        (
            List::ListenerCertificates,
            listener_place("s"),
            Box::new(|t, n| t.listeners[1].certificates = vec![text("n/c"); n]),
        ),
        (List::Attachments, route_place(), Box::new(|t, n| t.routes[0].attachments = vec![attachment("l", &[]); n])),
        (List::Hostnames, route_place(), Box::new(|t, n| t.routes[0].attachments[0].hostnames = vec![text("a"); n])),
        (List::Rules, route_place(), Box::new(|t, n| t.routes[0].rules = vec![rule("r", vec![prefix("/")]); n])),
        (List::Matches, rule_place(0), Box::new(|t, n| t.routes[0].rules[0].matches = vec![prefix("/"); n])),
        (List::HeaderMatches, match_place(), Box::new(|t, n| first_match(t).headers = vec![value("a", "1"); n])),
        (List::QueryMatches, match_place(), Box::new(|t, n| first_match(t).query = vec![value("a", "1"); n])),
        (List::Subprotocols, match_place(), Box::new(|t, n| first_match(t).subprotocols = vec![text("a"); n])),
        (
            List::HeaderChanges,
            rule_place(0),
            Box::new(move |t, n| {
                let changes = &mut t.routes[0].rules[0].request_headers;
                (changes.set, changes.add, changes.remove) =
                    (vec![field(); n / 3], vec![field(); n / 3], vec![text("x-a"); n - n / 3 * 2]);
            }),
        ),
        (
            List::WeightedBackends,
            rule_place(0),
            Box::new(|t, n| {
                let backend = forward(t).backends[0].clone();
                forward(t).backends = vec![backend; n];
            }),
        ),
        (
            List::Origins,
            rule_place(0),
            Box::new(|t, n| forward(t).websocket.origins = vec![text("https://a.example"); n]),
        ),
        (List::Endpoints, backend_place(), Box::new(|t, n| t.backends[0].endpoints = vec![text("10.0.0.1:80"); n])),
        (
            List::SubjectAltNames,
            backend_place(),
            Box::new(|t, n| tls(t).subject_alt_names = vec![SubjectAltName::Uri(text("a:b")); n]),
        ),
    ];
    for (list, place, fill) in cases {
        let mut table = good();
        fill(&mut table, list.max() + 1);
        let reason = over(list);
        assert_eq!(headrace_table::Table::try_from(table).err(), Some(Refused { place, reason }), "{}", list.label());
        let mut table = good();
        fill(&mut table, list.max());
        let taken = headrace_table::Table::try_from(table).err().map(|refused| refused.reason);
        assert!(!matches!(taken, Some(Reason::TooMany { .. })), "{}: {taken:?}", list.label());
    }
}

/// Hosts times matches, each of which is within its own bound.
#[test]
fn matches_on_all_hosts_together() {
    let mut table = good();
    let hosts = (0..1_001).map(|host| format!("h{host}.example.com")).collect();
    table.routes[0].attachments = vec![Attachment { listener: text("s"), hostnames: hosts }];
    table.routes[0].rules = vec![rule("r", vec![prefix("/"); 1_000])];
    let reason = Reason::TooMany { list: List::Candidates, count: 1_001_000 };
    assert_eq!(headrace_table::Table::try_from(table).err(), Some(Refused { place: Place::Table, reason }));
}

#[test]
fn a_refusal_says_where_and_why() {
    let mut table = good();
    first_match(&mut table).path = PathMatch::Prefix(text("a"));
    let refused = headrace_table::Table::try_from(table).unwrap_err();
    assert_eq!(refused.to_string(), r#"route R/n/r, rules[0].matches[0]: "a" is not a path"#);
    let mut table = good();
    table.listeners = vec![table.listeners[0].clone(); 4_097];
    let refused = headrace_table::Table::try_from(table).unwrap_err();
    assert_eq!(refused.to_string(), "table: 4097 listeners, of which at most 4096 are taken");
}
