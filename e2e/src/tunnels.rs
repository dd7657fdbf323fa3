//! Many WebSocket tunnels at once, each of which says something now and then and must be answered: what does not notice a
//! change is a tunnel that goes on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::{Reached, trust};

/// The guard of one handshake and of one echo.
const GUARD: Duration = Duration::from_secs(60);

/// How often each tunnel says something.
const SAY_EVERY: Duration = Duration::from_millis(500);

/// Handshakes at a time, so that the machine's own queues are not what fails.
const OPENING: usize = 32;

/// Open tunnels, on a thread of their own.
pub struct Tunnels {
    runtime: Runtime,
    tasks: JoinSet<Result<()>>,
    stop: Arc<AtomicBool>,
    count: usize,
}

impl Tunnels {
    /// Opens that many over HTTP/1.1 with TLS to an echo, each on a connection of its own, and returns when all are open.
    pub fn open(reached: &impl Reached, url: &str, count: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let connector = TlsConnector::from(Arc::new(trust::client(&reached.ca(), "http/1.1")?));
        let stop = Arc::new(AtomicBool::new(false));
        let opening = Arc::new(Semaphore::new(OPENING));
        let open = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let one = One {
                connector: connector.clone(),
                url: url.to_owned(),
                stop: Arc::clone(&stop),
                opening: Arc::clone(&opening),
                open: Arc::clone(&open),
            };
            tasks.spawn_on(one.run(), runtime.handle());
        }
        let mut tunnels = Self { runtime, tasks, stop, count };
        while open.load(Ordering::Relaxed) < count {
            tunnels.check()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(tunnels)
    }

    /// Fails when one of them has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.tasks.try_join_next() {
            Some(ended) => ended?.and_then(|()| anyhow::bail!("a tunnel ended")),
            None => Ok(()),
        }
    }

    /// How many have ended, and what the first of them saw; the others go on.
    pub fn ended(&mut self) -> (usize, Option<anyhow::Error>) {
        let (mut ended, mut first) = (0, None);
        while let Some(one) = self.tasks.try_join_next() {
            ended += 1;
            if let Ok(Err(error)) = one {
                first.get_or_insert(error);
            }
        }
        (ended, first)
    }

    /// Closes all, each of which must still be there.
    pub fn close(mut self) -> Result<()> {
        self.check()?;
        self.stop.store(true, Ordering::Relaxed);
        let tasks = std::mem::take(&mut self.tasks);
        let ended = self.runtime.block_on(tasks.join_all());
        let failed: Vec<_> = ended.into_iter().filter_map(Result::err).collect();
        let count = self.count;
        match failed.into_iter().next() {
            Some(error) => Err(error.context(format!("one of {count} tunnels did not live"))),
            None => Ok(()),
        }
    }
}

struct One {
    connector: TlsConnector,
    url: String,
    stop: Arc<AtomicBool>,
    opening: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
}

impl One {
    async fn run(self) -> Result<()> {
        let turn = self.opening.acquire().await?;
        let request = self.url.as_str().into_client_request()?;
        let host = request.uri().host().context("a URL without a host")?.to_owned();
        let port = request.uri().port_u16().unwrap_or(443);
        let handshake = async {
            let tcp = TcpStream::connect(SocketAddr::new(host.parse()?, port)).await?;
            let tls = self.connector.connect(host.try_into()?, tcp).await?;
            anyhow::Ok(client_async(request, tls).await?)
        };
        let (mut tunnel, _) = tokio::time::timeout(GUARD, handshake).await??;
        drop(turn);
        self.open.fetch_add(1, Ordering::Relaxed);
        let mut said = 0_u64;
        while !self.stop.load(Ordering::Relaxed) {
            let text = format!("message {said}");
            tunnel.send(Message::text(text.clone())).await.context("the tunnel broke")?;
            let heard = tokio::time::timeout(GUARD, tunnel.next()).await.context("no echo")?;
            let heard = heard.context("the tunnel ended")?.context("the tunnel broke")?;
            ensure!(heard == Message::text(text), "another echo: {heard}");
            said += 1;
            tokio::time::sleep(SAY_EVERY).await;
        }
        tunnel.close(None).await?;
        Ok(())
    }
}
