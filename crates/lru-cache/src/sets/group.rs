use alloc::vec::Vec;
use core::time::Duration;

use equivalent::Equivalent;
use purlin_core::{Rng, Tick};

use super::extras::{Extra, Extras};
use crate::expiry::{Expiry, Standing};
use crate::policy::set::{Rules, Set};
#[cfg(feature = "std")]
use crate::raw::{Block, prefetch_owned};
use crate::raw::{Print, Slots};

/// A set with the weights and lives of its entries beside it, which are there once one is other than plain.
#[derive(Debug)]
pub(super) struct Group<K, V, B> {
    pub(super) set: Set<(K, V), Extras, B>,
}

/// How many who are to leave may stay instead, for what they cost, before one leaves.
const ROUNDS: usize = 16;

/// An entry that was found.
#[cfg(feature = "std")]
pub(super) enum Got<'a, V> {
    Value(&'a V),
    /// Its time is over.
    Over,
}

/// An entry that was taken out.
#[derive(Debug)]
pub(super) struct Left<K, V> {
    pub(super) key: K,
    pub(super) value: V,
    pub(super) extra: Extra,
}

#[cfg(feature = "std")]
impl<K, V> Group<K, V, Block<(K, V), Extras>> {
    /// Which of the near slots may have a key with this print, a bit each.
    #[inline]
    pub(super) fn near(&self, print: Print) -> u64 {
        self.set.block().near_agreeing(print.tag)
    }

    /// The value of a key in one of these near slots, if a use of it changes nothing, where the order of use does not matter.
    #[inline]
    pub(super) fn hot<Q>(&self, near: u64, key: &Q) -> Option<&V>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let entry = self
            .set
            .block()
            .find_hot(near, |(other, _)| key.equivalent(other));
        entry.map(|(_, value)| value)
    }

    /// [`get`](Group::get), by who knows which of the near slots may have the key.
    #[inline]
    pub(super) fn get_among<Q>(
        &mut self,
        near: u64,
        print: Print,
        key: &Q,
        rules: &Rules,
        expiry: &Expiry,
    ) -> Option<Got<'_, V>>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let is_it = |(other, _): &(K, V)| key.equivalent(other);
        let at = self.set.block().find_among(near, print, is_it)?;
        Some(self.got(at, rules, expiry))
    }
}

impl<K, V, B: Slots<(K, V), Extras>> Group<K, V, B> {
    pub(super) fn new(home: &B::Home) -> Self {
        Group {
            set: Set::of(B::make(home)),
        }
    }

    pub(super) fn block(&self) -> &B {
        self.set.block()
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.set.len()
    }

    #[inline]
    pub(super) fn find<Q>(&self, print: Print, key: &Q) -> Option<usize>
    where
        Q: Equivalent<K> + ?Sized,
    {
        self.set.find(print, |(other, _)| key.equivalent(other))
    }

    /// The same for who will change the set.
    #[cfg(feature = "std")]
    #[inline]
    pub(super) fn find_to_change(&self, print: Print, key: &K) -> Option<usize>
    where
        K: Eq,
    {
        self.set.find_to_change(print, |(other, _)| key == other)
    }

    /// The value of a key, which is used by that unless its time is over.
    #[cfg(feature = "std")]
    #[inline]
    pub(super) fn get<Q>(
        &mut self,
        print: Print,
        key: &Q,
        rules: &Rules,
        expiry: &Expiry,
    ) -> Option<Got<'_, V>>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let at = self.find(print, key)?;
        Some(self.got(at, rules, expiry))
    }

    /// Takes note of a use, unless the entry's time is over.
    #[cfg(feature = "std")]
    #[inline]
    fn got(&mut self, at: usize, rules: &Rules, expiry: &Expiry) -> Got<'_, V> {
        if let Some(extras) = self.set.side_mut() {
            if !extras.is_used_in_time(at, expiry) {
                return Got::Over;
            }
        }
        self.set.hit(at, rules);
        Got::Value(self.value(at))
    }

    #[cfg(any(feature = "std", test))]
    pub(super) fn mark(&self, at: usize) -> u16 {
        self.set.print(at).mark
    }

    #[inline]
    pub(super) fn value(&self, at: usize) -> &V {
        &self.set.entry(at).1
    }

    pub(super) fn entry(&self, at: usize) -> &(K, V) {
        self.set.entry(at)
    }

    /// The entry, unless it is over at `now`.
    pub(super) fn living(&self, at: usize, expiry: &Expiry, now: Tick) -> Option<(&K, &V)> {
        let (key, value) = self.set.entry(at);
        let is_over = |extras: &Extras| expiry.is_over_at(extras.life(at), now);
        (!self.set.side().is_some_and(is_over)).then_some((key, value))
    }

    #[inline]
    pub(super) fn is_over(&self, at: usize, expiry: &Expiry) -> bool {
        let is_over = |extras: &Extras| expiry.is_over(extras.life(at));
        self.set.side().is_some_and(is_over)
    }

    /// Whether an entry is over for so long that it is to leave.
    pub(super) fn is_spent(&self, at: usize, expiry: &Expiry) -> bool {
        let is_spent = |extras: &Extras| expiry.is_spent(extras.life(at));
        self.set.side().is_some_and(is_spent)
    }

    pub(super) fn standing(&self, at: usize, expiry: &Expiry) -> Option<Standing> {
        let endless = Some(Standing::Left(Duration::MAX));
        let extras = self.set.side();
        extras.map_or(endless, |extras| expiry.standing(extras.life(at)))
    }

    /// The entry, unless it is spent at `now`.
    #[cfg(feature = "std")]
    pub(super) fn unspent(&self, at: usize, expiry: &Expiry, now: Tick) -> Option<(&K, &V)> {
        let (key, value) = self.set.entry(at);
        let is_spent = |extras: &Extras| expiry.is_spent_at(extras.life(at), now);
        (!self.set.side().is_some_and(is_spent)).then_some((key, value))
    }

    /// Takes note of a use.
    #[inline]
    pub(super) fn hit(&mut self, at: usize, rules: &Rules, expiry: &Expiry) {
        self.set.hit(at, rules);
        if let Some(extras) = self.set.side_mut() {
            extras.used(at, expiry);
        }
    }

    #[inline]
    pub(super) fn extra(&self, at: usize) -> Extra {
        let extras = self.set.side();
        extras.map_or(Extra::PLAIN, |extras| extras.get(at))
    }

    /// When the first of the entries is over.
    #[cfg(test)]
    pub(super) fn earliest(&self) -> Tick {
        let extras = self.set.side();
        extras.map_or(Tick::MAX, |extras| extras.earliest(self.len()))
    }

    /// The same, and has it known to those who look without the lock.
    pub(super) fn reckon_ends(&mut self) -> Tick {
        let len = self.len();
        let Some(extras) = self.set.side() else {
            return Tick::MAX;
        };
        let (earliest, until) = (extras.earliest(len), extras.idle_until(len));
        self.set.block_mut().set_over_from(until.as_nanos());
        earliest
    }

    /// Has it known to them that an entry comes with this. To be called before it is there.
    #[inline]
    pub(super) fn announce(&mut self, extra: Extra) {
        if extra != Extra::PLAIN {
            self.announce_end(extra.idle_until());
        }
    }

    /// The same with the end that was written down, which may be a little earlier.
    #[inline]
    pub(super) fn announce_as_written(&mut self, at: usize, extra: Extra) {
        if extra.life.dies_at != Tick::MAX {
            let written = self.extra(at);
            self.announce(written);
        }
    }

    fn announce_end(&mut self, until: Tick) {
        if until.as_nanos() < self.set.block().over_from() {
            self.set.block_mut().set_over_from(until.as_nanos());
        }
    }

    /// Tells the processor that an entry will come.
    #[inline]
    pub(super) fn prefetch(&self) {
        self.set.prefetch();
    }

    /// Tells it that the entry which will likely leave for that will be dropped.
    #[cfg(feature = "std")]
    #[inline]
    pub(super) fn prefetch_leaving(&self) {
        if let Some((key, value)) = self.set.block().leaving() {
            prefetch_owned(key);
            prefetch_owned(value);
        }
    }

    /// Adds an entry that is not there.
    pub(super) fn add(
        &mut self,
        print: Print,
        entry: (K, V),
        extra: Extra,
        rules: &Rules,
        now: Tick,
    ) -> usize {
        self.announce(extra);
        let at = self.set.add(print, entry, rules);
        let len = self.len();
        if let Some(extras) = self.extras_for(extra, now) {
            extras.push(len, extra, now);
        }
        self.announce_as_written(at, extra);
        at
    }

    /// Puts an entry that is not there in the place of the one that is worth least.
    #[inline]
    pub(super) fn exchange(
        &mut self,
        print: Print,
        entry: (K, V),
        extra: Extra,
        rules: &Rules,
        rng: &mut Rng,
        now: Tick,
    ) -> (usize, Left<K, V>) {
        self.announce(extra);
        let (at, (key, value)) = self.set.exchange(print, entry, rules, rng);
        let extra = self.swap_extra(at, extra, now);
        (at, Left { key, value, extra })
    }

    /// [`exchange`](Self::exchange), where all entries are plain.
    #[cfg(feature = "std")]
    #[inline]
    pub(super) fn exchange_plain(
        &mut self,
        print: Print,
        entry: (K, V),
        rules: &Rules,
        rng: &mut Rng,
    ) -> (K, V) {
        debug_assert!(self.is_plain());
        self.set.exchange(print, entry, rules, rng).1
    }

    /// Whether all entries weigh one and live for ever.
    #[cfg(feature = "std")]
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.set.side().is_none()
    }

    /// Puts an entry in place of an older one of the same key.
    pub(super) fn renew(
        &mut self,
        at: usize,
        entry: (K, V),
        extra: Extra,
        now: Tick,
    ) -> Left<K, V> {
        let extra = self.swap_extra(at, extra, now);
        let (key, value) = self.set.swap_entry(at, entry);
        Left { key, value, extra }
    }

    /// Whether some of the entries have paid for more time than others.
    #[inline]
    pub(super) fn is_uneven(&self) -> bool {
        let len = self.len();
        self.set.side().is_some_and(|extras| extras.is_uneven(len))
    }

    /// Takes the entry out that is worth least, beside `kept`. See [`Set::expel`].
    pub(super) fn expel(
        &mut self,
        kept: Option<usize>,
        rules: &Rules,
        rng: &mut Rng,
    ) -> (usize, Left<K, V>) {
        let mut at = self.set.choose(kept, rules, rng);
        let len = self.len();
        for _ in 0..ROUNDS {
            let is_spared = self
                .set
                .side_mut()
                .is_some_and(|extras| extras.pay(len, at));
            if !is_spared {
                break;
            }
            self.set.spare(at, rules);
            at = self.set.choose(kept, rules, rng);
        }
        (at, self.take(at))
    }

    /// See [`Set::worst`].
    pub(super) fn worst(&mut self, rules: &Rules) -> usize {
        self.set.worst(rules)
    }

    /// Takes an entry out; the last takes its place.
    pub(super) fn take(&mut self, at: usize) -> Left<K, V> {
        let extra = self.extra(at);
        let len = self.len();
        if let Some(extras) = self.set.side_mut() {
            extras.swap_remove(len, at);
        }
        let (key, value) = self.set.free(at);
        Left { key, value, extra }
    }

    /// Moves the entries of which `goes` is true to another group.
    pub(super) fn split(&mut self, goes: impl Fn(Print) -> bool, now: Tick) -> Self {
        let mut len = self.len();
        let (mut set, gone) = self.set.split(goes);
        if let Some(extras) = self.set.side_mut() {
            let mut theirs = Extras::new(now);
            for (n, &at) in gone.iter().enumerate() {
                theirs.push(n + 1, extras.get(at), now);
                extras.swap_remove(len, at);
                len -= 1;
            }
            extras.shrink(now);
            theirs.shrink(now);
            set.set_side(theirs);
        }
        self.set.tidy();
        set.tidy();
        Group { set }
    }

    /// Takes in all entries of another group.
    pub(super) fn absorb(&mut self, mut other: Self, now: Tick) {
        let extras = (0..other.len()).rev().map(|at| other.extra(at));
        let extras: Vec<Extra> = extras.collect();
        let before = self.len();
        self.announce_end(Tick::from_nanos(other.set.block().over_from()));
        self.set.absorb(&mut other.set);
        for (n, extra) in extras.into_iter().enumerate() {
            // Those that follow are not counted yet, though they are in the set already.
            if let Some(extras) = self.extras_for(extra, now) {
                extras.push(before + n + 1, extra, now);
            }
        }
    }

    #[inline]
    fn swap_extra(&mut self, at: usize, extra: Extra, now: Tick) -> Extra {
        self.announce(extra);
        let before = self.extra(at);
        let len = self.len();
        if let Some(extras) = self.extras_for(extra, now) {
            extras.set(len, at, extra, now);
        }
        self.announce_as_written(at, extra);
        before
    }

    /// Where to write this down, if there is anything to write, or if others have.
    #[inline]
    pub(super) fn extras_for(&mut self, extra: Extra, now: Tick) -> Option<&mut Extras> {
        if self.set.side().is_none() && extra != Extra::PLAIN {
            self.set.set_side(Extras::new(now));
        }
        self.set.side_mut()
    }
}
