//! `/chat`: one room with subprotocol `chat.v1`, JSON events in text messages.
//!
//! Events: `welcome` (to the newcomer: its name and who is there), `join`, `leave` and `say`. Whoever reads too slowly
//! is put out, so that no member's queue grows for another's sake. Must not know HTTP beyond the handshake.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::answer::{self, Body};
use crate::handshake::{Handshake, Tunnel};
use crate::plain::query;
use crate::server::{Shared, TunnelGuard, stopped};

const SUBPROTOCOL: &str = "chat.v1";

/// How many may be in the room: each event is copied to each, so this bounds the work that one message makes.
const MAX_MEMBERS: usize = 500;

/// How many events may wait for a member. A reader that is this far behind is put out.
const MAX_WAITING: usize = 64;

/// The longest line that a member may say.
const MAX_LINE_OCTETS: usize = 2048;

/// The longest name, in characters.
const MAX_NAME_LENGTH: usize = 24;

/// How many names a newcomer is told.
const MAX_NAMES_TOLD: usize = 50;

/// How long one event may take to leave. Longer means that the member does not read at all.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers a handshake. Whoever does not offer `chat.v1` is refused.
pub(crate) fn open(request: Request<Incoming>, shared: Shared, guard: TunnelGuard) -> Response<Body> {
    let name = query(&request, "name").unwrap_or_default().to_owned();
    let handshake = match Handshake::check(request) {
        Ok(handshake) => handshake,
        Err(answer) => return *answer,
    };
    if !handshake.offered().iter().any(|offered| offered == SUBPROTOCOL) {
        return answer::text(StatusCode::BAD_REQUEST, "the chat speaks chat.v1 only");
    }
    handshake.accept(Some(SUBPROTOCOL), async move |tunnel| {
        visit(tunnel, shared, &name).await;
        drop(guard);
    })
}

/// Who is in the room. The lock is held for map operations only, never across an await.
#[derive(Default)]
pub(crate) struct Room(Mutex<Members>);

#[derive(Default)]
struct Members {
    by_id: BTreeMap<u64, Member>,
    last_id: u64,
}

struct Member {
    name: String,
    events: mpsc::Sender<Utf8Bytes>,
}

/// A member's own end; leaving the room is dropping it.
struct Seat {
    id: u64,
    name: String,
    events: mpsc::Receiver<Utf8Bytes>,
    room: Arc<Room>,
}

impl Room {
    fn members(&self) -> std::sync::MutexGuard<'_, Members> {
        self.0.lock().expect("nothing panics while it holds the room")
    }

    /// Takes a seat, or `None` when the room is full.
    fn join(self: Arc<Self>, wanted: &str) -> Option<Seat> {
        let (events, receiver) = mpsc::channel(MAX_WAITING);
        let mut members = self.members();
        if members.by_id.len() >= MAX_MEMBERS {
            return None;
        }
        members.last_id += 1;
        let id = members.last_id;
        let name = pick_name(wanted, id, &members);
        let names: Vec<&str> = members.by_id.values().map(|m| m.name.as_str()).take(MAX_NAMES_TOLD).collect();
        let welcome = json!({ "event": "welcome", "name": name, "present": names }).to_string();
        events.try_send(welcome.into()).expect("a new queue has room for one");
        members.by_id.insert(id, Member { name: name.clone(), events });
        members.tell("join", &name, None);
        drop(members);
        Some(Seat { id, name, events: receiver, room: self })
    }
}

impl Members {
    /// Queues an event for everybody, and puts out whoever has no room for it.
    fn tell(&mut self, event: &str, name: &str, text: Option<&str>) {
        let mut left = self.deliver(event, name, text);
        // Telling that somebody was put out may find the next one: each turn shortens the list of members.
        while let Some(name) = left.pop() {
            left.extend(self.deliver("leave", &name, None));
        }
    }

    fn deliver(&mut self, event: &str, name: &str, text: Option<&str>) -> Vec<String> {
        let mut value = json!({ "event": event, "name": name, "members": self.by_id.len() });
        if let Some(text) = text {
            value["text"] = text.into();
        }
        let event = Utf8Bytes::from(value.to_string());
        let slow = self.by_id.extract_if(.., |_, member| member.events.try_send(event.clone()).is_err());
        slow.map(|(_, member)| member.name).collect()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut members = self.room.members();
        // Whoever was put out is not there any more, and its leaving was told.
        if members.by_id.remove(&self.id).is_some() {
            members.tell("leave", &self.name, None);
        }
    }
}

/// The wanted name as far as it is fit to be shown and free, else one with the member's number.
fn pick_name(wanted: &str, id: u64, members: &Members) -> String {
    let fit = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = wanted.chars().filter(fit).take(MAX_NAME_LENGTH).collect();
    match name.as_str() {
        "" => format!("guest-{id}"),
        taken if members.by_id.values().any(|member| member.name == taken) => format!("{taken}-{id}"),
        _ => name,
    }
}

async fn visit(mut tunnel: Tunnel, shared: Shared, wanted: &str) {
    let farewell = match Arc::clone(&shared.room).join(wanted) {
        Some(seat) => converse(&mut tunnel, seat, &shared).await,
        None => Some((CloseCode::Again, "the room is full")),
    };
    if let Some((code, reason)) = farewell {
        let frame = CloseFrame { code, reason: reason.into() };
        // Whether a member that is put out still hears why is up to its own reading.
        let _ = tokio::time::timeout(SEND_TIMEOUT, tunnel.close(Some(frame))).await;
    }
}

/// Until the member leaves (`None`), or must (why).
async fn converse<S>(
    tunnel: &mut WebSocketStream<S>,
    mut seat: Seat,
    shared: &Shared,
) -> Option<(CloseCode, &'static str)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stop = std::pin::pin!(stopped(shared.stopping.clone()));
    loop {
        tokio::select! {
            event = seat.events.recv() => {
                let Some(event) = event else { return Some((CloseCode::Policy, "too slow")) };
                let sent = tokio::time::timeout(SEND_TIMEOUT, tunnel.send(Message::Text(event))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return None;
                }
            }
            message = tunnel.next() => match message {
                Some(Ok(Message::Text(line))) if line.len() > MAX_LINE_OCTETS => {
                    return Some((CloseCode::Size, "the line is too long"));
                }
                Some(Ok(Message::Text(line))) => shared.room.members().tell("say", &seat.name, Some(&line)),
                Some(Ok(Message::Binary(_))) => return Some((CloseCode::Unsupported, "the chat is text")),
                // The answer to a close frame waits to be flushed, and another event would be sent in its place, in vain.
                Some(Ok(Message::Close(_))) => {
                    // Whether the member waits for the answer is up to it.
                    let _ = tokio::time::timeout(SEND_TIMEOUT, tunnel.flush()).await;
                    return None;
                }
                // Pings are answered by the next turn of the stream.
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            },
            () = &mut stop => return Some((CloseCode::Away, "the demo stops")),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    fn events(seat: &mut Seat) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(event) = seat.events.try_recv() {
            let value: serde_json::Value = serde_json::from_str(&event).unwrap();
            all.push(format!("{} {}", value["event"].as_str().unwrap(), value["name"].as_str().unwrap()));
        }
        all
    }

    #[test]
    fn names_are_fit_and_unique() {
        let room = Arc::<Room>::default();
        let names = ["ann", "ann", "<b>", "", "a-name-that-is-longer-than-allowed"];
        let seats: Vec<Seat> = names.iter().map(|name| Arc::clone(&room).join(name).unwrap()).collect();
        let got: Vec<&str> = seats.iter().map(|seat| seat.name.as_str()).collect();
        assert_eq!(got, ["ann", "ann-2", "b", "guest-4", "a-name-that-is-longer-th"]);
    }

    #[test]
    fn joins_and_leaves_are_told() {
        let room = Arc::<Room>::default();
        let mut ann = Arc::clone(&room).join("ann").unwrap();
        let bob = Arc::clone(&room).join("bob").unwrap();
        room.members().tell("say", "bob", Some("hello"));
        drop(bob);
        assert_eq!(events(&mut ann), ["welcome ann", "join ann", "join bob", "say bob", "leave bob"]);
    }

    #[tokio::test]
    async fn whoever_leaves_amid_events_is_answered() {
        let (_stop, stopping) = tokio::sync::watch::channel(false);
        for _ in 0..20 {
            let shared = Shared { room: Arc::default(), stopping: stopping.clone() };
            let seat = Arc::clone(&shared.room).join("ann").unwrap();
            for _ in 0..MAX_WAITING / 2 {
                shared.room.members().tell("say", "bob", Some("again"));
            }
            let (near, far) = tokio::io::duplex(1 << 16);
            let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
            let code = CloseCode::Normal;
            client.close(Some(CloseFrame { code, reason: "done".into() })).await.unwrap();
            let mut tunnel = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
            assert_eq!(converse(&mut tunnel, seat, &shared).await, None);
            drop(tunnel);
            let mut answer = None;
            while let Some(Ok(message)) = client.next().await {
                answer = Some(message);
            }
            assert!(matches!(answer, Some(Message::Close(Some(frame))) if frame.code == code));
        }
    }

    #[test]
    fn a_slow_member_is_put_out_and_the_others_hear_of_it() {
        let room = Arc::<Room>::default();
        let mut quick = Arc::clone(&room).join("quick").unwrap();
        let mut slow = Arc::clone(&room).join("slow").unwrap();
        let mut left = Vec::new();
        for _ in 0..MAX_WAITING {
            room.members().tell("say", "quick", Some("again"));
            left.extend(events(&mut quick).into_iter().filter(|event| event.starts_with("leave")));
        }
        assert_eq!(left, ["leave slow"]);
        let mut waiting = 0;
        while slow.events.try_recv().is_ok() {
            waiting += 1;
        }
        assert_eq!(waiting, MAX_WAITING);
        assert!(matches!(slow.events.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
    }
}
