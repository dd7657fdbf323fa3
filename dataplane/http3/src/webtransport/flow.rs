//! Owns the flow control of one session (draft-ietf-webtrans-http3 section 5): what this side may still send and open, and
//! what the peer may.
//!
//! Both sides count. What this side opens and sends is exact. What the peer opens and sends is known here only as far as
//! streams say whose they are before they are reset, and as far as they are read: without RESET_STREAM_AT and without
//! the final sizes of streams, which QUIC keeps to itself, a reset takes credit with it that nobody returns. So that no
//! session starves by that, a stream that ended unread gives back as much as it can have taken, and a peer that says it
//! is blocked where it cannot be gets the difference.

use super::{config::Config, header::Direction};
use crate::{
    code::Code,
    control::Fault,
    settings::{Settings, id},
    varint,
};

/// The largest number of streams that a limit can name (section 5.6.2).
pub const MAX_STREAMS: u64 = 1 << 60;

/// A limit is told anew when it can rise by this part of the window. What is open or unread for long counts against the
/// window, so that with a larger step a peer that never says that it is blocked might wait for good, beside a few streams that
/// nobody reads.
const UPDATE_PART: u64 = 8;

/// The limits that a session begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Octets on all streams.
    pub data: u64,
    /// Bidirectional streams.
    pub streams_bidi: u64,
    /// Unidirectional streams.
    pub streams_uni: u64,
}

impl Limits {
    /// What this side allows.
    pub fn of_config(config: &Config) -> Self {
        Self {
            data: config.max_data.min(varint::MAX),
            streams_bidi: config.max_streams_bidi.into(),
            streams_uni: config.max_streams_uni.into(),
        }
    }

    /// What the peer allows; `None` when it declares no intent to use flow control (section 5.1).
    pub fn of_settings(settings: &Settings) -> Option<Self> {
        let limits = Self {
            data: settings.other(id::WT_INITIAL_MAX_DATA).unwrap_or(0),
            streams_bidi: settings.other(id::WT_INITIAL_MAX_STREAMS_BIDI).unwrap_or(0).min(MAX_STREAMS),
            streams_uni: settings.other(id::WT_INITIAL_MAX_STREAMS_UNI).unwrap_or(0).min(MAX_STREAMS),
        };
        (limits != Self::default()).then_some(limits)
    }

    /// The peer's limits, if both sides declare the intent to use flow control (section 5.1).
    pub fn agreed(config: &Config, settings: &Settings) -> Option<Self> {
        Self::of_settings(settings).filter(|_| Self::of_config(config) != Self::default())
    }

    const fn streams(&self, direction: Direction) -> u64 {
        match direction {
            Direction::Bidirectional => self.streams_bidi,
            Direction::Unidirectional => self.streams_uni,
        }
    }
}

/// What this side may still use of something.
#[derive(Clone, Debug)]
pub struct Credit {
    limit: u64,
    used: u64,
    /// What was taken and the peer may never hear of.
    held: u64,
    /// Whether it ran out at `limit`, and whether the peer was told.
    blocked: Blocked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blocked {
    No,
    Untold,
    Told,
}

impl Credit {
    const fn new(limit: u64) -> Self {
        Self { limit, used: 0, held: 0, blocked: Blocked::No }
    }

    /// Uses up to `wanted`. Returns how much; 0 of something means to wait for the limit to rise.
    pub fn take(&mut self, wanted: u64) -> u64 {
        let taken = wanted.min(self.limit - self.used);
        self.used += taken;
        if taken == 0 && wanted > 0 && self.blocked == Blocked::No {
            self.blocked = Blocked::Untold;
        }
        taken
    }

    /// Gives back what was taken and not used after all.
    pub fn refund(&mut self, unused: u64) {
        self.used -= unused;
        if unused > 0 && self.blocked == Blocked::Untold {
            self.blocked = Blocked::No;
        }
    }

    /// What is taken is only reserved. While some of it is, the peer is not told that the limit is in the way: it would
    /// miss what it never hears of.
    pub fn reserve(&mut self) -> bool {
        let taken = self.take(1) == 1;
        self.held += u64::from(taken);
        taken
    }

    /// What was reserved is used.
    pub const fn use_reserved(&mut self) {
        self.held -= 1;
    }

    /// What was reserved is given back.
    pub fn refund_reserved(&mut self) {
        self.held -= 1;
        self.refund(1);
    }

    /// The peer raised the limit, which must rise (sections 5.6.2 and 5.6.4).
    fn raise(&mut self, limit: u64) -> Result<(), Fault> {
        if limit <= self.limit {
            return Err(Fault::new(Code::WT_FLOW_CONTROL_ERROR, "a flow-control limit that does not rise"));
        }
        self.limit = limit;
        self.blocked = Blocked::No;
        Ok(())
    }

    /// The limit that the peer is to be told of, once each.
    fn blocked_at(&mut self) -> Option<u64> {
        if self.has_news() {
            self.blocked = Blocked::Told;
            return Some(self.limit);
        }
        None
    }

    fn has_news(&self) -> bool {
        self.blocked == Blocked::Untold && self.held == 0
    }
}

/// What the peer may still use of something.
#[derive(Clone, Debug)]
pub struct Window {
    size: u64,
    /// The last limit that the peer was told.
    advertised: u64,
    used: u64,
    /// Used and done with, or given up for lost.
    returned: u64,
    /// Given up for lost.
    lost: u64,
    /// The peer says that it waits.
    wanted: bool,
}

impl Window {
    const fn new(size: u64) -> Self {
        Self { size, advertised: size, used: 0, returned: 0, lost: 0, wanted: false }
    }

    /// Allows more at once from now on, which the peer is told.
    fn widen(&mut self, size: u64) {
        if size > self.size {
            self.size = size;
            self.wanted = true;
        }
    }

    /// The peer used this much more.
    fn take(&mut self, count: u64) -> Result<(), Fault> {
        self.used = self.used.saturating_add(count);
        if self.used > self.advertised {
            return Err(Fault::new(Code::WT_FLOW_CONTROL_ERROR, "more than a flow-control limit allows"));
        }
        Ok(())
    }

    /// What the peer used is done with. Never more is returned than the peer can have used.
    fn give_back(&mut self, count: u64) {
        self.returned = self.returned.saturating_add(count).min(self.advertised);
    }

    /// The peer says that it used everything up to `limit`. What it used at the last limit and was never seen here was
    /// lost, or is still on its way, which does no harm: the limit then allows a little more for a while.
    fn peer_blocked(&mut self, limit: u64) {
        if limit == self.advertised {
            let unseen = self.advertised.saturating_sub(self.used).saturating_sub(self.lost);
            self.lost += unseen;
            self.give_back(unseen);
            self.wanted = true;
        }
    }

    /// The peer says that it used everything up to `limit`, and waits. What was not seen of it is nearly always still to be
    /// seen: only what there is to give is given at once.
    const fn peer_waits(&mut self, limit: u64) {
        if limit == self.advertised {
            self.wanted = true;
        }
    }

    /// The limit to tell the peer now, if it is worth a capsule.
    fn update(&mut self, most: u64) -> Option<u64> {
        let limit = self.returned.saturating_add(self.size).min(most);
        let more = limit.saturating_sub(self.advertised);
        if more > 0 && (self.wanted || more >= self.size / UPDATE_PART) {
            self.advertised = limit;
            self.wanted = false;
            return Some(limit);
        }
        None
    }

    /// Whether [`Window::update`] would say something.
    fn has_update(&self, most: u64) -> bool {
        self.clone().update(most).is_some()
    }
}

/// The flow control of one session, both ways.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Octets that this side may send.
    pub data: Credit,
    streams: [Credit; 2],
    peer_data: Window,
    peer_streams: [Window; 2],
}

/// What is to be told to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// WT_MAX_DATA.
    MaxData(u64),
    /// WT_MAX_STREAMS.
    MaxStreams(Direction, u64),
    /// WT_DATA_BLOCKED.
    DataBlocked(u64),
    /// WT_STREAMS_BLOCKED.
    StreamsBlocked(Direction, u64),
}

const DIRECTIONS: [Direction; 2] = [Direction::Bidirectional, Direction::Unidirectional];

impl Flow {
    /// A session's beginning.
    pub const fn new(ours: Limits, peers: Limits) -> Self {
        Self {
            data: Credit::new(peers.data),
            streams: [
                Credit::new(peers.streams(Direction::Bidirectional)),
                Credit::new(peers.streams(Direction::Unidirectional)),
            ],
            peer_data: Window::new(ours.data),
            peer_streams: [
                Window::new(ours.streams(Direction::Bidirectional)),
                Window::new(ours.streams(Direction::Unidirectional)),
            ],
        }
    }

    /// Streams that this side may open.
    pub const fn streams(&mut self, direction: Direction) -> &mut Credit {
        &mut self.streams[direction.index()]
    }

    /// The peer may have so many streams of each kind open at once, if that is more than before.
    pub fn allow_streams(&mut self, most: u64) {
        for window in &mut self.peer_streams {
            window.widen(most);
        }
    }

    /// The peer opened a stream.
    pub fn peer_opened(&mut self, direction: Direction) -> Result<(), Fault> {
        self.peer_streams[direction.index()].take(1)
    }

    /// A stream that the peer opened is closed.
    pub fn peer_closed(&mut self, direction: Direction) {
        self.peer_streams[direction.index()].give_back(1);
    }

    /// Octets that the peer sent were read.
    pub fn read(&mut self, count: u64) -> Result<(), Fault> {
        self.peer_data.take(count)?;
        self.peer_data.give_back(count);
        Ok(())
    }

    /// A stream was not read to its end: the peer may have sent this much more on it.
    pub fn unread(&mut self, most: u64) {
        self.peer_data.give_back(most);
    }

    /// The peer raised a limit, or says that one is in its way.
    pub fn hear(&mut self, said: Tell) -> Result<(), Fault> {
        if let Tell::MaxStreams(_, count) | Tell::StreamsBlocked(_, count) = said
            && count > MAX_STREAMS
        {
            return Err(Fault::new(Code::WT_FLOW_CONTROL_ERROR, "more streams than QUIC has"));
        }
        match said {
            Tell::MaxData(limit) => self.data.raise(limit)?,
            Tell::MaxStreams(direction, limit) => self.streams(direction).raise(limit)?,
            Tell::DataBlocked(limit) => self.peer_data.peer_waits(limit),
            Tell::StreamsBlocked(direction, limit) => self.peer_streams[direction.index()].peer_blocked(limit),
        }
        Ok(())
    }

    /// What there is to tell the peer, one at a time; each is the newest of its kind.
    pub fn tell(&mut self) -> Option<Tell> {
        if let Some(limit) = self.peer_data.update(varint::MAX) {
            return Some(Tell::MaxData(limit));
        }
        for direction in DIRECTIONS {
            if let Some(limit) = self.peer_streams[direction.index()].update(MAX_STREAMS) {
                return Some(Tell::MaxStreams(direction, limit));
            }
        }
        if let Some(limit) = self.data.blocked_at() {
            return Some(Tell::DataBlocked(limit));
        }
        DIRECTIONS.into_iter().find_map(|direction| {
            self.streams(direction).blocked_at().map(|limit| Tell::StreamsBlocked(direction, limit))
        })
    }

    /// Whether there is anything to tell.
    pub fn has_news(&self) -> bool {
        self.peer_data.has_update(varint::MAX)
            || self.peer_streams.iter().any(|window| window.has_update(MAX_STREAMS))
            || self.data.has_news()
            || self.streams.iter().any(Credit::has_news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIDI: Direction = Direction::Bidirectional;

    fn limits(data: u64, streams: u64) -> Limits {
        Limits { data, streams_bidi: streams, streams_uni: streams }
    }

    fn flow(data: u64, streams: u64) -> Flow {
        Flow::new(limits(data, streams), limits(data, streams))
    }

    #[test]
    fn sending_stops_at_the_limit_and_says_so_once() {
        let mut flow = flow(10, 1);
        assert_eq!(flow.data.take(7), 7);
        assert_eq!(flow.data.take(7), 3);
        assert_eq!(flow.tell(), None);
        assert_eq!(flow.data.take(7), 0);
        assert_eq!(flow.data.take(7), 0);
        assert_eq!(flow.tell(), Some(Tell::DataBlocked(10)));
        assert_eq!(flow.tell(), None);
        flow.hear(Tell::MaxData(12)).unwrap();
        assert_eq!(flow.data.take(7), 2);
        flow.data.refund(2);
        assert_eq!(flow.data.take(7), 2);
        for limit in [12, 11] {
            assert_eq!(flow.hear(Tell::MaxData(limit)).unwrap_err().code, Code::WT_FLOW_CONTROL_ERROR);
        }
    }

    #[test]
    fn limits_that_cannot_be() {
        for said in [Tell::MaxStreams(BIDI, MAX_STREAMS + 1), Tell::StreamsBlocked(BIDI, MAX_STREAMS + 1)] {
            assert_eq!(flow(1, 1).hear(said).unwrap_err().code, Code::WT_FLOW_CONTROL_ERROR);
        }
        flow(1, 1).hear(Tell::MaxStreams(BIDI, MAX_STREAMS)).unwrap();
        flow(1, 1).hear(Tell::MaxData(varint::MAX)).unwrap();
    }

    #[test]
    fn the_peer_is_held_to_its_limits() {
        let mut flow = flow(10, 2);
        flow.read(10).unwrap();
        assert_eq!(flow.read(1).unwrap_err().code, Code::WT_FLOW_CONTROL_ERROR);
        flow.peer_opened(BIDI).unwrap();
        flow.peer_opened(BIDI).unwrap();
        assert_eq!(flow.peer_opened(BIDI).unwrap_err().code, Code::WT_FLOW_CONTROL_ERROR);
        flow.peer_opened(Direction::Unidirectional).unwrap();
    }

    #[test]
    fn what_is_read_and_closed_is_given_back() {
        let mut flow = flow(80, 16);
        flow.read(9).unwrap();
        assert_eq!(flow.tell(), None);
        flow.read(1).unwrap();
        assert_eq!(flow.tell(), Some(Tell::MaxData(90)));
        flow.peer_opened(BIDI).unwrap();
        flow.peer_closed(BIDI);
        assert_eq!(flow.tell(), None);
        // A peer that waits is told of every bit.
        flow.hear(Tell::StreamsBlocked(BIDI, 16)).unwrap();
        assert_eq!(flow.tell(), Some(Tell::MaxStreams(BIDI, 32)));
        flow.read(3).unwrap();
        assert_eq!(flow.tell(), None);
        flow.hear(Tell::DataBlocked(80)).unwrap();
        assert_eq!(flow.tell(), None, "an old capsule changes nothing");
        flow.hear(Tell::DataBlocked(90)).unwrap();
        assert_eq!(flow.tell(), Some(Tell::MaxData(93)));
    }

    /// Most of the window is taken by streams that nobody reads: the rest goes round, whatever the peer says.
    #[test]
    fn a_small_rest_goes_round() {
        let mut flow = flow(80, 16);
        // Seven eighths lie unread.
        for _ in 0..20 {
            flow.read(10).unwrap();
            assert!(matches!(flow.tell(), Some(Tell::MaxData(_))));
        }
        for _ in 0..20 {
            flow.peer_opened(BIDI).unwrap();
            flow.peer_opened(BIDI).unwrap();
            flow.peer_closed(BIDI);
            flow.peer_closed(BIDI);
            assert!(matches!(flow.tell(), Some(Tell::MaxStreams(BIDI, _))));
        }
    }

    /// A stream that is reset before it says whose it is takes a stream of the limit with it.
    #[test]
    fn lost_streams_starve_nobody() {
        let mut flow = flow(10, 4);
        for round in 1..100 {
            // The peer opens four, of which one is seen and closed.
            flow.peer_opened(BIDI).unwrap();
            flow.peer_closed(BIDI);
            flow.hear(Tell::StreamsBlocked(BIDI, 4 * round)).unwrap();
            assert_eq!(flow.tell(), Some(Tell::MaxStreams(BIDI, 4 * round + 4)));
            // An old capsule changes nothing.
            flow.hear(Tell::StreamsBlocked(BIDI, 1)).unwrap();
            assert_eq!(flow.tell(), None);
        }
    }

    #[test]
    fn unread_octets_are_given_back_but_not_twice() {
        let mut flow = flow(100, 4);
        flow.read(10).unwrap();
        flow.unread(1000);
        assert_eq!(flow.tell(), Some(Tell::MaxData(200)));
        flow.read(190).unwrap();
        assert_eq!(flow.tell(), Some(Tell::MaxData(300)));
    }

    #[test]
    fn intent() {
        assert_eq!(Limits::of_settings(&Settings::default()), None);
        let some = Settings { others: vec![(id::WT_INITIAL_MAX_STREAMS_UNI, 3)], ..Settings::default() };
        let limits = Some(Limits { streams_uni: 3, ..Limits::default() });
        assert_eq!(Limits::of_settings(&some), limits);
        assert_eq!(Limits::agreed(&Config::default(), &some), limits);
        let none = Config { max_data: 0, max_streams_bidi: 0, max_streams_uni: 0, ..Config::default() };
        assert_eq!(Limits::agreed(&none, &some), None);
        assert_eq!(Limits::agreed(&Config::default(), &Settings::default()), None);
    }

    #[test]
    fn reservations_block_nobody_aloud() {
        let mut flow = flow(10, 1);
        assert!(flow.streams(BIDI).reserve() && !flow.streams(BIDI).reserve());
        assert_eq!(flow.tell(), None);
        flow.streams(BIDI).refund_reserved();
        assert_eq!(flow.tell(), None);
        assert!(flow.streams(BIDI).reserve() && !flow.streams(BIDI).reserve());
        flow.streams(BIDI).use_reserved();
        assert_eq!(flow.tell(), Some(Tell::StreamsBlocked(BIDI, 1)));
    }
}
