//! The demo's manifests with other port numbers, since tests run side by side.
//!
//! Must not know the kinds: a port number stands for itself wherever `port:` says so.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// The port of the demo's HTTPS listener in the manifests.
pub const HTTPS_PORT: u16 = 8443;
/// The port of the demo's clear-text listener in the manifests.
pub const HTTP_PORT: u16 = 8080;
/// The port of the demo backend in the manifests.
pub const DEMO_PORT: u16 = 9000;
/// The UDP port of the demo backend's WebTransport echo in the manifests.
pub const DEMO_WEBTRANSPORT_PORT: u16 = 9443;

/// The root of the source tree.
pub fn source_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("this crate is a directory of the workspace").to_owned()
}

/// Copies every manifest of a directory into another, with each pair's first port replaced by its second.
///
/// Fails when a port is in none of them: the manifests have changed, and the test would talk to nobody.
pub fn copy(from: &Path, to: &Path, ports: &[(u16, u16)]) -> Result<()> {
    std::fs::create_dir_all(to)?;
    let mut replaced = vec![false; ports.len()];
    let mut files: Vec<PathBuf> = std::fs::read_dir(from)
        .with_context(|| format!("cannot read {}", from.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "yaml")) {
        let text = std::fs::read_to_string(file)?;
        let name = file.file_name().expect("read_dir gives files with names");
        std::fs::write(to.join(name), replace(&text, ports, &mut replaced))?;
    }
    for ((port, _), replaced) in ports.iter().zip(replaced) {
        ensure!(replaced, "no manifest in {} says `port: {port}`", from.display());
    }
    Ok(())
}

fn replace(text: &str, ports: &[(u16, u16)], replaced: &mut [bool]) -> String {
    let line = |line: &str| {
        for (index, (old, new)) in ports.iter().enumerate() {
            if let Some(head) = line.strip_suffix(&format!("port: {old}")) {
                replaced[index] = true;
                return format!("{head}port: {new}\n");
            }
        }
        format!("{line}\n")
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_port_numbers_are_replaced() {
        let mut replaced = [false; 2];
        let text = "port: 80\n  - port: 8080\nport: 18080\nname: 8080\n";
        let expect = "port: 80\n  - port: 1\nport: 18080\nname: 8080\n";
        assert_eq!(replace(text, &[(8080, 1), (9000, 2)], &mut replaced), expect);
        assert_eq!(replaced, [true, false]);
    }
}
