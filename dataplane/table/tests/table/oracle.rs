//! A second opinion on which rule wins: a scan over everything, written without a look at the index, and slow.
//!
//! Works on the wire form. Its texts come from `properties`, so it may know that expressions are of a few kinds only.

use std::cmp::Ordering;

use headrace_table::wire::*;

/// What a lookup is asked, in owned form.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) asks: Asks,
}

/// What a question's request is to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    Request,
    WebSocket,
    /// With the subprotocols that are offered.
    WebTransport(Vec<String>),
}

/// Route id, rule index, octets that a prefix covered.
pub(crate) type Answer = (String, usize, usize);

/// One match on one host that holds.
struct Holding<'t> {
    host: Option<String>,
    route: &'t Route,
    rule: usize,
    place: usize,
    one: &'t Match,
}

pub(crate) fn answer(table: &Table, listener: &Listener, question: &Question) -> Option<Answer> {
    let mut best: Option<Holding<'_>> = None;
    for route in &table.routes {
        for attachment in route.attachments.iter().filter(|attachment| attachment.listener == listener.id) {
            let hosts = match attachment.hostnames.is_empty() {
                true => vec![listener.hostname.clone()],
                false => attachment.hostnames.iter().cloned().map(Some).collect(),
            };
            for host in hosts.into_iter().filter(|host| covers(host.as_deref(), &question.host)) {
                for (rule, wire_rule) in route.rules.iter().enumerate() {
                    for (place, one) in wire_rule.matches.iter().enumerate() {
                        let holding = Holding { host: host.clone(), route, rule, place, one };
                        if holds(one, question) && best.as_ref().is_none_or(|best| wins(&holding, best)) {
                            best = Some(holding);
                        }
                    }
                }
            }
        }
    }
    best.map(|best| (best.route.id.clone(), best.rule, covered(&best.one.path)))
}

/// By labels from the right.
pub(crate) fn covers(pattern: Option<&str>, host: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    let host = host.to_lowercase();
    let mut labels = host.split('.').rev().collect::<Vec<_>>();
    if labels.first() == Some(&"") {
        labels.remove(0);
    }
    let mut wanted = pattern.split('.').rev().collect::<Vec<_>>();
    if wanted.last() == Some(&"*") {
        wanted.pop();
        let left = labels.len() > wanted.len() && labels[wanted.len()..] != [""];
        return left && labels.starts_with(&wanted);
    }
    labels == wanted
}

fn holds(one: &Match, question: &Question) -> bool {
    let path = match &one.path {
        PathMatch::Exact(path) => question.path == *path,
        PathMatch::Prefix(prefix) => {
            let mut wanted = prefix.split('/').collect::<Vec<_>>();
            if wanted.last() == Some(&"") {
                wanted.pop();
            }
            question.path.split('/').collect::<Vec<_>>().starts_with(&wanted)
        }
        PathMatch::Regex(pattern) => full(pattern, &question.path),
    };
    let fields = |name: &str| -> Vec<&str> {
        let named = question.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    };
    let mut pairs = Vec::new();
    for pair in question.query.iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty()) {
        let at = pair.find('=').unwrap_or(pair.len());
        pairs.push((decode(&pair[..at]), decode(pair.get(at + 1..).unwrap_or(""))));
    }
    let listed = fields("sec-websocket-protocol").join(",");
    let (opens, offered) = match &question.asks {
        Asks::Request => (one.opens == Opens::Any, listed.split(',').map(str::trim).collect()),
        Asks::WebSocket => (one.opens != Opens::WebTransport, listed.split(',').map(str::trim).collect()),
        Asks::WebTransport(offered) => {
            (one.opens == Opens::WebTransport, offered.iter().map(String::as_str).collect::<Vec<_>>())
        }
    };
    path && opens
        && one.method.iter().all(|method| *method == question.method)
        && firsts(&one.headers, str::to_lowercase)
            .iter()
            .all(|header| fields(&header.name).iter().any(|value| agrees(&header.value, value)))
        && firsts(&one.query, str::to_owned).iter().all(|parameter| {
            let first = pairs.iter().find(|(name, _)| *name == parameter.name);
            first.is_some_and(|(_, value)| agrees(&parameter.value, value))
        })
        && (one.subprotocols.is_empty() || offered.iter().any(|token| one.subprotocols.iter().any(|p| p == token)))
}

/// The first entry of each name.
fn firsts(matches: &[ValueMatch], fold: fn(&str) -> String) -> Vec<&ValueMatch> {
    let mut firsts: Vec<&ValueMatch> = Vec::new();
    for one in matches {
        if firsts.iter().all(|other| fold(&other.name) != fold(&one.name)) {
            firsts.push(one);
        }
    }
    firsts
}

fn agrees(pattern: &ValuePattern, value: &str) -> bool {
    match pattern {
        ValuePattern::Exact(expected) => expected == value,
        ValuePattern::Regex(pattern) => full(pattern, value),
    }
}

/// The expressions that `properties` draws from, each understood by hand.
fn full(pattern: &str, text: &str) -> bool {
    let of = |text: &str, allowed: &[char]| text.chars().all(|letter| allowed.contains(&letter));
    match pattern {
        ".*" => true,
        "/.*" => text.starts_with('/'),
        "/a.*" => text.starts_with("/a"),
        "/[ab]" => text == "/a" || text == "/b",
        "[/b]+" => !text.is_empty() && of(text, &['/', 'b']),
        "/a|/a/b" => text == "/a" || text == "/a/b",
        "1|2" => text == "1" || text == "2",
        "[1 ]*" => of(text, &['1', ' ']),
        other => panic!("{other} is not known here"),
    }
}

/// Knows the escapes that `properties` draws from.
fn decode(text: &str) -> String {
    text.replace('+', " ").replace("%20", " ").replace("%31", "1").replace("%61", "a").replace("%2B", "+")
}

fn covered(path: &PathMatch) -> usize {
    match path {
        PathMatch::Prefix(prefix) => prefix.len() - usize::from(prefix.ends_with('/')),
        _ => 0,
    }
}

/// Whether `a` comes before `b`, clause by clause.
fn wins(a: &Holding<'_>, b: &Holding<'_>) -> bool {
    let more = |of: &dyn Fn(&Holding<'_>) -> usize| of(a).cmp(&of(b)).reverse();
    let kind_of_path = |holding: &Holding<'_>| match holding.one.path {
        PathMatch::Exact(_) => 2,
        PathMatch::Prefix(_) => 1,
        PathMatch::Regex(_) => 0,
    };
    let length_of_path = |holding: &Holding<'_>| match &holding.one.path {
        PathMatch::Exact(_) => 0,
        PathMatch::Prefix(_) => covered(&holding.one.path),
        PathMatch::Regex(pattern) => pattern.len(),
    };
    let host = |holding: &Holding<'_>| holding.host.clone().unwrap_or_default();
    let name = |holding: &Holding<'_>| {
        let parts = holding.route.id.splitn(3, '/').collect::<Vec<_>>();
        (format!("{}/{}", parts[1], parts[2]), parts[0].to_owned())
    };
    let order = more(&|holding| usize::from(!host(holding).is_empty() && !host(holding).starts_with('*')))
        .then_with(|| more(&|holding| host(holding).len()))
        .then_with(|| more(&kind_of_path))
        .then_with(|| more(&length_of_path))
        .then_with(|| more(&|holding| usize::from(holding.one.opens != Opens::Any)))
        .then_with(|| more(&|holding| usize::from(holding.one.method.is_some())))
        .then_with(|| more(&|holding| firsts(&holding.one.headers, str::to_lowercase).len()))
        .then_with(|| more(&|holding| firsts(&holding.one.query, str::to_owned).len()))
        .then_with(|| more(&|holding| usize::from(!holding.one.subprotocols.is_empty())))
        .then_with(|| a.route.created.cmp(&b.route.created))
        .then_with(|| name(a).cmp(&name(b)))
        .then_with(|| (a.rule, a.place).cmp(&(b.rule, b.place)));
    order == Ordering::Less
}
