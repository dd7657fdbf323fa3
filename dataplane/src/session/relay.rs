//! A client's session and a backend's, as one.
//!
//! Owns that every stream of one side is a stream of the other, that datagrams pass, and that drain and end do. A stream
//! that was opened on one side waits, unread, until it can be opened on the other; those behind it wait in their session,
//! whose flow control tells their sender.

use std::sync::Arc;

use headrace_http3::Code;
use headrace_http3::webtransport::{Ended, Session};

use super::datagrams::Datagrams;
use super::ends::{Receiving, Sending};
use super::pipe::{self, Pipe};
use super::running::Running;
use crate::metrics::{SessionEnd, SessionSide, StreamKind};
use crate::upstream::OpenedSession;
use crate::worker::Worker;

/// What a session is reset with whose time is up, as the tunnels are.
pub(super) const CUT: Code = Code::H3_REQUEST_CANCELLED;

/// What a stream is refused with that a rule does not allow: it was not looked at.
pub(super) const STREAM_REFUSED: Code = Code::WT_BUFFERED_STREAM_REJECTED;

/// Relays until one of the sessions is over, or time is up.
pub(super) async fn run(worker: &Worker, running: &Arc<Running>, client: &Session, opened: OpenedSession) {
    let backend = opened.session;
    let side = |from, to, side| Side { running, from, to, side };
    let (up, down) = (side(client, &backend, SessionSide::Client), side(&backend, client, SessionSide::Backend));
    let carried = async {
        tokio::join!(up.bidi(), up.uni(), up.datagrams(), down.bidi(), down.uni(), down.datagrams());
        // Each of them ends with a session, which is heard of below.
        std::future::pending::<()>().await;
    };
    let how = tokio::select! {
        // What ends both is the client's doing first.
        biased;
        ended = client.closed() => {
            pass_on(&ended, &backend);
            end_of_client(&ended)
        }
        ended = backend.closed() => {
            pass_on(&ended, client);
            end_of_backend(&ended)
        }
        how = running.clock.over() => {
            client.reset(CUT);
            backend.reset(CUT);
            how
        }
        () = drains(worker, client, &backend) => unreachable!("it goes on for as long as the sessions do"),
        () = carried => unreachable!("it waits for the sessions' end"),
    };
    running.ended(how);
    drop(opened.lease);
}

/// Tells each side that the other wants the session to end soon, and both when this pod does.
async fn drains(worker: &Worker, client: &Session, backend: &Session) {
    tokio::join!(
        async {
            client.drained().await;
            backend.drain();
        },
        async {
            backend.drained().await;
            client.drain();
        },
        async {
            worker.drain.started().await;
            client.drain();
            backend.drain();
        },
    );
    std::future::pending().await
}

/// Ends a session as the other one ended.
fn pass_on(ended: &Ended, to: &Session) {
    match ended {
        Ended::ByPeer { code, reason } => to.close(*code, reason),
        other => to.reset(other.code()),
    }
}

/// How a session ended, of which this is the client's side.
pub(super) fn end_of_client(ended: &Ended) -> SessionEnd {
    match ended {
        Ended::ByPeer { .. } | Ended::ByUs { .. } => SessionEnd::ClientClosed,
        Ended::Reset(_) => SessionEnd::ClientReset,
        Ended::Aborted { .. } => SessionEnd::ClientViolation,
        Ended::Connection(error) if error.is_peers_fault() => SessionEnd::ClientViolation,
        Ended::Connection(_) => SessionEnd::ClientGone,
    }
}

fn end_of_backend(ended: &Ended) -> SessionEnd {
    match end_of_client(ended) {
        SessionEnd::ClientClosed => SessionEnd::BackendClosed,
        SessionEnd::ClientReset => SessionEnd::BackendReset,
        SessionEnd::ClientViolation => SessionEnd::BackendViolation,
        _ => SessionEnd::BackendGone,
    }
}

/// What one side opens and sends.
#[derive(Clone, Copy)]
struct Side<'a> {
    running: &'a Arc<Running>,
    from: &'a Session,
    to: &'a Session,
    side: SessionSide,
}

impl Side<'_> {
    fn other(&self) -> SessionSide {
        match self.side {
            SessionSide::Client => SessionSide::Backend,
            SessionSide::Backend => SessionSide::Client,
        }
    }

    async fn bidi(self) {
        while let Ok((mut send, mut recv)) = self.from.accept_bi().await {
            // A flood of streams must not keep the thread.
            tokio::task::consume_budget().await;
            let Ok(ticket) = self.running.admit(self.side, StreamKind::Bidirectional) else {
                send.reset(STREAM_REFUSED);
                recv.stop_sending(STREAM_REFUSED);
                continue;
            };
            let Ok((to_send, to_recv)) = self.to.open_bi().await else { return };
            self.running.opened(self.side, StreamKind::Bidirectional);
            let there = Pipe::new(Receiving::from(recv), Sending::from(to_send), self.side, self.running);
            let back = Pipe::new(Receiving::from(to_recv), Sending::from(send), self.other(), self.running);
            tokio::spawn(async move {
                pipe::join(there, back).await;
                drop(ticket);
            });
        }
    }

    async fn uni(self) {
        while let Ok(mut recv) = self.from.accept_uni().await {
            tokio::task::consume_budget().await;
            let Ok(ticket) = self.running.admit(self.side, StreamKind::Unidirectional) else {
                recv.stop_sending(STREAM_REFUSED);
                continue;
            };
            let Ok(to_send) = self.to.open_uni().await else { return };
            self.running.opened(self.side, StreamKind::Unidirectional);
            let there = Pipe::new(Receiving::from(recv), Sending::from(to_send), self.side, self.running);
            tokio::spawn(async move {
                there.run().await;
                drop(ticket);
            });
        }
    }

    async fn datagrams(self) {
        Datagrams::new(self.running, self.from, self.side).carry(self.to).await;
    }
}
