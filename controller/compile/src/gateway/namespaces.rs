//! From which namespaces a listener takes routes.
//!
//! Owns label selectors over Namespaces. It must not know routes.

use std::collections::BTreeMap;

use gateway_api::gateways::{
    GatewayListenersAllowedRoutesNamespaces, GatewayListenersAllowedRoutesNamespacesFrom,
    GatewayListenersAllowedRoutesNamespacesSelector,
};
use headrace_crds::condition::ListenerReason;

use crate::diagnosis::Fault;
use crate::world::{Key, World};

/// The label that an API server puts on every Namespace, so that one can be selected by name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Which namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Namespaces {
    /// None at all.
    None,
    /// The Gateway's own.
    Same,
    /// Every one.
    All,
    /// Those whose labels meet every requirement.
    Selected(Vec<Requirement>),
}

/// A requirement on a Namespace's labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Requirement {
    label: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl Namespaces {
    pub(super) fn of(spec: Option<&GatewayListenersAllowedRoutesNamespaces>) -> Result<Self, Fault> {
        use GatewayListenersAllowedRoutesNamespacesFrom as From;
        let Some(spec) = spec else { return Ok(Namespaces::Same) };
        match (&spec.from, &spec.selector) {
            (None | Some(From::Same), _) => Ok(Namespaces::Same),
            (Some(From::All), _) => Ok(Namespaces::All),
            (Some(From::Selector), Some(selector)) => requirements(selector).map(Namespaces::Selected),
            (Some(From::Selector), None) => {
                Err(Fault::new("selector", ListenerReason::UnsupportedValue, "from: Selector needs a selector"))
            }
        }
    }

    /// Whether routes of `namespace` may attach to a listener of a Gateway in `own`.
    pub(crate) fn allow(&self, world: &World, own: &str, namespace: &str) -> bool {
        match self {
            Namespaces::None => false,
            Namespaces::Same => own == namespace,
            Namespaces::All => true,
            Namespaces::Selected(requirements) => {
                let object = world.namespaces.get(&Key::new("", namespace));
                let labels = object.and_then(|object| object.metadata.labels.as_ref());
                requirements.iter().all(|requirement| requirement.holds(labels, namespace))
            }
        }
    }
}

impl Requirement {
    fn holds(&self, labels: Option<&BTreeMap<String, String>>, namespace: &str) -> bool {
        let value = match self.label.as_str() {
            NAME_LABEL => Some(namespace),
            label => labels.and_then(|labels| labels.get(label)).map(String::as_str),
        };
        match (&self.operator, value) {
            (Operator::In(values), Some(value)) => values.iter().any(|one| one == value),
            (Operator::NotIn(values), Some(value)) => values.iter().all(|one| one != value),
            (Operator::Exists, value) => value.is_some(),
            (Operator::DoesNotExist, value) => value.is_none(),
            (Operator::In(_), None) => false,
            (Operator::NotIn(_), None) => true,
        }
    }
}

fn requirements(selector: &GatewayListenersAllowedRoutesNamespacesSelector) -> Result<Vec<Requirement>, Fault> {
    let labels = selector.match_labels.iter().flatten();
    let mut requirements: Vec<Requirement> = labels
        .map(|(label, value)| Requirement { label: label.clone(), operator: Operator::In(vec![value.clone()]) })
        .collect();
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let values = expression.values.clone().unwrap_or_default();
        let operator = match (expression.operator.as_str(), values.is_empty()) {
            ("In", false) => Operator::In(values),
            ("NotIn", false) => Operator::NotIn(values),
            ("Exists", true) => Operator::Exists,
            ("DoesNotExist", true) => Operator::DoesNotExist,
            (other, _) => {
                let message = format!(
                    "operator {other} with {} values: use In or NotIn with values, or Exists or DoesNotExist without",
                    values.len()
                );
                let field = format!("selector.matchExpressions[{index}]");
                return Err(Fault::new(field, ListenerReason::UnsupportedValue, message));
            }
        };
        requirements.push(Requirement { label: expression.key.clone(), operator });
    }
    Ok(requirements)
}
