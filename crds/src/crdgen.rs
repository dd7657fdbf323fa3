//! Writes `crds/yaml`, or with `--check` says whether it is out of date.
//!
//! Owns the command line and the files; what they should hold is `headrace_crds::crd`'s.

use std::path::Path;
use std::process::ExitCode;

use headrace_crds::crd::generated_files;

fn main() -> ExitCode {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => {
            eprintln!("crdgen: unknown argument {other}; usage: crdgen [--check]");
            return ExitCode::from(2);
        }
    };
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    let mut stale = false;
    for file in generated_files() {
        let path = directory.join(file.name);
        if check {
            let current = std::fs::read_to_string(&path).unwrap_or_default();
            if current != file.contents {
                eprintln!("{} is out of date: run `cargo run -p headrace-crds --bin crdgen`", path.display());
                stale = true;
            }
        } else if let Err(error) =
            std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&path, &file.contents))
        {
            eprintln!("crdgen: cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    if stale { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
