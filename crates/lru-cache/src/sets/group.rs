use alloc::boxed::Box;
use alloc::vec::Vec;

use equivalent::Equivalent;
use purlin_core::{Rng, Tick};

use super::Name;
use crate::block::Print;
use crate::expiry::{Expiry, Life};
use crate::policy::arm::Arm;
use crate::policy::set::{Segment, Set};

/// A set with the weights and lives of its entries.
///
/// `extras`, if there are any, are as many as the entries and in their order.
#[derive(Debug)]
pub(super) struct Group<K, V> {
    set: Set<(K, V)>,
    /// None as long as all entries weigh one and live for ever.
    extras: Option<Box<Vec<Extra>>>,
}

#[derive(Debug)]
pub(super) struct Extra {
    pub(super) weight: usize,
    pub(super) life: Life,
    /// Names the insertion, for timers.
    pub(super) stamp: u32,
}

/// An entry that was taken out.
#[derive(Debug)]
pub(super) struct Left<K, V> {
    pub(super) key: K,
    pub(super) value: V,
    pub(super) extra: Extra,
}

impl<K, V> Group<K, V> {
    pub(super) fn new(dither: u8, ways: usize) -> Self {
        Group {
            set: Set::new(dither, ways),
            extras: None,
        }
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

    /// The place of the insertion with this stamp.
    pub(super) fn stamped(&self, stamp: u32) -> Option<usize> {
        let mut extras = self.extras.as_ref()?.iter();
        extras.position(|extra| extra.stamp == stamp)
    }

    pub(super) fn mark(&self, at: usize) -> u16 {
        self.set.print(at).mark
    }

    #[inline]
    pub(super) fn value(&self, at: usize) -> &V {
        &self.set.entry(at).1
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

    /// Takes note of a use.
    #[inline]
    pub(super) fn hit(&mut self, at: usize, arm: &Arm, expiry: &Expiry<Name>) {
        self.set.hit(at, arm);
        if let Some(extras) = &mut self.extras {
            expiry.prolong(&mut extras[at].life);
        }
    }

    #[inline]
    fn extra(&self, at: usize) -> Option<&Extra> {
        self.extras.as_ref().map(|extras| &extras[at])
    }

    /// The weight, life and stamp of an entry that has any of its own.
    pub(super) fn extra_mut(&mut self, at: usize) -> Option<&mut Extra> {
        self.extras.as_mut().map(|extras| &mut extras[at])
    }

    #[cfg(test)]
    pub(super) fn weight(&self, at: usize) -> usize {
        self.extra(at).map_or(1, |extra| extra.weight)
    }

    /// See [`Set::expect`].
    pub(super) fn expect(&mut self, print: Print, arm: &Arm) -> Segment {
        self.set.expect(print, arm)
    }

    /// Adds the entry that was expected.
    pub(super) fn add(
        &mut self,
        print: Print,
        entry: (K, V),
        extra: Extra,
        segment: Segment,
        arm: &Arm,
    ) -> usize {
        self.make_extras(&extra);
        let at = self.set.add(print, entry, segment, arm);
        if let Some(extras) = &mut self.extras {
            if extras.len() == extras.capacity() {
                extras.reserve_exact((extras.len() / 8).max(4));
            }
            extras.push(extra);
        }
        at
    }

    /// Puts the entry that was expected in the place of a victim.
    pub(super) fn replace(
        &mut self,
        at: usize,
        print: Print,
        entry: (K, V),
        extra: Extra,
        segment: Segment,
    ) -> Left<K, V> {
        let extra = self.swap_extra(at, extra);
        let (key, value) = self.set.replace(at, print, entry, segment);
        Left { key, value, extra }
    }

    /// Puts an entry in place of an older one of the same key.
    pub(super) fn renew(&mut self, at: usize, entry: (K, V), extra: Extra) -> Left<K, V> {
        let extra = self.swap_extra(at, extra);
        let (key, value) = core::mem::replace(self.set.entry_mut(at), entry);
        Left { key, value, extra }
    }

    /// Chooses who is to leave. See [`Set::victim`].
    pub(super) fn victim(
        &mut self,
        coming: Option<Segment>,
        kept: Option<usize>,
        arm: &Arm,
        rng: &mut Rng,
    ) -> usize {
        self.set.victim(coming, kept, arm, rng)
    }

    /// See [`Set::worst`].
    pub(super) fn worst(&mut self, arm: &Arm) -> usize {
        self.set.worst(arm)
    }

    /// Takes an entry out; the last takes its place.
    pub(super) fn take(&mut self, at: usize) -> Left<K, V> {
        let extra = match &mut self.extras {
            Some(extras) => extras.swap_remove(at),
            None => Extra::plain(),
        };
        let (key, value) = self.set.free(at);
        Left { key, value, extra }
    }

    /// Moves the entries of which `goes` is true to another group.
    pub(super) fn split(&mut self, dither: u8, goes: impl Fn(Print) -> bool) -> Self {
        let (set, gone) = self.set.split(dither, goes);
        let extras = self.extras.as_mut().map(|extras| {
            let theirs = gone.iter().map(|&at| extras.swap_remove(at)).collect();
            extras.shrink_to_fit();
            Box::new(theirs)
        });
        Group { set, extras }
    }

    fn swap_extra(&mut self, at: usize, extra: Extra) -> Extra {
        self.make_extras(&extra);
        match &mut self.extras {
            Some(extras) => core::mem::replace(&mut extras[at], extra),
            None => Extra::plain(),
        }
    }

    /// Writes down what was true of all entries without saying, once it may not be of the next.
    fn make_extras(&mut self, extra: &Extra) {
        if self.extras.is_none() && (extra.weight != 1 || extra.life.is_mortal()) {
            let plain = (0..self.len()).map(|_| Extra::plain()).collect();
            self.extras = Some(Box::new(plain));
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
