//! Lists of conditions: ours put in among those of others, as the API conventions have it.
//!
//! Owns what a transition is and how long a list and its messages may be. Pure: the time is an argument. It must not know
//! which object a list belongs to.

use headrace_compile::ConditionStatus;
use headrace_crds::condition::ConditionType;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// How many conditions a list may have: `maxItems` of every list of conditions in the Gateway API.
pub(crate) const MAX_CONDITIONS: usize = 8;
/// How long a message may be: `maxLength` of `metav1.Condition`.
pub(crate) const MAX_MESSAGE_OCTETS: usize = 32_768;

/// A condition as it is to be. The time of its transition is filled in when it is merged.
pub(crate) fn condition(
    r#type: ConditionType,
    status: ConditionStatus,
    reason: &str,
    message: impl Into<String>,
    observed_generation: Option<i64>,
) -> Condition {
    Condition {
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        message: truncated(message.into(), MAX_MESSAGE_OCTETS),
        observed_generation,
        reason: reason.to_owned(),
        status: status.label().to_owned(),
        type_: r#type.label().to_owned(),
    }
}

/// The compiler's condition in the API's form.
pub(crate) fn of_compiled(compiled: &headrace_compile::Condition) -> Condition {
    condition(
        compiled.r#type,
        compiled.status,
        compiled.reason.label(),
        compiled.message.clone(),
        compiled.observed_generation,
    )
}

/// The compiler's conditions in the API's form.
pub(crate) fn all_of_compiled(compiled: &[headrace_compile::Condition]) -> Vec<Condition> {
    compiled.iter().map(of_compiled).collect()
}

/// The condition of that type.
pub(crate) fn find(conditions: &[Condition], r#type: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == r#type.label())
}

/// Whether the condition is True.
pub(crate) fn is_true(condition: &Condition) -> bool {
    condition.status == ConditionStatus::True.label()
}

/// The list that results when `desired` is written over `observed`. Conditions of types that are not ours stay where they
/// are, ours that hold no more go, and a condition keeps the time of its transition as long as its status stays.
pub(crate) fn merge(observed: &[Condition], desired: &[Condition], now: Timestamp) -> Vec<Condition> {
    let mut merged: Vec<Condition> = Vec::with_capacity(desired.len());
    let is_new = |merged: &[Condition], r#type: &str| merged.iter().all(|condition| condition.type_ != r#type);
    for before in observed {
        match desired.iter().find(|condition| condition.type_ == before.type_) {
            // The list is a map by type; a second entry of a type can only come from a client that ignores that.
            _ if !is_new(&merged, &before.type_) => {}
            Some(after) => merged.push(transition(Some(before), after, now)),
            None if is_ours(&before.type_) => {}
            None => merged.push(before.clone()),
        }
    }
    for after in desired {
        if is_new(&merged, &after.type_) {
            merged.push(transition(None, after, now));
        }
    }
    // What others wrote is theirs: where both do not fit, our last ones, which say least, are left out.
    while merged.len() > MAX_CONDITIONS {
        let ours = merged.iter().rposition(|condition| is_ours(&condition.type_));
        merged.remove(ours.unwrap_or(merged.len() - 1));
    }
    merged
}

fn transition(before: Option<&Condition>, after: &Condition, now: Timestamp) -> Condition {
    let stays = before.filter(|before| before.status == after.status);
    // The API server keeps seconds. A finer time would differ from itself after one round.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let time = stays.map_or(Time(now), |before| before.last_transition_time.clone());
    Condition { last_transition_time: time, ..after.clone() }
}

fn is_ours(r#type: &str) -> bool {
    ConditionType::ALL.iter().any(|ours| ours.label() == r#type)
}

/// The text, cut at a character's border to at most `max` octets.
pub(crate) fn truncated(mut text: String, max: usize) -> String {
    const ELLIPSIS: &str = "...";
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max - ELLIPSIS.len()));
        text.push_str(ELLIPSIS);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    /// `Type=Status(message)@second`, separated by blanks.
    fn list(text: &str) -> Vec<Condition> {
        text.split_whitespace()
            .map(|word| {
                let (head, second) = word.split_once('@').unwrap_or((word, "0"));
                let (r#type, rest) = head.split_once('=').unwrap();
                let (status, message) = rest.trim_end_matches(')').split_once('(').unwrap_or((rest, ""));
                Condition {
                    last_transition_time: Time(Timestamp::from_second(second.parse().unwrap()).unwrap()),
                    message: message.to_owned(),
                    observed_generation: Some(1),
                    reason: "Reason".to_owned(),
                    status: status.to_owned(),
                    type_: r#type.to_owned(),
                }
            })
            .collect()
    }

    #[test]
    fn ours_change_and_those_of_others_stay() {
        for (why, observed, desired, expected) in [
            ("all new", "", "Accepted=True Programmed=False", "Accepted=True@9 Programmed=False@9"),
            ("the same status keeps its time", "Accepted=True(a)@5", "Accepted=True(b)", "Accepted=True(b)@5"),
            ("another status has a new time", "Accepted=False@5", "Accepted=True", "Accepted=True@9"),
            ("of others", "Vendor=True@2 Accepted=True@5", "Accepted=True", "Vendor=True@2 Accepted=True@5"),
            ("ours that is gone", "OverlappingTLSConfig=True@3 Accepted=True@5", "Accepted=True", "Accepted=True@5"),
            ("twice", "Accepted=True@4 Accepted=False@5", "Accepted=True", "Accepted=True@4"),
            (
                "too many",
                "A=True B=True C=True D=True E=True F=True G=True",
                "Accepted=True ResolvedRefs=True",
                "A=True B=True C=True D=True E=True F=True G=True Accepted=True@9",
            ),
        ] {
            let now = Timestamp::from_millisecond(9_700).unwrap();
            let merged = merge(&list(observed), &list(desired), now);
            assert_eq!(merged, list(expected), "{why}");
            assert_eq!(merge(&merged, &list(desired), Timestamp::from_second(99).unwrap()), merged, "{why}: again");
        }
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        assert_eq!(truncated("abc".to_owned(), 3), "abc");
        assert_eq!(truncated("aaaaé!".to_owned(), 6), "aaa...");
        assert_eq!(truncated("aaéé!".to_owned(), 6), "aa...");
        let long = condition(ConditionType::Accepted, ConditionStatus::True, "Accepted", "é".repeat(20_000), None);
        assert!(long.message.len() <= MAX_MESSAGE_OCTETS && long.message.ends_with("..."));
    }
}
