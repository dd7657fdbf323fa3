//! Faults, and how conditions and problems are made of them.
//!
//! Owns the wording that joins several faults into one message. It must not know what is a fault.

use std::fmt::Write;

use headrace_crds::condition::{ConditionType, Reason};

use crate::status::{Condition, ConditionStatus, ObjectRef, Problem};

/// How many faults one condition's message tells; the rest are counted. Keeps messages readable, and far below the 32,768
/// characters that Kubernetes takes.
const MAX_FAULTS_IN_MESSAGE: usize = 3;

/// Octets of one fault's message at most: what users write (a pattern, a path) goes into it.
const MAX_FAULT_MESSAGE: usize = 1_024;

/// Something wrong at a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The field's path from the object's root.
    pub(crate) field: String,
    pub(crate) reason: Reason,
    /// What to change.
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<Reason>, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.contains('\n') {
            message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        if message.len() > MAX_FAULT_MESSAGE {
            let end = (0..=MAX_FAULT_MESSAGE).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
            message.truncate(end);
            message.push_str("...");
        }
        Fault { field: field.into(), reason: reason.into(), message }
    }

    /// The same fault, as part of what stands at `parent`.
    pub(crate) fn under(mut self, parent: &str) -> Self {
        self.field = match (parent.is_empty(), self.field.is_empty()) {
            (true, _) => self.field,
            (false, true) => parent.to_owned(),
            (false, false) => format!("{parent}.{}", self.field),
        };
        self
    }

    pub(crate) fn problem(&self, object: &ObjectRef, condition: ConditionType) -> Problem {
        Problem {
            object: object.clone(),
            field: self.field.clone(),
            condition,
            reason: self.reason,
            message: self.message.clone(),
        }
    }
}

/// All faults in a sentence.
pub(crate) fn sentence(faults: &[Fault]) -> String {
    let mut text = String::new();
    for (at, fault) in faults.iter().take(MAX_FAULTS_IN_MESSAGE).enumerate() {
        let separator = if at == 0 { "" } else { "; " };
        let _ = match fault.field.is_empty() {
            true => write!(text, "{separator}{}", fault.message),
            false => write!(text, "{separator}{}: {}", fault.field, fault.message),
        };
    }
    if faults.len() > MAX_FAULTS_IN_MESSAGE {
        let _ = write!(text, "; and {} more", faults.len() - MAX_FAULTS_IN_MESSAGE);
    }
    text
}

/// Writes the conditions of one object (or of one listener or parent of it).
pub(crate) struct ConditionWriter {
    pub(crate) observed_generation: Option<i64>,
    pub(crate) conditions: Vec<Condition>,
}

impl ConditionWriter {
    pub(crate) fn new(observed_generation: Option<i64>) -> Self {
        ConditionWriter { observed_generation, conditions: Vec::new() }
    }

    pub(crate) fn set(
        &mut self,
        r#type: ConditionType,
        status: ConditionStatus,
        reason: impl Into<Reason>,
        message: impl Into<String>,
    ) {
        self.conditions.push(Condition {
            r#type,
            status,
            reason: reason.into(),
            message: message.into(),
            observed_generation: self.observed_generation,
        });
    }

    /// True without faults; else False, for the first fault's reason.
    pub(crate) fn set_by(
        &mut self,
        r#type: ConditionType,
        faults: &[Fault],
        reason: impl Into<Reason>,
        message: impl Into<String>,
    ) {
        match faults.first() {
            None => self.set(r#type, ConditionStatus::True, reason, message),
            Some(first) => self.set(r#type, ConditionStatus::False, first.reason, sentence(faults)),
        }
    }

    /// For conditions whose True is bad: True with faults, and otherwise nothing is written.
    pub(crate) fn set_if_any(&mut self, r#type: ConditionType, faults: &[Fault]) {
        if let Some(first) = faults.first() {
            self.set(r#type, ConditionStatus::True, first.reason, sentence(faults));
        }
    }
}
