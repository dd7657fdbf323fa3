//! What is too large is refused by whoever sees it first, and named.

use headrace_push::limits::{MAX_ID_OCTETS, MAX_SECTION_OCTETS};
use headrace_push::{Fault, Publisher, Unpublishable};
use headrace_table::{SectionKind, wire};

use crate::pair::{certificate, route, routes, sections};

#[test]
fn sections_that_cannot_travel_are_named_and_the_current_version_stays() {
    let mut publisher = Publisher::new(1);
    let current = publisher.publish(sections(&routes(0..3, 200))).unwrap();
    let mut table = routes(0..3, 200);
    table.certificates.push(certificate("large", MAX_SECTION_OCTETS));
    table.routes.push(route("n".repeat(MAX_ID_OCTETS), 200));
    table.routes.push(wire::Route { id: String::new(), ..route("", 200) });
    let Err(Unpublishable::Sections { faults }) = publisher.publish(sections(&table)) else { panic!("published") };
    let named: Vec<_> = faults.iter().map(|Fault { section, .. }| section.as_ref().unwrap()).collect();
    assert_eq!(named.len(), 3);
    assert!(named.iter().any(|section| section.kind == SectionKind::Certificate && section.id == "ns/large"));
    assert_eq!(publisher.current(), Some(current));
}
