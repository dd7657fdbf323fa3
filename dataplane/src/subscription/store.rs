//! The last good table on disk: what a restarted process serves until a controller is there.
//!
//! It is written before a version is acknowledged, so that no restart goes back behind what a controller was told.
//!
//! The file holds private keys, so that only this process's user may read it, and it belongs on a volume in memory. It is
//! replaced whole by a rename: a reader finds the one table or the other. Nothing is synced, since what a machine's crash
//! loses, the next controller brings.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use headrace_push::Held;
use headrace_push::limits::{MAX_INVENTORY_OCTETS, MAX_TABLE_OCTETS};

/// The table.
const FILE: &str = "last-good";

/// The next table, while it is being written. One process writes here, so that one name will do.
const UNFINISHED_FILE: &str = "last-good.new";

/// Octets that are read: what a table may have, its ids, and as much again for the lengths between.
const MAX_OCTETS: usize = MAX_TABLE_OCTETS + 2 * MAX_INVENTORY_OCTETS;

/// Readable and writable for this process's user, and nobody else.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// A directory for the last good table.
#[derive(Clone, Debug)]
pub(super) struct Store {
    directory: PathBuf,
}

/// Why there is no table on disk that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{} holds no table that can be served: {reason}", path.display())]
    Broken { path: PathBuf, reason: String },
}

impl Store {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The table that was saved last, if there is one.
    pub(super) fn load(&self) -> Result<Option<Held>, Unusable> {
        let path = self.directory.join(FILE);
        let octets = match read(&path) {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Unusable::Unreadable { path, error }),
        };
        match Held::decode(&octets) {
            Ok(held) => Ok(Some(held)),
            Err(fault) => Err(Unusable::Broken { path, reason: fault.to_string() }),
        }
    }

    /// The table that was saved last turned out to be of no use.
    pub(super) fn unusable(&self, reason: String) -> Unusable {
        Unusable::Broken { path: self.directory.join(FILE), reason }
    }

    /// Replaces the table on disk.
    pub(super) fn save(&self, held: &Held) -> io::Result<()> {
        let unfinished = self.directory.join(UNFINISHED_FILE);
        if !self.directory.is_dir() {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&self.directory)?;
        }
        // A file that an earlier process left unfinished has whatever mode it has.
        if let Err(error) = fs::remove_file(&unfinished)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&unfinished)?;
        // The mode above is less what the process's mask takes from it, never more.
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        file.write_all(&held.encode())?;
        drop(file);
        fs::rename(&unfinished, self.directory.join(FILE))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(path)?.take(MAX_OCTETS as u64 + 1).read_to_end(&mut octets)?;
    match octets.len() > MAX_OCTETS {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {MAX_OCTETS} octets"))),
        false => Ok(octets),
    }
}
