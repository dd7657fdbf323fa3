//! Conditions as a table.

use super::Row;
use crate::table;

const HEADINGS: [&str; 7] = ["KIND", "NAMESPACE/NAME", "AT", "CONDITION", "STATUS", "REASON", "MESSAGE"];

/// The table with its headings, or nothing for no rows.
pub(super) fn render(rows: &[Row]) -> String {
    let cells = rows.iter().map(|row| {
        vec![
            row.object.kind.label().to_owned(),
            row.object.key().to_string(),
            row.at.clone(),
            row.condition.r#type.label().to_owned(),
            row.condition.status.label().to_owned(),
            row.condition.reason.label().to_owned(),
            row.condition.message.clone(),
        ]
    });
    table::render(&HEADINGS, &cells.collect::<Vec<_>>())
}
