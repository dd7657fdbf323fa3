//! IngressClasses: which Ingresses are ours.
//!
//! Owns that decision: class name, the old annotation, the default class. It must not know what an Ingress says.

use headrace_crds::condition::{ConditionType, IngressReason};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

use crate::Options;
use crate::diagnosis::Fault;
use crate::status::{ObjectRef, Problem};
use crate::world::{Key, Kind, World};

/// How an Ingress named its class before there was a field for it.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// Marks the class of Ingresses that name none.
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// What the old annotation says for us where there is no IngressClass of that name.
const ANNOTATION_VALUE: &str = "headrace";

/// Whose an Ingress is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Us,
    Another,
    /// It names a class that does not exist.
    Nobody(Fault),
}

pub(super) fn owner(world: &World, options: &Options, ingress: &Ingress) -> Owner {
    let is_ours = |class: &IngressClass| match is_ours(class, options) {
        true => Owner::Us,
        false => Owner::Another,
    };
    let class = |name: &str| world.ingress_classes.get(&Key::new("", name));
    let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    if let Some(name) = named {
        return match class(name) {
            Some(class) => is_ours(class),
            None => Owner::Nobody(no_class("spec.ingressClassName", name)),
        };
    }
    let annotated = ingress.metadata.annotations.as_ref().and_then(|annotations| annotations.get(CLASS_ANNOTATION));
    match annotated.map(String::as_str) {
        Some(name) => match class(name) {
            Some(class) => is_ours(class),
            None if name == ANNOTATION_VALUE => Owner::Us,
            // Other controllers compare the annotation with words of their own.
            None => Owner::Another,
        },
        None => match default_class(world) {
            Some(class) => is_ours(class),
            None => Owner::Nobody(Fault::new(
                "spec.ingressClassName",
                IngressReason::UnsupportedValue,
                "no class is named and no IngressClass is the default: name one",
            )),
        },
    }
}

fn is_ours(class: &IngressClass, options: &Options) -> bool {
    let controller = class.spec.as_ref().and_then(|spec| spec.controller.as_deref());
    controller == Some(options.ingress_controller_name.as_str())
}

/// Of several defaults the first by name: an API server lets nobody use them until one is left.
fn default_class(world: &World) -> Option<&IngressClass> {
    let mut classes = world.ingress_classes.values();
    let class = classes.find(|class| {
        let annotations = class.metadata.annotations.as_ref();
        annotations.and_then(|annotations| annotations.get(DEFAULT_ANNOTATION)).is_some_and(|value| value == "true")
    });
    class.map(std::sync::Arc::as_ref)
}

fn no_class(field: &str, name: &str) -> Fault {
    let message = format!("IngressClass {name} does not exist: create it, or name one that does");
    Fault::new(field, IngressReason::UnsupportedValue, message)
}

/// What is wrong with our classes themselves.
pub(super) fn problems(world: &World, options: &Options) -> Vec<Problem> {
    let ours = world.ingress_classes.iter().filter(|(_, class)| is_ours(class, options));
    let with_parameters = ours.filter(|(_, class)| class.spec.as_ref().is_some_and(|spec| spec.parameters.is_some()));
    with_parameters
        .map(|(key, _)| {
            let message = "there are no parameters for a class: remove parameters";
            let fault = Fault::new("spec.parameters", IngressReason::UnsupportedValue, message);
            fault.problem(&ObjectRef::new(Kind::IngressClass, key), ConditionType::Accepted)
        })
        .collect()
}
