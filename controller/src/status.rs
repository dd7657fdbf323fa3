//! The status writer: what the compiler found gets onto the objects, and what people should notice becomes events.
//!
//! Owns when a status is written: by the leader only, on difference only, what matters most first, at a pace that an API
//! server does not notice, and `Programmed` not before the data plane has answered. It must not know how a table is
//! compiled, nor how it travels.
//!
//! ```text
//! Generation, Acknowledgements ─► desired ─► hold, faults ─► queue ─► merge with what stands there ─► patch ─► events
//! ```
//!
//! Everything but the last steps is pure and tested without an API server.

mod conditions;
mod desired;
mod events;
mod faults;
mod hold;
mod merge;
mod metrics;
pub(crate) mod queue;
mod world;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use headrace_compile::{IngressStatus, Key, Kind, ObjectRef, World};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, interval_at, sleep_until};
use tracing::{debug, info, warn};

use crate::generation::Generation;
use crate::leader::Leadership;
use crate::publish::acknowledgements::Acknowledgements;
use crate::service::{self, Faults};
use crate::watch::Store;
use desired::Desired;
use hold::{Audience, Before, Hold, Subject};
pub use metrics::StatusMetrics;
use metrics::WriteOutcome;
use queue::{Pace, Queue};
use world::Writes;
use write::{Answer, Write, Writer};

/// Writes at one time: enough to keep the pace over a slow connection, few enough to be nothing to an API server.
const MAX_IN_FLIGHT: usize = 8;
/// Writes a second, over time. An API server takes thousands; a hundred leave it to others, and 10,000 routes are done in
/// under two minutes, behind everything that is more important.
const WRITES_PER_SECOND: u32 = 100;
/// Writes at once, after a quiet time: a usual change is written without any wait.
const WRITE_BURST: u32 = 100;
/// How long "waiting for pods" and "waiting for an address" wait to be written: pods that are well have answered by then, and
/// nobody has to read it.
const PENDING_DELAY: Duration = Duration::from_millis(300);
/// How often everything is compared again, though nothing changed: for statuses that somebody else has overwritten.
const COMPARE_AGAIN: Duration = Duration::from_secs(600);
/// How many answers to our writes are kept before it is looked which of them the World knows by now.
const KEPT_ANSWERS: usize = 256;
/// How many objects are compared before others get their turn on the thread.
const COMPARED_AT_ONCE: usize = 200;

/// What the status writer works with.
#[derive(Debug)]
pub struct Inputs {
    /// The names under which we write and are known.
    pub identity: Identity,
    /// The World as it is now, from which a write takes the object's version.
    pub store: Arc<Store>,
    /// What was compiled last.
    pub generations: watch::Receiver<Option<Arc<Generation>>>,
    /// What the pods have said.
    pub acknowledgements: watch::Receiver<Arc<Acknowledgements>>,
    /// Whether this replica writes.
    pub leadership: watch::Receiver<Leadership>,
    /// Gateways whose Service cannot be had.
    pub service_faults: watch::Receiver<Arc<Faults>>,
}

/// The names of an installation, as status, events and Services need them.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Our name in statuses.
    pub controller_name: String,
    /// This pod's name, for events.
    pub pod_name: String,
    /// The namespace of the installation.
    pub namespace: String,
    /// The headless Service of each pod set.
    pub pod_sets: BTreeMap<String, String>,
}

/// Writes statuses for as long as there are generations to come.
pub async fn run(client: kube::Client, inputs: Inputs, metrics: StatusMetrics) {
    let Identity { controller_name, pod_name, .. } = inputs.identity.clone();
    let (events, send_events) = events::Sender::new(client.clone(), controller_name.clone(), pod_name, metrics.clone());
    let work = Work {
        writer: Writer::new(client, controller_name.clone()),
        inputs,
        metrics,
        events,
        hold: Hold::default(),
        queue: Queue::new(),
        pace: Pace::new(WRITES_PER_SECOND, WRITE_BURST),
        writes: Writes::default(),
        in_flight: JoinSet::new(),
        compared: HashMap::new(),
        told: HashMap::new(),
        look_again: None,
    };
    tokio::join!(work.run(), send_events);
}

/// Something to be written.
#[derive(Clone, Debug)]
struct Task {
    desired: Arc<Desired>,
    since: Instant,
}

struct Work {
    inputs: Inputs,
    writer: Writer,
    metrics: StatusMetrics,
    events: events::Sender,
    hold: Hold,
    queue: Queue<ObjectRef, Task>,
    pace: Pace,
    writes: Writes,
    in_flight: JoinSet<(ObjectRef, Task, Write, Answer)>,
    /// What each object was when it was last compared with what it should say: what has not changed since is left alone.
    compared: HashMap<ObjectRef, Compared>,
    /// The Ingresses in trouble of which somebody was told, since that kind has no conditions to look it up in.
    told: HashMap<ObjectRef, IngressStatus>,
    /// When conditions change though nothing else does.
    look_again: Option<Instant>,
}

#[derive(Debug, PartialEq)]
struct Compared {
    resource_version: String,
    desired: u64,
}

/// What woke the writer.
enum Woken {
    Generation,
    Pods,
    /// It is time to compare everything, whatever was compared before.
    Again,
    Leadership,
    Written(Box<(ObjectRef, Task, Write, Answer)>),
    Nothing,
    Ended,
}

impl Work {
    async fn run(mut self) {
        // What came before anybody listened counts too.
        self.inputs.generations.mark_changed();
        let mut again = interval_at(Instant::now() + COMPARE_AGAIN, COMPARE_AGAIN);
        loop {
            let woken = self.wait(&mut again).await;
            let is_leader = self.inputs.leadership.borrow().is_leader();
            match woken {
                Woken::Ended => return,
                Woken::Leadership if !is_leader => self.stand_down(),
                Woken::Written(written) => self.written(*written),
                _ if !is_leader => {}
                Woken::Generation | Woken::Leadership => self.compare_all().await,
                Woken::Pods => self.compare_gateways(),
                Woken::Again => {
                    self.compared.clear();
                    self.compare_all().await;
                }
                Woken::Nothing if self.look_again.is_some_and(|at| at <= Instant::now()) => self.compare_gateways(),
                Woken::Nothing => {}
            }
            if is_leader {
                self.start_writes().await;
            }
            self.metrics.queue(self.queue.len());
        }
    }

    async fn wait(&mut self, again: &mut Interval) -> Woken {
        let now = Instant::now();
        let may_write = self.in_flight.len() < MAX_IN_FLIGHT;
        let next_write = self.queue.next_start(now).filter(|_| may_write).map(|at| at.max(self.pace.next(now)));
        let next = [next_write, self.look_again].into_iter().flatten().min();
        let inputs = &mut self.inputs;
        tokio::select! {
            changed = inputs.leadership.changed() => changed.map_or(Woken::Ended, |()| Woken::Leadership),
            changed = inputs.generations.changed() => changed.map_or(Woken::Ended, |()| Woken::Generation),
            changed = inputs.acknowledgements.changed() => changed.map_or(Woken::Ended, |()| Woken::Pods),
            changed = inputs.service_faults.changed() => changed.map_or(Woken::Ended, |()| Woken::Pods),
            Some(written) = self.in_flight.join_next() => match written {
                Ok(written) => Woken::Written(Box::new(written)),
                // A write that was aborted: its object was taken out of the queue before.
                Err(_) => Woken::Nothing,
            },
            _ = again.tick() => Woken::Again,
            () = sleep_until(next.unwrap_or(now)), if next.is_some() => Woken::Nothing,
        }
    }

    /// Another replica writes now: what we know of writes is of no use any more.
    fn stand_down(&mut self) {
        self.in_flight.abort_all();
        self.queue.clear();
        self.writes.clear();
        self.compared.clear();
        self.told.clear();
        self.hold = Hold::default();
        self.look_again = None;
    }

    /// Compares what the newest generation says of every object with what was compared last.
    async fn compare_all(&mut self) {
        let Some(generation) = self.inputs.generations.borrow_and_update().clone() else { return };
        let world = self.inputs.store.snapshot().world;
        let statuses = &generation.compiled.statuses;
        self.writes.prune(&world);
        self.hold.retain(|object| world::resource_version(object, &world).is_some());
        self.compared.retain(|object, _| world::resource_version(object, &world).is_some());
        self.tell_of_ingresses(&statuses.ingresses, &world);
        let now = Instant::now();
        let mut named = HashSet::new();
        for (index, (object, desired)) in desired::all(statuses).enumerate() {
            if matches!(desired, Desired::Entries(_)) {
                named.insert(object);
            }
            if !matches!(desired, Desired::Gateway { .. } | Desired::ListenerSet { .. }) {
                self.offer(object, desired, &world, now, now);
            }
            if index % COMPARED_AT_ONCE == COMPARED_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
        for object in left_behind(&world, &self.inputs.identity.controller_name) {
            if !named.contains(&object) {
                self.offer(&object, Desired::Entries(Vec::new()), &world, now, now);
            }
        }
        self.compare_gateways_of(&generation, &world);
    }

    /// Compares what depends on the pods' answers.
    fn compare_gateways(&mut self) {
        // A generation that came meanwhile stays unseen, since this is not all that there is to do about it.
        let Some(generation) = self.inputs.generations.borrow().clone() else { return };
        let world = self.inputs.store.snapshot().world;
        self.compare_gateways_of(&generation, &world);
    }

    fn compare_gateways_of(&mut self, generation: &Generation, world: &World) {
        let acknowledgements = Arc::clone(&self.inputs.acknowledgements.borrow_and_update());
        let service_faults = Arc::clone(&self.inputs.service_faults.borrow_and_update());
        let statuses = &generation.compiled.statuses;
        let now = Instant::now();
        let audiences = Audiences::of(generation, world, &self.inputs.identity);
        self.hold.attendance(self.inputs.identity.pod_sets.keys().map(String::as_str), &acknowledgements, now);
        self.look_again = None;
        let gateway_of: HashMap<&ObjectRef, &Key> =
            statuses.listener_sets.iter().map(|status| (&status.object, &status.gateway)).collect();
        for (object, mut desired) in desired::gateways(statuses) {
            let Some(observed) = self.writes.observed(object, world) else { continue };
            let gateway = gateway_of.get(object).map_or_else(|| object.key(), |gateway| (*gateway).clone());
            let audience = audiences.of_gateway(&gateway);
            let table = &generation.compiled.table;
            faults::apply(object, &gateway, &mut desired, table, &audience.pod_set, &acknowledgements);
            faults::apply_service(object, &mut desired, &service_faults);
            let subject = Subject { object, uid: &observed.uid, audience, generation: generation.number };
            let before = Before::of(&observed.status);
            let held = self.hold.apply(&subject, &mut desired, &before, &acknowledgements, now);
            self.look_again = [self.look_again, held.again_at].into_iter().flatten().min();
            let waits = held.waiting || faults::awaits_address(&desired);
            let not_before = if waits { now + PENDING_DELAY } else { now };
            self.offer(object, desired, world, now, not_before);
        }
    }

    /// Puts an object into the queue, unless it and what it should say are what they were.
    fn offer(&mut self, object: &ObjectRef, desired: Desired, world: &World, now: Instant, not_before: Instant) {
        let Some(resource_version) = world::resource_version(object, world) else {
            self.queue.forget(object);
            self.compared.remove(object);
            return;
        };
        let compared = Compared { resource_version: resource_version.to_owned(), desired: digest(&desired) };
        if self.compared.get(object) == Some(&compared) {
            return;
        }
        self.compared.insert(object.clone(), compared);
        let task = Task { desired: Arc::new(desired), since: now };
        self.queue.put(object.clone(), desired::precedence(object.kind), task, not_before);
    }

    /// Starts writes until the pace or their number says to wait. What says already what it should costs nothing.
    async fn start_writes(&mut self) {
        let mut compared = 0;
        while self.in_flight.len() < MAX_IN_FLIGHT && self.pace.next(Instant::now()) <= Instant::now() {
            let Some((object, task)) = self.queue.take(Instant::now()) else { return };
            compared += 1;
            if compared % COMPARED_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
            let world = self.inputs.store.snapshot().world;
            let Some(observed) = self.writes.observed(&object, &world) else {
                self.queue.done(&object);
                continue;
            };
            let controller_name = &self.inputs.identity.controller_name;
            let change = merge::change(&object, &observed, &task.desired, controller_name, Timestamp::now());
            let Some(change) = change else {
                self.queue.done(&object);
                continue;
            };
            self.pace.take(Instant::now());
            let write = Write { uid: observed.uid, change };
            let writer = self.writer.clone();
            self.in_flight.spawn(async move {
                let answer = writer.send(&object, &write).await;
                (object, task, write, answer)
            });
        }
    }

    fn written(&mut self, (object, task, write, answer): (ObjectRef, Task, Write, Answer)) {
        let outcome = answer.outcome();
        self.metrics.write(object.kind, outcome);
        match answer {
            Answer::Written(answer) => {
                self.metrics.lag(task.since.elapsed());
                debug!(%object, "wrote its status");
                self.writes.insert(&object, *answer);
                if self.writes.len() >= KEPT_ANSWERS {
                    self.writes.prune(&self.inputs.store.snapshot().world);
                }
                self.events.tell(&object, &write.uid, events::notices(&write.change.transitions));
                self.queue.done(&object);
            }
            Answer::Gone => {
                self.queue.forget(&object);
                self.queue.done(&object);
            }
            Answer::NotWritten { reason, .. } => {
                let wait = self.queue.failed(&object, task, Instant::now());
                match outcome {
                    WriteOutcome::Conflict => debug!(%object, ?wait, "its status was changed meanwhile; once more"),
                    WriteOutcome::Refused => warn!(%object, ?wait, reason, "its status was refused"),
                    _ => info!(%object, ?wait, reason, "its status was not written; once more"),
                }
            }
        }
    }

    fn tell_of_ingresses(&mut self, ingresses: &[IngressStatus], world: &World) {
        let mut told = HashMap::new();
        for status in ingresses {
            let notices = events::ingress_notices(self.told.get(&status.object), status);
            if !notices.is_empty() {
                let uid = world.ingresses.get(&status.object.key()).and_then(|it| it.metadata.uid.clone());
                self.events.tell(&status.object, &uid.unwrap_or_default(), notices);
            }
            if events::is_in_trouble(status) {
                told.insert(status.object.clone(), status.clone());
            }
        }
        self.told = told;
    }
}

/// Routes and policies that have an entry of ours. Those that name no Gateway of ours any more are to lose it.
fn left_behind(world: &World, ours: &str) -> Vec<ObjectRef> {
    let mut objects = Vec::new();
    macro_rules! of {
        ($kind:expr, $field:ident, $list:ident) => {
            for (key, object) in &world.$field {
                let entries = object.status.iter().flat_map(|status| &status.$list);
                if entries.into_iter().any(|entry| entry.controller_name == ours) {
                    objects.push(ObjectRef::new($kind, key));
                }
            }
        };
    }
    of!(Kind::HttpRoute, http_routes, parents);
    of!(Kind::WebSocketRoute, websocket_routes, parents);
    of!(Kind::WebTransportRoute, webtransport_routes, parents);
    of!(Kind::BackendTlsPolicy, backend_tls_policies, ancestors);
    of!(Kind::EdgePolicy, edge_policies, ancestors);
    objects
}

/// The pods that have to serve each Gateway.
struct Audiences {
    by_pod_set: BTreeMap<String, Audience>,
    pod_set_of: HashMap<Key, String>,
    nobody: Audience,
}

impl Audiences {
    fn of(generation: &Generation, world: &World, identity: &Identity) -> Self {
        let by_pod_set = identity.pod_sets.iter().map(|(pod_set, headless)| {
            let ready: BTreeSet<String> = service::ready_pods(world, &identity.namespace, headless);
            (pod_set.clone(), Audience { pod_set: pod_set.clone(), ready })
        });
        let plans = generation.compiled.services.iter();
        Audiences {
            by_pod_set: by_pod_set.collect(),
            pod_set_of: plans.map(|plan| (plan.gateway.clone(), plan.pod_set.clone())).collect(),
            nobody: Audience { pod_set: headrace_compile::DEFAULT_POD_SET.to_owned(), ready: BTreeSet::new() },
        }
    }

    /// A Gateway without a plan has nothing that could be programmed, so that it does not matter whom it is for.
    fn of_gateway(&self, gateway: &Key) -> &Audience {
        let pod_set = self.pod_set_of.get(gateway).map_or(headrace_compile::DEFAULT_POD_SET, String::as_str);
        self.by_pod_set.get(pod_set).unwrap_or(&self.nobody)
    }
}

/// Tells one desired status from another, without keeping either.
fn digest(desired: &Desired) -> u64 {
    let mut hasher = DefaultHasher::new();
    desired.hash_into(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
pub(crate) mod tests;
