//! Streams between pods and controllers: in order, with a window, and gone when anything is lost.

use std::collections::{BTreeMap, BTreeSet};

use crate::random::Random;

/// Messages on their way in one direction, as flow control has it. A sender is not polled beyond it.
pub(crate) const WINDOW: usize = 4;

/// One stream, from dial to break.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) pod: usize,
    pub(crate) controller: usize,
    /// Nothing arrives any more, and the ends come to know.
    pub(crate) is_cut: bool,
    /// Ends that know.
    ended: usize,
    /// On their way: to the pod, to the controller.
    pub(crate) in_transit: [usize; 2],
    /// When the last one arrives, since none overtakes another.
    arrives: [u64; 2],
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToPod = 0,
    ToController = 1,
}

/// All streams, and who cannot reach whom.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) links: BTreeMap<u64, Link>,
    pub(crate) partitions: BTreeSet<(usize, usize)>,
    /// Messages of a thousand with which a stream breaks.
    pub(crate) loss: u64,
    /// The longest that a message takes, in milliseconds.
    pub(crate) delay: u64,
    dialled: u64,
}

impl Network {
    /// A new stream.
    pub(crate) fn dial(&mut self, pod: usize, controller: usize) -> u64 {
        self.dialled += 1;
        let link = Link { pod, controller, is_cut: false, ended: 0, in_transit: [0; 2], arrives: [0; 2] };
        self.links.insert(self.dialled, link);
        self.dialled
    }

    /// One end knows that the stream is gone. When both do, it is.
    pub(crate) fn ended(&mut self, id: u64) {
        if let Some(link) = self.links.get_mut(&id) {
            link.ended += 1;
            if link.ended == 2 {
                self.links.remove(&id);
            }
        }
    }

    /// When a message that is sent now arrives; `None` if the stream broke over it.
    pub(crate) fn send(
        &mut self,
        id: u64,
        way: Direction,
        now: u64,
        slowness: u64,
        random: &mut Random,
    ) -> Option<u64> {
        let is_lost = random.happens(self.loss);
        let delay = random.within(1..self.delay + 1) * slowness;
        let link = self.links.get_mut(&id)?;
        if link.is_cut || is_lost || self.partitions.contains(&(link.pod, link.controller)) {
            return None;
        }
        let arrives = &mut link.arrives[way as usize];
        *arrives = (*arrives).max(now + delay);
        link.in_transit[way as usize] += 1;
        Some(*arrives)
    }

    /// Whether one more may be sent.
    pub(crate) fn has_room(&self, id: u64, way: Direction) -> bool {
        self.links.get(&id).is_some_and(|link| !link.is_cut && link.in_transit[way as usize] < WINDOW)
    }
}
