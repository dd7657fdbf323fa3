//! What all workers serve from at one moment: a table and its generation. Immutable; a new table is a new snapshot.

use std::net::SocketAddr;

use headrace_table::Table;

/// One published table.
pub(crate) struct Snapshot {
    /// Counts publications of this process, from 1; 0 is the empty table before the first.
    pub(crate) generation: u64,
    pub(crate) table: Table,
}

impl Snapshot {
    /// Whether any backend has this endpoint.
    pub(crate) fn names(&self, endpoint: &SocketAddr) -> bool {
        self.table.backends().any(|backend| backend.endpoints.contains(endpoint))
    }

    /// Serves nothing.
    pub(crate) fn empty() -> Self {
        let nothing = headrace_table::wire::Table::default();
        Self { generation: 0, table: Table::try_from(nothing).expect("an empty table is a good one") }
    }
}
