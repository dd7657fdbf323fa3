//! Golden cases: `tests/manifests/<case>.yaml` or `<case>/`, with what is expected in `<case>.txt`. A case that has
//! `before` and `after` is loaded and reloaded. `UPDATE_GOLDEN=1` writes what came out.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::Manifests;

const CASES: &str = "tests/manifests";

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(CASES).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> = entries.filter(|path| path.extension().is_none_or(|ext| ext != "txt")).collect();
    cases.sort();
    cases
}

/// Loads a case: as it is, or `before` and then `after` moved to the place of `before`.
fn load(case: &Path) -> Manifests {
    if !case.join("before").is_dir() {
        return Manifests::load(&[case.to_owned()], None);
    }
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().join("here");
    copy(&case.join("before"), &here);
    let before = Manifests::load(std::slice::from_ref(&here), None);
    fs::remove_dir_all(&here).unwrap();
    copy(&case.join("after"), &here);
    let mut after = Manifests::load(std::slice::from_ref(&here), Some(&before));
    for problem in &mut after.problems {
        problem.place.file = Path::new("after").join(problem.place.file.strip_prefix(&here).unwrap()).into();
    }
    after
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn describe(manifests: &Manifests) -> String {
    let mut text = String::new();
    for problem in &manifests.problems {
        writeln!(text, "{problem}").unwrap();
    }
    writeln!(text, "--").unwrap();
    for (object, entry) in &manifests.entries {
        writeln!(text, "{object} generation {}", entry.object.meta().generation.unwrap()).unwrap();
    }
    text
}

#[test]
fn golden() {
    for case in cases() {
        let found = describe(&load(&case));
        let expected = case.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        assert_eq!(found, fs::read_to_string(&expected).unwrap_or_default(), "{}", case.display());
    }
}

#[test]
fn a_file_that_is_gone_takes_its_objects_along_and_one_that_cannot_be_read_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.yaml");
    let paths = [directory.path().to_owned()];
    fs::write(&file, "{apiVersion: v1, kind: Namespace, metadata: {name: a}}").unwrap();
    let before = Manifests::load(&paths, None);
    fs::write(&file, b"\xff").unwrap();
    let unreadable = Manifests::load(&paths, Some(&before));
    assert_eq!(unreadable.objects().count(), 1);
    assert!(unreadable.problems[0].previous_stays);
    fs::remove_file(&file).unwrap();
    assert_eq!(Manifests::load(&paths, Some(&unreadable)).objects().count(), 0);
}
