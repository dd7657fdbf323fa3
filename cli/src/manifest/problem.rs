//! What can be wrong with a manifest, where, and whether the object is lost by it.
//!
//! Owns the one-line form `file:line: Kind namespace/name: field: reason`. Knows nothing of how manifests are read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::field::FieldPath;

/// A file and, where it is known, a line in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// As the user named it.
    pub(crate) file: Arc<Path>,
    /// Counted from 1; 0 means the file as a whole.
    pub(crate) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The object, or the file, is left out.
    Error,
    /// The object serves, but not all of it means something.
    Warning,
    /// Worth a line, nothing is wrong.
    Info,
}

impl Severity {
    /// The word for reports.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// One finding.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) place: Place,
    /// `Kind namespace/name`, as far as it is known.
    pub(crate) object: Option<String>,
    /// The field at fault.
    pub(crate) field: Option<FieldPath>,
    pub(crate) fault: Fault,
    /// The version of the object that was loaded before goes on serving.
    pub(crate) previous_stays: bool,
}

impl Problem {
    /// A problem of a place, with no object in sight.
    pub(crate) fn at(place: Place, fault: Fault) -> Self {
        Self { place, object: None, field: None, fault, previous_stays: false }
    }

    /// How bad it is.
    pub(crate) fn severity(&self) -> Severity {
        self.fault.severity()
    }

    /// The reason, without place, object and field.
    pub(crate) fn reason(&self) -> String {
        let stays = if self.previous_stays { " (what was loaded before stays)" } else { "" };
        format!("{}{stays}", self.fault)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if self.severity() != Severity::Error {
            write!(f, "{}: ", self.severity().label())?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if let Some(field) = self.field.as_ref().filter(|field| !field.is_empty()) {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.reason())
    }
}

/// Why a file, a document or an object is refused or remarked upon.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The file or directory cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] std::io::Error),
    /// The file is larger than a manifest can be.
    #[error("is {octets} octets long; a manifest file may have {limit}")]
    FileTooLarge {
        /// Its size.
        octets: u64,
        /// The largest size.
        limit: u64,
    },
    /// A directory holds too much.
    #[error("has more than {limit} manifest files")]
    TooManyFiles {
        /// The largest number.
        limit: usize,
    },
    /// Directories are nested too deep, or link to themselves.
    #[error("is nested more than {limit} directories deep")]
    TooDeep {
        /// The deepest level.
        limit: usize,
    },
    /// The file is not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// Not YAML.
    #[error("is not YAML: {0}")]
    Yaml(#[source] serde_yaml::Error),
    /// Not JSON.
    #[error("is not JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// YAML that is no mapping.
    #[error("is not a Kubernetes object: a mapping with apiVersion, kind and metadata is expected")]
    NotAnObject,
    /// No `apiVersion`, `kind` or `metadata.name`.
    #[error("a string is required")]
    Required,
    /// A name outside RFC 1123.
    #[error(
        "{0:?} is not a name: lower-case letters, digits and '-'{1} are allowed, with a letter or digit at each end"
    )]
    BadName(String, &'static str),
    /// The value is not of the field's type.
    #[error("{0}")]
    Type(#[source] serde_json::Error),
    /// A rule of the kind's schema is broken.
    #[error("{0}")]
    Schema(String),
    /// Second object of the same kind and name.
    #[error("already defined at {0}; this one is left out")]
    Duplicate(Place),
    /// Something that only a running cluster uses.
    #[error("skipped: nothing here uses the kind")]
    Ignored,
    /// A kind that nobody here has heard of, or in a version that is not served.
    #[error("no kind {kind:?} in {api_version:?} is known here; skipped")]
    UnknownKind {
        /// `apiVersion`.
        api_version: String,
        /// `kind`.
        kind: String,
    },
    /// A field that the kind does not have.
    #[error("unknown field")]
    UnknownField,
    /// A directory without one file that could be a manifest.
    #[error("holds no *.yaml, *.yml or *.json")]
    NoManifests,
}

impl Fault {
    /// How bad it is.
    pub(crate) fn severity(&self) -> Severity {
        match self {
            Fault::Ignored => Severity::Info,
            Fault::NoManifests | Fault::UnknownField | Fault::UnknownKind { .. } => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// Whether the file's content is unknown, rather than known and wrong.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(
            self,
            Fault::Unreadable(_) | Fault::FileTooLarge { .. } | Fault::TooManyFiles { .. } | Fault::TooDeep { .. }
        )
    }
}

/// The place of a whole file.
pub(crate) fn whole_file(path: &Path) -> Place {
    Place { file: Arc::from(PathBuf::from(path)), line: 0 }
}
