//! How much of the table is left.
//!
//! Owns the table's bounds as seen from here: what would fill it beyond them must be turned away object by object, since
//! the table itself can only refuse as a whole.

use headrace_table::List;
use headrace_table::wire::{Attachment, Rule};

/// What may still be added.
pub(crate) struct Budget {
    listeners: usize,
    routes: usize,
    /// Matches, once for each host of each attachment.
    candidates: usize,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Budget { listeners: List::Listeners.max(), routes: List::Routes.max(), candidates: List::Candidates.max() }
    }

    /// Takes room for a listener; says whether there was any.
    pub(crate) fn take_listener(&mut self) -> bool {
        take(&mut self.listeners, 1)
    }

    /// Takes room for a route; says whether there was any.
    pub(crate) fn take_route(&mut self, attachments: &[Attachment], rules: &[Rule]) -> bool {
        let hosts: usize = attachments.iter().map(|attachment| attachment.hostnames.len().max(1)).sum();
        let matches: usize = rules.iter().map(|rule| rule.matches.len()).sum();
        attachments.len() <= List::Attachments.max()
            && rules.len() <= List::Rules.max()
            && self.routes > 0
            && take(&mut self.candidates, hosts.saturating_mul(matches))
            && take(&mut self.routes, 1)
    }
}

fn take(left: &mut usize, count: usize) -> bool {
    match left.checked_sub(count) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}
