use alloc::vec::Vec;

use purlin_core::Rng;

use super::arm::{Admission, Arm};
use crate::raw::{Block, Past, Print, Slot, lanes};

/// A few dozen entries and what a policy knows of them. Where one leaves for good, the last takes its place.
///
/// 1. `in_window` is the number of slots in the window.
/// 2. No two slots, and no slot and a ghost, have the same order, and all orders are from 1 to `now`.
#[derive(Debug)]
pub(crate) struct Set<E> {
    pub(super) block: Block<E>,
}

/// What sets go by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) arm: Arm,
    /// How many entries a set is meant for. It may have more or fewer.
    pub(crate) ways: u32,
}

/// A note: the hits of this residency, at most three.
const HITS: u8 = 3;
/// A note's bit: in main, not in the window.
const MAIN: u8 = 4;
/// A note's bit: pushed out of main by a better one, and not used since, so that its last use is older than all of
/// main's.
const DEMOTED: u8 = 8;

/// A newcomer seen so often is let in by chance, one time in 128, though main's victim was seen oftener: nobody
/// can then shut a key out by making its neighbours look popular.
const WARM: u16 = 6;

/// Where a newcomer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Window,
    Main,
}

impl<E> Set<E> {
    pub(crate) const fn new() -> Self {
        Set {
            block: Block::new(),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.block.len()
    }

    #[inline]
    pub(crate) fn entry(&self, at: usize) -> &E {
        self.block.entry(at)
    }

    pub(crate) fn entry_mut(&mut self, at: usize) -> &mut E {
        self.block.entry_mut(at)
    }

    /// The print that the entry in a slot was inserted with.
    pub(crate) fn print(&self, at: usize) -> Print {
        self.block.print(at)
    }

    /// The first slot with this print and an entry of which `is_it` is true.
    #[inline]
    pub(crate) fn find(&self, print: Print, is_it: impl FnMut(&E) -> bool) -> Option<usize> {
        self.block.find(print, is_it)
    }

    /// Tells the processor that the set will be changed.
    #[inline]
    pub(crate) fn prefetch(&self) {
        self.block.prefetch();
    }

    /// Takes note of a use.
    #[inline]
    pub(crate) fn hit(&mut self, at: usize, rules: &Rules) {
        let note = self.block.notes()[at];
        if note & HITS < HITS {
            self.block.notes_mut()[at] = note + 1;
            if rules.arm.admission == Admission::Frequency {
                self.count(self.block.print(at), rules.ways as usize);
            }
        }
        if rules.arm.heeds_order_of_use() {
            self.hit_in_order(at, note, rules);
        }
    }

    /// The part of a hit that moves the entry.
    fn hit_in_order(&mut self, at: usize, note: u8, rules: &Rules) {
        let by_use = if note & MAIN == 0 {
            rules.arm.window_by_use
        } else {
            rules.arm.main_by_use
        };
        if !by_use {
            return;
        }
        let mut loser = None;
        if note & MAIN == 0 && rules.arm.admission == Admission::Reuse {
            if note & DEMOTED == 0 {
                loser = self.used_before(self.block.orders()[at]);
            }
            self.block.notes_mut()[at] &= !DEMOTED;
        }
        // The newest stays where it is, so a key in heavy use is written to no more.
        if self.block.orders()[at] != self.block.tally().now {
            let order = self.tick();
            self.block.orders_mut()[at] = order;
        }
        if let Some(loser) = loser {
            self.demote(loser);
            self.promote(at);
        }
    }

    /// Takes note that an entry comes that is not there. Returns where it is to begin.
    #[inline]
    pub(crate) fn expect(&mut self, print: Print, rules: &Rules) -> Segment {
        if rules.arm.admission == Admission::Frequency {
            self.count(print, rules.ways as usize);
        }
        if !rules.arm.ghosts {
            return Segment::Window;
        }
        match (self.lay(print), rules.arm.admission) {
            (None, _) => Segment::Window,
            (Some(order), Admission::Reuse) => match self.used_before(order) {
                Some(loser) => {
                    self.demote(loser);
                    Segment::Main
                }
                None => Segment::Window,
            },
            (Some(_), _) => Segment::Main,
        }
    }

    /// Adds the entry that was expected, as the newest, at the end, to a set that is to keep all it has.
    pub(crate) fn add(&mut self, print: Print, entry: E, segment: Segment, rules: &Rules) -> usize {
        let slot = self.newest(print, segment);
        self.block.push(slot, entry);
        // Main may have what the window holds above its share, where that is how main fills.
        self.fill_main(rules, self.len(), None);
        self.len() - 1
    }

    /// Puts the entry that was expected, as the newest, in the place of one that [`victim`](Self::victim) chose.
    #[inline]
    pub(crate) fn replace(&mut self, at: usize, print: Print, entry: E, segment: Segment) -> E {
        self.block.tally_mut().in_window -= u16::from(self.is_in_window(at));
        let slot = self.newest(print, segment);
        self.block.replace(at, slot, entry)
    }

    #[inline]
    fn newest(&mut self, print: Print, segment: Segment) -> Slot {
        let order = self.tick();
        let tally = self.block.tally_mut();
        if tally.now == 1 {
            // The first here; what its hash ends in is a chance of the set's own.
            tally.dither = print.tag;
        }
        tally.in_window += u16::from(segment == Segment::Window);
        Slot {
            print,
            note: if segment == Segment::Main { MAIN } else { 0 },
            order,
        }
    }

    /// Chooses the entry that is worth least, beside `kept` if that is one, and remembers it as one who left. It is
    /// for the caller to free its slot, or to replace the entry by one that is expected in `coming`.
    ///
    /// There must be an entry to choose.
    #[inline]
    pub(crate) fn victim(
        &mut self,
        coming: Option<Segment>,
        kept: Option<usize>,
        rules: &Rules,
        rng: &mut Rng,
    ) -> usize {
        let stay = self.len() - 1 + usize::from(coming.is_some());
        self.fill_main(rules, stay, coming);
        loop {
            let window = self.window_share(rules, stay);
            let in_window =
                self.block.tally().in_window + u16::from(coming == Some(Segment::Window));
            let is_over = usize::from(in_window) > window;
            let victim = match self.oldest(Segment::Window, kept) {
                Some(candidate) if is_over => match self.judge(candidate, kept, rules, rng) {
                    Some(victim) => victim,
                    None => continue,
                },
                candidate => self
                    .main_victim(kept, rules)
                    .or(candidate)
                    .expect("there is an entry beside the one that is kept"),
            };
            // S3-FIFO remembers who failed its probation; LIRS remembers everybody.
            if rules.arm.ghosts
                && (self.is_in_window(victim) || rules.arm.admission == Admission::Reuse)
            {
                let order = self.block.orders()[victim];
                self.haunt(self.block.print(victim), order, rules.ways as usize);
            }
            return victim;
        }
    }

    /// The place of the entry that is to leave first, in a set that has one.
    pub(crate) fn worst(&mut self, rules: &Rules) -> usize {
        let window = self.window_share(rules, self.len());
        let candidate = self.oldest(Segment::Window, None);
        if usize::from(self.block.tally().in_window) > window || self.in_main() == 0 {
            return candidate.expect("the window has an entry if main has none");
        }
        self.main_victim(None, rules).expect("main has an entry")
    }

    /// Frees a slot; the last takes its place.
    pub(crate) fn free(&mut self, at: usize) -> E {
        self.block.tally_mut().in_window -= u16::from(self.is_in_window(at));
        self.block.swap_remove(at)
    }

    /// Moves the entries of which `goes` is true to another set, in their order of use, and returns their places in
    /// descending order: freeing them in this order is what was done here.
    pub(crate) fn split(&mut self, goes: impl Fn(Print) -> bool) -> (Self, Vec<usize>) {
        let mut other = Set::new();

        let mut gone = Vec::new();
        for at in (0..self.len()).rev() {
            let slot = self.block.slot(at);
            if goes(slot.print) {
                other.block.tally_mut().in_window += u16::from(self.is_in_window(at));
                let entry = self.free(at);
                other.block.push(slot, entry);
                gone.push(at);
            }
        }
        if !gone.is_empty() {
            let dither = other.print(0).tag;
            let tally = other.block.tally_mut();
            (tally.now, tally.dither) = (self.block.tally().now, dither);
        }
        // The past stays behind: a cache that still grows has not missed what it threw out.
        (other, gone)
    }

    /// Takes in all entries of another set, from its last to its first, each as far up in the order as it was there. What
    /// either set remembered is forgotten.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        let (mine, its) = (self.len(), other.len());
        while other.len() > 0 {
            let at = other.len() - 1;
            let slot = other.block.slot(at);
            self.block.tally_mut().in_window += u16::from(other.is_in_window(at));
            let entry = other.free(at);
            self.block.push(slot, entry);
        }
        // From one end of either to the other, as a zip.
        let rank = |at: usize| {
            let (from, to) = if at < mine {
                (0, mine)
            } else {
                (mine, mine + its)
            };
            let orders = self.block.orders();
            let older = (from..to).filter(|&other| orders[other] < orders[at]);
            ((2 * older.count() + 1) << 16) / (to - from)
        };
        let mut ranked: Vec<(usize, usize)> = (0..mine + its).map(|at| (rank(at), at)).collect();
        ranked.sort_unstable();
        for (n, (_, at)) in ranked.into_iter().enumerate() {
            self.block.orders_mut()[at] = n as u16 + 1;
        }
        if mine + its > 0 {
            self.block.make_past(0);
            let tally = self.block.tally_mut();
            tally.now = (mine + its) as u16;
            (tally.past, tally.cursor) = (Past::Nothing, 0);
        }
    }

    /// Decides about the oldest of a window above its share: it is promoted, and then `None`; or somebody leaves.
    fn judge(
        &mut self,
        candidate: usize,
        kept: Option<usize>,
        rules: &Rules,
        rng: &mut Rng,
    ) -> Option<usize> {
        match rules.arm.admission {
            Admission::None | Admission::Reuse => Some(candidate),
            Admission::Hits => {
                if self.block.notes()[candidate] & HITS < rules.arm.threshold {
                    return Some(candidate);
                }
                self.promote(candidate);
                self.block.notes_mut()[candidate] &= !HITS;
                None
            }
            Admission::Frequency => {
                let Some(victim) = self.main_victim(kept, rules) else {
                    return Some(candidate);
                };
                let count = |at: usize| self.counted(self.block.print(at));
                let (mine, its) = (count(candidate), count(victim));
                if mine > its || (mine >= WARM && rng.next_u64() % 128 == 0) {
                    self.promote(candidate);
                    let note = &mut self.block.notes_mut()[candidate];
                    *note -= u8::from(*note & HITS > 0);
                    Some(victim)
                } else {
                    Some(candidate)
                }
            }
        }
    }

    /// Moves the oldest of the window to main, while the window has more than its share and main less, if the arm
    /// is one whose main would otherwise fill only by wins.
    #[inline]
    fn fill_main(&mut self, rules: &Rules, stay: usize, coming: Option<Segment>) {
        if !matches!(rules.arm.admission, Admission::Frequency | Admission::Reuse) {
            return;
        }
        let window = self.window_share(rules, stay);
        let (to_window, to_main) = match coming {
            None => (0, 0),
            Some(Segment::Window) => (1, 0),
            Some(Segment::Main) => (0, 1),
        };
        while usize::from(self.block.tally().in_window) + to_window > window
            && self.in_main() + to_main + window < stay
        {
            match self.oldest(Segment::Window, None) {
                Some(oldest) => self.promote_in_place(oldest),
                None => return,
            }
        }
    }

    /// The window's part of so many slots.
    #[inline]
    fn window_share(&self, rules: &Rules, slots: usize) -> usize {
        let share =
            (slots * usize::from(rules.arm.window) + usize::from(self.block.tally().dither)) / 256;
        share.clamp(1, slots.max(1))
    }

    fn in_main(&self) -> usize {
        self.len() - usize::from(self.block.tally().in_window)
    }

    #[inline]
    fn is_in_window(&self, at: usize) -> bool {
        self.block.notes()[at] & MAIN == 0
    }

    /// The oldest of a segment, beside `kept`.
    #[inline]
    fn oldest(&self, segment: Segment, kept: Option<usize>) -> Option<usize> {
        let is_in = if segment == Segment::Main { MAIN } else { 0 };
        self.oldest_with(MAIN, is_in, kept)
    }

    /// The oldest of those whose note is this under a mask, beside `kept`.
    #[inline]
    fn oldest_with(&self, mask: u8, is: u8, kept: Option<usize>) -> Option<usize> {
        let (notes, orders) = (self.block.notes(), self.block.orders());
        let Some(kept) = kept else {
            return lanes::oldest(notes, orders, mask, is);
        };
        let before = lanes::oldest(&notes[..kept], &orders[..kept], mask, is);
        let after = lanes::oldest(&notes[kept + 1..], &orders[kept + 1..], mask, is);
        let after = after.map(|at| kept + 1 + at);
        before.into_iter().chain(after).min_by_key(|&at| orders[at])
    }

    /// Main's oldest entry, if its last use is before this.
    fn used_before(&self, order: u16) -> Option<usize> {
        let oldest = self.oldest(Segment::Main, None)?;
        (self.block.orders()[oldest] < order).then_some(oldest)
    }

    /// Who is to leave main: the oldest, or what the hand of a CLOCK comes to first.
    fn main_victim(&mut self, kept: Option<usize>, rules: &Rules) -> Option<usize> {
        let oldest = self.oldest(Segment::Main, kept)?;
        if rules.arm.main_by_use || self.block.notes()[oldest] & HITS == 0 {
            return Some(oldest);
        }
        // The hand goes round, takes a hit from each, and stops at the first that has none. So it stops at the
        // oldest of those with the fewest hits, after as many whole rounds, and those before it went once more.
        let with_hits = |hits: u8| self.oldest_with(MAIN | HITS, MAIN | hits, kept);
        let victim = (0..=HITS)
            .find_map(with_hits)
            .expect("main has an entry, with hits or without");
        let rounds = self.block.notes()[victim] & HITS;
        let passed_by = |set: &Self| set.block.orders()[victim] - set.block.orders()[oldest];
        let mut passed = passed_by(self);
        // The last order is nobody's.
        if self
            .block
            .tally()
            .now
            .checked_add(passed)
            .is_none_or(|then| then == NONE)
        {
            self.renumber();
            passed = passed_by(self);
        }
        let (from, behind) = (self.block.orders()[oldest], self.block.tally().now);
        for at in 0..self.len() {
            let note = self.block.notes()[at];
            if note & MAIN == 0 {
                continue;
            }
            let mut hits = (note & HITS).saturating_sub(rounds);
            let ahead = self.block.orders()[at].wrapping_sub(from);
            if ahead < passed {
                hits = hits.saturating_sub(1);
                // Behind all others, in the order they had.
                self.block.orders_mut()[at] = behind + 1 + ahead;
            }
            self.block.notes_mut()[at] = note & !HITS | hits;
        }
        self.block.tally_mut().now += passed;
        Some(victim)
    }

    /// Moves an entry from the window to main, as the newest there.
    fn promote(&mut self, at: usize) {
        let order = self.tick();
        self.block.orders_mut()[at] = order;
        self.promote_in_place(at);
    }

    fn promote_in_place(&mut self, at: usize) {
        if self.is_in_window(at) {
            let note = &mut self.block.notes_mut()[at];
            *note = (*note | MAIN) & !DEMOTED;
            self.block.tally_mut().in_window -= 1;
        }
    }

    /// Moves an entry from main to the window, as the newest there.
    fn demote(&mut self, at: usize) {
        let order = self.tick();
        self.block.orders_mut()[at] = order;
        let note = &mut self.block.notes_mut()[at];
        *note = *note & !MAIN | DEMOTED;
        self.block.tally_mut().in_window += 1;
    }

    #[inline]
    fn tick(&mut self) -> u16 {
        if self.block.tally().now >= NONE - 1 {
            self.renumber();
        }
        let tally = self.block.tally_mut();
        tally.now += 1;
        tally.now
    }

    /// Gives all orders anew, from 1, as they stand.
    #[cold]
    fn renumber(&mut self) {
        let past = self.block.tally().past;
        let ghosts = Self::ghost_orders_mut(self.block.past_mut(), past).map(|order| *order);
        let mut orders: Vec<u16> = ghosts.collect();
        orders.extend(self.block.orders());
        orders.sort_unstable();
        // No two are equal, so each is at its own place.
        let anew = |order: u16| orders.partition_point(|&other| other < order) as u16 + 1;
        for order in self.block.orders_mut() {
            *order = anew(*order);
        }
        for order in Self::ghost_orders_mut(self.block.past_mut(), past) {
            *order = anew(*order);
        }
        self.block.tally_mut().now = orders.len() as u16;
    }
}

/// The order of nobody.
const NONE: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn print(n: u32) -> Print {
        Print {
            tag: n as u8,
            mark: (n >> 8) as u16,
        }
    }

    fn rules(arm: Arm) -> Rules {
        Rules { arm, ways: 32 }
    }

    impl Set<u32> {
        fn check(&self) {
            let mut orders = self.block.orders().to_vec();
            let in_window = (0..self.len()).filter(|&at| self.is_in_window(at)).count();
            assert_eq!(usize::from(self.block.tally().in_window), in_window);
            orders.sort_unstable();
            let rises = |pair: &[u16]| pair[0] < pair[1];
            assert!(orders.windows(2).all(rises), "{orders:?}");
            assert!(orders.first().is_none_or(|&first| first > 0));
            assert!(
                orders
                    .last()
                    .is_none_or(|&last| last <= self.block.tally().now)
            );
            assert!((0..self.len()).all(|at| self.print(at) == print(*self.entry(at))));
        }

        fn hashes(&self) -> Vec<u32> {
            (0..self.len()).map(|at| *self.entry(at)).collect()
        }
    }

    /// One request to a set of so many ways. Returns whether it hit.
    fn request(set: &mut Set<u32>, hash: u32, ways: usize, arm: &Arm, rng: &mut Rng) -> bool {
        let rules = &rules(*arm);
        if let Some(at) = set.find(print(hash), |&other| other == hash) {
            set.hit(at, rules);
            return true;
        }
        let segment = set.expect(print(hash), rules);
        if set.len() < ways {
            set.add(print(hash), hash, segment, rules);
        } else {
            let before = set.hashes();
            let victim = set.victim(Some(segment), None, rules, rng);
            let left = set.replace(victim, print(hash), hash, segment);
            assert_eq!(before[victim], left);
        }
        set.check();
        false
    }

    #[test]
    fn every_arm_keeps_the_invariants_under_any_requests_and_changes_of_arm() {
        let mut rng = Rng::from_seed(1);
        for ways in [1, 2, 7, 32, 100] {
            let mut set = Set::new();
            // Orders wrap several times.
            for _ in 0..10 {
                let arm = &Arm::CHOICES[rng.below(7) as usize];
                for _ in 0..500 {
                    let hash = rng.below(3 * ways as u64) as u32;
                    request(&mut set, hash, ways, arm, &mut Rng::from_seed(2));
                }
                let tally = set.block.tally_mut();
                tally.now = tally.now.max(u16::MAX - 500);
                assert_eq!(set.len(), ways);
            }
        }
    }

    #[test]
    fn the_lru_arm_is_least_recently_used() {
        let mut rng = Rng::from_seed(1);
        let mut set = Set::new();
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
        let arm = Arm {
            window: 0,
            ..Arm::S3
        };
        let mut set = Set::new();
        let rules = rules(arm);
        for hash in 0..4 {
            set.add(print(hash), hash, Segment::Main, &rules);
        }
        set.hit(0, &rules);
        set.hit(0, &rules);
        set.hit(1, &rules);
        let mut left = Vec::new();
        for newcomer in 10..14 {
            let main = Some(Segment::Main);
            let victim = set.victim(main, None, &rules, &mut Rng::from_seed(1));
            left.push(set.replace(victim, print(newcomer), newcomer, Segment::Main));
            set.check();
        }
        assert_eq!(
            left,
            [2, 3, 1, 10],
            "the hand passed 0 twice and 1 once, and 10 came after that"
        );
    }

    #[test]
    fn the_entry_that_is_kept_is_never_the_victim() {
        for arm in Arm::CHOICES {
            let mut rng = Rng::from_seed(3);
            let mut set = Set::new();
            for hash in 0..32 {
                request(&mut set, hash, 32, &arm, &mut rng);
            }
            while set.len() > 1 {
                let kept = rng.below(set.len() as u64) as usize;
                let victim = set.victim(None, Some(kept), &rules(arm), &mut rng);
                assert_ne!(victim, kept);
                set.free(victim);
                set.check();
            }
        }
    }

    #[test]
    fn a_set_that_takes_another_in_keeps_both_orders() {
        for (mine, its) in [(20, 20), (30, 3), (0, 5), (5, 0), (0, 0)] {
            let (mut set, mut other) = (Set::new(), Set::new());
            for hash in 0..mine {
                set.add(print(hash), hash, Segment::Window, &rules(Arm::LRU));
            }
            for hash in 0..its {
                other.add(
                    print(100 + hash),
                    100 + hash,
                    Segment::Main,
                    &rules(Arm::LRU),
                );
            }
            set.haunt(print(999), 1, 32);
            set.absorb(&mut other);
            set.check();
            assert_eq!((set.len() as u32, other.len()), (mine + its, 0));
            let mut by_order: Vec<usize> = (0..set.len()).collect();
            by_order.sort_unstable_by_key(|&at| set.block.orders()[at]);
            let hashes: Vec<u32> = by_order.iter().map(|&at| *set.entry(at)).collect();
            let (first, second): (Vec<u32>, Vec<u32>) = hashes.iter().partition(|&&h| h < 100);
            assert!(first.is_sorted() && second.is_sorted());
            if mine == its && mine > 0 {
                assert_eq!(
                    hashes[..2].iter().filter(|&&h| h < 100).count(),
                    1,
                    "as a zip"
                );
            }
        }
    }

    #[test]
    fn a_split_set_keeps_every_slot_and_its_order() {
        let mut set = Set::new();
        for hash in 0..40 {
            set.add(print(hash), hash, Segment::Window, &rules(Arm::S3));
        }
        let (other, gone) = set.split(|print| print.tag % 4 == 1);
        assert_eq!((set.len(), other.len(), gone.len()), (30, 10, 10));
        assert!(gone.windows(2).all(|pair| pair[0] > pair[1]));
        set.check();
        other.check();
        assert!(other.hashes().iter().all(|hash| hash % 4 == 1));
    }
}
