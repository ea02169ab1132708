use alloc::collections::VecDeque;
use alloc::vec::Vec;

use purlin_core::Rng;

use super::arm::{Admission, Arm};
use super::sketch::Sketch;

/// What a policy knows of a few dozen entries, in slots that stand side by side. The owner keeps the entries
/// themselves, if there are any, in the same places: a new one comes last, and where one leaves, the last takes
/// its place.
///
/// 1. `tags` and `slots` are of one length, and a tag is the low byte of its slot's hash.
/// 2. `in_window` is the number of slots in the window.
/// 3. No two slots, and no slot and a ghost, have the same order, and all orders are at most `now`.
#[derive(Debug, Default)]
pub(crate) struct Set {
    /// Apart from the slots, so that a look-up reads eight at a time.
    tags: Vec<u8>,
    slots: Vec<Slot>,
    /// The latest to leave, oldest first.
    ghosts: VecDeque<Ghost>,
    sketch: Sketch,
    /// The set's own clock: ticks when something is put in order.
    now: u16,
    in_window: u16,
    /// Added before the window's share is rounded down, so that over many sets it comes out right.
    dither: u8,
    /// How many entries the set is meant for. It may have more or fewer.
    ways: u16,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    /// The owner's name for the insertion.
    stamp: u32,
    /// When it last became the newest of its segment.
    order: u16,
    segment: Segment,
    /// Hits of this residency, at most three.
    hits: u8,
    /// Pushed out of main by a better one, and not used since: its last use is older than all of main's.
    demoted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segment {
    Window,
    Main,
}

#[derive(Clone, Copy, Debug)]
struct Ghost {
    fingerprint: u16,
    order: u16,
}

/// The most hits of a residency that count.
const HITS_MAX: u8 = 3;

/// A newcomer seen so often is let in by chance, one time in 128, though main's victim was seen oftener: nobody
/// can then shut a key out by making its neighbours look popular.
const WARM: u8 = 6;

impl Set {
    pub(crate) fn new(dither: u8, ways: u16) -> Self {
        Set {
            dither,
            ways,
            ..Set::default()
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The hash that the entry in a slot was inserted with.
    pub(crate) fn hash(&self, at: usize) -> u32 {
        self.slots[at].hash
    }

    pub(crate) fn stamp(&self, at: usize) -> u32 {
        self.slots[at].stamp
    }

    pub(crate) fn set_stamp(&mut self, at: usize, stamp: u32) {
        self.slots[at].stamp = stamp;
    }

    /// The first slot with this hash of which `is_it` is true.
    #[inline]
    pub(crate) fn find(&self, hash: u32, mut is_it: impl FnMut(usize) -> bool) -> Option<usize> {
        const LOW: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        let mut is_it = |at: usize| self.slots[at].hash == hash && is_it(at);
        let tag = hash as u8;
        let words = self.tags.chunks_exact(8);
        let rest = self.tags.len() - words.remainder().len()..self.tags.len();
        for (n, word) in words.enumerate() {
            let word = u64::from_le_bytes(word.try_into().expect("the chunks are of eight"));
            // A byte is zero where the tags agree. The subtraction borrows past such a byte, so that one above it
            // may be taken for another; the hashes are compared anyway.
            let differs = word ^ (u64::from(tag) * LOW);
            let mut agree = differs.wrapping_sub(LOW) & !differs & HIGH;
            while agree != 0 {
                let at = 8 * n + (agree.trailing_zeros() / 8) as usize;
                if is_it(at) {
                    return Some(at);
                }
                agree &= agree - 1;
            }
        }
        rest.into_iter()
            .find(|&at| self.tags[at] == tag && is_it(at))
    }

    /// Takes note of a use.
    #[inline]
    pub(crate) fn hit(&mut self, at: usize, arm: &Arm) {
        let Slot {
            hash,
            order,
            segment,
            hits,
            demoted,
            ..
        } = self.slots[at];
        if hits < HITS_MAX {
            self.slots[at].hits += 1;
            self.sketch.add(hash, self.ways.into());
        }
        let by_use = match segment {
            Segment::Window => arm.window_by_use,
            Segment::Main => arm.main_by_use,
        };
        let reused = segment == Segment::Window && arm.admission == Admission::Reuse;
        let loser = if reused && !demoted {
            self.used_before(order)
        } else {
            None
        };
        // The newest stays where it is, so a key in heavy use is written to no more.
        if by_use && order != self.now {
            self.slots[at].order = self.tick();
        }
        if reused {
            self.slots[at].demoted = false;
        }
        if let Some(loser) = loser {
            self.demote(loser);
            self.promote(at);
        }
    }

    /// Makes a slot for an entry that is not there, as the newest, and returns its place, the last one.
    pub(crate) fn admit(&mut self, hash: u32, stamp: u32, arm: &Arm) -> usize {
        self.sketch.add(hash, self.ways.into());
        let ghost = if arm.ghosts { self.lay(hash) } else { None };
        let mut segment = Segment::Window;
        if let Some(ghost) = ghost {
            if arm.admission == Admission::Reuse {
                if let Some(loser) = self.used_before(ghost.order) {
                    self.demote(loser);
                    segment = Segment::Main;
                }
            } else {
                segment = Segment::Main;
            }
        }
        let order = self.tick();
        let at = self.slots.len();
        self.tags.push(hash as u8);
        self.slots.push(Slot {
            hash,
            stamp,
            order,
            segment,
            hits: 0,
            demoted: false,
        });
        self.in_window += u16::from(segment == Segment::Window);
        at
    }

    /// Lets main have what the window holds above its share, where that is how main fills. To be called when an
    /// entry was admitted to a set that is to keep all it has.
    pub(crate) fn settle(&mut self, arm: &Arm) {
        self.fill_main(arm, self.slots.len());
    }

    /// Frees the slot of the entry that is worth least, though not that of `kept`, and returns its place. There
    /// must be two slots.
    pub(crate) fn evict(&mut self, kept: usize, arm: &Arm, rng: &mut Rng) -> usize {
        let stay = self.slots.len() - 1;
        self.fill_main(arm, stay);
        loop {
            let window = self.window_share(arm, stay);
            let is_over = usize::from(self.in_window) > window;
            let victim = match self.oldest(Segment::Window, kept) {
                Some(candidate) if is_over => match self.judge(candidate, kept, arm, rng) {
                    Some(victim) => victim,
                    None => continue,
                },
                candidate => self
                    .main_victim(kept, arm)
                    .or(candidate)
                    .expect("there is an entry beside the one that is kept"),
            };
            let Slot {
                hash,
                order,
                segment,
                ..
            } = self.slots[victim];
            // S3-FIFO remembers who failed its probation; LIRS remembers everybody.
            if arm.ghosts && (segment == Segment::Window || arm.admission == Admission::Reuse) {
                self.haunt(hash, order, stay);
            }
            self.free(victim);
            return victim;
        }
    }

    /// The place of the entry that is to leave first, in a set that has one.
    pub(crate) fn worst(&mut self, arm: &Arm) -> usize {
        let window = self.window_share(arm, self.slots.len());
        let candidate = self.oldest(Segment::Window, usize::MAX);
        if usize::from(self.in_window) > window || self.in_main() == 0 {
            return candidate.expect("the window has an entry if main has none");
        }
        self.main_victim(usize::MAX, arm)
            .expect("main has an entry")
    }

    /// Frees a slot; the last takes its place.
    pub(crate) fn free(&mut self, at: usize) {
        let slot = self.slots.swap_remove(at);
        self.tags.swap_remove(at);
        self.in_window -= u16::from(slot.segment == Segment::Window);
    }

    /// Moves the slots of which `goes` is true to another set, in their order of use, and returns their places in
    /// descending order: freeing them in this order is what was done here.
    pub(crate) fn split(&mut self, dither: u8, goes: impl Fn(u32) -> bool) -> (Set, Vec<usize>) {
        let mut other = Set {
            now: self.now,
            ..Set::new(dither, self.ways)
        };
        let mut gone = Vec::new();
        for at in (0..self.slots.len()).rev() {
            let slot = self.slots[at];
            if goes(slot.hash) {
                self.free(at);
                other.tags.push(slot.hash as u8);
                other.slots.push(slot);
                other.in_window += u16::from(slot.segment == Segment::Window);
                gone.push(at);
            }
        }
        // Ghosts and counts stay behind: a cache that still grows has not missed what it threw out.
        (other, gone)
    }

    /// Decides about the oldest of a window above its share: it is promoted, and then `None`; or somebody leaves.
    fn judge(&mut self, candidate: usize, kept: usize, arm: &Arm, rng: &mut Rng) -> Option<usize> {
        match arm.admission {
            Admission::None | Admission::Reuse => Some(candidate),
            Admission::Hits => {
                if self.slots[candidate].hits < arm.threshold {
                    return Some(candidate);
                }
                self.promote(candidate);
                self.slots[candidate].hits = 0;
                None
            }
            Admission::Frequency => {
                let Some(victim) = self.main_victim(kept, arm) else {
                    return Some(candidate);
                };
                let count = |at: usize| self.sketch.count(self.slots[at].hash);
                let (mine, its) = (count(candidate), count(victim));
                if mine > its || (mine >= WARM && rng.next_u64() % 128 == 0) {
                    self.promote(candidate);
                    let hits = &mut self.slots[candidate].hits;
                    *hits = hits.saturating_sub(1);
                    Some(victim)
                } else {
                    Some(candidate)
                }
            }
        }
    }

    /// Moves the oldest of the window to main, while the window has more than its share and main less, if the arm
    /// is one whose main would otherwise fill only by wins.
    fn fill_main(&mut self, arm: &Arm, stay: usize) {
        if !matches!(arm.admission, Admission::Frequency | Admission::Reuse) {
            return;
        }
        let window = self.window_share(arm, stay);
        while usize::from(self.in_window) > window && self.in_main() + window < stay {
            match self.oldest(Segment::Window, usize::MAX) {
                Some(oldest) => self.promote_in_place(oldest),
                None => return,
            }
        }
    }

    /// The window's part of so many slots.
    fn window_share(&self, arm: &Arm, slots: usize) -> usize {
        let share = (slots * usize::from(arm.window) + usize::from(self.dither)) / 256;
        share.clamp(1, slots.max(1))
    }

    fn in_main(&self) -> usize {
        self.slots.len() - usize::from(self.in_window)
    }

    fn oldest(&self, segment: Segment, kept: usize) -> Option<usize> {
        let at = |&at: &usize| self.slots[at].order;
        let is_eligible = |&at: &usize| self.slots[at].segment == segment && at != kept;
        (0..self.slots.len()).filter(is_eligible).min_by_key(at)
    }

    /// Main's oldest entry, if its last use is before this.
    fn used_before(&self, order: u16) -> Option<usize> {
        let oldest = self.oldest(Segment::Main, usize::MAX)?;
        (self.slots[oldest].order < order).then_some(oldest)
    }

    /// Who is to leave main: the oldest, or what the hand of a CLOCK comes to first.
    fn main_victim(&mut self, kept: usize, arm: &Arm) -> Option<usize> {
        if arm.main_by_use {
            return self.oldest(Segment::Main, kept);
        }
        // The hand goes round, takes a hit from each, and stops at the first that has none. So it stops at the
        // oldest of those with the fewest hits, after as many whole rounds, and those before it went once more.
        let is_eligible = |&at: &usize| self.slots[at].segment == Segment::Main && at != kept;
        let victim = (0..self.slots.len())
            .filter(is_eligible)
            .min_by_key(|&at| (self.slots[at].hits, self.slots[at].order))?;
        let rounds = self.slots[victim].hits;
        let oldest = self.oldest(Segment::Main, kept)?;
        let mut passed = self.slots[victim].order - self.slots[oldest].order;
        if self.now.checked_add(passed).is_none() {
            self.renumber();
            passed = self.slots[victim].order - self.slots[oldest].order;
        }
        let (from, to, behind) = (self.slots[oldest].order, self.slots[victim].order, self.now);
        for slot in self
            .slots
            .iter_mut()
            .filter(|slot| slot.segment == Segment::Main)
        {
            slot.hits = slot.hits.saturating_sub(rounds);
            if (from..to).contains(&slot.order) {
                slot.hits = slot.hits.saturating_sub(1);
                // Behind all others, in the order they had.
                slot.order = behind + 1 + (slot.order - from);
            }
        }
        self.now += passed;
        Some(victim)
    }

    /// Moves an entry from the window to main, as the newest there.
    fn promote(&mut self, at: usize) {
        let order = self.tick();
        self.slots[at].order = order;
        self.promote_in_place(at);
    }

    fn promote_in_place(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if slot.segment == Segment::Window {
            slot.segment = Segment::Main;
            slot.demoted = false;
            self.in_window -= 1;
        }
    }

    /// Moves an entry from main to the window, as the newest there.
    fn demote(&mut self, at: usize) {
        let order = self.tick();
        let slot = &mut self.slots[at];
        slot.order = order;
        slot.segment = Segment::Window;
        slot.demoted = true;
        self.in_window += 1;
    }

    /// Remembers who left, among at most `most`.
    fn haunt(&mut self, hash: u32, order: u16, most: usize) {
        while self.ghosts.len() >= most.max(1) {
            self.ghosts.pop_front();
        }
        self.ghosts.push_back(Ghost {
            fingerprint: fingerprint(hash),
            order,
        });
    }

    /// Finds a ghost, who is then none any more.
    fn lay(&mut self, hash: u32) -> Option<Ghost> {
        let fingerprint = fingerprint(hash);
        let at = self
            .ghosts
            .iter()
            .position(|ghost| ghost.fingerprint == fingerprint)?;
        self.ghosts.remove(at)
    }

    fn tick(&mut self) -> u16 {
        if self.now == u16::MAX {
            self.renumber();
        }
        self.now += 1;
        self.now
    }

    /// Gives all orders anew, from 1, as they stand.
    fn renumber(&mut self) {
        let slots = self.slots.iter_mut().map(|slot| &mut slot.order);
        let ghosts = self.ghosts.iter_mut().map(|ghost| &mut ghost.order);
        let mut orders: Vec<&mut u16> = slots.chain(ghosts).collect();
        orders.sort_unstable();
        let mut now = 0;
        for order in orders {
            now += 1;
            *order = now;
        }
        self.now = now;
    }
}

/// What is kept of a ghost's hash. The bits that choose the set say nothing within it.
fn fingerprint(hash: u32) -> u16 {
    hash as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Set {
        fn check(&self) {
            assert_eq!(self.tags.len(), self.slots.len());
            let mut orders = Vec::new();
            for (&tag, slot) in self.tags.iter().zip(&self.slots) {
                assert_eq!(tag, slot.hash as u8);
                orders.push(slot.order);
            }
            let in_window = self
                .slots
                .iter()
                .filter(|slot| slot.segment == Segment::Window)
                .count();
            assert_eq!(usize::from(self.in_window), in_window);
            orders.sort_unstable();
            assert!(
                orders.windows(2).all(|pair| pair[0] < pair[1]),
                "{orders:?}"
            );
            assert!(orders.last().is_none_or(|&last| last <= self.now));
        }

        fn hashes(&self) -> Vec<u32> {
            self.slots.iter().map(|slot| slot.hash).collect()
        }
    }

    /// One request to a set of so many ways. Returns whether it hit.
    fn request(set: &mut Set, hash: u32, ways: usize, arm: &Arm, rng: &mut Rng) -> bool {
        if let Some(at) = set.find(hash, |_| true) {
            set.hit(at, arm);
            return true;
        }
        let at = set.admit(hash, 0, arm);
        assert_eq!(at, set.len() - 1);
        if set.len() > ways {
            let before = set.hashes();
            let gone = set.evict(at, arm, rng);
            assert_ne!(before[gone], hash, "who comes is not who leaves");
            let mut after = before;
            after.swap_remove(gone);
            assert_eq!(set.hashes(), after);
        } else {
            set.settle(arm);
        }
        set.check();
        false
    }

    #[test]
    fn every_arm_keeps_the_invariants_under_any_requests_and_changes_of_arm() {
        let mut rng = Rng::from_seed(1);
        for ways in [1, 2, 7, 32, 100] {
            let mut set = Set::new(99, 32);
            // Orders wrap several times.
            for _ in 0..10 {
                let arm = &Arm::CHOICES[rng.below(7) as usize];
                for _ in 0..500 {
                    let hash = rng.below(3 * ways as u64) as u32;
                    request(&mut set, hash, ways, arm, &mut Rng::from_seed(2));
                }
                set.now = set.now.max(u16::MAX - 500);
                assert_eq!(set.len(), ways);
            }
        }
    }

    #[test]
    fn the_lru_arm_is_least_recently_used() {
        let mut rng = Rng::from_seed(1);
        let mut set = Set::new(0, 32);
        let mut naive: Vec<u32> = Vec::new();
        for _ in 0..30_000 {
            let hash = rng.below(40).min(rng.below(60)) as u32;
            let place = naive.iter().position(|&other| other == hash);
            assert_eq!(
                request(&mut set, hash, 16, &Arm::LRU, &mut Rng::from_seed(1)),
                place.is_some()
            );
            if let Some(place) = place {
                naive.remove(place);
            }
            naive.insert(0, hash);
            naive.truncate(16);
        }
    }

    #[test]
    fn a_clock_passes_over_an_entry_once_for_each_of_its_hits() {
        let mut rng = Rng::from_seed(1);
        let arm = Arm {
            window: 0,
            ..Arm::S3
        };
        let mut set = Set::new(0, 4);
        for hash in 0..4 {
            let at = set.admit(hash, 0, &arm);
            set.promote(at);
        }
        set.hit(0, &arm);
        set.hit(0, &arm);
        set.hit(1, &arm);
        let mut left = Vec::new();
        for newcomer in 10..14 {
            let at = set.admit(newcomer, 0, &arm);
            set.promote(at);
            let hashes = set.hashes();
            left.push(hashes[set.evict(at, &arm, &mut rng)]);
            set.check();
        }
        assert_eq!(
            left,
            [2, 3, 10, 1],
            "1 had one hit, and 10 came after the hand had passed 0 and 1"
        );
    }

    #[test]
    fn equal_tags_of_unequal_hashes_are_told_apart() {
        let mut set = Set::new(0, 32);
        for n in 0..30 {
            set.admit(n << 8 | 5, n, &Arm::LRU);
        }
        for n in 0..30 {
            assert_eq!(set.find(n << 8 | 5, |_| true), Some(n as usize));
        }
        assert_eq!(set.find(99 << 8 | 5, |_| true), None);
        assert_eq!(set.find(7, |_| true), None);
    }

    #[test]
    fn a_split_set_keeps_every_slot_and_its_order() {
        let mut set = Set::new(0, 32);
        for hash in 0..40 {
            set.admit(hash, hash, &Arm::S3);
        }
        let (other, gone) = set.split(0, |hash| hash % 4 == 1);
        assert_eq!((set.len(), other.len(), gone.len()), (30, 10, 10));
        assert!(gone.windows(2).all(|pair| pair[0] > pair[1]));
        set.check();
        other.check();
        assert!(other.hashes().iter().all(|hash| hash % 4 == 1));
    }
}
