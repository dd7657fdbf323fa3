//! The path of a field inside an object, `spec.rules[0].backendRefs[1].port`.
//!
//! Pure.

use std::fmt;

/// One step from a value to a value inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A mapping's key.
    Key(String),
    /// A list's index.
    Index(usize),
}

/// Steps from an object's root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldPath(Vec<Step>);

impl FieldPath {
    /// The path of keys only.
    pub(crate) fn keys(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Step::Key((*key).to_owned())).collect())
    }

    /// Reads what [`Display`](fmt::Display) writes. What makes no sense ends the path: its parents still do.
    pub(crate) fn parse(text: &str) -> Self {
        let mut path = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (step, after) = match rest.strip_prefix('[') {
                Some(inner) => {
                    let Some((inner, after)) = inner.split_once(']') else { break };
                    let step =
                        inner.parse().map_or_else(|_| Step::Key(inner.trim_matches('"').to_owned()), Step::Index);
                    (step, after)
                }
                None => {
                    let key = rest.strip_prefix('.').unwrap_or(rest);
                    let end = key.find(['.', '[']).unwrap_or(key.len());
                    (Step::Key(key[..end].to_owned()), &key[end..])
                }
            };
            path.push(step);
            rest = after;
        }
        path
    }

    /// Whether it names the root.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The steps from the root on.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// One step further in.
    pub(crate) fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    /// One step back.
    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }

    /// This path, then `inner`.
    pub(crate) fn join(&self, inner: &FieldPath) -> FieldPath {
        FieldPath(self.0.iter().chain(&inner.0).cloned().collect())
    }
}

impl From<&serde_path_to_error::Path> for FieldPath {
    fn from(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment;
        // An enum's variant is no field of the input, and after an unknown step nothing can be told.
        let known = path.iter().take_while(|segment| !matches!(segment, Segment::Unknown));
        Self(
            known
                .filter_map(|segment| match segment {
                    Segment::Seq { index } => Some(Step::Index(*index)),
                    Segment::Map { key } => Some(Step::Key(key.clone())),
                    Segment::Enum { .. } | Segment::Unknown => None,
                })
                .collect(),
        )
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                // Keys such as `tls.crt` would read as two fields.
                Step::Key(key) if key.is_empty() || key.contains(['.', '[', ']', '/']) => write!(f, "[{key:?}]")?,
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_a_field_reference() {
        let mut path = FieldPath::keys(&["spec", "rules"]);
        path.push(Step::Index(2));
        assert_eq!(path.join(&FieldPath::keys(&["port"])).to_string(), "spec.rules[2].port");
        assert_eq!(FieldPath::keys(&["data", "tls.crt"]).to_string(), r#"data["tls.crt"]"#);
        assert_eq!(FieldPath::default().to_string(), "");
    }

    #[test]
    fn reads_back_what_it_writes() {
        for text in ["", "spec", "spec.rules[2].port", r#"data["tls.crt"].x"#, "[3][1].a"] {
            assert_eq!(FieldPath::parse(text).to_string(), text);
        }
        assert_eq!(FieldPath::parse("spec.rules[").to_string(), "spec.rules");
    }
}
