//! A lookup allocates nothing, whatever is asked and however it ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unsafe_code, reason = "to count allocations is to be an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use headrace_table::wire::*;
use headrace_table::{Found, Opening, Request};
use http::{HeaderMap, HeaderValue, Method};

thread_local! {
    /// Of this thread alone, so that the test harness does not count.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator with a counter.
struct Counting;

// SAFETY: every call goes to `System` unchanged, and the counter, a `Cell` without a destructor, allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn value(name: &str, value: ValuePattern) -> ValueMatch {
    ValueMatch { name: name.to_owned(), value }
}

/// On every kind of host: every kind of path, without and with every kind of condition.
fn table() -> Table {
    let paths = [
        PathMatch::Exact("/exact".to_owned()),
        PathMatch::Prefix("/a/b/c".to_owned()),
        PathMatch::Prefix("/a".to_owned()),
        PathMatch::Regex("/r[0-9]+/.*".to_owned()),
    ];
    let plain = paths.map(|path| Match {
        path,
        method: None,
        headers: Vec::new(),
        query: Vec::new(),
        opens: Opens::Any,
        subprotocols: Vec::new(),
    });
    let full = plain.clone().map(|plain| Match {
        method: Some("GET".to_owned()),
        headers: vec![
            value("x-a", ValuePattern::Exact("1".to_owned())),
            value("x-b", ValuePattern::Regex("[0-9]+".to_owned())),
        ],
        query: vec![
            value("q", ValuePattern::Exact("a b".to_owned())),
            value("r", ValuePattern::Regex("[a-z ]+".to_owned())),
        ],
        opens: Opens::WebSocket,
        subprotocols: vec!["chat.v1".to_owned()],
        ..plain
    });
    let rule = |name: &str, matches: [Match; 4]| Rule {
        name: Some(name.to_owned()),
        matches: matches.to_vec(),
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        action: Action::Respond(200),
    };
    let hostnames = vec!["*.example.com".to_owned(), "*.com".to_owned(), "a.example.com".to_owned()];
    let attachment = |hostnames| Attachment { listener: "l".to_owned(), hostnames };
    Table {
        listeners: vec![Listener {
            id: "l".to_owned(),
            port: 80,
            public_port: 80,
            protocol: Protocol::Http,
            http3: false,
            quic: QuicOptions::default(),
            hostname: None,
            certificates: Vec::new(),
        }],
        routes: vec![Route {
            id: "R/n/r".to_owned(),
            created: 0,
            attachments: vec![attachment(hostnames), attachment(Vec::new())],
            rules: vec![rule("plain", plain), rule("full", full)],
        }],
        ..Table::default()
    }
}

/// The answer, after a first lookup in which expressions may fill their caches, and the allocations of the second.
fn counted<'t>(listener: &'t headrace_table::Listener, request: &Request<'_>) -> (Option<Found<'t>>, usize) {
    listener.lookup(request);
    let before = ALLOCATIONS.get();
    let found = listener.lookup(request);
    (found, ALLOCATIONS.get() - before)
}

#[test]
fn a_lookup_allocates_nothing() {
    let table = headrace_table::Table::try_from(table()).unwrap();
    let before = ALLOCATIONS.get();
    let listener = table.port(80).unwrap().listener_for(Some("A.Example.Com.")).unwrap();
    assert_eq!(ALLOCATIONS.get(), before, "finding a listener allocates nothing");

    let mut headers = HeaderMap::new();
    headers.insert("x-a", HeaderValue::from_static("1"));
    headers.append("x-b", HeaderValue::from_static("x"));
    headers.append("x-b", HeaderValue::from_static("42"));
    headers.insert("sec-websocket-protocol", HeaderValue::from_static("mqtt, chat.v1"));
    let none = HeaderMap::new();
    let (slashes, deep) = ("/".repeat(4_000), "/a/b/c".repeat(1_000));
    for host in ["a.example.com", "A.EXAMPLE.COM.", "x.y.example.com", "example.org", "", &"a.".repeat(200)] {
        for (path, expected) in [
            ("/exact", true),
            ("/a/b/c/d", true),
            ("/a/b", true),
            (deep.as_str(), true),
            ("/r12/x", true),
            ("/rx", false),
            (slashes.as_str(), false),
            ("", false),
        ] {
            let plain =
                Request { method: &Method::GET, host, path, query: None, headers: &none, opening: Opening::Request };
            let query = Some("x=%20&q=a%20b&r=a+b");
            let full = Request { query, headers: &headers, opening: Opening::WebSocket, ..plain };
            for (request, name) in [(plain, "plain"), (full, "full")] {
                let (found, allocations) = counted(listener, &request);
                assert_eq!(found.is_some(), expected, "{host} {path}");
                assert!(found.is_none_or(|found| found.rule.name.as_deref() == Some(name)), "{host} {path}: {name}");
                assert_eq!(allocations, 0, "{host} {path}: {name}");
            }
        }
    }
}
