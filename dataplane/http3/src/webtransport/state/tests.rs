//! Two sides of a session that talk over byte pipes which a seeded schedule moves: whatever the order, no honest peer breaks
//! a limit, everything that was sent arrives, and nothing grows beyond its bound.

use proptest::prelude::*;

use super::*;
use crate::webtransport::capsule::Interpreter;

const DIRECTIONS: [Direction; 2] = [Direction::Bidirectional, Direction::Unidirectional];

/// A stream on its way: octets that were sent and not read.
#[derive(Debug)]
struct Stream {
    direction: Direction,
    unread: u64,
    finished: bool,
    taken: bool,
    closed: bool,
}

/// One side, and what is on its way to it.
struct Side {
    state: State<usize>,
    interpreter: Interpreter,
    /// The CONNECT stream's content towards this side.
    capsules: Vec<u8>,
    /// Streams that the other side opened and whose header has not come.
    arriving: VecDeque<usize>,
    streams: Vec<Stream>,
    sent: u64,
    read: u64,
    waiting: u64,
}

impl Side {
    fn new(ours: &Config, peers: &Config) -> Self {
        let state = State::new(ours, Some(Limits::of_config(peers)));
        let interpreter = Interpreter::new(state.is_flow_controlled());
        Self {
            state,
            interpreter,
            capsules: Vec::new(),
            arriving: VecDeque::new(),
            streams: Vec::new(),
            sent: 0,
            read: 0,
            waiting: 0,
        }
    }

    /// Takes some of the capsules.
    fn hear(&mut self, most: usize) {
        let count = most.min(self.capsules.len());
        let octets: Vec<u8> = self.capsules.drain(..count).collect();
        let mut input = &octets[..];
        while let Some(capsule) = self.interpreter.next(&mut input).expect("the other side is honest") {
            self.state.hear(capsule).expect("the other side is honest");
        }
    }

    fn arrive(&mut self) {
        let Some(stream) = self.arriving.pop_front() else { return };
        match self.state.arrive(self.streams[stream].direction, stream) {
            Arrival::Waits => self.waiting += 1,
            other => panic!("{other:?}"),
        }
    }

    /// Takes a stream, or reads one that was taken.
    fn work(&mut self, most: u64) {
        for direction in DIRECTIONS {
            if let Some(stream) = self.state.take(direction) {
                self.streams[stream].taken = true;
                self.waiting -= 1;
            }
        }
        for at in 0..self.streams.len() {
            let Stream { direction, unread, finished, taken, closed } = self.streams[at];
            let count = unread.min(most);
            if taken && count > 0 {
                self.state.read(count).expect("the other side is honest");
                self.read += count;
                self.streams[at].unread -= count;
            } else if taken && finished && !closed {
                self.streams[at].closed = true;
                self.state.close_peers(direction);
            }
        }
    }
}

/// A step of `from`, whose streams are among `to`'s.
fn send(from: &mut Side, to: &mut Side, what: u8, amount: u64) {
    let direction = DIRECTIONS[usize::from(what % 2)];
    if what < 2 && from.state.may_open(direction) {
        if amount.is_multiple_of(5) {
            return from.state.give_up_opening(direction);
        }
        from.state.open(direction);
        to.arriving.push_back(to.streams.len());
        to.streams.push(Stream { direction, unread: 0, finished: false, taken: false, closed: false });
    }
    if what == 2
        && let Some(stream) = to.streams.iter_mut().rev().find(|stream| !stream.finished)
    {
        let allowed = from.state.may_send(amount);
        // QUIC does not always take everything.
        let taken = allowed - allowed / 3;
        from.state.give_up_sending(allowed - taken);
        from.sent += taken;
        stream.unread += taken;
    }
    if what == 3
        && let Some(stream) = to.streams.iter_mut().find(|stream| stream.taken && !stream.finished)
    {
        stream.finished = true;
    }
    if what == 4 {
        from.state.drain();
    }
    let mut said = Vec::new();
    from.state.say(&mut said);
    assert!(!from.state.has_news());
    // A few capsules at most, however much happened.
    assert!(said.len() < 100, "{said:02x?}");
    to.capsules.extend(said);
}

proptest! {
    #[test]
    fn honest_peers_get_everything_across(
        limits in (1u32..5, 1u32..5, 1u64..200, 1u32..5, 1u32..5, 1u64..200),
        steps in proptest::collection::vec((any::<bool>(), 0u8..9, 1u64..100), 1..400),
    ) {
        let config = |max_streams_bidi, max_streams_uni, max_data| Config {
            max_streams_bidi, max_streams_uni, max_data, ..Config::default()
        };
        let (a, b) = (config(limits.0, limits.1, limits.2), config(limits.3, limits.4, limits.5));
        let mut sides = [Side::new(&a, &b), Side::new(&b, &a)];
        for (swap, what, amount) in steps {
            let [first, second] = &mut sides;
            let (from, to) = if swap { (second, first) } else { (first, second) };
            match what {
                0..=4 => send(from, to, what, amount),
                5 => to.arrive(),
                6 => to.hear(amount as usize % 7),
                _ => to.work(amount),
            }
            for (side, config) in sides.iter().zip([&a, &b]) {
                // A peer that says it is blocked by streams that are still on their way gets as many more.
                prop_assert!(side.waiting <= SLACK * u64::from(config.max_streams_bidi + config.max_streams_uni));
            }
        }
        // Everything that is on its way comes, and then both can open and send again.
        for _ in 0..200 {
            for side in &mut sides {
                side.hear(usize::MAX);
                while !side.arriving.is_empty() {
                    side.arrive();
                }
                for stream in &mut side.streams {
                    stream.finished |= stream.taken;
                }
                side.work(u64::MAX);
            }
            let [first, second] = &mut sides;
            send(first, second, 9, 0);
            send(second, first, 9, 0);
        }
        for (at, side) in sides.iter_mut().enumerate() {
            for direction in DIRECTIONS {
                prop_assert!(side.state.may_open(direction), "side {} cannot open {:?}", at, direction);
                prop_assert_eq!(side.state.open_by_peer(direction), 0);
            }
            prop_assert_eq!(side.state.may_send(1), 1);
        }
        let [first, second] = &sides;
        prop_assert_eq!((first.sent, second.sent), (second.read, first.read));
    }
}

#[test]
fn without_flow_control_streams_beyond_the_limit_are_refused() {
    let config = Config { max_streams_bidi: 1, max_streams_uni: 2, ..Config::default() };
    let mut state: State<u32> = State::new(&config, None);
    let (bidi, uni) = (Direction::Bidirectional, Direction::Unidirectional);
    assert!(matches!(state.arrive(bidi, 1), Arrival::Waits));
    assert!(matches!(state.arrive(bidi, 2), Arrival::Refused(2, Code::WT_BUFFERED_STREAM_REJECTED)));
    assert!(matches!(state.arrive(uni, 3), Arrival::Waits));
    assert_eq!(state.take(bidi), Some(1));
    // It is open still.
    assert!(matches!(state.arrive(bidi, 4), Arrival::Refused(4, _)));
    state.close_peers(bidi);
    assert!(matches!(state.arrive(bidi, 5), Arrival::Waits));
    // What a peer says of flow control that is not on has no effect.
    assert_eq!(state.hear(Capsule::Flow(Tell::MaxData(0))), Ok(News::Nothing));
    assert!(state.may_open(uni) && state.may_send(1 << 40) == 1 << 40);
}

#[test]
fn with_flow_control_breaking_a_limit_ends_the_session() {
    let config = Config { max_streams_uni: 1, max_data: 10, ..Config::default() };
    let mut state: State<u32> = State::new(&config, Some(Limits { data: 1, ..Limits::default() }));
    let uni = Direction::Unidirectional;
    assert!(!state.may_open(uni));
    assert!(matches!(state.arrive(uni, 1), Arrival::Waits));
    let Arrival::Fault(2, fault) = state.arrive(uni, 2) else { panic!() };
    assert_eq!(fault.code, Code::WT_FLOW_CONTROL_ERROR);
    assert_eq!(state.read(11).unwrap_err().code, Code::WT_FLOW_CONTROL_ERROR);
    assert_eq!(state.hear(Capsule::Flow(Tell::MaxData(1))).unwrap_err().code, Code::WT_FLOW_CONTROL_ERROR);
}

/// A peer that lies about being blocked gets more credit, and not more streams.
#[test]
fn blocked_by_nothing() {
    let config = Config { max_streams_uni: 3, ..Config::default() };
    let mut state: State<u64> = State::new(&config, Some(Limits::of_config(&config)));
    let uni = Direction::Unidirectional;
    let (mut refused, mut limit) = (0, 3);
    for stream in 0..100 {
        state.hear(Capsule::Flow(Tell::StreamsBlocked(uni, limit))).unwrap();
        let mut said = Vec::new();
        state.say(&mut said);
        if let Some(Capsule::Flow(Tell::MaxStreams(_, more))) = Interpreter::new(true).next(&mut &said[..]).unwrap() {
            limit = more;
        }
        match state.arrive(uni, stream) {
            Arrival::Waits => assert!(state.open_by_peer(uni) <= 6),
            Arrival::Refused(_, code) => {
                assert_eq!(code, Code::WT_BUFFERED_STREAM_REJECTED);
                refused += 1;
            }
            Arrival::Fault(_, fault) => panic!("{fault}"),
        }
    }
    assert_eq!(refused, 94);
}

#[test]
fn after_the_end_nothing_comes_and_nothing_is_said() {
    let mut state: State<u32> = State::new(&Config::default(), Some(Limits::default()));
    state.datagram(Bytes::from_static(b"early"));
    state.drain();
    assert!(state.has_news());
    let close = Capsule::Close { code: 7, reason: "bye".to_owned() };
    assert_eq!(state.hear(close), Ok(News::Ended));
    assert!(matches!(state.ended(), Some(Ended::ByPeer { code: 7, reason }) if reason == "bye"));
    assert!(!state.end(Ended::ByUs { code: 1, reason: String::new() }));
    assert!(matches!(state.arrive(Direction::Unidirectional, 1), Arrival::Refused(1, Code::WT_SESSION_GONE)));
    state.datagram(Bytes::from_static(b"late"));
    assert_eq!(state.take_datagram(), None);
    let mut said = Vec::new();
    state.say(&mut said);
    assert!(said.is_empty() && !state.has_news());
}
