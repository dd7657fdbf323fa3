//! How often the process was started before in this pod, in a file that outlives the process and not the pod.
//!
//! No two processes of a server ID may draw the same nonces, and this number is what tells them apart. So a count that
//! cannot be read or written is an error, and never a guess.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

/// The file in the directory.
const FILE: &str = "restarts";

/// What is written before it takes the file's place.
const NEW_FILE: &str = "restarts.new";

/// Counts this start, and says how many there were before.
pub(super) fn count(directory: &Path) -> io::Result<u32> {
    fs::create_dir_all(directory)?;
    let before: u32 = match fs::read_to_string(directory.join(FILE)) {
        Ok(text) => text.trim().parse().map_err(|_| io::Error::new(ErrorKind::InvalidData, "it has no number"))?,
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let next = before.checked_add(1).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "there were too many"))?;
    // It is on the disk before the first ID is issued, and whole or not there at all.
    let new = directory.join(NEW_FILE);
    let mut file = File::create(&new)?;
    writeln!(file, "{next}")?;
    file.sync_all()?;
    fs::rename(new, directory.join(FILE))?;
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_is_counted_once() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("table");
        for before in 0..4 {
            assert_eq!(count(&inner).unwrap(), before);
        }
    }

    #[test]
    fn a_count_that_cannot_be_trusted_is_an_error() {
        for text in ["", "-1", "4294967295", "many", "99999999999"] {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join(FILE), text).unwrap();
            assert_eq!(count(directory.path()).unwrap_err().kind(), ErrorKind::InvalidData, "{text:?}");
        }
        assert!(count(Path::new("/proc/no/such/place")).is_err());
    }
}
