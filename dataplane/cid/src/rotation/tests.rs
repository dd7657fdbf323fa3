//! Steps of a rotation one by one, and rotations of many pods that are slow, restart, leave and come.

use proptest::prelude::*;

use super::*;

fn ids(numbers: &[u8]) -> ConfigSet {
    numbers.iter().map(|number| ConfigId::try_from(*number).unwrap()).collect()
}

fn pod(holds: u64, uses: &[u8]) -> Report {
    Report { holds, uses: ids(uses) }
}

fn phases(rotation: &Rotation) -> Vec<(u8, Phase)> {
    rotation.standings().map(|(id, standing)| (id.number(), standing.phase)).collect()
}

#[test]
fn one_replaces_another() {
    use Phase::{Draining, Encoding, Published, Withdrawn};
    let mut rotation = Rotation::new();
    let first = rotation.publish().unwrap();
    assert_eq!((first.number(), rotation.revision()), (0, 1));
    assert_eq!(rotation.publish(), Err(NotNow::Underway(first)));

    assert!(!rotation.advance(&[pod(1, &[]), pod(0, &[])]), "one pod has not got it");
    assert_eq!(rotation.encoding(), None);
    assert!(rotation.advance(&[pod(1, &[]), pod(1, &[])]));
    assert_eq!((phases(&rotation), rotation.revision()), (vec![(0, Encoding)], 2));

    rotation.publish().unwrap();
    assert_eq!((phases(&rotation), rotation.revision()), (vec![(0, Encoding), (1, Published)], 3));
    assert!(rotation.advance(&[pod(3, &[0]), pod(3, &[])]));
    assert_eq!((phases(&rotation), rotation.revision()), (vec![(0, Draining), (1, Encoding)], 4));

    // Nothing is used, but one may still encode with it: what it says of its use is too early.
    assert!(!rotation.advance(&[pod(4, &[1]), pod(3, &[])]));
    assert!(!rotation.advance(&[pod(4, &[0, 1]), pod(4, &[1])]));
    assert!(rotation.advance(&[pod(4, &[1]), pod(4, &[1])]));
    assert_eq!((phases(&rotation), rotation.revision()), (vec![(0, Withdrawn), (1, Encoding)], 5));

    assert!(!rotation.advance(&[pod(5, &[1]), pod(4, &[1])]));
    assert_eq!(rotation.phase(first), Some(Withdrawn));
    assert!(!rotation.advance(&[pod(5, &[1]), pod(5, &[1])]), "tables do not change when a number becomes free");
    assert_eq!((phases(&rotation), rotation.revision()), (vec![(1, Encoding)], 5));
    assert_eq!(rotation.publish().map(ConfigId::number), Ok(2), "the number that was used last waits longest");
}

#[test]
fn when_all_numbers_are_taken() {
    let mut rotation = Rotation::new();
    for number in 0..7 {
        let id = rotation.publish().unwrap();
        assert_eq!(id.number(), number);
        // A connection for each of them, which does not end.
        let uses: Vec<u8> = (0..=number).collect();
        rotation.advance(&[pod(rotation.revision(), &uses)]);
        assert_eq!(rotation.encoding(), Some(id));
    }
    let first = ConfigId::FIRST;
    assert_eq!(rotation.publish(), Err(NotNow::NoneFree(first)));
    assert!(!rotation.abandon(ConfigId::try_from(6).unwrap()), "it encodes");
    assert!(rotation.abandon(first));
    assert!(!rotation.abandon(first), "once is enough");
    assert!(matches!(rotation.publish(), Err(NotNow::NoneFree(_))), "a pod still holds the table with it");
    rotation.advance(&[pod(rotation.revision(), &[0, 1, 2, 3, 4, 5, 6])]);
    assert_eq!(rotation.publish(), Ok(first));
}

#[test]
fn a_rotation_is_kept_and_found_again() {
    let mut rotation = Rotation::new();
    for _ in 0..3 {
        rotation.publish().unwrap();
        rotation.advance(&[pod(rotation.revision(), &[0])]);
    }
    let found = Rotation::restore(rotation.revision(), rotation.standings()).unwrap();
    assert_eq!((phases(&found), found.revision()), (phases(&rotation), rotation.revision()));

    let id = |number| ConfigId::try_from(number).unwrap();
    let standing = |phase, since| Standing { phase, since };
    let cases = [
        (Phase::Published, Phase::Published, NotARotation::TwoPublished),
        (Phase::Encoding, Phase::Encoding, NotARotation::TwoEncoding),
    ];
    for (one, other, expected) in cases {
        let kept = [(id(0), standing(one, 1)), (id(1), standing(other, 2))];
        assert_eq!(Rotation::restore(2, kept), Err(expected));
    }
    assert_eq!(Rotation::restore(2, [(id(4), standing(Phase::Draining, 3))]), Err(NotARotation::Ahead(id(4))));
}

/// A configuration as tables have it: the phase, and a key that tells uses of one number apart.
type TableEntry = (ConfigId, Phase, u32);

/// A pod as a simulation knows it: the table that it serves by, and the connections' IDs by number and key.
#[derive(Clone, Debug, Default)]
struct Pod {
    holds: u64,
    table: Vec<TableEntry>,
    connections: Vec<(ConfigId, u32)>,
}

#[derive(Clone, Debug)]
enum Step {
    Publish,
    Advance,
    /// A pod takes the newest table.
    Deliver(usize),
    /// A pod gets a connection.
    Connect(usize),
    /// A pod's oldest connection ends.
    Disconnect(usize),
    /// A pod comes, with the newest table.
    Join,
    /// A pod leaves with its connections.
    Leave(usize),
    /// The controller starts again from what it kept.
    Restore,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Publish),
        4 => Just(Step::Advance),
        6 => any::<usize>().prop_map(Step::Deliver),
        4 => any::<usize>().prop_map(Step::Connect),
        3 => any::<usize>().prop_map(Step::Disconnect),
        1 => Just(Step::Join),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => Just(Step::Restore),
    ]
}

/// The controller, the keys that it gave, and the pods.
#[derive(Default)]
struct Simulation {
    rotation: Rotation,
    keys: BTreeMap<ConfigId, u32>,
    next_key: u32,
    pods: Vec<Pod>,
}

impl Simulation {
    fn table(&self) -> Vec<TableEntry> {
        let standings = self.rotation.standings().filter(|(_, standing)| standing.phase.is_in_tables());
        standings.map(|(id, standing)| (id, standing.phase, self.keys[&id])).collect()
    }

    fn reports(&self) -> Vec<Report> {
        let report = |pod: &Pod| Report { holds: pod.holds, uses: pod.connections.iter().map(|(id, _)| *id).collect() };
        self.pods.iter().map(report).collect()
    }

    fn take(&mut self, step: Step) {
        let count = self.pods.len();
        match step {
            Step::Publish => {
                if let Ok(id) = self.rotation.publish() {
                    self.next_key += 1;
                    self.keys.insert(id, self.next_key);
                }
            }
            Step::Advance => {
                let reports = self.reports();
                self.rotation.advance(&reports);
            }
            Step::Join if count < 5 => {
                let (holds, table) = (self.rotation.revision(), self.table());
                self.pods.push(Pod { holds, table, connections: Vec::new() });
            }
            Step::Restore => {
                self.rotation = Rotation::restore(self.rotation.revision(), self.rotation.standings()).unwrap();
            }
            Step::Deliver(pod) if count > 0 => {
                let (holds, table) = (self.rotation.revision(), self.table());
                let pod = &mut self.pods[pod % count];
                (pod.holds, pod.table) = (holds, table);
            }
            Step::Connect(pod) if count > 0 => {
                let pod = &mut self.pods[pod % count];
                let encoding = pod.table.iter().find(|(_, phase, _)| *phase == Phase::Encoding);
                pod.connections.extend(encoding.map(|(id, _, key)| (*id, *key)));
            }
            Step::Disconnect(pod) if count > 0 => {
                let pod = &mut self.pods[pod % count];
                pod.connections.drain(..pod.connections.len().min(1));
            }
            Step::Leave(pod) if count > 1 => drop(self.pods.remove(pod % count)),
            _ => {}
        }
    }

    /// Every pod understands every connection's ID, and none mistakes a key for another.
    fn check(&self) -> Result<(), TestCaseError> {
        for (id, key) in self.pods.iter().flat_map(|pod| &pod.connections) {
            for pod in &self.pods {
                let understood = pod.table.iter().any(|(other, _, other_key)| (other, other_key) == (id, key));
                prop_assert!(understood, "{id} with key {key} is lost on {pod:?}");
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_connection_is_lost(steps in prop::collection::vec(steps(), 1..300)) {
        let mut simulation = Simulation::default();
        simulation.take(Step::Join);
        simulation.take(Step::Join);
        for step in steps {
            simulation.take(step);
            simulation.check()?;
        }
        // It is never stuck: when everybody gets everything and connections end, the next one can be published.
        for pod in 0..simulation.pods.len() {
            simulation.pods[pod].connections.clear();
        }
        for _ in 0..4 {
            (0..simulation.pods.len()).for_each(|pod| simulation.take(Step::Deliver(pod)));
            simulation.take(Step::Advance);
        }
        prop_assert!(simulation.rotation.publish().is_ok());
        prop_assert!(simulation.rotation.standings().count() <= 2);
    }
}
