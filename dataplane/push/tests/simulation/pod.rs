//! A pod: serves what it accepted, keeps it in its file, and may restart or lose both.

use headrace_push::{Arrival, Candidate, Fault, Held, Report, Subscriber, Version};
use headrace_table::SectionKind;

use crate::cluster::poisoned;
use crate::random::Random;

/// One pod with its memory-backed volume.
#[derive(Debug)]
pub(crate) struct Pod {
    /// Absent while the pod is down.
    pub(crate) subscriber: Option<Subscriber>,
    pub(crate) link: Option<u64>,
    /// Counts starts, so that what was meant for an earlier life is passed over.
    pub(crate) life: u64,
    /// The last good table.
    file: Option<Vec<u8>>,
    /// Whether it takes no poisoned route.
    is_strict: bool,
    /// How many times longer everything takes.
    pub(crate) slowness: u64,
}

impl Pod {
    pub(crate) fn new(random: &mut Random) -> Self {
        Pod {
            subscriber: None,
            link: None,
            life: 0,
            file: None,
            is_strict: random.happens(300),
            slowness: if random.happens(100) { 20 } else { 1 },
        }
    }

    /// Starts, with what is in the file. Returns whether there was something.
    pub(crate) fn start(&mut self) -> bool {
        let held = self.file.as_ref().and_then(|file| Held::decode(file).ok());
        let is_restored = held.is_some();
        self.life += 1;
        self.subscriber = Some(Subscriber::new(held));
        is_restored
    }

    /// Stops. The file stays.
    pub(crate) fn stop(&mut self) -> Option<u64> {
        self.subscriber = None;
        self.link.take()
    }

    /// The volume is gone, or its file is cut off.
    pub(crate) fn lose_file(&mut self, random: &mut Random) {
        match &mut self.file {
            Some(file) if random.happens(500) => file.truncate(random.index(file.len())),
            file => *file = None,
        }
    }

    /// Whether the pod has a table that survives a restart.
    pub(crate) fn has_file(&self) -> bool {
        self.file.as_ref().is_some_and(|file| Held::decode(file).is_ok())
    }

    /// What is served, if anything.
    pub(crate) fn held(&self) -> Option<&Held> {
        self.subscriber.as_ref()?.held()
    }

    /// Keeps what came without a decision.
    pub(crate) fn keep(&mut self, arrival: &Arrival) {
        if let Arrival::Adopted(version) = arrival {
            let held = self.held().expect("only what is held is adopted");
            assert_eq!(held.version, *version, "what is adopted is held");
            self.file = Some(held.encode());
        }
    }

    /// Serves the candidate, or says why not. Returns whether it does.
    pub(crate) fn decide(&mut self, candidate: Candidate, random: &mut Random) -> bool {
        let Some(subscriber) = &mut self.subscriber else { return false };
        let Candidate { version, sections } = candidate;
        let table = sections.table().expect("what was published is understood");
        let refused = if self.is_strict { poisoned(&table) } else { Vec::new() };
        if !refused.is_empty() {
            let fault = |section| Fault { section: Some(section), reason: "poison".to_owned() };
            subscriber.reject(version, refused.into_iter().map(fault).collect());
            return false;
        }
        self.file = Some(Held { version, sections }.encode());
        subscriber.accept(version, faults(random));
        true
    }

    /// A port came free, or a certificate does not load any more.
    pub(crate) fn change_faults(&mut self, random: &mut Random) {
        let faults = faults(random);
        if let Some(subscriber) = &mut self.subscriber {
            // Its connections come and go at any time, whatever travels.
            subscriber.report(Report { uses: random.index(0x80) as u8, ..Report::default() });
        }
        if let Some(subscriber) = &mut self.subscriber
            && let Some(version) = subscriber.held().map(|held| held.version)
        {
            subscriber.accept(version, faults);
        }
    }

    /// The version that a restart would come back with.
    pub(crate) fn kept(&self) -> Option<Version> {
        self.file.as_ref().and_then(|file| Held::decode(file).ok()).map(|held| held.version)
    }
}

fn faults(random: &mut Random) -> Vec<Fault> {
    if random.happens(800) {
        return Vec::new();
    }
    vec![Fault::of(SectionKind::Certificate, format!("ns/{:02}", random.index(12)), "does not load")]
}
