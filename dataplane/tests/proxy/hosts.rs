//! Which host a request is for, on which listener, and what HTTP/1.1 and HTTP/2 look like in clear text.

use headrace_table::wire::{Action, PathRewrite, Redirect, Table};
use http::{Method, Request, StatusCode};

use crate::backend::Origin;
use crate::client::{Connection, Version, Wire, get, request};
use crate::stage::certificates::Credential;
use crate::stage::table::{backend, forward, https, route, rule};
use crate::stage::{HOST, Options, PUBLIC_HTTP, PUBLIC_HTTPS, Stage};

#[tokio::test]
async fn the_target_comes_before_host_and_host_comes_once() {
    let mut origin = Origin::http1("one").await;
    let stage = Stage::serving(vec![forward("/", "app")], vec![backend("app", &[origin.address])]).await;
    // A request head, the status, and the Host that the backend gets.
    let cases = [
        ("GET http://b.example.com/x HTTP/1.1\r\nHost: evil.example\r\n", 200, Some("b.example.com")),
        ("GET /x HTTP/1.1\r\nHost: b.example.com:8443\r\n", 200, Some("b.example.com:8443")),
        ("GET /x HTTP/1.1\r\nHost: a.example.com\r\nHost: b.example.com\r\n", 400, None),
        ("GET /x HTTP/1.1\r\nHost: a.example.com\r\nHost: a.example.com\r\n", 400, None),
        ("GET /x HTTP/1.1\r\nAccept: */*\r\n", 400, None),
        ("GET /x HTTP/1.1\r\nHost: a b\r\n", 400, None),
        ("GET /x HTTP/1.1\r\nHost: a@b\r\n", 400, None),
        ("GET /x HTTP/1.1\r\nHost: a:99999\r\n", 400, None),
        ("GET /x HTTP/1.0\r\nHost: b.example.com\r\n", 200, Some("b.example.com")),
    ];
    for (head, status, host) in cases {
        for clear in [true, false] {
            let mut wire = if clear { Wire::clear(&stage).await } else { Wire::tls(&stage).await };
            wire.send(format!("{head}\r\n")).await;
            let answer = wire.response().await;
            assert_eq!(answer.status, status, "{head:?}: {}", String::from_utf8_lossy(&answer.body));
            match host {
                Some(host) => {
                    let seen = origin.seen().await;
                    assert_eq!((seen.values("host"), &*seen.target), (vec![host], "/x"), "{head:?}");
                }
                None => assert!(origin.saw_nothing_more(), "{head:?}"),
            }
        }
    }
}

#[tokio::test]
async fn http_1_0_without_a_host_is_served_and_closed() {
    let mut origin = Origin::http1("one").await;
    let stage = Stage::serving(vec![forward("/", "app")], vec![backend("app", &[origin.address])]).await;
    let mut wire = Wire::clear(&stage).await;
    wire.send("GET /x HTTP/1.0\r\n\r\n").await;
    let answer = wire.response().await;
    assert_eq!((answer.status, &*answer.body), (200, &b"ok"[..]), "{}", answer.head);
    assert_eq!(wire.rest().await.unwrap(), b"", "RFC 9112 section 9.3: not kept open unless asked for");
    assert_eq!(origin.seen().await.target, "/x");

    // A backend's chunked answer ends with the connection instead (RFC 9112 section 6.1).
    let mut wire = Wire::clear(&stage).await;
    wire.send("GET /trailers HTTP/1.0\r\n\r\n").await;
    let head = wire.head().await.to_ascii_lowercase();
    assert!(head.contains(" 200 ok\r\n") && !head.contains("transfer-encoding"), "{head}");
    assert_eq!(wire.rest().await.unwrap(), b"content");
}

#[tokio::test]
async fn a_host_field_never_overrules_the_authority() {
    let mut origin = Origin::http1("one").await;
    let stage = Stage::serving(vec![forward("/", "app")], vec![backend("app", &[origin.address])]).await;
    for version in [Version::Http2, Version::Http3] {
        let mut client = Connection::open(&stage, version).await;
        // RFC 9113 section 8.3.1: one that differs may be refused. It must never reach the backend.
        let asked = request(Method::GET, "/x", &[("host", "evil.example")], b"");
        if let Ok(answer) = client.fetch(asked).await
            && answer.status == StatusCode::OK
        {
            assert_eq!(origin.seen().await.values("host"), [HOST], "{version:?}");
        }
    }
}

/// Two listeners on one port, each with a host, a certificate and a route of its own.
async fn two_hosts(stage: &Stage, one: &Origin, two: &Origin) {
    let first = Credential::new("test/first", &["first.example.com"]);
    let second = Credential::new("test/second", &["*.second.example.com"]);
    let mut listeners =
        vec![https("test/one/https", stage.https, "test/first"), https("test/two/https", stage.https, "test/second")];
    listeners[0].hostname = Some("first.example.com".to_owned());
    listeners[1].hostname = Some("*.second.example.com".to_owned());
    let published = stage
        .publish(Table {
            listeners,
            routes: vec![
                route("HTTPRoute/test/one", &["test/one/https"], vec![forward("/", "one")]),
                route("HTTPRoute/test/two", &["test/two/https"], vec![forward("/", "two")]),
            ],
            backends: vec![backend("one", &[one.address]), backend("two", &[two.address])],
            certificates: vec![first.wire(), second.wire()],
            ..Table::default()
        })
        .await;
    assert!(published.unbound.is_empty(), "{published:?}");
}

fn for_host(host: &str) -> Request<Vec<u8>> {
    Request::builder().uri(format!("https://{host}/")).body(Vec::new()).unwrap()
}

#[tokio::test]
async fn listeners_of_one_port_are_told_apart_by_name() {
    let (one, two) = (Origin::http1("one").await, Origin::http1("two").await);
    let stage = Stage::start(Options::default());
    two_hosts(&stage, &one, &two).await;
    // Server name, host, and who answers.
    let cases = [
        ("first.example.com", "first.example.com", Ok("one")),
        ("first.example.com", "FIRST.example.com:9443", Ok("one")),
        ("a.second.example.com", "a.second.example.com", Ok("two")),
        // Another host of the same listener.
        ("a.second.example.com", "b.second.example.com", Ok("two")),
        // RFC 9110 section 15.5.20: what the other listener asks of its clients was never asked.
        ("first.example.com", "a.second.example.com", Err(StatusCode::MISDIRECTED_REQUEST)),
        ("a.second.example.com", "first.example.com", Err(StatusCode::MISDIRECTED_REQUEST)),
        ("first.example.com", "nobody.example.com", Err(StatusCode::NOT_FOUND)),
    ];
    for version in Version::ALL {
        for (server_name, host, expected) in cases {
            let mut client = Connection::open_as(&stage, version, server_name).await;
            let answer = client.fetch(for_host(host)).await.unwrap();
            let got = match answer.status {
                StatusCode::OK => Ok(answer.header("x-origin").unwrap()),
                status => Err(status),
            };
            assert_eq!(got, expected, "{version:?} {server_name} {host}");
        }
    }
}

#[tokio::test]
async fn a_name_without_a_certificate_gets_no_handshake() {
    let (one, two) = (Origin::http1("one").await, Origin::http1("two").await);
    let stage = Stage::start(Options::default());
    two_hosts(&stage, &one, &two).await;
    assert!(crate::client::tls(&stage, "nobody.example.com", "h2").await.is_err());
    assert!(crate::client::quic::Client::try_connect(&stage, "nobody.example.com").await.is_err());
    for transport in ["tcp", "quic"] {
        let series =
            format!(r#"headrace_dataplane_handshakes_total{{result="no_certificate",transport="{transport}"}}"#);
        assert_eq!(stage.metric(&series).await, 1.0, "{transport}");
    }
}

#[tokio::test]
async fn redirects_keep_what_they_do_not_name() {
    let redirect = |prefix: &str, change: &dyn Fn(&mut Redirect)| {
        let mut redirect = Redirect { status: 302, ..Redirect::default() };
        change(&mut redirect);
        rule(prefix, Action::Redirect(redirect))
    };
    let rules = vec![
        redirect("/same", &|_| {}),
        redirect("/http", &|redirect| redirect.scheme = Some("http".to_owned())),
        redirect("/https", &|redirect| redirect.scheme = Some("https".to_owned())),
        redirect("/host", &|redirect| redirect.host = Some("other.example".to_owned())),
        redirect("/port", &|redirect| redirect.port = Some(444)),
        redirect("/own", &|redirect| {
            redirect.scheme = Some("https".to_owned());
            redirect.port = Some(443);
        }),
        redirect("/path", &|redirect| redirect.path = Some(PathRewrite::Prefix("/new".to_owned()))),
        redirect("/all", &|redirect| {
            *redirect = Redirect {
                scheme: Some("https".to_owned()),
                host: Some("other.example".to_owned()),
                path: Some(PathRewrite::Full("/x".to_owned())),
                port: Some(8443),
                status: 308,
            }
        }),
    ];
    let stage = Stage::serving(rules, Vec::new()).await;
    let cases = [
        ("/same/a?q=1", 302, format!("https://{HOST}:{PUBLIC_HTTPS}/same/a?q=1")),
        ("/http/a", 302, format!("http://{HOST}/http/a")),
        ("/https/a", 302, format!("https://{HOST}/https/a")),
        ("/host/a", 302, format!("https://other.example:{PUBLIC_HTTPS}/host/a")),
        ("/port/a", 302, format!("https://{HOST}:444/port/a")),
        ("/own/a", 302, format!("https://{HOST}/own/a")),
        ("/path/a?q", 302, format!("https://{HOST}:{PUBLIC_HTTPS}/new/a?q")),
        ("/all/a?q", 308, "https://other.example:8443/x?q".to_owned()),
    ];
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        for (path, status, location) in &cases {
            let answer = client.fetch(get(path)).await.unwrap();
            assert_eq!(answer.status.as_u16(), *status, "{version:?} {path}");
            assert_eq!(answer.header("location"), Some(&**location), "{version:?} {path}");
        }
    }
    let answer = Connection::open_clear(&stage, Version::Http1).await.fetch(get("/same")).await.unwrap();
    assert_eq!(answer.header("location"), Some(&*format!("http://{HOST}:{PUBLIC_HTTP}/same")));
}

#[tokio::test]
async fn clear_text_serves_http_1_and_prior_knowledge() {
    let mut origin = Origin::http1("one").await;
    let stage = Stage::serving(vec![forward("/", "app")], vec![backend("app", &[origin.address])]).await;
    for version in [Version::Http1, Version::Http2] {
        let mut client = Connection::open_clear(&stage, version).await;
        for size in [0, 10, 200_000] {
            let answer = client.fetch(get(&format!("/bytes/{size}"))).await.unwrap();
            assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, size), "{version:?}");
            origin.seen().await;
        }
    }
    // A request that arrives octet by octet is no preface.
    let mut wire = Wire::clear(&stage).await;
    for octet in format!("PUT /slow HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n").bytes() {
        wire.send([octet]).await;
    }
    assert_eq!(wire.response().await.status, 200);
    assert_eq!(origin.seen().await.method, Method::PUT);
}

#[tokio::test]
async fn large_header_sections_are_refused() {
    let mut origin = Origin::http1("one").await;
    let stage = Stage::serving(vec![forward("/", "app")], vec![backend("app", &[origin.address])]).await;
    let value = "v".repeat(8 * 1024);
    // More than HTTP/2 and HTTP/3 take.
    let fields: Vec<(String, &str)> = (0..10).map(|at| (format!("x-large-{at}"), &*value)).collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, *value)).collect();
    for version in Version::ALL {
        if version == Version::Http1 {
            // Octets as many as are read, so that none are left which would turn the close into a reset.
            let mut head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Large: ").into_bytes();
            head.resize(64 * 1024, b'v');
            let mut wire = Wire::tls(&stage).await;
            wire.send(head).await;
            assert_eq!(wire.response().await.status, 431);
        } else {
            let mut client = Connection::open(&stage, version).await;
            // A client that knows the limit from SETTINGS does not even send it.
            if let Ok(answer) = client.fetch(request(Method::GET, "/", &fields, b"")).await {
                assert_eq!(answer.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "{version:?}");
            }
        }
        assert!(origin.saw_nothing_more(), "{version:?}");
        // Usual ones pass.
        let mut client = Connection::open(&stage, version).await;
        let answer = client.fetch(request(Method::GET, "/", &fields[..2], b"")).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{version:?}");
        assert_eq!(origin.seen().await.values("x-large-1"), [&*value], "{version:?}");
    }
    let mut wire = Wire::tls(&stage).await;
    let many: String = (0..200).map(|at| format!("x-{at}: 1\r\n")).collect();
    wire.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{many}\r\n")).await;
    assert_eq!(wire.response().await.status, 431);
}

#[tokio::test]
async fn what_no_rule_matches_is_not_found() {
    let stage = Stage::serving(vec![forward("/app", "app")], vec![backend("app", &[])]).await;
    for version in Version::ALL {
        let mut client = Connection::open(&stage, version).await;
        for (path, status) in [("/", 404), ("/application", 404), ("/app", 503), ("/app/x", 503)] {
            assert_eq!(client.fetch(get(path)).await.unwrap().status.as_u16(), status, "{version:?} {path}");
        }
    }
}
