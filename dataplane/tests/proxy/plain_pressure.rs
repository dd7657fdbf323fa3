//! Backpressure of plain requests: content is taken from one side only as the other takes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Method;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Notify, mpsc};

use crate::backend::{Raw, read_head};
use crate::client::{Connection, Version, get, request};
use crate::patience::within;
use crate::stage::Stage;
use crate::stage::table::{backend, forward};
use crate::tunnel_pressure::{FLOOD, UNDER_WAY, read_flood, settled, write_flood};

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_backend() {
    for version in Version::ALL {
        let written = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&written);
        let raw = Raw::start(move |mut stream, _| {
            let count = Arc::clone(&count);
            async move {
                while let Some(head) = read_head(&mut stream).await {
                    if head.starts_with("GET /flood") {
                        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {FLOOD}\r\n\r\n");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        write_flood(&mut stream, &count).await;
                    } else {
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                    }
                }
            }
        });
        let raw = raw.await;
        let stage = Stage::serving(vec![forward("/", "raw")], vec![backend("raw", &[raw.address])]).await;
        let mut client = Connection::open(&stage, version).await;
        let mut exchange = client.begin(get("/flood").map(|_| ()), false).await.unwrap();
        exchange.incoming.head().await.unwrap();
        let stopped_at = settled(&written).await;
        assert!(stopped_at < UNDER_WAY, "{version:?}: {stopped_at} octets were taken and nobody reads");
        if version == Version::Http3 {
            // h2 as a client shares one window among streams, and its own default is full now.
            assert_eq!(client.fetch(get("/other")).await.unwrap().text(), "ok", "{version:?}: neighbours go on");
        }
        let mut got = 0;
        while let Some(data) = exchange.incoming.data().await.unwrap() {
            got += data.len();
        }
        assert_eq!(got, FLOOD, "{version:?}");
        assert_eq!(written.load(Ordering::Relaxed), FLOOD, "{version:?}");
    }
}

#[tokio::test]
async fn a_backend_that_does_not_read_stops_the_client() {
    for version in Version::ALL {
        let read_now = Arc::new(Notify::new());
        let (report, mut reports) = mpsc::unbounded_channel();
        let told = Arc::clone(&read_now);
        let raw = Raw::start(move |mut stream, _| {
            let (told, report) = (Arc::clone(&told), report.clone());
            async move {
                let Some(head) = read_head(&mut stream).await else { return };
                if head.starts_with("POST /deaf") {
                    told.notified().await;
                    report.send(read_flood(&mut stream).await).unwrap();
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                let _until_the_end = read_head(&mut stream).await;
            }
        });
        let raw = raw.await;
        let stage = Stage::serving(vec![forward("/", "raw")], vec![backend("raw", &[raw.address])]).await;
        let mut client = Connection::open(&stage, version).await;
        // With a length, so that the backend gets the content bare.
        let fields = [("content-length", &*FLOOD.to_string())];
        let asked = request(Method::POST, "/deaf", &fields, b"").map(|_| ());
        let exchange = client.begin(asked, true).await.unwrap();
        let (mut outgoing, mut incoming) = (exchange.outgoing, exchange.incoming);
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let flood = tokio::spawn(async move {
            let block = Bytes::from(vec![b'f'; 64 << 10]);
            while count.load(Ordering::Relaxed) < FLOOD {
                outgoing.data(block.clone()).await.unwrap();
                count.fetch_add(block.len(), Ordering::Relaxed);
            }
            outgoing.finish().await.unwrap();
        });
        let stopped_at = settled(&sent).await;
        assert!(stopped_at < UNDER_WAY, "{version:?}: {stopped_at} octets were taken and nobody reads");
        if version != Version::Http1 {
            assert_eq!(client.fetch(get("/other")).await.unwrap().text(), "ok", "{version:?}: neighbours go on");
        }
        read_now.notify_one();
        assert_eq!(within("the flood", reports.recv()).await, Some(FLOOD), "{version:?}");
        assert_eq!(incoming.whole().await.unwrap().text(), "ok", "{version:?}");
        flood.await.unwrap();
    }
}
