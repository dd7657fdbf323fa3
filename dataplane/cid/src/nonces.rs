//! Nonces that are never used twice under a key, without a note of any that was used.
//!
//! Owns how the space of nonces is shared out between processes and workers. Knows neither a clock nor a source of chance;
//! which incarnation a process is, its caller says.
//!
//! ```text
//!            most significant bit                                                    least
//!            ┌──────────────────────────────────┬──────────────────────────────────────┐
//!   number   │ incarnation: 3 bits an octet     │ position: draw × workers + worker    │   as long as the nonce
//!            │   allotment (⅓) │ restart (⅔)    │   5 bits an octet                    │
//!            └──────────────────────────────────┴──────────────────────────────────────┘
//!                                        │ permutation, by a key of this server ID's own
//!                                        ▼
//!                                      nonce         (single block: the number is the nonce)
//! ```
//!
//! # Why no nonce comes twice
//!
//! A nonce may come once under one key and one server ID (draft, "Connection ID Entropy"); another server ID makes another
//! plaintext. Two numbers of one server ID differ:
//!
//! - of one worker, by its draw, which only grows (and see [`Issuer`](crate::Issuer), which takes care that it does);
//! - of two workers of a process, by the position modulo the number of workers;
//! - of two processes, by the incarnation.
//!
//! Different numbers make different nonces: where a nonce is its number, at once, and otherwise because a permutation is
//! one to one. It is the draft's network, with twelve passes, over as many octets as the nonce has. All processes with that
//! server ID permute in the same way, because the key follows from the configuration's secret and the server ID.
//!
//! So the bound for [`Incarnation::Counted`] is none at all: a nonce is not repeated as long as no two processes are told
//! the same incarnation. For [`Incarnation::Drawn`], r processes that draw b bits collide with a probability of at most
//! r² / 2^(b + 1). With the 24 bits that 8 octets of nonce leave, a hundred restarts under one key collide with one in
//! 3300, which is why `Drawn` is for whoever has nowhere to count.
//!
//! # How many there are
//!
//! | octets of nonce | incarnations | of them allotments × restarts | positions of each |
//! |---|---|---|---|
//! | 4 | 2^12 | 2^4 × 2^8 | 2^20 |
//! | 7 (AWS) | 2^21 | 2^7 × 2^14 | 2^35 |
//! | 8 | 2^24 | 2^8 × 2^16 | 2^40 |
//! | 11 and more | 2^32 | 2^10 × 2^22 | 2^56 to 2^64 |
//!
//! A worker skips the nonces whose ID would be another worker's, so that W workers spend W positions on an ID. What is
//! spent is gone: then there is [`Exhausted`], and the configuration has to be replaced. [`NonceSource::left`] tells ahead.
//!
//! # What can be learnt from a nonce
//!
//! In clear text a nonce must have "no observable relationship" to those before it (draft, "Server Actions"): to who has
//! no key, the permutation of a counter looks like chance without repetition, and a key for each server ID keeps two
//! servers' counters from showing the same nonces. The network of four passes can be told from chance by who guesses
//! plaintexts (draft, "Distinguishing Attacks"), so its nonces are permuted too and cannot be guessed. A single block needs
//! none of that, and its nonces are plain numbers. Steering shows something by design: see
//! [`Steering`](crate::Steering).

use crate::cipher::Cipher;
use crate::layout::MAX_NONCE;
use crate::{Config, Key, Layout, Nonce, ServerId, Worker};

/// The label under which the permutation's key is derived.
const PERMUTATION: &[u8; 16] = b"headrace/nonces/";

/// The label under which it is told whether two sources would draw from the same nonces.
const DOMAIN: &[u8; 16] = b"headrace/domain/";

/// Bits of an incarnation for each octet of a nonce, of eight: a process draws far more nonces than there are processes.
const INCARNATION_BITS_AN_OCTET: u32 = 3;

/// The most bits of an incarnation: more restarts than any key lives to see.
const MAX_INCARNATION_BITS: u32 = 32;

/// Octets of the number in front of the permutation that are ever other than zero.
const NUMBER_LEN: usize = 16;

/// Which of the processes with one server ID under one key this one is. All processes of a server ID use one kind, since
/// the two could meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incarnation {
    /// Counted where it is not forgotten.
    Counted {
        /// How often this server ID had been allotted before, under a key that is still alive. Whoever allots it counts.
        allotment: u32,
        /// How often the process had been started before, since that allotment. Kept where a restart does not reach it.
        restart: u32,
    },
    /// Drawn at random; the module says what that costs.
    Drawn(u32),
}

impl Incarnation {
    /// Of a process whose keys are as new as itself.
    pub const ONLY: Incarnation = Incarnation::Counted { allotment: 0, restart: 0 };

    /// As a number of this many bits.
    fn number(self, bits: u32) -> Result<u32, OutOfIncarnations> {
        match self {
            Incarnation::Drawn(drawn) => Ok(drawn >> (u32::BITS - bits)),
            Incarnation::Counted { allotment, restart } => {
                let allotment_bits = bits / 3;
                let restart_bits = bits - allotment_bits;
                if allotment >> allotment_bits != 0 || restart >> restart_bits != 0 {
                    return Err(OutOfIncarnations);
                }
                Ok(allotment << restart_bits | restart)
            }
        }
    }
}

/// The server ID was allotted, or the process restarted, more often than the nonces have room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this nonce has no room for that many processes under one key")]
pub struct OutOfIncarnations;

/// A source has drawn all of its nonces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all nonces of this process are used up: the configuration has to be replaced")]
pub struct Exhausted;

/// The nonces of one worker, under one configuration and one server ID.
#[derive(Debug)]
pub struct NonceSource {
    permutation: Option<Cipher>,
    length: usize,
    /// The incarnation in its place.
    incarnation: u128,
    worker: Worker,
    draws: u64,
    draw_limit: u64,
}

impl NonceSource {
    /// The nonces of a worker from the first on.
    ///
    /// Two sources with the same arguments give the same nonces. An [`Issuer`](crate::Issuer) does not make two.
    pub fn new(
        config: &Config,
        server: &ServerId,
        incarnation: Incarnation,
        worker: Worker,
    ) -> Result<Self, OutOfIncarnations> {
        let length = config.layout().nonce_len();
        let space = Space::of(config.layout());
        let incarnation = u128::from(incarnation.number(space.incarnation_bits)?);
        let permutation = match config.is_single_block() {
            true => None,
            false => Some(Cipher::new(&config.secret().derive(PERMUTATION, server.as_slice()))),
        };
        Ok(Self {
            permutation,
            length,
            incarnation: incarnation << (space.bits - space.incarnation_bits),
            worker,
            draws: 0,
            draw_limit: space.draws(worker),
        })
    }

    /// What two sources have in common that could draw the same nonce: the secret, and the server ID.
    pub(crate) fn domain(config: &Config, server: &ServerId) -> Key {
        config.secret().derive(DOMAIN, server.as_slice())
    }

    /// How many were drawn.
    pub(crate) const fn draws(&self) -> u64 {
        self.draws
    }

    /// Leaves out the first ones, up to that many draws.
    pub(crate) fn skip_to(&mut self, draws: u64) {
        self.draws = self.draws.max(draws).min(self.draw_limit);
    }

    /// How many are left.
    pub const fn left(&self) -> u64 {
        self.draw_limit - self.draws
    }

    /// The next one.
    pub fn draw(&mut self) -> Result<Nonce, Exhausted> {
        if self.draws == self.draw_limit {
            return Err(Exhausted);
        }
        let position = self.draws * self.worker.workers().get() as u64 + self.worker.index() as u64;
        self.draws += 1;
        let number = (self.incarnation | u128::from(position)).to_be_bytes();
        let mut octets = [0; MAX_NONCE];
        let octets = &mut octets[..self.length];
        let taken = self.length.min(NUMBER_LEN);
        let at = self.length - taken;
        octets[at..].copy_from_slice(&number[NUMBER_LEN - taken..]);
        if let Some(permutation) = &self.permutation {
            permutation.permute(octets);
        }
        Ok(Nonce::try_from(&*octets).expect("a layout has a legal nonce"))
    }
}

/// How a layout's nonces are shared out.
struct Space {
    /// Of the number, at most 128.
    bits: u32,
    incarnation_bits: u32,
}

impl Space {
    fn of(layout: Layout) -> Self {
        let octets = layout.nonce_len().min(NUMBER_LEN) as u32;
        let incarnation_bits = (octets * INCARNATION_BITS_AN_OCTET).min(MAX_INCARNATION_BITS);
        Self { bits: 8 * octets, incarnation_bits }
    }

    /// How many positions are a worker's own.
    fn draws(&self, worker: Worker) -> u64 {
        let positions = 1_u128 << (self.bits - self.incarnation_bits).min(u64::BITS);
        let behind = positions - worker.index() as u128;
        // More than u64 counts are never drawn, and the last position stays below 2^64.
        behind.div_ceil(worker.workers().get() as u128).min(u128::from(u64::MAX)) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{ConfigId, LowBits, Workers};

    fn config(server_id: usize, nonce: usize) -> Config {
        let layout = Layout::new(server_id, nonce).unwrap();
        Config::clear(ConfigId::FIRST, layout, LowBits::Random, Key::from([5; 16]))
    }

    fn source(config: &Config, server: u8, incarnation: Incarnation, worker: Worker) -> NonceSource {
        let server = ServerId::try_from(&vec![server; config.layout().server_id_len()][..]).unwrap();
        NonceSource::new(config, &server, incarnation, worker).unwrap()
    }

    /// Every worker of every process draws all that it has, for the shortest nonce with most of it left out.
    #[test]
    fn a_space_is_used_up_and_nothing_comes_twice() {
        let config = config(3, 4);
        let workers = Workers::new(3).unwrap();
        let mut seen = HashSet::new();
        for restart in [0, 1, 255] {
            let mut drawn = 0;
            for worker in workers.all() {
                let mut source = source(&config, 1, Incarnation::Counted { allotment: 15, restart }, worker);
                source.skip_to(source.left() - 1000);
                let mut left = source.left();
                assert_eq!(left, 1000);
                while let Ok(nonce) = source.draw() {
                    assert!(seen.insert(nonce), "{nonce}");
                    left -= 1;
                    assert_eq!(source.left(), left);
                }
                assert_eq!((source.draw(), left), (Err(Exhausted), 0));
                drawn += source.draws();
            }
            assert_eq!(drawn, 1 << 20);
        }
    }

    #[test]
    fn the_room_for_incarnations() {
        let workers = Workers::new(1).unwrap().all().next().unwrap();
        let cases = [(3, 4, 4, 8, 1 << 20), (8, 7, 7, 14, 1 << 35), (8, 8, 8, 16, 1 << 40), (1, 18, 10, 22, u64::MAX)];
        for (server_id, nonce, allotment_bits, restart_bits, left) in cases {
            let config = config(server_id, nonce);
            let server = ServerId::try_from(&vec![1; server_id][..]).unwrap();
            let new = |allotment, restart| {
                NonceSource::new(&config, &server, Incarnation::Counted { allotment, restart }, workers)
            };
            let (allotments, restarts) = (1 << allotment_bits, 1 << restart_bits);
            assert_eq!(new(allotments - 1, restarts - 1).unwrap().left(), left, "{nonce}");
            assert_eq!(new(allotments, 0).unwrap_err(), OutOfIncarnations, "{nonce}");
            assert_eq!(new(0, restarts).unwrap_err(), OutOfIncarnations, "{nonce}");
        }
    }

    #[test]
    fn the_last_position_of_the_longest_nonce() {
        let config = config(1, 18);
        for workers in [1, 2, 3, 128] {
            for worker in Workers::new(workers).unwrap().all() {
                let mut source = source(&config, 1, Incarnation::Drawn(u32::MAX), worker);
                source.skip_to(source.draw_limit - 1);
                assert!(source.draw().is_ok());
                assert_eq!(source.draw(), Err(Exhausted), "{worker:?}");
            }
        }
    }

    #[test]
    fn other_servers_and_other_secrets_permute_otherwise() {
        let config = config(8, 7);
        let worker = Workers::new(1).unwrap().all().next().unwrap();
        let other = Config::aws_nlb(Key::from([6; 16]));
        let mut nonces = [(&config, 1), (&config, 2), (&other, 1)]
            .map(|(config, server)| source(config, server, Incarnation::ONLY, worker).draw().unwrap());
        nonces.sort();
        assert!(nonces[0] != nonces[1] && nonces[1] != nonces[2], "{nonces:?}");
    }

    /// Neighbours differ in about half of their bits, and in all of their octets sometimes.
    #[test]
    fn nonces_in_clear_text_do_not_look_like_a_counter() {
        for nonce in 4..=16 {
            let config = config(3, nonce);
            let worker = Workers::new(1).unwrap().all().next().unwrap();
            let mut source = source(&config, 1, Incarnation::ONLY, worker);
            let draws: Vec<Nonce> = (0..1000).map(|_| source.draw().unwrap()).collect();
            let bits: u32 = draws
                .windows(2)
                .flat_map(|pair| pair[0].as_slice().iter().zip(pair[1].as_slice()))
                .map(|(one, other)| (one ^ other).count_ones())
                .sum();
            let share = f64::from(bits) / (999 * 8 * nonce) as f64;
            assert!((0.48..0.52).contains(&share), "{share} of the bits with {nonce} octets");
        }
    }
}
