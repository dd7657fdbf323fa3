//! Each rule of precedence by itself: of two matches that both hold, the better one wins however they are ordered.

use headrace_table::wire::{Match, Opens, Route};
use headrace_table::{Opening, Request, Table};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::build::*;

/// What every case asks for: as much as any match below could want.
fn winner(routes: Vec<Route>) -> Option<String> {
    let table = Table::try_from(table(routes)).unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in [("x-a", "1"), ("x-b", "2"), ("x-c", "3"), ("sec-websocket-protocol", "chat.v1")] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let request = Request {
        method: &Method::GET,
        host: "a.b.example.com",
        path: "/one/two",
        query: Some("p=1&q=2"),
        headers: &headers,
        opening: Opening::WebSocket,
    };
    let found = table.port(80)?.listener_for(Some(request.host))?.lookup(&request)?;
    found.rule.name.as_deref().map(str::to_owned)
}

fn with(mut base: Match, change: impl FnOnce(&mut Match)) -> Match {
    change(&mut base);
    base
}

#[test]
fn the_more_specific_match_wins() {
    let websocket = |base: Match| with(base, |m| m.opens = Opens::WebSocket);
    let method = |base: Match| with(base, |m| m.method = Some("GET".to_owned()));
    let headers = |base: Match, count: usize| {
        let all = [value("x-a", "1"), value("x-b", "2"), value("x-c", "3")];
        with(base, |m| m.headers = all[..count].to_vec())
    };
    let query =
        |base: Match, count: usize| with(base, |m| m.query = [value("p", "1"), value("q", "2")][..count].to_vec());
    let subprotocol =
        |base: Match| with(base, |m| (m.opens, m.subprotocols) = (Opens::WebSocket, vec!["chat.v1".to_owned()]));
    let cases: Vec<(&str, Match, Match)> = vec![
        ("exact before prefix", exact("/one/two"), query(headers(method(prefix("/one/two")), 3), 2)),
        ("exact before regex", exact("/one/two"), regex("/one/two|/and/something/long")),
        ("longer prefix before shorter", prefix("/one/two"), query(headers(method(prefix("/one")), 3), 2)),
        ("any prefix before regex", prefix("/"), query(headers(method(regex("/one/two")), 3), 2)),
        ("longer regex before shorter", regex("/one/t.*"), query(headers(method(regex("/.*")), 3), 2)),
        ("websocket before method", websocket(prefix("/one")), query(headers(method(prefix("/one")), 3), 2)),
        ("method before headers", method(prefix("/one")), query(headers(prefix("/one"), 3), 2)),
        ("more headers before fewer", headers(prefix("/one"), 2), query(headers(prefix("/one"), 1), 2)),
        ("headers before query", headers(prefix("/one"), 1), query(prefix("/one"), 2)),
        ("more query before less", query(prefix("/one"), 2), query(prefix("/one"), 1)),
        ("query before subprotocol", websocket(query(prefix("/one"), 1)), subprotocol(prefix("/one"))),
        ("subprotocol before none", subprotocol(prefix("/one")), websocket(prefix("/one"))),
    ];
    for (name, better, worse) in cases {
        let better_rule = || rule("better", vec![better.clone()]);
        let worse_rule = || rule("worse", vec![worse.clone()]);
        let old = |mut route: Route| {
            route.created = -1;
            route
        };
        let tables = [
            vec![route("R/n/a", &[], vec![worse_rule(), better_rule()])],
            vec![route("R/n/a", &[], vec![worse_rule()]), route("R/n/b", &[], vec![better_rule()])],
            vec![old(route("R/n/b", &[], vec![worse_rule()])), route("R/n/a", &[], vec![better_rule()])],
            vec![route(
                "R/n/a",
                &[],
                vec![rule("worse", vec![worse.clone()]), rule("better", vec![exact("/no"), better.clone()])],
            )],
        ];
        for (at, routes) in tables.into_iter().enumerate() {
            assert_eq!(winner(routes).as_deref(), Some("better"), "{name}, table {at}");
        }
    }
}

#[test]
fn a_repeated_name_neither_counts_nor_matters() {
    let twice = with(prefix("/one"), |m| m.headers = vec![value("x-a", "1"), value("X-A", "other")]);
    let query_twice = with(prefix("/one"), |m| m.query = vec![value("p", "1"), value("p", "other")]);
    for (doubled, single) in [
        (twice, with(prefix("/one"), |m| m.headers = vec![value("x-b", "2")])),
        (query_twice, with(prefix("/one"), |m| m.query = vec![value("q", "2")])),
    ] {
        let first = vec![rule("doubled", vec![doubled.clone()]), rule("single", vec![single.clone()])];
        assert_eq!(winner(vec![route("R/n/a", &[], first)]).as_deref(), Some("doubled"));
        let second = vec![rule("single", vec![single]), rule("doubled", vec![doubled])];
        assert_eq!(winner(vec![route("R/n/a", &[], second)]).as_deref(), Some("single"));
    }
}

#[test]
fn the_more_specific_host_wins_before_all_else() {
    let hosts = ["a.b.example.com", "*.b.example.com", "*.example.com", "*.com"];
    for (at, better) in hosts.iter().enumerate() {
        for worse in hosts[at + 1..].iter().map(std::slice::from_ref).chain([&[][..]]) {
            let routes = vec![
                route("R/n/a", worse, vec![rule("worse", vec![exact("/one/two")])]),
                route("R/n/b", &[better], vec![rule("better", vec![regex(".*")])]),
            ];
            assert_eq!(winner(routes).as_deref(), Some("better"), "{better} before {worse:?}");
        }
    }
}

#[test]
fn a_less_specific_host_serves_what_the_more_specific_does_not() {
    let routes = vec![
        route("R/n/a", &["a.b.example.com"], vec![rule("exact", vec![prefix("/other")])]),
        route("R/n/b", &["*.b.example.com"], vec![rule("wildcard", vec![exact("/one")])]),
        route("R/n/c", &[], vec![rule("any", vec![prefix("/one")])]),
    ];
    assert_eq!(winner(routes).as_deref(), Some("any"));
}

#[test]
fn of_equal_matches_the_oldest_route_wins_then_its_name_then_its_kind() {
    let at = |id: &str, created: i64| {
        let mut route = route(id, &[], vec![rule(id, vec![prefix("/one")])]);
        route.created = created;
        route
    };
    for (better, worse) in [
        (at("R/z/z", 1), at("R/a/a", 2)),
        (at("R/z/z", -1), at("R/a/a", 0)),
        (at("R/a/b", 1), at("R/b/a", 1)),
        (at("R/a/a", 1), at("R/a/b", 1)),
        (at("R/a-b/a", 1), at("R/a/a", 1)),
        (at("Z/a/a", 1), at("A/a/b", 1)),
        (at("A/a/a", 1), at("B/a/a", 1)),
    ] {
        for routes in [vec![better.clone(), worse.clone()], vec![worse.clone(), better.clone()]] {
            assert_eq!(winner(routes).as_deref(), Some(better.id.as_str()), "{} before {}", better.id, worse.id);
        }
    }
}

#[test]
fn of_equal_matches_of_a_route_the_first_rule_wins() {
    let rules = vec![rule("first", vec![exact("/no"), prefix("/one/")]), rule("second", vec![prefix("/one")])];
    assert_eq!(winner(vec![route("R/n/a", &[], rules)]).as_deref(), Some("first"));
}
