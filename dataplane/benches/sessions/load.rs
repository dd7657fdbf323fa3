//! The load: sessions that are opened, and echoes that are asked for. Knows nothing of whom it loads.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokio::time::timeout;

use crate::link::{Client, Clients, Link, Receiver, Sender};

/// Octets of a datagram and of a message.
pub(crate) const MESSAGE: usize = 64;

/// Octets of one write, and of one read.
const PIECE: usize = 64 << 10;

/// Datagrams that each session has on their way.
const IN_FLIGHT: usize = 8;

/// After which time a datagram is lost.
const LOST: Duration = Duration::from_millis(200);

/// How long a stream that takes nothing is taken for stalled.
const STALLED: Duration = Duration::from_millis(500);

/// Who takes so much for a reader that reads nothing takes everything: no proxy's buffers and windows are meant to be larger,
/// and the machine's memory is.
pub(crate) const FILL_AT_MOST: usize = 64 << 20;

/// How long anything may take to open, before it is given up.
const OPENS_WITHIN: Duration = Duration::from_secs(10);

/// Connections that are made at once.
const AT_ONCE: usize = 8;

/// How many connections, and sessions on each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) sessions: usize,
}

/// Open sessions, with what holds them.
pub(crate) struct Opened {
    pub(crate) links: Vec<Link>,
    _clients: Vec<Client>,
}

/// A stream that is open at both ends.
pub(crate) type Stream = (Sender, Receiver);

/// Opens sessions.
pub(crate) async fn open(clients: &Clients, shape: Shape) -> Result<Opened, String> {
    let mut opened = Opened { links: Vec::new(), _clients: Vec::new() };
    let mut left = shape.connections;
    while left > 0 {
        let some = left.min(AT_ONCE);
        let connections = (0..some).map(|_| async {
            let mut client = clients.connect().await?;
            let mut links = Vec::with_capacity(shape.sessions);
            for _ in 0..shape.sessions {
                links.push(client.link().await?);
            }
            Ok::<_, String>((client, links))
        });
        let connections = timeout(OPENS_WITHIN, try_join_all(connections)).await;
        for (client, links) in connections.map_err(|_| "no answer to a request for a session".to_owned())?? {
            opened._clients.push(client);
            opened.links.extend(links);
        }
        left -= some;
    }
    Ok(opened)
}

/// Opens so many streams in each session, which have echoed a message.
pub(crate) async fn open_streams(links: &[Link], each: usize) -> Result<Vec<Stream>, String> {
    let mut streams = Vec::with_capacity(links.len() * each);
    for link in links {
        for _ in 0..each {
            let opening = async {
                let mut stream = link.open().await;
                echo(&mut stream).await;
                stream
            };
            streams.push(timeout(OPENS_WITHIN, opening).await.map_err(|_| "a stream's octets do not come back")?);
        }
    }
    Ok(streams)
}

/// One message there and back.
pub(crate) async fn echo((send, recv): &mut Stream) {
    let mut message = [7; MESSAGE];
    send.write_all(&message).await;
    recv.read_exactly(MESSAGE, &mut message).await;
}

/// Messages one after the other on every stream, and all streams at once.
pub(crate) async fn messages(streams: &mut [Stream], total: usize) {
    let each = total / streams.len();
    let all = streams.iter_mut().map(|stream| async move {
        for _ in 0..each {
            echo(stream).await;
        }
    });
    futures::future::join_all(all).await;
}

/// Datagrams, a few of each session at a time. Says how many came back, and how many did not.
pub(crate) async fn datagrams(links: &[Link], total: usize) -> (usize, usize) {
    let each = total / links.len();
    let all = links.iter().map(|link| async move {
        let (mut came, mut lost, mut waiting) = (0, 0, 0);
        while came < each && lost <= each {
            while waiting < IN_FLIGHT {
                link.send_datagram(&[7; MESSAGE]);
                waiting += 1;
            }
            match timeout(LOST, link.datagram()).await {
                Ok(_) => {
                    came += 1;
                    // One that was taken for lost may come.
                    waiting = waiting.saturating_sub(1);
                }
                Err(_) => lost += std::mem::take(&mut waiting),
            }
        }
        (came, lost)
    });
    let all = futures::future::join_all(all).await;
    all.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// Sends so much and takes it back.
pub(crate) async fn bulk((send, recv): &mut Stream, octets: usize) {
    let sending = async {
        let piece = vec![7; PIECE];
        let mut left = octets;
        while left > 0 {
            left -= send.write(&piece[..left.min(PIECE)]).await;
        }
    };
    let mut buffer = vec![0; PIECE];
    tokio::join!(sending, recv.read_exactly(octets, &mut buffer));
}

/// Sends until nothing is taken any more, or [`FILL_AT_MOST`] was, and reads nothing; says how much was taken.
pub(crate) async fn fill((send, _): &mut Stream) -> usize {
    let (octets, mut taken) = (vec![7; PIECE], 0);
    while taken < FILL_AT_MOST
        && let Ok(more) = timeout(STALLED, send.write(&octets)).await
    {
        taken += more;
    }
    taken
}

/// How long an echo takes on a stream where nothing else is under way, in microseconds: the median.
pub(crate) async fn round_trip(stream: &mut Stream, count: usize) -> f64 {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        echo(stream).await;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    times[count / 2]
}
