//! Which certificates of backends are taken (Gateway API, BackendTLSPolicy), and that nothing is sent where one is not.

use headrace_table::wire::{Backend, BackendTls, SubjectAltName, Trust};
use rustls::version::{TLS12, TLS13};

use super::{NAME, cause, connects};
use crate::backend::authority::{Authority, Shown, Valid, self_signed};
use crate::backend::{Origin, TlsFront};
use crate::client::{Connection, Tunnels, Version, get};
use crate::stage::table::{backend, forward};
use crate::stage::{Options, Stage};

struct Case {
    what: &'static str,
    shown: Shown,
    trust: Trust,
    names: Vec<SubjectAltName>,
    good: bool,
}

fn host(name: &str) -> SubjectAltName {
    SubjectAltName::Hostname(name.to_owned())
}

fn uri(name: &str) -> SubjectAltName {
    SubjectAltName::Uri(name.to_owned())
}

const SPIFFE: &str = "spiffe://cluster.test/ns/shop/sa/cart";

fn cases() -> Vec<Case> {
    let (ca, other) = (Authority::new("ca"), Authority::new("ca"));
    let case = |what, shown: Shown, names: Vec<SubjectAltName>, good| {
        let trust = Trust::Roots(ca.pem.clone());
        Case { what, shown, trust, names, good }
    };
    let trusting = |what, shown: Shown, roots: String, good| Case {
        what,
        shown,
        trust: Trust::Roots(roots),
        names: Vec::new(),
        good,
    };
    let public = Case { trust: Trust::System, ..case("no public authority", ca.issue(&[NAME]), vec![], false) };
    let own = |valid, is_ca| self_signed(&[NAME], valid, is_ca);
    let both = format!("{}{}", other.pem, ca.pem);
    let mut cases = vec![
        public,
        case("the right one", ca.issue(&[NAME]), vec![], true),
        case("the right one among others", ca.issue(&["x.test", NAME]), vec![], true),
        case("a wildcard certificate", ca.issue(&["*.b.test"]), vec![], true),
        case("an intermediate", ca.intermediate("below").issue(&[NAME]), vec![], true),
        trusting("one of two authorities", ca.issue(&[NAME]), both, true),
        case("another authority of the same name", other.issue(&[NAME]), vec![], false),
        case("another name", ca.issue(&["c.test"]), vec![], false),
        case("a name below", ca.issue(&["a.api.b.test"]), vec![], false),
        case("no name", ca.issue(&[]), vec![], false),
        case("the name as a URI", ca.issue(&["https://api.b.test"]), vec![], false),
        case("expired", ca.issue_valid(&[NAME], Valid::NoLonger), vec![], false),
        case("not yet valid", ca.issue_valid(&[NAME], Valid::NotYet), vec![], false),
        case("self-signed", own(Valid::Now, false), vec![], false),
        case("self-signed, as a CA's", own(Valid::Now, true), vec![], false),
    ];
    for is_ca in [false, true] {
        for (valid, good) in [(Valid::Now, true), (Valid::NoLonger, false), (Valid::NotYet, false)] {
            let shown = own(valid, is_ca);
            let roots = shown.pem.clone();
            cases.push(trusting("self-signed and given as a root", shown, roots, good));
        }
        let elsewhere = self_signed(&["c.test"], Valid::Now, is_ca);
        let roots = elsewhere.pem.clone();
        cases.push(trusting("self-signed and given as a root, another name", elsewhere, roots, false));
    }
    cases.extend([
        case("SAN: the one asked for", ca.issue(&["c.test"]), vec![host("c.test")], true),
        case("SAN: in other letters", ca.issue(&["C.test"]), vec![host("c.TEST")], true),
        case("SAN: by a wildcard certificate", ca.issue(&["*.c.test"]), vec![host("a.c.test")], true),
        case("SAN: the server name does not count", ca.issue(&[NAME]), vec![host("c.test")], false),
        case("SAN: unless it is asked for", ca.issue(&[NAME]), vec![host("c.test"), host(NAME)], true),
        case("SAN: one of several", ca.issue(&["d.test"]), vec![uri(SPIFFE), host("d.test")], true),
        case("SAN: of another authority", other.issue(&["c.test"]), vec![host("c.test")], false),
        case("SAN: expired", ca.issue_valid(&["c.test"], Valid::NoLonger), vec![host("c.test")], false),
        case("SAN wildcard: one label", ca.issue(&["a.c.test"]), vec![host("*.c.test")], true),
        case("SAN wildcard: the same", ca.issue(&["*.c.test"]), vec![host("*.c.test")], true),
        case("SAN wildcard: two labels", ca.issue(&["a.b.c.test"]), vec![host("*.c.test")], false),
        case("SAN wildcard: no label", ca.issue(&["c.test"]), vec![host("*.c.test")], false),
        case("SAN URI: the same", ca.issue(&[SPIFFE]), vec![uri(SPIFFE)], true),
        case("SAN URI: among others", ca.issue(&["c.test", "a://b", SPIFFE]), vec![uri(SPIFFE)], true),
        case("SAN URI: longer", ca.issue(&[&format!("{SPIFFE}2")]), vec![uri(SPIFFE)], false),
        case("SAN URI: in other letters", ca.issue(&[&SPIFFE.to_uppercase()]), vec![uri(SPIFFE)], false),
        case("SAN URI: as a host name", ca.issue(&["c.test"]), vec![uri("https://c.test")], false),
        case("SAN URI: of another authority", other.issue(&[SPIFFE]), vec![uri(SPIFFE)], false),
    ]);
    cases
}

#[tokio::test]
async fn certificates_are_taken_or_refused() {
    let mut origin = Origin::http1("one").await;
    let cases = cases();
    let (mut fronts, mut rules, mut backends) = (Vec::new(), Vec::new(), Vec::new());
    for (at, case) in cases.iter().enumerate() {
        // In turn, since the two versions hand a certificate on at different moments.
        let version = if at % 2 == 0 { &TLS13 } else { &TLS12 };
        let front = TlsFront::start(case.shown.server(&[version], &["http/1.1"]), origin.address).await;
        let id = format!("case-{at:02}");
        let names = case.names.clone();
        let tls = BackendTls { server_name: NAME.to_owned(), trust: case.trust.clone(), subject_alt_names: names };
        backends.push(Backend { tls: Some(tls), ..backend(&id, &[front.address]) });
        rules.push(forward(&format!("/{id}"), &id));
        fronts.push(front);
    }
    let stage = Stage::serving(rules, backends).await;
    for (at, (case, front)) in cases.iter().zip(&mut fronts).enumerate() {
        let what = case.what;
        let path = format!("/case-{at:02}");
        let version = Version::ALL[at % 3];
        let answer = Connection::open(&stage, version).await.fetch(get(&path)).await.unwrap();
        if case.good {
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
            assert_eq!(origin.seen().await.target, path, "{what}");
            assert_eq!(front.handshake().await.server_name.as_deref(), Some(NAME), "{what}");
            continue;
        }
        assert_eq!(answer.status, 502, "{what}");
        assert_eq!(cause(&stage, &path).await, "backend_certificate", "{what}");
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let refused = tunnels.handshake(&path, &[("sec-websocket-version", "13")]).await.refused();
        assert_eq!(refused.status(), 502, "{what}");
        assert!(origin.saw_nothing_more(), "{what}: nothing was sent");
        assert_eq!(front.more_handshakes(), 0, "{what}");
    }
    let refused = cases.iter().filter(|case| !case.good).count() as f64;
    assert_eq!(stage.metric(&connects("certificate")).await, refused * 2.0);
    assert_eq!(stage.metric(&connects("ok")).await, cases.len() as f64 - refused);
    let tunnels = r#"headrace_dataplane_tunnel_refused_total{reason="backend_certificate"}"#;
    assert_eq!(stage.metric(tunnels).await, refused);
}

#[tokio::test]
async fn an_endpoint_that_is_somebody_else_is_passed_over() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let mut origin = Origin::http1("one").await;
    let good = super::front(&ca, &["http/1.1"], origin.address).await;
    let wrong = super::front(&other, &["http/1.1"], origin.address).await;
    let backends = vec![super::secured(backend("app", &[good.address, wrong.address]), &ca.pem)];
    let stage = Stage::serving(vec![forward("/", "app")], backends).await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        for _ in 0..10 {
            let post = crate::client::request(http::Method::POST, "/", &[], b"content");
            assert_eq!(client.fetch(post).await.unwrap().status, 200, "{version:?}");
            assert_eq!(origin.seen().await.body, b"content", "{version:?}");
        }
    }
    assert!(stage.metric("headrace_dataplane_retries_total").await >= 1.0);
    assert!(stage.metric(&connects("certificate")).await >= 1.0);
}

#[tokio::test]
async fn roots_that_cannot_be_used_are_told_and_the_rest_serves() {
    let ca = Authority::new("ca");
    let mut origin = Origin::http1("one").await;
    let front = super::front(&ca, &["http/1.1"], origin.address).await;
    let stage = Stage::start(Options::default());
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let backends = vec![
        super::secured(backend("good", &[front.address]), &ca.pem),
        super::secured(backend("broken", &[origin.address]), broken),
    ];
    let rules = vec![forward("/good", "good"), forward("/broken", "broken")];
    let published = stage.publish(stage.table(rules, backends)).await;
    let [failure] = &published.backends[..] else { panic!("{published:?}") };
    assert_eq!(failure.id, "broken");
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        assert_eq!(client.fetch(get("/broken")).await.unwrap().status, 502, "{version:?}");
        assert_eq!(cause(&stage, "/broken").await, "backend_tls", "{version:?}");
        assert!(origin.saw_nothing_more(), "{version:?}: never in clear text");
        assert_eq!(client.fetch(get("/good")).await.unwrap().status, 200, "{version:?}");
        origin.seen().await;
    }
}
