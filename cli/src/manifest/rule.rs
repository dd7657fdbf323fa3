//! One CEL rule of a schema (`x-kubernetes-validations`), evaluated as an API server evaluates it.
//!
//! Knows CEL and nothing of schemas around the rule.

use std::collections::HashMap;
use std::fmt;

use cel::objects::Key;
use cel::parser::{Expression, Parser};
use cel::{Context, Value};

/// A rule over `self`, and what to say when it is broken.
pub(super) struct Rule {
    expression: Expression,
    message: String,
    /// Rules about a change hold for every object that has no former self.
    about_change: bool,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("message", &self.message).finish_non_exhaustive()
    }
}

impl Rule {
    /// Reads `{rule, message}`.
    pub(super) fn new(validation: &serde_json::Value) -> Rule {
        let source = validation["rule"].as_str().unwrap_or_default();
        // Kubernetes turns optional syntax (`a.?b`) on since 1.29.
        let expression = Parser::new().enable_optional_syntax(true).parse(source).expect("the CRD's rules are CEL");
        Rule {
            expression,
            message: validation["message"].as_str().map_or_else(|| format!("failed rule: {source}"), str::to_owned),
            about_change: source.contains("oldSelf"),
        }
    }
}

/// The rule's message if `object` breaks it.
pub(super) fn evaluate(rule: &Rule, object: &serde_json::Value) -> Option<String> {
    if rule.about_change {
        return None;
    }
    let mut context = Context::default();
    context.add_variable_from_value("self", to_cel(object));
    match context.resolve(&rule.expression) {
        Ok(Value::Bool(true)) => None,
        Ok(_) => Some(rule.message.clone()),
        // An API server refuses what it cannot evaluate.
        Err(error) => Some(format!("{} (the rule cannot be evaluated: {error})", rule.message)),
    }
}

/// JSON's numbers without a fraction are CEL's `int`, and an absent field is one that is null.
fn to_cel(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(to_cel).collect::<Vec<_>>()),
        Json::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            Value::from(
                fields.map(|(name, value)| (Key::from(name.as_str()), to_cel(value))).collect::<HashMap<_, _>>(),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn judges() {
        for (rule, object, holds) in [
            ("self.port > 0 && self.port.orValue(1) == 1", json!({"port": 3}), false),
            ("self.?port.orValue(0) == 0", json!({"port": null}), true),
            ("!has(self.name) || self.name.startsWith('a')", json!({"name": "ab"}), true),
            ("self.all(a, self.exists_one(b, a.name == b.name))", json!([{"name": "a"}, {"name": "a"}]), false),
            ("self.missing == 1", json!({}), false),
            ("oldSelf == self", json!({}), true),
        ] {
            let rule_object = Rule::new(&json!({"rule": rule, "message": "no"}));
            assert_eq!(evaluate(&rule_object, &object).is_none(), holds, "{rule} of {object}");
        }
    }
}
