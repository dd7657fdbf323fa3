//! Services of Gateways: every Gateway gets an address of its own, whose ports lead to ports of the shared pods.
//!
//! Owns when a Service or an EndpointSlice is applied or deleted, and at what pace. It must not know which ports were
//! allotted why, nor how an address comes to a Service.
//!
//! ```text
//! Generation (ServicePlan), World ─► planned ─► operations ─► queue ─► apply ─► faults, for the Gateway's conditions
//! ```

mod apply;
mod metrics;
mod operations;
mod planned;
mod summary;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use headrace_compile::{Key, World};
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, interval_at, sleep_until};
use tracing::{debug, info, warn};

use crate::generation::Generation;
use crate::leader::Leadership;
use crate::status::Identity;
use crate::status::queue::{Pace, Queue};
use crate::watch::Store;
use apply::{Answer, Applier};
pub use metrics::ServiceMetrics;
use metrics::{Outcome, Verb};
use operations::{Names, Operation, Target, TargetKind, operations};
use planned::Pods;
pub use summary::{GatewaySummary, ListenerSummary, ServiceSummary, summary};

/// Why the Service of a Gateway cannot be had, by Gateway.
pub type Faults = BTreeMap<Key, String>;

/// Operations at one time.
const MAX_IN_FLIGHT: usize = 4;
/// Operations a second, over time. A pod that comes or goes is one for each Gateway; a load-balancer controller has work
/// with each Service that is new.
const OPERATIONS_PER_SECOND: u32 = 50;
/// Operations at once, after a quiet time.
const OPERATION_BURST: u32 = 50;
/// How often everything is compared again, though nothing changed.
const COMPARE_AGAIN: Duration = Duration::from_secs(600);

/// What the Services of Gateways are made from.
#[derive(Debug)]
pub struct Inputs {
    /// The names under which we write.
    pub identity: Identity,
    /// The World as it is now.
    pub store: Arc<Store>,
    /// What was compiled last.
    pub generations: watch::Receiver<Option<Arc<Generation>>>,
    /// Whether this replica writes.
    pub leadership: watch::Receiver<Leadership>,
}

/// Keeps the Services of all Gateways as they are planned, for as long as there are generations to come. What cannot be had
/// goes to `faults`.
pub async fn run(client: Client, inputs: Inputs, faults: watch::Sender<Arc<Faults>>, metrics: ServiceMetrics) {
    let work = Work {
        applier: Applier::new(client, &inputs.identity.controller_name),
        inputs,
        metrics,
        faults,
        planned_faults: Faults::new(),
        refused: BTreeMap::new(),
        queue: Queue::new(),
        pace: Pace::new(OPERATIONS_PER_SECOND, OPERATION_BURST),
        in_flight: JoinSet::new(),
        done: HashMap::new(),
        waiting: BTreeSet::new(),
    };
    work.run().await;
}

/// The names of the pods of a headless Service of ours that get traffic.
pub(crate) fn ready_pods(world: &World, namespace: &str, headless: &str) -> BTreeSet<String> {
    Pods::of(world, &Key::new(namespace, headless)).ready()
}

struct Work {
    inputs: Inputs,
    applier: Applier,
    metrics: ServiceMetrics,
    faults: watch::Sender<Arc<Faults>>,
    /// From the last comparison.
    planned_faults: Faults,
    /// What the API server refused, by object.
    refused: BTreeMap<Target, (Key, String)>,
    queue: Queue<Target, Operation>,
    pace: Pace,
    in_flight: JoinSet<(Target, Operation, Answer)>,
    /// What was done last with each object that the World may not show yet.
    done: HashMap<Target, Operation>,
    /// The objects in the queue.
    waiting: BTreeSet<Target>,
}

enum Woken {
    Compare,
    /// It is time to compare everything, whatever was done before.
    Again,
    Leadership,
    Answered(Box<(Target, Operation, Answer)>),
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
                Woken::Answered(answered) => self.answered(*answered),
                _ if !is_leader => {}
                Woken::Compare | Woken::Leadership => self.compare(),
                Woken::Again => {
                    self.done.clear();
                    self.compare();
                }
                Woken::Nothing => {}
            }
            if is_leader {
                self.start();
            }
            self.tell();
        }
    }

    async fn wait(&mut self, again: &mut Interval) -> Woken {
        let now = Instant::now();
        let may_start = self.in_flight.len() < MAX_IN_FLIGHT;
        let next = self.queue.next_start(now).filter(|_| may_start).map(|at| at.max(self.pace.next(now)));
        let inputs = &mut self.inputs;
        tokio::select! {
            changed = inputs.leadership.changed() => changed.map_or(Woken::Ended, |()| Woken::Leadership),
            changed = inputs.generations.changed() => changed.map_or(Woken::Ended, |()| Woken::Compare),
            Some(answered) = self.in_flight.join_next() => match answered {
                Ok(answered) => Woken::Answered(Box::new(answered)),
                Err(_) => Woken::Nothing,
            },
            _ = again.tick() => Woken::Again,
            () = sleep_until(next.unwrap_or(now)), if next.is_some() => Woken::Nothing,
        }
    }

    fn stand_down(&mut self) {
        self.in_flight.abort_all();
        self.queue.clear();
        self.waiting.clear();
        self.done.clear();
        self.refused.clear();
        self.planned_faults.clear();
    }

    fn compare(&mut self) {
        let Some(generation) = self.inputs.generations.borrow_and_update().clone() else { return };
        // The generation's own World: plans and objects are of one moment.
        let identity = &self.inputs.identity;
        let names = Names {
            controller_name: &identity.controller_name,
            namespace: &identity.namespace,
            pod_sets: &identity.pod_sets,
        };
        let compared = operations(&generation.compiled, &generation.world, &names);
        self.planned_faults = compared.faults;
        let due = compared.by_target;
        let over: Vec<Target> = self.waiting.iter().filter(|target| !due.contains_key(*target)).cloned().collect();
        for target in over {
            self.queue.forget(&target);
            self.waiting.remove(&target);
        }
        self.refused.retain(|target, _| due.contains_key(target));
        self.done.retain(|target, _| due.contains_key(target));
        let now = Instant::now();
        for (target, operation) in due {
            // Done, and the World has not seen it yet; or done, and somebody else insists on something of it.
            if self.done.get(&target) == Some(&operation) {
                continue;
            }
            let precedence = if target.kind == TargetKind::Service { 0 } else { 1 };
            self.waiting.insert(target.clone());
            self.queue.put(target, precedence, operation, now);
        }
    }

    fn start(&mut self) {
        while self.in_flight.len() < MAX_IN_FLIGHT && self.pace.next(Instant::now()) <= Instant::now() {
            let Some((target, operation)) = self.queue.take(Instant::now()) else { return };
            // The same came twice, while the World had not seen the first one.
            if self.done.get(&target) == Some(&operation) {
                self.queue.done(&target);
                self.waiting.remove(&target);
                continue;
            }
            self.pace.take(Instant::now());
            let applier = self.applier.clone();
            self.in_flight.spawn(async move {
                let answer = applier.carry_out(&target, &operation.action).await;
                (target, operation, answer)
            });
        }
    }

    fn answered(&mut self, (target, operation, answer): (Target, Operation, Answer)) {
        let verb = Verb::of(target.kind, &operation.action);
        match answer {
            Answer::Done => {
                self.metrics.operation(verb, Outcome::Done);
                debug!(?verb, object = %target.key, gateway = %operation.gateway, "done");
                self.refused.remove(&target);
                self.queue.done(&target);
                self.waiting.remove(&target);
                self.done.insert(target, operation);
            }
            Answer::NotDone { outcome, reason } => {
                self.metrics.operation(verb, outcome);
                if outcome == Outcome::Refused {
                    warn!(?verb, object = %target.key, gateway = %operation.gateway, reason, "refused");
                    let message = format!("{} {} was refused: {reason}", target.kind.label(), target.key);
                    self.refused.insert(target.clone(), (operation.gateway.clone(), message));
                } else {
                    info!(?verb, object = %target.key, gateway = %operation.gateway, reason, "not done; once more");
                }
                self.queue.failed(&target, operation, Instant::now());
            }
        }
    }

    /// Tells the status writer whose Service cannot be had.
    fn tell(&mut self) {
        let mut faults = self.planned_faults.clone();
        for (gateway, message) in self.refused.values() {
            faults.entry(gateway.clone()).or_insert_with(|| message.clone());
        }
        self.metrics.faults(faults.len());
        self.metrics.queue(self.queue.len());
        self.faults.send_if_modified(|before| {
            let is_new = **before != faults;
            if is_new {
                *before = Arc::new(faults);
            }
            is_new
        });
    }
}

#[cfg(test)]
mod tests;
