//! The matches on one host pattern, found by path.
//!
//! Filled in any order and then settled: within every list the first that holds is the winner, and the lists themselves
//! are asked in the order of [`PathRank`]. Few lists are long, so that this is cheaper than bringing a whole table into
//! order. Takes time linear in the path, however many slashes it has, and allocates nothing when asked.

use std::cmp::Reverse;
use std::sync::Arc;

use regex::bytes::Regex;

use crate::conditions::Conditions;
use crate::keyed::{OctetMap, Seed};
use crate::precedence::{HostRank, PathRank, Precedence, without_trailing_slash};
use crate::request::{Found, Request};
use crate::table::Route;
use crate::wire::Opens;

/// One match on one host pattern, without its path.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) route: Arc<Route>,
    /// Index into the route's rules, of which it is one.
    pub(crate) rule: usize,
    /// Index into the rule's matches.
    pub(crate) place: usize,
    /// Absent where the path is all that is asked for.
    pub(crate) conditions: Option<Arc<Conditions>>,
}

impl Candidate {
    fn found(&self, request: &Request<'_>, prefix_len: usize) -> Option<Found<'_>> {
        let holds = match &self.conditions {
            Some(conditions) => conditions.hold(request),
            None => Opens::Any.takes(request.opening),
        };
        holds.then(|| Found { route: &self.route, rule: &self.route.rules[self.rule], prefix_len })
    }

    fn precedence(&self, host: HostRank, path: PathRank) -> Precedence {
        let conditions = self.conditions.as_deref();
        Precedence {
            host,
            path,
            opens: conditions.is_some_and(|conditions| conditions.opens != Opens::Any),
            method: conditions.is_some_and(|conditions| conditions.method.is_some()),
            headers: conditions.map_or(0, |conditions| conditions.headers.len()),
            query: conditions.map_or(0, |conditions| conditions.query.len()),
            subprotocol: conditions.is_some_and(|conditions| !conditions.subprotocols.is_empty()),
            created: Reverse(self.route.created),
            route: Reverse(self.route.name.clone()),
            rule: Reverse(self.rule),
            place: Reverse(self.place),
        }
    }
}

/// How a candidate's path is matched.
#[derive(Clone, Debug)]
pub(crate) enum PathPattern {
    Exact(Box<str>),
    Prefix(Box<str>),
    /// Shared by every host that the match is on, since a clone of an expression has caches of its own.
    Regex(Arc<Regex>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Paths {
    exact: OctetMap<Vec<Candidate>>,
    /// The first is the root, which stands for the prefix `/`.
    nodes: Vec<Node>,
    regexes: Vec<(Arc<Regex>, Candidate)>,
    /// Of the host pattern that all of them are on.
    host: HostRank,
    seed: Seed,
}

/// A prefix, as the elements on the way from the root.
#[derive(Debug)]
struct Node {
    /// The prefix's octets.
    len: usize,
    /// The next shorter prefix. After [`Paths::settle`], the next shorter one that has candidates.
    parent: Option<usize>,
    children: OctetMap<usize>,
    candidates: Vec<Candidate>,
}

/// Where the prefix `/` is.
const ROOT: usize = 0;

impl Paths {
    pub(crate) fn new(host: HostRank, seed: Seed) -> Self {
        let root = Node { len: 0, parent: None, children: seed.map(), candidates: Vec::new() };
        Paths { exact: seed.map(), nodes: vec![root], regexes: Vec::new(), host, seed }
    }

    /// Adds a candidate.
    pub(crate) fn push(&mut self, pattern: PathPattern, candidate: Candidate) {
        match pattern {
            PathPattern::Exact(path) => self.exact.entry(path.into_boxed_bytes()).or_default().push(candidate),
            PathPattern::Prefix(prefix) => {
                let node = self.node(without_trailing_slash(&prefix));
                self.nodes[node].candidates.push(candidate);
            }
            PathPattern::Regex(regex) => self.regexes.push((regex, candidate)),
        }
    }

    /// The node of a prefix, made with all above it where it is missing.
    fn node(&mut self, prefix: &str) -> usize {
        let mut at = ROOT;
        for element in elements(prefix.as_bytes()) {
            let next = self.nodes.len();
            let node = &mut self.nodes[at];
            let len = node.len + 1 + element.len();
            let child = *node.children.entry(element.into()).or_insert(next);
            if child == next {
                self.nodes.push(Node { len, parent: Some(at), children: self.seed.map(), candidates: Vec::new() });
            }
            at = child;
        }
        at
    }

    /// Brings every list into the order of precedence and links every prefix to the next shorter one that has candidates.
    /// Called once, when all are there.
    pub(crate) fn settle(&mut self) {
        let host = self.host;
        for candidates in self.exact.values_mut() {
            sort(candidates, |candidate| candidate.precedence(host, PathRank::Exact));
        }
        for node in &mut self.nodes {
            sort(&mut node.candidates, |candidate| candidate.precedence(host, PathRank::Prefix(node.len)));
        }
        sort(&mut self.regexes, |(regex, candidate)| candidate.precedence(host, PathRank::of_regex(regex)));
        // A parent stands before its children, so its own link is final when theirs are made.
        for at in 0..self.nodes.len() {
            if let Some(parent) = self.nodes[at].parent
                && self.nodes[parent].candidates.is_empty()
            {
                self.nodes[at].parent = self.nodes[parent].parent;
            }
        }
    }

    /// The candidate of the greatest precedence that holds.
    pub(crate) fn find(&self, request: &Request<'_>) -> Option<Found<'_>> {
        let path = request.path.as_bytes();
        self.exact
            .get(path)
            .and_then(|candidates| candidates.iter().find_map(|candidate| candidate.found(request, 0)))
            .or_else(|| self.find_prefix(request))
            .or_else(|| self.find_regex(request))
    }

    /// Walks down as far as there are prefixes, then climbs from the longest.
    fn find_prefix(&self, request: &Request<'_>) -> Option<Found<'_>> {
        let mut at = ROOT;
        for element in elements(request.path.as_bytes()) {
            let Some(child) = self.nodes[at].children.get(element) else { break };
            at = *child;
        }
        let mut next = Some(at);
        while let Some(at) = next {
            let node = &self.nodes[at];
            let found = node.candidates.iter().find_map(|candidate| candidate.found(request, node.len));
            if found.is_some() {
                return found;
            }
            next = node.parent;
        }
        None
    }

    fn find_regex(&self, request: &Request<'_>) -> Option<Found<'_>> {
        self.regexes.iter().find_map(|(regex, candidate)| {
            regex.is_match(request.path.as_bytes()).then(|| candidate.found(request, 0)).flatten()
        })
    }
}

/// From the greatest precedence to the least.
fn sort<T>(list: &mut Vec<T>, precedence: impl Fn(&T) -> Precedence) {
    if list.len() > 1 {
        list.sort_by_cached_key(|one| Reverse(precedence(one)));
    }
    // It stays as it is for as long as the table does.
    list.shrink_to_fit();
}

/// What follows each slash: none for the empty prefix, one empty element for `/`.
fn elements(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|octet| *octet == b'/').skip(1)
}
