//! A UDP path between clients and a data plane, on which packets to clients can be held back, and which can lead elsewhere.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// The largest UDP payload.
const DATAGRAM: usize = 65_535;

/// Where packets go, and whether answers come back.
#[derive(Clone, Copy, Debug)]
struct Course {
    to: SocketAddr,
    held: bool,
    /// Where packets go after the first answer.
    then: Option<SocketAddr>,
}

/// A path for one client. What is held back waits in a socket's buffer.
pub(crate) struct Path {
    /// What the client takes for the server.
    pub(crate) address: SocketAddr,
    course: watch::Sender<Course>,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    _carrying: AbortOnDropHandle<()>,
}

impl Path {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = front.local_addr().unwrap();
        let (course, now) = watch::channel(Course { to: server, held: false, then: None });
        let sent = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let carrying = tokio::spawn(carry(front, course.clone(), now, Arc::clone(&sent)));
        Self { address, course, sent, _carrying: AbortOnDropHandle::new(carrying) }
    }

    /// Lets nothing come back to the client.
    pub(crate) fn hold(&self) {
        self.course.send_modify(|course| course.held = true);
    }

    pub(crate) fn release(&self) {
        self.course.send_modify(|course| course.held = false);
    }

    /// Leads to another server as soon as this one has said something.
    pub(crate) fn after_an_answer(&self, server: SocketAddr) {
        self.course.send_modify(|course| course.then = Some(server));
    }

    /// What the client has sent since this was last asked.
    pub(crate) fn sent(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }
}

async fn carry(
    front: UdpSocket,
    course: watch::Sender<Course>,
    mut now: watch::Receiver<Course>,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
) {
    let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (mut forth_buffer, mut back_buffer) = (vec![0; DATAGRAM], vec![0; DATAGRAM]);
    let mut client = None;
    loop {
        let held = now.borrow_and_update().held;
        tokio::select! {
            // All that a client sends at once goes the same way.
            biased;
            received = front.recv_from(&mut forth_buffer) => {
                let (size, from) = received.unwrap();
                client = Some(from);
                let datagram = &forth_buffer[..size];
                sent.lock().unwrap().push(datagram.to_vec());
                let to = course.borrow().to;
                back.send_to(datagram, to).await.unwrap();
            }
            received = back.recv_from(&mut back_buffer), if !held => {
                let (size, _) = received.unwrap();
                course.send_if_modified(|course| {
                    let then = course.then.take();
                    course.to = then.unwrap_or(course.to);
                    then.is_some()
                });
                if let Some(client) = client {
                    front.send_to(&back_buffer[..size], client).await.unwrap();
                }
            }
            changed = now.changed() => if changed.is_err() { return },
        }
    }
}
