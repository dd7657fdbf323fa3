//! Where lines for people and scripts go: standard output, or standard error.
//!
//! A reader that has gone away (`headrace check | head`) ends the output and nothing else.

use std::io::{self, Write};

/// One of the two standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// For what the command is asked for.
    Stdout,
    /// For remarks on it.
    Stderr,
}

impl Output {
    /// Writes a text, with nothing added, in one go.
    pub(crate) fn text(self, text: &str) -> io::Result<()> {
        self.octets(text.as_bytes())
    }

    /// Writes octets as they are, in one go.
    pub(crate) fn octets(self, octets: &[u8]) -> io::Result<()> {
        let written = match self {
            Output::Stdout => write_all(&mut io::stdout().lock(), octets),
            Output::Stderr => write_all(&mut io::stderr().lock(), octets),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Writes a line.
    pub(crate) fn line(self, line: &str) -> io::Result<()> {
        self.text(&format!("{line}\n"))
    }
}

fn write_all(to: &mut impl Write, octets: &[u8]) -> io::Result<()> {
    to.write_all(octets)?;
    to.flush()
}

/// A line on standard error, of which nobody can be told that it could not be written.
pub(crate) fn complain(line: &str) {
    let _ = Output::Stderr.line(line);
}
