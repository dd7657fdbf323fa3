//! The push over real sockets: a replica of the controller, pods, and others who dial.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "push/pod.rs"]
mod pod;
#[path = "push/replica.rs"]
mod replica;

use std::sync::Arc;
use std::time::Duration;

use headrace_controller::publish::Bounds;
use headrace_controller::publish::acknowledgements::Progress;
use headrace_controller::quic::{Share, Shares};
use headrace_push::{Fault, Subscriber};
use headrace_table::{SectionId, SectionKind, wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use pod::{Pod, connect, secure, subscribe, subscribe_on};
use replica::{ApiServer, PATIENCE, Replica, SERVER_NAME, UNHURRIED, backend, unknown_token};

const EVERYBODY: Progress = Progress::Everybody { pods: 1 };

#[tokio::test]
async fn what_is_compiled_is_pushed_and_acknowledged() {
    let replica = Replica::leader(UNHURRIED).await;
    let mut pod = Pod::new(&replica, &replica.api_server.pod("pod-a")).await;
    replica.acknowledged("a pod without a table", |told| told.progress("default", 0) != Progress::Nobody).await;

    replica.compiled(1, &["shop/a:80", "shop/b:80"]);
    let candidate = pod.candidate().await;
    let waiting = Progress::Waiting { acked: 0, pods: 1, longest: "pod-a".to_owned() };
    replica.acknowledged("sent is not served", |told| told.progress("default", 1) == waiting).await;
    pod.subscriber.accept(candidate.version, vec![Fault::of_table("slow today")]);
    pod.say().await;
    replica.acknowledged("served", |told| told.progress("default", 1) == EVERYBODY).await;
    replica.counted("sent_sections_total", 2).await;

    // One of two changes, and one travels.
    replica.compiled(2, &["shop/a:80", "shop/c:80", "shop/b:80"]);
    pod.serve().await;
    replica.acknowledged("served", |told| told.progress("default", 2) == EVERYBODY).await;
    replica.counted("sent_sections_total", 3).await;
    // The same table is served already.
    replica.compiled(3, &["shop/a:80", "shop/c:80", "shop/b:80"]);
    replica.acknowledged("served", |told| told.progress("default", 3) == EVERYBODY).await;
    replica.counted("acks_total", 2).await;
    replica.counted("subscribers{pod_set=\"default\"}", 1).await;

    let summary = serde_json::to_value(replica.publish.summary()).unwrap();
    let of_set = &summary["podSets"]["default"];
    assert_eq!((&of_set["pods"][0]["name"], &of_set["pods"][0]["serves"]["epoch"]), (&"pod-a".into(), &5.into()));
    assert_eq!(of_set["pods"][0]["serves"], of_set["current"]);
}

#[tokio::test]
async fn a_refused_entry_is_told_until_it_is_mended() {
    let replica = Replica::leader(UNHURRIED).await;
    replica.compiled(1, &["shop/good:80", "shop/bad:80"]);
    let mut pod = Pod::new(&replica, &replica.api_server.pod("pod-a")).await;
    pod.reject(Fault::of(SectionKind::Backend, "shop/bad:80", "no endpoint I could use")).await;
    let bad = SectionId::new(SectionKind::Backend, "shop/bad:80");
    replica.refused("by name", |told| told.sections.get(&bad).is_some_and(|refusal| refusal.generation == 1)).await;
    replica
        .acknowledged("by the pod", |told| {
            told.pods("default").any(|pod| pod.served.is_none() && pod.rejection.is_some())
        })
        .await;

    // The engine leaves it out, the rest is served, and the refusal stays.
    replica.compiled(2, &["shop/good:80"]);
    pod.serve().await;
    replica.acknowledged("the rest is served", |told| told.progress("default", 2) == EVERYBODY).await;
    assert!(replica.publish.refusals().borrow().sections.contains_key(&bad));
    // Somebody mends it, the engine tries again.
    replica.compiled_table(3, vec![backend("shop/bad:80", 2), backend("shop/good:80", 1)]);
    pod.serve().await;
    replica.refused("mended", |told| told.sections.is_empty()).await;
}

#[tokio::test]
async fn a_table_that_cannot_travel_names_its_entry() {
    let replica = Replica::leader(UNHURRIED).await;
    let huge = "x".repeat(2000);
    replica.compiled(1, &["shop/good:80", &huge]);
    let section = SectionId::new(SectionKind::Backend, huge.clone());
    replica.refused("its id is too long", |told| told.sections.get(&section).is_some_and(|by| by.pod.is_none())).await;
    replica.compiled(2, &["shop/good:80"]);
    let mut pod = Pod::new(&replica, &replica.api_server.pod("pod-a")).await;
    pod.serve().await;
    replica.acknowledged("the rest is served", |told| told.progress("default", 2) == EVERYBODY).await;
}

#[tokio::test]
async fn nothing_is_published_before_the_keys_and_only_keys_travel_when_they_change() {
    let replica = Replica::start(&ApiServer::default(), UNHURRIED).await;
    replica.shares.send_replace(Shares::Awaited);
    replica.lead(5).await;
    replica.compiled(1, &["shop/a:80", "shop/b:80"]);
    let mut pod = Pod::new(&replica, &replica.api_server.pod("pod-a")).await;
    let of = |epoch, revision| Shares::Of { epoch, pod_sets: [("default".to_owned(), Some(share(revision)))].into() };
    // Those of an earlier leadership may be out of date.
    replica.shares.send_replace(of(4, 1));
    replica.shares.send_replace(of(5, 2));
    let first = pod.candidate().await.sections;
    assert_eq!((first.keys_revision(), first.len()), (Some(2), 4));
    let version = pod.subscriber.undecided().unwrap().version;
    pod.subscriber.accept(version, Vec::new());
    pod.say().await;
    replica.acknowledged("served", |told| told.progress("default", 1) == EVERYBODY).await;
    replica.counted("sent_sections_total", 4).await;

    replica.shares.send_replace(of(5, 3));
    assert_eq!(pod.candidate().await.sections.keys_revision(), Some(3));
    replica.counted("sent_sections_total", 5).await;
    let version = pod.subscriber.undecided().unwrap().version;
    pod.subscriber.accept(version, Vec::new());
    pod.say().await;
    replica.acknowledged("served", |told| told.progress("default", 1) == EVERYBODY).await;
    // Routes change, and the keys stay where they are.
    replica.compiled(2, &["shop/a:80"]);
    assert_eq!(pod.candidate().await.sections.keys_revision(), Some(3));
    replica.counted("sent_sections_total", 6).await;
}

fn share(revision: u64) -> Arc<Share> {
    let secret = || wire::Secret { id: 1, octets: "00".repeat(32) };
    let keys = wire::Keys {
        id: wire::KEYS_ID.to_owned(),
        revision,
        configurations: Vec::new(),
        hop: vec![secret()],
        reset: secret(),
        tokens: vec![secret()],
        tickets: vec![secret()],
    };
    let peer = wire::Peer {
        id: "uid-of-pod-a".to_owned(),
        pod: "pod-a".to_owned(),
        server_id: "0102030405060708".to_owned(),
        allotment: 0,
        hop: None,
        standing: wire::Standing::Live,
    };
    Arc::new(Share { keys, peers: vec![peer] })
}

#[tokio::test]
async fn strangers_are_turned_away_and_counted() {
    let replica = Replica::leader(UNHURRIED).await;
    let api_server = &replica.api_server;
    let deleted = api_server.pod("deleted");
    api_server.delete(&deleted);
    let other_account = api_server.token("headrace-system:default", Some("pod-x"));
    let other_namespace = api_server.token("default:headrace-dataplane", Some("pod-x"));
    let no_pod = api_server.token("headrace-system:headrace-dataplane", None);
    let other_audience = unknown_token("https://kubernetes.default.svc", "whoever");
    let cases = [
        (None, Code::Unauthenticated, "no_token", 1),
        (Some(other_audience), Code::Unauthenticated, "other_audience", 1),
        (Some(deleted), Code::Unauthenticated, "invalid_token", 1),
        (Some(other_account), Code::PermissionDenied, "other_service_account", 1),
        (Some(other_namespace), Code::PermissionDenied, "other_service_account", 2),
        (Some(no_pod), Code::PermissionDenied, "not_bound_to_pod", 1),
    ];
    for (token, code, reason, count) in cases {
        let authorization = token.map(|token| format!("Bearer {token}"));
        let refused = subscribe(&replica, authorization.as_deref()).await;
        assert_eq!(refused.err().map(|status| status.code()), Some(code), "{reason}");
        replica.counted(&format!("streams_refused_total{{reason=\"{reason}\"}}"), count).await;
    }
    assert!(replica.publish.acknowledgements().borrow().pods("default").next().is_none());
}

#[tokio::test]
async fn a_stranger_has_one_try_on_a_connection() {
    let replica = Replica::leader(UNHURRIED).await;
    let channel = connect(&replica).await;
    let refused = subscribe_on(channel.clone(), Some("Bearer nothing")).await;
    assert_eq!(refused.err().map(|status| status.code()), Some(Code::Unauthenticated));
    // A better token comes too late, and is not even looked at.
    let token = format!("Bearer {}", replica.api_server.pod("pod-a"));
    assert_eq!(subscribe_on(channel, Some(&token)).await.err().map(|status| status.code()), Some(Code::Unavailable));
    replica.counted("token_reviews_total{outcome=\"pod\"}", 0).await;
    assert!(subscribe(&replica, Some(&token)).await.is_ok(), "another connection is another try");
}

#[tokio::test]
async fn who_dials_without_tls_or_by_another_name_gets_nowhere() {
    let replica = Replica::leader(UNHURRIED).await;
    drop(Pod::new(&replica, &replica.api_server.pod("pod-a")).await);

    let mut plain = TcpStream::connect(replica.address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "the connection is closed");
    assert!(!answer.windows(3).any(|octets| octets == b"\0\0\0"), "nothing of HTTP/2 is said");
    replica.counted("connections_total{result=\"plain_text\"}", 1).await;

    let bundle = replica.api_server.bundle().unwrap();
    assert!(secure(replica.address, &bundle, "another.headrace-system.svc").await.is_err());
    replica.counted("connections_total{result=\"failed\"}", 1).await;
}

#[tokio::test]
async fn every_replica_has_a_certificate_and_one_publishes() {
    let api_server = ApiServer::default();
    let leader = Replica::start(&api_server, UNHURRIED).await;
    leader.lead(5).await;
    let follower = Replica::start(&api_server, UNHURRIED).await;
    follower.compiled(1, &["shop/a:80"]);
    let token = format!("Bearer {}", api_server.pod("pod-a"));
    let refused = subscribe(&follower, Some(&token)).await.err().unwrap();
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "not the leader"));
    follower.counted("streams_refused_total{reason=\"not_leader\"}", 1).await;
    let stranger = subscribe(&follower, None).await.err().unwrap();
    assert_eq!(stranger.code(), Code::Unauthenticated, "who has no business here does not learn who leads");
    assert!(subscribe(&leader, Some(&token)).await.is_ok());
}

#[tokio::test]
async fn leadership_moves_and_the_table_does_not_travel_again() {
    let api_server = ApiServer::default();
    let first = Replica::start(&api_server, UNHURRIED).await;
    let second = Replica::start(&api_server, UNHURRIED).await;
    let token = api_server.pod("pod-a");
    first.lead(5).await;
    first.compiled(1, &["shop/a:80"]);
    let mut pod = Pod::new(&first, &token).await;
    pod.reject(Fault::of(SectionKind::Backend, "shop/a:80", "not now")).await;
    first.refused("refused", |told| told.sections.len() == 1).await;
    first.compiled(2, &["shop/b:80"]);
    pod.serve().await;
    first.acknowledged("served", |told| told.progress("default", 2) == EVERYBODY).await;

    first.follow();
    let end = pod.end().await;
    assert_eq!((end.code(), end.message()), (Code::Unavailable, "not the leader"));
    first.acknowledged("nobody is ours", |told| told.pod_sets.is_empty()).await;
    first.refused("nothing is refused", |told| told.sections.is_empty()).await;
    first.counted("streams_ended_total{reason=\"not_leader\"}", 1).await;

    second.compiled(1, &["shop/b:80"]);
    second.lead(6).await;
    let mut pod = Pod::with(pod.subscriber, &second, &token).await;
    pod.adopt().await;
    second.acknowledged("served", |told| told.progress("default", 1) == EVERYBODY).await;
    second.counted("sent_sections_total", 0).await;

    // One that leads with an epoch that was passed is told by the pods, and catches up without a stream ending.
    first.lead(5).await;
    let mut pod = Pod::with(pod.subscriber, &first, &token).await;
    pod.say().await;
    let mut challenges = first.publish.challenges();
    tokio::time::timeout(PATIENCE, challenges.wait_for(|epoch| *epoch == 6)).await.unwrap().unwrap();
    first.lead(7).await;
    pod.adopt().await;
    first.acknowledged("served", |told| told.progress("default", 2) == EVERYBODY).await;
}

#[tokio::test]
async fn a_pod_that_comes_again_replaces_its_old_stream() {
    let replica = Replica::leader(UNHURRIED).await;
    replica.compiled(1, &["shop/a:80"]);
    let token = replica.api_server.pod("pod-a");
    let mut first = Pod::new(&replica, &token).await;
    first.serve().await;
    replica.acknowledged("served", |told| told.progress("default", 1) == EVERYBODY).await;

    let mut second = Pod::with(Subscriber::new(first.subscriber.held().cloned()), &replica, &token).await;
    assert_eq!(first.end().await.code(), Code::Aborted);
    second.adopt().await;
    replica.counted("acks_total", 2).await;
    replica.acknowledged("it is one pod", |told| told.progress("default", 1) == EVERYBODY).await;
    drop(second);
    replica.acknowledged("and then none", |told| told.progress("default", 1) == Progress::Nobody).await;
}

#[tokio::test]
async fn pods_of_another_set_are_counted_apart() {
    let replica = Replica::leader(UNHURRIED).await;
    replica.compiled(1, &["shop/a:80"]);
    let token = replica.api_server.token("headrace-system:headrace-dataplane-edge", Some("pod-e"));
    let mut pod = Pod::new(&replica, &token).await;
    pod.serve().await;
    replica.acknowledged("its own set has one", |told| told.progress("edge", 1) == EVERYBODY).await;
    assert_eq!(replica.publish.acknowledgements().borrow().progress("default", 1), Progress::Nobody);
}

#[tokio::test]
async fn a_pod_that_does_not_answer_is_overdue_and_then_dropped() {
    let bounds = Bounds { overdue_after: Duration::ZERO, stalled_after: Duration::from_secs(2), ..UNHURRIED };
    let replica = Replica::leader(bounds).await;
    replica.compiled(1, &["shop/a:80"]);
    let mut pod = Pod::new(&replica, &replica.api_server.pod("pod-a")).await;
    pod.candidate().await;
    replica.acknowledged("overdue", |told| told.pods("default").any(|pod| pod.overdue)).await;
    assert_eq!(pod.end().await.code(), Code::DeadlineExceeded);
    replica.acknowledged("gone", |told| told.progress("default", 1) == Progress::Nobody).await;
    replica.counted("streams_ended_total{reason=\"stalled\"}", 1).await;
}

#[tokio::test]
async fn a_pod_that_does_not_read_is_cut_off_and_others_do_not_wait_for_it() {
    let bounds = Bounds { stalled_after: Duration::from_secs(3), ..UNHURRIED };
    let replica = Replica::leader(bounds).await;
    let large = |id: &str| backend(id, u16::MAX);
    let ids: Vec<String> = (0..16).map(|number| format!("shop/{number:02}:80")).collect();
    replica.compiled_table(1, ids.iter().map(|id| large(id)).collect());
    let mut stuck = Pod::new(&replica, &replica.api_server.pod("stuck")).await;
    stuck.say().await;
    let mut well = Pod::new(&replica, &replica.api_server.pod("well")).await;
    well.serve().await;
    replica.counted("acks_total", 1).await;
    replica.counted("streams_ended_total{reason=\"stalled\"}", 1).await;
    replica.acknowledged("the one that reads is left", |told| told.progress("default", 1) == EVERYBODY).await;
    // Some of the table waits in its own windows; after that there is nothing, since the connection is gone.
    stuck.end().await;
    assert!(stuck.subscriber.held().is_none());
}

#[tokio::test]
async fn a_deleted_pods_stream_ends() {
    let replica = Replica::leader(Bounds { reviewed_every: Duration::from_millis(50), ..UNHURRIED }).await;
    replica.compiled(1, &["shop/a:80"]);
    let token = replica.api_server.pod("pod-a");
    let mut pod = Pod::new(&replica, &token).await;
    pod.serve().await;
    // It lives through reviews while it is there.
    replica.counted("token_reviews_total{outcome=\"pod\"}", 3).await;
    replica.api_server.delete(&token);
    assert_eq!(pod.end().await.code(), Code::Unauthenticated);
    replica.counted("streams_ended_total{reason=\"revoked\"}", 1).await;
    replica.acknowledged("gone", |told| told.progress("default", 1) == Progress::Nobody).await;
}

#[tokio::test]
async fn who_breaks_the_rules_is_dropped() {
    let replica = Replica::leader(UNHURRIED).await;
    let token = format!("Bearer {}", replica.api_server.pod("pod-a"));
    let (outgoing, mut incoming) = subscribe(&replica, Some(&token)).await.unwrap();
    outgoing.send(Default::default()).await.unwrap();
    let end = tokio::time::timeout(PATIENCE, incoming.message()).await.unwrap();
    assert_eq!(end.unwrap_err().code(), Code::InvalidArgument);
    replica.counted("streams_ended_total{reason=\"violation\"}", 1).await;
}

#[tokio::test]
async fn streams_end_when_the_process_does() {
    let replica = Replica::leader(UNHURRIED).await;
    let mut pod = Pod::new(&replica, &replica.api_server.pod("pod-a")).await;
    replica.stop.cancel();
    assert_eq!(pod.end().await.code(), Code::Unavailable);
    let bundle = replica.api_server.bundle().unwrap();
    assert!(secure(replica.address, &bundle, SERVER_NAME).await.is_err(), "nobody listens any more");
}
