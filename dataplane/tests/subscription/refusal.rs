//! Why nobody publishes to a pod: told in `/readyz`, counted, and over as soon as the cause is.

use std::net::Ipv4Addr;

use headrace_table::wire;

use crate::authority::Authority;
use crate::controller::{Controller, NAME, Role, TOKEN};
use crate::http::Backend;
use crate::pod::{Pod, Volumes, answers};
use crate::port::free_port;
use crate::table::forwarding;

#[tokio::test]
async fn a_pod_that_nobody_publishes_to_says_why_and_recovers() {
    struct Case {
        what: &'static str,
        spoil: fn(&Volumes),
        told: &'static [&'static str],
        counted: &'static str,
    }
    let cases = [
        Case {
            what: "another CA",
            spoil: |volumes| std::fs::write(volumes.ca_file(), Authority::new().pem()).unwrap(),
            told: &["127.0.0.1:", "TLS: invalid peer certificate"],
            counted: "tls",
        },
        Case {
            what: "no CA",
            spoil: |volumes| std::fs::remove_file(volumes.ca_file()).unwrap(),
            told: &["the CA's certificates cannot be read from ", "ca.crt: No such file"],
            counted: "ca",
        },
        Case {
            what: "a CA without certificates",
            spoil: |volumes| std::fs::write(volumes.ca_file(), "# none yet\n").unwrap(),
            told: &["ca.crt holds no certificate of a CA"],
            counted: "ca",
        },
        Case {
            what: "no token",
            spoil: |volumes| std::fs::remove_file(volumes.token_file()).unwrap(),
            told: &["the token cannot be read from ", "token: No such file"],
            counted: "token",
        },
        Case {
            what: "an empty token",
            spoil: |volumes| std::fs::write(volumes.token_file(), "\n").unwrap(),
            told: &["token holds no token"],
            counted: "token",
        },
        Case {
            what: "a token with a line feed in it",
            spoil: |volumes| std::fs::write(volumes.token_file(), "a\nb").unwrap(),
            told: &["token holds is no token"],
            counted: "token",
        },
        Case {
            what: "another's token",
            spoil: |volumes| std::fs::write(volumes.token_file(), "token-of-another").unwrap(),
            told: &["127.0.0.1:", "Unauthenticated: the token is not known"],
            counted: "unauthenticated",
        },
    ];
    let ca = Authority::new();
    let controller = Controller::leading(free_port(), &ca, 1).await;
    controller.publish(&wire::Table::default());
    for Case { what, spoil, told, counted } in cases {
        eprintln!("{what}");
        let volumes = Volumes::new(&ca);
        spoil(&volumes);
        let pod = Pod::start(&volumes, &[controller.port]);
        pod.not_ready_for(told).await;
        assert!(pod.metric(&format!("subscription_dials_total{{result=\"{counted}\"}}")).await > 0.0, "{what}");
        assert_eq!(pod.admin("/healthz").await.0, 200, "{what}: it lives");

        // Files are read for each dial: what is mended needs no restart.
        std::fs::write(volumes.ca_file(), ca.pem()).unwrap();
        std::fs::write(volumes.token_file(), format!("{TOKEN}\n")).unwrap();
        pod.ready().await;
        pod.end().await;
    }
}

#[tokio::test]
async fn controllers_that_are_none_are_told_apart() {
    let ca = Authority::new();
    let volumes = Volumes::new(&ca);
    let refused = free_port();
    let follower = Controller::start(free_port(), ca.server(NAME), 1, Role::Follower).await;
    let misnamed = Controller::start(free_port(), ca.server("controller.example.com"), 1, Role::Leader).await;
    let clear_text = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).await.unwrap();
    let clear_text_port = clear_text.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = clear_text.accept().await {
            let _hung_up = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let pod = Pod::start(&volumes, &[refused, follower.port, misnamed.port, clear_text_port]);
    pod.not_ready_for(&[
        &format!("127.0.0.1:{refused}: cannot connect: Connection refused"),
        &format!("127.0.0.1:{}: Unavailable: not the leader", follower.port),
        &format!("127.0.0.1:{}: TLS: ", misnamed.port),
        "not valid for name",
        &format!("127.0.0.1:{clear_text_port}: TLS: received corrupt message"),
    ])
    .await;
    for result in ["connect", "follower", "tls"] {
        assert!(pod.metric(&format!("subscription_dials_total{{result=\"{result}\"}}")).await > 0.0, "{result}");
    }
    assert_eq!(pod.metric("subscription_connected").await, 0.0);
    pod.end().await;
}

#[tokio::test]
async fn a_pod_follows_the_leader() {
    let ca = Authority::new();
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let port = free_port();
    let first = Controller::leading(free_port(), &ca, 1).await;
    let second = Controller::start(free_port(), ca.server(NAME), 2, Role::Follower).await;
    let volumes = Volumes::new(&ca);
    let pod = Pod::start(&volumes, &[first.port, second.port]);
    first.acknowledged(first.publish(&forwarding(port, one.address))).await;
    answers(port, "one").await;

    first.play(Role::Follower);
    pod.metric_becomes("subscription_connected", 0.0).await;
    answers(port, "one").await;
    second.play(Role::Leader);
    second.acknowledged(second.publish(&forwarding(port, two.address))).await;
    answers(port, "two").await;
    assert_eq!(pod.metric("table_epoch").await, 2.0);
    pod.end().await;
}

/// As a name resolves to both IP versions of one pod: a controller takes the later of two streams for the pod's own.
#[tokio::test]
async fn one_controller_at_two_addresses_is_subscribed_to_once() {
    let ca = Authority::new();
    let controller = Controller::leading(free_port(), &ca, 1).await;
    let volumes = Volumes::new(&ca);
    let pod = Pod::start(&volumes, &[controller.port, controller.port]);
    controller.acknowledged(controller.publish(&wire::Table::default())).await;
    pod.ready().await;
    assert_eq!(controller.hellos(), [None]);
    assert_eq!(pod.metric("subscription_dials_total{result=\"ok\"}").await, 1.0);
    pod.end().await;
}
