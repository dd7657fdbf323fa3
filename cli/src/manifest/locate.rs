//! From a field's path to the line of the text that holds it.
//!
//! Reads the YAML text once more, as events with positions, because the values that serde gives have lost theirs. It
//! never fails: a path that leads nowhere gives the line of the nearest parent that is there.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, Span};

use super::field::{FieldPath, Step};

/// The positions of every key and item of one document. JSON is read as the YAML that it is.
#[derive(Debug, Default)]
pub(crate) struct Locator {
    nodes: Vec<Node>,
    root: Option<NodeId>,
}

type NodeId = usize;

#[derive(Debug)]
struct Node {
    line: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Leaf,
    List(Vec<NodeId>),
    /// Key, the key's line, value.
    Map(Vec<(String, usize, NodeId)>),
}

/// A collection whose end has not been seen.
#[derive(Debug)]
struct Open {
    node: NodeId,
    /// A mapping's key whose value comes next.
    key: Option<(String, usize)>,
}

/// YAML 1.1's key that takes another mapping's keys in.
const MERGE_KEY: &str = "<<";
/// How many merges and aliases one look-up follows: more is a loop.
const MAX_MERGE_DEPTH: usize = 16;

impl Locator {
    /// Reads one document. What comes after a syntax error is not located.
    pub(crate) fn new(text: &str) -> Self {
        let mut builder = Builder::default();
        let mut parser = Parser::new_from_str(text);
        while let Some(Ok((event, span))) = parser.next_event() {
            if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
                break;
            }
            builder.take(event, span);
        }
        Self { nodes: builder.nodes, root: builder.root }
    }

    /// The line, counted from 1, of the field or of its nearest parent in the text.
    pub(crate) fn line(&self, path: &FieldPath) -> usize {
        let Some(mut at) = self.root else { return 1 };
        let mut line = self.nodes[at].line;
        for step in path.steps() {
            let Some((step_line, next)) = self.step(at, step, 0) else { break };
            (line, at) = (step_line, next);
        }
        line
    }

    fn step(&self, at: NodeId, step: &Step, depth: usize) -> Option<(usize, NodeId)> {
        match (&self.nodes[at].content, step) {
            (Content::List(items), Step::Index(index)) => {
                let item = *items.get(*index)?;
                Some((self.nodes[item].line, item))
            }
            (Content::Map(entries), Step::Key(wanted)) => {
                let own = entries.iter().find(|(key, ..)| key == wanted).map(|(_, line, value)| (*line, *value));
                own.or_else(|| self.merged(entries, step, depth))
            }
            _ => None,
        }
    }

    fn merged(&self, entries: &[(String, usize, NodeId)], step: &Step, depth: usize) -> Option<(usize, NodeId)> {
        if depth >= MAX_MERGE_DEPTH {
            return None;
        }
        let (.., source) = entries.iter().find(|(key, ..)| key == MERGE_KEY)?;
        match &self.nodes[*source].content {
            Content::Map(_) => self.step(*source, step, depth + 1),
            Content::List(sources) => sources.iter().find_map(|source| self.step(*source, step, depth + 1)),
            Content::Leaf => None,
        }
    }
}

#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    root: Option<NodeId>,
    open: Vec<Open>,
    anchors: HashMap<usize, NodeId>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) {
        let line = span.start.line();
        match event {
            Event::Scalar(text, _, anchor, _) => match self.open.last_mut() {
                Some(open) if open.key.is_none() && matches!(self.nodes[open.node].content, Content::Map(_)) => {
                    open.key = Some((text.into_owned(), line));
                }
                _ => {
                    let node = self.add(Content::Leaf, line, anchor);
                    self.attach(node);
                }
            },
            Event::Alias(anchor) => {
                let node = match self.anchors.get(&anchor) {
                    Some(node) => *node,
                    None => self.add(Content::Leaf, line, 0),
                };
                self.attach(node);
            }
            Event::SequenceStart(anchor, _) => self.begin(Content::List(Vec::new()), line, anchor),
            Event::MappingStart(anchor, _) => self.begin(Content::Map(Vec::new()), line, anchor),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.attach(open.node);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, content: Content, line: usize, anchor: usize) {
        let node = self.add(content, line, anchor);
        self.open.push(Open { node, key: None });
    }

    fn add(&mut self, content: Content, line: usize, anchor: usize) -> NodeId {
        self.nodes.push(Node { line, content });
        let node = self.nodes.len() - 1;
        // The parser counts anchors from 1 and gives 0 to what has none.
        if anchor != 0 {
            self.anchors.insert(anchor, node);
        }
        node
    }

    /// Puts a finished node where it belongs: into the innermost open collection, or at the root.
    fn attach(&mut self, node: NodeId) {
        let Some(open) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        let key = open.key.take();
        let node_line = self.nodes[node].line;
        match &mut self.nodes[open.node].content {
            Content::List(items) => items.push(node),
            Content::Map(entries) => match key {
                Some((key, line)) => entries.push((key, line, node)),
                // A collection as a key: no field of Kubernetes has one. It stands there as a key without a name.
                None => open.key = Some((String::new(), node_line)),
            },
            Content::Leaf => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> FieldPath {
        let mut path = FieldPath::default();
        for part in text.split('/').filter(|part| !part.is_empty()) {
            path.push(part.parse().map_or_else(|_| Step::Key(part.to_owned()), Step::Index));
        }
        path
    }

    #[test]
    fn finds_lines() {
        let block = "kind: A\nspec:\n  rules:\n  - name: one\n    port: 1\n  -\n    name: two\n    \"quoted key\": 1\n    'it''s': 2\n";
        let flow = "{kind: A,\n spec: {rules: [{name: one,\n   port: 1}, {name: two}]}}\n";
        let json = "{\n\t\"kind\": \"A\",\n\t\"spec\": {\n\t\t\"rules\": [\n\t\t\t{\"name\": \"one\"}\n\t\t]\n\t}\n}\n";
        let anchors = "base: &base\n  port: 1\n  name: x\nspec:\n  a: *base\n  b:\n    <<: *base\n    name: y\n";
        let scalars = "text: |\n  spec: not a key\n  more\nfolded: >-\n  a\n\n  b\n# spec: comment\nspec:\n  port: 1\n";
        let lists = "items:\n- - 1\n  - 2\n- - 3\n  -\n    - 4\n";
        for (text, field, line) in [
            (block, "", 1),
            (block, "kind", 1),
            (block, "spec", 2),
            (block, "spec/rules", 3),
            (block, "spec/rules/0", 4),
            (block, "spec/rules/0/port", 5),
            (block, "spec/rules/1", 7),
            (block, "spec/rules/1/quoted key", 8),
            (block, "spec/rules/1/it's", 9),
            // Not there: the nearest parent.
            (block, "spec/rules/7/port", 3),
            (block, "spec/rules/0/weight", 4),
            (block, "status/x", 1),
            (flow, "spec", 2),
            (flow, "spec/rules/0/port", 3),
            (flow, "spec/rules/1/name", 3),
            (json, "spec/rules/0/name", 5),
            (anchors, "spec/a", 5),
            (anchors, "spec/a/port", 2),
            (anchors, "spec/b/port", 2),
            (anchors, "spec/b/name", 8),
            (scalars, "folded", 4),
            (scalars, "spec/port", 10),
            (lists, "items/0/1", 3),
            (lists, "items/1/1/0", 6),
            ("# nothing\n", "spec", 1),
            ("", "spec", 1),
            ("a: [1\nb: 2\n", "a/0", 1),
        ] {
            assert_eq!(Locator::new(text).line(&path(field)), line, "{field} in\n{text}");
        }
    }

    #[test]
    fn a_merge_loop_ends() {
        let text = "a: &a\n  <<: *a\n  b: 1\n";
        assert_eq!(Locator::new(text).line(&path("a/none/none")), 1);
    }
}
