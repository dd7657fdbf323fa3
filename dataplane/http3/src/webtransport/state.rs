//! Owns the state of one session without any IO: the streams and datagrams that wait to be taken, flow control, what was
//! heard and what is to be said on the CONNECT stream, and how it ends. A stream is whatever the caller says it is.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    capsule::Capsule,
    config::Config,
    datagrams::DatagramQueue,
    ended::Ended,
    flow::{Flow, Limits, Tell},
    header::Direction,
};
use crate::{code::Code, control::Fault};

/// How many times the limit on streams may be open at most. A peer that says it is blocked where it cannot be gets the
/// difference, of which all may still be on its way; more than that it opens only by lying.
const SLACK: u64 = 2;

/// One session.
#[derive(Debug)]
pub struct State<S> {
    flow: Option<Flow>,
    /// Streams of the peer's that nobody took yet.
    waiting: [VecDeque<S>; 2],
    /// Streams of the peer's that are open, those that wait included.
    open: [u64; 2],
    max_open: [u64; 2],
    stream_window: u64,
    datagrams: DatagramQueue,
    drain: Drain,
    peer_drains: bool,
    ended: Option<Ended>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    No,
    Untold,
    Told,
}

/// What became of a stream that the peer opened.
#[derive(Debug)]
pub enum Arrival<S> {
    /// It waits to be taken.
    Waits,
    /// It is to be refused with this code.
    Refused(S, Code),
    /// The session is to be ended with this; the stream goes with it.
    Fault(S, Fault),
}

/// What hearing a capsule changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing that anybody waits for.
    Nothing,
    /// More octets may be sent.
    Data,
    /// More streams may be opened.
    Streams(Direction),
    /// The peer wants the session to end soon.
    Drain,
    /// A datagram came.
    Datagram,
    /// The session is over.
    Ended,
}

impl<S> State<S> {
    /// A new session. With the peer's limits there is flow control, unless it announced none.
    pub fn new(config: &Config, peer: Option<Limits>) -> Self {
        Self {
            flow: peer.map(|peer| Flow::new(Limits::of_config(config), peer)),
            waiting: [VecDeque::new(), VecDeque::new()],
            open: [0; 2],
            max_open: [config.max_streams_bidi.into(), config.max_streams_uni.into()],
            stream_window: config.stream_window,
            datagrams: DatagramQueue::new(config.max_datagrams, config.max_datagram_octets),
            drain: Drain::No,
            peer_drains: false,
            ended: None,
        }
    }

    /// Whether there is flow control.
    pub const fn is_flow_controlled(&self) -> bool {
        self.flow.is_some()
    }

    /// The peer may have so many streams of each kind open at once, if that is more than before.
    pub fn allow_streams(&mut self, most: u64) {
        for max_open in &mut self.max_open {
            *max_open = most.max(*max_open);
        }
        if let Some(flow) = &mut self.flow {
            flow.allow_streams(most);
        }
    }

    /// The peer opened a stream.
    pub fn arrive(&mut self, direction: Direction, stream: S) -> Arrival<S> {
        if self.ended.is_some() {
            return Arrival::Refused(stream, Code::WT_SESSION_GONE);
        }
        let at = direction.index();
        match &mut self.flow {
            Some(flow) => {
                if let Err(fault) = flow.peer_opened(direction) {
                    return Arrival::Fault(stream, fault);
                }
                if self.open[at] >= SLACK * self.max_open[at] {
                    flow.peer_closed(direction);
                    return Arrival::Refused(stream, Code::WT_BUFFERED_STREAM_REJECTED);
                }
            }
            None if self.open[at] >= self.max_open[at] => {
                return Arrival::Refused(stream, Code::WT_BUFFERED_STREAM_REJECTED);
            }
            None => {}
        }
        self.open[at] += 1;
        self.waiting[at].push_back(stream);
        Arrival::Waits
    }

    /// Takes the stream that waited longest.
    pub fn take(&mut self, direction: Direction) -> Option<S> {
        let waiting = &mut self.waiting[direction.index()];
        let stream = waiting.pop_front();
        if waiting.is_empty() {
            *waiting = VecDeque::new();
        }
        stream
    }

    /// A stream that the peer opened, and that was taken, is closed.
    pub fn close_peers(&mut self, direction: Direction) {
        let open = &mut self.open[direction.index()];
        *open = open.saturating_sub(1);
        if let Some(flow) = &mut self.flow {
            flow.peer_closed(direction);
        }
    }

    /// Streams of the peer's that are open.
    pub const fn open_by_peer(&self, direction: Direction) -> u64 {
        self.open[direction.index()]
    }

    /// Takes the right to open a stream. `false` means to wait for [`News::Streams`].
    pub fn may_open(&mut self, direction: Direction) -> bool {
        self.flow.as_mut().is_none_or(|flow| flow.streams(direction).reserve())
    }

    /// The right to open a stream is used: the peer will hear of it.
    pub const fn open(&mut self, direction: Direction) {
        if let Some(flow) = &mut self.flow {
            flow.streams(direction).use_reserved();
        }
    }

    /// The right to open a stream was not used.
    pub fn give_up_opening(&mut self, direction: Direction) {
        if let Some(flow) = &mut self.flow {
            flow.streams(direction).refund_reserved();
        }
    }

    /// Takes the right to send up to `wanted` octets. 0 means to wait for [`News::Data`].
    pub fn may_send(&mut self, wanted: u64) -> u64 {
        self.flow.as_mut().map_or(wanted, |flow| flow.data.take(wanted))
    }

    /// The right to send so many octets was not used.
    pub fn give_up_sending(&mut self, unused: u64) {
        if let Some(flow) = &mut self.flow {
            flow.data.refund(unused);
        }
    }

    /// Octets of the peer's were read.
    pub fn read(&mut self, count: u64) -> Result<(), Fault> {
        self.flow.as_mut().map_or(Ok(()), |flow| flow.read(count))
    }

    /// A stream of the peer's was not read to its end.
    pub fn leave_unread(&mut self) {
        if let Some(flow) = &mut self.flow {
            flow.unread(self.stream_window);
        }
    }

    /// A datagram came.
    pub fn datagram(&mut self, payload: Bytes) {
        if self.ended.is_none() {
            self.datagrams.push(payload);
        }
    }

    /// Takes the datagram that waited longest.
    pub fn take_datagram(&mut self) -> Option<Bytes> {
        self.datagrams.pop()
    }

    /// How many datagrams were dropped because nobody took them.
    pub const fn dropped_datagrams(&self) -> u64 {
        self.datagrams.dropped()
    }

    /// The peer said something.
    pub fn hear(&mut self, capsule: Capsule) -> Result<News, Fault> {
        if self.ended.is_some() {
            return Ok(News::Nothing);
        }
        Ok(match capsule {
            Capsule::Close { code, reason } => {
                self.end(Ended::ByPeer { code, reason });
                News::Ended
            }
            Capsule::Drain => {
                self.peer_drains = true;
                News::Drain
            }
            Capsule::Datagram(payload) => {
                self.datagram(payload.into());
                News::Datagram
            }
            Capsule::Flow(said) => {
                let Some(flow) = &mut self.flow else { return Ok(News::Nothing) };
                flow.hear(said)?;
                match said {
                    Tell::MaxData(_) => News::Data,
                    Tell::MaxStreams(direction, _) => News::Streams(direction),
                    Tell::DataBlocked(_) | Tell::StreamsBlocked(..) => News::Nothing,
                }
            }
        })
    }

    /// Appends what there is to say on the CONNECT stream; nothing when there is nothing new. What was replaced meanwhile
    /// is never said: this grows by a few capsules at most, however long it was not called. After the session's end it
    /// is the close, once, if this side closed it.
    pub fn say(&mut self, out: &mut Vec<u8>) {
        if self.ended.is_some() {
            return;
        }
        if self.drain == Drain::Untold {
            self.drain = Drain::Told;
            Capsule::Drain.append(out);
        }
        while let Some(said) = self.flow.as_mut().and_then(Flow::tell) {
            Capsule::Flow(said).append(out);
        }
    }

    /// Whether [`State::say`] would say something.
    pub fn has_news(&self) -> bool {
        self.ended.is_none() && (self.drain == Drain::Untold || self.flow.as_ref().is_some_and(Flow::has_news))
    }

    /// Asks the peer to end the session soon.
    pub fn drain(&mut self) {
        if self.drain == Drain::No {
            self.drain = Drain::Untold;
        }
    }

    /// The peer wants the session to end soon: it said so, or its connection goes away.
    pub const fn peer_drains(&mut self) {
        self.peer_drains = true;
    }

    /// Whether the peer wants the session to end soon.
    pub const fn is_draining(&self) -> bool {
        self.peer_drains
    }

    /// Ends the session, unless it has. Says whether it had not.
    pub fn end(&mut self, why: Ended) -> bool {
        if self.ended.is_some() {
            return false;
        }
        self.ended = Some(why);
        self.datagrams.clear();
        true
    }

    /// Why the session is over, if it is.
    pub const fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }
}

#[cfg(test)]
mod tests;
