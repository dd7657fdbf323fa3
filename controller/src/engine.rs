//! The engine: from snapshots of the World to generations.
//!
//! Owns when to compile (see [`debounce`]), and what the compiler is told besides the objects: which ports were given out,
//! what pods refused. Every replica compiles, so that one that becomes the leader has a generation at hand; who does not
//! lead takes its time. Nothing comes out before every kind that exists has been listed once. It must not know how objects
//! come in nor where tables go.

pub mod debounce;
mod refusal;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use headrace_compile::{Compiled, Options, PortOwner, Ports, References, World, compile, references};
use prometheus::{Histogram, IntCounter, IntGauge};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::generation::Generation;
use crate::leader::Leadership;
use crate::metrics::{Gauges, Label, Metrics};
use crate::publish::acknowledgements::Refusals;
use crate::watch::{Snapshot, Store};
use debounce::Debounce;
use refusal::History;

/// The ports of the pods that are given out to Gateways.
pub const PORT_RANGE: RangeInclusive<u16> = 20000..=29999;

/// How long a compile waits for a Secret or ConfigMap that something has begun to refer to. It comes within milliseconds;
/// without the wait a condition would say for that long that it is missing.
const REFERENCE_WAIT: Duration = Duration::from_secs(2);

/// From a handful of objects to tens of thousands.
const COMPILE_BOUNDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The entries of a table, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Ports and host names.
    Listener,
    /// Routes.
    Route,
    /// Backends.
    Backend,
    /// Certificates.
    Certificate,
}

impl Label for Section {
    const NAME: &'static str = "section";
    const ALL: &'static [Self] = &[Section::Listener, Section::Route, Section::Backend, Section::Certificate];

    fn label(self) -> &'static str {
        match self {
            Section::Listener => "listener",
            Section::Route => "route",
            Section::Backend => "backend",
            Section::Certificate => "certificate",
        }
    }
}

/// What is counted of compiles.
#[derive(Clone, Debug)]
pub struct EngineMetrics {
    seconds: Histogram,
    generation: IntGauge,
    sections: Gauges<Section>,
    problems: IntGauge,
    refused: IntGauge,
    changes: IntCounter,
}

impl EngineMetrics {
    /// All zero.
    pub fn new(metrics: &Metrics) -> Self {
        EngineMetrics {
            seconds: metrics.histogram(
                "compile_duration_seconds",
                "Time to compile all objects; its count is the number of compiles.",
                &COMPILE_BOUNDS,
            ),
            generation: metrics.gauge("generation", "Number of the newest generation: compiles since the start."),
            sections: metrics.gauges("table_sections", "Entries of the table of all pod sets, by kind."),
            problems: metrics.gauge("problems", "What is not accepted, not resolved or in conflict, over all objects."),
            refused: metrics
                .gauge("refused_sections", "Entries that are left out of the table since a pod refused them."),
            changes: metrics.counter("changes_total", "Times that the engine was woken by changes that matter."),
        }
    }

    fn compiled(&self, generation: &Generation, took: Duration, refused: usize) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let table = &generation.compiled.table;
        self.seconds.observe(took.as_secs_f64());
        self.generation.set(i64::try_from(generation.number).unwrap_or(i64::MAX));
        self.sections.of(Section::Listener).set(gauge(table.listeners.len()));
        self.sections.of(Section::Route).set(gauge(table.routes.len()));
        self.sections.of(Section::Backend).set(gauge(table.backends.len()));
        self.sections.of(Section::Certificate).set(gauge(table.certificates.len()));
        self.problems.set(gauge(generation.compiled.problems().count()));
        self.refused.set(gauge(refused));
    }
}

/// Compiles whenever it should.
#[derive(Debug)]
pub struct Engine {
    store: Arc<Store>,
    options: Options,
    leadership: watch::Receiver<Leadership>,
    refusals: watch::Receiver<Arc<Refusals>>,
    references: watch::Sender<Arc<References>>,
    generations: watch::Sender<Option<Arc<Generation>>>,
    metrics: EngineMetrics,
    history: History,
    number: u64,
}

impl Engine {
    /// An engine over `store`. `options` are those that never change; ports, refusals and the version of the Gateway API are
    /// the engine's. What Secrets and ConfigMaps are referred to goes to `references`.
    pub fn new(
        store: Arc<Store>,
        options: Options,
        leadership: watch::Receiver<Leadership>,
        refusals: watch::Receiver<Arc<Refusals>>,
        references: watch::Sender<Arc<References>>,
        metrics: EngineMetrics,
    ) -> Self {
        Engine {
            store,
            options,
            leadership,
            refusals,
            references,
            generations: watch::Sender::new(None),
            metrics,
            history: History::default(),
            number: 0,
        }
    }

    /// Generations, the newest of which counts. `None` until there is one.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Generation>>> {
        self.generations.subscribe()
    }

    /// Compiles until it is dropped.
    pub async fn run(mut self) {
        let mut changes = self.store.subscribe();
        // The first look is at what came before anybody listened.
        changes.mark_changed();
        let mut debounce = Debounce::default();
        let mut missing_since: Option<Instant> = None;
        loop {
            // The first compile is a new replica's readiness.
            let is_wanted = self.leadership.borrow().is_leader() || self.number == 0;
            let at = if is_wanted { debounce.due() } else { debounce.due_unhurried() };
            tokio::select! {
                changed = self.leadership.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    continue;
                }
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.metrics.changes.inc();
                    debounce.changed(Instant::now());
                    continue;
                }
                changed = self.refusals.changed() => {
                    if changed.is_err() {
                        // Nobody publishes any more: the process ends.
                        return;
                    }
                    debounce.changed(Instant::now());
                    continue;
                }
                () = due(at) => {}
            }
            let snapshot = self.store.snapshot();
            if !snapshot.is_complete {
                debounce.put_off();
                continue;
            }
            let referred = references(&snapshot.world, &self.options);
            let unresolved = self.store.unresolved(&referred);
            self.references.send_if_modified(|before| {
                let is_new = **before != referred;
                if is_new {
                    *before = Arc::new(referred);
                }
                is_new
            });
            if unresolved > 0 {
                let since = *missing_since.get_or_insert_with(Instant::now);
                if since.elapsed() < REFERENCE_WAIT {
                    debounce.put_off_until(since + REFERENCE_WAIT);
                    continue;
                }
            } else {
                missing_since = None;
            }
            let start = Instant::now();
            self.compile(snapshot).await;
            debounce.compiled(start, Instant::now());
        }
    }

    async fn compile(&mut self, snapshot: Snapshot) {
        let Snapshot { world, revision, gateway_api_version, .. } = snapshot;
        let refused = self.history.standing(&self.refusals.borrow_and_update(), &self.store);
        let options = Options {
            gateway_api_version,
            ports: Ports::Allotted { range: PORT_RANGE, before: self.allotments() },
            refused,
            ..self.options.clone()
        };
        let refused = options.refused.len();
        let start = Instant::now();
        let Some((compiled, world)) = compile_aside(world, options).await else { return };
        let took = start.elapsed();
        self.number += 1;
        let generation = Arc::new(Generation { number: self.number, compiled, world });
        self.history.compiled(self.number, revision);
        self.metrics.compiled(&generation, took, refused);
        tracing::debug!(
            generation = self.number,
            milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            objects = generation.world.len(),
            routes = generation.compiled.table.routes.len(),
            "compiled"
        );
        self.generations.send_replace(Some(generation));
    }

    /// What ports the last compile gave out. Before the first there is none: then the compiler goes by the ports that the
    /// Services of Gateways have, which another process has given out.
    fn allotments(&self) -> BTreeMap<PortOwner, u16> {
        self.generations.borrow().as_ref().map(|last| last.compiled.allotments.clone()).unwrap_or_default()
    }
}

/// Compiles where it does not hold up anybody. `None` if the compiler panicked: a fault of told by the panic itself,
/// and better survived with the last table than not.
async fn compile_aside(world: Arc<World>, options: Options) -> Option<(Compiled, Arc<World>)> {
    let task = tokio::task::spawn_blocking(move || (compile(&world, &options), world));
    match task.await {
        Ok(done) => Some(done),
        Err(error) => {
            tracing::error!(%error, "the compiler failed on this World; the last generation stays");
            None
        }
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
