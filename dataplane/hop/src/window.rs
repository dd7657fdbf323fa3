//! Which numbers of a sender's worker have been there.
//!
//! Owns a bitmap that moves with the greatest number, in words that are cleared whole (RFC 6479). Knows nothing of packets.

/// Octets of memory for each peer's worker that was heard of, times eight.
const BITS: u64 = 2_048;

const WORD: u64 = u64::BITS as u64;

const WORDS: u64 = BITS / WORD;

/// How far a packet may be behind the latest of its worker. At the greatest rate to one peer it is 20 ms, far more than
/// the paths of a pod network differ by. The worker counts over all of its peers, so that it is less of each where it
/// sends to many.
pub const WINDOW: u64 = BITS - WORD;

/// A window of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// One more than the greatest number that was there.
    next: u64,
    words: [u64; WORDS as usize],
}

impl Window {
    pub(crate) const fn new() -> Self {
        Self { next: 0, words: [0; WORDS as usize] }
    }

    /// Whether a number is new and not too old to tell. It is not new any more after that.
    pub(crate) fn accept(&mut self, number: u64) -> bool {
        if number >= self.next {
            let (last, word) = (self.next.saturating_sub(1) / WORD, number / WORD);
            for passed in last + 1..=word.min(last + WORDS) {
                self.words[(passed % WORDS) as usize] = 0;
            }
            self.next = number + 1;
        } else if self.next - number > WINDOW {
            return false;
        }
        let word = &mut self.words[(number / WORD % WORDS) as usize];
        let bit = 1 << (number % WORD);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// Numbers with steps as they come, and with leaps.
    fn numbers() -> impl Strategy<Value = Vec<u64>> {
        let step = prop_oneof![
            8 => -40..60_i64,
            2 => -(2 * BITS as i64)..2 * BITS as i64,
            1 => 0..1_000_000_i64,
        ];
        (0..5_000_u64, prop::collection::vec(step, 1..600)).prop_map(|(start, steps)| {
            let next = |at: &mut u64, step| {
                *at = at.saturating_add_signed(step);
                Some(*at)
            };
            steps.into_iter().scan(start, next).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn as_a_set_of_all_numbers_says(numbers in numbers()) {
            let (mut window, mut seen, mut greatest) = (Window::new(), HashSet::new(), 0);
            for number in numbers {
                greatest = number.max(greatest);
                let expected = greatest - number < WINDOW && !seen.contains(&number);
                prop_assert_eq!(window.accept(number), expected, "{}", number);
                seen.insert(number);
            }
        }
    }

    #[test]
    fn the_ends() {
        let mut window = Window::new();
        let last = (1 << 56) - 1;
        let steps = [
            (0, true),
            (0, false),
            (WINDOW, true),
            (0, false),
            (1, true),
            (last, true),
            (last, false),
            (last - WINDOW, false),
            (last - WINDOW + 1, true),
            (last - WINDOW + 1, false),
            (WINDOW, false),
        ];
        for (number, expected) in steps {
            assert_eq!(window.accept(number), expected, "{number}");
        }
    }
}
