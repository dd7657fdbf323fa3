//! Manifests: from paths on disk to the objects that an API server would hold after `kubectl apply`.
//!
//! Owns reading, judging and merging of files, also over reloads: an object that turns bad keeps its last good version,
//! as it would in a cluster, and an object whose manifest is gone is gone. It must not know what objects are for.

mod decode;
mod document;
mod field;
mod locate;
mod problem;
mod rule;
mod schema;
mod source;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use headrace_compile::{Object, ObjectRef};
use serde_json::Value;

use decode::{Accepted, Decoded, Finding};
use document::Document;
use field::Step;
use locate::Locator;
use source::{Found, SourceFile};

pub(crate) use field::FieldPath;
pub(crate) use problem::{Place, Problem, Severity};
pub(crate) use source::{STDIN, is_manifest};

/// What was loaded.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    entries: BTreeMap<ObjectRef, Entry>,
    /// What is wrong, by place.
    pub(crate) problems: Vec<Problem>,
    /// The files that were read and the directories that were looked into, for whoever watches them.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) directories: Vec<PathBuf>,
}

#[derive(Debug)]
struct Entry {
    object: Object,
    /// What a generation counts changes of.
    content: Value,
    generation: i64,
    origin: Origin,
}

/// Where an object's text is, kept for messages about it.
#[derive(Clone, Debug)]
struct Origin {
    file: Arc<Path>,
    document: Arc<DocumentText>,
    /// From the document's root to the object, which may be an item of a List.
    base: FieldPath,
}

#[derive(Debug)]
struct DocumentText {
    lines_before: usize,
    text: String,
}

impl Origin {
    fn place(&self, field: &FieldPath) -> Place {
        let line = self.document.lines_before + Locator::new(&self.document.text).line(&self.base.join(field));
        Place { file: Arc::clone(&self.file), line }
    }
}

impl Manifests {
    /// Reads everything under the paths. What `before` holds stays where a file or an object has turned unreadable.
    pub(crate) fn load(paths: &[PathBuf], before: Option<&Manifests>) -> Manifests {
        let Found { files, directories, problems, .. } = source::find(paths);
        let mut loader = Loader {
            before,
            loaded: Manifests { entries: BTreeMap::new(), problems, files: files.clone(), directories },
            refused: BTreeSet::new(),
            unreadable: BTreeSet::new(),
        };
        for problem in loader.loaded.problems.iter().filter(|problem| problem.fault.is_unreadable()) {
            loader.unreadable.insert(Arc::clone(&problem.place.file));
        }
        source::read(files).into_iter().for_each(|file| loader.file(file));
        loader.finish()
    }

    /// Every object, by kind, namespace and name.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.entries.values().map(|entry| &entry.object)
    }

    /// Where a field of an object, or its nearest parent, is written.
    pub(crate) fn place_of(&self, object: &ObjectRef, field: &FieldPath) -> Option<Place> {
        self.entries.get(object).map(|entry| entry.origin.place(field))
    }

    /// Whether something could not even be read.
    pub(crate) fn has_unreadable(&self) -> bool {
        self.problems.iter().any(|problem| problem.fault.is_unreadable())
    }

    /// Whether there are no objects.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

struct Loader<'a> {
    before: Option<&'a Manifests>,
    loaded: Manifests,
    /// Objects whose manifest is there and bad.
    refused: BTreeSet<ObjectRef>,
    /// Files of which some part could not be read as objects at all.
    unreadable: BTreeSet<Arc<Path>>,
}

impl Loader<'_> {
    fn file(&mut self, file: SourceFile) {
        let path: Arc<Path> = Arc::from(file.path);
        match file.text {
            Ok(text) => document::split(&text).into_iter().for_each(|document| self.document(&path, document)),
            Err(fault) => {
                self.unreadable.insert(Arc::clone(&path));
                self.loaded.problems.push(Problem::at(Place { file: path, line: 0 }, fault));
            }
        }
    }

    fn document(&mut self, path: &Arc<Path>, document: Document) {
        let Document { lines_before, text, value } = document;
        let mut value = match value {
            Ok(value) => value,
            Err((line, fault)) => {
                self.unreadable.insert(Arc::clone(path));
                let place = Place { file: Arc::clone(path), line: lines_before + line };
                return self.loaded.problems.push(Problem::at(place, fault));
            }
        };
        let document = Arc::new(DocumentText { lines_before, text });
        let origin = |base| Origin { file: Arc::clone(path), document: Arc::clone(&document), base };
        match decode::list_items(&mut value) {
            None => self.object(origin(FieldPath::default()), value),
            Some(items) => {
                for (index, item) in items.into_iter().enumerate() {
                    let mut base = FieldPath::keys(&["items"]);
                    base.push(Step::Index(index));
                    self.object(origin(base), item);
                }
            }
        }
    }

    fn object(&mut self, origin: Origin, value: Value) {
        let Decoded { label, object, accepted, findings } = decode::decode(value);
        // Where it cannot be told which object is meant, any of the file's may be.
        if accepted.is_none()
            && object.is_none()
            && findings.iter().any(|finding| finding.fault.severity() == Severity::Error)
        {
            self.unreadable.insert(Arc::clone(&origin.file));
        }
        for Finding { field, fault } in findings {
            let place = origin.place(&field);
            self.loaded.problems.push(Problem {
                place,
                object: label.clone(),
                field: Some(field),
                fault,
                previous_stays: false,
            });
        }
        match (object, accepted) {
            (Some(object), Some(accepted)) => self.accept(object, accepted, origin, label),
            (Some(object), None) => {
                self.refused.insert(object);
            }
            (None, _) => {}
        }
    }

    fn accept(&mut self, object: ObjectRef, accepted: Accepted, origin: Origin, label: Option<String>) {
        if let Some(first) = self.loaded.entries.get(&object) {
            let fault = problem::Fault::Duplicate(first.origin.place(&FieldPath::default()));
            let field = Some(FieldPath::keys(&["metadata", "name"]));
            let place = origin.place(&FieldPath::keys(&["metadata", "name"]));
            self.loaded.problems.push(Problem { place, object: label, field, fault, previous_stays: false });
            return;
        }
        let generation = match self.before.and_then(|before| before.entries.get(&object)) {
            Some(before) if before.content == accepted.content => before.generation,
            Some(before) => before.generation + 1,
            None => 1,
        };
        let Accepted { object: mut typed, content } = accepted;
        set_generation(&mut typed, generation);
        self.loaded.entries.insert(object, Entry { object: typed, content, generation, origin });
    }

    /// Keeps what a cluster would have kept.
    fn finish(mut self) -> Manifests {
        for (object, entry) in self.before.iter().flat_map(|before| &before.entries) {
            let file = &entry.origin.file;
            let lost_sight = self.unreadable.iter().any(|unreadable| file.starts_with(unreadable));
            let stays = self.refused.contains(object) || lost_sight;
            if !stays || self.loaded.entries.contains_key(object) {
                continue;
            }
            let label = object.to_string();
            for problem in &mut self.loaded.problems {
                let about_it = problem.object.as_ref() == Some(&label);
                let hides_it = problem.object.is_none() && file.starts_with(&problem.place.file);
                problem.previous_stays |= problem.severity() == Severity::Error && (about_it || hides_it);
            }
            let Entry { object: typed, content, generation, origin } = entry;
            let kept = Entry {
                object: typed.clone(),
                content: content.clone(),
                generation: *generation,
                origin: origin.clone(),
            };
            self.loaded.entries.insert(object.clone(), kept);
        }
        // Files come in the order the user gave; within one, by line.
        let order: BTreeMap<&Path, usize> =
            self.loaded.files.iter().enumerate().map(|(index, file)| (file.as_path(), index)).collect();
        let rank = |problem: &Problem| order.get(&*problem.place.file).copied();
        self.loaded.problems.sort_by(|a, b| match rank(a).cmp(&rank(b)) {
            Ordering::Equal => a.place.cmp(&b.place),
            unequal => unequal,
        });
        self.loaded
    }
}

fn set_generation(object: &mut Object, generation: i64) {
    macro_rules! set {
        ($($kind:ident)*) => {
            match object {
                $(Object::$kind(object) => Arc::make_mut(object).metadata.generation = Some(generation),)*
            }
        };
    }
    set!(GatewayClass Gateway ListenerSet HttpRoute WebSocketRoute WebTransportRoute GatewayParameters EdgePolicy Ingress
        IngressClass Service EndpointSlice BackendTlsPolicy Secret ConfigMap Namespace Node ReferenceGrant);
}
