//! Floods over HTTP/2: what costs the client next to nothing is bounded in what it costs here and at the backend, ends the
//! connection that it came by where that is what the protocol has for it, and touches nobody else.
//!
//! What is malformed rather than much is in [`malformed`]; what comes through a tunnel is in [`tunnels`].

mod attacker;
mod malformed;
mod neighbour;
mod tunnels;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncReadExt as _;

use self::attacker::*;
use self::neighbour::{Neighbour, pour};
use crate::backend::{Origin, Raw, read_head};
use crate::patience::eventually;

/// Streams that a client may have open at once, as the data plane's SETTINGS say.
const MAX_STREAMS: usize = 256;

/// Octets that one connection is let send in a flood which must end it long before.
const MUST_END_WITHIN: usize = 16 << 20;

/// A backend that takes requests and never answers.
struct Tarpit {
    raw: Raw,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    heads: Arc<AtomicUsize>,
}

impl Tarpit {
    async fn start() -> Self {
        let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let heads = Arc::new(AtomicUsize::new(0));
        let counts = (Arc::clone(&open), Arc::clone(&most), Arc::clone(&heads));
        let raw = Raw::start(move |mut stream, _| {
            let (open, most, heads) = counts.clone();
            async move {
                most.fetch_max(open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                if read_head(&mut stream).await.is_some() {
                    heads.fetch_add(1, Ordering::Relaxed);
                    // Nothing more is said on either side until the proxy gives up.
                    let _end = stream.read_to_end(&mut Vec::new()).await;
                }
                open.fetch_sub(1, Ordering::Relaxed);
            }
        });
        Self { raw: raw.await, open, most, heads }
    }

    /// Everything that was begun is let go of.
    async fn is_left(&self) {
        eventually("no exchange is open", async || (self.open.load(Ordering::Relaxed) == 0).then_some(())).await;
    }
}

/// CVE-2023-44487: streams are reset as soon as they are opened, so that none counts as open.
#[tokio::test]
async fn rapid_reset_ends_the_connection() {
    const STREAMS: u32 = 2000;
    let tarpit = Tarpit::start().await;
    let (stage, neighbour) = Neighbour::beside(tarpit.raw.address).await;
    let mut attacker = Attacker::connect(&stage, &frame(SETTINGS, 0, 0, &[])).await;
    let get = request("GET", "/", &[]);
    let burst: Vec<u8> =
        (0..STREAMS).flat_map(|n| [headers(2 * n + 1, END_STREAM, &get), reset(2 * n + 1)].concat()).collect();
    attacker.send(&burst).await;
    assert_eq!(attacker.goodbye().await, Some(ENHANCE_YOUR_CALM));
    neighbour.is_well("a rapid reset").await;
    tarpit.is_left().await;
    let asked = tarpit.raw.connections();
    assert!(asked <= MAX_STREAMS, "{asked} of {STREAMS} streams reached the backend");
}

/// The same slowly, each request being under way before it is given up: no more than a client that changes its mind, so
/// the connection lives, and what was given up is let go of at the backend.
#[tokio::test]
async fn slow_resets_leave_nothing_behind() {
    const STREAMS: u32 = 300;
    let tarpit = Tarpit::start().await;
    let (stage, neighbour) = Neighbour::beside(tarpit.raw.address).await;
    let mut attacker = Attacker::connect(&stage, &frame(SETTINGS, 0, 0, &[])).await;
    let get = request("GET", "/", &[]);
    for n in 0..STREAMS {
        assert!(attacker.send(&headers(2 * n + 1, END_STREAM, &get)).await);
        assert!(attacker.sees_pong(u64::from(n)).await, "stream {n}");
        assert!(attacker.send(&reset(2 * n + 1)).await);
    }
    assert!(attacker.sees_pong(u64::MAX).await);
    neighbour.is_well("slow resets").await;
    tarpit.is_left().await;
    assert!(tarpit.most.load(Ordering::Relaxed) <= MAX_STREAMS);
}

/// A name, the flags and the section of a request's HEADERS, what makes the server reset that stream, and the codes with
/// which the connection may end.
type Way<'a> = (&'static str, u8, &'a [u8], fn(u32) -> Vec<u8>, &'static [u32]);

/// CVE-2025-8671, MadeYouReset: the server is made to reset streams whose requests are under way at the backend.
#[tokio::test]
async fn who_makes_the_server_reset_is_stopped() {
    const STREAMS: u32 = 2000;
    const MOST_CREDIT: u32 = (1 << 31) - 1;
    let get = request("GET", "/", &[]);
    let post = request("POST", "/", &[("content-length", "1")]);
    let ways: [Way<'_>; 5] = [
        ("WINDOW_UPDATE beyond 2^31-1", END_STREAM, &get, |id| window_update(id, MOST_CREDIT), &[ENHANCE_YOUR_CALM]),
        ("WINDOW_UPDATE of 0", END_STREAM, &get, |id| window_update(id, 0), &[PROTOCOL_ERROR, ENHANCE_YOUR_CALM]),
        (
            "DATA behind END_STREAM",
            END_STREAM,
            &get,
            |id| frame(DATA, 0, id, b"x"),
            &[STREAM_CLOSED, PROTOCOL_ERROR, ENHANCE_YOUR_CALM],
        ),
        (
            "HEADERS behind END_STREAM",
            END_STREAM,
            &get,
            |id| headers(id, END_STREAM, &section(&[("x", "y")])),
            &[STREAM_CLOSED, PROTOCOL_ERROR, ENHANCE_YOUR_CALM],
        ),
        ("DATA beyond content-length", 0, &post, |id| frame(DATA, 0, id, b"xyz"), &[ENHANCE_YOUR_CALM]),
    ];
    for (way, flags, section, provoke, codes) in ways {
        let tarpit = Tarpit::start().await;
        let (stage, neighbour) = Neighbour::beside(tarpit.raw.address).await;
        let mut attacker = Attacker::connect(&stage, &frame(SETTINGS, 0, 0, &[])).await;
        for n in 0..STREAMS {
            let id = 2 * n + 1;
            if !attacker.send(&[headers(id, flags, section), provoke(id)].concat()).await {
                break;
            }
        }
        let code = attacker.goodbye().await;
        assert!(code.is_some_and(|code| codes.contains(&code)), "{way}: {code:?}");
        neighbour.is_well(way).await;
        tarpit.is_left().await;
        // The limits on resets and on open streams bound it together.
        let asked = tarpit.heads.load(Ordering::Relaxed);
        assert!(asked <= 2 * MAX_STREAMS, "{way}: {asked} of {STREAMS} requests reached the backend");
    }
}

/// A header section that never ends.
#[tokio::test]
async fn continuation_without_end_ends_the_connection() {
    let mut origin = Origin::http1("one").await;
    let (stage, neighbour) = Neighbour::beside(origin.address).await;
    let fill = literal("x-fill", &[b'f'; 16_000]);
    for (what, piece) in [("empty", &[][..]), ("one field", &literal("a", b"b")), ("16 kB", &fill)] {
        let mut attacker = Attacker::connect(&stage, &frame(SETTINGS, 0, 0, &[])).await;
        assert!(attacker.send(&frame(HEADERS, END_STREAM, 1, &request("GET", "/", &[]))).await);
        let taken = pour(&mut attacker, &frame(CONTINUATION, 0, 1, piece), 4 * MUST_END_WITHIN).await;
        // What the kernel's buffers took once the server had closed counts as taken.
        assert!(taken < MUST_END_WITHIN, "{what}: {taken} octets");
        let code = attacker.goodbye().await;
        // A TCP reset may overtake GOAWAY, since octets that nobody read make one.
        assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR)), "{what}: {code:?}");
        neighbour.is_well(what).await;
    }
    assert!(origin.saw_nothing_more());
}

/// DATA without content is free of flow control (RFC 9113 section 10.5); so nothing may be kept for it.
#[tokio::test]
async fn empty_data_is_stopped_or_costs_nothing() {
    const MOST: usize = 4 << 20;
    let tarpit = Tarpit::start().await;
    let (stage, neighbour) = Neighbour::beside(tarpit.raw.address).await;
    let padded = [&[255_u8][..], &[0; 255]].concat();
    const PADDED: u8 = 8;
    for (what, flood) in [("empty", frame(DATA, 0, 1, b"")), ("padding alone", frame(DATA, PADDED, 1, &padded))] {
        let mut attacker = Attacker::connect(&stage, &frame(SETTINGS, 0, 0, &[])).await;
        assert!(attacker.send(&headers(1, 0, &request("POST", "/", &[]))).await);
        let taken = pour(&mut attacker, &flood, MOST).await;
        // It went through, then nothing of it is kept and the connection is as it was. Or it was stopped, which the attacker
        // may not know before all is sent: the kernel takes what nobody reads.
        if taken < MOST || !attacker.sees_pong(7).await {
            let code = attacker.goodbye().await;
            assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM | FLOW_CONTROL_ERROR)), "{what}: {code:?}");
        }
        neighbour.is_well(what).await;
    }
}

/// One octet of HPACK stands for a whole field, a thousand times over, on every stream, while no answer can leave.
#[tokio::test]
async fn a_cookie_bomb_is_refused_before_the_backend() {
    const CRUMBS: usize = 12_000;
    let mut origin = Origin::http1("one").await;
    let (stage, neighbour) = Neighbour::beside(origin.address).await;
    let mut attacker = Attacker::connect(&stage, &setting(INITIAL_WINDOW_SIZE, 0)).await;
    let crumb = remembered("cookie", &[b'c'; 3000]);
    for n in 0..MAX_STREAMS as u32 {
        let first = if n == 0 { &crumb[..] } else { &[NEWEST] };
        let bomb = [&request("GET", "/", &[]), first, &vec![NEWEST; CRUMBS]].concat();
        if !attacker.send(&headers(2 * n + 1, END_STREAM, &bomb)).await {
            break;
        }
    }
    loop {
        match attacker.event().await {
            // RFC 6585 section 5, and RFC 9113 section 10.5.1.
            Event::Headers { status, .. } => assert!(matches!(status, 431 | 0), "{status}"),
            Event::Reset { code, .. } => assert!([PROTOCOL_ERROR, ENHANCE_YOUR_CALM, 0].contains(&code), "{code}"),
            Event::GoAway { code } => assert_eq!(code, ENHANCE_YOUR_CALM),
            Event::Closed => break,
            other => panic!("{other:?}"),
        }
    }
    neighbour.is_well("cookie crumbs").await;
    assert!(origin.saw_nothing_more(), "no bomb reached the backend");
}

/// Every PING and every SETTINGS is answered, so a client that reads no answers has to be held up.
#[tokio::test]
async fn answers_that_nobody_reads_stop_the_asking() {
    use crate::tunnel_pressure::{FLOOD, UNDER_WAY, settled};
    use tokio::io::AsyncWriteExt as _;

    let origin = Origin::http1("one").await;
    let (stage, neighbour) = Neighbour::beside(origin.address).await;
    for (what, flood) in [("PING", ping(1)), ("SETTINGS", setting(INITIAL_WINDOW_SIZE, 1000))] {
        let mut attacker = Attacker::deaf(&stage, &frame(SETTINGS, 0, 0, &[])).await;
        let taken = AtomicUsize::new(0);
        let batch = flood.repeat(500);
        let pour = async {
            while taken.load(Ordering::Relaxed) < FLOOD && attacker.writer().write_all(&batch).await.is_ok() {
                taken.fetch_add(batch.len(), Ordering::Relaxed);
            }
        };
        let stopped_at = tokio::select! {
            () = pour => taken.load(Ordering::Relaxed),
            stopped_at = settled(&taken) => stopped_at,
        };
        assert!(stopped_at < UNDER_WAY, "{what}: {stopped_at} octets were taken and no answer is read");
        neighbour.is_well(what).await;
    }
}

/// The same from a client that reads: all are answered, in order.
#[tokio::test]
async fn answers_that_are_read_all_come() {
    const COUNT: u64 = 20_000;
    let origin = Origin::http1("one").await;
    let (stage, neighbour) = Neighbour::beside(origin.address).await;
    let mut attacker = Attacker::connect(&stage, &frame(SETTINGS, 0, 0, &[])).await;
    let flood: Vec<u8> = (0..COUNT).flat_map(|n| [ping(n), setting(INITIAL_WINDOW_SIZE, 1000)].concat()).collect();
    assert!(attacker.send(&flood).await);
    for number in 0..COUNT {
        assert_eq!(attacker.event().await, Event::Pong(number));
    }
    neighbour.is_well("a flood that is read").await;
}
