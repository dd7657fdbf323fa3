//! A session without one behind it: its streams become TCP connections, its datagrams a UDP flow.
//!
//! Owns which endpoint each gets, and which code a stream is reset with that gets none. By which rule a session came is all
//! that says where it leads: nothing that it carries is looked at.

use std::net::SocketAddr;
use std::sync::Arc;

use headrace_http3::Code;
use headrace_http3::webtransport::{RecvStream, SendStream, Session, codes};
use headrace_table::{Action, Destination, Rule, WeightedBackends};

use super::running::Running;
use super::{relay, tcp, udp};
use crate::failure::Failure;
use crate::metrics::{SessionSide, StreamKind, StreamRefusal};
use crate::proxy;
use crate::worker::{View, Worker};

/// The application's code of a stream whose TCP connection was reset, or could go on no longer.
pub(super) const RESET: u32 = 1;

/// That of a stream whose backend could not be connected to, as the status would be.
const UNREACHABLE: u32 = 502;

/// That of a stream for which there is no backend, likewise.
const NO_BACKEND: u32 = 503;

/// The backends of a rule, kept beyond the table that it came from.
pub(super) struct Backends(Arc<Rule>);

impl Backends {
    /// Those of a rule whose destination is [`Destination::Streams`].
    pub(super) fn of(rule: &Arc<Rule>) -> Self {
        Self(Arc::clone(rule))
    }

    fn both(&self) -> (&WeightedBackends, &WeightedBackends) {
        match &self.0.action {
            Action::WebTransport(rules) => match &rules.destination {
                Destination::Streams { tcp, udp } => (tcp, udp),
                Destination::Session(_) => unreachable!("such a session has a backend of its own"),
            },
            _ => unreachable!("only such a rule opens sessions"),
        }
    }

    pub(super) fn tcp(&self) -> &WeightedBackends {
        self.both().0
    }

    pub(super) fn udp(&self) -> &WeightedBackends {
        self.both().1
    }
}

/// The endpoints to try, by the table that is served now: a session may be older.
pub(super) fn endpoints(view: &View, worker: &Worker, backends: &WeightedBackends) -> Result<Vec<SocketAddr>, Failure> {
    let chosen = proxy::choose(backends, worker.draw())?;
    let upstream = proxy::upstream(view, worker, chosen)?;
    let endpoints: Vec<_> = upstream.candidates(worker.draw()).collect();
    if endpoints.is_empty() { Err(Failure::NoEndpoints) } else { Ok(endpoints) }
}

/// Serves a session until it is over, or time is up.
pub(super) async fn run(worker: &Arc<Worker>, running: &Arc<Running>, client: &Session, backends: Backends) {
    let here = Here { worker, running, client, backends: Arc::new(backends) };
    let carried = async {
        tokio::join!(here.bidi(), here.uni(), udp::carry(worker, running, client, &here.backends));
        // Each of them ends with the session, which is heard of below.
        std::future::pending::<()>().await;
    };
    let drain = async {
        worker.drain.started().await;
        client.drain();
        std::future::pending::<()>().await;
    };
    let how = tokio::select! {
        biased;
        ended = client.closed() => relay::end_of_client(&ended),
        how = running.clock.over() => {
            client.reset(relay::CUT);
            how
        }
        () = drain => unreachable!("it goes on for as long as the session does"),
        () = carried => unreachable!("it waits for the session's end"),
    };
    running.ended(how);
}

struct Here<'a> {
    worker: &'a Arc<Worker>,
    running: &'a Arc<Running>,
    client: &'a Session,
    backends: Arc<Backends>,
}

impl Here<'_> {
    async fn bidi(&self) {
        while let Ok((send, recv)) = self.client.accept_bi().await {
            self.stream(Some(send), recv).await;
        }
    }

    async fn uni(&self) {
        while let Ok(recv) = self.client.accept_uni().await {
            self.stream(None, recv).await;
        }
    }

    async fn stream(&self, send: Option<SendStream>, recv: RecvStream) {
        // A flood of streams must not keep the thread.
        tokio::task::consume_budget().await;
        let kind = if send.is_some() { StreamKind::Bidirectional } else { StreamKind::Unidirectional };
        let Ok(ticket) = self.running.admit(SessionSide::Client, kind) else {
            return refuse(send, recv, relay::STREAM_REFUSED);
        };
        let (worker, running) = (Arc::clone(self.worker), Arc::clone(self.running));
        let backends = Arc::clone(&self.backends);
        tokio::spawn(async move {
            match connect(&worker, &backends).await {
                Ok(stream) => {
                    running.opened(SessionSide::Client, kind);
                    // On its own, so that what dialling needed is let go of.
                    tokio::spawn(async move {
                        tcp::carry(&running, send, recv, stream).await;
                        drop(ticket);
                    });
                }
                Err(refusal) => {
                    running.refused(refusal);
                    let code = if refusal == StreamRefusal::NoBackend { NO_BACKEND } else { UNREACHABLE };
                    refuse(send, recv, codes::from_application(code));
                }
            }
        });
    }
}

async fn connect(worker: &Worker, backends: &Backends) -> Result<tokio::net::TcpStream, StreamRefusal> {
    let view = worker.view();
    let endpoints = endpoints(&view, worker, backends.tcp()).map_err(|_| StreamRefusal::NoBackend)?;
    drop(view);
    for endpoint in endpoints {
        if let Ok(stream) = crate::upstream::dial_stream(endpoint, &worker.metrics).await {
            return Ok(stream);
        }
    }
    Err(StreamRefusal::BackendUnreachable)
}

fn refuse(send: Option<SendStream>, mut recv: RecvStream, code: Code) {
    if let Some(mut send) = send {
        send.reset(code);
    }
    recv.stop_sending(code);
}
