//! Conditions as a table, in the manner of `kubectl get`.

use super::Row;

const HEADINGS: [&str; 7] = ["KIND", "NAMESPACE/NAME", "AT", "CONDITION", "STATUS", "REASON", "MESSAGE"];

/// The table with its headings, or nothing for no rows.
pub(super) fn render(rows: &[Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut cells = vec![HEADINGS.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        [
            row.object.kind.label().to_owned(),
            row.object.key().to_string(),
            if row.at.is_empty() { "-".to_owned() } else { row.at.clone() },
            row.condition.r#type.label().to_owned(),
            row.condition.status.label().to_owned(),
            row.condition.reason.label().to_owned(),
            one_line(&row.condition.message),
        ]
    }));
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let mut text = String::new();
    for row in &cells {
        let line: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
