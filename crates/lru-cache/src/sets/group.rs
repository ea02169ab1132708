use alloc::vec::Vec;

use equivalent::Equivalent;
use purlin_core::Tick;

use crate::engine::Name;
use crate::expiry::{Expiry, Life};
use crate::policy::set::Set;

/// A set with its entries.
///
/// `policy`, `entries` and, unless it is empty, `extras` are of one length and in one order.
#[derive(Debug)]
pub(super) struct Group<K, V> {
    pub(super) policy: Set,
    entries: Vec<(K, V)>,
    /// Empty as long as all entries weigh one and live for ever.
    extras: Vec<Extra>,
}

#[derive(Debug)]
struct Extra {
    weight: usize,
    life: Life,
}

/// An entry that was taken out.
#[derive(Debug)]
pub(super) struct Left<K, V> {
    pub(super) key: K,
    pub(super) value: V,
    pub(super) weight: usize,
    pub(super) life: Life,
}

impl<K, V> Group<K, V> {
    pub(super) fn new(dither: u8, ways: usize) -> Self {
        Group {
            policy: Set::new(dither, ways.min(usize::from(u16::MAX)) as u16),
            entries: Vec::new(),
            extras: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub(super) fn find<Q>(&self, hash: u32, key: &Q) -> Option<usize>
    where
        Q: Equivalent<K> + ?Sized,
    {
        self.policy
            .find(hash, |at| key.equivalent(&self.entries[at].0))
    }

    pub(super) fn name(&self, at: usize) -> Name {
        Name {
            near: self.policy.hash(at),
            stamp: self.policy.stamp(at).into(),
        }
    }

    #[inline]
    pub(super) fn value(&self, at: usize) -> &V {
        &self.entries[at].1
    }

    /// The entry, unless it is over at `now`.
    pub(super) fn living(&self, at: usize, expiry: &Expiry<Name>, now: Tick) -> Option<(&K, &V)> {
        let (key, value) = &self.entries[at];
        let is_over = |extra: &Extra| expiry.is_over_at(&extra.life, now);
        (!self.extras.get(at).is_some_and(is_over)).then_some((key, value))
    }

    #[inline]
    pub(super) fn is_over(&self, at: usize, expiry: &Expiry<Name>) -> bool {
        let extra = self.extras.get(at);
        extra.is_some_and(|extra| expiry.is_over(&extra.life))
    }

    #[inline]
    pub(super) fn prolong(&mut self, at: usize, expiry: &Expiry<Name>) {
        if let Some(extra) = self.extras.get_mut(at) {
            expiry.prolong(&mut extra.life);
        }
    }

    /// The life of an entry that has a timer.
    pub(super) fn life_mut(&mut self, at: u32) -> &mut Life {
        let extra = self.extras.get_mut(at as usize);
        &mut extra
            .expect("who has a timer has a deadline, and that is kept here")
            .life
    }

    /// The life of an entry, if it has an end.
    pub(super) fn mortal_life(&mut self, at: usize) -> Option<&mut Life> {
        let extra = self.extras.get_mut(at)?;
        extra.life.is_mortal().then_some(&mut extra.life)
    }

    #[cfg(test)]
    pub(super) fn weight(&self, at: usize) -> usize {
        self.extras.get(at).map_or(1, |extra| extra.weight)
    }

    /// Adds the entry whose slot the policy has just added.
    pub(super) fn push(&mut self, key: K, value: V, weight: usize, life: Life, is_weighed: bool) {
        self.make_extras(&life, is_weighed);
        if is_weighed || life.is_mortal() || !self.extras.is_empty() {
            push_tight(&mut self.extras, Extra { weight, life });
        }
        push_tight(&mut self.entries, (key, value));
    }

    /// Puts an entry in place of another.
    pub(super) fn swap(
        &mut self,
        at: usize,
        key: K,
        value: V,
        weight: usize,
        life: Life,
        is_weighed: bool,
    ) -> Left<K, V> {
        self.make_extras(&life, is_weighed);
        let before = match self.extras.get_mut(at) {
            Some(extra) => core::mem::replace(extra, Extra { weight, life }),
            None => Extra::plain(),
        };
        let (key, value) = core::mem::replace(&mut self.entries[at], (key, value));
        Left {
            key,
            value,
            weight: before.weight,
            life: before.life,
        }
    }

    /// Takes out the entry whose slot the policy has just freed.
    pub(super) fn swap_remove(&mut self, at: usize) -> Left<K, V> {
        let (key, value) = self.entries.swap_remove(at);
        let extra = if self.extras.is_empty() {
            Extra::plain()
        } else {
            self.extras.swap_remove(at)
        };
        Left {
            key,
            value,
            weight: extra.weight,
            life: extra.life,
        }
    }

    /// Moves the entries of which `goes` is true to another group.
    pub(super) fn split(&mut self, dither: u8, goes: impl Fn(u32) -> bool) -> Self {
        let (policy, gone) = self.policy.split(dither, goes);
        let mut other = Group {
            policy,
            entries: Vec::with_capacity(gone.len()),
            extras: Vec::new(),
        };
        for at in gone {
            other.entries.push(self.entries.swap_remove(at));
            if !self.extras.is_empty() {
                other.extras.push(self.extras.swap_remove(at));
            }
        }
        self.entries.shrink_to_fit();
        self.extras.shrink_to_fit();
        other
    }

    /// Writes down what was true of all entries without saying, once it may not be of the next.
    fn make_extras(&mut self, life: &Life, is_weighed: bool) {
        if self.extras.is_empty() && (is_weighed || life.is_mortal()) {
            self.extras
                .extend(self.entries.iter().map(|_| Extra::plain()));
        }
    }
}

impl Extra {
    fn plain() -> Self {
        Extra {
            weight: 1,
            life: Life::endless(),
        }
    }
}

/// Adds to a vector that shall have little room to spare: there is one for each set.
fn push_tight<T>(vec: &mut Vec<T>, item: T) {
    if vec.len() == vec.capacity() {
        vec.reserve_exact((vec.len() / 8).max(4));
    }
    vec.push(item);
}
