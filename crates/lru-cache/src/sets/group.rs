use alloc::vec::Vec;
#[cfg(feature = "std")]
use core::time::Duration;

use equivalent::Equivalent;
use purlin_core::{Rng, Tick};

use super::Name;
#[cfg(feature = "std")]
use crate::expiry::Standing;
use crate::expiry::{Expiry, Life};
use crate::policy::set::{Rules, Set};
use crate::raw::Print;

/// A set with the weights and lives of its entries.
///
/// The extras beside the set, if there are any, are as many as the entries and in their order. There are none as long
/// as all entries weigh one and live for ever.
#[derive(Debug)]
pub(super) struct Group<K, V> {
    set: Set<(K, V), Vec<Extra>>,
}

#[derive(Debug)]
pub(super) struct Extra {
    pub(super) weight: usize,
    pub(super) life: Life,
    /// Names the insertion, for timers.
    pub(super) stamp: u32,
}

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
    /// None if it weighed one and lived for ever.
    pub(super) extra: Option<Extra>,
}

impl<K, V> Left<K, V> {
    #[inline]
    pub(super) fn weight(&self) -> usize {
        self.extra.as_ref().map_or(1, |extra| extra.weight)
    }
}

impl<K, V> Group<K, V> {
    pub(super) const fn new() -> Self {
        Group { set: Set::new() }
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

    /// The value of a key, which is used by that unless its time is over.
    #[cfg(feature = "std")]
    #[inline]
    pub(super) fn get<Q>(
        &mut self,
        print: Print,
        key: &Q,
        rules: &Rules,
        expiry: &Expiry<Name>,
    ) -> Option<Got<'_, V>>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let at = self.find(print, key)?;
        if let Some(extras) = self.set.side_mut() {
            let life = &mut extras[at].life;
            if expiry.is_over(life) {
                return Some(Got::Over);
            }
            expiry.prolong(life);
        }
        self.set.hit(at, rules);
        Some(Got::Value(self.value(at)))
    }

    /// The place of the insertion with this stamp.
    pub(super) fn stamped(&self, stamp: u32) -> Option<usize> {
        let mut extras = self.set.side()?.iter();
        extras.position(|extra| extra.stamp == stamp)
    }

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
    pub(super) fn living(&self, at: usize, expiry: &Expiry<Name>, now: Tick) -> Option<(&K, &V)> {
        let (key, value) = self.set.entry(at);
        let is_over = |extra: &Extra| expiry.is_over_at(&extra.life, now);
        (!self.extra(at).is_some_and(is_over)).then_some((key, value))
    }

    #[inline]
    pub(super) fn is_over(&self, at: usize, expiry: &Expiry<Name>) -> bool {
        let extra = self.extra(at);
        extra.is_some_and(|extra| expiry.is_over(&extra.life))
    }

    /// Whether an entry is over for so long that it is to leave.
    pub(super) fn is_spent(&self, at: usize, expiry: &Expiry<Name>) -> bool {
        let extra = self.extra(at);
        extra.is_some_and(|extra| expiry.is_spent(&extra.life))
    }

    #[cfg(feature = "std")]
    pub(super) fn standing(&self, at: usize, expiry: &Expiry<Name>) -> Option<Standing> {
        let endless = Some(Standing::Left(Duration::MAX));
        self.extra(at)
            .map_or(endless, |extra| expiry.standing(&extra.life))
    }

    /// The entry, unless it is spent at `now`.
    #[cfg(feature = "std")]
    pub(super) fn unspent(&self, at: usize, expiry: &Expiry<Name>, now: Tick) -> Option<(&K, &V)> {
        let (key, value) = self.set.entry(at);
        let is_spent = |extra: &Extra| expiry.is_spent_at(&extra.life, now);
        (!self.extra(at).is_some_and(is_spent)).then_some((key, value))
    }

    /// Takes note of a use.
    #[inline]
    pub(super) fn hit(&mut self, at: usize, rules: &Rules, expiry: &Expiry<Name>) {
        self.set.hit(at, rules);
        if let Some(extras) = self.set.side_mut() {
            expiry.prolong(&mut extras[at].life);
        }
    }

    #[inline]
    fn extra(&self, at: usize) -> Option<&Extra> {
        self.set.side().map(|extras| &extras[at])
    }

    /// The weight, life and stamp of an entry that has any of its own.
    #[inline]
    pub(super) fn extra_mut(&mut self, at: usize) -> Option<&mut Extra> {
        self.set.side_mut().map(|extras| &mut extras[at])
    }

    #[cfg(test)]
    pub(super) fn weight(&self, at: usize) -> usize {
        self.extra(at).map_or(1, |extra| extra.weight)
    }

    /// Tells the processor that an entry will come.
    #[inline]
    pub(super) fn prefetch(&self) {
        self.set.prefetch();
    }

    /// Adds an entry that is not there.
    pub(super) fn add(
        &mut self,
        print: Print,
        entry: (K, V),
        extra: Option<Extra>,
        rules: &Rules,
    ) -> usize {
        if extra.is_some() {
            self.make_extras();
        }
        let at = self.set.add(print, entry, rules);
        if let Some(extras) = self.set.side_mut() {
            if extras.len() == extras.capacity() {
                extras.reserve_exact((extras.len() / 8).max(4));
            }
            extras.push(extra.unwrap_or_else(Extra::plain));
        }
        at
    }

    /// Puts an entry that is not there in the place of the one that is worth least.
    #[inline]
    pub(super) fn exchange(
        &mut self,
        print: Print,
        entry: (K, V),
        extra: Option<Extra>,
        rules: &Rules,
        rng: &mut Rng,
    ) -> (usize, Left<K, V>) {
        if extra.is_some() {
            self.make_extras();
        }
        let (at, (key, value)) = self.set.exchange(print, entry, rules, rng);
        let extra = self.swap_extra(at, extra);
        (at, Left { key, value, extra })
    }

    /// [`exchange`](Self::exchange), where no entry has an extra.
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
    pub(super) fn renew(&mut self, at: usize, entry: (K, V), extra: Option<Extra>) -> Left<K, V> {
        let extra = self.swap_extra(at, extra);
        let (key, value) = core::mem::replace(self.set.entry_mut(at), entry);
        Left { key, value, extra }
    }

    /// Takes the entry out that is worth least, beside `kept`. See [`Set::expel`].
    pub(super) fn expel(
        &mut self,
        kept: Option<usize>,
        rules: &Rules,
        rng: &mut Rng,
    ) -> (usize, Left<K, V>) {
        let (at, (key, value)) = self.set.expel(kept, rules, rng);
        let extra = self.set.side_mut().map(|extras| extras.swap_remove(at));
        (at, Left { key, value, extra })
    }

    /// See [`Set::worst`].
    pub(super) fn worst(&mut self, rules: &Rules) -> usize {
        self.set.worst(rules)
    }

    /// Takes an entry out; the last takes its place.
    pub(super) fn take(&mut self, at: usize) -> Left<K, V> {
        let extra = self.set.side_mut().map(|extras| extras.swap_remove(at));
        let (key, value) = self.set.free(at);
        Left { key, value, extra }
    }

    /// Moves the entries of which `goes` is true to another group.
    pub(super) fn split(&mut self, goes: impl Fn(Print) -> bool) -> Self {
        let (mut set, gone) = self.set.split(goes);
        if let Some(extras) = self.set.side_mut() {
            let theirs = gone.iter().map(|&at| extras.swap_remove(at)).collect();
            extras.shrink_to_fit();
            set.set_side(theirs);
        }
        Group { set }
    }

    #[inline]
    fn swap_extra(&mut self, at: usize, extra: Option<Extra>) -> Option<Extra> {
        if extra.is_some() {
            self.make_extras();
        }
        let extras = self.set.side_mut()?;
        let extra = extra.unwrap_or_else(Extra::plain);
        Some(core::mem::replace(&mut extras[at], extra))
    }

    /// Writes down what was true of all entries without saying, since it may not be of the next.
    fn make_extras(&mut self) {
        if self.set.side().is_none() {
            let plain = (0..self.len()).map(|_| Extra::plain()).collect();
            self.set.set_side(plain);
        }
    }
}

impl Extra {
    fn plain() -> Self {
        Extra {
            weight: 1,
            life: Life::endless(),
            // Nobody asks for the name of who lives for ever.
            stamp: 0,
        }
    }
}
