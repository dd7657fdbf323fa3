//! The matches on one host pattern, found by path.
//!
//! Filled from the greatest precedence to the least, so that within every list the first that holds is the winner, and
//! the lists themselves are asked in the order of [`PathRank`](crate::PathRank). Takes time linear in the path, however
//! many slashes it has, and allocates nothing when asked.

use std::sync::Arc;

use regex::bytes::Regex;

use crate::conditions::Conditions;
use crate::keyed::{OctetMap, Seed};
use crate::precedence::without_trailing_slash;
use crate::request::{Found, Request};
use crate::table::Route;

/// One match on one host pattern, without its path.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) route: Arc<Route>,
    /// Index into the route's rules, of which it is one.
    pub(crate) rule: usize,
    /// Absent where the path is all that is asked for.
    pub(crate) conditions: Option<Arc<Conditions>>,
}

impl Candidate {
    fn found(&self, request: &Request<'_>, prefix_len: usize) -> Option<Found<'_>> {
        if self.conditions.as_ref().is_some_and(|conditions| !conditions.hold(request)) {
            return None;
        }
        Some(Found { route: &self.route, rule: &self.route.rules[self.rule], prefix_len })
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
    seed: Seed,
}

/// A prefix, as the elements on the way from the root.
#[derive(Debug)]
struct Node {
    /// The prefix's octets.
    len: usize,
    /// The next shorter prefix. After [`Paths::skip_empty`], the next shorter one that has candidates.
    parent: Option<usize>,
    children: OctetMap<usize>,
    candidates: Vec<Candidate>,
}

/// Where the prefix `/` is.
const ROOT: usize = 0;

impl Paths {
    pub(crate) fn new(seed: Seed) -> Self {
        let root = Node { len: 0, parent: None, children: seed.map(), candidates: Vec::new() };
        Paths { exact: seed.map(), nodes: vec![root], regexes: Vec::new(), seed }
    }

    /// Adds a candidate of lower precedence than all before it.
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

    /// Links every prefix to the next shorter one that has candidates. Called once, when all are there.
    pub(crate) fn skip_empty(&mut self) {
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

/// What follows each slash: none for the empty prefix, one empty element for `/`.
fn elements(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|octet| *octet == b'/').skip(1)
}
