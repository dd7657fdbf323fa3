//! Time, and who does what when.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use headrace_push::{Arrival, Event, SubscriberId, Version, proto};
use prost::Message;

use crate::checks::{Checks, Coverage};
use crate::cluster::Cluster;
use crate::controller::Controller;
use crate::network::{Direction, Network, WINDOW};
use crate::pod::Pod;
use crate::random::Random;

/// How long things go wrong, in milliseconds of virtual time.
const TROUBLE_MS: u64 = 60_000;

/// How long it takes at most until all is well after that. A slow pod takes four seconds for a message.
const HEALING_MS: u64 = 240_000;

/// How long a leader that lost its lease may go on to believe in it.
const LEASE_MS: u64 = 5_000;

/// Something that is to happen.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// A message arrives.
    ToPod {
        link: u64,
        octets: Vec<u8>,
    },
    ToController {
        link: u64,
        octets: Vec<u8>,
    },
    /// An end comes to know that its stream is gone.
    BrokenAtPod {
        link: u64,
    },
    BrokenAtController {
        link: u64,
    },
    Dial {
        pod: usize,
        life: u64,
    },
    Decide {
        pod: usize,
        life: u64,
    },
    StartPod {
        pod: usize,
    },
    StartController {
        controller: usize,
    },
    /// A controller sees the truth as it is then.
    See {
        controller: usize,
    },
    StepDown {
        controller: usize,
        epoch: u64,
    },
    Trouble,
}

/// Everybody and everything.
pub(crate) struct World {
    now: u64,
    /// By time, then in the order in which it was planned.
    plan: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    planned: u64,
    random: Random,
    cluster: Cluster,
    network: Network,
    controllers: Vec<Controller>,
    pods: Vec<Pod>,
    /// Who holds it, with the epoch.
    lease: (usize, u64),
    checks: Checks,
    coverage: Coverage,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let cluster = Cluster::new(&mut random);
        let controllers = (0..random.within(1..6)).map(|_| Controller::default()).collect();
        let pods = (0..random.within(1..31)).map(|_| Pod::new(&mut random)).collect();
        let mut network = Network::default();
        network.loss = random.within(0..40);
        network.delay = random.within(1..200);
        World {
            now: 0,
            plan: BinaryHeap::new(),
            planned: 0,
            random,
            cluster,
            network,
            controllers,
            pods,
            lease: (0, 1),
            checks: Checks::default(),
            coverage: Coverage::default(),
        }
    }

    /// Trouble, then none, then everybody is well.
    pub(crate) fn run(mut self) -> Coverage {
        for controller in 0..self.controllers.len() {
            self.start_controller(controller);
        }
        for pod in 0..self.pods.len() {
            self.plan(0..3000, Happening::StartPod { pod });
        }
        self.elect(0, true);
        self.plan(0..100, Happening::Trouble);
        self.until(TROUBLE_MS);
        self.heal();
        self.until(TROUBLE_MS + HEALING_MS);
        self.assert_all_is_well();
        self.coverage
    }

    fn plan(&mut self, after: std::ops::Range<u64>, happening: Happening) {
        let at = self.now + self.random.within(after);
        self.plan_at(at, happening);
    }

    fn plan_at(&mut self, at: u64, happening: Happening) {
        self.planned += 1;
        self.plan.push(Reverse((at, self.planned, happening)));
    }

    fn until(&mut self, end: u64) {
        while let Some(Reverse((at, _, _))) = self.plan.peek()
            && *at < end
        {
            let Some(Reverse((at, _, happening))) = self.plan.pop() else { return };
            self.now = at;
            self.happen(happening);
        }
        self.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ToPod { link, octets } => self.arrives_at_pod(link, &octets),
            Happening::ToController { link, octets } => self.arrives_at_controller(link, &octets),
            Happening::BrokenAtPod { link } => self.broken_at_pod(link),
            Happening::BrokenAtController { link } => self.broken_at_controller(link),
            Happening::Dial { pod, life } => self.dial(pod, life),
            Happening::Decide { pod, life } => self.decide(pod, life),
            Happening::StartPod { pod } => self.start_pod(pod),
            Happening::StartController { controller } => self.start_controller(controller),
            Happening::See { controller } => {
                self.controllers[controller].see(self.cluster.table.clone());
                self.publish(controller);
            }
            Happening::StepDown { controller, epoch } => {
                let publisher = self.controllers[controller].publisher.as_ref();
                if publisher.is_some_and(|publisher| publisher.epoch() == epoch) && self.lease != (controller, epoch) {
                    self.step_down(controller);
                }
            }
            Happening::Trouble if self.now < TROUBLE_MS => {
                self.trouble();
                self.plan(1..600, Happening::Trouble);
            }
            Happening::Trouble => {}
        }
    }

    // What goes wrong, and what simply happens.

    fn trouble(&mut self) {
        let pod = self.random.index(self.pods.len());
        let controller = self.random.index(self.controllers.len());
        match self.random.within(0..100) {
            0..45 => self.change(),
            45..53 => {
                let cut = self.network.links.keys().copied().collect::<Vec<_>>();
                if !cut.is_empty() {
                    let link = cut[self.random.index(cut.len())];
                    self.cut(link);
                }
            }
            53..61 => self.stop_pod(pod),
            61..65 => self.stop_controller(controller),
            65..73 => {
                let is_orderly = self.election_is_orderly();
                self.elect(controller, is_orderly);
            }
            73..83 => {
                self.network.partitions.insert((pod, controller));
            }
            83..88 => self.network.partitions.clear(),
            88..91 => (0..self.pods.len()).for_each(|pod| {
                self.network.partitions.insert((pod, controller));
            }),
            _ => {
                self.coverage.count("faults changed");
                self.pods[pod].change_faults(&mut self.random);
                self.pump_pod(pod);
            }
        }
    }

    /// Mostly a new leader has a new epoch. A Lease that was deleted or restored may give one twice.
    fn election_is_orderly(&mut self) -> bool {
        !self.random.happens(150)
    }

    fn change(&mut self) {
        for _ in 0..self.random.within(1..4) {
            self.cluster.change(&mut self.random);
        }
        for controller in 0..self.controllers.len() {
            self.plan(0..1000, Happening::See { controller });
        }
    }

    fn elect(&mut self, controller: usize, is_orderly: bool) {
        if !self.controllers[controller].is_up || self.controllers[controller].publisher.is_some() {
            return;
        }
        let (before, epoch) = self.lease;
        self.plan(0..LEASE_MS, Happening::StepDown { controller: before, epoch });
        self.lease = (controller, if is_orderly { epoch + 1 } else { epoch });
        self.controllers[controller].lead(self.lease.1);
        self.publish(controller);
    }

    /// The network is whole and quick, one controller leads, and there is one last change.
    fn heal(&mut self) {
        self.network.partitions.clear();
        self.network.loss = 0;
        let up: Vec<usize> = (0..self.controllers.len()).filter(|index| self.controllers[*index].is_up).collect();
        let last = match up.len() {
            0 => 0,
            count => up[self.random.index(count)],
        };
        self.start_controller(last);
        for controller in (0..self.controllers.len()).filter(|index| *index != last) {
            let epoch = self.controllers[controller].publisher.as_ref().map(|publisher| publisher.epoch());
            if let Some(epoch) = epoch {
                self.plan(0..LEASE_MS, Happening::StepDown { controller, epoch });
            }
        }
        match &self.controllers[last].publisher {
            Some(publisher) => self.lease = (last, publisher.epoch()),
            None => {
                let is_orderly = self.election_is_orderly();
                self.elect(last, is_orderly);
            }
        }
        if self.random.happens(700) {
            self.change();
        }
    }

    fn assert_all_is_well(&self) {
        let leaders: Vec<_> = self.controllers.iter().filter(|controller| controller.publisher.is_some()).collect();
        let [leader] = leaders[..] else { panic!("{} controllers lead", leaders.len()) };
        let (version, table) = leader.current().expect("the last leader published");
        for (index, pod) in self.pods.iter().enumerate().filter(|(_, pod)| pod.subscriber.is_some()) {
            let held = pod.held().unwrap_or_else(|| panic!("pod {index} serves nothing, not {version}"));
            assert_eq!(held.version, version, "pod {index} has the last version");
            assert_eq!(held.sections.table().unwrap(), *table, "pod {index} serves the last table");
            assert_eq!(pod.kept(), Some(version), "pod {index} keeps the last version");
        }
        let idle = |link: &crate::network::Link| link.is_cut || link.in_transit == [0, 0];
        assert!(self.network.links.values().all(idle), "when all is said, nobody speaks");
    }

    // Controllers.

    fn start_controller(&mut self, controller: usize) {
        if !self.controllers[controller].is_up {
            self.controllers[controller].is_up = true;
            self.plan(0..500, Happening::See { controller });
        }
    }

    fn stop_controller(&mut self, controller: usize) {
        if self.controllers[controller].is_up {
            self.coverage.count("controller crashed");
            self.step_down(controller);
            self.controllers[controller] = Controller::default();
            self.plan(100..20_000, Happening::StartController { controller });
        }
    }

    fn step_down(&mut self, controller: usize) {
        self.controllers[controller].step_down();
        for link in self.links_of(|link| link.controller == controller) {
            self.cut(link);
        }
    }

    fn publish(&mut self, controller: usize) {
        if let Some(published) = self.controllers[controller].publish() {
            let (version, table) = published.expect("tables of the simulation are small");
            if self.lease != (controller, version.epoch) {
                self.coverage.count("stale leader published");
            }
            self.checks.published(version, table);
            for link in self.links_of(|link| link.controller == controller) {
                self.pump_controller(link);
            }
        }
    }

    fn arrives_at_controller(&mut self, id: u64, octets: &[u8]) {
        let Some((pod, controller)) = self.arrived(id, Direction::ToController) else { return };
        let message = proto::FromSubscriber::decode(octets).expect("what was encoded is decoded");
        let Some(publisher) = &mut self.controllers[controller].publisher else { return };
        let event = publisher.receive(SubscriberId(id), message).expect("pods keep to the rules");
        match event {
            None => {}
            Some(Event::Accepted { version, .. }) => {
                self.coverage.count("accepted");
                self.checks.acknowledged(pod, version);
            }
            Some(Event::Rejected { faults, .. }) => {
                self.coverage.count("rejected");
                self.controllers[controller].refuse(&faults);
                self.publish(controller);
            }
            Some(Event::NewerEpoch { epoch }) => self.newer_epoch(controller, epoch),
            Some(Event::Reported(report)) => {
                self.coverage.count("reported");
                assert!(report.uses < 0x80, "as the pod has said it");
            }
        }
        self.pump_controller(id);
        self.pump_pod(pod);
    }

    fn newer_epoch(&mut self, controller: usize, epoch: u64) {
        let (holder, of_lease) = self.lease;
        if holder != controller {
            // It looks at its lease, which takes a moment. Until then it goes on.
            self.coverage.count("newer epoch: stepped down");
            if let Some(publisher) = &self.controllers[controller].publisher {
                let epoch = publisher.epoch();
                self.plan(0..LEASE_MS, Happening::StepDown { controller, epoch });
            }
            return;
        }
        self.coverage.count("newer epoch: raised");
        self.lease.1 = of_lease.max(epoch) + 1;
        let raised = self.lease.1;
        let table = self.controllers[controller].current().map(|(_, table)| table.clone());
        let version: Option<Version> =
            self.controllers[controller].publisher.as_mut().and_then(|publisher| publisher.raise(raised));
        if let (Some(version), Some(table)) = (version, table) {
            self.checks.published(version, table);
        }
        for link in self.links_of(|link| link.controller == controller) {
            self.pump_controller(link);
        }
    }

    fn pump_controller(&mut self, id: u64) {
        while self.network.has_room(id, Direction::ToPod) {
            let Some((pod, controller)) = self.ends(id) else { return };
            let Some(publisher) = &mut self.controllers[controller].publisher else { return };
            let Some(message) = publisher.poll(SubscriberId(id)) else {
                let streams = self.network.links.values().filter(|link| link.controller == controller).count();
                return Checks::bounded(publisher, streams);
            };
            self.count_message(&message);
            let slowness = self.pods[pod].slowness;
            let sent = self.network.send(id, Direction::ToPod, self.now, slowness, &mut self.random);
            match sent {
                Some(at) => self.plan_at(at, Happening::ToPod { link: id, octets: message.encode_to_vec() }),
                None => {
                    if !matches!(message.message, Some(proto::to_subscriber::Message::Begin(_))) {
                        self.coverage.count("broken in mid transfer");
                    }
                    self.cut(id);
                }
            }
        }
    }

    fn count_message(&mut self, message: &proto::ToSubscriber) {
        match &message.message {
            Some(proto::to_subscriber::Message::InventoryRequest(_)) => self.coverage.count("inventory asked"),
            Some(proto::to_subscriber::Message::Part(part)) if part.changed.iter().any(|one| one.continues) => {
                self.coverage.count("part did not end its section");
            }
            _ => {}
        }
    }

    // Pods.

    fn start_pod(&mut self, pod: usize) {
        if self.pods[pod].subscriber.is_some() {
            return;
        }
        if self.random.happens(150) {
            self.pods[pod].lose_file(&mut self.random);
        }
        if !self.pods[pod].has_file() {
            self.coverage.count("started with nothing");
            self.checks.forgotten(pod);
        }
        if self.pods[pod].start() {
            self.coverage.count("restart from the file");
        }
        if let Some(held) = self.pods[pod].held() {
            self.checks.serves(pod, held);
        }
        let life = self.pods[pod].life;
        self.plan(0..500, Happening::Dial { pod, life });
    }

    fn stop_pod(&mut self, pod: usize) {
        if self.pods[pod].subscriber.is_none() {
            return;
        }
        self.coverage.count("pod crashed");
        if let Some(link) = self.pods[pod].stop() {
            self.cut(link);
        }
        self.plan(10..8_000, Happening::StartPod { pod });
    }

    fn dial(&mut self, pod: usize, life: u64) {
        if self.pods[pod].life != life || self.pods[pod].subscriber.is_none() || self.pods[pod].link.is_some() {
            return;
        }
        let controller = self.random.index(self.controllers.len());
        let is_reached = !self.network.partitions.contains(&(pod, controller));
        match &mut self.controllers[controller].publisher {
            Some(publisher) if is_reached => {
                let link = self.network.dial(pod, controller);
                publisher.open(SubscriberId(link));
                self.pods[pod].link = Some(link);
                if let Some(subscriber) = &mut self.pods[pod].subscriber {
                    if subscriber.undecided().is_some() {
                        self.coverage.count("candidate outlived its stream");
                    }
                    subscriber.connected();
                }
                self.pump_pod(pod);
            }
            // Nobody there, or not the leader.
            _ => self.plan(50..1500, Happening::Dial { pod, life }),
        }
    }

    fn arrives_at_pod(&mut self, id: u64, octets: &[u8]) {
        let Some((pod, _)) = self.arrived(id, Direction::ToPod) else { return };
        if self.pods[pod].link != Some(id) {
            return;
        }
        let message = proto::ToSubscriber::decode(octets).expect("what was encoded is decoded");
        let Some(subscriber) = &mut self.pods[pod].subscriber else { return };
        let arrival = subscriber.receive(message).expect("controllers keep to the rules");
        if let Some(arrival) = arrival {
            self.pods[pod].keep(&arrival);
            match arrival {
                Arrival::Candidate(_) => {
                    let (life, slowness) = (self.pods[pod].life, self.pods[pod].slowness);
                    self.plan(0..300 * slowness, Happening::Decide { pod, life });
                }
                Arrival::Adopted(_) => {
                    self.coverage.count("adopted");
                    let held = self.pods[pod].held().expect("what is adopted is held");
                    self.checks.serves(pod, held);
                }
            }
        }
        self.pump_pod(pod);
        self.pump_controller(id);
    }

    fn decide(&mut self, pod: usize, life: u64) {
        if self.pods[pod].life != life {
            return;
        }
        let Some(candidate) = self.pods[pod].subscriber.as_ref().and_then(|subscriber| subscriber.undecided()).cloned()
        else {
            return;
        };
        if self.pods[pod].decide(candidate, &mut self.random) {
            let held = self.pods[pod].held().expect("what was accepted is held");
            self.checks.serves(pod, held);
        }
        self.pump_pod(pod);
    }

    fn pump_pod(&mut self, pod: usize) {
        while let Some(id) = self.pods[pod].link
            && self.network.has_room(id, Direction::ToController)
        {
            let Some(message) = self.pods[pod].subscriber.as_mut().and_then(|subscriber| subscriber.poll()) else {
                return;
            };
            let slowness = self.pods[pod].slowness;
            match self.network.send(id, Direction::ToController, self.now, slowness, &mut self.random) {
                Some(at) => self.plan_at(at, Happening::ToController { link: id, octets: message.encode_to_vec() }),
                None => self.cut(id),
            }
        }
    }

    // Streams.

    fn ends(&self, id: u64) -> Option<(usize, usize)> {
        self.network.links.get(&id).map(|link| (link.pod, link.controller))
    }

    fn links_of(&self, which: impl Fn(&crate::network::Link) -> bool) -> BTreeSet<u64> {
        self.network.links.iter().filter(|(_, link)| which(link)).map(|(id, _)| *id).collect()
    }

    /// The ends of a stream over which something arrives now; `None` if it does not, since the stream broke meanwhile.
    fn arrived(&mut self, id: u64, way: Direction) -> Option<(usize, usize)> {
        let link = self.network.links.get_mut(&id)?;
        assert!(link.in_transit[way as usize] <= WINDOW, "nothing is sent beyond the window");
        link.in_transit[way as usize] -= 1;
        (!link.is_cut).then_some((link.pod, link.controller))
    }

    /// Nothing arrives over a stream any more. Its ends come to know at different times.
    fn cut(&mut self, id: u64) {
        if let Some(link) = self.network.links.get_mut(&id)
            && !link.is_cut
        {
            link.is_cut = true;
            self.plan(1..2000, Happening::BrokenAtPod { link: id });
            self.plan(1..2000, Happening::BrokenAtController { link: id });
        }
    }

    fn broken_at_pod(&mut self, id: u64) {
        let Some((pod, _)) = self.ends(id) else { return };
        self.network.ended(id);
        if self.pods[pod].link != Some(id) {
            return;
        }
        self.pods[pod].link = None;
        // To be told is a kindness and no need: what counts is the next stream.
        let is_told = self.random.happens(500);
        if let Some(subscriber) = self.pods[pod].subscriber.as_mut().filter(|_| is_told) {
            subscriber.disconnected();
        }
        let life = self.pods[pod].life;
        self.plan(10..1000, Happening::Dial { pod, life });
    }

    fn broken_at_controller(&mut self, id: u64) {
        let Some((_, controller)) = self.ends(id) else { return };
        if let Some(publisher) = &mut self.controllers[controller].publisher {
            publisher.close(SubscriberId(id));
        }
        self.network.ended(id);
    }
}
