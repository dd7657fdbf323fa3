//! One version on its way to one subscriber.

use std::sync::Arc;

use super::delta::Delta;
use crate::digest::Digest;
use crate::proto::to_subscriber::Message;
use crate::proto::{self, Adopt, Begin, Commit};
use crate::sections::Sections;
use crate::version::Version;

/// A version in flight: from its first message to the answer.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) version: Version,
    pub(super) sections: Arc<Sections>,
    stage: Stage,
}

/// What comes next.
#[derive(Debug)]
enum Stage {
    Adopt,
    Begin { base: Digest, delta: Delta },
    Parts(Delta),
    Answer,
}

impl Transfer {
    /// The subscriber has the table already.
    pub(super) fn adopt(version: Version, sections: Arc<Sections>) -> Self {
        Transfer { version, sections, stage: Stage::Adopt }
    }

    /// The subscriber has the table of digest `base`.
    pub(super) fn change(version: Version, sections: Arc<Sections>, base: Digest, delta: Delta) -> Self {
        Transfer { version, sections, stage: Stage::Begin { base, delta } }
    }

    /// Whether only the answer is missing.
    pub(super) fn is_sent(&self) -> bool {
        matches!(self.stage, Stage::Answer)
    }

    /// The next message.
    pub(super) fn poll(&mut self) -> Option<Message> {
        let version = Some(proto::Version::from(self.version));
        let (message, stage) = match std::mem::replace(&mut self.stage, Stage::Answer) {
            Stage::Answer => return None,
            Stage::Adopt => (Message::Adopt(Adopt { version }), Stage::Answer),
            Stage::Begin { base, delta } => {
                let begin = Begin { version, base: base.as_octets().to_vec().into() };
                (Message::Begin(begin), Stage::Parts(delta))
            }
            Stage::Parts(mut delta) => match delta.next_part() {
                Some(part) => (Message::Part(part), Stage::Parts(delta)),
                None => (Message::Commit(Commit { version }), Stage::Answer),
            },
        };
        self.stage = stage;
        Some(message)
    }
}
