//! From the paths a user gives to the texts of manifest files, within bounds.
//!
//! Knows nothing of what the texts say.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::problem::{Fault, Problem, whole_file};

/// The largest manifest file: an API server takes objects of 1.5 MiB, and a file may hold a few hundred.
pub(crate) const MAX_FILE_OCTETS: u64 = 64 << 20;
/// The most files that are read.
pub(crate) const MAX_FILES: usize = 10_000;
/// How deep directories are followed; a link to a parent would go on for ever.
pub(crate) const MAX_DEPTH: usize = 16;

const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// The path that stands for standard input.
pub(crate) const STDIN: &str = "-";

/// A manifest file's name and what it says.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: PathBuf,
    pub(crate) text: Result<String, Fault>,
}

/// Every manifest file under the paths, in the order given and then by name, each once.
///
/// Files named outright are taken whatever their extension. Names that start with a dot are passed over inside of
/// directories: editors keep their copies there, and so do the volumes of Kubernetes.
pub(crate) fn find(paths: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for path in paths {
        if path.as_os_str() == STDIN {
            found.add(path.clone(), path.clone());
            continue;
        }
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                let before = found.files.len();
                found.directory(path, 0);
                if found.files.len() == before && found.problems.is_empty() {
                    found.problems.push(Problem::at(whole_file(path), Fault::NoManifests));
                }
            }
            Ok(_) => found.file(path),
            Err(error) => found.fail(path, Fault::Unreadable(error)),
        }
    }
    found
}

/// Reads the files found.
pub(crate) fn read(paths: Vec<PathBuf>) -> Vec<SourceFile> {
    paths.into_iter().map(|path| SourceFile { text: read_text(&path), path }).collect()
}

fn read_text(path: &Path) -> Result<String, Fault> {
    let mut octets = Vec::new();
    let mut reader: Box<dyn std::io::Read> = if path.as_os_str() == STDIN {
        Box::new(std::io::stdin().lock())
    } else {
        let file = File::open(path).map_err(Fault::Unreadable)?;
        let size = file.metadata().map_err(Fault::Unreadable)?.len();
        if size > MAX_FILE_OCTETS {
            return Err(Fault::FileTooLarge { octets: size, limit: MAX_FILE_OCTETS });
        }
        Box::new(file)
    };
    // The size may be a lie (a pipe, a file that grows): the bound is on what is read.
    (&mut reader).take(MAX_FILE_OCTETS + 1).read_to_end(&mut octets).map_err(Fault::Unreadable)?;
    let len = octets.len() as u64;
    if len > MAX_FILE_OCTETS {
        return Err(Fault::FileTooLarge { octets: len, limit: MAX_FILE_OCTETS });
    }
    String::from_utf8(octets).map_err(|_| Fault::NotUtf8)
}

/// What is under the paths.
#[derive(Default)]
pub(crate) struct Found {
    /// Manifest files, each once.
    pub(crate) files: Vec<PathBuf>,
    /// Every directory that was looked into.
    pub(crate) directories: Vec<PathBuf>,
    /// What cannot be looked at.
    pub(crate) problems: Vec<Problem>,
    /// By what they are called on disk, so that no file is read twice.
    seen: BTreeSet<PathBuf>,
}

impl Found {
    fn fail(&mut self, path: &Path, fault: Fault) {
        self.problems.push(Problem::at(whole_file(path), fault));
    }

    fn file(&mut self, path: &Path) {
        match path.canonicalize() {
            Ok(canonical) => self.add(path.to_owned(), canonical),
            Err(error) => self.fail(path, Fault::Unreadable(error)),
        }
    }

    fn add(&mut self, path: PathBuf, canonical: PathBuf) {
        if self.seen.insert(canonical) {
            self.files.push(path);
        }
    }

    fn directory(&mut self, path: &Path, depth: usize) {
        if depth > MAX_DEPTH {
            return self.fail(path, Fault::TooDeep { limit: MAX_DEPTH });
        }
        self.directories.push(path.to_owned());
        let entries = match fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => entries,
            Err(error) => return self.fail(path, Fault::Unreadable(error)),
        };
        let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).filter(|path| !is_hidden(path)).collect();
        paths.sort();
        for path in paths {
            if self.files.len() >= MAX_FILES {
                return self.fail(&path, Fault::TooManyFiles { limit: MAX_FILES });
            }
            // Through links: a ConfigMap volume consists of them.
            match fs::metadata(&path) {
                Ok(meta) if meta.is_dir() => self.directory(&path, depth + 1),
                Ok(_) if is_manifest(&path) => self.file(&path),
                Ok(_) => {}
                Err(error) if is_manifest(&path) => self.fail(&path, Fault::Unreadable(error)),
                Err(_) => {}
            }
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Whether a directory's file is read, by its name.
pub(crate) fn is_manifest(path: &Path) -> bool {
    path.extension().and_then(|extension| extension.to_str()).is_some_and(|extension| EXTENSIONS.contains(&extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path, paths: &[PathBuf]) -> Vec<String> {
        paths.iter().map(|path| path.strip_prefix(root).unwrap().display().to_string()).collect()
    }

    #[test]
    fn finds_manifests_once_and_in_order() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("b/c")).unwrap();
        fs::create_dir_all(at("..2026")).unwrap();
        for name in ["z.yaml", "a.json", "b/c/m.yml", "b/readme.txt", ".hidden.yaml", "..2026/mounted.yaml"] {
            fs::write(at(name), "").unwrap();
        }
        std::os::unix::fs::symlink("..2026", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/mounted.yaml", at("mounted.yaml")).unwrap();
        let Found { files, directories, problems, .. } =
            find(&[at("b/readme.txt"), root.path().to_owned(), at("z.yaml")]);
        assert_eq!(names(root.path(), &directories), ["", "b", "b/c"]);
        assert_eq!(names(root.path(), &files), ["b/readme.txt", "a.json", "b/c/m.yml", "mounted.yaml", "z.yaml"]);
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn says_what_cannot_be_read() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(".", root.path().join("loop")).unwrap();
        let Found { files, problems, .. } = find(&[root.path().join("none"), root.path().to_owned()]);
        assert!(files.is_empty());
        assert!(matches!(problems[0].fault, Fault::Unreadable(_)));
        assert!(matches!(problems[1].fault, Fault::TooDeep { .. }));
        fs::write(root.path().join("x.yaml"), b"\xff").unwrap();
        assert!(matches!(read(vec![root.path().join("x.yaml")])[0].text, Err(Fault::NotUtf8)));
    }
}
