use alloc::vec::Vec;

use purlin_core::Rng;

use super::arm::Admission;
use super::past::{NOBODY, ghost};
use super::set::Rules;
use crate::raw::{Columns, Print, Slot, Tally, bit, lanes};

/// A note: the hits of this residency, at most three.
pub(super) const HITS: u8 = 3;
/// A note's bit: in main, not in the window.
pub(super) const MAIN: u8 = 4;
/// A note's bit: pushed out of main by a better one, and not used since, so that its last use is older than all of
/// main's.
pub(super) const DEMOTED: u8 = 8;

/// A newcomer seen so often is let in by chance, one time in 128, though main's victim was seen oftener: nobody
/// can then shut a key out by making its neighbours look popular.
const WARM: u16 = 6;

/// The order of nobody.
pub(super) const NONE: u16 = u16::MAX;

/// Where a newcomer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Window,
    Main,
}

/// The window's part of so many slots.
#[inline]
fn window_share(rules: &Rules, slots: usize, dither: u8) -> usize {
    debug_assert!(rules.arm.window <= 256);
    // No more than the slots, whatever is added.
    let share = (slots * usize::from(rules.arm.window) + usize::from(dither)) / 256;
    share.max(1)
}

/// The oldest of the window. Who comes takes the slot of who leaves, so those who came one after another often stand one after
/// another, and then it is found by one look.
#[inline(always)]
fn oldest_of_window(tally: &Tally, notes: &[u8], orders: &[u16]) -> Option<usize> {
    let next = usize::from(tally.next);
    let next = if next < notes.len() { next } else { 0 };
    // Nobody's order is between these two.
    if notes[next] & MAIN == 0 && orders[next] == tally.floor + 1 {
        return Some(next);
    }
    oldest_by_search(notes, orders, tally.in_window.into())
}

#[inline(never)]
fn oldest_by_search(notes: &[u8], orders: &[u16], most: usize) -> Option<usize> {
    lanes::oldest(notes, orders, MAIN, 0, most)
}

/// Who stands where, who goes up, and who has to leave.
impl Columns<'_> {
    /// The part of a hit that moves the entry.
    pub(super) fn hit_in_order(&mut self, at: usize, rules: &Rules) {
        let note = self.notes[at];
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
                loser = self.used_before(self.orders[at]);
            }
            self.notes[at] &= !DEMOTED;
        }
        // The newest stays where it is, so a key in heavy use is written to no more.
        if self.orders[at] != self.tally.now {
            let order = self.tick();
            self.orders[at] = order;
        }
        if let Some(loser) = loser {
            self.demote(loser);
            self.promote(at);
        }
    }

    /// Takes note that an entry comes that is not there. Returns where it is to begin.
    #[inline]
    pub(super) fn expect(&mut self, print: Print, rules: &Rules) -> Segment {
        if rules.arm.admission == Admission::Frequency {
            self.count(print);
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

    /// The slot of an entry that begins in a segment now.
    #[inline]
    pub(super) fn newest(&mut self, print: Print, segment: Segment) -> Slot {
        let order = self.tick();
        if order == 1 {
            // The first here; what its hash ends in is a chance of the set's own.
            self.tally.dither = print.tag;
        }
        self.tally.in_window += u16::from(segment == Segment::Window);
        Slot {
            print,
            note: if segment == Segment::Main { MAIN } else { 0 },
            order,
        }
    }

    /// Takes note that an entry is about to leave its slot.
    #[inline]
    pub(super) fn leave(&mut self, at: usize) {
        self.tally.in_window -= u16::from(self.is_in_window(at));
    }

    /// Puts who comes in the place of a newcomer that fails its probation, and remembers that one. So it goes most often, and it takes one
    /// look at each column. Returns the place, where the tag and the entry are left to be written. Otherwise nothing has changed but that
    /// who comes was [expected](Self::expect), in this segment.
    ///
    /// The set must remember ghosts, by rules that try newcomers.
    // Called, it would have the columns in memory.
    #[inline(always)]
    pub(super) fn replace_newcomer(
        &mut self,
        print: Print,
        rules: &Rules,
    ) -> Result<usize, Segment> {
        let len = self.len();
        let (marks, orders) = (&mut self.marks[..len], &mut self.orders[..len]);
        let mut segment = Segment::Window;
        if lanes::has_word(self.past, ghost(print)) {
            if let Some(at) = lanes::find_word(self.past, ghost(print)) {
                self.past[at] = NOBODY;
                segment = Segment::Main;
            }
        }
        let tally = &mut *self.tally;
        let comes = u16::from(segment == Segment::Window);
        let share = window_share(rules, len, tally.dither);
        if usize::from(tally.in_window + comes) <= share || tally.now >= NONE - 1 {
            return Err(segment);
        }
        let Some(oldest) = oldest_of_window(tally, self.notes, orders) else {
            return Err(segment);
        };
        if self.notes[oldest] & HITS >= rules.arm.threshold {
            return Err(segment);
        }
        let (near, far) = self.tags;
        let tag = match near.get(oldest) {
            Some(tag) => *tag,
            None => far[oldest - near.len()],
        };
        let mark = core::mem::replace(&mut marks[oldest], print.mark);
        let cursor = usize::from(tally.cursor);
        self.past[cursor] = ghost(Print { tag, mark });
        let next = cursor + 1;
        tally.cursor = if next < self.past.len() {
            next as u16
        } else {
            0
        };
        tally.floor = orders[oldest];
        let next = if oldest + 1 < len { oldest + 1 } else { 0 };
        tally.next = next as u16;
        *self.leaves = next as u8;
        tally.in_window -= 1 - comes;
        tally.now += 1;
        orders[oldest] = tally.now;
        self.notes[oldest] = if segment == Segment::Main { MAIN } else { 0 };
        Ok(oldest)
    }

    /// Whether the window has more than its share, with who comes.
    #[inline]
    fn is_window_over(&self, coming: Option<Segment>, window: usize) -> bool {
        let comes = usize::from(coming == Some(Segment::Window));
        usize::from(self.tally.in_window) + comes > window
    }

    /// Chooses the entry that is worth least, beside `kept` if that is one, and remembers it as one who left. Its slot is
    /// for one that is expected in `coming`, or to be freed. There must be an entry to choose.
    #[inline(never)]
    pub(super) fn victim(
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
            let is_over = self.is_window_over(coming, window);
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
                let order = self.orders[victim];
                self.haunt(self.print(victim), order);
            }
            return victim;
        }
    }

    /// Lets an entry stay that was chosen to leave, as the newest of its segment.
    pub(super) fn spare(&mut self, at: usize, rules: &Rules) {
        if rules.arm.ghosts {
            // It has not left.
            self.lay(self.print(at));
        }
        self.orders[at] = self.tick();
    }

    /// The place of the entry that is to leave first, in a set that has one.
    pub(super) fn worst(&mut self, rules: &Rules) -> usize {
        let window = self.window_share(rules, self.len());
        let candidate = self.oldest(Segment::Window, None);
        if usize::from(self.tally.in_window) > window || self.in_main() == 0 {
            return candidate.expect("the window has an entry if main has none");
        }
        self.main_victim(None, rules).expect("main has an entry")
    }

    /// Decides about the oldest of a window above its share: it is promoted, and then `None`; or somebody leaves.
    #[inline]
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
                if self.notes[candidate] & HITS < rules.arm.threshold {
                    return Some(candidate);
                }
                self.promote(candidate);
                self.notes[candidate] &= !HITS;
                self.cool(candidate);
                None
            }
            Admission::Frequency => self.judge_by_frequency(candidate, kept, rules, rng),
        }
    }

    fn judge_by_frequency(
        &mut self,
        candidate: usize,
        kept: Option<usize>,
        rules: &Rules,
        rng: &mut Rng,
    ) -> Option<usize> {
        let Some(victim) = self.main_victim(kept, rules) else {
            return Some(candidate);
        };
        let count = |at: usize| self.counted(self.print(at));
        let (mine, its) = (count(candidate), count(victim));
        if mine > its || (mine >= WARM && rng.next_u64() % 128 == 0) {
            self.promote(candidate);
            let note = &mut self.notes[candidate];
            *note -= u8::from(*note & HITS > 0);
            self.cool(candidate);
            Some(victim)
        } else {
            Some(candidate)
        }
    }

    /// Moves the oldest of the window to main, while the window has more than its share and main less, if the arm
    /// is one whose main would otherwise fill only by wins.
    #[inline]
    pub(super) fn fill_main(&mut self, rules: &Rules, stay: usize, coming: Option<Segment>) {
        if !matches!(rules.arm.admission, Admission::Frequency | Admission::Reuse) {
            return;
        }
        let window = self.window_share(rules, stay);
        let (to_window, to_main) = match coming {
            None => (0, 0),
            Some(Segment::Window) => (1, 0),
            Some(Segment::Main) => (0, 1),
        };
        while usize::from(self.tally.in_window) + to_window > window
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
        window_share(rules, slots, self.tally.dither)
    }

    /// The next use of an entry counts again.
    #[inline]
    fn cool(&mut self, at: usize) {
        *self.hot &= !bit(at);
    }

    fn in_main(&self) -> usize {
        self.len() - usize::from(self.tally.in_window)
    }

    #[inline]
    fn is_in_window(&self, at: usize) -> bool {
        self.notes[at] & MAIN == 0
    }

    /// The oldest of a segment, beside `kept`.
    #[inline]
    fn oldest(&self, segment: Segment, kept: Option<usize>) -> Option<usize> {
        match segment {
            Segment::Main => self.oldest_with(MAIN, MAIN, kept, self.in_main()),
            Segment::Window => self.oldest_with(MAIN, 0, kept, self.tally.in_window.into()),
        }
    }

    /// The oldest of those whose note is this under a mask, beside `kept`. There are `most` of them, or fewer.
    #[inline]
    fn oldest_with(&self, mask: u8, is: u8, kept: Option<usize>, most: usize) -> Option<usize> {
        let (notes, orders) = (&*self.notes, &*self.orders);
        let Some(kept) = kept else {
            return lanes::oldest(notes, orders, mask, is, most);
        };
        let before = lanes::oldest(&notes[..kept], &orders[..kept], mask, is, most);
        let after = lanes::oldest(&notes[kept + 1..], &orders[kept + 1..], mask, is, most);
        let after = after.map(|at| kept + 1 + at);
        before.into_iter().chain(after).min_by_key(|&at| orders[at])
    }

    /// Main's oldest entry, if its last use is before this.
    fn used_before(&self, order: u16) -> Option<usize> {
        let oldest = self.oldest(Segment::Main, None)?;
        (self.orders[oldest] < order).then_some(oldest)
    }

    /// Who is to leave main: the oldest, or what the hand of a CLOCK comes to first.
    fn main_victim(&mut self, kept: Option<usize>, rules: &Rules) -> Option<usize> {
        let oldest = self.oldest(Segment::Main, kept)?;
        if rules.arm.main_by_use || self.notes[oldest] & HITS == 0 {
            return Some(oldest);
        }
        // The hand goes round, takes a hit from each, and stops at the first that has none. So it stops at the
        // oldest of those with the fewest hits, after as many whole rounds, and those before it went once more.
        let in_main = self.in_main();
        let with_hits = |hits: u8| self.oldest_with(MAIN | HITS, MAIN | hits, kept, in_main);
        let victim = (0..=HITS)
            .find_map(with_hits)
            .expect("main has an entry, with hits or without");
        let rounds = self.notes[victim] & HITS;
        let passed_by = |set: &Self| set.orders[victim] - set.orders[oldest];
        let mut passed = passed_by(self);
        // The last order is nobody's.
        if NONE - self.tally.now <= passed {
            self.renumber();
            passed = passed_by(self);
        }
        let (from, behind) = (self.orders[oldest], self.tally.now);
        for at in 0..self.len() {
            let note = self.notes[at];
            if note & MAIN == 0 {
                continue;
            }
            let mut hits = (note & HITS).saturating_sub(rounds);
            let ahead = self.orders[at].wrapping_sub(from);
            if ahead < passed {
                hits = hits.saturating_sub(1);
                // Behind all others, in the order they had.
                self.orders[at] = behind + 1 + ahead;
            }
            self.notes[at] = note & !HITS | hits;
            if hits < HITS {
                self.cool(at);
            }
        }
        self.tally.now += passed;
        Some(victim)
    }

    /// Moves an entry from the window to main, as the newest there.
    fn promote(&mut self, at: usize) {
        let order = self.tick();
        self.orders[at] = order;
        self.promote_in_place(at);
    }

    fn promote_in_place(&mut self, at: usize) {
        if self.is_in_window(at) {
            let note = &mut self.notes[at];
            *note = (*note | MAIN) & !DEMOTED;
            self.tally.in_window -= 1;
        }
    }

    /// Moves an entry from main to the window, as the newest there.
    fn demote(&mut self, at: usize) {
        let order = self.tick();
        self.orders[at] = order;
        let note = &mut self.notes[at];
        *note = *note & !MAIN | DEMOTED;
        self.tally.in_window += 1;
    }

    #[inline]
    fn tick(&mut self) -> u16 {
        if self.tally.now >= NONE - 1 {
            self.renumber();
        }
        self.tally.now += 1;
        self.tally.now
    }

    /// Gives all orders anew, from 1, as they stand.
    #[cold]
    pub(super) fn renumber(&mut self) {
        let mut orders: Vec<u16> = self.ghost_orders().map(|order| *order).collect();
        orders.extend_from_slice(self.orders);
        orders.sort_unstable();
        // No two are equal, so each is at its own place.
        let anew = |order: u16| orders.partition_point(|&other| other < order) as u16 + 1;
        for order in self.ghost_orders() {
            *order = anew(*order);
        }
        for order in &mut *self.orders {
            *order = anew(*order);
        }
        self.tally.now = orders.len() as u16;
        self.tally.floor = 0;
    }
}
