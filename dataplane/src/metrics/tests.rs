//! That cells of many blocks add up, that names follow Prometheus' rules, and that the reference is up to date.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;

/// The value of one series in the text format.
fn value(metrics: &Metrics, series: &str) -> f64 {
    let text = metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

#[test]
fn a_scrape_sums_the_workers() {
    let metrics = Metrics::new();
    let (one, two) = (metrics.worker(), metrics.worker());
    one.requests_total(Version::Http1, Class::Successful).inc();
    two.requests_total(Version::Http1, Class::Successful).add(41);
    two.requests_total(Version::Http3, Class::ServerError).inc();
    drop(two);

    let series =
        |version, class| format!("headrace_dataplane_requests_total{{class=\"{class}\",version=\"{version}\"}}");
    assert_eq!(value(&metrics, &series("http1", "2xx")), 42.0);
    assert_eq!(value(&metrics, &series("http3", "5xx")), 1.0);
    assert_eq!(value(&metrics, &series("http2", "2xx")), 0.0, "series are there before they count");
}

#[test]
fn every_cell_is_the_series_of_its_labels() {
    let metrics = Metrics::new();
    let worker = metrics.worker();
    let mut expect = 0;
    for &transport in Transport::ALL {
        for &result in HandshakeResult::ALL {
            expect += 1;
            worker.handshakes_total(transport, result).add(expect);
            let (transport, result) = (transport.label(), result.label());
            let series =
                format!("headrace_dataplane_handshakes_total{{result=\"{result}\",transport=\"{transport}\"}}");
            assert_eq!(value(&metrics, &series), expect as f64);
        }
    }
}

#[test]
fn gauges_go_down_in_any_block() {
    let metrics = Metrics::new();
    let (one, two) = (metrics.worker(), metrics.worker());
    let series = "headrace_dataplane_tunnels_open{version=\"http2\"}";
    let version = Version::Http2;
    one.tunnels_open(version).inc();
    two.tunnels_open(version).inc();
    two.tunnels_open(version).inc();
    assert_eq!(value(&metrics, series), 3.0);
    one.tunnels_open(version).dec();
    one.tunnels_open(version).dec();
    assert_eq!(value(&metrics, series), 1.0, "the first block is below zero");
}

#[test]
fn histograms_are_cumulative() {
    let metrics = Metrics::new();
    let worker = metrics.worker();
    for millis in [1, 2, 300, 60_000] {
        worker.request_duration_seconds(Version::Http2).observe(Duration::from_millis(millis));
    }
    let bucket = |le| format!("headrace_dataplane_request_duration_seconds_bucket{{version=\"http2\",le=\"{le}\"}}");
    let cases = [("0.001", 1.0), ("0.0025", 2.0), ("0.25", 2.0), ("0.5", 3.0), ("30", 3.0), ("+Inf", 4.0)];
    for (bound, count) in cases {
        assert_eq!(value(&metrics, &bucket(bound)), count, "{bound}");
    }
    assert_eq!(value(&metrics, "headrace_dataplane_request_duration_seconds_sum{version=\"http2\"}"), 60.303);
    assert_eq!(value(&metrics, "headrace_dataplane_request_duration_seconds_count{version=\"http2\"}"), 4.0);
}

#[test]
fn process_wide_values() {
    let metrics = Metrics::new();
    metrics.process().table_version().set(7);
    metrics.process().listeners(Transport::Quic, ListenerState::Failed).set(2);
    assert_eq!(value(&metrics, "headrace_dataplane_table_version"), 7.0);
    assert_eq!(value(&metrics, "headrace_dataplane_listeners{state=\"failed\",transport=\"quic\"}"), 2.0);
    let build_info = concat!("headrace_dataplane_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    assert_eq!(value(&metrics, build_info), 1.0);
}

#[test]
fn workers_count_in_parallel_without_losing_any() {
    const EACH: u64 = 10_000;
    let metrics = Metrics::new();
    let shared = metrics.worker();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let shared = &shared;
            let own = metrics.worker();
            scope.spawn(move || {
                for _ in 0..EACH {
                    own.retries_total().inc();
                    shared.retries_total().inc();
                }
            });
        }
    });
    assert_eq!(value(&metrics, "headrace_dataplane_retries_total"), (8 * EACH) as f64);
}

#[test]
fn classes_of_statuses() {
    let cases = [(101, Class::Informational), (200, Class::Successful), (204, Class::Successful)];
    let errors = [(308, Class::Redirection), (404, Class::ClientError), (503, Class::ServerError)];
    for (status, class) in cases.into_iter().chain(errors) {
        assert_eq!(Class::of(http::StatusCode::from_u16(status).unwrap()), class, "{status}");
    }
}

/// What `promtool check metrics` and the naming rules of Prometheus ask for.
fn server(octet: u8) -> headrace_cid::ServerId {
    headrace_cid::ServerId::try_from(&[octet; 8][..]).unwrap()
}

#[test]
fn a_peer_has_series_as_long_as_it_is_one() {
    let metrics = Metrics::new();
    let peers = metrics.hop_peers();
    let shown = || metrics.encode().lines().filter(|line| line.starts_with(peers::NAME)).count();
    peers.keep([server(1), server(2)].iter());
    let each = HopKind::ALL.len() * HopSent::ALL.len();
    assert_eq!(shown(), 2 * each, "series are there before they count");

    let (first, second) = (peers.of(&server(1)), peers.of(&server(2)));
    first.sent(HopKind::Forward, HopSent::Limited).inc_by(3);
    second.sent(HopKind::Return, HopSent::Sent).inc();
    peers.keep([server(2), server(3)].iter());
    // Whoever has not heard of it yet may go on counting.
    first.sent(HopKind::Forward, HopSent::Limited).inc();
    assert_eq!(shown(), 2 * each);
    let series = |peer, kind, result| {
        format!("{}{{kind=\"{kind}\",peer=\"{}\",result=\"{result}\"}}", peers::NAME, server(peer))
    };
    assert_eq!(value(&metrics, &series(2, "return", "sent")), 1.0, "it kept what it had");
    assert_eq!(value(&metrics, &series(3, "forward", "limited")), 0.0);
}

#[test]
fn names_and_help_follow_the_rules() {
    let described = describe();
    let is_snake = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    for metric in &described {
        let name = metric.name;
        assert!(name.starts_with("headrace_dataplane_") && is_snake(name), "{name}");
        assert_eq!(metric.kind == "counter", name.ends_with("_total"), "{name}");
        // A moment is a gauge; every other time is a duration and has a distribution.
        let is_duration = name.ends_with("_seconds") && !name.ends_with("_timestamp_seconds");
        assert_eq!(metric.kind == "histogram", is_duration, "{name}: in base units");
        assert!(!["_sum", "_count", "_bucket", "_info_total"].iter().any(|end| name.ends_with(end)), "{name}");
        assert!(metric.help.ends_with('.') && metric.help.len() > 20, "{name}: {}", metric.help);
        for (label, values) in &metric.labels {
            assert!(is_snake(label) && *label != "le", "{name}: {label}");
            let mut distinct = values.to_vec();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), values.len(), "{name}: {label}");
        }
    }
    let mut names: Vec<_> = described.iter().map(|metric| metric.name).collect();
    names.dedup();
    assert_eq!(names.len(), described.len(), "each name once");
}

/// Every described family is scraped, with its type, and no other.
#[test]
fn the_description_is_what_is_scraped() {
    let metrics = Metrics::new();
    let _worker = metrics.worker();
    metrics.datagrams(0).inc();
    metrics.hop_peers().keep([server(1)].iter());
    let text = metrics.encode();
    let scraped: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let described: Vec<_> = describe().iter().map(|metric| format!("{} {}", metric.name, metric.kind)).collect();
    assert_eq!(scraped, described);
}

/// `docs/metrics.md` is made from the declarations: UPDATE_GOLDEN=1 rewrites it.
#[test]
fn the_reference_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let expect = reference();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &expect).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == expect, "docs/metrics.md is out of date: run the tests once with UPDATE_GOLDEN=1");
}

fn reference() -> String {
    let mut text = String::from(
        "# Metrics of the data plane\n\n\
         `/metrics` on the admin address, in the Prometheus text format. No client can make more series:\n\
         values are closed sets, workers, and the pods of the pod set. This page is made from `dataplane/src/metrics.rs` by its test (`UPDATE_GOLDEN=1`).\n",
    );
    for metric in describe() {
        write!(text, "\n## `{}`\n\n{}\n\n- type: {}\n", metric.name, metric.help, metric.kind).unwrap();
        for (label, values) in metric.labels {
            let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
            let values = if values.is_empty() { "any".to_owned() } else { values.join(", ") };
            writeln!(text, "- label `{label}`: {values}").unwrap();
        }
    }
    text
}
