//! What a worker takes from peers.
//!
//! Owns the buffers, the windows against replays, and what becomes of each packet. An address proves nothing here: who sent
//! a packet is what its tag says.

use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use headrace_hop::{Envelope, Kind, Receiver, steering};
use quinn::AsyncUdpSocket;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use tokio::sync::mpsc;

use super::batch::{Batch, Gathering};
use super::congestion::{codepoint_of, combined, ecn_of};
use super::{Hop, roster};
use crate::metrics::{Handover, HopDrop, HopKind, WorkerMetrics};
use crate::quic::outlet::{Entrance, Flow, Inbound};
use crate::quic::{Membership, Pod, PodWorker, Verdict, judge};

/// Octets of a buffer: what the kernel puts together at most (GRO).
const BUFFER_LEN: usize = 64 * 1024;

/// Buffers of a worker, for one system call: 256 KB.
const BUFFERS: usize = 4;

/// Packets of other workers' sockets that are taken before the own socket has its turn.
const MAX_TAKEN: usize = 64;

/// How long is waited after a socket's error, so that one that stays does not keep the worker busy.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// A worker's end of the hop.
pub(super) struct Receiving {
    socket: Arc<dyn AsyncUdpSocket>,
    queue: mpsc::Receiver<Bytes>,
    hop: Arc<Hop>,
    pod: Arc<Pod>,
    metrics: Arc<WorkerMetrics>,
    index: usize,
    receiver: Receiver,
    adopted: Option<Arc<Membership>>,
    gathering: Gathering,
}

/// What there is to do.
enum Arrived {
    /// In so many buffers.
    ByNetwork(usize),
    /// From another worker's socket.
    ByQueue(Bytes),
}

impl Receiving {
    pub(super) fn new(
        socket: Arc<dyn AsyncUdpSocket>,
        queue: mpsc::Receiver<Bytes>,
        worker: &PodWorker,
        hop: Arc<Hop>,
    ) -> Self {
        Self {
            socket,
            queue,
            hop,
            pod: Arc::clone(&worker.pod),
            metrics: Arc::clone(&worker.metrics),
            index: worker.worker.index(),
            receiver: Receiver::default(),
            adopted: None,
            gathering: Gathering::default(),
        }
    }

    /// Receives for ever.
    pub(super) async fn run(mut self) {
        let mut buffers = vec![0; BUFFERS * BUFFER_LEN];
        let mut meta = [RecvMeta::default(); BUFFERS];
        loop {
            let arrived = poll_fn(|cx| self.poll(cx, &mut buffers, &mut meta)).await;
            self.adopt();
            match arrived {
                Ok(Arrived::ByNetwork(count)) => {
                    for (buffer, meta) in buffers.chunks(BUFFER_LEN).zip(&meta).take(count) {
                        self.take_buffer(&buffer[..meta.len], meta);
                    }
                }
                Ok(Arrived::ByQueue(packet)) => self.take_waiting(packet),
                Err(error) => {
                    tracing::debug!(%error, "the socket for packets of peers has an error");
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
            if let Some(batch) = self.gathering.end() {
                self.give(&batch);
            }
            // The worker's other tasks have their turn, however much comes.
            tokio::task::yield_now().await;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, buffers: &mut [u8], meta: &mut [RecvMeta]) -> Poll<io::Result<Arrived>> {
        if let Poll::Ready(Some(packet)) = self.queue.poll_recv(cx) {
            return Poll::Ready(Ok(Arrived::ByQueue(packet)));
        }
        let mut slices: [IoSliceMut<'_>; BUFFERS] = {
            let mut chunks = buffers.chunks_mut(BUFFER_LEN);
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()))
        };
        self.socket.poll_recv(cx, &mut slices, meta).map_ok(Arrived::ByNetwork)
    }

    /// Goes by the newest membership.
    fn adopt(&mut self) {
        let membership = self.pod.membership();
        if !self.adopted.as_ref().is_some_and(|adopted| Arc::ptr_eq(adopted, &membership)) {
            self.receiver.adopt(&roster::roster(&membership).unwrap_or_else(roster::nobody));
            self.adopted = Some(membership);
        }
    }

    /// Packets of one length, as the kernel has put them together.
    fn take_buffer(&mut self, octets: &[u8], meta: &RecvMeta) {
        for packet in octets.chunks(meta.stride.max(1)) {
            match steering::worker_of(packet, self.hop.workers) {
                Some(worker) if worker != self.index => self.hand_over(worker, packet),
                _ => self.take(packet, meta.ecn),
            }
        }
    }

    /// What the kernel brought to another worker. Its mark of congestion stays there: what is said of one packet in many is
    /// said again.
    fn take_waiting(&mut self, first: Bytes) {
        self.take(&first, None);
        for _ in 1..MAX_TAKEN {
            let Ok(packet) = self.queue.try_recv() else { break };
            self.take(&packet, None);
        }
    }

    /// Only what is a peer's takes a place in the queue.
    fn hand_over(&mut self, worker: usize, packet: &[u8]) {
        match self.receiver.authenticate(packet) {
            Ok(_) => {
                let taken = self.hop.hand_over(worker, packet);
                let result = if taken { Handover::Taken } else { Handover::Dropped };
                self.metrics.hop_handed_over_total(result).inc();
            }
            Err(refused) => self.metrics.hop_dropped_total(HopDrop::from(refused)).inc(),
        }
    }

    fn take(&mut self, packet: &[u8], outer: Option<EcnCodepoint>) {
        let opened = match self.receiver.open(packet) {
            Ok(opened) => opened,
            Err(refused) => return self.metrics.hop_dropped_total(HopDrop::from(refused)).inc(),
        };
        let said = opened.header.envelope;
        self.metrics.hop_received_total(HopKind::from(said.kind)).inc();
        let Ok(ecn) = combined(said.ecn, outer) else {
            return self.metrics.hop_dropped_total(HopDrop::Congested).inc();
        };
        let envelope = Envelope { ecn: ecn_of(ecn), ..said };
        if let Some(batch) = self.gathering.add(opened.header.sender, &envelope, opened.datagram) {
            self.give(&batch);
        }
    }

    fn give(&self, batch: &Batch) {
        match batch.envelope.kind {
            Kind::Forward => self.deliver(batch),
            Kind::Return => self.send(batch),
        }
    }

    /// To the endpoint whose it is. It is never forwarded again.
    fn deliver(&self, batch: &Batch) {
        let Envelope { client, local, port, answer, ecn, .. } = batch.envelope;
        let inbound = Inbound {
            flow: Flow { client, local_ip: local, ecn: codepoint_of(ecn) },
            stride: batch.stride,
            octets: batch.octets.clone(),
            entrance: Some(Entrance { peer: batch.from, steer: answer, local_ip: local }),
        };
        if self.pod.deliver(port, &inbound).is_err() {
            let looped = self.others(batch);
            self.metrics.hop_dropped_total(HopDrop::Looped).add(looped);
            if looped == 0 {
                self.metrics.hop_dropped_total(HopDrop::Undelivered).add(batch.datagrams());
            }
        }
    }

    /// How many datagrams are for yet another pod, as we see it.
    fn others(&self, batch: &Batch) -> u64 {
        let membership = self.pod.membership();
        let is_other = |datagram: &&[u8]| {
            matches!(judge(&membership, self.pod.steering(), self.index, datagram).0, Verdict::Peer(_))
        };
        batch.octets.chunks(batch.stride).filter(is_other).count() as u64
    }

    /// To a client that a peer serves.
    fn send(&self, batch: &Batch) {
        let Envelope { client, local, port, ecn, .. } = batch.envelope;
        let segment_size = (batch.octets.len() > batch.stride).then_some(batch.stride);
        let contents = &batch.octets[..];
        let transmit = Transmit { destination: client, ecn: codepoint_of(ecn), contents, segment_size, src_ip: local };
        if self.pod.send(port, self.index, &transmit).is_err() {
            self.metrics.hop_dropped_total(HopDrop::Undelivered).add(batch.datagrams());
        }
    }
}
