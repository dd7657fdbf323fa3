//! A local UDP socket: each address that sends to it is a flow, and each flow a session.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headrace_http3::webtransport::{DatagramError, Session};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::link::Link;
use crate::output::complain;

/// Flows of a listener at once. The one that was silent for longest makes room.
const MAX_FLOWS: usize = 256;
/// A flow on which nothing came or went for so long is closed. What RFC 4787, section 4.3, asks of a NAT at least.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long datagrams wait for their session. Who asks again by then does so with a new one.
const SESSION_TIMEOUT: Duration = Duration::from_secs(5);
/// Datagrams of a flow that wait for their session. More are dropped.
const QUEUED_DATAGRAMS: usize = 64;
/// No UDP datagram is larger.
const MAX_DATAGRAM_OCTETS: usize = 65_535;
/// The pause after a read failed.
const READ_PAUSE: Duration = Duration::from_millis(50);

/// A flow as the listener has it.
struct Flow {
    number: u64,
    datagrams: mpsc::Sender<Bytes>,
    last: Instant,
}

/// Serves for ever. Flows end with it.
pub(super) async fn serve(socket: UdpSocket, link: Arc<Link>, verbose: bool) {
    let socket = Arc::new(socket);
    let mut flows: HashMap<SocketAddr, Flow> = HashMap::new();
    let mut running = JoinSet::new();
    let mut begun = 0;
    let mut buffer = vec![0; MAX_DATAGRAM_OCTETS];
    loop {
        let (size, from) = tokio::select! {
            Some(ended) = running.join_next() => {
                if let Ok((from, number)) = ended
                    && flows.get(&from).is_some_and(|flow| flow.number == number)
                {
                    flows.remove(&from);
                }
                continue;
            }
            received = socket.recv_from(&mut buffer) => match received {
                Ok(received) => received,
                Err(error) => {
                    complain(&format!("udp: a datagram was not received: {error}"));
                    sleep(READ_PAUSE).await;
                    continue;
                }
            },
        };
        let datagram = Bytes::copy_from_slice(&buffer[..size]);
        let Some(datagram) = hand_over(&mut flows, from, datagram) else { continue };
        make_room(&mut flows, verbose);
        begun += 1;
        let (datagrams, waiting) = mpsc::channel(QUEUED_DATAGRAMS);
        let _ = datagrams.try_send(datagram);
        flows.insert(from, Flow { number: begun, datagrams, last: Instant::now() });
        let (link, socket, number) = (Arc::clone(&link), Arc::clone(&socket), begun);
        running.spawn(async move {
            flow(&link, &socket, from, waiting, verbose).await;
            (from, number)
        });
    }
}

/// Gives a datagram to its flow, and back if there is none.
fn hand_over(flows: &mut HashMap<SocketAddr, Flow>, from: SocketAddr, datagram: Bytes) -> Option<Bytes> {
    let Some(flow) = flows.get_mut(&from) else { return Some(datagram) };
    flow.last = Instant::now();
    match flow.datagrams.try_send(datagram) {
        Ok(()) | Err(TrySendError::Full(_)) => None,
        Err(TrySendError::Closed(datagram)) => Some(datagram),
    }
}

fn make_room(flows: &mut HashMap<SocketAddr, Flow>, verbose: bool) {
    if flows.len() < MAX_FLOWS {
        return;
    }
    let silent = flows.iter().min_by_key(|(_, flow)| flow.last).map(|(from, _)| *from);
    if let Some(from) = silent {
        // Its task ends when it has sent what waits.
        flows.remove(&from);
        if verbose {
            complain(&format!("udp {from}: closed to make room, {MAX_FLOWS} flows are open"));
        }
    }
}

async fn flow(link: &Link, socket: &UdpSocket, from: SocketAddr, mut datagrams: mpsc::Receiver<Bytes>, verbose: bool) {
    let Ok(opened) = timeout(SESSION_TIMEOUT, link.open()).await else {
        return complain(&format!("udp {from}: no session within {} s: dropped", SESSION_TIMEOUT.as_secs()));
    };
    // The link has said why.
    let Ok(linked) = opened else { return };
    if verbose {
        complain(&format!("udp {from}: session {}", linked.session.id()));
    }
    let end = carry(&linked.session, socket, from, &mut datagrams).await;
    match end {
        FlowEnd::Idle | FlowEnd::Room => linked.session.close(0, ""),
        FlowEnd::Session => {
            if let Some(ended) = linked.session.ended().filter(|ended| !ended.is_close()) {
                link.failed(&format!("udp {from}: the session ended: {ended}"));
            }
        }
    }
    if verbose {
        complain(&format!("udp {from}: {}", end.label()));
    }
}

/// Why a flow is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlowEnd {
    Idle,
    Room,
    Session,
}

impl FlowEnd {
    fn label(self) -> &'static str {
        match self {
            FlowEnd::Idle => "closed, nothing came or went",
            FlowEnd::Room => "closed, others need the room",
            FlowEnd::Session => "the session is over",
        }
    }
}

async fn carry(
    session: &Session,
    socket: &UdpSocket,
    from: SocketAddr,
    datagrams: &mut mpsc::Receiver<Bytes>,
) -> FlowEnd {
    let mut complained = false;
    loop {
        let idle = sleep_until(Instant::now() + IDLE_TIMEOUT);
        tokio::select! {
            datagram = datagrams.recv() => {
                let Some(datagram) = datagram else { return FlowEnd::Room };
                match session.send_datagram(&datagram) {
                    Ok(()) => {}
                    Err(DatagramError::Ended(_)) => return FlowEnd::Session,
                    // Once: a path does not become wider for being told again.
                    Err(_) if complained => {}
                    Err(error) => {
                        complained = true;
                        let most = session.max_datagram_size().unwrap_or(0);
                        let size = datagram.len();
                        complain(&format!("udp {from}: {size} octets dropped: {error} (at most {most})"));
                    }
                }
            }
            datagram = session.recv_datagram() => {
                let Ok(datagram) = datagram else { return FlowEnd::Session };
                // Whoever sent first may have gone: that is UDP.
                let _ = socket.send_to(&datagram, from).await;
            }
            () = idle => return FlowEnd::Idle,
        }
    }
}
