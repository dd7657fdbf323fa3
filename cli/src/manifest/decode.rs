//! A parsed document into a typed object, judged as an API server would judge it.
//!
//! Owns defaulting of names, the strict look at unknown fields and the schema of our own kinds. Knows nothing of files:
//! findings come back with fields, and the caller knows the lines.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use headrace_compile::{Key, Kind, Object, ObjectRef};
use serde::Serialize;
use serde_json::{Map, Value};

use super::field::{FieldPath, Step};
use super::problem::Fault;
use super::schema;

/// Kinds that belong into many a manifest directory and that nothing here reads.
const IGNORED: &[(&str, &[&str])] = &[
    ("", &["Endpoints", "Event", "LimitRange", "PersistentVolume", "PersistentVolumeClaim", "Pod"]),
    ("", &["PodTemplate", "ReplicationController", "ResourceQuota", "ServiceAccount"]),
    ("admissionregistration.k8s.io", &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]),
    ("admissionregistration.k8s.io", &["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"]),
    ("apps", &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"]),
    ("autoscaling", &["HorizontalPodAutoscaler"]),
    ("batch", &["CronJob", "Job"]),
    ("coordination.k8s.io", &["Lease"]),
    ("kustomize.config.k8s.io", &["Kustomization", "Component"]),
    ("networking.k8s.io", &["NetworkPolicy"]),
    ("policy", &["PodDisruptionBudget"]),
    ("rbac.authorization.k8s.io", &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"]),
    ("scheduling.k8s.io", &["PriorityClass"]),
    ("storage.k8s.io", &["StorageClass"]),
];

/// How many unknown fields of one object are named: more is a document of another kind.
const MAX_UNKNOWN_FIELDS: usize = 16;
/// RFC 1123 and Kubernetes: an object's name is a DNS subdomain.
const MAX_SUBDOMAIN_LEN: usize = 253;
/// A namespace's is one label.
const MAX_LABEL_LEN: usize = 63;

/// Something about one field.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) field: FieldPath,
    pub(super) fault: Fault,
}

/// What a document turned out to be.
#[derive(Debug)]
pub(super) struct Decoded {
    /// What it says it is, as far as it says so.
    pub(super) label: Option<String>,
    /// Which object it means, where that can be told.
    pub(super) object: Option<ObjectRef>,
    /// The object with its content, unless it is refused.
    pub(super) accepted: Option<Accepted>,
    /// What is wrong with it.
    pub(super) findings: Vec<Finding>,
}

/// An object that an API server would have taken.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    pub(super) object: Object,
    /// Everything but metadata and status: what a generation counts changes of.
    pub(super) content: Value,
}

impl Decoded {
    fn refused(label: Option<String>, object: Option<ObjectRef>, field: FieldPath, fault: Fault) -> Self {
        Decoded { label, object, accepted: None, findings: vec![Finding { field, fault }] }
    }
}

/// The items of a `List` (of any kind whose name ends so), or `None` for everything else.
pub(super) fn list_items(value: &mut Value) -> Option<Vec<Value>> {
    let fields = value.as_object_mut()?;
    let is_list = fields.get("kind")?.as_str()?.ends_with("List") && fields.get("items").is_some_and(Value::is_array);
    if !is_list {
        return None;
    }
    match fields.remove("items") {
        Some(Value::Array(items)) => Some(items),
        _ => None,
    }
}

/// Judges one object.
pub(super) fn decode(value: Value) -> Decoded {
    let Value::Object(mut fields) = value else {
        return Decoded::refused(None, None, FieldPath::default(), Fault::NotAnObject);
    };
    let text =
        |field: &str| fields.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let (api_version, kind_label) = match (text("apiVersion"), text("kind")) {
        (Some(api_version), Some(kind)) => (api_version, kind),
        (None, _) => return Decoded::refused(None, None, FieldPath::keys(&["apiVersion"]), Fault::Required),
        (_, None) => return Decoded::refused(None, None, FieldPath::keys(&["kind"]), Fault::Required),
    };
    let meta = fields.get("metadata").and_then(Value::as_object);
    let meta_text =
        |field: &str| meta.and_then(|meta| meta.get(field)).and_then(Value::as_str).unwrap_or("").to_owned();
    let (name, namespace) = (meta_text("name"), meta_text("namespace"));
    let Some(kind) = Kind::of(&api_version, &kind_label) else {
        let label = match namespace.is_empty() {
            true => format!("{kind_label} {name}"),
            false => format!("{kind_label} {namespace}/{name}"),
        };
        let fault = match is_ignored(&api_version, &kind_label) {
            true => Fault::Ignored,
            false => Fault::UnknownKind { api_version, kind: kind_label },
        };
        return Decoded::refused(Some(label.trim_end().to_owned()), None, FieldPath::default(), fault);
    };
    let namespace = match (kind.is_namespaced(), namespace.is_empty()) {
        (false, _) => String::new(),
        (true, true) => "default".to_owned(),
        (true, false) => namespace,
    };
    let object = ObjectRef::new(kind, &Key::new(namespace, name));
    let label = match object.name.is_empty() {
        true => Some(kind_label),
        false => Some(object.to_string()),
    };
    if let Some(finding) = bad_name(&object) {
        return Decoded { label, object: None, accepted: None, findings: vec![finding] };
    }
    default_fields(&mut fields, &object);
    let (accepted, findings) = typed(kind, Value::Object(fields));
    Decoded { label, object: Some(object), accepted, findings }
}

fn is_ignored(api_version: &str, kind: &str) -> bool {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    IGNORED.iter().any(|(ignored, kinds)| *ignored == group && kinds.contains(&kind))
}

fn bad_name(object: &ObjectRef) -> Option<Finding> {
    let finding = |field, fault| Some(Finding { field: FieldPath::keys(&["metadata", field]), fault });
    if object.name.is_empty() {
        return finding("name", Fault::Required);
    }
    let one_label = object.kind == Kind::Namespace || object.kind == Kind::Service;
    let (dots, max_len) = if one_label { ("", MAX_LABEL_LEN) } else { (" and '.'", MAX_SUBDOMAIN_LEN) };
    let labels_are_names = match one_label {
        true => is_label(&object.name),
        false => object.name.split('.').all(is_label),
    };
    if !labels_are_names || object.name.len() > max_len {
        return finding("name", Fault::BadName(object.name.clone(), dots));
    }
    let namespace = &object.namespace;
    if !namespace.is_empty() && (!is_label(namespace) || namespace.len() > MAX_LABEL_LEN) {
        return finding("namespace", Fault::BadName(namespace.clone(), ""));
    }
    None
}

fn is_label(text: &str) -> bool {
    let inner = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// What an API server writes into an object that it takes.
fn default_fields(fields: &mut Map<String, Value>, object: &ObjectRef) {
    // A status that a user sends is not kept.
    fields.remove("status");
    let Some(meta) = fields.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    match object.namespace.is_empty() {
        true => meta.remove("namespace"),
        false => meta.insert("namespace".to_owned(), Value::from(&*object.namespace)),
    };
    if object.kind == Kind::Namespace {
        let labels = meta.entry("labels").or_insert_with(|| Value::Object(Map::new()));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert("kubernetes.io/metadata.name".to_owned(), Value::from(&*object.name));
        }
    }
    if object.kind == Kind::Secret {
        encode_string_data(fields);
    }
}

/// A Secret's `stringData` overrides its `data` and is never kept itself.
fn encode_string_data(fields: &mut Map<String, Value>) {
    // Left alone where it has the wrong shape, for the type to complain about.
    let all_text = |value: &Value| value.as_object().is_some_and(|entries| entries.values().all(Value::is_string));
    if !fields.get("stringData").is_some_and(all_text) {
        return;
    }
    let Some(Value::Object(entries)) = fields.remove("stringData") else { return };
    let data = fields.entry("data").or_insert_with(|| Value::Object(Map::new()));
    if data.is_null() {
        *data = Value::Object(Map::new());
    }
    let Some(data) = data.as_object_mut() else { return };
    for (key, value) in entries {
        let octets = value.as_str().unwrap_or_default().as_bytes();
        data.insert(key, Value::from(STANDARD.encode(octets)));
    }
}

fn typed(kind: Kind, mut value: Value) -> (Option<Accepted>, Vec<Finding>) {
    let mut findings: Vec<Finding> = schema::violations(kind, &mut value)
        .into_iter()
        .map(|(field, reason)| Finding { field, fault: Fault::Schema(reason) })
        .collect();
    let mut track = serde_path_to_error::Track::new();
    let decoded = Object::deserialize(kind, serde_path_to_error::Deserializer::new(&value, &mut track));
    let object = match decoded {
        Ok(object) => object,
        Err(error) => {
            let field = FieldPath::from(&track.path());
            // The schema has said it, and better.
            if !findings.iter().any(|finding| finding.field.steps().starts_with(field.steps())) {
                findings.push(Finding { field, fault: Fault::Type(error) });
            }
            return (None, findings);
        }
    };
    let refused = !findings.is_empty();
    let mut unknown = Vec::new();
    unknown_fields(&value, &to_value(&object), &mut FieldPath::default(), &mut unknown);
    findings.extend(unknown.into_iter().map(|field| Finding { field, fault: Fault::UnknownField }));
    if refused {
        return (None, findings);
    }
    let mut content = value;
    if let Some(fields) = content.as_object_mut() {
        fields.remove("metadata");
    }
    (Some(Accepted { object, content }), findings)
}

/// The object as its type writes it: what is missing was not understood.
pub(super) fn to_value(object: &Object) -> Value {
    fn write(object: &impl Serialize) -> Value {
        serde_json::to_value(object).expect("Kubernetes types are trees of maps with string keys")
    }
    match object {
        Object::GatewayClass(object) => write(&**object),
        Object::Gateway(object) => write(&**object),
        Object::ListenerSet(object) => write(&**object),
        Object::GatewayParameters(object) => write(&**object),
        Object::EdgePolicy(object) => write(&**object),
        Object::HttpRoute(object) => write(&**object),
        Object::WebSocketRoute(object) => write(&**object),
        Object::WebTransportRoute(object) => write(&**object),
        Object::Ingress(object) => write(&**object),
        Object::IngressClass(object) => write(&**object),
        Object::Service(object) => write(&**object),
        Object::EndpointSlice(object) => write(&**object),
        Object::BackendTlsPolicy(object) => write(&**object),
        Object::Secret(object) => write(&**object),
        Object::ConfigMap(object) => write(&**object),
        Object::Node(object) => write(&**object),
        Object::Namespace(object) => write(&**object),
        Object::ReferenceGrant(object) => write(&**object),
    }
}

/// Fields of `input` that `understood` lacks, as strict field validation of an API server would name them.
fn unknown_fields(input: &Value, understood: &Value, at: &mut FieldPath, unknown: &mut Vec<FieldPath>) {
    if unknown.len() >= MAX_UNKNOWN_FIELDS {
        return;
    }
    match (input, understood) {
        (Value::Object(input), Value::Object(understood)) => {
            for (key, value) in input.iter().filter(|(_, value)| !is_empty(value)) {
                at.push(Step::Key(key.clone()));
                match understood.get(key) {
                    Some(understood) => unknown_fields(value, understood, at, unknown),
                    None => unknown.push(at.clone()),
                }
                at.pop();
            }
        }
        (Value::Array(input), Value::Array(understood)) => {
            for (index, (value, understood)) in input.iter().zip(understood).enumerate() {
                at.push(Step::Index(index));
                unknown_fields(value, understood, at, unknown);
                at.pop();
            }
        }
        _ => {}
    }
}

/// A type may leave these out when it writes.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
