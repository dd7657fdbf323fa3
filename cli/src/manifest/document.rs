//! Texts into documents: YAML with `---` between them, or JSON values one after another.
//!
//! Each document is parsed alone, so that a syntax error in one leaves its neighbours readable. Pure.

use serde::de::Error as _;
use serde_json::Value;

use super::problem::Fault;

/// One document of a file.
#[derive(Debug)]
pub(crate) struct Document {
    /// The number of lines before its text.
    pub(crate) lines_before: usize,
    /// Its own text.
    pub(crate) text: String,
    /// What it says, or the line in its text that is wrong.
    pub(crate) value: Result<Value, (usize, Fault)>,
}

/// Every document that says something.
pub(crate) fn split(text: &str) -> Vec<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // No JSON has a line that begins with a marker: its strings have no line breaks.
    if text.trim_start().starts_with(['{', '['])
        && !text.lines().any(|line| is_marker(line, "---"))
        && let Some(documents) = json(text)
    {
        return documents;
    }
    yaml_chunks(text)
        .into_iter()
        .map(|(lines_before, text)| Document { lines_before, value: yaml(lines_before, &text), text })
        .filter(|document| !matches!(document.value, Ok(Value::Null)))
        .collect()
}

/// `None` when it is not JSON: YAML's flow style starts alike.
fn json(text: &str) -> Option<Vec<Document>> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut documents = Vec::new();
    let mut start = 0;
    while let Some(value) = values.next() {
        let value = match value {
            Ok(value) => value,
            // It began as JSON. A YAML parser would complain about the same place in stranger words.
            Err(error) if !documents.is_empty() || looks_like_json(text) => {
                let line = error.line().max(1);
                documents.push(Document {
                    lines_before: 0,
                    text: text.to_owned(),
                    value: Err((line, Fault::Json(error))),
                });
                return Some(documents);
            }
            Err(_) => return None,
        };
        let end = values.byte_offset();
        let skipped = text[start..end].len() - text[start..end].trim_start().len();
        let begin = start + skipped;
        documents.push(Document {
            lines_before: text[..begin].matches('\n').count(),
            text: text[begin..end].to_owned(),
            value: Ok(value),
        });
        start = end;
    }
    Some(documents)
}

/// JSON quotes its keys.
fn looks_like_json(text: &str) -> bool {
    text.trim_start().trim_start_matches(['{', '[']).trim_start().starts_with('"')
}

fn yaml(lines_before: usize, text: &str) -> Result<Value, (usize, Fault)> {
    if let Ok(value) = parse_yaml(text) {
        return Ok(value);
    }
    // Once more, where it stands in the file, since the error's own words name lines.
    match parse_yaml(&format!("{}{text}", "\n".repeat(lines_before))) {
        Ok(value) => Ok(value),
        Err(error) => {
            let line = error.location().map_or(lines_before + 1, |at| at.line());
            Err((line.saturating_sub(lines_before).max(1), Fault::Yaml(error)))
        }
    }
}

fn parse_yaml(text: &str) -> Result<Value, serde_yaml::Error> {
    let mut value: serde_yaml::Value = serde_yaml::from_str(text)?;
    value.apply_merge()?;
    serde_json::to_value(value).map_err(serde_yaml::Error::custom)
}

/// The texts between document markers (YAML 1.2, 9.1), each with the number of lines before it.
fn yaml_chunks(text: &str) -> Vec<(usize, String)> {
    let mut chunks = vec![(0, String::new())];
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let (_, chunk) = chunks.last_mut().expect("there is always a chunk to write to");
        if is_marker(line, "---") {
            // What follows on the marker's line belongs to the new document, in its own column.
            chunks.push((number, format!("   {}", &line[3..])));
        } else if is_marker(line, "...") {
            chunks.push((number + 1, String::new()));
        } else if line.starts_with('%') && is_blank(chunk) {
            // A directive belongs to the marker that this function takes away.
            chunk.push('\n');
        } else {
            chunk.push_str(line);
        }
    }
    chunks.retain(|(_, chunk)| !is_blank(chunk));
    chunks
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn is_blank(chunk: &str) -> bool {
    chunk.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each document as `lines_before value` or `lines_before !line`.
    fn summary(text: &str) -> Vec<String> {
        let show = |document: &Document| match &document.value {
            Ok(value) => format!("{} {value}", document.lines_before),
            Err((line, _)) => format!("{} !{line}", document.lines_before),
        };
        split(text).iter().map(show).collect()
    }

    #[test]
    fn splits() {
        for (text, expected) in [
            ("", &[][..]),
            ("# only a comment\n---\n---\n\n", &[]),
            ("a: 1", &[r#"0 {"a":1}"#]),
            ("\u{feff}a: 1\n---\nb: 2\n", &[r#"0 {"a":1}"#, r#"1 {"b":2}"#]),
            ("---\r\na: 1\r\n---\r\nb: 2\r\n", &[r#"0 {"a":1}"#, r#"2 {"b":2}"#]),
            ("%YAML 1.2\n---\na: 1\n...\nb: 2\n", &[r#"1 {"a":1}"#, r#"4 {"b":2}"#]),
            ("--- {a: 1}\n--- # two\nb: 2\n", &[r#"0 {"a":1}"#, r#"1 {"b":2}"#]),
            ("a: |\n  text\n  ---\nb: ----\n", &[r#"0 {"a":"text\n---\n","b":"----"}"#]),
            // The bad one does not take its neighbours along.
            ("a: 1\n---\nb: [\n---\nc: 3\n", &[r#"0 {"a":1}"#, "1 !3", r#"3 {"c":3}"#]),
            ("a: 1\nb: 2\na: 3\n", &["0 !1"]),
            ("x: &x {p: 1, q: 2}\ny: {<<: *x, q: 3}\n", &[r#"0 {"x":{"p":1,"q":2},"y":{"p":1,"q":3}}"#]),
            ("1: one\n", &[r#"0 {"1":"one"}"#]),
            ("{\"a\": 1}\n\n{\"b\":\n 2}\n", &[r#"0 {"a":1}"#, r#"2 {"b":2}"#]),
            ("{\"a\": 1,\n}\n", &["0 !2"]),
            ("{\"a\": 1}\n---\n{\"b\": 2}\n--- {\"c\": 3}\n", &[r#"0 {"a":1}"#, r#"1 {"b":2}"#, r#"3 {"c":3}"#]),
            ("{a: 1,\n b: 2}\n", &[r#"0 {"a":1,"b":2}"#]),
            ("{\"a\": \"\\ud83d\\ude00\\/\"}", &[r#"0 {"a":"😀/"}"#]),
        ] {
            assert_eq!(summary(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_bomb_of_aliases_is_an_error() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let item = format!("*a{}", level - 1);
            text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![item; 10].join(", ")));
        }
        assert!(matches!(split(&text)[0].value, Err((_, Fault::Yaml(_)))));
    }
}
