mod deadline;

use alloc::boxed::Box;

use purlin_core::Tick;

use self::deadline::{Coding, LONG, SHORT};
use super::GROUP_MAX;
use crate::expiry::{Expiry, Life};
use crate::tags::Label;

/// What is known of an entry beside itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extra {
    pub(super) weight: usize,
    pub(super) life: Life,
    /// What it costs to make the value anew.
    pub(super) cost: u32,
}

impl Extra {
    /// The same for one entry with this.
    pub(super) fn idle_until(&self) -> Tick {
        let is_bare = self.life.idle_at == Tick::MAX && self.life.label.is_none() && self.cost == 1;
        if is_bare {
            self.life.dies_at
        } else {
            Tick::ZERO
        }
    }

    /// Of an entry of which nothing is written down.
    pub(super) const PLAIN: Extra = Extra {
        weight: 1,
        life: Life::ENDLESS,
        cost: 1,
    };
}

/// The [`Extra`] of each entry of a set, a row of bytes for each. A row has bytes for what was other than plain of any entry
/// so far, and no more.
///
/// 1. `rows` begins with a row for each of `len` entries. A row has what `kinds` says, in the order of its bits, each
///    as many bytes as [`BYTES`] has for it.
/// 2. Weights have no byte without those below it. A deadline is a word that [`LONG`] made of the time from the base on, or
///    [`SHORT`] without its fourth byte.
#[derive(Debug)]
pub(crate) struct Extras {
    /// With bytes to spare at the end. A vector would take a word more in each set.
    rows: Box<[u8]>,
    /// As [`LONG`] has it, from the beginning of time.
    base: u32,
    kinds: u16,
    len: u16,
}

/// There is one for each set, so a word counts.
const _: () = assert!(GROUP_MAX < u16::MAX as usize && size_of::<Extras>() <= 24);

/// The bytes of a weight: its four lowest, from the lowest on, and its upper half.
const WEIGHTS: u16 = 0b1_1111;
/// The lower 24 bits of a deadline.
const DIES: u16 = 1 << 5;
/// The same of the time to idle.
const IDLE: u16 = 1 << 7;
/// The lower half of the moment that an entry with tags is of.
const SINCE: u16 = 1 << 9;
/// The upper half.
const LATE: u16 = 1 << 10;
/// Its first two tags.
const TAGS: u16 = 1 << 11;
/// The others.
const MORE_TAGS: u16 = 1 << 12;
/// What it costs to make the value anew, and what is left of that since the last use; see [`Extras::pay`].
const COST: u16 = 1 << 13;

/// The upper 8 bits of a deadline of this kind.
const fn fine(kind: u16) -> u16 {
    kind << 1
}

/// How many bytes each kind has: five of weights, two of deadlines, two of idle times, and the rest.
const BYTES: [u8; 14] = [1, 1, 1, 1, 4, 3, 1, 3, 1, 4, 4, 4, 4, 8];
/// How many bytes the kinds of each combination have together: of the lower seven, and of the upper.
const WIDTHS: [[u8; HALF]; 2] = widths();
const HALF_BITS: usize = BYTES.len() / 2;
const HALF: usize = 1 << HALF_BITS;

const fn widths() -> [[u8; HALF]; 2] {
    let mut widths = [[0; HALF]; 2];
    let mut kinds = 1;
    while kinds < HALF {
        let (rest, bit) = (kinds & (kinds - 1), kinds.trailing_zeros() as usize);
        widths[0][kinds] = widths[0][rest] + BYTES[bit];
        widths[1][kinds] = widths[1][rest] + BYTES[HALF_BITS + bit];
        kinds += 1;
    }
    widths
}

#[inline]
fn width_of(kinds: u16) -> usize {
    let (low, high) = (usize::from(kinds) % HALF, usize::from(kinds) >> HALF_BITS);
    usize::from(WIDTHS[0][low]) + usize::from(WIDTHS[1][high % HALF])
}

impl Extras {
    /// For so many entries, all plain as yet.
    pub(super) fn new(now: Tick) -> Self {
        Extras {
            rows: Box::default(),
            base: LONG.pack(Tick::ZERO, now),
            kinds: 0,
            len: 0,
        }
    }

    #[inline]
    pub(super) fn weight(&self, at: usize) -> usize {
        let bytes = width_of(self.kinds & WEIGHTS);
        if bytes == 0 {
            return 1;
        }
        // They are the first of their row.
        let row = at * self.width();
        let bytes = self.rows[row..row + bytes].iter().rev();
        bytes.fold(0, |above, &byte| above << 8 | usize::from(byte))
    }

    #[inline]
    pub(super) fn life(&self, at: usize) -> Life {
        Life {
            dies_at: self.end(at, DIES),
            idle_at: self.end(at, IDLE),
            label: if self.kinds & TAGS == 0 {
                Label::NONE
            } else {
                self.label(at)
            },
        }
    }

    #[cold]
    fn label(&self, at: usize) -> Label {
        let word = |kind| self.word(at, kind).unwrap_or(0);
        let (tags, more) = (word(TAGS), word(MORE_TAGS));
        Label {
            since: u64::from(word(LATE)) << 32 | u64::from(word(SINCE)),
            slots: [
                tags as u16,
                (tags >> 16) as u16,
                more as u16,
                (more >> 16) as u16,
            ],
        }
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Extra {
        Extra {
            weight: self.weight(at),
            life: self.life(at),
            cost: self.word(at, COST).unwrap_or(1),
        }
    }

    /// Until when a look-up of any of so many entries has nothing to look at or to write here.
    pub(super) fn idle_until(&self, len: usize) -> Tick {
        if self.kinds & (IDLE | TAGS | COST) != 0 {
            return Tick::ZERO;
        }
        self.earliest(len)
    }

    /// Adds one for the last of so many entries.
    pub(super) fn push(&mut self, len: usize, extra: Extra, now: Tick) {
        self.widen(len - 1, extra);
        if len * self.width() > self.rows.len() {
            self.resize((len + (len / 32).max(1)) * self.width());
        }
        self.len = len as u16;
        self.write(len - 1, extra, now);
    }

    /// Puts another in place of one, among so many entries.
    pub(super) fn set(&mut self, len: usize, at: usize, extra: Extra, now: Tick) {
        self.widen(len, extra);
        self.write(at, extra, now);
    }

    /// Takes note of a use, unless the entry is over. Not inlined: a look-up in a cache without any of this is short.
    #[cfg(feature = "std")]
    #[inline(never)]
    pub(super) fn is_used_in_time(&mut self, at: usize, expiry: &Expiry) -> bool {
        let in_time = !expiry.is_over(self.life(at));
        if in_time {
            self.used(at, expiry);
        }
        in_time
    }

    /// Takes note of a use, which moves the end of a time to idle.
    #[inline]
    pub(super) fn used(&mut self, at: usize, expiry: &Expiry) {
        if let Some(cost) = self.word(at, COST) {
            self.put_credit(at, cost);
        }
        if self.kinds & IDLE == 0 {
            return;
        }
        if let Some(idle_at) = expiry.idle_end() {
            self.put_end(at, IDLE, Tick::MAX);
            self.be_exact(IDLE, expiry.latest(), idle_at);
            self.put_end(at, IDLE, idle_at);
        }
    }

    /// Forgets one among so many; the last takes its place.
    pub(super) fn swap_remove(&mut self, len: usize, at: usize) {
        let width = self.width();
        self.rows
            .copy_within((len - 1) * width..len * width, at * width);
        self.len = len as u16 - 1;
    }

    /// Whether some of the entries have more credit than others.
    pub(super) fn is_uneven(&self, len: usize) -> bool {
        let first = self.credit(0);
        (0..len).any(|at| self.credit(at) != first)
    }

    /// For one that is to leave: whether it has credit to stay for another round, of which it then pays as much as the
    /// least of all has, and an eighth of its own at least, so that nobody stays for ever whom nobody asks for.
    pub(super) fn pay(&mut self, len: usize, at: usize) -> bool {
        let Some(credit) = self.credit(at) else {
            return false;
        };
        let least = (0..len).filter_map(|at| self.credit(at)).min();
        let least = least.unwrap_or(credit);
        if credit <= least {
            return false;
        }
        let paid = least.max(credit / 8).max(1);
        self.put_credit(at, (credit - paid).max(1));
        true
    }

    /// The earliest of all deadlines.
    pub(super) fn earliest(&self, len: usize) -> Tick {
        let deadlines = (0..len).map(|at| self.end(at, DIES).min(self.end(at, IDLE)));
        deadlines.min().unwrap_or(Tick::MAX)
    }

    /// Gives back what is not used, and the fourth byte of deadlines, which get a little earlier by that: to be called for sets
    /// of which there are many.
    pub(super) fn shrink(&mut self, now: Tick) {
        let len = usize::from(self.len);
        self.rebase(now);
        let mut kinds = self.kinds;
        for kind in [DIES, IDLE] {
            let is_coarse = |at| SHORT.is_coarse(self.base(), now, self.end(at, kind));
            if !(0..len).any(is_coarse) {
                kinds &= !fine(kind);
            }
        }
        if kinds != self.kinds {
            self.rewrite(len, kinds);
        }
        self.resize(len * self.width());
    }

    /// Has room for so many bytes.
    fn resize(&mut self, bytes: usize) {
        let mut rows = core::mem::take(&mut self.rows).into_vec();
        rows.reserve_exact(bytes.saturating_sub(rows.len()));
        rows.resize(bytes, 0);
        self.rows = rows.into_boxed_slice();
    }

    #[inline]
    fn width(&self) -> usize {
        width_of(self.kinds)
    }

    /// Where a kind that is written down begins in the row of an entry.
    #[inline]
    fn place(&self, at: usize, kind: u16) -> usize {
        at * self.width() + width_of(self.kinds & (kind - 1))
    }

    #[inline]
    fn has(&self, kind: u16) -> bool {
        self.kinds & kind != 0
    }

    /// The word of a kind that has four bytes, if it is written down.
    #[inline]
    fn word(&self, at: usize, kind: u16) -> Option<u32> {
        self.has(kind).then(|| self.load(self.place(at, kind)))
    }

    #[inline]
    fn put(&mut self, at: usize, kind: u16, word: u32) {
        if self.has(kind) {
            self.store(self.place(at, kind), word);
        }
    }

    fn credit(&self, at: usize) -> Option<u32> {
        self.has(COST).then(|| self.load(self.place(at, COST) + 4))
    }

    fn put_credit(&mut self, at: usize, credit: u32) {
        if self.has(COST) {
            self.store(self.place(at, COST) + 4, credit);
        }
    }

    #[inline]
    fn load(&self, place: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.rows[place..place + 4]);
        u32::from_le_bytes(word)
    }

    #[inline]
    fn store(&mut self, place: usize, word: u32) {
        self.rows[place..place + 4].copy_from_slice(&word.to_le_bytes());
    }

    fn put_weight(&mut self, at: usize, weight: usize) {
        let (row, bytes) = (at * self.width(), width_of(self.kinds & WEIGHTS));
        let weight = (weight as u64).to_le_bytes();
        self.rows[row..row + bytes].copy_from_slice(&weight[..bytes]);
    }

    #[inline]
    fn base(&self) -> Tick {
        LONG.unpack(Tick::ZERO, self.base)
    }

    #[inline]
    fn coding(&self, kind: u16) -> Coding {
        if self.has(fine(kind)) { LONG } else { SHORT }
    }

    /// A deadline as it is written down, or none.
    #[inline]
    fn end(&self, at: usize, kind: u16) -> Tick {
        self.end_from(self.base(), at, kind)
    }

    /// The same, written from another base.
    #[inline]
    fn end_from(&self, base: Tick, at: usize, kind: u16) -> Tick {
        if !self.has(kind) {
            return Tick::MAX;
        }
        let place = self.place(at, kind);
        let word = if self.has(fine(kind)) {
            self.load(place)
        } else {
            let mut word = [0; 4];
            word[..3].copy_from_slice(&self.rows[place..place + 3]);
            u32::from_le_bytes(word)
        };
        self.coding(kind).unpack(base, word)
    }

    #[inline]
    fn put_end(&mut self, at: usize, kind: u16, end: Tick) {
        if !self.has(kind) {
            return;
        }
        let word = self.coding(kind).pack(self.base(), end);
        let (place, bytes) = (
            self.place(at, kind),
            width_of(self.kinds & (kind | fine(kind))),
        );
        self.rows[place..place + bytes].copy_from_slice(&word.to_le_bytes()[..bytes]);
    }

    fn write(&mut self, at: usize, extra: Extra, now: Tick) {
        let Life {
            dies_at, idle_at, ..
        } = extra.life;
        // What was there does not hold the base back.
        self.put_end(at, DIES, Tick::MAX);
        self.put_end(at, IDLE, Tick::MAX);
        self.be_exact(DIES, now, dies_at);
        self.be_exact(IDLE, now, idle_at);
        self.put_end(at, DIES, dies_at);
        self.put_end(at, IDLE, idle_at);
        self.put_rest(at, extra);
    }

    /// All but the deadlines.
    #[inline]
    fn put_rest(&mut self, at: usize, extra: Extra) {
        self.put_weight(at, extra.weight);
        self.put_credit(at, extra.cost);
        self.put(at, COST, extra.cost);
        if self.has(TAGS) {
            let two = |low: u16, high: u16| u32::from(high) << 16 | u32::from(low);
            let (label, slots) = (extra.life.label, extra.life.label.slots);
            self.put(at, SINCE, label.since as u32);
            self.put(at, LATE, (label.since >> 32) as u32);
            self.put(at, TAGS, two(slots[0], slots[1]));
            self.put(at, MORE_TAGS, two(slots[2], slots[3]));
        }
    }

    /// Makes room in the rows of so many entries for what is not plain of another.
    #[inline]
    fn widen(&mut self, len: usize, extra: Extra) {
        let is = |kind: u16, wanted: bool| if wanted { kind } else { 0 };
        let wanted = kinds_of_weight(extra.weight)
            | is(self.as_it_is(DIES), extra.life.dies_at != Tick::MAX)
            | is(self.as_it_is(IDLE), extra.life.idle_at != Tick::MAX)
            | is(SINCE | TAGS, !extra.life.label.is_none())
            | is(LATE, extra.life.label.since > u64::from(u32::MAX))
            | is(MORE_TAGS, extra.life.label.slots[2] != 0)
            | is(COST, extra.cost != 1);
        if wanted & !self.kinds != 0 {
            self.rewrite(len, self.kinds | wanted);
        }
    }

    /// A kind of deadline in the coding that it has, or else the exact one.
    #[inline]
    fn as_it_is(&self, kind: u16) -> u16 {
        if self.has(kind) {
            kind
        } else {
            kind | fine(kind)
        }
    }

    /// Writes the rows of so many entries anew, with these kinds.
    #[cold]
    fn rewrite(&mut self, len: usize, kinds: u16) {
        let before = Extras {
            rows: core::mem::take(&mut self.rows),
            ..*self
        };
        (self.kinds, self.len) = (kinds, len as u16);
        self.resize((len + 1) * self.width());
        for at in 0..len {
            let extra = before.get(at);
            self.put_end(at, DIES, extra.life.dies_at);
            self.put_end(at, IDLE, extra.life.idle_at);
            self.put_rest(at, extra);
            if let Some(credit) = before.credit(at) {
                self.put_credit(at, credit);
            }
        }
    }

    /// Sees to it that a deadline which is written next is as exact as it should be.
    #[inline]
    fn be_exact(&mut self, kind: u16, now: Tick, deadline: Tick) {
        if self.is_coarse(kind, now, deadline) {
            self.be_more_exact(kind, now, deadline);
        }
    }

    #[inline]
    fn is_coarse(&self, kind: u16, now: Tick, deadline: Tick) -> bool {
        self.coding(kind).is_coarse(self.base(), now, deadline)
    }

    /// Moves the base forward, and takes a byte more where that is not enough: an entry that is over and still there holds
    /// the base back, since it matters since when it is over.
    #[cold]
    fn be_more_exact(&mut self, kind: u16, now: Tick, deadline: Tick) {
        self.rebase(now);
        let is_wanted = self.has(kind) && !self.has(fine(kind));
        if is_wanted && self.is_coarse(kind, now, deadline) {
            self.rewrite(usize::from(self.len), self.kinds | fine(kind));
        }
    }

    /// Moves the base forward as far as it may be.
    fn rebase(&mut self, now: Tick) {
        let len = usize::from(self.len);
        let before = self.base();
        self.base = LONG.pack(Tick::ZERO, self.earliest(len).min(now));
        for at in 0..len {
            for kind in [DIES, IDLE] {
                self.put_end(at, kind, self.end_from(before, at, kind));
            }
        }
    }
}

/// Those that a weight needs.
#[inline]
fn kinds_of_weight(weight: usize) -> u16 {
    if weight == 1 {
        return 0;
    }
    let bytes = (weight.max(1).ilog2() / 8 + 1).min(WEIGHTS.count_ones());
    WEIGHTS >> (WEIGHTS.count_ones() - bytes)
}

#[cfg(test)]
mod tests;
