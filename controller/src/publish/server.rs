//! The gRPC service: a stream that is opened by a pod of ours, and what happens on it until it ends.
//!
//! Owns the order of things on a stream: first who dials, then whether we lead, and only then a word of what it says. It
//! must not know what the messages mean.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headrace_push::proto::{FromSubscriber, ToSubscriber};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::hub::{Hub, NotLeader, Subscription};
use super::identity::{Authenticator, PodIdentity, Stranger};
use super::listen::{Grip, Hold};
use super::metrics::{Ended, PushMetrics, Turned};
use super::paced::Paced;
use crate::metrics::Label as _;
use service::push_server::{Push, PushServer};

#[allow(
    missing_docs,
    unreachable_pub,
    rust_2018_idioms,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
mod service {
    tonic::include_proto!("headrace.push.v1");
}

/// Octets of a message from a pod. An answer with as many faults as it may have is half of it.
const MAX_MESSAGE_OCTETS: usize = 4 * 1024 * 1024;

/// Messages to a pod that wait for HTTP/2 to take them, each of at most 256 KiB. The next one is made when this has gone.
const OUTGOING: usize = 1;

/// For the last word on a stream to be taken. Who does not is cut off.
const FAREWELL: Duration = Duration::from_secs(2);

/// The service.
pub(crate) struct PushService {
    hub: Arc<Hub>,
    authenticator: Arc<Authenticator>,
    metrics: Arc<PushMetrics>,
    refusals: Paced<Turned>,
    reviewed_every: Duration,
    stop: CancellationToken,
}

impl PushService {
    /// `reviewed_every`: how often a token is reviewed while its stream is open.
    pub(crate) fn new(
        hub: Arc<Hub>,
        authenticator: Arc<Authenticator>,
        metrics: Arc<PushMetrics>,
        reviewed_every: Duration,
        stop: CancellationToken,
    ) -> Self {
        Self { hub, authenticator, metrics, refusals: Paced::new(), reviewed_every, stop }
    }

    /// As tonic serves it.
    pub(crate) fn into_server(self) -> PushServer<Self> {
        PushServer::new(self).max_decoding_message_size(MAX_MESSAGE_OCTETS)
    }

    /// Turns a stream away: counted, told at a bounded rate, and answered.
    fn turn_away(&self, turned: Turned, status: Status) -> Status {
        self.metrics.refused(turned);
        // That followers turn pods away is how pods find the leader.
        if turned != Turned::NotLeader
            && let Some(unsaid) = self.refusals.admit(turned, Instant::now())
        {
            tracing::warn!(reason = turned.label(), unsaid, "push: a subscription is refused");
        }
        status
    }
}

/// The status that a stranger sees.
fn status_of(stranger: Stranger) -> Status {
    let message = stranger.to_string();
    match stranger {
        Stranger::NoToken | Stranger::OtherAudience | Stranger::Invalid => Status::unauthenticated(message),
        Stranger::OtherServiceAccount | Stranger::NotBoundToPod => Status::permission_denied(message),
        Stranger::ReviewUnavailable => Status::unavailable(message),
    }
}

fn authorization(metadata: &MetadataMap) -> Option<&[u8]> {
    metadata.get("authorization").map(|value| value.as_encoded_bytes())
}

#[tonic::async_trait]
impl Push for PushService {
    type SubscribeStream = ReceiverStream<Result<ToSubscriber, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<FromSubscriber>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        // A connection that we accepted has one; without it there is nothing to hold on to.
        let grip = request.extensions().get::<Grip>().ok_or_else(|| Status::internal("not a connection of ours"))?;
        let hold = grip.hold().ok_or_else(|| Status::unavailable("this connection was turned away"))?;
        let token = authorization(request.metadata()).map(<[u8]>::to_vec);
        let pod = self.authenticator.authenticate(token.as_deref()).await;
        let pod = pod.map_err(|stranger| {
            hold.dismiss();
            self.turn_away(Turned::Stranger(stranger), status_of(stranger))
        })?;
        let opened = self.hub.open(&pod);
        let subscription = opened
            .map_err(|not_leader| self.turn_away(Turned::NotLeader, Status::unavailable(not_leader.to_string())))?;
        tracing::info!(pod = pod.name, pod_set = pod.pod_set, "push: a pod subscribes");
        let (outgoing, answer) = mpsc::channel(OUTGOING);
        let exchange = Exchange {
            hub: Arc::clone(&self.hub),
            authenticator: Arc::clone(&self.authenticator),
            metrics: Arc::clone(&self.metrics),
            reviewed_every: self.reviewed_every,
            stop: self.stop.clone(),
            pod,
            token,
            subscription,
            outgoing,
        };
        tokio::spawn(exchange.run(request.into_inner(), hold));
        Ok(Response::new(ReceiverStream::new(answer)))
    }
}

/// One open stream.
struct Exchange {
    hub: Arc<Hub>,
    authenticator: Arc<Authenticator>,
    metrics: Arc<PushMetrics>,
    reviewed_every: Duration,
    stop: CancellationToken,
    pod: PodIdentity,
    /// Is reviewed again while the stream is open.
    token: Option<Vec<u8>>,
    subscription: Subscription,
    outgoing: mpsc::Sender<Result<ToSubscriber, Status>>,
}

impl Exchange {
    async fn run(self, incoming: Streaming<FromSubscriber>, hold: Hold) {
        let ended = self.exchange(incoming).await;
        self.hub.close(&self.pod.pod_set, &self.subscription);
        self.metrics.ended(ended);
        tracing::info!(pod = self.pod.name, reason = ended.label(), "push: a pod's stream has ended");
        if let Some(status) = farewell(ended) {
            let told = tokio::time::timeout(FAREWELL, self.outgoing.send(Err(status))).await;
            if told.is_err() {
                hold.cut();
            }
        }
    }

    async fn exchange(&self, mut incoming: Streaming<FromSubscriber>) -> Ended {
        let revoked = self.revoked();
        tokio::pin!(revoked);
        // Whatever was published before the stream was there waits for it.
        let mut is_idle = false;
        loop {
            tokio::select! {
                () = self.subscription.stream.wake.notified() => {
                    if let Some(ended) = self.subscription.stream.ended() {
                        return ended;
                    }
                    is_idle = false;
                }
                message = incoming.message() => {
                    // After a transport's error there is as little to read as after the end.
                    let Ok(Some(message)) = message else { return Ended::Gone };
                    if let Err(violation) = self.hub.receive(&self.pod, &self.subscription, message) {
                        tracing::warn!(pod = self.pod.name, %violation, "push: a pod breaks the rules of the exchange");
                        return Ended::Violation;
                    }
                    is_idle = false;
                }
                place = self.outgoing.reserve(), if !is_idle => {
                    let Ok(place) = place else { return Ended::Gone };
                    match self.hub.poll(&self.pod.pod_set, &self.subscription) {
                        Some(message) => place.send(Ok(message)),
                        None => is_idle = true,
                    }
                }
                () = self.outgoing.closed() => return Ended::Gone,
                () = &mut revoked => return Ended::Revoked,
                () = self.stop.cancelled() => return Ended::Shutdown,
            }
        }
    }

    /// Until the token no longer tells the pod that it told. That nobody can say so at the moment changes nothing.
    async fn revoked(&self) {
        loop {
            tokio::time::sleep(self.reviewed_every).await;
            match self.authenticator.authenticate_again(self.token.as_deref()).await {
                Ok(pod) if pod == self.pod => {}
                Err(Stranger::ReviewUnavailable) => {}
                Ok(_) => return,
                Err(stranger) => {
                    tracing::info!(pod = self.pod.name, reason = stranger.label(), "push: the token holds no longer");
                    return;
                }
            }
        }
    }
}

/// What a pod is told at the end.
fn farewell(ended: Ended) -> Option<Status> {
    match ended {
        Ended::Gone => None,
        Ended::Followed => Some(Status::aborted("the pod has opened another stream")),
        Ended::Stalled => Some(Status::deadline_exceeded("no answer to a table in time")),
        Ended::Violation => Some(Status::invalid_argument("a message that breaks the rules of the exchange")),
        Ended::Revoked => Some(Status::unauthenticated(Stranger::Invalid.to_string())),
        Ended::NotLeader => Some(Status::unavailable(NotLeader.to_string())),
        Ended::Shutdown => Some(Status::unavailable("shutting down")),
    }
}
