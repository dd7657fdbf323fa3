//! A controller, played: the real publisher behind a real gRPC server with TLS. What it says and hears is recorded, and it
//! can be told to be a follower, or to break off in the middle.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::Stream;
use headrace_push::proto::from_subscriber::Message as From;
use headrace_push::proto::to_subscriber::Message as To;
use headrace_push::proto::{FromSubscriber, ToSubscriber};
use headrace_push::{Event, Member, Publisher, Report, Sections, SubscriberId, Version};
use headrace_table::wire;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;
use tonic::codegen::Service as _;
use tonic::{Request, Response, Status, Streaming};

use crate::authority::Authority;
use crate::patience::eventually;
use crate::service::push_server::{Push, PushServer};

/// The one token that is taken.
pub(crate) const TOKEN: &str = "token-of-the-pod";

/// The name that pods know controllers by.
pub(crate) const NAME: &str = "localhost";

/// What a controller does with subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Leader,
    /// Refuses them all.
    Follower,
    /// Ends the stream in place of every Commit.
    BreaksOff,
    /// Leaves the parts of every version out.
    LosesParts,
}

/// A running controller.
pub(crate) struct Controller {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    accepting: AbortOnDropHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    /// Told of everything that streams may have to act on.
    changed: watch::Sender<()>,
    next_id: AtomicU64,
}

struct State {
    role: Role,
    publisher: Publisher,
    events: Vec<Event>,
    /// What subscribers said they hold.
    hellos: Vec<Option<Version>>,
    /// What the last one is found by.
    member: Option<Member>,
    /// What they said of their QUIC connections.
    reports: Vec<Report>,
    /// The messages that were sent, in a word each.
    sent: Vec<&'static str>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Controller {
    /// Leads with this epoch.
    pub(crate) async fn leading(port: u16, ca: &Authority, epoch: u64) -> Self {
        Self::start(port, ca.server(NAME), epoch, Role::Leader).await
    }

    pub(crate) async fn start(port: u16, tls: Arc<ServerConfig>, epoch: u64, role: Role) -> Self {
        let publisher = Publisher::new(epoch);
        let (events, hellos, sent) = (Vec::new(), Vec::new(), Vec::new());
        let state = State { role, publisher, events, hellos, member: None, reports: Vec::new(), sent };
        let shared =
            Arc::new(Shared { state: Mutex::new(state), changed: watch::Sender::new(()), next_id: AtomicU64::new(0) });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(address).await.unwrap();
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(tls), Arc::clone(&shared)));
        Self { port, shared, accepting: AbortOnDropHandle::new(accepting) }
    }

    pub(crate) fn publish(&self, table: &wire::Table) -> Version {
        let version = self.shared.state().publisher.publish(Arc::new(Sections::of(table, None))).unwrap();
        self.shared.changed.send_replace(());
        version
    }

    /// From now on. A follower's streams end.
    pub(crate) fn play(&self, role: Role) {
        self.shared.state().role = role;
        self.shared.changed.send_replace(());
    }

    /// Ends it with its connections, as the end of its process does.
    pub(crate) async fn end(self) {
        self.accepting.abort();
        let ended = self.accepting.await;
        assert!(ended.unwrap_err().is_cancelled());
    }

    /// What subscribers answered so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.shared.state().events.clone()
    }

    pub(crate) fn hellos(&self) -> Vec<Option<Version>> {
        self.shared.state().hellos.clone()
    }

    pub(crate) fn member(&self) -> Option<Member> {
        self.shared.state().member.clone()
    }

    /// What subscribers said last of their QUIC connections.
    pub(crate) fn report(&self) -> Option<Report> {
        self.shared.state().reports.last().copied()
    }

    pub(crate) fn sent(&self) -> Vec<&'static str> {
        self.shared.state().sent.clone()
    }

    /// Until the last answer is this.
    pub(crate) async fn hears(&self, event: &Event) {
        eventually(&format!("{event:?}"), async || (self.events().last() == Some(event)).then_some(())).await;
    }

    /// Until this version was accepted without a fault.
    pub(crate) async fn acknowledged(&self, version: Version) {
        self.hears(&Event::Accepted { version, faults: Vec::new() }).await;
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, server) = (tls.clone(), PushServer::new(Subscriptions(Arc::clone(&shared))));
        connections.spawn(async move {
            // Whoever does not trust us hangs up.
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request| server.clone().call(request));
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            let _ended = connection.await;
        });
    }
}

struct Subscriptions(Arc<Shared>);

type Outgoing = mpsc::Sender<Result<ToSubscriber, Status>>;

#[tonic::async_trait]
impl Push for Subscriptions {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<ToSubscriber, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<FromSubscriber>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        if self.0.state().role == Role::Follower {
            return Err(Status::unavailable("not the leader"));
        }
        let authorization = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if authorization != Some(&format!("Bearer {TOKEN}")) {
            return Err(Status::unauthenticated("the token is not known"));
        }
        let (outgoing, mut queue) = mpsc::channel(1);
        let incoming = request.into_inner();
        tokio::spawn(converse(Arc::clone(&self.0), incoming, outgoing));
        Ok(Response::new(Box::pin(futures::stream::poll_fn(move |context| queue.poll_recv(context)))))
    }
}

async fn converse(shared: Arc<Shared>, mut incoming: Streaming<FromSubscriber>, outgoing: Outgoing) {
    let id = SubscriberId(shared.next_id.fetch_add(1, Ordering::Relaxed));
    let mut changed = shared.changed.subscribe();
    shared.state().publisher.open(id);
    loop {
        if shared.state().role == Role::Follower {
            let _hung_up = outgoing.send(Err(Status::unavailable("not the leader any more"))).await;
            break;
        }
        if !send_all(&shared, id, &outgoing).await {
            break;
        }
        tokio::select! {
            message = incoming.message() => match message {
                Ok(Some(message)) => hear(&shared, id, message),
                _ => break,
            },
            told = changed.changed() => told.unwrap(),
        }
    }
    shared.state().publisher.close(id);
}

/// Says what there is to say, and tells whether to go on.
async fn send_all(shared: &Shared, id: SubscriberId, outgoing: &Outgoing) -> bool {
    loop {
        let (message, role) = {
            let mut state = shared.state();
            let Some(message) = state.publisher.poll(id) else { return true };
            let word = match message.message.as_ref().unwrap() {
                To::InventoryRequest(_) => "InventoryRequest",
                To::Begin(_) => "Begin",
                To::Part(_) => "Part",
                To::Commit(_) => "Commit",
                To::Adopt(_) => "Adopt",
            };
            state.sent.push(word);
            (message, state.role)
        };
        match (role, message.message.as_ref().unwrap()) {
            (Role::BreaksOff, To::Commit(_)) => return false,
            (Role::LosesParts, To::Part(_)) => continue,
            _ => {}
        }
        if outgoing.send(Ok(message)).await.is_err() {
            return false;
        }
    }
}

fn hear(shared: &Shared, id: SubscriberId, message: FromSubscriber) {
    let mut state = shared.state();
    if let Some(From::Hello(hello)) = &message.message {
        state.hellos.push(hello.held.clone().map(|held| held.try_into().unwrap()));
    }
    match state.publisher.receive(id, message).unwrap() {
        Some(Event::Reported(report)) => state.reports.push(report),
        event => state.events.extend(event),
    }
    if let Some(member) = state.publisher.member(id).cloned() {
        state.member = Some(member);
    }
}
