//! What counts as everybody.

use headrace_push::Digest;
use headrace_table::SectionKind;

use super::*;

fn pod(name: &str, served: Option<u64>, waiting_since: Option<i64>) -> (PodUid, Pod) {
    let second = |seconds| Timestamp::from_second(seconds).expect("a small number");
    let version = |generation| Version { epoch: 1, generation, digest: Digest::of(b"a table") };
    let pod = Pod {
        name: name.to_owned(),
        since: second(100),
        served: served.map(|generation| Served { generation, version: version(generation), lag: Duration::ZERO }),
        waiting_since: waiting_since.map(second),
        overdue: false,
        faults: Vec::new(),
        rejection: None,
    };
    (format!("uid-of-{name}"), pod)
}

#[test]
fn progress_is_the_slowest_pods() {
    let waiting = |acked, pods, longest: &str| Progress::Waiting { acked, pods, longest: longest.to_owned() };
    let cases = [
        ("no pod", vec![], Progress::Nobody),
        (
            "all of them exactly",
            vec![pod("a", Some(7), None), pod("b", Some(7), None)],
            Progress::Everybody { pods: 2 },
        ),
        ("newer is as good", vec![pod("a", Some(9), Some(50))], Progress::Everybody { pods: 1 }),
        ("older is not", vec![pod("a", Some(6), Some(120)), pod("b", Some(7), None)], waiting(1, 2, "a")),
        ("nothing said yet", vec![pod("a", None, None)], waiting(0, 1, "a")),
        (
            "the one that waits longest is named",
            vec![pod("a", Some(6), Some(120)), pod("b", None, Some(110)), pod("c", Some(7), Some(1))],
            waiting(1, 3, "b"),
        ),
    ];
    for (why, pods, expected) in cases {
        let acknowledgements =
            Acknowledgements { pod_sets: BTreeMap::from([("default".to_owned(), pods.into_iter().collect())]) };
        assert_eq!(acknowledgements.progress("default", 7), expected, "{why}");
        assert_eq!(acknowledgements.progress("other", 7), Progress::Nobody, "{why}, of another set");
    }
}

#[test]
fn faults_are_found_by_entry() {
    let listener = SectionId::new(SectionKind::Listener, "shop/web/https");
    let (uid, mut faulty) = pod("a", Some(7), None);
    faulty.faults = vec![Fault::of(listener.kind, listener.id.clone(), "the port is taken")];
    let pods = BTreeMap::from([(uid, faulty), pod("b", Some(7), None)]);
    let acknowledgements = Acknowledgements { pod_sets: BTreeMap::from([("default".to_owned(), pods)]) };

    let found: Vec<_> = acknowledgements.faults_of("default", &listener).collect();
    assert_eq!(found, [("a", "the port is taken")]);
    let route = SectionId::new(SectionKind::Route, "shop/web/https");
    assert_eq!(acknowledgements.faults_of("default", &route).count(), 0);
}
