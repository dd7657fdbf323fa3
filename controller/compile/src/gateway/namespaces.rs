//! From which namespaces a listener takes routes, and a Gateway ListenerSets.
//!
//! Owns label selectors over Namespaces. It must not know routes.

use std::collections::BTreeMap;

use gateway_api::gateways::{
    GatewayAllowedListenersNamespaces, GatewayAllowedListenersNamespacesFrom, GatewayListenersAllowedRoutesNamespaces,
    GatewayListenersAllowedRoutesNamespacesFrom,
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
            (Some(From::Selector), Some(selector)) => {
                let expressions = selector.match_expressions.iter().flatten();
                let expressions = expressions.map(|one| (&*one.key, &*one.operator, one.values.as_deref()));
                requirements(selector.match_labels.as_ref(), expressions).map(Namespaces::Selected)
            }
            (Some(From::Selector), None) => Err(no_selector()),
        }
    }

    /// Those whose ListenerSets a Gateway takes.
    pub(super) fn of_listener_sets(spec: Option<&GatewayAllowedListenersNamespaces>) -> Result<Self, Fault> {
        use GatewayAllowedListenersNamespacesFrom as From;
        let Some(spec) = spec else { return Ok(Namespaces::None) };
        match (&spec.from, &spec.selector) {
            (None | Some(From::None), _) => Ok(Namespaces::None),
            (Some(From::Same), _) => Ok(Namespaces::Same),
            (Some(From::All), _) => Ok(Namespaces::All),
            (Some(From::Selector), Some(selector)) => {
                let expressions = selector.match_expressions.iter().flatten();
                let expressions = expressions.map(|one| (&*one.key, &*one.operator, one.values.as_deref()));
                requirements(selector.match_labels.as_ref(), expressions).map(Namespaces::Selected)
            }
            (Some(From::Selector), None) => Err(no_selector()),
        }
    }

    /// Whether objects of `namespace` may attach to one in `own`.
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

fn no_selector() -> Fault {
    Fault::new("selector", ListenerReason::UnsupportedValue, "from: Selector needs a selector")
}

/// Expressions are key, operator and values.
fn requirements<'s>(
    labels: Option<&BTreeMap<String, String>>,
    expressions: impl Iterator<Item = (&'s str, &'s str, Option<&'s [String]>)>,
) -> Result<Vec<Requirement>, Fault> {
    let labels = labels.into_iter().flatten();
    let mut requirements: Vec<Requirement> = labels
        .map(|(label, value)| Requirement { label: label.clone(), operator: Operator::In(vec![value.clone()]) })
        .collect();
    for (index, (label, operator, values)) in expressions.enumerate() {
        let values = values.unwrap_or_default().to_vec();
        let operator = match (operator, values.is_empty()) {
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
        requirements.push(Requirement { label: label.to_owned(), operator });
    }
    Ok(requirements)
}
