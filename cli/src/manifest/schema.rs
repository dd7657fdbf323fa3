//! What the API server would refuse by a CRD's schema, said with the field at fault.
//!
//! Reads the very schema that is installed in clusters, so that the two cannot differ: structural rules, list types and
//! CEL. Defaults of the schema are filled in as an API server fills them in. The kinds of others come without a schema.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use headrace_compile::Kind;
use headrace_crds::{EdgePolicy, GatewayParameters, WebSocketRoute, WebTransportRoute};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use regex::Regex;
use serde_json::Value;

use super::field::{FieldPath, Step};
use super::rule::{self, Rule};

/// How many broken rules of one object are named.
const MAX_VIOLATIONS: usize = 32;
/// How much of an offending text is shown.
const MAX_SHOWN_CHARS: usize = 80;

/// Fills in defaults, and gives every rule of the kind's schema that the object breaks.
pub(super) fn violations(kind: Kind, object: &mut Value) -> Vec<(FieldPath, String)> {
    let Some(schema) = schema_of(kind) else { return Vec::new() };
    let mut judge = Judge { at: FieldPath::default(), violations: Vec::new() };
    schema.fill_in(object);
    judge.judge(schema, object);
    // An API server evaluates rules only on what is well-formed, and so can rules rely on it.
    if judge.violations.is_empty() {
        judge.evaluate(schema, object);
    }
    judge.violations
}

fn schema_of(kind: Kind) -> Option<&'static Schema> {
    static WEBSOCKET_ROUTE: OnceLock<Schema> = OnceLock::new();
    static WEB_TRANSPORT_ROUTE: OnceLock<Schema> = OnceLock::new();
    static GATEWAY_PARAMETERS: OnceLock<Schema> = OnceLock::new();
    static EDGE_POLICY: OnceLock<Schema> = OnceLock::new();
    match kind {
        Kind::WebSocketRoute => Some(WEBSOCKET_ROUTE.get_or_init(|| Schema::of(&WebSocketRoute::crd()))),
        Kind::WebTransportRoute => Some(WEB_TRANSPORT_ROUTE.get_or_init(|| Schema::of(&WebTransportRoute::crd()))),
        Kind::GatewayParameters => Some(GATEWAY_PARAMETERS.get_or_init(|| Schema::of(&GatewayParameters::crd()))),
        Kind::EdgePolicy => Some(EDGE_POLICY.get_or_init(|| Schema::of(&EdgePolicy::crd()))),
        _ => None,
    }
}

/// A structural schema, with what it asks for in a form that is quick to look at.
#[derive(Debug, Default)]
struct Schema {
    r#type: Option<String>,
    properties: HashMap<String, Schema>,
    required: Vec<String>,
    items: Option<Box<Schema>>,
    values: Option<Box<Schema>>,
    allowed: Vec<Value>,
    pattern: Option<Regex>,
    length: Bounds,
    size: Bounds,
    number: Bounds,
    list: ListType,
    default: Option<Value>,
    rules: Vec<Rule>,
}

#[derive(Debug, Default)]
struct Bounds {
    min: Option<f64>,
    max: Option<f64>,
}

impl Bounds {
    fn new(schema: &Value, min: &str, max: &str) -> Self {
        Bounds { min: schema[min].as_f64(), max: schema[max].as_f64() }
    }

    fn below(&self, value: f64) -> Option<f64> {
        self.min.filter(|min| value < *min)
    }

    fn above(&self, value: f64) -> Option<f64> {
        self.max.filter(|max| value > *max)
    }
}

#[derive(Debug, Default)]
enum ListType {
    #[default]
    Atomic,
    Set,
    Map(Vec<String>),
}

impl Schema {
    /// Of the one version that there is.
    fn of(crd: &CustomResourceDefinition) -> Schema {
        let crd = serde_json::to_value(crd).expect("a CRD is a tree of maps with string keys");
        Schema::new(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    }

    fn new(schema: &Value) -> Schema {
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let inner = |value: &Value| value.is_object().then(|| Box::new(Schema::new(value)));
        Schema {
            r#type: schema["type"].as_str().map(str::to_owned),
            properties: schema["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, property)| (name.clone(), Schema::new(property)))
                .collect(),
            required: texts(&schema["required"]),
            items: inner(&schema["items"]),
            values: inner(&schema["additionalProperties"]),
            allowed: schema["enum"].as_array().cloned().unwrap_or_default(),
            pattern: schema["pattern"].as_str().map(|pattern| Regex::new(pattern).expect("the CRD's patterns are RE2")),
            length: Bounds::new(schema, "minLength", "maxLength"),
            size: match schema["type"].as_str() {
                Some("object") => Bounds::new(schema, "minProperties", "maxProperties"),
                _ => Bounds::new(schema, "minItems", "maxItems"),
            },
            number: Bounds::new(schema, "minimum", "maximum"),
            list: match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => ListType::Set,
                Some("map") => ListType::Map(texts(&schema["x-kubernetes-list-map-keys"])),
                _ => ListType::Atomic,
            },
            default: schema.get("default").cloned(),
            rules: schema["x-kubernetes-validations"].as_array().into_iter().flatten().map(Rule::new).collect(),
        }
    }

    /// Defaults, from the outside in: a default may hold fields with defaults of their own.
    fn fill_in(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, property) in &self.properties {
                    if let Some(default) = &property.default
                        && fields.get(name).is_none_or(Value::is_null)
                    {
                        fields.insert(name.clone(), default.clone());
                    }
                    if let Some(value) = fields.get_mut(name) {
                        property.fill_in(value);
                    }
                }
                if let Some(values) = &self.values {
                    let others = fields.iter_mut().filter(|(name, _)| !self.properties.contains_key(*name));
                    others.for_each(|(_, value)| values.fill_in(value));
                }
            }
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    items.iter_mut().for_each(|item| schema.fill_in(item));
                }
            }
            _ => {}
        }
    }

    fn property(&self, name: &str) -> Option<&Schema> {
        self.properties.get(name).or(self.values.as_deref())
    }

    fn admits_type(&self, value: &Value) -> bool {
        match self.r#type.as_deref() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            _ => true,
        }
    }
}

struct Judge {
    at: FieldPath,
    violations: Vec<(FieldPath, String)>,
}

impl Judge {
    fn refuse(&mut self, reason: String) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push((self.at.clone(), reason));
        }
    }

    fn inside(&mut self, step: Step, look: impl FnOnce(&mut Self)) {
        self.at.push(step);
        look(self);
        self.at.pop();
    }

    fn judge(&mut self, schema: &Schema, value: &Value) {
        if !schema.admits_type(value) {
            let wanted = schema.r#type.as_deref().unwrap_or_default();
            return self.refuse(format!("must be of type {wanted}, not {}", shown(value)));
        }
        match value {
            Value::String(text) => self.judge_text(schema, text),
            Value::Number(number) => self.judge_number(schema, number.as_f64().unwrap_or_default()),
            Value::Array(items) => self.judge_list(schema, items),
            Value::Object(fields) => self.judge_fields(schema, fields),
            Value::Null | Value::Bool(_) => {}
        }
        if !schema.allowed.is_empty() && !schema.allowed.contains(value) {
            let allowed: Vec<_> = schema.allowed.iter().map(shown).collect();
            self.refuse(format!("must be one of {}, not {}", allowed.join(", "), shown(value)));
        }
    }

    /// The rules of a value and of all inside it.
    fn evaluate(&mut self, schema: &Schema, value: &Value) {
        let broken: Vec<_> = schema.rules.iter().filter_map(|rule| rule::evaluate(rule, value)).collect();
        broken.into_iter().for_each(|message| self.refuse(message));
        match value {
            Value::Array(items) => {
                if let Some(schema) = &schema.items {
                    for (index, item) in items.iter().enumerate() {
                        self.inside(Step::Index(index), |judge| judge.evaluate(schema, item));
                    }
                }
            }
            Value::Object(fields) => {
                for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                    if let Some(inner) = schema.property(name) {
                        self.inside(Step::Key(name.clone()), |judge| judge.evaluate(inner, value));
                    }
                }
            }
            _ => {}
        }
    }

    fn judge_text(&mut self, schema: &Schema, text: &str) {
        let chars = text.chars().count() as f64;
        if let Some(min) = schema.length.below(chars) {
            self.refuse(format!("must be at least {min} characters long"));
        }
        if let Some(max) = schema.length.above(chars) {
            self.refuse(format!("must be at most {max} characters long"));
        }
        if let Some(pattern) = schema.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            self.refuse(format!("{} must match {pattern}", shown(&Value::from(text))));
        }
    }

    fn judge_number(&mut self, schema: &Schema, number: f64) {
        if let Some(min) = schema.number.below(number) {
            self.refuse(format!("must be at least {min}, not {number}"));
        }
        if let Some(max) = schema.number.above(number) {
            self.refuse(format!("must be at most {max}, not {number}"));
        }
    }

    fn judge_list(&mut self, schema: &Schema, items: &[Value]) {
        if let Some(min) = schema.size.below(items.len() as f64) {
            self.refuse(format!("must have at least {min} items, not {}", items.len()));
        }
        if let Some(max) = schema.size.above(items.len() as f64) {
            return self.refuse(format!("must have at most {max} items, not {}", items.len()));
        }
        let mut seen = HashSet::new();
        for (index, item) in items.iter().enumerate() {
            let identity = match &schema.list {
                ListType::Atomic => None,
                ListType::Set => Some(item.to_string()),
                ListType::Map(keys) => Some(keys.iter().map(|key| item[key].to_string()).collect::<Vec<_>>().join(" ")),
            };
            let duplicate = identity.is_some_and(|identity| !seen.insert(identity));
            self.inside(Step::Index(index), |judge| {
                if duplicate {
                    judge.refuse("is there twice".to_owned());
                }
                if let Some(schema) = &schema.items {
                    judge.judge(schema, item);
                }
            });
        }
    }

    fn judge_fields(&mut self, schema: &Schema, fields: &serde_json::Map<String, Value>) {
        let is_set = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
        for name in schema.required.iter().filter(|name| !is_set(name)) {
            self.inside(Step::Key(name.clone()), |judge| judge.refuse("is required".to_owned()));
        }
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            if let Some(inner) = schema.property(name) {
                self.inside(Step::Key(name.clone()), |judge| judge.judge(inner, value));
            }
        }
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
