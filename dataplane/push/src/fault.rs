//! What a pod says is wrong with a table, entry by entry.

use std::fmt;

use headrace_table::{SectionId, SectionKind};

use crate::limits::{MAX_FAULTS, MAX_ID_OCTETS, MAX_REASON_OCTETS};

/// Something that is wrong with a table, in the eyes of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault {
    /// With what of it. `None`: with the table as a whole.
    pub section: Option<SectionId>,
    /// What, in words for whoever wrote the object.
    pub reason: String,
}

impl Fault {
    /// A fault of one section.
    pub fn of(kind: SectionKind, id: impl Into<String>, reason: impl Into<String>) -> Self {
        Fault { section: Some(SectionId::new(kind, id)), reason: reason.into() }
    }

    /// A fault of no section alone.
    pub fn of_table(reason: impl Into<String>) -> Self {
        Fault { section: None, reason: reason.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.section {
            Some(section) => write!(f, "{section}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// The faults as they may travel: sorted, each once, no more and no longer than the bounds.
pub(crate) fn bounded(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.sort_unstable();
    faults.dedup();
    faults.truncate(MAX_FAULTS);
    for fault in &mut faults {
        // Of no section that ever travelled: the caller's slip must not end the stream.
        fault.section.take_if(|section| section.id.is_empty() || section.id.len() > MAX_ID_OCTETS);
        let end = fault.reason.floor_char_boundary(MAX_REASON_OCTETS);
        fault.reason.truncate(end);
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_travel_is_cut() {
        let fault = |id: &str, reason: &str| Fault::of(SectionKind::Route, id, reason);
        let (long_id, long_reason) = ("x".repeat(MAX_ID_OCTETS + 1), "x".repeat(MAX_REASON_OCTETS + 1));
        let cases = [
            ("as it is", vec![fault("a", "b")], vec![fault("a", "b")]),
            (
                "each once",
                vec![fault("b", "2"), fault("a", "1"), fault("b", "2")],
                vec![fault("a", "1"), fault("b", "2")],
            ),
            ("no id", vec![fault("", "b")], vec![Fault::of_table("b")]),
            ("a long id", vec![fault(&long_id, "b")], vec![Fault::of_table("b")]),
            ("a long reason", vec![fault("a", &long_reason)], vec![fault("a", &long_reason[1..])]),
        ];
        for (case, faults, expected) in cases {
            assert_eq!(bounded(faults), expected, "{case}");
        }
    }
}
