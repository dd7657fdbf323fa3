//! Owns which sessions a connection has, and what waits for one that has not come yet: generic over what a session and a
//! stream are, and without any IO.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::{config::Config, header::Direction};
use crate::code::Code;

/// How many sessions that ended are remembered, so that what was still on its way to them is refused as that.
/// Streams for those before wait as if for a session to come, and are refused when others need their place.
const MAX_REMEMBERED: usize = 32;

/// The sessions of a connection.
#[derive(Debug)]
pub struct Table<H, S> {
    open: HashMap<u64, H>,
    /// Sessions that are being agreed on.
    reserved: u32,
    ended: VecDeque<u64>,
    early_streams: VecDeque<(u64, Direction, S)>,
    early_datagrams: VecDeque<(u64, Bytes)>,
    early_octets: usize,
    early_dropped: u64,
    max_early_streams: usize,
    max_early_datagrams: usize,
    max_early_octets: usize,
}

/// What becomes of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Route<H, S> {
    /// It is this session's.
    Session(H, S),
    /// It waits for its session.
    Waits,
    /// This stream, another one perhaps, is refused with this code.
    Refuse(S, Code),
}

/// What waited for a session.
#[derive(Debug, PartialEq, Eq)]
pub struct Early<S> {
    /// Streams in the order they came.
    pub streams: Vec<(Direction, S)>,
    /// Datagrams in the order they came.
    pub datagrams: Vec<Bytes>,
}

impl<H: Clone, S> Table<H, S> {
    /// No sessions.
    pub fn new(config: &Config) -> Self {
        Self {
            open: HashMap::new(),
            reserved: 0,
            ended: VecDeque::new(),
            early_streams: VecDeque::new(),
            early_datagrams: VecDeque::new(),
            early_octets: 0,
            early_dropped: 0,
            max_early_streams: config.max_early_streams,
            max_early_datagrams: config.max_early_datagrams,
            max_early_octets: config.max_early_octets,
        }
    }

    /// Reserves the place of a session, if fewer than `most` are open or reserved.
    pub fn reserve(&mut self, most: u64) -> bool {
        let free = self.open.len() as u64 + u64::from(self.reserved) < most;
        if free {
            self.reserved += 1;
        }
        free
    }

    /// Gives a reserved place up.
    pub const fn release(&mut self) {
        self.reserved -= 1;
    }

    /// A session begins in a reserved place. Returns what waited for it.
    pub fn open(&mut self, id: u64, session: H) -> Early<S> {
        self.release();
        self.open.insert(id, session);
        self.take_early(id)
    }

    /// A session ended, or will never be. Returns what waited for it.
    pub fn end(&mut self, id: u64) -> Early<S> {
        self.open.remove(&id);
        if self.ended.len() == MAX_REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back(id);
        self.take_early(id)
    }

    fn take_early(&mut self, id: u64) -> Early<S> {
        let mut early = Early { streams: Vec::new(), datagrams: Vec::new() };
        for (session, direction, stream) in std::mem::take(&mut self.early_streams) {
            if session == id {
                early.streams.push((direction, stream));
            } else {
                self.early_streams.push_back((session, direction, stream));
            }
        }
        for (session, datagram) in std::mem::take(&mut self.early_datagrams) {
            if session == id {
                self.early_octets -= datagram.len();
                early.datagrams.push(datagram);
            } else {
                self.early_datagrams.push_back((session, datagram));
            }
        }
        early
    }

    /// Finds a stream's place. `id` is a session's.
    pub fn stream(&mut self, id: u64, direction: Direction, stream: S) -> Route<H, S> {
        if let Some(session) = self.open.get(&id) {
            return Route::Session(session.clone(), stream);
        }
        if self.ended.contains(&id) {
            return Route::Refuse(stream, Code::WT_SESSION_GONE);
        }
        if self.max_early_streams == 0 {
            return Route::Refuse(stream, Code::WT_BUFFERED_STREAM_REJECTED);
        }
        let full = self.early_streams.len() == self.max_early_streams;
        let oldest = if full { self.early_streams.pop_front() } else { None };
        self.early_streams.push_back((id, direction, stream));
        match oldest {
            Some((.., oldest)) => Route::Refuse(oldest, Code::WT_BUFFERED_STREAM_REJECTED),
            None => Route::Waits,
        }
    }

    /// Finds a datagram's session. Without one it waits, or is dropped.
    pub fn datagram(&mut self, id: u64, datagram: Bytes) -> Option<(H, Bytes)> {
        if let Some(session) = self.open.get(&id) {
            return Some((session.clone(), datagram));
        }
        let fits = self.max_early_datagrams > 0 && datagram.len() <= self.max_early_octets;
        if self.ended.contains(&id) {
            return None;
        }
        if fits {
            while self.early_datagrams.len() == self.max_early_datagrams
                || self.early_octets + datagram.len() > self.max_early_octets
            {
                let oldest = self.early_datagrams.pop_front();
                self.early_dropped += 1;
                self.early_octets -= oldest.map_or(0, |(_, oldest)| oldest.len());
            }
            self.early_octets += datagram.len();
            self.early_datagrams.push_back((id, datagram));
        } else {
            self.early_dropped += 1;
        }
        None
    }

    /// How many datagrams were dropped because there was no room to wait for their session.
    pub const fn early_dropped(&self) -> u64 {
        self.early_dropped
    }

    /// The open sessions.
    pub fn sessions(&self) -> impl Iterator<Item = &H> {
        self.open.values()
    }

    /// Forgets everything, and returns what was there.
    pub fn clear(&mut self) -> (Vec<H>, Vec<S>) {
        self.early_datagrams.clear();
        self.early_octets = 0;
        let streams = std::mem::take(&mut self.early_streams).into_iter().map(|(.., stream)| stream).collect();
        (std::mem::take(&mut self.open).into_values().collect(), streams)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BIDI: Direction = Direction::Bidirectional;
    const UNI: Direction = Direction::Unidirectional;

    fn table(streams: usize, datagrams: usize, octets: usize) -> Table<&'static str, u32> {
        Table::new(&Config {
            max_early_streams: streams,
            max_early_datagrams: datagrams,
            max_early_octets: octets,
            ..Config::default()
        })
    }

    fn octets(len: usize) -> Bytes {
        Bytes::from(vec![len as u8; len])
    }

    #[test]
    fn early_streams_and_datagrams_find_their_session() {
        let mut table = table(4, 4, 100);
        for (id, stream) in [(0, 10), (4, 11), (0, 12)] {
            assert_eq!(table.stream(id, UNI, stream), Route::Waits);
        }
        assert_eq!(table.datagram(0, octets(1)), None);
        assert_eq!(table.datagram(4, octets(2)), None);
        assert!(table.reserve(1) && !table.reserve(1));
        let early = table.open(0, "zero");
        assert_eq!(early, Early { streams: vec![(UNI, 10), (UNI, 12)], datagrams: vec![octets(1)] });
        assert_eq!(table.stream(0, BIDI, 13), Route::Session("zero", 13));
        assert_eq!(table.datagram(0, octets(3)), Some(("zero", octets(3))));
        assert_eq!(table.end(0), Early { streams: vec![], datagrams: vec![] });
        assert_eq!(table.stream(0, BIDI, 14), Route::Refuse(14, Code::WT_SESSION_GONE));
        assert_eq!(table.datagram(0, octets(3)), None);
        // Refused before it was ever open.
        assert_eq!(table.end(4), Early { streams: vec![(UNI, 11)], datagrams: vec![octets(2)] });
        assert_eq!((table.early_streams.len(), table.early_datagrams.len(), table.early_octets), (0, 0, 0));
        assert!(table.reserve(1));
    }

    #[test]
    fn the_oldest_early_stream_makes_room() {
        let mut table = table(2, 0, 0);
        assert_eq!(table.stream(8, UNI, 1), Route::Waits);
        assert_eq!(table.stream(12, UNI, 2), Route::Waits);
        assert_eq!(table.stream(16, UNI, 3), Route::Refuse(1, Code::WT_BUFFERED_STREAM_REJECTED));
        assert_eq!(table.datagram(8, octets(0)), None);
        assert_eq!(table.early_datagrams.len(), 0);
    }

    proptest! {
        /// Whatever comes in whatever order: the bounds hold, and no stream is lost or seen twice.
        #[test]
        fn bounds(steps in proptest::collection::vec((0u8..5, 0u64..6, 0usize..30), 0..200)) {
            let mut table = table(3, 4, 50);
            let (mut given, mut back, mut open) = (0, 0, std::collections::HashSet::new());
            for (what, id, size) in steps {
                match what {
                    0 if !open.contains(&id) && table.reserve(3) => {
                        back += table.open(id, "session").streams.len();
                        open.insert(id);
                    }
                    1 => {
                        back += table.end(id).streams.len();
                        open.remove(&id);
                    }
                    2 => {
                        if let Some((_, datagram)) = table.datagram(id, octets(size)) {
                            prop_assert!(open.contains(&id) && datagram.len() == size);
                        }
                    }
                    _ => {
                        given += 1;
                        match table.stream(id, UNI, given) {
                            Route::Session(..) => {
                                prop_assert!(open.contains(&id));
                                back += 1;
                            }
                            Route::Refuse(..) => back += 1,
                            Route::Waits => prop_assert!(!open.contains(&id)),
                        }
                    }
                }
                prop_assert!(table.early_streams.len() <= 3 && table.early_datagrams.len() <= 4);
                prop_assert!(table.early_octets <= 50 && table.open.len() <= 3 && table.ended.len() <= MAX_REMEMBERED);
                prop_assert_eq!(table.early_octets, table.early_datagrams.iter().map(|(_, d)| d.len()).sum::<usize>());
                prop_assert_eq!(given as usize, back + table.early_streams.len());
            }
        }
    }
}
