use alloc::boxed::Box;
use alloc::vec::Vec;

use purlin_core::Tick;

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

/// The [`Extra`] of each entry of a set, in 32-bit words, a row of them for each entry. A row has a word for what was other
/// than plain of any entry so far, and no more.
///
/// 1. `rows` begins with as many words for each of `len` entries as `kinds` has bits, in the order of the bits.
/// 2. A deadline is a word that [`pack`] made of the time from `base` on.
#[derive(Debug)]
pub(crate) struct Extras {
    base: Tick,
    /// With words to spare at the end. A vector would take a word more in each set.
    rows: Box<[u32]>,
    kinds: u16,
    len: u16,
}

/// There is one for each set, so a word counts.
const _: () = assert!(GROUP_MAX < u16::MAX as usize && size_of::<Extras>() <= 32);

/// The lower half of the weight.
const WEIGHT: u16 = 1;
/// The upper half.
const HEAVY: u16 = 2;
const DIES: u16 = 4;
const IDLE: u16 = 8;
/// The lower half of the moment that an entry with tags is of.
const SINCE: u16 = 16;
/// The upper half.
const LATE: u16 = 32;
/// Its first two tags.
const TAGS: u16 = 64;
/// The others.
const MORE_TAGS: u16 = 128;
/// What it costs to make the value anew.
const COST: u16 = 256;
/// What is left of that since the last use; see [`Extras::pay`].
const CREDIT: u16 = 512;

impl Extras {
    /// For so many entries, all plain as yet.
    pub(super) fn new(now: Tick) -> Self {
        Extras {
            base: now,
            rows: Box::default(),
            kinds: 0,
            len: 0,
        }
    }

    #[inline]
    pub(super) fn weight(&self, at: usize) -> usize {
        let low = self.word(at, WEIGHT).unwrap_or(1);
        let high = self.word(at, HEAVY).unwrap_or(0);
        // Where it was 32 bits wide, it was less.
        (u64::from(high) << 32 | u64::from(low)) as usize
    }

    #[inline]
    pub(super) fn life(&self, at: usize) -> Life {
        let end = |word: Option<u32>| word.map_or(Tick::MAX, |word| unpack(self.base, word));
        Life {
            dies_at: end(self.word(at, DIES)),
            idle_at: end(self.word(at, IDLE)),
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
            self.resize((len + (len / 16).max(2)) * self.width());
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
            self.put(at, CREDIT, cost);
        }
        if self.kinds & IDLE == 0 {
            return;
        }
        if let Some(idle_at) = expiry.idle_end() {
            self.put(at, IDLE, NEVER);
            self.rebase(expiry.latest(), idle_at);
            let word = pack(self.base, idle_at);
            self.put(at, IDLE, word);
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
        let first = self.word(0, CREDIT);
        (0..len).any(|at| self.word(at, CREDIT) != first)
    }

    /// For one that is to leave: whether it has credit to stay for another round, of which it then pays as much as the
    /// least of all has, and an eighth of its own at least, so that nobody stays for ever whom nobody asks for.
    pub(super) fn pay(&mut self, len: usize, at: usize) -> bool {
        let Some(credit) = self.word(at, CREDIT) else {
            return false;
        };
        let least = (0..len).filter_map(|at| self.word(at, CREDIT)).min();
        let least = least.unwrap_or(credit);
        if credit <= least {
            return false;
        }
        let paid = least.max(credit / 8).max(1);
        self.put(at, CREDIT, (credit - paid).max(1));
        true
    }

    /// The earliest of all deadlines.
    pub(super) fn earliest(&self, len: usize) -> Tick {
        let deadlines = (0..len).map(|at| self.life(at).deadline());
        deadlines.min().unwrap_or(Tick::MAX)
    }

    /// Gives back what is not used.
    pub(super) fn shrink(&mut self) {
        self.resize(usize::from(self.len) * self.width());
    }

    /// Has room for so many words.
    fn resize(&mut self, words: usize) {
        let mut rows = core::mem::take(&mut self.rows).into_vec();
        rows.reserve_exact(words.saturating_sub(rows.len()));
        rows.resize(words, 0);
        self.rows = rows.into_boxed_slice();
    }

    #[inline]
    fn width(&self) -> usize {
        self.kinds.count_ones() as usize
    }

    /// The word of a kind in the row of an entry, if it is written down.
    #[inline]
    fn word(&self, at: usize, kind: u16) -> Option<u32> {
        (self.kinds & kind != 0).then(|| self.rows[self.place(at, kind)])
    }

    #[inline]
    fn put(&mut self, at: usize, kind: u16, word: u32) {
        if self.kinds & kind != 0 {
            let place = self.place(at, kind);
            self.rows[place] = word;
        }
    }

    #[inline]
    fn place(&self, at: usize, kind: u16) -> usize {
        at * self.width() + (self.kinds & (kind - 1)).count_ones() as usize
    }

    fn write(&mut self, at: usize, extra: Extra, now: Tick) {
        let Life {
            dies_at,
            idle_at,
            label,
        } = extra.life;
        // What was there does not hold the base back.
        self.put(at, DIES, NEVER);
        self.put(at, IDLE, NEVER);
        self.rebase(now, dies_at);
        self.rebase(now, idle_at);
        self.put(at, WEIGHT, extra.weight as u32);
        self.put(at, HEAVY, (extra.weight as u64 >> 32) as u32);
        self.put(at, DIES, pack(self.base, dies_at));
        self.put(at, IDLE, pack(self.base, idle_at));
        self.put(at, COST, extra.cost);
        self.put(at, CREDIT, extra.cost);
        if self.kinds & TAGS != 0 {
            let two = |low: u16, high: u16| u32::from(high) << 16 | u32::from(low);
            let slots = label.slots;
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
        let wanted = is(WEIGHT, extra.weight != 1)
            | is(HEAVY, extra.weight as u64 > u64::from(u32::MAX))
            | is(DIES, extra.life.dies_at != Tick::MAX)
            | is(IDLE, extra.life.idle_at != Tick::MAX)
            | is(SINCE | TAGS, !extra.life.label.is_none())
            | is(LATE, extra.life.label.since > u64::from(u32::MAX))
            | is(COST | CREDIT, extra.cost != 1)
            | is(MORE_TAGS, extra.life.label.slots[2] != 0);
        if wanted & !self.kinds != 0 {
            self.widen_to(len, self.kinds | wanted);
        }
    }

    #[cold]
    fn widen_to(&mut self, len: usize, kinds: u16) {
        let before = core::mem::replace(self, Extras::new(self.base));
        (self.kinds, self.len) = (kinds, len as u16);
        let mut rows = Vec::with_capacity((len + 1) * self.width());
        for at in 0..len {
            for kind in (0..u16::BITS).map(|bit| 1 << bit) {
                if kinds & kind != 0 {
                    let plain = match kind {
                        WEIGHT => 1,
                        DIES | IDLE => NEVER,
                        COST | CREDIT => 1,
                        _ => 0,
                    };
                    rows.push(before.word(at, kind).unwrap_or(plain));
                }
            }
        }
        rows.resize((len + 1) * self.width(), 0);
        self.rows = rows.into_boxed_slice();
    }

    /// Moves the base forward where a deadline would be too coarse.
    #[inline]
    fn rebase(&mut self, now: Tick, deadline: Tick) {
        let age = now.as_nanos() - self.base.as_nanos();
        let lasts = deadline.as_nanos().saturating_sub(now.as_nanos());
        if age >> AGE_BITS > lasts && age >> MANTISSA_BITS > 0 {
            self.rebase_to(now);
        }
    }

    /// Moves it as far as no deadline gets less exact by that.
    #[cold]
    fn rebase_to(&mut self, now: Tick) {
        let len = usize::from(self.len);
        let each = (0..len).flat_map(|at| [(at, DIES), (at, IDLE)]);
        let exponent = |(at, kind)| match self.word(at, kind) {
            None | Some(NEVER) => 0,
            Some(word) => word >> MANTISSA_BITS,
        };
        let bits = each.clone().map(exponent).max().unwrap_or(0);
        let before = self.base;
        // Nor beyond a deadline: since when an entry is over matters where it is kept for longer.
        let most = self.earliest(len).min(now);
        let moved = (most.as_nanos() - before.as_nanos()) >> bits << bits;
        self.base = Tick::from_nanos(before.as_nanos() + moved);
        for (at, kind) in each {
            if let Some(word) = self.word(at, kind) {
                self.put(at, kind, pack(self.base, unpack(before, word)));
            }
        }
    }
}

/// No deadline.
const NEVER: u32 = u32::MAX;
/// Of a deadline's word the upper bits are an exponent, and so many lower ones a number of nanoseconds that is shifted
/// left by it.
const MANTISSA_BITS: u32 = 26;
/// A deadline is coarse by less than the time from the base to it, shifted right by 25. The base is moved when it is older
/// than 2^8 times what an entry has to live, so that is about a part in 2^17 of its life. An entry that is over and was not
/// yet found so, or is kept for that, holds the base back: then it is the part in 2^25 of the time since its deadline.
const AGE_BITS: u32 = 8;

/// A deadline in 32 bits, rounded down, so that nothing lives longer than it may.
#[inline]
fn pack(base: Tick, deadline: Tick) -> u32 {
    if deadline == Tick::MAX {
        return NEVER;
    }
    let ahead = deadline.as_nanos().saturating_sub(base.as_nanos());
    let exponent = (u64::BITS - ahead.leading_zeros()).saturating_sub(MANTISSA_BITS);
    exponent << MANTISSA_BITS | (ahead >> exponent) as u32
}

#[inline]
fn unpack(base: Tick, word: u32) -> Tick {
    if word == NEVER {
        return Tick::MAX;
    }
    let ahead = u64::from(word & ((1 << MANTISSA_BITS) - 1)) << (word >> MANTISSA_BITS);
    Tick::from_nanos(base.as_nanos().saturating_add(ahead))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mortal(dies_at: u64) -> Extra {
        Extra {
            life: Life {
                dies_at: Tick::from_nanos(dies_at),
                ..Life::ENDLESS
            },
            ..Extra::PLAIN
        }
    }

    #[test]
    fn a_deadline_is_never_later_than_asked_and_hardly_earlier() {
        for bits in 0..64 {
            for ahead in [(1u64 << bits) - 1, 1 << bits, (1 << bits) + 12_345_678] {
                let deadline = Tick::from_nanos(ahead.saturating_add(77).min(u64::MAX - 1));
                let kept = unpack(Tick::from_nanos(77), pack(Tick::from_nanos(77), deadline));
                assert!(kept <= deadline);
                assert!(deadline.as_nanos() - kept.as_nanos() <= ahead >> 25);
            }
        }
        assert_eq!(unpack(Tick::ZERO, pack(Tick::ZERO, Tick::MAX)), Tick::MAX);
    }

    /// Entries that live for milliseconds, over and over, beside one that lives for a month.
    #[test]
    fn the_base_moves_on_and_takes_nothing_from_those_who_live_long() {
        let month = 30 * 86_400 * 1_000_000_000;
        let mut extras = Extras::new(Tick::ZERO);
        extras.push(1, mortal(month), Tick::ZERO);
        extras.push(2, mortal(1_000_000), Tick::ZERO);
        let at_first = extras.life(0).dies_at.as_nanos();
        assert!(month - at_first < month >> 25);
        for n in 0..200_000u64 {
            let now = n * 300_000_007;
            let dies_at = now + 1_000_000;
            extras.set(2, 1, mortal(dies_at), Tick::from_nanos(now));
            let kept = extras.life(1).dies_at.as_nanos();
            assert!(kept <= dies_at && dies_at - kept < 1_000_000 >> 16, "{n}");
        }
        assert_eq!(extras.life(0).dies_at.as_nanos(), at_first);
        assert!(extras.base > Tick::ZERO);
    }

    #[test]
    fn rows_have_a_word_for_what_was_seen_and_no_more() {
        let mut extras = Extras::new(Tick::ZERO);
        let heavy = |weight| Extra {
            weight,
            ..Extra::PLAIN
        };
        extras.push(1, mortal(500), Tick::ZERO);
        assert_eq!(extras.width(), 1);
        extras.push(2, heavy(7), Tick::ZERO);
        assert_eq!(extras.width(), 2);
        extras.push(3, heavy(usize::MAX), Tick::ZERO);
        extras.push(4, heavy(0), Tick::ZERO);
        assert_eq!(extras.width(), if usize::BITS > 32 { 3 } else { 2 });
        assert_eq!(extras.get(0), mortal(500));
        assert_eq!(
            (extras.get(1), extras.get(2)),
            (heavy(7), heavy(usize::MAX))
        );
        extras.swap_remove(4, 0);
        assert_eq!(extras.get(0), heavy(0));
        assert_eq!((extras.get(2), extras.len), (heavy(usize::MAX), 3));
        assert_eq!(extras.earliest(3), Tick::MAX);
    }
}
