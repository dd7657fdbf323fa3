//! Connections to backends over HTTP/3: for WebTransport sessions, of which one connection carries several where the backend
//! has flow control for each.
//!
//! Owns the sockets towards backends, what is kept of their connections, and when a session gets one of its own. Only its
//! own worker's thread touches it, so the locks are never contended.

mod dial;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headrace_http3::client::SendRequest;
use headrace_http3::webtransport::{self, ConnectError, Draft, Session, flow};
use headrace_http3::{Settings, StreamError};
use http::{Request, Response, request};
use tokio::time::timeout;

use self::dial::Dialler;
use super::{Place, Upstream};
use crate::failure::Failure;
use crate::listener::quic;
use crate::session::{self, Allowance, Base, Grant};

/// Sessions on one connection to an endpoint. Each may have [`session::MAX_DATA`] unread, and their connection has room for
/// all of that, so that none waits for another; and one that is lost takes no more than these along.
const MAX_SESSIONS: usize = 16;

/// Streams of each kind that a backend may open before it hears of more. Servers wait for that; and it is more than may come
/// before its session is known, so that those are in nobody's way.
const STREAMS_AHEAD: u32 = 32;

/// A connection without sessions is kept for this long.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// How long worker threads that end wait for their goodbyes to backends to be sent.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// What becomes of a request for a session.
pub(crate) struct Opened {
    pub(crate) session: Session,
    /// The backend's answer, without content.
    pub(crate) response: Response<()>,
    pub(crate) endpoint: SocketAddr,
    /// Held for as long as the session lives.
    pub(crate) lease: Lease,
}

/// Why there is no session.
pub(crate) enum Unopened {
    /// The backend refused, with this.
    Refused {
        response: Box<Response<()>>,
        endpoint: SocketAddr,
    },
    Failed(Failure),
}

/// The connections over HTTP/3 of one worker.
#[derive(Default)]
pub(crate) struct Http3Pool {
    dialler: Dialler,
    places: Mutex<HashMap<Place, Arc<At>>>,
}

/// What is known of one place.
#[derive(Default)]
struct At {
    kept: Mutex<Vec<Arc<Kept>>>,
    /// Held while a connection is made that others may share, so that they wait for it.
    dialling: tokio::sync::Mutex<()>,
    /// Whether the last connection there carried one session only: nobody waits for another one.
    is_alone: AtomicBool,
}

/// A connection that carries several sessions.
struct Kept {
    requests: SendRequest,
    allowance: Arc<Allowance>,
    most: usize,
    uses: Mutex<Uses>,
}

struct Uses {
    sessions: usize,
    since: Instant,
}

/// A session's share of its connection.
pub(crate) struct Lease {
    kept: Option<Arc<Kept>>,
    grant: Arc<Grant>,
}

impl Lease {
    /// What lets the backend open streams in its session.
    pub(crate) fn grant(&self) -> Arc<Grant> {
        Arc::clone(&self.grant)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(kept) = &self.kept {
            let mut uses = lock(&kept.uses);
            uses.sessions -= 1;
            uses.since = Instant::now();
        }
    }
}

impl Kept {
    /// Takes the place of one session.
    fn take(self: &Arc<Self>, streams: u32) -> Option<Lease> {
        let mut uses = lock(&self.uses);
        if uses.sessions >= self.most || !self.requests.is_open() {
            return None;
        }
        uses.sessions += 1;
        drop(uses);
        Some(Lease { kept: Some(Arc::clone(self)), grant: self.allowance.grant(streams) })
    }

    fn is_idle(&self) -> bool {
        let uses = lock(&self.uses);
        uses.sessions == 0 && uses.since.elapsed() >= MAX_IDLE
    }
}

impl At {
    fn take(&self, streams: u32) -> Option<(SendRequest, Lease)> {
        lock(&self.kept).iter().find_map(|kept| Some((kept.requests.clone(), kept.take(streams)?)))
    }

    fn sweep(&self) {
        lock(&self.kept).retain(|kept| kept.requests.is_open() && !kept.is_idle());
    }
}

impl Http3Pool {
    fn at(&self, place: Place) -> Arc<At> {
        Arc::clone(lock(&self.places).entry(place).or_default())
    }

    /// Lets go of what is closed or has been idle for too long, and of places that no table names any more: sessions there
    /// go on.
    pub(super) fn sweep(&self, named: impl Fn(&Place) -> bool) {
        lock(&self.places).retain(|place, at| {
            at.sweep();
            named(place)
        });
        self.dialler.sweep(named);
    }

    /// How many connections are kept and carry nothing.
    pub(super) fn idle(&self) -> usize {
        let places = lock(&self.places);
        let idle = |at: &Arc<At>| lock(&at.kept).iter().filter(|kept| lock(&kept.uses).sessions == 0).count();
        places.values().map(idle).sum()
    }

    /// Ends every connection, and waits for a moment for that to be said.
    pub(crate) async fn close(&self) {
        lock(&self.places).clear();
        // What is not sent by then is noticed by silence.
        let _said_or_not = timeout(CLOSE_TIMEOUT, self.dialler.close()).await;
    }
}

/// How often a session is asked for at one endpoint: once on a kept connection, which may just have closed, and once on a
/// fresh one.
const TRIES: usize = 2;

impl Upstream<'_> {
    /// Asks the endpoints for a session, each no more than the next. Who may open `streams` of each kind there is the backend.
    pub(crate) async fn open_session(
        &self,
        draw: u64,
        head: &request::Parts,
        subprotocols: &[String],
        streams: u32,
    ) -> Result<Opened, Unopened> {
        let mut failure = Failure::NoEndpoints;
        for (attempt, endpoint) in self.candidates(draw).enumerate() {
            if attempt > 0 {
                self.metrics.retries_total().inc();
            }
            match self.session_at(endpoint, head, subprotocols, streams).await {
                Err(Unopened::Failed(
                    why @ (Failure::Unreachable | Failure::BackendTls | Failure::BackendCertificate),
                )) => failure = why,
                done => return done,
            }
        }
        Err(Unopened::Failed(failure))
    }

    async fn session_at(
        &self,
        endpoint: SocketAddr,
        head: &request::Parts,
        subprotocols: &[String],
        streams: u32,
    ) -> Result<Opened, Unopened> {
        let mut fresh = false;
        for _ in 0..TRIES {
            let (mut requests, lease) = self.http3_at(endpoint, streams, fresh).await.map_err(Unopened::Failed)?;
            let request = Request::from_parts(head.clone(), ());
            match webtransport::connect(&mut requests, request, subprotocols).await {
                Ok((session, response)) => return Ok(Opened { session, response, endpoint, lease }),
                Err(ConnectError::Refused(response)) => return Err(Unopened::Refused { response, endpoint }),
                // Nothing was asked, or whoever was has gone with all that was asked of it.
                Err(error @ (ConnectError::TooMany | ConnectError::Stream(StreamError::GoingAway))) => {
                    tracing::debug!(%endpoint, %error, "a backend's connection takes no more sessions");
                }
                Err(ConnectError::Stream(StreamError::Connection(error))) if !fresh && lease.kept.is_some() => {
                    tracing::debug!(%endpoint, %error, "a kept connection to a backend was gone");
                }
                Err(ConnectError::Subprotocol) => return Err(Unopened::Failed(Failure::Subprotocol)),
                Err(error) => {
                    tracing::debug!(%endpoint, %error, "a backend opened no session");
                    return Err(Unopened::Failed(Failure::BackendProtocol));
                }
            }
            fresh = true;
        }
        Err(Unopened::Failed(Failure::BackendProtocol))
    }

    /// A connection with room for a session: a kept one unless `fresh`.
    async fn http3_at(&self, endpoint: SocketAddr, streams: u32, fresh: bool) -> Result<(SendRequest, Lease), Failure> {
        let place = self.place(endpoint);
        let at = self.pool.http3.at(place);
        if !fresh && let Some(taken) = at.take(streams) {
            return Ok(taken);
        }
        let _turn = match at.is_alone.load(Ordering::Relaxed) {
            true => None,
            false => {
                let turn = at.dialling.lock().await;
                // Somebody may have dialled meanwhile.
                if !fresh && let Some(taken) = at.take(streams) {
                    return Ok(taken);
                }
                Some(turn)
            }
        };
        let requests = self.dial_http3(place).await?;
        let settings = requests.peer_settings().await.map_err(|error| {
            tracing::debug!(%endpoint, %error, "a backend's connection ended before its settings came");
            Failure::BackendProtocol
        })?;
        let most = sessions_of(settings);
        let base = Base { bidi: 0, uni: quic::UNI_STREAMS, window: quic::CONNECTION_WINDOW, ahead: STREAMS_AHEAD };
        let allowance = Allowance::new(requests.quic().clone(), base);
        at.is_alone.store(most == 1, Ordering::Relaxed);
        if most == 1 {
            // Closed with its session: backends that know one session for a connection know none after it.
            return Ok((requests, Lease { kept: None, grant: allowance.grant(streams) }));
        }
        let uses = Mutex::new(Uses { sessions: 0, since: Instant::now() });
        let kept = Arc::new(Kept { requests: requests.clone(), allowance, most, uses });
        let lease = kept.take(streams).ok_or(Failure::BackendProtocol)?;
        lock(&at.kept).push(kept);
        Ok((requests, lease))
    }
}

/// How many sessions a connection to such a backend carries. Without flow control for sessions, which drafts before 13 do not
/// know, one client that does not read could hold up those of the others.
fn sessions_of(settings: &Settings) -> usize {
    let config = session::upstream_config();
    let flow_control = flow::Limits::agreed(&config, settings).is_some();
    match Draft::of_server(settings) {
        Ok(draft) if flow_control => {
            let most = draft.max_sessions(settings).unwrap_or(u64::MAX);
            usize::try_from(most).unwrap_or(usize::MAX).clamp(1, MAX_SESSIONS)
        }
        _ => 1,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere on this thread leaves what is behind it whole: it is changed by single calls only.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
