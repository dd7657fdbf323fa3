//! Backpressure: who does not read stops who writes, within a bound, and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use crate::backend::{Raw, switch};
use crate::client::{Pipe, Tunnels, Version};
use crate::patience::{PATIENCE, within};
use crate::stage::Stage;
use crate::stage::table::{backend, forward};

/// What the writer would like to send: far more than everything between the ends can hold.
pub(crate) const FLOOD: usize = 64 << 20;

/// What may be under way: both kernels' buffers of two TCP connections, which the kernel lets grow to some megabytes, and
/// what this process keeps, which is far less.
pub(crate) const UNDER_WAY: usize = 24 << 20;

/// A writer that made no progress for so long is stopped.
const STILL: Duration = Duration::from_millis(700);

/// Waits until a count has stopped growing.
pub(crate) async fn settled(count: &AtomicUsize) -> usize {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let before = count.load(Ordering::Relaxed);
        tokio::time::sleep(STILL).await;
        let now = count.load(Ordering::Relaxed);
        if now == before && now > 0 {
            return now;
        }
        assert!(std::time::Instant::now() < deadline, "the writer never stops: {now} octets");
    }
}

pub(crate) async fn write_flood(stream: &mut (impl tokio::io::AsyncWrite + Unpin), written: &AtomicUsize) {
    let block = vec![b'f'; 64 << 10];
    loop {
        let left = FLOOD - written.load(Ordering::Relaxed);
        if left == 0 {
            return;
        }
        let Ok(taken) = stream.write(&block[..left.min(block.len())]).await else { return };
        written.fetch_add(taken, Ordering::Relaxed);
    }
}

pub(crate) async fn read_flood(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> usize {
    let (mut buffer, mut got) = (vec![0; 64 << 10], 0);
    while got < FLOOD {
        let count = within("the flood", stream.read(&mut buffer)).await.unwrap();
        assert!(count > 0, "ended after {got}");
        assert!(buffer[..count].iter().all(|octet| *octet == b'f'));
        got += count;
    }
    got
}

/// `/flood` writes without end once accepted; `/deaf` reads only when told; everything else echoes.
async fn stage_with_backend() -> (Stage, Raw, Arc<AtomicUsize>, Arc<Notify>, mpsc::UnboundedReceiver<usize>) {
    let (written, read_now) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (report, reports) = mpsc::unbounded_channel();
    let (count, told) = (Arc::clone(&written), Arc::clone(&read_now));
    let raw = Raw::start(move |mut stream: TcpStream, _| {
        let (count, told, report) = (Arc::clone(&count), Arc::clone(&told), report.clone());
        async move {
            let head = switch(&mut stream, "", b"").await;
            if head.starts_with("GET /flood") {
                write_flood(&mut stream, &count).await;
            } else if head.starts_with("GET /deaf") {
                told.notified().await;
                let got = read_flood(&mut stream).await;
                report.send(got).unwrap();
            } else {
                let (mut read, mut write) = stream.split();
                let _until_the_end = tokio::io::copy(&mut read, &mut write).await;
                return;
            }
            let _until_the_end = stream.read_u8().await;
        }
    });
    let raw = raw.await;
    let stage = Stage::serving(vec![forward("/", "raw")], vec![backend("raw", &[raw.address])]).await;
    (stage, raw, written, read_now, reports)
}

async fn echoes(pipe: &mut Pipe) {
    for round in 0..20 {
        let octets = vec![round; 1000];
        pipe.send(&octets).await;
        pipe.expect(&octets).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_backend() {
    for version in Version::ALL {
        let (stage, _raw, written, ..) = stage_with_backend().await;
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let mut pipe = tunnels.open("/flood").await;
        let stopped_at = settled(&written).await;
        assert!(stopped_at < UNDER_WAY, "{version:?}: {stopped_at} octets were taken and nobody reads");
        // The neighbours on the same connection go on.
        if version != Version::Http1 {
            echoes(&mut tunnels.open("/echo").await).await;
            assert!(written.load(Ordering::Relaxed) < UNDER_WAY, "{version:?}");
        }
        // So does the flood, once it is read, to its last octet.
        assert_eq!(read_flood(&mut pipe).await, FLOOD, "{version:?}");
    }
}

#[tokio::test]
async fn a_backend_that_does_not_read_stops_the_client() {
    for version in Version::ALL {
        let (stage, _raw, _, read_now, mut reports) = stage_with_backend().await;
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let mut pipe = tunnels.open("/deaf").await;
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let flood = tokio::spawn(async move {
            write_flood(&mut pipe, &count).await;
            pipe.flush().await.unwrap();
            pipe
        });
        let stopped_at = settled(&sent).await;
        assert!(stopped_at < UNDER_WAY, "{version:?}: {stopped_at} octets were taken and nobody reads");
        if version != Version::Http1 {
            echoes(&mut tunnels.open("/echo").await).await;
            assert!(sent.load(Ordering::Relaxed) < UNDER_WAY, "{version:?}");
        }
        read_now.notify_one();
        assert_eq!(within("the flood at the backend", reports.recv()).await, Some(FLOOD), "{version:?}");
        drop(within("the flood", flood).await.unwrap());
    }
}

#[tokio::test]
async fn many_slow_readers_leave_room_for_their_neighbours() {
    for version in [Version::Http2, Version::Http3] {
        let (stage, _raw, written, ..) = stage_with_backend().await;
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let mut slow = Vec::new();
        for _ in 0..8 {
            slow.push(tunnels.open("/flood").await);
        }
        settled(&written).await;
        echoes(&mut tunnels.open("/echo").await).await;
        drop(slow);
        echoes(&mut tunnels.open("/echo").await).await;
    }
}

#[tokio::test]
async fn a_reset_reaches_a_backend_whose_octets_nobody_reads() {
    for version in Version::ALL {
        let (stage, _raw, written, ..) = stage_with_backend().await;
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let pipe = tunnels.open("/flood").await;
        settled(&written).await;
        pipe.reset();
        let open = format!(r#"headrace_dataplane_tunnels_open{{version="{}"}}"#, version.label());
        crate::patience::eventually(&format!("the tunnel over {version:?} is over"), async || {
            (stage.metric(&open).await == 0.0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_clients_reset_is_noticed_while_its_octets_wait_for_the_backend() {
    for version in Version::ALL {
        let (stage, _raw, ..) = stage_with_backend().await;
        let mut tunnels = Tunnels::connect(&stage, version).await;
        let mut pipe = tunnels.open("/deaf").await;
        let sent = AtomicUsize::new(0);
        tokio::select! {
            () = write_flood(&mut pipe, &sent) => panic!("{version:?}: the flood was taken"),
            _ = settled(&sent) => {}
        }
        pipe.reset();
        let open = format!(r#"headrace_dataplane_tunnels_open{{version="{}"}}"#, version.label());
        crate::patience::eventually(&format!("the tunnel over {version:?} is over"), async || {
            (stage.metric(&open).await == 0.0).then_some(())
        })
        .await;
    }
}
