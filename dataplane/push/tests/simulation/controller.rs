//! A controller: sees the truth late, and publishes it while it believes that it leads.

use std::collections::BTreeMap;
use std::sync::Arc;

use headrace_push::{Digest, Fault, Publisher, Sections, Unpublishable, Version};
use headrace_table::{SectionId, SectionKind, wire};

/// One controller process.
#[derive(Debug, Default)]
pub(crate) struct Controller {
    pub(crate) is_up: bool,
    /// What it saw last.
    seen: wire::Table,
    /// There while it believes that it leads.
    pub(crate) publisher: Option<Publisher>,
    /// What it published last.
    last: Option<(wire::Table, Arc<Sections>)>,
    /// Routes that some pod refused, with the content that was refused: a route that changes is tried again.
    refused: BTreeMap<SectionId, Digest>,
}

impl Controller {
    /// Leads from now on.
    pub(crate) fn lead(&mut self, epoch: u64) {
        self.publisher = Some(Publisher::new(epoch));
        self.refused.clear();
    }

    /// Stops, or stops to lead.
    pub(crate) fn step_down(&mut self) {
        self.publisher = None;
        self.last = None;
    }

    /// Sees the truth.
    pub(crate) fn see(&mut self, table: wire::Table) {
        self.seen = table;
    }

    /// Publishes what it sees, without what was refused. Returns it with its version.
    pub(crate) fn publish(&mut self) -> Option<Result<(Version, wire::Table), Unpublishable>> {
        let publisher = self.publisher.as_mut()?;
        let all = Sections::of(&self.seen, self.last.as_ref().map(|(table, sections)| (table, sections.as_ref())));
        let mut table = self.seen.clone();
        table.routes.retain(|route| {
            let id = SectionId::new(SectionKind::Route, route.id.clone());
            self.refused.get(&id) != all.get(&id).map(|section| section.digest()).as_ref()
        });
        let sections = Arc::new(Sections::of(&table, Some((&self.seen, &all))));
        self.last = Some((table.clone(), Arc::clone(&sections)));
        Some(publisher.publish(sections).map(|version| (version, table)))
    }

    /// A pod refused what it was sent last.
    pub(crate) fn refuse(&mut self, faults: &[Fault]) {
        let Some((_, sections)) = &self.last else { return };
        for id in faults.iter().filter_map(|fault| fault.section.as_ref()) {
            if let Some(section) = sections.get(id) {
                self.refused.insert(id.clone(), section.digest());
            }
        }
    }

    /// What is current, with its version.
    pub(crate) fn current(&self) -> Option<(Version, &wire::Table)> {
        Some((self.publisher.as_ref()?.current()?, &self.last.as_ref()?.0))
    }
}
