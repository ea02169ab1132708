//! What is known of an entry apart from the set it stands in, so that it can be taken to a set of another cache.

use alloc::vec;
use alloc::vec::Vec;

use super::arm::{Admission, Arm};
use super::order::{DEMOTED, HITS, MAIN, Segment};
use super::set::{Rules, Set};
use crate::raw::{Past, Print, Slots};

/// What a set knows of one of its entries, but for its place in the order of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repute {
    /// As in the set. Bits that mean nothing are of no effect.
    pub(crate) note: u8,
    /// How often it was counted, in a set that counts.
    pub(crate) count: u8,
}

impl Repute {
    /// How far an entry with this repute and rank is from leaving, under an arm.
    pub(crate) fn worth(self, rank: u32, arm: Option<Arm>) -> u64 {
        let order = u64::from(rank);
        let Some(arm) = arm.filter(|arm| arm.window < 256) else {
            return order;
        };
        let hits = self.hits();
        let in_main = self.is_in_main();
        let goes_there = arm.admission == Admission::Hits && hits >= arm.threshold;
        if !in_main && !goes_there {
            return order;
        }
        // A CLOCK passes over it once for each hit.
        let rounds = if in_main && !arm.main_by_use { hits } else { 0 };
        // In a set that counts, who was asked for the oftenest is the last to give way.
        let counted = u64::from(self.count.min(COUNT_MAX));
        (1 << 40) + (counted << 34) + (u64::from(rounds) << 32) + order
    }

    /// How often it was hit of late, up to three times.
    pub(crate) fn hits(self) -> u8 {
        self.note & HITS
    }

    fn is_in_main(self) -> bool {
        self.note & MAIN != 0
    }
}

/// How far up the entry in a place is, from 0, the oldest, to `len`: the middle of its part of all numbers, so that the
/// ranks of several sets go together like a zip.
pub(crate) fn rank(place: usize, len: usize) -> u32 {
    (((2 * place as u64 + 1) << 31) / len as u64) as u32
}

impl<E, S, B: Slots<E, S>> Set<E, S, B> {
    /// The [`rank`] of each entry.
    pub(crate) fn ranks(&mut self) -> Vec<u32> {
        if self.len() == 0 {
            return Vec::new();
        }
        let orders = self.block.columns().orders;
        let mut by_order: Vec<usize> = (0..orders.len()).collect();
        by_order.sort_unstable_by_key(|&at| orders[at]);
        let mut ranks = vec![0; orders.len()];
        for (place, at) in by_order.into_iter().enumerate() {
            ranks[at] = rank(place, ranks.len());
        }
        ranks
    }

    pub(crate) fn repute(&mut self, at: usize) -> Repute {
        let columns = self.block.columns();
        let count = columns.counted(columns.print(at));
        Repute {
            note: columns.notes[at],
            // 15 at most.
            count: count as u8,
        }
    }

    /// Adds an entry that is not there, as the newest, at the end, with a repute from elsewhere.
    pub(crate) fn restore(
        &mut self,
        print: Print,
        entry: E,
        repute: Repute,
        rules: &Rules,
    ) -> usize {
        self.block.make_room();
        if rules.arm.admission == Admission::Frequency {
            self.remember(Past::Counts, rules);
            let mut columns = self.block.columns();
            for _ in 0..repute.count.min(COUNT_MAX) {
                columns.count(print);
            }
        }
        let (segment, means) = if repute.is_in_main() {
            (Segment::Main, HITS)
        } else {
            (Segment::Window, HITS | DEMOTED)
        };
        let mut slot = self.block.columns().newest(print, segment);
        slot.note |= repute.note & means;
        self.block.push(slot, entry);
        self.len() - 1
    }
}

/// What a counter of four bits holds.
const COUNT_MAX: u8 = 15;

impl Arm {
    /// The arms under numbers that keep their meaning as arms come and go. None is used twice.
    const CODES: [(u8, Arm); 9] = [
        (0, Arm::CHOICES[0]),
        (1, Arm::CHOICES[1]),
        (2, Arm::CHOICES[2]),
        (3, Arm::CHOICES[3]),
        (4, Arm::CHOICES[4]),
        (5, Arm::TINY_LFU),
        (6, Arm::CHOICES[5]),
        (7, Arm::CHOICES[6]),
        (8, Arm::FIFO),
    ];

    pub(crate) fn code(self) -> Option<u8> {
        let known = Arm::CODES.iter().find(|(_, arm)| *arm == self);
        known.map(|(code, _)| *code)
    }

    pub(crate) fn of_code(code: u8) -> Option<Arm> {
        let known = Arm::CODES.iter().find(|(its, _)| *its == code);
        known.map(|(_, arm)| *arm)
    }
}

#[cfg(test)]
mod tests {
    use purlin_core::Rng;

    use super::*;
    use crate::policy::Policy;

    fn print(n: u32) -> Print {
        Print {
            tag: (n as u8).max(1),
            mark: (n >> 8) as u16,
        }
    }

    #[test]
    fn every_arm_has_one_code_and_every_code_one_arm() {
        let by_policy = [Policy::Adaptive, Policy::S3Fifo, Policy::Fifo, Policy::Lfu];
        let by_policy = by_policy.iter().filter_map(|policy| policy.first_arm());
        for arm in Arm::CHOICES.into_iter().chain(by_policy) {
            let code = arm.code().expect("every arm in use has a code");
            assert_eq!(Arm::of_code(code), Some(arm));
        }
        for (n, (code, _)) in Arm::CODES.iter().enumerate() {
            assert!(Arm::CODES[..n].iter().all(|(other, _)| other != code));
        }
        assert_eq!(Arm::of_code(200), None);
    }

    #[test]
    fn ranks_rise_with_the_order_and_fill_the_numbers() {
        assert_eq!(rank(0, 1), 1 << 31);
        for len in [1, 2, 40, 1_000_003, u32::MAX as usize - 1] {
            for place in [0, len / 2, len - 1] {
                let rank = u64::from(rank(place, len));
                assert_eq!((rank * len as u64) >> 32, place as u64, "{place} of {len}");
            }
        }
    }

    /// What leaves first of a set that was taken to another is what would have left first of the one.
    #[test]
    fn a_set_that_was_taken_elsewhere_gives_up_the_same_entries_in_the_same_order() {
        for arm in Arm::CHOICES {
            let rules = Rules::new(arm, 32);
            let mut rng = Rng::from_seed(5);
            let mut set: Set<u32> = Set::new();
            for _ in 0..3_000 {
                let hash = rng.below(60).min(rng.below(90)) as u32;
                match set.find(print(hash), |&other| other == hash) {
                    Some(at) => set.hit(at, &rules),
                    None if set.len() < 32 => {
                        set.add(print(hash), hash, &rules);
                    }
                    None => {
                        set.exchange(print(hash), hash, &rules, &mut rng);
                    }
                }
            }
            let ranks = set.ranks();
            let mut by_rank: Vec<usize> = (0..set.len()).collect();
            by_rank.sort_unstable_by_key(|&at| ranks[at]);
            let mut other: Set<u32> = Set::new();
            // So that the share of the window is rounded alike.
            other.block.make_room();
            other.block.tally_mut().dither = set.block.tally().dither;
            other.block.tally_mut().now = 1;
            for at in by_rank {
                let (hash, repute) = (*set.entry(at), set.repute(at));
                let there = other.restore(print(hash), hash, repute, &rules);
                assert_eq!(other.repute(there).note, repute.note);
            }
            for _ in 0..32 {
                let mine = set.choose(None, &rules, &mut Rng::from_seed(1));
                let its = other.choose(None, &rules, &mut Rng::from_seed(1));
                assert_eq!(set.free(mine), other.free(its), "{arm:?}");
            }
        }
    }

    #[test]
    fn worth_is_the_order_in_which_they_leave() {
        let of = |note, rank, arm| Repute { note, count: 0 }.worth(rank, arm);
        let s3 = Some(Arm::S3);
        let newest_of_window = of(0, u32::MAX, s3);
        let admitted = of(1, 0, s3);
        let oldest_of_main = of(MAIN, 1, s3);
        let hit_in_main = of(MAIN | 1, 0, s3);
        assert!(newest_of_window < admitted && admitted < oldest_of_main);
        assert!(oldest_of_main < hit_in_main && hit_in_main < of(MAIN | 3, 0, s3));
        assert!(of(MAIN | 3, u32::MAX, s3) < u64::MAX);
        let often = Repute {
            note: MAIN,
            count: 9,
        }
        .worth(0, Some(Arm::TINY_LFU));
        assert!(often > of(MAIN | 3, u32::MAX, Some(Arm::TINY_LFU)));
        for arm in [None, Some(Arm::LRU), Some(Arm::FIFO)] {
            assert_eq!(of(MAIN | 3, 7, arm), 7);
        }
    }
}
