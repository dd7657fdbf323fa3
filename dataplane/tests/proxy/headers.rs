//! Which header fields cross, and which the data plane writes itself.

use headrace_table::wire::{Action, Forward, PathRewrite};
use http::{Method, StatusCode};

use crate::backend::Origin;
use crate::client::{Connection, Version, Wire, request};
use crate::stage::table::{backend, changes, forward, forward_with, rule, weighted};
use crate::stage::{HOST, PUBLIC_HTTP, PUBLIC_HTTPS, Stage};

#[tokio::test]
async fn forwarded_fields_are_what_was_seen_and_not_what_was_claimed() {
    let mut origin = Origin::http1("one").await;
    let stage = Stage::serving(vec![forward("/", "app")], vec![backend("app", &[origin.address])]).await;
    let claims = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-for", "203.0.113.10"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-port", "1"),
        ("forwarded", "for=203.0.113.9"),
    ];
    let forwarded = |proto| format!("for=127.0.0.1;host=\"{HOST}\";proto={proto}");
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        client.fetch(request(Method::GET, "/", &claims, b"")).await.unwrap();
        let seen = origin.seen().await;
        assert_eq!(seen.values("x-forwarded-for"), ["127.0.0.1"], "{version:?}");
        assert_eq!(seen.values("x-forwarded-proto"), ["https"], "{version:?}");
        assert_eq!(seen.values("x-forwarded-host"), [HOST], "{version:?}");
        assert_eq!(seen.values("x-forwarded-port"), [PUBLIC_HTTPS.to_string()], "{version:?}");
        assert_eq!(seen.values("forwarded"), [forwarded("https")], "{version:?}");
    }
    for version in [Version::Http1, Version::Http2] {
        let mut client = Connection::open_clear(&stage, version).await;
        client.fetch(request(Method::GET, "/", &claims, b"")).await.unwrap();
        let seen = origin.seen().await;
        assert_eq!(seen.values("x-forwarded-proto"), ["http"], "{version:?}");
        assert_eq!(seen.values("x-forwarded-port"), [PUBLIC_HTTP.to_string()], "{version:?}");
        assert_eq!(seen.values("forwarded"), [forwarded("http")], "{version:?}");
    }
}

#[tokio::test]
async fn what_concerns_one_hop_stays_on_it() {
    let mut origin = Origin::http1("one").await;
    let stage = Stage::serving(vec![forward("/", "app")], vec![backend("app", &[origin.address])]).await;
    let mut wire = Wire::tls(&stage).await;
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nConnection: keep-alive, X-Private, X-Forwarded-For, Forwarded\r\n\
         Connection: x-forwarded-proto, Host, Content-Length\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
         X-Private: secret\r\nX-Public: yes\r\nTE: trailers, deflate\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\
         Content-Length: 4\r\n\r\nbody"
    ))
    .await;
    assert_eq!(wire.response().await.status, 200);
    let seen = origin.seen().await;
    for gone in ["connection", "keep-alive", "proxy-connection", "x-private", "upgrade", "http2-settings"] {
        assert!(!seen.headers.contains_key(gone), "{gone}: {:?}", seen.headers);
    }
    assert_eq!(seen.values("te"), ["trailers"]);
    assert_eq!(seen.values("x-public"), ["yes"]);
    // A client has no say over these, whatever it names in Connection.
    assert_eq!(seen.values("host"), [HOST]);
    assert_eq!(seen.values("content-length"), ["4"]);
    assert_eq!(seen.body, b"body");
    assert_eq!(seen.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.values("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.values("forwarded").len(), 1);

    // The backend's hop.
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        let fields = [
            ("x-answer", "keep-alive=timeout=5"),
            ("x-answer", "connection=x-hop"),
            ("x-answer", "x-hop=1"),
            ("x-answer", "proxy-connection=close"),
            ("x-answer", "x-end-to-end=2"),
        ];
        let answer = client.fetch(request(Method::GET, "/", &fields, b"")).await.unwrap();
        for gone in ["keep-alive", "x-hop", "proxy-connection", "transfer-encoding", "connection"] {
            assert_eq!(answer.header(gone), None, "{version:?}: {:?}", answer.headers);
        }
        assert_eq!(answer.header("x-end-to-end"), Some("2"), "{version:?}");
    }
}

#[tokio::test]
async fn rules_change_headers_in_their_order() {
    let mut origin = Origin::http1("one").await;
    let mut changed = forward_with("/", "app", |forward| {
        forward.backends[0].request_headers = changes(&[("x-backend", "own")], &[("x-both", "backend")], &[]);
        forward.backends[0].response_headers = changes(&[], &[("x-answered-by", "backend")], &["x-unwanted"]);
    });
    changed.request_headers = changes(&[("x-set", "new")], &[("x-add", "second"), ("x-both", "rule")], &["x-remove"]);
    changed.response_headers = changes(&[("x-origin", "hidden")], &[("x-answered-by", "rule")], &[]);
    let mut refused = rule("/teapot", Action::Respond(418));
    refused.response_headers = changes(&[("x-why", "teapot")], &[], &[]);
    let stage = Stage::serving(vec![changed, refused], vec![backend("app", &[origin.address])]).await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        let fields =
            [("x-set", "old"), ("x-set", "older"), ("x-add", "first"), ("x-remove", "1"), ("x-answer", "x-unwanted=1")];
        let answer = client.fetch(request(Method::GET, "/", &fields, b"")).await.unwrap();
        let seen = origin.seen().await;
        assert_eq!(seen.values("x-set"), ["new"], "{version:?}");
        assert_eq!(seen.values("x-add"), ["first", "second"], "{version:?}");
        assert_eq!(seen.values("x-both"), ["rule", "backend"], "{version:?}");
        assert_eq!(seen.values("x-backend"), ["own"], "{version:?}");
        assert!(!seen.headers.contains_key("x-remove"), "{version:?}");
        assert_eq!(answer.header("x-origin"), Some("hidden"), "{version:?}");
        assert_eq!(answer.header("x-unwanted"), None, "{version:?}");
        let answered_by: Vec<_> = answer.headers.get_all("x-answered-by").iter().collect();
        assert_eq!(answered_by, ["backend", "rule"], "{version:?}");

        let answer = client.fetch(request(Method::GET, "/teapot", &[], b"")).await.unwrap();
        assert_eq!((answer.status, answer.header("x-why")), (StatusCode::IM_A_TEAPOT, Some("teapot")), "{version:?}");
    }
}

#[tokio::test]
async fn paths_and_hosts_are_rewritten() {
    let mut origin = Origin::http1("one").await;
    let rewrite = |prefix: &str, host: Option<&str>, path: Option<PathRewrite>| {
        let forward = Forward {
            backends: vec![weighted(Some("app"), 1)],
            rewrite_host: host.map(str::to_owned),
            rewrite_path: path,
            ..Forward::default()
        };
        rule(prefix, Action::Forward(forward))
    };
    let rules = vec![
        rewrite("/full", None, Some(PathRewrite::Full("/whole".to_owned()))),
        rewrite("/prefix", Some("inner.example"), Some(PathRewrite::Prefix("/new/".to_owned()))),
        rewrite("/root", None, Some(PathRewrite::Prefix("/".to_owned()))),
        rewrite("/host", Some("inner.example"), None),
    ];
    let stage = Stage::serving(rules, vec![backend("app", &[origin.address])]).await;
    let cases = [
        ("/full/a/b?q=%20&r", "/whole?q=%20&r", HOST),
        ("/prefix/a/b?q", "/new/a/b?q", "inner.example"),
        ("/prefix", "/new", "inner.example"),
        ("/root/", "/", HOST),
        ("/root//evil.example/x", "/evil.example/x", HOST),
        ("/host/a%2Fb/../c", "/host/a%2Fb/../c", "inner.example"),
    ];
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        for (path, target, host) in cases {
            client.fetch(request(Method::GET, path, &[], b"")).await.unwrap();
            let seen = origin.seen().await;
            assert_eq!((&*seen.target, seen.values("host")), (target, vec![host]), "{version:?} {path}");
            assert_eq!(seen.values("x-forwarded-host"), [HOST], "{version:?} {path}: what the client asked for");
        }
    }
}
