//! What is said about manifests: what is wrong and where, and every object's conditions as a cluster would show them.
//!
//! Owns wording, order and the two written forms. It must not know how the findings came about.

mod table;

use std::collections::BTreeSet;

use headrace_compile::{Condition, ConditionStatus, Kind, ObjectRef, Statuses};
use headrace_crds::condition::{ConditionType, GatewayReason, ListenerReason, Reason};
use headrace_table::wire;
use serde::{Serialize, Serializer};

use crate::manifest::{FieldPath, Manifests, Place, Severity};
use crate::world::{FilledIn, Prepared, Trusted};

/// One condition of an object, of one of its listeners, or of a route on one of its parents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) object: ObjectRef,
    /// The listener or the parent; empty for the object as a whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) at: String,
    #[serde(flatten)]
    pub(crate) condition: Condition,
}

impl Row {
    fn fail(&mut self, reason: Reason, message: &str) {
        self.condition.status = ConditionStatus::False;
        self.condition.reason = reason;
        self.condition.message = message.to_owned();
    }

    /// Whether the condition is the one that a user wants to see.
    ///
    /// Overlapping certificates are a warning in the Gateway API's own words, and no reason to refuse anything.
    pub(crate) fn is_well(&self) -> bool {
        let wanted = match self.condition.r#type {
            ConditionType::OverlappingTLSConfig => return true,
            negative if negative.is_negative() => ConditionStatus::False,
            _ => ConditionStatus::True,
        };
        self.condition.status == wanted
    }
}

/// One finding, with its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Remark {
    #[serde(serialize_with = "severity")]
    pub(crate) severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    pub(crate) message: String,
    /// The whole as one line.
    #[serde(skip)]
    pub(crate) text: String,
}

impl Remark {
    fn is_no_error(&self) -> bool {
        self.severity != Severity::Error
    }
}

/// All there is to say.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    accepted: bool,
    #[serde(rename = "problems")]
    pub(crate) remarks: Vec<Remark>,
    pub(crate) conditions: Vec<Row>,
}

impl Report {
    /// Gathers what loading and compiling found.
    pub(crate) fn new(manifests: &Manifests, prepared: &Prepared, statuses: &Statuses) -> Report {
        let conditions = rows(statuses);
        let mut remarks: Vec<Remark> = manifests.problems.iter().map(of_manifest).collect();
        remarks.extend(prepared.filled_in.iter().map(|filled_in| of_secret(manifests, filled_in)));
        remarks.extend(prepared.trusted.iter().map(|trusted| of_config_map(manifests, trusted)));
        remarks.extend(prepared.left_empty.iter().map(|(secret, error)| {
            let place = manifests.place_of(secret, &FieldPath::default());
            remark(Severity::Error, place, secret, None, error.to_string())
        }));
        remarks.extend(statuses.problems.iter().map(|problem| of_compiler(manifests, problem)));
        remarks.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        let accepted = conditions.iter().all(Row::is_well) && remarks.iter().all(Remark::is_no_error);
        Report { accepted, remarks, conditions }
    }

    /// Says that objects of a kind are not known, so that what depends on them is judged as if there were none.
    pub(crate) fn remark_on_kind(&mut self, kind: Kind, why: &str, is_harmless: bool) {
        let severity = if is_harmless { Severity::Info } else { Severity::Error };
        let message = format!("{} {why}", kind.label());
        let text = if is_harmless { format!("{}: {message}", severity.label()) } else { message.clone() };
        self.add(Remark { severity, file: None, line: None, object: None, field: None, message, text });
    }

    /// Says that an object cannot be understood.
    pub(crate) fn remark_on_object(&mut self, message: &str) {
        let (message, text) = (message.to_owned(), message.to_owned());
        let severity = Severity::Error;
        self.add(Remark { severity, file: None, line: None, object: None, field: None, message, text });
    }

    fn add(&mut self, remark: Remark) {
        self.accepted &= remark.is_no_error();
        self.remarks.push(remark);
    }

    /// Takes back what was promised for ports that could not be bound.
    pub(crate) fn mark_unbound(&mut self, table: &wire::Table, ports: &BTreeSet<u16>) {
        for listener in table.listeners.iter().filter(|listener| ports.contains(&listener.port)) {
            let message = format!("port {} cannot be bound: something else may be listening on it", listener.port);
            let is_of_it = |row: &&mut Row| format!("{}/{}", row.object.key(), row.at) == listener.id;
            for row in self.conditions.iter_mut().filter(is_of_it) {
                match row.condition.r#type {
                    ConditionType::Accepted => row.fail(ListenerReason::PortUnavailable.into(), &message),
                    ConditionType::Programmed => row.fail(ListenerReason::Invalid.into(), &message),
                    _ => {}
                }
            }
        }
        let serves = |gateway: &ObjectRef| {
            let is_its = |listener: &&wire::Listener| listener.id.starts_with(&format!("{}/", gateway.key()));
            let mut listeners = table.listeners.iter().filter(is_its).peekable();
            listeners.peek().is_none() || listeners.any(|listener| !ports.contains(&listener.port))
        };
        for row in self.conditions.iter_mut().filter(|row| row.object.kind == Kind::Gateway && row.at.is_empty()) {
            if row.condition.r#type == ConditionType::Programmed && !serves(&row.object) {
                row.fail(GatewayReason::Invalid.into(), "no listener's port can be bound");
            }
        }
    }

    /// Whether a cluster would serve all of it.
    pub(crate) fn all_accepted(&self) -> bool {
        self.accepted
    }

    /// For people: findings, then the table.
    pub(crate) fn text(&self) -> String {
        let mut text: String = self.remarks.iter().map(|remark| format!("{}\n", remark.text)).collect();
        text.push_str(&table::render(&self.conditions));
        text
    }

    /// For scripts.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is a tree of maps with string keys")
    }

    /// For people who have seen `before`: only what is new or different, and empty when nothing is.
    pub(crate) fn changes_since(&self, before: &Report) -> String {
        let texts = |report: &'_ Report| -> BTreeSet<String> {
            report.remarks.iter().map(|remark| remark.text.clone()).collect()
        };
        let (known, here) = (texts(before), texts(self));
        let mut text: String = self
            .remarks
            .iter()
            .filter(|remark| !known.contains(&remark.text))
            .map(|remark| format!("{}\n", remark.text))
            .collect();
        let settled = before.remarks.iter().filter(|remark| remark.severity != Severity::Info);
        for remark in settled.filter(|remark| !here.contains(&remark.text)) {
            text.push_str(&format!("settled: {}\n", remark.text));
        }
        let changed: Vec<Row> =
            self.conditions.iter().filter(|row| !before.conditions.iter().any(|old| same(old, row))).cloned().collect();
        text.push_str(&table::render(&changed));
        let there: BTreeSet<&ObjectRef> = self.conditions.iter().map(|row| &row.object).collect();
        let gone: BTreeSet<&ObjectRef> =
            before.conditions.iter().map(|row| &row.object).filter(|object| !there.contains(object)).collect();
        gone.iter().for_each(|object| text.push_str(&format!("{object}: is no longer served\n")));
        text
    }
}

/// The same to a reader: a generation alone is no news.
fn same(a: &Row, b: &Row) -> bool {
    let strip =
        |row: &Row| Row { condition: Condition { observed_generation: None, ..row.condition.clone() }, ..row.clone() };
    strip(a) == strip(b)
}

/// Every condition, object by object.
fn rows(statuses: &Statuses) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |object: &ObjectRef, at: &str, conditions: &[Condition]| {
        rows.extend(conditions.iter().map(|condition| Row {
            object: object.clone(),
            at: at.to_owned(),
            condition: condition.clone(),
        }));
    };
    for class in &statuses.gateway_classes {
        add(&class.object, "", &class.conditions);
    }
    for gateway in &statuses.gateways {
        add(&gateway.object, "", &gateway.conditions);
        gateway.listeners.iter().for_each(|listener| add(&gateway.object, &listener.name, &listener.conditions));
    }
    for route in &statuses.routes {
        for parent in &route.parents {
            let reference = &parent.parent_ref;
            let namespace = reference.namespace.as_deref().unwrap_or(&route.object.namespace);
            let section = reference.section_name.iter().map(|section| format!("/{section}"));
            let port = reference.port.iter().map(|port| format!(":{port}"));
            let at: String =
                [format!("{namespace}/{}", reference.name)].into_iter().chain(section).chain(port).collect();
            add(&route.object, &at, &parent.conditions);
        }
    }
    statuses.ingresses.iter().for_each(|ingress| add(&ingress.object, "", &ingress.conditions));
    for policy in &statuses.policies {
        for ancestor in &policy.ancestors {
            let section = ancestor.section.iter().map(|section| format!("/{section}"));
            let at: String = [ancestor.ancestor.key().to_string()].into_iter().chain(section).collect();
            add(&policy.object, &at, &ancestor.conditions);
        }
    }
    rows
}

fn of_manifest(problem: &crate::manifest::Problem) -> Remark {
    Remark {
        severity: problem.severity(),
        file: Some(problem.place.file.display().to_string()),
        line: Some(problem.place.line).filter(|line| *line > 0),
        object: problem.object.clone(),
        field: problem.field.as_ref().filter(|field| !field.is_empty()).map(FieldPath::to_string),
        message: problem.reason(),
        text: problem.to_string(),
    }
}

fn of_compiler(manifests: &Manifests, problem: &headrace_compile::Problem) -> Remark {
    let severity = match problem.condition {
        ConditionType::OverlappingTLSConfig => Severity::Warning,
        _ => Severity::Error,
    };
    let place = manifests.place_of(&problem.object, &FieldPath::parse(&problem.field));
    let message = format!("{}: {}", problem.reason.label(), problem.message);
    remark(severity, place, &problem.object, Some(&problem.field), message)
}

fn of_secret(manifests: &Manifests, filled_in: &FilledIn) -> Remark {
    let place = manifests.place_of(&filled_in.secret, &FieldPath::default());
    let what = if place.is_some() { "has no certificate" } else { "is not there" };
    let message =
        format!("{what}: standalone serves one of its development CA; in a cluster, somebody must put one there");
    remark(Severity::Info, place, &filled_in.secret, None, message)
}

fn of_config_map(manifests: &Manifests, trusted: &Trusted) -> Remark {
    let place = manifests.place_of(&trusted.config_map, &FieldPath::default());
    let message = "has no CA: standalone trusts its development CA for these backends; in a cluster, somebody must put \
                   one there";
    remark(Severity::Info, place, &trusted.config_map, None, message.to_owned())
}

fn remark(
    severity: Severity,
    place: Option<Place>,
    object: &ObjectRef,
    field: Option<&str>,
    message: String,
) -> Remark {
    let field = field.filter(|field| !field.is_empty());
    let mut text = String::new();
    if let Some(place) = &place {
        text.push_str(&format!("{place}: "));
    }
    if severity != Severity::Error {
        text.push_str(&format!("{}: ", severity.label()));
    }
    text.push_str(&format!("{object}: "));
    if let Some(field) = field {
        text.push_str(&format!("{field}: "));
    }
    text.push_str(&message);
    Remark {
        severity,
        file: place.as_ref().map(|place| place.file.display().to_string()),
        line: place.map(|place| place.line).filter(|line| *line > 0),
        object: Some(object.to_string()),
        field: field.map(str::to_owned),
        message,
        text,
    }
}

fn severity<S: Serializer>(severity: &Severity, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(severity.label())
}
