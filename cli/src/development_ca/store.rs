//! The files of the development CA: read whole, written whole, keys for their owner only.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::DevelopmentCaError;

const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

/// A directory, or no place at all.
#[derive(Debug)]
pub(super) struct Store(Option<PathBuf>);

/// What a file holds.
#[derive(Debug)]
pub(super) enum Kept {
    Text(String),
    Nothing,
}

impl Store {
    pub(super) fn at(directory: &Path) -> Self {
        Store(Some(directory.to_owned()))
    }

    /// Forgets everything at once.
    pub(super) fn nowhere() -> Self {
        Store(None)
    }

    pub(super) fn directory(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    pub(super) fn read(&self, file: &str) -> Result<Kept, DevelopmentCaError> {
        let Some(path) = self.path(file) else { return Ok(Kept::Nothing) };
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Kept::Text(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Kept::Nothing),
            Err(source) => Err(DevelopmentCaError::File { path, source }),
        }
    }

    pub(super) fn write_secret(&self, file: &str, text: &str) -> Result<(), DevelopmentCaError> {
        self.write(file, text, SECRET_MODE)
    }

    pub(super) fn write_public(&self, file: &str, text: &str) -> Result<(), DevelopmentCaError> {
        self.write(file, text, PUBLIC_MODE)
    }

    pub(super) fn unusable(&self, file: &str, source: rcgen::Error) -> DevelopmentCaError {
        DevelopmentCaError::Unusable { path: self.path(file).unwrap_or_else(|| PathBuf::from(file)), source }
    }

    fn path(&self, file: &str) -> Option<PathBuf> {
        self.0.as_ref().map(|directory| directory.join(file))
    }

    /// All or nothing: a crash leaves the old file or the new one.
    fn write(&self, file: &str, text: &str, mode: u32) -> Result<(), DevelopmentCaError> {
        let Some(path) = self.path(file) else { return Ok(()) };
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            match fs::remove_file(&unfinished) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut new = OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished)?;
            new.write_all(text.as_bytes())?;
            new.sync_all()?;
            fs::rename(&unfinished, &path)
        };
        write().map_err(|source| DevelopmentCaError::File { path: path.clone(), source })
    }
}
