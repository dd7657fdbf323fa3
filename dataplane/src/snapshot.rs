//! What all workers serve from at one moment: a table and its generation. Immutable; a new table is a new snapshot.

use headrace_table::Table;

use crate::upstream::{ClientTls, Place, UpstreamTls};

/// One published table.
pub(crate) struct Snapshot {
    /// Counts publications of this process, from 1; 0 is the empty table before the first.
    pub(crate) generation: u64,
    pub(crate) table: Table,
    /// Of the table's backends.
    pub(crate) tls: UpstreamTls,
}

impl Snapshot {
    /// Whether any backend has this endpoint and asks it for this identity.
    pub(crate) fn names(&self, place: &Place) -> bool {
        self.table.backends().any(|backend| {
            let tls = self.tls.of(backend);
            tls.is_ok_and(|tls| tls.map(ClientTls::id) == place.tls) && backend.endpoints.contains(&place.endpoint)
        })
    }

    /// Serves nothing.
    pub(crate) fn empty() -> Self {
        let nothing = headrace_table::wire::Table::default();
        let table = Table::try_from(nothing).expect("an empty table is a good one");
        Self { generation: 0, table, tls: UpstreamTls::default() }
    }
}
