//! The dependency rules of the workspace: which crate may know which, and what each must never reach.
//!
//! Rules are rows with a reason. What the rows say of crates is held over `cargo metadata`, and what they say of the pure
//! crates' source is held over its text, since no manifest tells whether a crate asks for the time.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// A crate of the workspace, and the crates of the workspace that it may import.
struct Edges {
    name: &'static str,
    may_import: &'static [&'static str],
    reason: &'static str,
}

/// Imports go one way. A crate without a row is not allowed: where it belongs is decided here first.
const EDGES: &[Edges] = &[
    Edges { name: "headrace-table", may_import: &[], reason: "it is the border that all others meet at" },
    Edges { name: "headrace-cid", may_import: &[], reason: "what an ID means does not depend on who asks" },
    Edges {
        name: "headrace-hop",
        may_import: &["headrace-cid"],
        reason: "it carries datagrams from pod to pod and does not ask whose they are or what is in them",
    },
    Edges { name: "headrace-http3", may_import: &[], reason: "a protocol knows nothing of what is routed over it" },
    Edges { name: "headrace-crds", may_import: &[], reason: "kinds say what users may write, not what comes of it" },
    Edges {
        name: "headrace-push",
        may_import: &["headrace-table"],
        reason: "it carries tables and does not ask who made them or who serves them",
    },
    Edges {
        name: "headrace-compile",
        may_import: &["headrace-crds", "headrace-table"],
        reason: "it turns the one into the other",
    },
    Edges {
        name: "headrace-dataplane",
        may_import: &["headrace-cid", "headrace-hop", "headrace-http3", "headrace-push", "headrace-table"],
        reason: "it serves a table and does not ask where that came from",
    },
    Edges {
        name: "headrace-controller",
        may_import: &["headrace-cid", "headrace-compile", "headrace-crds", "headrace-push", "headrace-table"],
        reason: "it serves nothing itself: it compiles and publishes, and rotates the keys of connection IDs",
    },
    Edges {
        name: "headrace",
        may_import: &["headrace-compile", "headrace-crds", "headrace-dataplane", "headrace-http3", "headrace-table"],
        reason: "standalone is controller and data plane in one process",
    },
    Edges { name: "headrace-demo", may_import: &[], reason: "a backend that knows Headrace would prove nothing" },
    Edges {
        name: "headrace-floor",
        may_import: &[],
        reason: "the floor of a benchmark is not made of what is measured",
    },
    Edges { name: "headrace-e2e", may_import: &[], reason: "black box: only what is seen from outside counts" },
];

/// A crate, and the crates that no path of normal dependencies may lead to. A trailing `*` stands for any ending.
struct NeverReaches {
    names: &'static [&'static str],
    never: &'static [&'static str],
    reason: &'static str,
}

const NEVER_REACHES: &[NeverReaches] = &[
    NeverReaches {
        names: &[
            "headrace-dataplane",
            "headrace-push",
            "headrace-table",
            "headrace-cid",
            "headrace-hop",
            "headrace-http3",
        ],
        never: &["kube", "kube-*", "k8s-openapi", "gateway-api", "headrace-crds", "headrace-compile"],
        reason: "the data plane serves without an API server, and is not rebuilt when a kind changes",
    },
    NeverReaches {
        names: &[
            "headrace-table",
            "headrace-cid",
            "headrace-hop",
            "headrace-push",
            "headrace-compile",
            "headrace-crds",
        ],
        never: &["tokio", "tokio-*", "mio", "async-io", "futures-util", "hyper", "h2", "quinn", "quinn-*", "reqwest"],
        reason: "pure: what does no IO needs no runtime, and its tests need no timing",
    },
    NeverReaches {
        names: &["headrace-compile", "headrace-crds"],
        never: &["kube-client", "kube-runtime"],
        reason: "the compiler is given objects; who fetched them is not its business",
    },
    NeverReaches {
        names: &["headrace-table", "headrace-cid", "headrace-hop", "headrace-push", "headrace-crds"],
        never: &["rand", "rand_*", "getrandom", "fastrand", "chrono"],
        reason: "no ambient randomness and no clock: equal input gives equal output",
    },
    NeverReaches {
        names: &["headrace-http3", "headrace-dataplane", "headrace"],
        never: &["h3", "h3-quinn", "h3-datagram"],
        reason: "the published HTTP/3 crate is an independent peer in tests, and is none if we are made of it",
    },
    NeverReaches {
        names: &["headrace-dataplane"],
        never: &["tokio-tungstenite", "tungstenite"],
        reason: "tunnels copy bytes: who parses messages would buffer them",
    },
];

/// A crate, and the crates that its own manifest may not name. What a third party brings along is not meant.
struct NeverNames {
    names: &'static [&'static str],
    never: &'static [&'static str],
    reason: &'static str,
}

const NEVER_NAMES: &[NeverNames] = &[
    NeverNames {
        names: &["headrace-table", "headrace-cid", "headrace-hop", "headrace-compile", "headrace-crds"],
        never: &["rand", "rand_*", "getrandom", "fastrand", "uuid", "tracing", "log", "libc", "rustix", "socket2"],
        reason: "pure: seeds come in as arguments, findings go out as values. rustls brings getrandom to the compiler, \
                 which uses it to look at keys only",
    },
    NeverNames {
        names: &["headrace-table"],
        never: &["http-body", "jiff", "serde_json", "serde_yaml"],
        reason: "a table has no bodies, no dates and no favourite encoding",
    },
    NeverNames {
        names: &[
            "headrace-table",
            "headrace-cid",
            "headrace-hop",
            "headrace-push",
            "headrace-compile",
            "headrace-crds",
            "headrace-http3",
        ],
        never: &["anyhow", "clap"],
        reason: "errors at borders are enums that a caller can match on; command lines belong to programs",
    },
];

/// Source that may not say these words outside of tests.
struct NeverSays {
    directories: &'static [&'static str],
    never: &'static [&'static str],
    reason: &'static str,
}

const PURE: &[&str] =
    &["dataplane/table/src", "dataplane/cid/src", "dataplane/hop/src", "dataplane/push/src", "controller/compile/src"];

const NEVER_SAYS: &[NeverSays] = &[
    NeverSays {
        directories: PURE,
        never: &["Instant::now", "SystemTime", "Timestamp::now", "Zoned::now"],
        reason: "no clock: time comes in as an argument",
    },
    NeverSays {
        directories: PURE,
        never: &["RandomState", "HashMap::new", "HashSet::new", "SystemRandom"],
        reason: "no ambient randomness: std's maps are seeded from it, and iterate in an order that nobody can repeat",
    },
    NeverSays {
        directories: PURE,
        never: &["std::fs", "std::env", "std::thread", "std::process", "TcpStream", "UdpSocket", "static mut"],
        reason: "no IO and nothing that outlives a call",
    },
    NeverSays {
        directories: &["dataplane/src"],
        never: &["anyhow::", "clap::", "tracing_subscriber::"],
        reason: "errors at borders are enums and command lines belong to programs: the package names these for its own, \
                 which is dataplane/program",
    },
];

#[test]
fn every_crate_imports_what_its_row_allows() {
    let workspace = Workspace::load();
    let rows: BTreeMap<&str, &Edges> = EDGES.iter().map(|row| (row.name, row)).collect();
    let names: BTreeSet<&str> = workspace.members().map(|package| package.name.as_str()).collect();
    assert_eq!(names, rows.keys().copied().collect(), "crates of the workspace, and rows of EDGES");

    let mut broken = Vec::new();
    for package in workspace.members() {
        let row = rows[package.name.as_str()];
        // Dependencies of tests count as well: a test that knows more than its crate tests something else.
        for import in package.dependencies.iter().filter(|import| names.contains(import.name.as_str())) {
            if !row.may_import.contains(&import.name.as_str()) {
                broken.push(format!("{} imports {}, but {}", row.name, import.name, row.reason));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn what_must_not_be_reached_is_not_reached() {
    let workspace = Workspace::load();
    let mut broken = Vec::new();
    for row in NEVER_REACHES {
        for name in row.names {
            let paths = workspace.reached_from(name);
            for (reached, path) in &paths {
                if row.never.iter().any(|pattern| covers(pattern, reached)) {
                    broken.push(format!("{name} reaches {reached} by {path}, but {}", row.reason));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn what_must_not_be_named_is_not_named() {
    let workspace = Workspace::load();
    let mut broken = Vec::new();
    for row in NEVER_NAMES {
        for name in row.names {
            let dependencies = &workspace.member(name).dependencies;
            for import in dependencies.iter().filter(|import| import.kind == DependencyKind::Normal) {
                if row.never.iter().any(|pattern| covers(pattern, &import.name)) {
                    broken.push(format!("{name} names {}, but {}", import.name, row.reason));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn pure_source_does_not_ask_the_machine() {
    let workspace = Workspace::load();
    let mut broken = Vec::new();
    for row in NEVER_SAYS {
        for directory in row.directories {
            for file in sources(&workspace.root.join(directory)) {
                let text = std::fs::read_to_string(&file).unwrap();
                // Test modules stand at the end of a file, as everywhere in the workspace.
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let lines = code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
                for (at, line) in lines {
                    if let Some(word) = row.never.iter().find(|word| line.contains(**word)) {
                        broken.push(format!("{}:{}: {word}, but {}", file.display(), at + 1, row.reason));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn patterns_cover_what_they_say() {
    let cases = [
        ("tokio", "tokio", true),
        ("tokio", "tokio-util", false),
        ("tokio-*", "tokio-util", true),
        ("tokio-*", "tokio", false),
    ];
    for (pattern, name, expected) in cases {
        assert_eq!(covers(pattern, name), expected, "{pattern} and {name}");
    }
}

#[test]
fn rows_that_forbid_something_name_crates_that_are_there() {
    let workspace = Workspace::load();
    let named = NEVER_REACHES.iter().flat_map(|row| row.names).chain(NEVER_NAMES.iter().flat_map(|row| row.names));
    for name in named {
        assert_eq!(workspace.member(name).name.as_str(), *name);
        // A graph without third parties would satisfy every rule.
        assert!(workspace.reached_from(name).len() > 3, "nothing is reached from {name}");
    }
}

fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// Every Rust file below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(!files.is_empty(), "no source in {}", directory.display());
    files
}

/// What cargo knows of the workspace.
struct Workspace {
    metadata: Metadata,
    root: PathBuf,
}

impl Workspace {
    fn load() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e lies in the workspace").to_owned();
        // Without a platform, cargo would want the sources of every other system's crates as well.
        let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let mut command = MetadataCommand::new();
        command.manifest_path(root.join("Cargo.toml")).other_options(["--filter-platform".to_owned(), platform]);
        Self { metadata: command.exec().unwrap(), root }
    }

    fn members(&self) -> impl Iterator<Item = &Package> {
        self.metadata.workspace_packages().into_iter()
    }

    fn member(&self, name: &str) -> &Package {
        self.members().find(|package| package.name.as_str() == name).unwrap_or_else(|| panic!("no crate {name}"))
    }

    /// Every crate that normal dependencies lead to, with the way to it, when the crate is built alone: cargo's metadata
    /// would add what other crates of the workspace switch on.
    fn reached_from(&self, name: &str) -> BTreeMap<String, String> {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(&self.root).args(["tree", "--package", name, "--edges", "normal", "--prefix", "depth"]);
        let output = command.args(["--format", " {p}"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut way: Vec<&str> = Vec::new();
        let mut paths = BTreeMap::new();
        let text = String::from_utf8(output.stdout).unwrap();
        // The number of edges from the crate, its name, its version and what else there is to say.
        for (depth, rest) in text.lines().filter_map(|line| line.split_once(' ')) {
            let reached = rest.split(' ').next().expect("a line names a crate");
            way.truncate(depth.parse().expect("a line starts with its depth"));
            way.push(reached);
            paths.entry(reached.to_owned()).or_insert_with(|| way.join(" -> "));
        }
        paths.remove(name);
        paths
    }
}
