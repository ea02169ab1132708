use alloc::vec::Vec;
use core::marker::PhantomData;

use purlin_core::Rng;

use super::arm::{Admission, Arm};
use super::order::{HITS, MAIN, NONE, Segment};
use crate::raw::{Block, Past, Print, Slots};

/// A few dozen entries and what a policy knows of them. Where one leaves for good, the last takes its place.
///
/// 1. `in_window` is the number of slots in the window.
/// 2. All orders of the window are above `floor`.
/// 3. No two slots, and no slot and a ghost, have the same order, and all orders are from 1 to `now`.
#[derive(Debug)]
pub(crate) struct Set<E, S = (), B = Block<E, S>> {
    pub(super) block: B,
    holds: PhantomData<(E, S)>,
}

/// What sets go by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) arm: Arm,
    /// Whether the arm wants to know of every use.
    heeds_order: bool,
    /// Whether the arm is one where most who leave are newcomers that were not asked for, and are remembered.
    tries_newcomers: bool,
    /// How many entries a set is meant for. It may have more or fewer.
    pub(crate) ways: u32,
}

impl Rules {
    pub(crate) fn new(arm: Arm, ways: u32) -> Self {
        Rules {
            arm,
            heeds_order: arm.heeds_order_of_use(),
            tries_newcomers: arm.admission == Admission::Hits && arm.ghosts,
            ways,
        }
    }

    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn heeds_order(&self) -> bool {
        self.heeds_order
    }
}

impl<E, S> Set<E, S> {
    pub(crate) const fn new() -> Self {
        Set {
            block: Block::new(),
            holds: PhantomData,
        }
    }
}

impl<E, S, B: Slots<E, S>> Set<E, S, B> {
    /// An empty set of these slots.
    pub(crate) fn of(block: B) -> Self {
        Set {
            block,
            holds: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn block(&self) -> &B {
        &self.block
    }

    #[inline]
    pub(crate) fn block_mut(&mut self) -> &mut B {
        &mut self.block
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.block.len()
    }

    #[inline]
    pub(crate) fn entry(&self, at: usize) -> &E {
        self.block.entry(at)
    }

    /// Puts another entry in place of one of the same key.
    pub(crate) fn swap_entry(&mut self, at: usize, entry: E) -> E {
        self.block.swap_entry(at, entry)
    }

    /// What stands beside the entries and is nothing to the policy, once it was put there.
    #[inline]
    pub(crate) fn side(&self) -> Option<&S> {
        self.block.side()
    }

    #[inline]
    pub(crate) fn side_mut(&mut self) -> Option<&mut S> {
        self.block.side_mut()
    }

    /// Puts it there, where there is none yet.
    pub(crate) fn set_side(&mut self, side: S) {
        self.block.set_side(side);
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

    /// The same for who will change the set.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn find_to_change(
        &self,
        print: Print,
        is_it: impl FnMut(&E) -> bool,
    ) -> Option<usize> {
        self.block.find_to_change(print, is_it)
    }

    /// Tells the processor that the set will be changed.
    #[inline]
    pub(crate) fn prefetch(&self) {
        self.block.prefetch();
    }

    /// Whether a use changes nothing: the key is known to be hot, and the order of use does not matter.
    #[inline]
    pub(crate) fn is_hot(&self, at: usize, rules: &Rules) -> bool {
        self.block.is_hot(at) && !rules.heeds_order
    }

    /// Takes note of a use.
    #[inline]
    pub(crate) fn hit(&mut self, at: usize, rules: &Rules) {
        if !self.is_hot(at, rules) && !self.is_noted_at_once(at, rules) {
            self.note_hit(at, rules);
        }
    }

    /// [`note_hit`](Self::note_hit), where that is a look at the slot; otherwise it returns false, and nothing has changed.
    #[inline]
    fn is_noted_at_once(&mut self, at: usize, rules: &Rules) -> bool {
        let seat = self.block.seat(at);
        let arm = &rules.arm;
        let is_in_main = *seat.note & MAIN != 0;
        let by_use = if is_in_main {
            arm.main_by_use
        } else {
            arm.window_by_use
        };
        let counts = *seat.note & HITS < HITS;
        let is_sketched = counts && arm.admission == Admission::Frequency;
        let may_go_up = by_use && !is_in_main && arm.admission == Admission::Reuse;
        if is_sketched || may_go_up || *seat.now >= NONE - 1 {
            return false;
        }
        *seat.note += u8::from(counts);
        // The newest stays where it is, so a key in heavy use is written to no more.
        if by_use && *seat.order != *seat.now {
            *seat.now += 1;
            *seat.order = *seat.now;
        }
        if *seat.note & HITS == HITS {
            self.block.set_hot(at);
        }
        true
    }

    #[inline(never)]
    fn note_hit(&mut self, at: usize, rules: &Rules) {
        let note = &mut self.block.columns().notes[at];
        if *note & HITS < HITS {
            *note += 1;
            if *note & HITS == HITS {
                self.block.set_hot(at);
            }
            if rules.arm.admission == Admission::Frequency {
                self.remember(Past::Counts, rules);
                let mut columns = self.block.columns();
                columns.count(columns.print(at));
            }
        } else {
            self.block.set_hot(at);
        }
        if rules.heeds_order {
            self.block.columns().hit_in_order(at, rules);
        }
    }

    /// Takes note of the uses that were noted without the lock. Several of one slot since the last time count as one.
    #[inline]
    pub(crate) fn catch_up(&mut self, rules: &Rules) {
        let mut used = self.block.take_used();
        while used != 0 {
            let at = used.trailing_zeros() as usize;
            if at < self.len() {
                self.hit(at, rules);
            }
            used &= used - 1;
        }
    }

    /// Adds an entry that is not there, as the newest, at the end, to a set that is to keep all it has.
    pub(crate) fn add(&mut self, print: Print, entry: E, rules: &Rules) -> usize {
        self.catch_up(rules);
        self.block.make_room();
        if rules.arm.admission == Admission::Frequency {
            self.remember(Past::Counts, rules);
        }
        let mut columns = self.block.columns();
        let segment = columns.expect(print, rules);
        let slot = columns.newest(print, segment);
        self.block.push(slot, entry);
        // Main may have what the window holds above its share, where that is how main fills.
        let stay = self.len();
        self.block.columns().fill_main(rules, stay, None);
        stay - 1
    }

    /// Puts an entry that is not there, as the newest, in the place of the one that is worth least, and remembers that
    /// as one who left. There must be one.
    // Within an insertion it would have its columns in memory.
    #[inline(never)]
    pub(crate) fn exchange(
        &mut self,
        print: Print,
        entry: E,
        rules: &Rules,
        rng: &mut Rng,
    ) -> (usize, E) {
        self.catch_up(rules);
        if !rules.tries_newcomers {
            return self.exchange_by_all_rules(print, entry, None, rules, rng);
        }
        self.remember(Past::Ghosts, rules);
        match self.block.columns().replace_newcomer(print, rules) {
            Ok(at) => (at, self.block.renew(at, print.tag, entry)),
            Err(segment) => self.exchange_by_all_rules(print, entry, Some(segment), rules, rng),
        }
    }

    /// [`exchange`](Self::exchange), if need be for one who is expected in a segment already.
    #[inline(never)]
    fn exchange_by_all_rules(
        &mut self,
        print: Print,
        entry: E,
        expected: Option<Segment>,
        rules: &Rules,
        rng: &mut Rng,
    ) -> (usize, E) {
        self.remember_as(rules);
        let mut columns = self.block.columns();
        let segment = expected.unwrap_or_else(|| columns.expect(print, rules));
        let at = columns.victim(Some(segment), None, rules, rng);
        columns.leave(at);
        let slot = columns.newest(print, segment);
        (at, self.block.replace(at, slot, entry))
    }

    /// The place of the entry that is worth least, beside `kept` if that is one, remembered as one who left already: its
    /// slot is to be freed. There must be one.
    pub(crate) fn choose(&mut self, kept: Option<usize>, rules: &Rules, rng: &mut Rng) -> usize {
        self.catch_up(rules);
        self.remember_as(rules);
        self.block.columns().victim(None, kept, rules, rng)
    }

    /// Lets an entry stay that was chosen to leave, as the newest of its segment.
    pub(crate) fn spare(&mut self, at: usize, rules: &Rules) {
        self.block.columns().spare(at, rules);
    }

    /// The place of the entry that is to leave first, in a set that has one.
    pub(crate) fn worst(&mut self, rules: &Rules) -> usize {
        self.catch_up(rules);
        self.block.columns().worst(rules)
    }

    /// Frees a slot; the last takes its place.
    pub(crate) fn free(&mut self, at: usize) -> E {
        self.block.columns().leave(at);
        self.block.swap_remove(at)
    }

    /// Moves the entries of which `goes` is true to another set, in their order of use, and returns their places in
    /// descending order: freeing them in this order is what was done here.
    pub(crate) fn split(&mut self, goes: impl Fn(Print) -> bool) -> (Self, Vec<usize>) {
        let mut other = Set::of(self.block.sibling());
        let mut gone = Vec::new();
        for at in (0..self.len()).rev() {
            let slot = self.block.slot(at);
            if goes(slot.print) {
                other.block.make_room();
                other.block.tally_mut().in_window += u16::from(slot.note & MAIN == 0);
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

    /// Has the slots stand in their order of use, so that the one that leaves next is most often the next slot.
    pub(crate) fn tidy(&mut self) {
        if self.len() == 0 || !self.block.can_be_tidied() {
            return;
        }
        let mut slots = Vec::with_capacity(self.len());
        while let Some(at) = self.len().checked_sub(1) {
            let (slot, is_hot) = (self.block.slot(at), self.block.is_hot(at));
            slots.push((slot, is_hot, self.block.swap_remove(at)));
        }
        slots.sort_unstable_by_key(|(slot, ..)| slot.order);
        for (at, (slot, is_hot, entry)) in slots.into_iter().enumerate() {
            self.block.push(slot, entry);
            if is_hot {
                self.block.set_hot(at);
            }
        }
        let mut columns = self.block.columns();
        columns.renumber();
        columns.tally.next = 0;
        *columns.leaves = 0;
    }

    /// Takes in all entries of another set, from its last to its first, each as far up in the order as it was there. What
    /// either set remembered is forgotten.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        let (mine, its) = (self.len(), other.len());
        while other.len() > 0 {
            let at = other.len() - 1;
            let slot = other.block.slot(at);
            self.block.make_room();
            self.block.tally_mut().in_window += u16::from(slot.note & MAIN == 0);
            let entry = other.free(at);
            self.block.push(slot, entry);
        }
        if mine + its == 0 {
            return;
        }
        // From one end of either to the other, as a zip.
        let columns = self.block.columns();
        let orders = columns.orders.to_vec();
        let rank = |at: usize| {
            let (from, to) = if at < mine {
                (0, mine)
            } else {
                (mine, mine + its)
            };
            let older = (from..to).filter(|&other| orders[other] < orders[at]);
            ((2 * older.count() + 1) << 16) / (to - from)
        };
        let mut ranked: Vec<(usize, usize)> = (0..mine + its).map(|at| (rank(at), at)).collect();
        ranked.sort_unstable();
        for (n, (_, at)) in ranked.into_iter().enumerate() {
            columns.orders[at] = n as u16 + 1;
        }
        self.block.make_past(0);
        let tally = self.block.tally_mut();
        (tally.now, tally.floor) = ((mine + its) as u16, 0);
        (tally.past, tally.cursor) = (Past::Nothing, 0);
    }

    /// Sees to it that the set remembers those it does not hold in the way that its arm asks for.
    #[inline]
    fn remember_as(&mut self, rules: &Rules) {
        let past = match rules.arm.admission {
            Admission::Frequency => Past::Counts,
            Admission::Reuse => Past::OrderedGhosts,
            _ if rules.arm.ghosts => Past::Ghosts,
            _ => return,
        };
        self.remember(past, rules);
    }

    #[inline]
    pub(super) fn remember(&mut self, past: Past, rules: &Rules) {
        if self.block.tally().past != past {
            self.begin_anew(past, rules);
        }
    }

    #[cold]
    fn begin_anew(&mut self, past: Past, rules: &Rules) {
        self.block.make_past(past.words(rules.ways as usize));
        let tally = self.block.tally_mut();
        (tally.past, tally.cursor) = (past, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(n: u32) -> Print {
        Print {
            tag: (n as u8).max(1),
            mark: (n >> 8) as u16,
        }
    }

    fn rules(arm: Arm) -> Rules {
        Rules::new(arm, 32)
    }

    impl Set<u32> {
        fn check(&mut self) {
            if self.len() == 0 {
                return;
            }
            let hot: Vec<bool> = (0..self.len()).map(|at| self.block.is_hot(at)).collect();
            let columns = self.block.columns();
            let mut notes = columns.notes.iter().zip(hot);
            assert!(notes.all(|(note, is_hot)| !is_hot || note & HITS == HITS));
            let floor = columns.tally.floor;
            let mut window = columns.notes.iter().zip(&*columns.orders);
            assert!(window.all(|(note, &order)| note & MAIN != 0 || order > floor));
            let in_window = columns.notes.iter().filter(|&note| note & MAIN == 0);
            assert_eq!(usize::from(columns.tally.in_window), in_window.count());
            let mut orders = columns.orders.to_vec();
            orders.sort_unstable();
            let rises = |pair: &[u16]| pair[0] < pair[1];
            assert!(orders.windows(2).all(rises), "{orders:?}");
            assert!(orders.first().is_none_or(|&first| first > 0));
            assert!(orders.last().is_none_or(|last| *last <= columns.tally.now));
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
        if set.len() < ways {
            set.add(print(hash), hash, rules);
        } else {
            let before = set.hashes();
            let (at, left) = set.exchange(print(hash), hash, rules, rng);
            assert_eq!(before[at], left);
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
                let arm = &Arm::CHOICES[rng.below(Arm::CHOICES.len() as u64) as usize];
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
            set.block.make_room();
            let slot = set.block.columns().newest(print(hash), Segment::Main);
            set.block.push(slot, hash);
        }
        set.hit(0, &rules);
        set.hit(0, &rules);
        set.hit(1, &rules);
        let mut left = Vec::new();
        for newcomer in 10..14 {
            let mut columns = set.block.columns();
            let main = Some(Segment::Main);
            let at = columns.victim(main, None, &rules, &mut Rng::from_seed(1));
            columns.leave(at);
            let slot = columns.newest(print(newcomer), Segment::Main);
            left.push(set.block.replace(at, slot, newcomer));
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
                let victim = set.choose(Some(kept), &rules(arm), &mut rng);
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
                set.add(print(hash), hash, &rules(Arm::LRU));
            }
            for hash in 0..its {
                other.add(print(100 + hash), 100 + hash, &rules(Arm::LRU));
            }
            set.absorb(&mut other);
            set.check();
            assert_eq!((set.len() as u32, other.len()), (mine + its, 0));
            let mut by_order: Vec<usize> = (0..set.len()).collect();
            by_order.sort_unstable_by_key(|&at| set.block.slot(at).order);
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

    /// Otherwise nothing is wrong, but who leaves is searched for and waited for.
    #[cfg(feature = "std")]
    #[test]
    fn who_leaves_next_is_known_while_nobody_is_asked_for_again() {
        let mut rng = Rng::from_seed(3);
        let rules = rules(Arm::S3);
        let mut set: Set<u32> = Set::new();
        for hash in 1..=80 {
            set.add(print(hash), hash, &rules);
        }
        set.split(|print| print.tag % 3 == 1);
        set.split(|print| print.tag % 5 == 1);
        set.tidy();
        for hash in 100..400 {
            let foreseen = set.block.leaving().copied();
            let (_, left) = set.exchange(print(hash), hash, &rules, &mut rng);
            assert_eq!(foreseen, Some(left));
        }
    }

    #[test]
    fn a_split_set_keeps_every_slot_and_its_order() {
        let mut set = Set::new();
        for hash in 1..=40 {
            set.add(print(hash), hash, &rules(Arm::S3));
        }
        let (mut other, gone) = set.split(|print| print.tag % 4 == 1);
        assert_eq!((set.len(), other.len(), gone.len()), (30, 10, 10));
        assert!(gone.windows(2).all(|pair| pair[0] > pair[1]));
        set.check();
        other.check();
        for set in [&mut set, &mut other] {
            set.hit(5, &rules(Arm::S3));
            set.hit(5, &rules(Arm::S3));
            set.hit(5, &rules(Arm::S3));
            let at = |set: &mut Set<u32>, hash| set.hashes().iter().position(|&its| its == hash);
            let hot = *set.entry(5);
            let mut by_order: Vec<usize> = (0..set.len()).collect();
            by_order.sort_unstable_by_key(|&at| set.block.slot(at).order);
            let by_order: Vec<u32> = by_order.iter().map(|&at| *set.entry(at)).collect();
            set.tidy();
            set.check();
            assert_eq!(set.hashes(), by_order);
            let orders = (0..set.len()).map(|at| set.block.slot(at).order);
            assert!(orders.eq(1..=set.len() as u16), "without gaps");
            let hot = at(set, hot).expect("it is there");
            assert!((0..set.len()).all(|at| set.block.is_hot(at) == (at == hot)));
            assert_eq!(set.block.slot(hot).note & HITS, HITS);
        }
        assert!(other.hashes().iter().all(|hash| hash % 4 == 1));
    }
}
