//! Properties over tables drawn from so few words that matches collide all the time.

use headrace_table::wire::*;
use headrace_table::{Opening, Request, Table as Checked};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::oracle::{self, Answer, Asks, Question};

const LISTENERS: [(&str, Option<&str>); 4] =
    [("any", None), ("wild", Some("*.b.c")), ("exact", Some("a.b.c")), ("top", Some("*.c"))];
const HOSTS: [&str; 5] = ["a.b.c", "b.c", "*.b.c", "*.c", "*.a.b.c"];
const IDS: [&str; 6] = ["R/a/a", "I/a/a", "R/a/b", "R/b/a", "I/a-b/a", "R/b/b"];

fn text(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(words).prop_map(str::to_owned)
}

fn path_text() -> impl Strategy<Value = String> {
    prop_oneof![3 => "(/[ab]?){1,4}", 1 => "/[ab]{1,2}(/[ab]{1,2})?"]
}

fn path_match() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        path_text().prop_map(PathMatch::Exact),
        path_text().prop_map(PathMatch::Prefix),
        Just(PathMatch::Prefix("/".to_owned())),
        text(&[".*", "/.*", "/a.*", "/[ab]", "[/b]+", "/a|/a/b"]).prop_map(PathMatch::Regex),
    ]
}

fn value_pattern() -> impl Strategy<Value = ValuePattern> {
    prop_oneof![
        text(&["1", "2", "", "1 1", "a+"]).prop_map(ValuePattern::Exact),
        text(&["1|2", ".*", "[1 ]*"]).prop_map(ValuePattern::Regex),
    ]
}

fn value_matches(names: &'static [&'static str]) -> impl Strategy<Value = Vec<ValueMatch>> {
    let one = (text(names), value_pattern()).prop_map(|(name, value)| ValueMatch { name, value });
    prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(one, 1..3)]
}

fn subprotocols(least: usize) -> impl Strategy<Value = Vec<String>> {
    subsequence(vec!["chat".to_owned(), "mqtt".to_owned()], least..=2)
}

fn one_match() -> impl Strategy<Value = Match> {
    let opens = prop_oneof![
        4 => Just((Opens::Any, Vec::new())),
        1 => Just((Opens::WebSocket, Vec::new())),
        1 => subprotocols(1).prop_map(|list| (Opens::WebSocket, list)),
        1 => subprotocols(0).prop_map(|list| (Opens::WebTransport, list)),
    ];
    let method = prop::option::weighted(0.3, text(&["GET", "POST"]));
    let headers = value_matches(&["x-a", "X-A", "x-b"]);
    let query = value_matches(&["a", "b", "a b"]);
    (path_match(), method, headers, query, opens).prop_map(|(path, method, headers, query, opens)| {
        let (opens, subprotocols) = opens;
        Match { path, method, headers, query, opens, subprotocols }
    })
}

fn one_rule() -> impl Strategy<Value = Rule> {
    let action = prop_oneof![
        Just(Action::Respond(404)),
        text(&["https", "http"]).prop_map(|scheme| {
            Action::Redirect(Redirect { scheme: Some(scheme), status: 301, port: Some(1), ..Redirect::default() })
        }),
        (0..3_u32, 0..3_u64).prop_map(|(weight, timeout)| {
            let changes = HeaderChanges { remove: vec!["x-a".to_owned()], ..HeaderChanges::default() };
            let backend = WeightedBackend {
                backend: None,
                weight,
                request_headers: changes,
                response_headers: HeaderChanges::default(),
            };
            let websocket = WebSocketRules { origins: vec!["null".to_owned()], ..WebSocketRules::default() };
            let forward =
                Forward { backends: vec![backend], request_timeout_ms: timeout, websocket, ..Forward::default() };
            Action::Forward(forward)
        }),
    ];
    (prop::collection::vec(one_match(), 1..4), action, any::<bool>()).prop_map(|(matches, action, named)| Rule {
        name: named.then(|| "rule".to_owned()),
        action: able(action, &matches),
        matches,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
    })
}

/// What is drawn, unless it forwards and the matches take sessions: then what all of them can do.
fn able(action: Action, matches: &[Match]) -> Action {
    let sessions = matches.iter().filter(|one| one.opens == Opens::WebTransport).count();
    let Action::Forward(forward) = action else { return action };
    if sessions == 0 {
        return Action::Forward(forward);
    }
    if sessions < matches.len() {
        return Action::Respond(500);
    }
    let limits = SessionLimits { streams: 1, ..SessionLimits::default() };
    Action::WebTransport(WebTransport {
        origins: forward.websocket.origins,
        destination: match forward.request_timeout_ms {
            0 => Destination::Session { backends: forward.backends },
            _ => Destination::Streams { tcp: forward.backends, udp: Vec::new() },
        },
        rewrite_host: None,
        rewrite_path: None,
        open_timeout_ms: 0,
        idle_timeout_ms: forward.request_timeout_ms,
        lifetime_ms: 0,
        limits: if forward.request_timeout_ms == 2 { limits } else { SessionLimits::default() },
    })
}

/// Only hosts that lie within the listener's.
fn hosts_within(listener: Option<&str>) -> Vec<String> {
    let within = |host: &str| {
        listener
            .is_none_or(|pattern| oracle::covers(Some(pattern), &host.replace('*', "x")) && host.len() >= pattern.len())
    };
    HOSTS.iter().filter(|host| within(host)).map(|host| (*host).to_owned()).collect()
}

fn attachments() -> impl Strategy<Value = Vec<Attachment>> {
    subsequence(LISTENERS.to_vec(), 0..=LISTENERS.len()).prop_flat_map(|listeners| {
        let attach = |(id, hostname): (&'static str, Option<&'static str>)| {
            let hosts = hosts_within(hostname);
            let most = hosts.len();
            subsequence(hosts, 0..=most).prop_map(move |hostnames| Attachment { listener: id.to_owned(), hostnames })
        };
        listeners.into_iter().map(attach).collect::<Vec<_>>()
    })
}

fn table() -> impl Strategy<Value = Table> {
    let route = (0..2_i64, attachments(), prop::collection::vec(one_rule(), 0..4));
    let routes = prop::collection::vec(route, 0..=IDS.len()).prop_map(|routes| {
        let named = IDS.iter().zip(routes);
        named
            .map(|(id, (created, attachments, rules))| Route { id: (*id).to_owned(), created, attachments, rules })
            .collect::<Vec<_>>()
    });
    routes.prop_shuffle().prop_map(|routes| Table {
        listeners: LISTENERS.iter().map(|(id, hostname)| crate::build::listener(id, 80, *hostname)).collect(),
        routes,
        ..Table::default()
    })
}

fn backends() -> impl Strategy<Value = Vec<Backend>> {
    let trust = prop_oneof![Just(Trust::System), ".{0,20}".prop_map(Trust::Roots)];
    let name = prop_oneof![".{0,9}".prop_map(SubjectAltName::Hostname), ".{0,9}".prop_map(SubjectAltName::Uri)];
    let tls = (".{0,9}", trust, prop::collection::vec(name, 0..3)).prop_map(|(server_name, trust, names)| BackendTls {
        server_name,
        trust,
        subject_alt_names: names,
    });
    let endpoints = prop::collection::vec(".{0,9}", 0..3);
    let protocol = select(vec![
        BackendProtocol::Http1,
        BackendProtocol::H2c,
        BackendProtocol::Http3,
        BackendProtocol::Stream,
        BackendProtocol::Datagram,
    ]);
    let backend = (".{0,9}", protocol, endpoints, prop::option::of(tls));
    let backend = backend.prop_map(|(id, protocol, endpoints, tls)| Backend { id, protocol, endpoints, tls });
    prop::collection::vec(backend, 0..4)
}

fn question() -> impl Strategy<Value = Question> {
    let host = text(&["a.b.c", "A.b.C", "a.b.c.", "b.c", "x.b.c", "x.a.b.c", "y.x.c", "c", "", "other", ".b.c"]);
    let pair =
        (text(&["a", "b", "%61", "a+b", "a%20b", ""]), text(&["", "=", "=1", "=%31", "=2", "=1+1", "=a%2B", "=%"]));
    let query =
        prop::collection::vec(pair.prop_map(|(name, value)| name + &value), 0..4).prop_map(|pairs| pairs.join("&"));
    let field = prop_oneof![
        (text(&["x-a", "x-b"]), text(&["1", "2", "", "1,2", "1 1"])),
        (Just("sec-websocket-protocol".to_owned()), text(&["chat", "mqtt", "x, chat", "mqtt ,chat", "Chat"])),
    ];
    let headers = prop::collection::vec(field, 0..5);
    let path = prop_oneof![8 => path_text(), 1 => text(&["/c", "/a/b/a/b/a/b", "//"])];
    let asks = prop_oneof![
        3 => Just(Asks::Request),
        3 => Just(Asks::WebSocket),
        2 => subprotocols(0).prop_map(Asks::WebTransport),
    ];
    (text(&["GET", "POST", "PUT"]), host, path, prop::option::of(query), headers, asks)
        .prop_map(|(method, host, path, query, headers, asks)| Question { method, host, path, query, headers, asks })
}

fn answer(table: &Checked, listener: &str, question: &Question) -> Option<Answer> {
    let mut headers = HeaderMap::new();
    for (name, value) in &question.headers {
        headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    let request = Request {
        method: &Method::from_bytes(question.method.as_bytes()).unwrap(),
        host: &question.host,
        path: &question.path,
        query: question.query.as_deref(),
        headers: &headers,
        opening: match &question.asks {
            Asks::Request => Opening::Request,
            Asks::WebSocket => Opening::WebSocket,
            Asks::WebTransport(subprotocols) => Opening::WebTransport { subprotocols },
        },
    };
    let listener = table.port(80).unwrap().listeners().find(|one| *one.id == *listener).unwrap();
    let found = listener.lookup(&request)?;
    let rule = found.route.rules.iter().position(|rule| std::sync::Arc::ptr_eq(rule, found.rule)).unwrap();
    Some((found.route.id.to_string(), rule, found.prefix_len))
}

/// The listener whose pattern is the longest of those that cover the host, an exact one before all.
fn naive_listener(host: &str) -> Option<&'static str> {
    let covering = LISTENERS.iter().filter(|(_, pattern)| oracle::covers(*pattern, host));
    let best = covering.max_by_key(|(_, pattern)| {
        pattern.map_or((0, 0), |text| (1 + usize::from(!text.starts_with('*')), text.len()))
    });
    best.map(|(id, _)| *id)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_agrees_with_the_oracle(
        table in table(), questions in prop::collection::vec(question(), 24), seed in any::<u64>(),
    ) {
        let checked = Checked::with_seed(table.clone(), seed).unwrap();
        for question in &questions {
            for listener in &table.listeners {
                let expected = oracle::answer(&table, listener, question);
                prop_assert_eq!(answer(&checked, &listener.id, question), expected, "{:?} on {}", question, listener.id);
            }
            let listener = checked.port(80).unwrap().listener_for(Some(&question.host));
            prop_assert_eq!(listener.map(|listener| &*listener.id), naive_listener(&question.host), "{}", question.host);
        }
    }

    #[test]
    fn the_order_of_a_table_says_nothing(
        (table, shuffled) in table().prop_flat_map(|table| (Just(table.clone()), Just(table.routes).prop_shuffle())),
        questions in prop::collection::vec(question(), 8),
    ) {
        let other = Table { routes: shuffled, listeners: table.listeners.iter().rev().cloned().collect(), ..Table::default() };
        let (one, other) = (Checked::try_from(table).unwrap(), Checked::try_from(other).unwrap());
        for question in &questions {
            for (listener, _) in LISTENERS {
                prop_assert_eq!(answer(&one, listener, question), answer(&other, listener, question));
            }
        }
    }

    #[test]
    fn any_path_host_and_query_are_looked_up(
        table in table(), host in ".{0,300}", path in "/?.{0,40}", query in prop::option::of(".{0,40}"),
    ) {
        let question = Question { method: "GET".to_owned(), host, path, query, headers: Vec::new(), asks: Asks::Request };
        let checked = Checked::try_from(table).unwrap();
        for (listener, _) in LISTENERS {
            let found = answer(&checked, listener, &question);
            prop_assert!(found.is_none_or(|(_, _, covered)| covered <= question.path.len()));
        }
    }

    #[test]
    fn the_wire_form_survives_json(table in table(), backends in backends()) {
        let table = Table { backends, ..table };
        // Good or not: a verdict, and no panic.
        let _verdict = Checked::try_from(table.clone());
        let json = serde_json::to_vec(&table).unwrap();
        let back: Table = serde_json::from_slice(&json).unwrap();
        prop_assert_eq!(&back, &table);
        prop_assert_eq!(serde_json::to_vec(&back).unwrap(), json, "equal tables have equal bytes");
    }
}
